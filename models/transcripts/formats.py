"""Transcripts as text files, in the forms that Whisper's own command line writes.

    txt   one segment a line
    srt   SubRip: numbered cues, hours always, a comma before the milliseconds
    vtt   WebVTT: hours only where there are some, a point before the milliseconds
    tsv   start and end in whole milliseconds, and the text
    json  everything known: {"text", "segments": [{"id", "start", "end", "text", …}], "language"}

The name of a format is also its file's extension. All of them are UTF-8. Cues of srt and vtt have two lines
at most, unless asked otherwise, and carry a translation below the text. What people read on paper is in
`documents`.
"""

import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

from models.errors import BadInput
from models.schema import Segment, Word
from models.transcripts.edit import beside, spread, timed, units
from models.transcripts.lasting import lasting

MIME: Mapping[str, str] = MappingProxyType(
    {
        "txt": "text/plain",
        "srt": "application/x-subrip",
        "vtt": "text/vtt",
        "tsv": "text/tab-separated-values",
        "json": "application/json",
    }
)
FORMATS = tuple(MIME)
MOST_LINES = 2  # of a cue: more of them cover the picture


class Cue(NamedTuple):
    """What subtitles show at a time; seconds."""

    start: float
    end: float
    lines: tuple[str, ...]


def write(
    segments: Iterable[Segment],
    format: str,
    language: str | None = None,
    max_line_width: int | None = None,
    max_line_count: int | None = MOST_LINES,
    translation: Sequence[Segment] = (),
) -> str:
    """A transcript in one of FORMATS.

    Args:
        segments: what an engine recognised, in order; times in seconds. What has no length gets one.
        format: one of FORMATS.
        language: code of the language, for json.
        max_line_width, max_line_count: of srt and vtt, see `cues`.
        translation: segments of the same recording in another language, for srt and vtt.

    Raises:
        BadInput: there is no such format.
    """
    segments = lasting(list(segments))
    match format:
        case "txt":
            return "".join(f"{one_line(segment.text)}\n" for segment in segments)
        case "srt":
            shown = cues(segments, max_line_width, max_line_count, translation)
            return "".join(f"{number}\n{_srt_cue(cue)}\n" for number, cue in enumerate(shown, 1))
        case "vtt":
            shown = cues(segments, max_line_width, max_line_count, translation)
            return "WEBVTT\n\n" + "".join(f"{_vtt_cue(cue)}\n" for cue in shown)
        case "tsv":
            return "start\tend\ttext\n" + "".join(_tsv_row(segment) for segment in segments)
        case "json":
            return json.dumps(_document(segments, language), ensure_ascii=False, indent=2) + "\n"
    listed = ", ".join(FORMATS)
    raise BadInput(
        f"There is no transcript format {format!r}: choose one of {listed}.",
        f"没有名为 {format!r} 的转写格式：请从 {listed} 中选择。",
    )


