"""Pictures and captions on a page, one part at a time: which are taken, where boxes go, what can be clicked."""

import io
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st
from PIL import Image

from models.errors import BadInput
from models.jobs import Job
from models.schema import ChatOptions, Checkpoint, Placement
from pages.shared import loading, turn_view
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.dictation import MessageInput
from pages.shared.conversation.turns import Answer, PictureFile, Source, Turn
from pages.shared.vision import album as album_module
from pages.shared.vision import captions, pictures, questions, region
from pages.shared.vision.album import Album
from tests.fakes.engines import FakeEngine, Stage
from tests.fakes.script import Rerun, lend, record
from tests.fakes.waiting import WAIT

pytestmark = pytest.mark.usefixtures("session")


def png(width: int = 8, height: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(file, "PNG")
    return file.getvalue()


def upload(name: str, data: bytes) -> Any:
    return SimpleNamespace(name=name, getvalue=lambda: data)


GOOD, OTHER = upload("a.png", png()), upload("b.png", png(4, 2))
BAD, WORSE = upload("c.png", b"no picture"), upload("d.png", b"")


# --- taken in --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "names", "said"),
    [
        ([], [], None),
        ([GOOD, OTHER], ["a.png", "b.png"], None),
        ([BAD, GOOD, WORSE, OTHER], ["a.png", "b.png"], "c.png: "),
    ],
)
def test_what_is_no_picture_is_said_of_the_first_and_the_others_are_taken(
    files: list[Any], names: list[str], said: str | None
) -> None:
    found, error = pictures.read_uploads(files)
    assert [picture.name for picture in found] == names
    assert (
        (error is None) if said is None else (str(error).startswith(said) and error.zh.startswith("c.png："))
    )  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "files", "asked", "waiting", "failed"),
    [
        ("What?", [GOOD], True, 0, False),
        ("What?", [], True, 0, False),
        ("  ", [GOOD], False, 1, False),  # pictures without words wait for some
        ("What?", [BAD, GOOD], False, 0, True),  # the question is kept, and what is wrong is said
        ("", [BAD, GOOD], False, 1, True),
    ],
)
def test_a_message_with_files(
    text: str, files: list[Any], asked: bool, waiting: int, failed: bool, session: dict[str, Any]
) -> None:
    talk = Conversation()
    session["qwen_vl.sources"] = [Source("a", "b")]
    typed = MessageInput(text, tuple(files))
    if asked:
        turn = questions.compose_question("key", "qwen_vl", talk, typed)
        assert turn is not None and (turn.question, len(turn.pictures)) == (text, len(files))
    else:
        with pytest.raises(Rerun):
            questions.compose_question("key", "qwen_vl", talk, typed)
    assert len(session.get("key.waiting", [])) == waiting
    assert isinstance(session.get("qwen_vl.failure"), BadInput) is failed
    kept = failed and bool(text.strip())
    assert [len(turn.pictures) for turn in talk.turns] == [1] * kept
    assert [len(turn.sources) for turn in talk.turns] == [1] * kept


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://a.org/x/cat.png?size=2#top", "cat.png"),
        ("https://a.org/", "picture"),
        ("https://a.org", "picture"),
        ("https://a.org/x/", "x"),
    ],
)
def test_a_picture_of_an_address_is_called_by_its_path(
    address: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "fetch", lambda address: png())
    # Without a session everything drawn later would count as a part of the form.
    monkeypatch.setattr(st, "form", lambda *_, **__: nullcontext())
    monkeypatch.setattr(st, "text_input", lambda *_, **__: address)
    monkeypatch.setattr(st, "form_submit_button", lambda *_, **__: True)
    found = questions._fetch_picture("key", "qwen_vl")
    assert found is not None and found.name == name


