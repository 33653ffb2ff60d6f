"""Recordings that are kept: the form of it, and the queue after a refresh, in every tab, and by nobody else."""

import io
import json
import shutil
import threading
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from models import loader
from models.errors import BadInput, NotKept
from models.jobs import Job
from models.schema import Segment, SpeechOptions, Word
from models.store.opening import open_store
from models.store.store import Limits
from models.transcripts import live
from models.transcripts.recordings import Recording
from pages.shared.keeping.keeper import keeper
from pages.shared.speech.editing import apply_edit
from pages.shared.speech.kept import read_content, words_of, write_content
from pages.shared.speech.live import LiveRecording
from pages.shared.speech.queue import queues
from tests.fakes.engines import Stage
from tests.fakes.sounds import sine, write_sound
from tests.fakes.visitor import (
    BOB,
    Browser,
    again,
    alive,
    choose_from_menu,
    click,
    kept,
    keys,
    listed,
    named_in_address,
    open_listed,
    sentences,
    sidebar,
    texts,
    to,
    untranslated,
    visit,
)
from tests.fakes.waiting import WAIT, until

LINE = Segment(
    0.0, 1.5, " Hello", (Word(0.0, 1.5, " Hello", 0.5),), -0.25, 0.1, 1.5, 0.2, 100, (1, 2), ("quiet",), "A"
)
HEARD = [LINE, Segment(1.5, 3.0, " 世界")]


def full() -> Recording:
    """With all that a recording can have."""
    options = SpeechOptions(language="de", word_timestamps=True, initial_prompt="heron")
    made = Recording("talk.wav", Path("talk.wav"), 2, options, "failed", [*HEARD], (LINE,), 3, 60.0, 3.0)
    made.language, made.probability, made.seconds = "de", 0.75, 1.25
    made.trouble = BadInput("No sound.", "没有声音。")
    made.change((replace(LINE, text=" Corrected", doubts=()), HEARD[1]))
    translation = made.translate()
    translation.lines, translation.state, translation.options = (Segment(0.0, 1.5, " HI"),), "done", options
    return made


def comparable(recording: Recording) -> dict[str, Any]:
    facts = vars(recording) | {"version": 0, "left": None, "trouble": str(recording.trouble)}
    return facts | {"translation": recording.translation and comparable(recording.translation)}


def test_all_of_a_recording_comes_back() -> None:
    content = json.loads(json.dumps(write_content(full())))
    back = read_content(content, Path("talk.wav"))
    assert comparable(back) == comparable(full())
    assert back.trouble is not None and vars(back.trouble) == {"en": "No sound.", "zh": "没有声音。"}
    back.undo()
    assert back.lines == (LINE,)
    assert len(content["segments"]) == 4  # each line once, in whichever step of the corrections it is


def test_nothing_new_of_a_recording_is_forgotten() -> None:
    """Each of its fields is kept, or is of the moment: whoever adds one says which."""
    of_the_moment = {"path", "version", "left", "ahead"}
    kept_of_it = write_content(full()).keys() - {"quintet", "segments"}
    assert {field.name for field in fields(Recording)} == kept_of_it | of_the_moment


def test_what_was_under_way_broke_off() -> None:
    recording = full()
    recording.state, recording.trouble = "running", None
    content = write_content(recording)
    back = read_content(content, Path())
    assert back.state == "failed" and "broke off" in str(back.trouble) and back.heard == HEARD
    waiting = Recording("talk.wav", Path())
    assert read_content(write_content(waiting), Path()).state == "waiting"


def test_an_error_that_nobody_foresaw_is_said_as_before() -> None:
    recording = Recording("talk.wav", Path(), state="failed", trouble=RuntimeError("bits"))
    back = read_content(write_content(recording), Path())
    assert "did not foresee" in str(back.trouble) and str(back.trouble).endswith("RuntimeError: bits")


def damaged() -> list[Any]:
    whole = write_content(full())
    return [
        None,
        [],
        {},
        whole | {"quintet": 2},
        whole | {"segments": []},
        whole | {"state": "odd"},
        whole | {"name": 3},
        whole | {"duration": "long"},
        whole | {"options": {"temperature": 99.0}},
        whole | {"options": {"unknown": 1}},
        whole | {"segments": [{"start": 0.0}] * 4},
        whole | {"segments": [{"start": 0.0, "end": 1.0, "text": "\ud800"}] * 4},
        whole | {"lines": [-1]},
        whole | {"translation": {"state": "done"}},
        {key: value for key, value in whole.items() if key != "past"},
    ]