def archive(files: Mapping[str, str | bytes]) -> bytes:
    """Texts and other files, by file name, as one zip."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items():
            zipped.writestr(name, content.encode("utf-8", "replace") if isinstance(content, str) else content)
    return data.getvalue()


# --- cues ------------------------------------------------------------------------------------------


def cues(
    segments: Sequence[Segment],
    max_line_width: int | None = None,
    max_line_count: int | None = MOST_LINES,
    translation: Sequence[Segment] = (),
) -> Iterator[Cue]:
    """One cue a segment, or several where it has more lines than a cue may have.

    Args:
        segments: in order.
        max_line_width: most letters in a line; None: one line. Text breaks between words, and in
            scripts without spaces between letters.
        max_line_count: most lines in a cue; None, or no `max_line_width`: any number. A cut falls where
            its words end, or, without word times, by the share of the letters. Unlike Whisper's own
            writer, no cue takes words of two segments.
        translation: what of it is said with a segment stands below it, in the same cues: each language
            has half of the lines, and one at least. What has fewer parts than the other stays as long.

    Raises:
        BadInput: lines without letters.
    """
    if max_line_width is not None and max_line_width < 1:
        raise BadInput(
            f"A line cannot have {max_line_width} letters: allow at least one.",
            f"一行不能只有 {max_line_width} 个字符：请至少设为 1。",
        )
    segments = lasting(segments)
    count = max(1, max_line_count // 2) if max_line_count and translation else max_line_count
    for segment, other in zip(segments, beside(segments, translation), strict=True):
        said = _parts(replace(segment, text=one_line(segment.text)), max_line_width, count)
        below = _parts(Segment(segment.start, segment.end, one_line(other)), max_line_width, count)
        longer = max(said, below, key=len)
        last = len(longer) - 1
        for number, part in enumerate(longer):
            start = part[0][0].start if number else segment.start
            end = part[-1][-1].end if number < last else segment.end
            rows = [row for text in (said, below) for row in text[number * len(text) // len(longer)]]
            yield Cue(start, end, tuple("".join(word.text for word in row).strip() for row in rows))


def _parts(segment: Segment, width: int | None, count: int | None) -> list[list[list[Word]]]:
    """The lines of a segment, in parts of so many; one empty part where it has none."""
    rows = _rows(segment, width)
    size = count or len(rows) or 1
    return [rows[first : first + size] for first in range(0, len(rows), size)] or [[]]


def _rows(segment: Segment, width: int | None) -> list[list[Word]]:
    """The words of a segment in lines that are not too long."""
    if width is None:
        whole = Word(segment.start, segment.end, segment.text)
        return [[whole]] if segment.text else []
    rows: list[list[Word]] = []
    length = 0
    for word in (part for whole in timed(segment) for part in _breakable(whole, width)):
        if rows and length + len(word.text.rstrip()) <= width:
            rows[-1].append(word)
            length += len(word.text)
        else:
            word = replace(word, text=word.text.lstrip())
            rows.append([word])
            length = len(word.text)
    return rows


def _breakable(word: Word, width: int) -> Iterator[Word]:
    """Its parts, none longer than a line."""
    texts = []
    for text in units(word.text):
        lead = text[: len(text) - len(text.lstrip())]
        text = text.lstrip()
        parts = [text[at : at + width] for at in range(0, len(text), width)] or [""]
        texts += [lead + parts[0], *parts[1:]]
    yield from spread(texts, word.start, word.end)


# --- forms -----------------------------------------------------------------------------------------


def one_line(text: str) -> str:
    """On one line: a line break would end a row, and a blank line a cue."""
    return " ".join(text.strip().splitlines())


def _srt_cue(cue: Cue) -> str:
    start, end = (clock(time, ",", hours=True) for time in (cue.start, cue.end))
    return f"{start} --> {end}\n{_without_arrow(_text(cue))}\n"


def _vtt_cue(cue: Cue) -> str:
    # In WebVTT an ampersand or an angle bracket begins markup, and what follows would not be shown.
    text = _without_arrow(_text(cue)).replace("&", "&amp;").replace("<", "&lt;")
    return f"{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n{text}\n"


def _text(cue: Cue) -> str:
    return "\n".join(cue.lines)


def _without_arrow(text: str) -> str:
    """A time arrow within the text would read as the start of another cue."""
    return text.replace("-->", "->")


def clock(seconds: float, point: str, hours: bool = False) -> str:
    """A time with milliseconds after the `point`; `hours`: also where there are none."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, second = divmod(whole, 60)
    hour, minute = divmod(minutes, 60)
    prefix = f"{hour:02d}:" if hours or hour else ""
    return f"{prefix}{minute:02d}:{second:02d}{point}{milliseconds:03d}"


def _tsv_row(segment: Segment) -> str:
    text = one_line(segment.text).replace("\t", " ")
    return f"{round(segment.start * 1000)}\t{round(segment.end * 1000)}\t{text}\n"


def _document(segments: list[Segment], language: str | None) -> dict[str, Any]:
    return {
        "text": "".join(segment.text for segment in segments),
        "segments": [{"id": number, **_fields(segment)} for number, segment in enumerate(segments)],
        "language": language,
    }


def _fields(segment: Segment) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
    }
    if segment.words:
        fields["words"] = [
            {"word": word.text, "start": word.start, "end": word.end, "probability": word.probability}
            for word in segment.words
        ]
    return fields
