"""Captions for many pictures: made side by side, corrected, and written as files. The engine is fake."""

import csv
import io
import json
import re
import threading
import zipfile
from typing import Any

import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

from models.captions import Caption, write
from models.catalog import CHECKPOINTS
from models.errors import BadInput, EngineFailed
from models.file_names import file_names
from pages.shared.vision import questions
from pages.shared.vision.album import Album
from pages.shared.vision.captions import DRAWN, LISTED, _apply_edits
from starters.qwen_vl.drawing import draw, example
from starters.qwen_vl.scenes import make
from tests.fakes.engines import FakeVisionEngine, Stage
from tests.fakes.visitor import alive, click, sentences, visit
from tests.fakes.waiting import until

TYPE = "image/png"


def png(width: int = 40, height: int = 20) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(file, "PNG")
    return file.getvalue()


def many(*pictures: tuple[str, bytes]) -> AppTest:
    at = visit("qwen_vl")
    alive(at.segmented_control(key="set.qwen_vl.mode").set_value(questions.MANY).run())
    return upload(at, *pictures) if pictures else at


def upload(at: AppTest, *pictures: tuple[str, bytes]) -> AppTest:
    uploader = next(found for found in at.main.file_uploader if found.label == "Pictures to caption")
    return alive(uploader.set_value([(name, data, TYPE) for name, data in pictures]).run())


def finished(at: AppTest) -> AppTest:
    """After the work of "Caption all"."""
    click(at, "qwen_vl.caption")
    mine = album(at)
    if mine.job:
        until(lambda: not mine.job.running)
    return alive(at.run())


def album(at: AppTest) -> Album:
    """Of the only visitor."""
    return albums[-1]


albums: list[Album] = []


