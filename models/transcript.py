"""Transcripts as text files, in the forms that Whisper's own command line writes.

    txt   one segment a line
    srt   SubRip: numbered cues, hours always, a comma before the milliseconds
    vtt   WebVTT: hours only where there are some, a point before the milliseconds
    tsv   start and end in whole milliseconds, and the text
    json  everything known: {"text", "segments": [{"id", "start", "end", "text", …}], "language"}

The name of a format is also its file's extension. All of them are UTF-8.
"""

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from models.errors import BadInput
from models.schema import Segment

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


def write(segments: Iterable[Segment], format: str, language: str | None = None) -> str:
    """A transcript in one of FORMATS.

    Args:
        segments: what an engine recognised, in order; times in seconds.
        format: one of FORMATS.
        language: code of the language, for json.

    Raises:
        BadInput: there is no such format.
    """
    segments = list(segments)
    match format:
        case "txt":
            return "".join(f"{_line(segment)}\n" for segment in segments)
        case "srt":
            return "".join(f"{number}\n{_srt_cue(segment)}\n" for number, segment in enumerate(segments, 1))
        case "vtt":
            return "WEBVTT\n\n" + "".join(f"{_vtt_cue(segment)}\n" for segment in segments)
        case "tsv":
            return "start\tend\ttext\n" + "".join(_tsv_row(segment) for segment in segments)
        case "json":
            return json.dumps(_document(segments, language), ensure_ascii=False, indent=2) + "\n"
    listed = ", ".join(FORMATS)
    raise BadInput(
        f"There is no transcript format {format!r}: choose one of {listed}.",
        f"没有名为 {format!r} 的转写格式：请从 {listed} 中选择。",
    )


def _line(segment: Segment) -> str:
    """The text on one line: a line break would end a row, and a blank line a cue."""
    return " ".join(segment.text.strip().splitlines())


def _srt_cue(segment: Segment) -> str:
    start, end = (_clock(time, ",", hours=True) for time in (segment.start, segment.end))
    return f"{start} --> {end}\n{_without_arrow(_line(segment))}\n"


def _vtt_cue(segment: Segment) -> str:
    # In WebVTT an ampersand or an angle bracket begins markup, and what follows would not be shown.
    text = _without_arrow(_line(segment)).replace("&", "&amp;").replace("<", "&lt;")
    return f"{_clock(segment.start, '.')} --> {_clock(segment.end, '.')}\n{text}\n"


def _without_arrow(text: str) -> str:
    """A time arrow within the text would read as the start of another cue."""
    return text.replace("-->", "->")


def _clock(seconds: float, point: str, hours: bool = False) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, second = divmod(whole, 60)
    hour, minute = divmod(minutes, 60)
    prefix = f"{hour:02d}:" if hours or hour else ""
    return f"{prefix}{minute:02d}:{second:02d}{point}{milliseconds:03d}"


def _tsv_row(segment: Segment) -> str:
    text = _line(segment).replace("\t", " ")
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
