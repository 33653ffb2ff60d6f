"""The form in which a conversation is kept, and how it is kept while somebody writes into it."""

import json
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from models.errors import NotKept
from models.interpreter import Output
from models.jobs import Job
from models.store.opening import open_store
from models.store.store import Limits, Shelf
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.keeping import KeptConversation
from pages.shared.conversation.kept import read_content, title_of, words_of, write_content
from pages.shared.conversation.turns import Answer, PictureFile, Source, Step, Turn
from pages.shared.keeping import histories
from pages.shared.keeping import keeper as module
from pages.shared.keeping.history import watch
from pages.shared.keeping.keeper import LOOKS, keeper
from tests.fakes.paths import ROOT
from tests.fakes.script import Rerun
from tests.fakes.waiting import until


def png() -> bytes:
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


def full_turn() -> Turn:
    """With all that a turn can have."""
    shown = (Output("image", "a plot", png()), Output("table", "t", rows=(("a",), ("1",))))
    steps = (Step("interpreter", "{}", "before", "seen", True, shown),)
    answers = (Answer("one", "stop", {"x": 1.0}, "m"), Answer("two", "length", {}, "m", steps))
    return Turn("a question", answers, 0, (PictureFile("a.png", png()),), (Source("a source", "text"),))


def test_all_of_a_turn_comes_back() -> None:
    content, files = write_content((full_turn(),), "be brief")
    assert [*files.values()] == [png()] and json.dumps(content).count("file") == 2  # each picture once
    back = read_content(json.loads(json.dumps(content)), files)
    assert (back.turns, back.system) == ((full_turn(),), "be brief")


def test_a_file_that_is_gone_takes_nothing_with_it() -> None:
    content, _ = write_content((full_turn(),), "")
    (turn,) = read_content(content, {}).turns
    assert turn.pictures == () and turn.answers[1].steps[0].shown[0].image == b""
    assert turn.question == "a question"


def test_an_answer_that_was_never_ended_broke_off() -> None:
    content, _ = write_content((full_turn(), Turn("q", (Answer("half", ""),))), "")
    assert read_content(content, {}).turns[1].answers == (Answer("half", "failed"),)


@pytest.mark.parametrize("content", [None, {}, [], {"quintet": 2, "turns": [], "system": ""}, {"quintet": 1}])
def test_what_cannot_be_read_is_a_sentence(content: Any) -> None:
    with pytest.raises(NotKept, match="cannot be read"):
        read_content(content, {})


def test_titles_and_words() -> None:
    assert title_of((full_turn(),)) == "a question"
    assert title_of((Turn(" \n", sources=(Source("a source", ""),)),)) == "a source"
    assert title_of((Turn("word " * 100),)).endswith("…") and title_of(()) == ""
    words = words_of((full_turn(),))
    assert all(word in words for word in ("a question", "a source", "one", "two", "before"))


# --- while somebody writes -------------------------------------------------------------------------


@pytest.fixture
def shelf(keeping: Path) -> Shelf:
    return open_store().shelf("a secret")


def turns(shelf: Shelf, kept: KeptConversation) -> list[str]:
    thing = shelf.get(kept.id)
    return [turn["question"] for turn in thing.content["turns"]] if thing else []