@pytest.fixture(autouse=True)
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests look into the albums that were made."""
    make = Album.__init__
    albums.clear()

    def remember(self: Album) -> None:
        make(self)
        albums.append(self)

    monkeypatch.setattr(Album, "__init__", remember)


def rows(at: AppTest) -> list[tuple[str, str]]:
    return [(caption.name, caption.text) for caption in album(at).captions]


PROMPT = "Describe this picture in one sentence."


def test_many_pictures_get_their_captions_and_two_bad_ones_a_sentence(
    stage: Stage, downloads: dict[str, Any]
) -> None:
    pictures = [(f"{n}.png", png(n + 1, 5)) for n in range(20)]
    pictures[3], pictures[7] = ("3.png", b"bad"), ("7.png", b"")
    at = finished(many(*pictures))
    expected = [(f"{n}.png", "" if n in (3, 7) else f"{PROMPT} {n + 1}x5") for n in range(20)]
    assert rows(at) == expected
    assert [n for n, caption in enumerate(album(at).captions) if caption.trouble] == [3, 7]
    assert at.main.get("progress")[0].proto.text == "20 of 20: 18 done, 2 failed" and not sentences(at)
    assert at.button(key="qwen_vl.caption").disabled
    (failed,) = (expander for expander in at.main.expander if expander.label == "2 failed")
    assert [text.value.partition(": ")[0] for text in failed.markdown] == ["3\\.png", "7\\.png"]
    exported = json.loads(downloads["captions.json"])
    assert len(exported) == 20 and [row["file"] for row in exported if row["note"]] == ["3.png", "7.png"]
    assert all(
        row["note"] in text.value
        for row, text in zip((exported[3], exported[7]), failed.markdown, strict=True)
    )


def test_what_failed_is_said_in_chinese_too(stage: Stage, downloads: dict[str, Any]) -> None:
    at = many(("a.png", png()), ("b.png", b"bad"))
    finished(alive(at.segmented_control(key="set.language").set_value("zh").run()))
    assert at.main.get("progress")[0].proto.text == "2 / 2：完成 1，失败 1"
    assert [expander.label for expander in at.main.expander if "失败" in expander.label] == ["1 张失败"]
    assert re.search("[\u4e00-\u9fff]", downloads["captions.csv"].decode("utf-8-sig").splitlines()[2])


def test_of_very_many_that_failed_the_first_are_listed(stage: Stage) -> None:
    at = many(*((f"{n}.png", b"bad") for n in range(LISTED + 3)))
    (failed,) = (expander for expander in at.main.expander if expander.label == f"{LISTED + 3} failed")
    assert len(failed.markdown) == LISTED and failed.caption[0].value == "3 more are in the files."


def test_the_prompt_and_the_prefix_are_the_visitors(stage: Stage, downloads: dict[str, Any]) -> None:
    at = many(("cat.png", png()), ("cat.jpg", png(10, 10)))
    at.text_area[0].set_value("Only colours.")
    at.text_input(key="set.qwen_vl.prefix").set_value("ohwx, ")
    finished(alive(at.run()))
    assert downloads["captions.csv"].decode("utf-8-sig").splitlines() == [
        "file,caption,note",
        'cat.png,"ohwx, Only colours. 40x20",',
        'cat-2.jpg,"ohwx, Only colours. 10x10",',
    ]
    with zipfile.ZipFile(io.BytesIO(downloads["captions.zip"])) as archive:
        assert sorted(archive.namelist()) == ["cat-2.jpg", "cat-2.txt", "cat.png", "cat.txt"]
        assert archive.read("cat-2.txt").decode() == "ohwx, Only colours. 10x10\n"
        assert archive.read("cat.png") == png()


def test_stop_keeps_what_is_done_and_continue_goes_on(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, stream = threading.Semaphore(3), FakeVisionEngine._stream

    def gated(self: FakeVisionEngine, request: Any, cancel: threading.Event) -> Any:
        while not gate.acquire(timeout=0.01):
            if cancel.is_set():
                break
        return stream(self, request, cancel)

    monkeypatch.setattr(FakeVisionEngine, "_stream", gated)
    at = click(many(*((f"{n}.png", png(n + 1, 5)) for n in range(9))), "qwen_vl.caption")
    until(lambda: album(at).done == 3)
    alive(at.run())
    assert "3 of 9" in at.main.get("progress")[0].proto.text
    click(at, "qwen_vl.caption_stop")
    until(lambda: not album(at).running)
    alive(at.run())
    assert album(at).done == 3 and at.button(key="qwen_vl.caption").label == "Continue"
    gate.release(99)
    finished(at)
    assert rows(at) == [(f"{n}.png", f"{PROMPT} {n + 1}x5") for n in range(9)]


def test_a_failure_that_is_no_pictures_fault_ends_the_run_with_its_sentence(stage: Stage) -> None:
    stage.breaks = 0, EngineFailed("The model tripped.", "模型绊倒了。")
    at = finished(many(("a.png", png()), ("b.png", png())))
    assert sentences(at) == ["The model tripped."] and rows(at) == [("a.png", ""), ("b.png", "")]
    stage.breaks = None
    finished(at)
    assert not sentences(at) and album(at).done == 2


def test_a_prompt_that_is_refused_is_no_pictures_fault(stage: Stage) -> None:
    stage.breaks = 0, BadInput("The prompt is too long.", "提示词过长。")
    at = finished(many(("a.png", png()), ("b.png", png())))
    assert sentences(at) == ["The prompt is too long."]
    assert not any(caption.trouble for caption in album(at).captions)
    stage.breaks = None
    finished(at)
    assert album(at).done == 2


def test_edits_are_kept_and_captions_survive_another_page(stage: Stage, downloads: dict[str, Any]) -> None:
    at = many(("a.png", png()), ("b.png", png()))
    album(at).captions[1].text = "mine"  # typed before
    finished(at)
    assert rows(at) == [("a.png", f"{PROMPT} 40x20"), ("b.png", "mine")]
    alive(at.switch_page("pages/whisper.py").run())
    alive(at.switch_page("pages/qwen_vl.py").run())
    assert json.loads(downloads["captions.json"])[1] == {"file": "b.png", "caption": "mine", "note": ""}


def test_remove_all(stage: Stage) -> None:
    at = click(finished(many(("a.png", png()))), "qwen_vl.caption_clear")
    assert rows(at) == [] and "Add pictures" in at.main.info[-1].value
    finished(upload(at, ("b.png", png())))
    assert rows(at) == [("b.png", f"{PROMPT} 40x20")]


def test_scenes_are_drawn_for_the_starter_alone(starter: Stage) -> None:
    at = click(click(many(), "qwen_vl.caption_draw"), "qwen_vl.caption_draw")
    names, pictures = zip(*((caption.name, caption.picture) for caption in album(at).captions), strict=True)
    assert len(set(names)) == len(set(pictures)) == 2 * DRAWN
    finished(at)
    assert album(at).done == 2 * DRAWN and not any(caption.trouble for caption in album(at).captions)


def test_a_photograph_has_its_note_beside_the_starters_caption(
    starter: Stage, downloads: dict[str, Any]
) -> None:
    file = io.BytesIO()
    draw(make(3, "unknown")).save(file, "PNG")
    at = finished(many(("clouds.png", file.getvalue()), ("scene.png", example()), ("plain.png", png())))
    notes = [caption.note("en") for caption in album(at).captions]
    assert "Qwen-VL-Chat" in notes[0] and notes[1:] == ["", ""]
    assert [row["note"] for row in json.loads(downloads["captions.json"])] == notes
    assert [warning.value for warning in at.main.warning] == [f"1 of 3: {notes[0]}"]
    assert album(at).captions[0].note("zh") in CHECKPOINTS["qwen-vl-tiny"].drawn_only  # type: ignore[operator]
    session = {"edited": {"edited_rows": {0: {"text": "clouds"}}}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(st, "session_state", session)
        _apply_edits("edited", album(at))
    assert album(at).captions[0].note("en") == ""  # somebody has seen it


# --- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "safe"),
    [
        (["a.png", "b.png"], ["a.png", "b.png"]),
        (["a.png", "a.png", "a.jpg", "A.PNG"], ["a.png", "a-2.png", "a-3.jpg", "A-4.PNG"]),
        (["a.png", "a-2.png", "a.png"], ["a.png", "a-2.png", "a-3.png"]),
        (["x/a.png", "y/a.png"], ["x/a.png", "y/a.png"]),
        (["../../etc/a.png", "/a.png", "C:\\x\\b.png"], ["etc/a.png", "a.png", "C_/x/b.png"]),
        (["", "..", "."], ["picture", "picture-2", "picture-3"]),
        (["图 1.tar.png", "图 1.tar.jpg"], ["图 1.tar.png", "图 1.tar-2.jpg"]),
    ],
)
def test_file_names_stay_in_the_folder_and_differ(names: list[str], safe: list[str]) -> None:
    assert file_names(names) == safe


def test_pictures_that_were_not_asked_about_are_not_written() -> None:
    captions = [Caption("a.png", b"A", 'a "red", ball\nand a box'), Caption("b.png", b"B")]
    table = csv.DictReader(io.StringIO(write(captions, "csv").decode("utf-8-sig")))
    assert list(table) == [{"file": "a.png", "caption": 'a "red", ball\nand a box', "note": ""}]
    assert [row["file"] for row in json.loads(write(captions, "json"))] == ["a.png"]
    with zipfile.ZipFile(io.BytesIO(write(captions, "zip", "my "))) as archive:
        assert archive.namelist() == ["a.png", "a.txt"]
        assert archive.read("a.txt").decode() == 'my a "red", ball\nand a box\n'
