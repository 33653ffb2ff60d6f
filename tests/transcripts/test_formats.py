"""Transcript files, held against what their formats ask and against Whisper's own writers."""

import io
import json
import re
import zipfile
from typing import Any

import pytest

from models.errors import BadInput
from models.schema import Segment, Word
from models.transcripts.formats import FORMATS, MIME, archive, cues, write

SEGMENTS = [
    Segment(0.0, 2.5, " Hello there."),
    Segment(2.5, 61.0405, " 你好，世界。", avg_logprob=-0.25, no_speech_prob=0.01, compression_ratio=1.5),
    Segment(3661.0, 3725.9999, " An hour later.", words=(Word(3661.0, 3661.4, " An", 0.9),)),
]


def test_every_format_has_a_media_type() -> None:
    assert FORMATS == ("txt", "srt", "vtt", "tsv", "json")
    assert all("/" in MIME[name] for name in FORMATS)


@pytest.mark.slow
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


@pytest.mark.parametrize(("name", "format"), [("srt", "srt"), ("vtt", "webvtt")])
@pytest.mark.parametrize("limits", [{}, {"max_line_width": 8, "max_line_count": 1}])
def test_ffmpeg_reads_the_subtitles(name: str, format: str, limits: dict[str, int]) -> None:
    import av

    with av.open(io.BytesIO(write(SEGMENTS, name, **limits).encode()), format=format) as file:
        read = [
            (packet.pts, packet.duration, bytes(packet).decode()) for packet in file.demux() if packet.size
        ]
    assert "".join(text for *_, text in read).replace(" ", "").replace("\n", "") == (
        "Hellothere.你好，世界。Anhourlater."
    )
    assert read[0][0] == 0 and sum(read[-1][:2]) == 3_726_000
    if not limits:
        assert [(start, length) for start, length, _ in read] == [
            (0, 2500),
            (2500, 58540),
            (3_661_000, 65_000),
        ]


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


def test_nothing_recognised_is_a_valid_file() -> None:
    *texts, document = (write([], name) for name in FORMATS)
    assert texts == ["", "", "WEBVTT\n\n", "start\tend\ttext\n"]
    assert json.loads(document)["segments"] == []


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(BadInput, match="choose one of txt, srt"):
        write(SEGMENTS, "docx")


# --- cues that are kept short ----------------------------------------------------------------------

TEXT = " And so, my fellow Americans, ask not what your country can do for you."
SPOKEN = tuple(Word(float(number), number + 0.5, f" {word}") for number, word in enumerate(TEXT.split()))
TALK = [Segment(0.0, 13.5, TEXT, SPOKEN), Segment(14.0, 16.0, " 今天我们来谈谈天气，今天天气很好。")]


def read_subtitles(text: str) -> list[tuple[float, float, list[str]]]:
    """What a strict reader finds: numbered SubRip, or WebVTT; nothing else may be in it."""
    point = "." if text.startswith("WEBVTT\n\n") else ","
    blocks = text.removeprefix("WEBVTT\n\n").removesuffix("\n\n").split("\n\n")
    time = rf"(?:(\d\d):)?(\d\d):(\d\d)\{point}(\d\d\d)"
    found = []
    for number, block in enumerate(blocks, 1):
        lines = block.split("\n")
        if point == ",":
            assert lines.pop(0) == str(number)
        match = re.fullmatch(f"{time} --> {time}", lines.pop(0))
        assert match and all(lines)
        parts = [int(part or 0) for part in match.groups()]
        start, end = (h * 3600 + m * 60 + s + ms / 1000 for h, m, s, ms in (parts[:4], parts[4:]))
        found.append((start, end, lines))
    return found


@pytest.mark.slow
def test_the_line_width_wraps_as_whispers_own_writer_does(tmp_path: Any) -> None:
    from whisper.utils import get_writer

    words = [{"word": word.text, "start": word.start, "end": word.end} for word in SPOKEN]
    result = {"segments": [{"start": 0.0, "end": 12.5, "text": TEXT, "words": words}], "language": "en"}
    for name in ("srt", "vtt"):
        file = io.StringIO()
        get_writer(name, str(tmp_path)).write_result(result, file=file, options={"max_line_width": 20})
        talk = [Segment(0.0, SPOKEN[-1].end, TEXT, SPOKEN)]
        assert write(talk, name, max_line_width=20, max_line_count=None) == file.getvalue()