@pytest.mark.parametrize(
    ("drawn", "across", "down"),
    [
        ([1, 2, 3, 4], (1, 3), (2, 4)),
        ([-5, 0, 2000, 999], (0, region.LAST), (0, 999)),
        ([1.9, 2.9, 3.9, 4.9], (1, 3), (2, 4)),
    ],
)
def test_what_is_dragged_stays_in_the_picture(
    drawn: list[float], across: Any, down: Any, session: dict[str, Any]
) -> None:
    session["canvas"] = {"drawn": drawn}
    region._move_sliders("canvas", "across", "down")
    assert (session["across"], session["down"]) == (across, down)


# --- shown -----------------------------------------------------------------------------------------

FILES = tuple(PictureFile(f"{name}.png", png(100, 50)) for name in "abc")
BOX = "<ref>cat</ref><box>(100,200),(300,400)</box>"


@pytest.mark.parametrize(
    ("questions", "text", "names"),
    [
        (["?"], BOX, ["c.png"]),  # the newest
        (["Picture 1: where?"], BOX, ["a.png"]),
        (["In picture 2: where?"], BOX, ["b.png"]),
        (["Picture 1: where?", "?"], BOX, ["c.png"]),  # an earlier question names nothing now
        (["?"], "Picture 9: " + BOX, ["c.png"]),  # there are not so many
        (["?"], "No box.", []),
    ],
)
def test_boxes_belong_to_the_picture_that_is_named(questions: list[str], text: str, names: list[str]) -> None:
    turns = [Turn(questions[0], pictures=FILES), *(Turn(question) for question in questions[1:])]
    found = pictures._find_boxes(turns, text)
    assert [picture.name for picture, _ in found] == names
    assert all(box.label == "cat" for _, boxes in found for box in boxes)
    assert pictures._find_boxes([Turn(question) for question in questions], text) == []


