"""How far the captions of an album are, without a page."""

import io
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st
from PIL import Image

from models.errors import BadInput
from models.schema import ChatOptions, Delta, Done, Usage
from pages.shared.vision import album as module
from pages.shared.vision import captions
from pages.shared.vision.album import THUMBNAIL, Album
from tests.fakes.script import lend
from tests.fakes.waiting import until


def png(side: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, 2 * side), "white").save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


class Gate:
    """An engine that answers once for every `release`."""

    placement = SimpleNamespace(slots=1)
    lease = nullcontext

    def __init__(self) -> None:
        self._free = threading.Semaphore(0)

    def release(self, album: Album, count: int) -> None:
        before = album.done
        for _ in range(count):
            self._free.release()
        until(lambda: album.done == before + count)

    def stream(self, messages: Any, options: ChatOptions, cancel: threading.Event) -> Iterator[Any]:
        while not self._free.acquire(timeout=0.01):
            if cancel.is_set():
                yield Done("cancelled", Usage())
                return
        yield Delta("a cat")
        yield Done("stop", Usage())


def album_of(count: int) -> Album:
    album = Album()
    for number in range(count):
        album.add(f"{number}.png", png())
    return album


def test_the_time_left_counts_only_what_this_run_has_done(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    album, engine = album_of(10), Gate()
    monkeypatch.setattr(module, "ChatEngine", Gate)
    choice = lend(monkeypatch, engine)
    for caption in album.captions[:4]:
        caption.text = "from an earlier run"
    assert album.done == 4
    album.start(choice, "?", ChatOptions())
    assert album.running and album.seconds_left is None
    engine.release(album, 1)
    clock.seconds += 7.0
    assert album.seconds_left == 7.0 * 5
    engine.release(album, 1)
    assert album.seconds_left == 3.5 * 4
    album.stop()
    until(lambda: not album.running)
    assert [caption.text for caption in album.captions].count("a cat") == 2
    album.start(choice, "?", ChatOptions())
    until(lambda: album.job is not None and album.job.loaded)
    until(lambda: album._before == 6)
    clock.seconds += 3.0
    engine.release(album, 2)
    assert album.seconds_left == 1.5 * 2
    album.clear()
    until(lambda: not album.running)
    assert (album.captions, album.done, album.job) == ([], 0, None)


def test_pictures_that_are_none_count_as_done_and_are_made_small_once() -> None:
    album = Album()
    album.add("a.png", png(400))
    album.add("b.png", b"no picture")
    first, second = album.thumbnails()
    assert first.startswith("data:image/jpeg;base64,") and second == ""
    assert isinstance(album.captions[1].trouble, BadInput) and album.done == 1
    album.add("c.png", png())
    again = album.thumbnails()
    assert again[:2] == [first, ""] and len(again) == 3
    assert album.thumbnails() is again and THUMBNAIL < 400


def test_a_new_run_and_an_empty_album_forget_what_the_table_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    album, seen = album_of(1), set()
    seen.add(album.editor)
    album.clear()
    seen.add(album.editor)
    album.start(lend(monkeypatch, Gate()), "?", ChatOptions())
    seen.add(album.editor)
    assert len(seen) == 3


def test_what_is_wrong_with_a_picture_is_said_in_the_pages_language(
    session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    album, notes = Album(), list[list[str]]()
    album.add("a.png", b"no picture")
    monkeypatch.setattr(st, "data_editor", lambda table, **_: notes.append(table["note"]))
    for language in ("en", "zh"):
        session["set.language"] = language
        captions._show_table("qwen_vl", album)
    trouble = album.captions[0].trouble
    assert trouble is not None
    assert len(notes) == 2 and trouble.en in notes[0][0] and trouble.zh in notes[1][0]