@pytest.mark.parametrize("name", ["srt", "vtt"])
@pytest.mark.parametrize("width", [5, 11, 20, 42])
@pytest.mark.parametrize("count", [1, 2, None])
def test_no_line_and_no_cue_is_too_long(name: str, width: int, count: int | None) -> None:
    read = read_subtitles(write(TALK, name, max_line_width=width, max_line_count=count))
    assert all(len(line) <= width for _, _, lines in read for line in lines)
    assert all(len(lines) <= (count or 99) for _, _, lines in read)
    shown = "".join("".join(lines) for _, _, lines in read)
    assert shown.replace(" ", "") == "".join(segment.text for segment in TALK).replace(" ", "")
    times = [time for start, end, _ in read for time in (start, end)]
    assert times == sorted(times) and (times[0], times[-1]) == (0.0, 16.0)


def test_cues_end_where_their_words_do() -> None:
    first, second, *_ = cues(TALK, 20, 1)
    assert first == (0.0, 3.5, ("And so, my fellow",))
    assert (second.start, second.lines) == (4.0, ("Americans, ask not",))


def test_without_word_times_cues_share_the_time_and_chinese_breaks_between_letters() -> None:
    read = [(round(cue.start, 3), round(cue.end, 3), cue.lines) for cue in cues(TALK[1:], 10, 1)]
    assert read == [(14.0, 15.176, ("今天我们来谈谈天气，",)), (15.176, 16.0, ("今天天气很好。",))]


def test_a_word_longer_than_a_line_is_broken() -> None:
    (cue,) = cues([Segment(0.0, 1.0, " see https://example.org/a")], 10, None)
    assert cue.lines == ("see", "https://ex", "ample.org/", "a")


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_subtitles_in_two_languages_have_the_translation_below(name: str) -> None:
    translation = [Segment(13.9, 15.0, " Today we talk"), Segment(15.0, 16.0, " of the weather.")]
    read = read_subtitles(write(TALK[1:], name, translation=translation))
    assert read == [(14.0, 16.0, ["今天我们来谈谈天气，今天天气很好。", "Today we talk of the weather."])]
    both = [lines for *_, lines in read_subtitles(write(TALK[1:], name, None, 10, None, translation))]
    assert both == [["今天我们来谈谈天气，", "今天天气很好。", "Today we", "talk of", "the", "weather."]]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_each_of_two_languages_has_half_of_the_lines(count: int) -> None:
    translation = [Segment(14.0, 16.0, " Today we talk of the weather.")]
    made = list(cues(TALK[1:], 10, count, translation))
    first, second = "今天我们来谈谈天气，", "今天天气很好。"
    if count < 4:  # what is shorter stays as long
        shown = [(first, "Today we"), (first, "talk of"), (second, "the"), (second, "weather.")]
    else:
        shown = [(first, second, "Today we", "talk of"), (first, second, "the", "weather.")]
    assert [cue.lines for cue in made] == shown
    times = [time for cue in made for time in (cue.start, cue.end)]
    assert times == sorted(times) and (times[0], times[-1]) == (14.0, 16.0)


@pytest.mark.parametrize("translation", [[], [Segment(0.0, 13.5, " Und so, liebe Landsleute, fragt nicht")]])
def test_a_cue_has_two_lines_at_most_unless_asked_otherwise(translation: list[Segment]) -> None:
    made = list(cues(TALK[:1], 12, translation=translation))
    assert len(made) > 1 and max(len(cue.lines) for cue in made) == 2
    assert max(len(cue.lines) for cue in cues(TALK[:1], 12, 3)) == 3
    assert len(list(cues(TALK[:1], 12, None, translation))) == 1


def test_an_archive_holds_utf_8() -> None:
    with zipfile.ZipFile(io.BytesIO(archive({"演讲.txt": "你好\n"}))) as zipped:
        assert zipped.read("演讲.txt").decode("utf-8") == "你好\n"


@pytest.mark.parametrize(
    ("words", "width", "expected"),
    [
        (["ab ", "cd "], 5, ["ab cd"]),  # spaces at the end of a line take none of it
        (["ab ", "cd ", "e"], 5, ["ab cd", "e"]),
        ([" ab", " ", " cd"], 7, ["ab  cd"]),  # a word of blanks is none
        ([" ab", " ", " cd"], 3, ["ab", "cd"]),
        ([" abcdefg"], 3, ["abc", "def", "g"]),
        ([" ab", " cdefgh"], 4, ["ab", "cdef", "gh"]),
    ],
)
def test_words_in_lines_of_a_width(words: list[str], width: int, expected: list[str]) -> None:
    said = tuple(Word(float(at), at + 1.0, text) for at, text in enumerate(words))
    segment = Segment(0.0, float(len(words)), "".join(words), said)
    (cue,) = cues([segment], max_line_width=width, max_line_count=None)
    assert [line for line in cue.lines if line] == expected
    assert (cue.start, cue.end) == (segment.start, segment.end)
