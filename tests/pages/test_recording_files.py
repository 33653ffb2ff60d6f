"""The buttons under a transcript, drawn without the page around them: which files there are, and of what."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from models.schema import Segment
from models.transcripts.documents import DOCUMENTS
from models.transcripts.formats import MIME
from models.transcripts.recordings import Recording
from tests.fakes.visitor import alive

TEXT = Segment(0.0, 4.0, " one two three four")


@pytest.fixture
def buttons(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What every download button of the last run would give, by file name."""
    given: dict[str, dict[str, Any]] = {}
    draw = st.download_button

    def record(label: str, data: Any, name: str, mime: str, **named: Any) -> bool:
        given[name] = {"text": data(), "mime": mime, "label": label, **named}
        return draw(label, data, name, mime, **named)

    monkeypatch.setattr(st, "download_button", record)
    return given


def page(*recordings: Recording) -> AppTest:
    """The files of the first of them."""

    def draw(these: "list[Recording]") -> None:
        from pages.shared.speech.downloads import show_downloads

        show_downloads("whisper", these[0], these)

    return alive(AppTest.from_function(draw, args=(list(recordings),)).run())


def recording(name: str = "talk.one.wav", **facts: Any) -> Recording:
    return Recording(name, Path(), state="done", **{"lines": (TEXT,), "language": "de", **facts})


def limited(at: AppTest, letters: int, lines: int) -> AppTest:
    alive(at.number_input(key="set.whisper.max_line_width").set_value(letters).run())
    return alive(at.number_input(key="set.whisper.max_line_count").set_value(lines).run())


def test_each_form_has_its_name_its_kind_and_its_language(buttons: dict[str, Any]) -> None:
    page(recording())
    assert {name: button["mime"] for name, button in buttons.items()} == {
        f"talk.one.{format}": mime for format, mime in {**MIME, **DOCUMENTS}.items()
    }
    assert json.loads(buttons["talk.one.json"]["text"])["language"] == "de"
    # A click gives the file, and draws nothing again: the page may be in the middle of something.
    assert {button["on_click"] for button in buttons.values()} == {"ignore"}


def test_lines_of_subtitles_within_their_limits(buttons: dict[str, Any]) -> None:
    at = page(recording(), recording("b.wav"))
    letters, lines = at.number_input
    assert (letters.min, letters.max, letters.value, lines.min, lines.max, lines.value) == (
        *(5, 200, None),
        *(1, 10, 2),
    )
    assert lines.disabled and not letters.disabled
    limited(at, 7, 1)
    cues = buttons["talk.one.srt"]["text"].split("\n\n")
    assert [cue.splitlines()[2:] for cue in cues if cue.strip()] == [["one two"], ["three"], ["four"]]
    with zipfile.ZipFile(io.BytesIO(buttons["transcripts.zip"]["text"])) as files:
        assert files.read("talk.one.srt").decode() == buttons["talk.one.srt"]["text"]
    assert "one two three four" in buttons["talk.one.txt"]["text"]


@pytest.mark.parametrize("lines", [(), (replace(TEXT, text=" ONE"),)])
def test_files_in_two_languages_once_there_is_a_second_one(buttons: dict[str, Any], lines: Any) -> None:
    of = recording()
    of.translate().lines = lines
    page(of)
    two = {name for name in buttons if "en." in name}
    both = {f"talk.one.de-en.{format}" for format in ("srt", "vtt", "md", "docx")}
    assert two == ({*both, "talk.one.en.txt"} if lines else set())
    if lines:
        assert "one two three four\nONE\n" in buttons["talk.one.de-en.vtt"]["text"]
        assert buttons["talk.one.en.txt"]["text"] == "ONE\n"
        assert buttons["talk.one.de-en.md"]["text"].decode().endswith("one two three four\n\n> ONE\n")
        assert {name: buttons[name]["mime"] for name in two} == {
            name: {**MIME, **DOCUMENTS}[name.rsplit(".")[-1]] for name in two
        }


@pytest.mark.parametrize(("others", "offered"), [([], False), ([()], False), ([(TEXT,)], True)])
def test_an_archive_of_two_and_more(buttons: dict[str, Any], others: list[Any], offered: bool) -> None:
    page(recording(), *(recording("b.wav", lines=lines) for lines in others))
    assert ("transcripts.zip" in buttons) is offered
    if offered:
        assert buttons["transcripts.zip"]["mime"] == "application/zip"


def test_documents_with_times_or_without(buttons: dict[str, Any]) -> None:
    at = page(recording(), recording("b.wav"))
    assert buttons["talk.one.md"]["text"] == b"# talk.one.wav\n\n**00:00.000** one two three four\n"
    alive(at.checkbox(key="set.whisper.document_times").uncheck().run())
    assert buttons["talk.one.md"]["text"] == b"# talk.one.wav\n\none two three four\n"
    with zipfile.ZipFile(io.BytesIO(buttons["transcripts.zip"]["text"])) as files:
        assert files.read("talk.one.md") == buttons["talk.one.md"]["text"]
        assert files.read("b.docx").startswith(b"PK")