@pytest.mark.parametrize("content", damaged())
def test_what_cannot_be_read_is_a_sentence(content: Any) -> None:
    with pytest.raises(NotKept, match="cannot be read"):
        read_content(content, Path())


def test_what_a_search_finds() -> None:
    assert words_of(full()).split("\n") == [" Corrected", " 世界", " HI"]


# --- the page --------------------------------------------------------------------------------------


@pytest.fixture
def wav(tmp_path: Path) -> bytes:
    return write_sound(tmp_path / "sound.wav", sine(0.5)).read_bytes()


@pytest.fixture
def heard(browser: type[Browser], stage: Stage) -> Stage:
    stage.heard = [*HEARD]
    return stage


def add(at: AppTest, *names: str, data: bytes) -> AppTest:
    for name in names:
        alive(at.file_uploader[0].upload(name, data, "audio/wav").run())
    return at


def transcribe(at: AppTest) -> AppTest:
    return settled(click(at, "whisper.go"))


def queue(at: AppTest) -> Any:
    return at.session_state["held.workspace"].queue


def shown(at: AppTest) -> Any:
    return at.session_state["held.workspace"].shown


def settled(at: AppTest) -> AppTest:
    until(lambda: not queue(at).running)
    return again(at)


def names(at: AppTest) -> list[str]:
    return [recording.name for recording in queue(at).recordings]


def lines(at: AppTest) -> list[str]:
    return [line.text for line in shown(at).lines]


def leave(at: AppTest) -> None:
    """As a server does that ends: nothing of it is in memory any more."""
    keeper().save()
    at.session_state["held.workspace"].close()


def traces(folder: Path, *marks: bytes) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if any(mark in path.read_bytes() for mark in marks)]


def test_a_queue_is_back_after_a_restart(heard: Stage, wav: bytes, keeping: Path) -> None:
    at = transcribe(add(visit("whisper"), "talk.wav", data=wav))
    apply_edit(shown(at), {"action": "remove", "line": 0, "version": shown(at).version})
    at = add(again(at), "later.wav", data=wav + b"later")
    old = [comparable(recording) for recording in queue(at).recordings]
    leave(at)
    new = visit("whisper")
    paths = [recording.path for recording in queue(new).recordings]
    assert [path.read_bytes() for path in paths] == [wav, wav + b"later"]
    assert [comparable(found) | {"path": 0} for found in queue(new).recordings] == [
        facts | {"path": 0} for facts in old
    ]
    assert listed(new, "whisper") == ["later.wav", "talk.wav"] and shown(new).name == "later.wav"
    new = settled(click(new, "whisper.go"))
    assert [recording.state for recording in queue(new).recordings] == ["done", "done"]
    first = queue(new).recordings[0]
    first.undo()
    assert [line.text for line in first.lines] == [line.text for line in HEARD]
    assert len(traces(keeping, b"later")) > 0
    until(lambda: not queue(new).get_sound(shown(new)).running)
    assert queue(new).get_sound(shown(new)).value is not None  # a kept sound is heard


def test_tabs_share_the_queue_and_no_other_browser_sees_it(
    heard: Stage, browser: type[Browser], wav: bytes
) -> None:
    at = transcribe(add(visit("whisper"), "talk.wav", data=wav))
    tab = visit("whisper")
    assert names(tab) == ["talk.wav"] and lines(tab) == lines(at)
    apply_edit(shown(tab), {"action": "remove", "line": 0, "version": shown(tab).version})
    assert lines(again(at)) == [" 世界"]
    leave(at)
    assert shown(again(tab)).path.is_file()  # whoever else is there goes on
    browser.secret = BOB
    other = visit("whisper")
    assert names(other) == [] and listed(other, "whisper") == [] and kept("recording") == []


def test_a_refresh_in_the_middle_goes_on(heard: Stage, wav: bytes) -> None:
    heard.hold = (1, threading.Event())
    at = click(add(visit("whisper"), "talk.wav", data=wav), "whisper.go")
    until(lambda: len(queue(at).recordings[0].lines) == 1)
    tab = visit("whisper")
    assert shown(tab).state == "running" and not tab.button(key="whisper.stop").disabled
    heard.hold[1].set()
    assert lines(settled(tab)) == [line.text for line in HEARD]