def test_pictures_are_numbered_on(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(st, "image", lambda data, caption, width: shown.append(caption))
    pictures.show_pictures(FILES[:2])
    pictures.show_pictures([PictureFile("*a*.png", FILES[0].data)], before=2)
    pictures.show_pictures([])
    assert shown == ["1 · a.png", "2 · b.png", r"3 · \*a\*.png"]
    shown.clear()
    asked = [Turn("?", pictures=FILES[:2]), Turn("And that?", pictures=FILES[2:])]
    chat: Any = SimpleNamespace(key="qwen_vl", sees=True)
    for number in (1, 2):
        turn_view._show_question(chat, asked[:number])
    assert shown == ["1 · a.png", "2 · b.png", "3 · c.png"]


def test_boxes_are_listed_in_pixels_of_the_whole_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    tables: list[Any] = []
    given: list[Any] = []
    monkeypatch.setattr(st, "image", lambda *_, **__: None)
    monkeypatch.setattr(st, "table", tables.append)
    monkeypatch.setattr(
        pictures, "_show_downloads", lambda key, picture, boxes, data: given.append((key, data))
    )
    turns = [Turn("?", (Answer(BOX + BOX),), pictures=FILES[:1])]
    pictures.show_boxes("key", turns)
    box = given[0][1]["boxes"][0]["box"]
    assert tables == [
        {"no.": [1, 2], "label": ["cat"] * 2, **{
            side: [value] * 2 for side, value in zip(("left", "top", "right", "bottom"), box, strict=True)
        }}
    ]  # fmt: skip
    assert given[0][0] == "key.1.0" and len(given) == 1
    assert (given[0][1]["picture"], given[0][1]["width"], given[0][1]["height"]) == ("a.png", 100, 50)
    pictures.show_boxes("key", [Turn("?", pictures=FILES)])  # no answer yet
    assert len(given) == 1


# --- captions --------------------------------------------------------------------------------------


@pytest.fixture
def album() -> Iterator[Album]:
    made = Album()
    for name in "abc":
        made.add(f"{name}.png", png())
    yield made
    made.stop()


@pytest.mark.parametrize(
    ("done", "working", "ready", "label", "disabled"),
    [
        (0, False, True, "Caption all", [False, True, False]),
        (0, False, False, "Caption all", [True, True, False]),  # nothing is asked of the pictures
        (1, False, True, "Continue", [False, True, False]),
        (3, False, True, "Caption all", [True, True, False]),
        (1, True, True, "Continue", [True, False, False]),
    ],
)
def test_which_buttons_of_an_album_can_be_clicked(
    done: int, working: bool, ready: bool, label: str, disabled: list[bool], album: Album,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    drawn: list[tuple[str, bool]] = []
    monkeypatch.setattr(st, "button", lambda label, *, disabled, **_: drawn.append((label, disabled)))
    for caption in album.captions[:done]:
        caption.text = "a cat"
    with Job[Any, Any](lambda _, cancel: cancel.wait(WAIT)) as job:
        album.job = job if working else None
        assert not captions._show_buttons("qwen_vl", album, ready)
    assert drawn[0][0] == label and [found for _, found in drawn] == disabled


def test_an_empty_album_has_nothing_to_remove(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[bool] = []
    monkeypatch.setattr(st, "button", lambda *_, disabled, **__: drawn.append(disabled))
    captions._show_buttons("qwen_vl", Album(), True)
    assert drawn == [True, True, True]


def test_edits_of_the_table_are_the_captions(album: Album, session: dict[str, Any]) -> None:
    session["key"] = {"edited_rows": {"0": {"text": "a dog"}, "2": {"text": None}, 1: {"name": "x"}}}
    album.captions[1].text = album.captions[2].text = "a cat"
    captions._apply_edits("key", album)
    assert [caption.text for caption in album.captions] == ["a dog", "a cat", ""]


@pytest.mark.parametrize(
    ("was_working", "working", "again"),
    [(None, False, False), (False, True, False), (True, True, False), (True, False, True)],
)
def test_the_page_is_drawn_whole_once_all_have_captions(
    was_working: Any, working: bool, again: bool, album: Album, session: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    drawn: list[int] = []
    monkeypatch.setattr(captions, "_show_progress", lambda album: drawn.append(1))
    monkeypatch.setattr(captions, "_show_table", lambda *_: drawn.append(2))
    if was_working is not None:
        session["qwen_vl.captioning"] = was_working
    with Job[Any, Any](lambda _, cancel: cancel.wait(WAIT)) as job:
        album.job = job if working else None
        try:
            captions._show_progress_and_table("qwen_vl", album)
        except Rerun:
            assert again and not drawn
        else:
            assert not again and drawn == [1, 2]
    assert session["qwen_vl.captioning"] is working


def test_an_engine_is_held_while_pictures_get_their_captions(
    album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEngine, "stage", Stage())
    engine = FakeEngine("x", Checkpoint("x", "llama2", "chat", "gguf"), Placement("cpu", "fp32", context=64))
    held: list[Any] = []

    def look(asked: Any, these: Any, *_: Any) -> Any:
        held.append((asked.leased, these))
        return iter(())

    monkeypatch.setattr(album_module, "caption_many", look)
    before = album.editor
    album.start(lend(monkeypatch, engine), "What?", ChatOptions())
    assert album.job is not None and album.job.wait(WAIT)
    assert held == [(True, album.captions)] and not engine.leased and album.editor > before
    job = album.job
    album.clear()
    assert job.cancel.is_set() and album.job is None and album.captions == [] and not album.thumbnails()


def test_an_album_that_broke_off_says_why_once(
    album: Album, session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    record(monkeypatch, "button", "info")
    monkeypatch.setattr(captions, "show_albums", lambda family, place: album)
    for name in ("_add_pictures", "_show_buttons"):
        monkeypatch.setattr(captions, name, lambda *_, **__: None)
    monkeypatch.setattr(captions, "_choose_wording", lambda family, album: ("What?", ""))
    album.start(lend(monkeypatch, ZeroDivisionError("odd")), "What?", ChatOptions())
    assert album.job is not None and album.job.wait(WAIT)
    row = Checkpoint("row", "qwen_vl", "vision", "qwen-vl")
    choice = loading.Choice("qwen_vl", "row", "cpu", "fp32", 64, row, None, True, True)
    with pytest.raises(Rerun):
        captions.show_captions(choice, ChatOptions(), None)
    assert isinstance(session["qwen_vl.failure"], ZeroDivisionError) and album.job is None