def test_whoever_writes_need_not_know(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread sees what has changed."""
    monkeypatch.setattr(module, "INTERVAL", 0.01)
    monkeypatch.setattr(module, "keeper", module.keeper.__wrapped__)
    conversation = Conversation()
    kept = KeptConversation(shelf, "llama2", conversation)
    conversation.ask("first")
    until(lambda: turns(shelf, kept) == ["first"])
    conversation.begin_answer("m")
    conversation.write("half")
    until(lambda: "half" in str(shelf.get(kept.id)))
    conversation.clear()
    until(lambda: shelf.get(kept.id) is None)
    conversation.undo()
    until(lambda: turns(shelf, kept) == ["first"])


SAID = """
from models.store.opening import open_store
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.keeping import KeptConversation
from pages.shared.keeping import keeper
keeper.INTERVAL = 1000.0
conversation = Conversation()
kept = KeptConversation(open_store().shelf("a secret"), "llama2", conversation)
conversation.ask("last words")
"""


def test_what_was_said_last_is_kept_when_the_server_stops(shelf: Shelf) -> None:
    subprocess.run([sys.executable, "-c", SAID], check=True, cwd=ROOT)
    assert [entry.title for entry in shelf.entries("conversation")] == ["last words"]


def test_nothing_is_written_where_nothing_has_changed(shelf: Shelf) -> None:
    conversation = Conversation(system="be brief")
    kept = KeptConversation(shelf, "llama2", conversation)
    kept.save()
    assert shelf.entries("conversation") == []
    conversation.ask("first")
    for _ in range(3):
        kept.save()
    assert shelf.revision(kept.id) == 1
    conversation.system = "be long"
    kept.save()
    assert shelf.revision(kept.id) == 2


def test_pictures_are_written_once_and_go_with_their_turn(shelf: Shelf, keeping: Path) -> None:
    conversation = Conversation((full_turn(),))
    kept = KeptConversation(shelf, "qwen_vl", conversation)
    kept.save()
    files = [path for path in (keeping / "files").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in files] == [png()]
    written = files[0].stat().st_mtime_ns
    conversation.ask("more")
    kept.save()
    assert files[0].stat().st_mtime_ns == written
    conversation.undo()
    conversation.edit(0, "without its answers")
    kept.save()
    assert files[0].exists()  # the question's picture stays
    conversation.turns = (replace(conversation.turns[0], pictures=()),)
    kept.save()
    assert not files[0].exists()


def test_a_failure_is_noted_and_tried_again(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = Conversation((full_turn(),))
    kept = KeptConversation(shelf, "llama2", conversation)
    monkeypatch.setattr(open_store(), "limits", Limits(0, 0))
    kept.save()
    assert kept.failure and not kept.is_kept
    monkeypatch.setattr(open_store(), "limits", Limits(10**9, 10**9))
    kept.save()
    assert kept.failure and not kept.is_kept  # not at every look
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    kept._again = 0.0
    kept.save()
    assert kept.failure is None and kept.is_kept


def test_what_is_deleted_is_not_written_again(shelf: Shelf) -> None:
    """Though an answer is still being written into it, here or in another session."""
    conversation = Conversation((full_turn(),))
    kept = KeptConversation(shelf, "llama2", conversation)
    kept.save()
    shelf.delete(kept.id)
    conversation.ask("more")
    kept.save()
    assert kept.deleted and shelf.entries("conversation") == []
    other = KeptConversation(shelf, "llama2", Conversation((full_turn(),)))
    other.drop()
    other.save()
    assert shelf.entries("conversation") == []


def waiting() -> Job[Any, None]:
    """Stands for the thread that writes an answer."""
    return Job(lambda _, cancel: cancel.wait() and None)


def kept_conversation(shelf: Shelf, *turns: Turn) -> KeptConversation:
    """Shown by this session."""
    kept = KeptConversation(shelf, "llama2", Conversation(turns))
    histories.get_histories()["llama2"] = histories.History("llama2", kept)
    return kept


def test_an_answer_ends_when_its_conversation_is_deleted_elsewhere(
    shelf: Shelf, session: dict[str, Any]
) -> None:
    kept = kept_conversation(shelf, Turn("q"))
    history = histories.get_histories()["llama2"]
    kept.conversation.begin_answer("m")
    kept.conversation.writer = writer = waiting()
    kept.save()
    history.bring_up_to_date()
    assert history.shown is kept and not writer.cancel.is_set()
    shelf.delete(kept.id)
    kept.conversation.write("one word more")
    history.bring_up_to_date()
    assert writer.cancel.is_set() and history.shown.state is None


def test_what_is_deleted_while_it_is_shown_comes_back_with_its_last_words(
    shelf: Shelf, session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histories, "open_shelf", lambda: shelf)
    kept = kept_conversation(shelf, Turn("first"))
    history = histories.get_histories()["llama2"]
    kept.save()
    kept.conversation.ask("last words")
    kept.conversation.writer = writer = waiting()
    session[f"llama2.menu.{kept.id}"] = "delete"
    histories.choose("llama2", kept.id)
    assert writer.cancel.is_set() and shelf.entries("conversation") == []
    assert history.shown.state is None
    histories.undo("llama2")
    shown = history.shown
    assert isinstance(shown, KeptConversation)
    assert [turn.question for turn in shown.conversation.turns] == ["first", "last words"]
    shown.conversation.ask("more")
    shown.save()
    (entry,) = shelf.entries("conversation")
    assert turns(shelf, shown) == ["first", "last words", "more"] and entry.id == kept.id


def test_what_was_being_said_when_all_was_deleted_is_not_kept_afterwards(
    shelf: Shelf, session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histories, "open_shelf", lambda: shelf)
    kept_conversation(shelf).conversation.ask("not kept yet")
    histories.delete_all("llama2")
    keeper().save()
    assert shelf.entries("conversation") == [] and histories.get_histories() == {}


def test_one_that_cannot_be_written_is_no_reason_to_lose_the_others(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = (KeptConversation(shelf, "llama2", Conversation((full_turn(),))) for _ in range(2))

    def fail() -> None:
        raise RuntimeError("none of the foreseen")

    monkeypatch.setattr(broken, "save", fail)
    keeper().save()
    assert sound.is_kept and "something is not kept" in caplog.text


def test_a_store_that_has_failed_is_left_alone_for_a_while_and_then_tried_again(
    shelf: Shelf, session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(histories, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    monkeypatch.setattr(histories, "open_shelf", lambda: shelf)
    assert histories.get_shelf() is shelf
    histories.note_failure(NotKept("The disk is full.", "磁盘已满。"))
    for _ in range(2):
        with pytest.raises(NotKept, match="full") as said:
            histories.get_shelf()
        histories.note_failure(said.value)  # as the page does, which makes nothing last longer
        now.seconds += histories.PATIENCE / 2
    assert histories.get_shelf() is shelf


# --- an answer that another session writes ---------------------------------------------------------


def test_the_rest_is_seen_as_it_comes(shelf: Shelf, session: dict[str, Any]) -> None:
    """After a refresh in the middle of an answer, by the session that was refreshed."""
    writing = Conversation((Turn("q"),))
    writer = KeptConversation(shelf, "llama2", writing)
    writing.begin_answer("m")
    writing.write("half")
    writer.save()
    thing = shelf.get(writer.id)
    assert thing
    reader = KeptConversation.read(shelf, thing)
    assert reader.conversation.turns[0].answers == (Answer("half", "failed", {}, "m"),)
    watch(reader)  # nothing new
    writing.write("half and more")
    writer.save()
    with pytest.raises(Rerun):
        watch(reader)
    assert reader.look() and reader.looks == LOOKS
    writing.end_answer("stop", {})
    writer.save()
    assert reader.look() and reader.looks == 0
    assert reader.conversation.turns == writing.turns
    reader.save()
    assert shelf.revision(writer.id) == 3  # the reader has written nothing


def test_what_was_said_in_two_tabs_at_once_is_kept_of_both(shelf: Shelf, session: dict[str, Any]) -> None:
    mine = KeptConversation(shelf, "llama2", Conversation((Turn("q"),)))
    mine.save()
    thing = shelf.get(mine.id)
    assert thing
    theirs = KeptConversation.read(shelf, thing)
    theirs.conversation.ask("theirs")
    theirs.save()
    mine.conversation.ask("mine")
    assert not mine.look() and mine.conversation.turns[-1].question == "mine"
    mine.save()
    assert turns(shelf, theirs) == ["q", "theirs"] and turns(shelf, mine) == ["q", "mine"]


def test_an_answer_that_has_not_begun_is_waited_for(shelf: Shelf, session: dict[str, Any]) -> None:
    """The model is being loaded, say."""
    writer = KeptConversation(shelf, "llama2", Conversation((Turn("q"),)))
    writer.save()
    thing = shelf.get(writer.id)
    assert thing
    reader = KeptConversation.read(shelf, thing)
    assert reader.looks == LOOKS and reader.conversation.turns == (Turn("q"),)


def test_nobody_is_waited_for_without_end(shelf: Shelf, session: dict[str, Any]) -> None:
    writing = Conversation((Turn("q", (Answer("half", ""),)),))
    writer = KeptConversation(shelf, "llama2", writing)
    writer.save()
    thing = shelf.get(writer.id)
    assert thing
    reader = KeptConversation.read(shelf, thing)
    with pytest.raises(Rerun):
        for _ in range(LOOKS):
            watch(reader)
    assert reader.looks == 0