def test_a_recording_is_kept_while_it_is_recognised(heard: Stage, wav: bytes, keeping: Path) -> None:
    """What a kill would leave."""
    heard.hold = (1, threading.Event())
    at = click(add(visit("whisper"), "talk.wav", data=wav), "whisper.go")
    until(lambda: len(queue(at).recordings[0].lines) == 1)
    keeper().save()  # as the thread does every second
    (thing,) = kept("recording")
    assert thing.content["state"] == "running" and len(thing.content["lines"]) == 1
    left = keeping.with_name("left")
    shutil.copytree(keeping, left)
    heard.hold[1].set()
    leave(settled(at))
    shutil.rmtree(keeping)
    left.rename(keeping)
    open_store.__globals__["_open"].cache_clear()
    new = visit("whisper")
    assert shown(new).state == "failed" and "broke off" in sentences(new)[0] and lines(new) == [" Hello"]
    new = settled(click(new, "whisper.resume.0"))
    assert heard.resumed[-1] == 1 and lines(new) == [line.text for line in HEARD] and not sentences(new)


def test_two_servers_do_not_write_over_each_other(
    heard: Stage, wav: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where several machines have one database: what both changed is there twice."""
    one = transcribe(add(visit("whisper"), "talk.wav", data=wav))
    other = queues.__wrapped__()
    monkeypatch.setattr("pages.shared.speech.workspace.queues", lambda: other)
    two = visit("whisper")
    assert shown(two) is not shown(one) and lines(two) == lines(one)
    apply_edit(shown(two), {"action": "remove", "line": 0, "version": shown(two).version})
    two = again(two)
    assert lines(again(one)) == [" 世界"]  # it was not changed here, and is read again
    for at, line in ((one, "one"), (two, "two")):
        edit = {"action": "save", "line": 0, "text": line, "start": 1.5, "end": 3.0}
        apply_edit(shown(at), edit | {"version": shown(at).version})
    again(one)
    again(two)
    assert sorted(thing.words for thing in kept("recording")) == [" one", " two"]


def speaking(at: AppTest, monkeypatch: pytest.MonkeyPatch) -> LiveRecording:
    """Somebody speaks on that page, and the first words are text."""
    monkeypatch.setattr(live, "WAIT", 0.001)
    (engine,) = loader.shared().loaded()
    transcript = live.LiveTranscript(engine)  # type: ignore[arg-type]
    begun = LiveRecording("a", transcript, Job(transcript.run))
    at.session_state["whisper.live.recording"] = begun
    for _ in range(3):
        transcript.feed(bytes(32_000))
        until(lambda: transcript.now.recognised == transcript.received)
    return begun


def test_what_is_said_live_is_kept_while_it_is_said(heard: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    heard.heard = [Segment(0.0, 0.8, " good morning", (Word(0.0, 0.4, " good"), Word(0.4, 0.8, " morning")))]
    at = click(visit("whisper"), "whisper.live.load")
    begun = speaking(at, monkeypatch)
    again(at)
    keeper().save()  # as the thread does every second
    (thing,) = kept("recording")
    assert thing.words == " good morning" and thing.content["state"] == "running" and names(at) == []
    begun.transcript.end()
    begun.over = True
    assert begun.job.wait(WAIT)
    leave(again(again(at)))
    new = visit("whisper")
    assert lines(new) == [" good morning"] and shown(new).state == "done" and len(kept("recording")) == 1
    assert shown(new).path.stat().st_size == 44 + 96_000 and shown(new).duration == 3.0


def test_what_was_said_when_the_page_ended_is_a_recording(
    heard: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = click(visit("whisper"), "whisper.live.load")
    speaking(at, monkeypatch)
    leave(again(at))
    new = visit("whisper")
    assert shown(new).state == "done" and shown(new).path.stat().st_size == 44 + 96_000


# --- the list --------------------------------------------------------------------------------------


def test_another_queue_and_what_was_in_the_one_before(heard: Stage, wav: bytes) -> None:
    at = transcribe(add(visit("whisper"), "first.wav", data=wav))
    at = click(again(at), "whisper.new")
    assert names(at) == [] and listed(at, "whisper") == ["first.wav"] and "c" not in at.query_params
    at = again(add(at, "second.wav", data=wav))
    assert names(at) == ["second.wav"]
    leave(at)
    new = visit("whisper")
    assert names(new) == ["second.wav"] and listed(new, "whisper") == ["second.wav", "first.wav"]
    new = open_listed(new, "first.wav", "whisper")
    assert names(new) == ["second.wav", "first.wav"] and lines(new) == [line.text for line in HEARD]
    assert shown(new).path.read_bytes() == wav


def test_found_by_words_and_renamed(heard: Stage, wav: bytes) -> None:
    at = again(transcribe(add(visit("whisper"), "talk.wav", data=wav)))
    find = at.text_input(key="whisper.search")
    assert listed(alive(find.set_value("世界").run()), "whisper") == ["talk.wav"]
    at = alive(at.text_input(key="whisper.search").set_value("dragon").run())
    assert listed(at, "whisper") == [] and "No recording has all these words" in sidebar(at)
    at = alive(at.text_input(key="whisper.search").set_value("").run())
    at = choose_from_menu(at, "talk.wav", "rename", "whisper")
    at = alive(next(box for box in at.text_input if box.label == "Title").set_value("Herons.wav").run())
    assert listed(at, "whisper") == ["Herons.wav"] and at.subheader[0].value == "Herons.wav"
    leave(again(at))
    assert names(visit("whisper")) == ["Herons.wav"]


def test_deleting_is_deleting_and_undo_brings_it_back(heard: Stage, wav: bytes, keeping: Path) -> None:
    at = again(transcribe(add(visit("whisper"), "talk.wav", data=wav)))
    assert traces(keeping, wav[:200])
    at = choose_from_menu(at, "talk.wav", "delete", "whisper")
    assert names(at) == [] and listed(at, "whisper") == [] and kept("recording") == []
    assert not traces(keeping, wav[:200], b"Hello", b"talk.wav", "世界".encode())
    at = again(click(at, "whisper.undelete"))
    assert names(at) == ["talk.wav"] == listed(at, "whisper") and lines(at) == [" Hello", " 世界"]
    assert shown(at).path.read_bytes() == wav
    at = click(at, "whisper.remove.0")  # the same from the queue
    assert not traces(keeping, wav[:200], b"Hello") and "whisper.undelete" in keys(at)


def test_deleting_one_that_is_being_recognised(heard: Stage, wav: bytes, keeping: Path) -> None:
    heard.hold = (1, threading.Event())
    at = click(add(visit("whisper"), "talk.wav", data=wav), "whisper.go")
    until(lambda: len(queue(at).recordings[0].lines) == 1)
    at = choose_from_menu(again(at), "talk.wav", "delete", "whisper")
    at = settled(at)
    keeper().save()
    assert names(at) == [] and kept("recording") == [] and not traces(keeping, b"Hello")


def test_deleting_all(heard: Stage, wav: bytes, keeping: Path) -> None:
    at = again(transcribe(add(visit("whisper"), "talk.wav", "other.wav", data=wav)))
    at = alive(at.checkbox(key="whisper.sure").check().run())
    at = click(at, "whisper.delete_all")
    assert names(at) == [] and listed(at, "whisper") == [] and not traces(keeping, wav[:200], b"Hello")
    assert listed(again(add(at, "afterwards.wav", data=wav)), "whisper") == ["afterwards.wav"]


def test_the_address_brings_a_recording_back_to_its_owner_only(
    heard: Stage, browser: type[Browser], wav: bytes
) -> None:
    at = again(transcribe(add(visit("whisper"), "talk.wav", data=wav)))
    name = named_in_address(at)
    leave(click(at, "whisper.new"))
    back = visit("whisper")
    assert names(back) == []
    back.query_params["c"] = name
    assert names(again(back)) == ["talk.wav"] and named_in_address(back) == name
    elsewhere = visit()
    elsewhere.query_params["c"] = name
    assert again(elsewhere).title[0].value == "Whisper"
    browser.secret = BOB
    other = visit("whisper")
    other.query_params["c"] = name
    assert names(again(other)) == [] and "somebody else's" in sidebar(other)


# --- what does not work ------------------------------------------------------------------------------


def test_keeping_nothing(heard: Stage, wav: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUINTET_KEEP", "0")
    at = again(transcribe(add(visit("whisper"), "talk.wav", data=wav)))
    assert "This server keeps nothing" in sidebar(at) and "whisper.new" not in keys(at)
    assert lines(at) == [" Hello", " 世界"] and names(visit("whisper")) == []
    assert names(click(at, "whisper.remove.0")) == []


def test_one_that_cannot_be_read_does_not_hide_the_others(heard: Stage, wav: bytes) -> None:
    at = again(add(visit("whisper"), "first.wav", "second.wav", data=wav))
    leave(at)
    (broken,) = (thing for thing in kept("recording") if thing.title == "first.wav")
    open_store().shelf(Browser.secret).put(replace(broken, content={"quintet": 99}))
    new = visit("whisper")
    assert names(new) == ["second.wav"] and "cannot be read" in sidebar(new)
    assert "cannot be read" in sidebar(open_listed(new, "first.wav", "whisper"))
    at = choose_from_menu(new, "first.wav", "delete", "whisper")
    assert listed(at, "whisper") == ["second.wav"]


def test_a_sound_that_is_gone_takes_no_text_with_it(heard: Stage, wav: bytes, keeping: Path) -> None:
    leave(again(transcribe(add(visit("whisper"), "talk.wav", data=wav))))
    shutil.rmtree(keeping / "files")
    at = again(visit("whisper"))
    assert lines(at) == [" Hello", " 世界"]
    apply_edit(shown(at), {"action": "remove", "line": 0, "version": shown(at).version})
    again(at)
    assert kept("recording")[0].words == " 世界"


def test_what_was_not_kept_for_a_while_is_kept_then(
    heard: Stage, wav: bytes, monkeypatch: pytest.MonkeyPatch, keeping: Path
) -> None:
    monkeypatch.setattr("pages.shared.keeping.keeper.PATIENCE", 0.0)
    at = visit("whisper")
    monkeypatch.setattr(open_store(), "limits", Limits(100, 100))
    at = again(transcribe(add(at, "talk.wav", data=wav)))
    assert "as much as you may" in sidebar(at) and lines(at) == [" Hello", " 世界"]
    assert kept("recording") == [] and not traces(keeping, wav[:200])
    monkeypatch.setattr(open_store(), "limits", Limits(10**9, 10**9))
    assert "as much as you may" not in sidebar(again(at)) and len(kept("recording")) == 1


def test_a_full_disk_stops_nobody(
    heard: Stage, wav: bytes, keeping: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_: Path, target: Path) -> None:
        target.write_bytes(wav[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("models.store.folder.link_or_copy", fill)
    at = again(transcribe(add(visit("whisper"), "talk.wav", data=wav)))
    assert "disk of this server is full" in sidebar(at) and lines(at) == [" Hello", " 世界"]
    assert kept("recording") == [] and not traces(keeping, wav[:100], b"Hello")


def test_a_damaged_database_stops_nobody(heard: Stage, wav: bytes, keeping: Path) -> None:
    keeping.mkdir()
    (keeping / "quintet.db").write_bytes(b"nothing like a database" * 500)
    at = again(transcribe(add(visit("whisper"), "talk.wav", data=wav)))
    assert "damaged" in sidebar(at) and lines(at) == [" Hello", " 世界"]


def test_what_is_added_before_the_store_is_there_is_kept_then(
    heard: Stage, wav: bytes, browser: type[Browser]
) -> None:
    browser.secret, secret = "", browser.secret
    at = again(add(visit("whisper"), "talk.wav", data=wav))
    assert "takes no cookie" in sidebar(at)
    browser.secret = secret
    at.session_state["not_kept"] = None, 0.0
    assert listed(again(again(at)), "whisper") == ["talk.wav"]


def test_a_page_costs_no_more_for_what_is_only_kept(
    heard: Stage, wav: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = again(transcribe(add(visit("whisper"), "talk.wav", data=wav)))
    at = click(again(at), "whisper.new")
    keeper().save()  # what was set is kept now
    monkeypatch.setattr(
        "models.store.store.Shelf.get", lambda _, id, *__: None if id == "settings" else pytest.fail("read")
    )
    monkeypatch.setattr("models.store.store.Shelf.put", lambda *_: pytest.fail("written"))
    assert listed(again(at), "whisper") == ["talk.wav"]
    leave(at)
    assert listed(visit("whisper"), "whisper") == ["talk.wav"]


def test_corrections_do_not_read_the_sound(heard: Stage, wav: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    at = again(transcribe(add(visit("whisper"), "talk.wav", data=wav)))
    read = "pages.shared.speech.kept_recording.digest_of"
    monkeypatch.setattr(read, lambda _: pytest.fail("read"))
    apply_edit(shown(at), {"action": "remove", "line": 0, "version": shown(at).version})
    again(at)
    assert kept("recording")[0].words == " 世界"


def test_both_languages(heard: Stage, wav: bytes) -> None:
    pages = []
    for locale in ("en-US", "zh-CN"):
        at = again(add(visit("whisper", locale), "1.wav", "2.wav", data=wav))
        at = choose_from_menu(at, "1\\.wav", "delete", "whisper")
        pages.append(list(texts(alive(at.text_input(key="whisper.search").set_value("3").run()))))
        open_store().shelf(Browser.secret).clear()
        leave(at)
    assert untranslated(*pages) == []


def test_another_page_and_back(heard: Stage, wav: bytes) -> None:
    at = again(add(visit("whisper"), "talk.wav", data=wav))
    at.query_params.clear()  # as a browser does on the way to another page
    at = to(to(at, "llama2"), "whisper")
    assert names(at) == ["talk.wav"] and io.BytesIO(shown(at).path.read_bytes()).read() == wav
