"""Transcript files, held against what their formats ask and against Whisper's own writers."""

import io
import json
from typing import Any

import pytest

from models.errors import BadInput
from models.schema import Segment, Word
from models.transcript import FORMATS, MIME, write

SEGMENTS = [
    Segment(0.0, 2.5, " Hello there."),
    Segment(2.5, 61.0405, " 你好，世界。", avg_logprob=-0.25, no_speech_prob=0.01, compression_ratio=1.5),
    Segment(3661.0, 3725.9999, " An hour later.", words=(Word(3661.0, 3661.4, " An", 0.9),)),
]


def test_every_format_has_a_media_type() -> None:
    assert FORMATS == ("txt", "srt", "vtt", "tsv", "json")
    assert all("/" in MIME[name] for name in FORMATS)


@pytest.mark.parametrize("name", ["txt", "srt", "vtt", "tsv"])
def test_same_as_whispers_own_writer(name: str, tmp_path: Any) -> None:
    from whisper.utils import get_writer

    result = {"segments": [{"start": s.start, "end": s.end, "text": s.text} for s in SEGMENTS]}
    file = io.StringIO()
    get_writer(name, str(tmp_path)).write_result(result, file=file)
    assert write(SEGMENTS, name) == file.getvalue()


def test_srt_has_numbers_hours_and_commas() -> None:
    assert write(SEGMENTS[:1], "srt") == "1\n00:00:00,000 --> 00:00:02,500\nHello there.\n\n"


def test_vtt_shows_hours_only_where_there_are_some() -> None:
    text = write(SEGMENTS, "vtt")
    assert text.startswith("WEBVTT\n\n00:00.000 --> 00:02.500\n")
    assert "01:01:01.000 --> 01:02:06.000" in text


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_text_cannot_break_out_of_its_cue(name: str) -> None:
    text = write([Segment(0.0, 1.0, " one\n\ntwo\r\n3 --> 4")], name)
    assert text.count("-->") == 1
    assert "one  two 3 -> 4\n\n" in text


def test_vtt_escapes_markup() -> None:
    assert "R&amp;B &lt;i>" in write([Segment(0.0, 1.0, "R&B <i>")], "vtt")


def test_tsv_keeps_three_columns() -> None:
    rows = write([Segment(0.25, 1.0004, " a\tb\nc")], "tsv").splitlines()
    assert rows == ["start\tend\ttext", "250\t1000\ta b c"]


def test_json_holds_all_that_is_known() -> None:
    document = json.loads(write(SEGMENTS, "json", language="en"))
    assert document["language"] == "en"
    assert document["text"] == " Hello there. 你好，世界。 An hour later."
    assert [segment["id"] for segment in document["segments"]] == [0, 1, 2]
    assert document["segments"][1]["avg_logprob"] == -0.25
    assert "words" not in document["segments"][0]
    assert document["segments"][2]["words"] == [
        {"word": " An", "start": 3661.0, "end": 3661.4, "probability": 0.9}
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_recognised_is_a_valid_file(name: str) -> None:
    text = write([], name)
    assert text == {"txt": "", "srt": "", "vtt": "WEBVTT\n\n", "tsv": "start\tend\ttext\n"}.get(name, text)
    if name == "json":
        assert json.loads(text)["segments"] == []


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(BadInput, match="choose one of txt, srt"):
        write(SEGMENTS, "docx")
