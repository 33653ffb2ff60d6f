"""The form in which a recording is kept: JSON, in which every line that occurs is written once.

Plain data without Streamlit or engines. The sound is a file beside it.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from models import BadInput, ModelError, Segment, SpeechOptions, Word
from models.errors import NotKept, short
from models.transcripts.edit import Lines
from models.transcripts.recordings import Recording, State

VERSION = 1
FACTS: Mapping[str, Any] = {
    "track": int | None,
    "state": str,
    "duration": float,
    "position": float,
    "language": str | None,
    "probability": float | None,
    "seconds": float,
}  # of a recording, as they are
SAID = ModelError  # what an error is that was kept: its sentences
UNFORESEEN = (
    "Something went wrong that Quintet did not foresee: try again, and if it stays, report this: ",
    "发生了未预料的错误：请重试；若仍出现，请反馈：",
)


def broke_off() -> ModelError:
    """What is said of a recording that nobody recognises any more, though its end was not reached."""
    return ModelError(
        "This broke off when the server or the page ended: what was recognised is kept.",
        "服务器或页面结束，转写中断：已识别的部分已保留。",
    )


# --- written ---------------------------------------------------------------------------------------


def write_content(recording: Recording) -> dict[str, Any]:
    """The content to keep, beside the digest of its file."""
    table = _Table()
    content = _write_part(recording, table)
    translation = recording.translation
    return {
        "quintet": VERSION,
        "name": recording.name,
        **content,
        "translation": _write_part(translation, table) if translation else None,
        "segments": [_write(segment) for segment in table.segments],
    }


class _Table:
    """Each line once, however often it occurs in the steps of a correction."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self._numbers: dict[int, int] = {}

    def add(self, lines: "list[Segment] | Lines") -> list[int]:
        return [self._number(line) for line in lines]

    def _number(self, segment: Segment) -> int:
        number = self._numbers.setdefault(id(segment), len(self.segments))
        if number == len(self.segments):
            self.segments.append(segment)
        return number


def _write_part(recording: Recording, table: _Table) -> dict[str, Any]:
    trouble = recording.trouble
    return {
        **{name: getattr(recording, name) for name in FACTS},
        "options": None if recording.options is None else _write(recording.options),
        "trouble": sentences(trouble) if trouble else None,
        "heard": table.add(list(recording.heard)),  # it grows in another thread
        "lines": table.add(recording.lines),
        "past": [table.add(lines) for lines in recording.past],
    }


def sentences(error: Exception) -> tuple[str, str]:
    """What is said of any error, in English and Chinese."""
    if isinstance(error, ModelError):
        return error.en, error.zh
    en, zh = UNFORESEEN
    return en + short(error), zh + short(error)


def _write(record: Any) -> Any:
    """A dataclass by the names of its fields, without what is as it is by default; a word, of which there are many
    thousands, as a list of its own."""
    if isinstance(record, Word):
        return [record.start, record.end, record.text, record.probability]
    if is_dataclass(record):
        return {
            field.name: _write(value)
            for field in fields(record)
            if (value := getattr(record, field.name)) != field.default
        }
    return [_write(part) for part in record] if isinstance(record, tuple) else record


# --- read ------------------------------------------------------------------------------------------


def read_content(content: Any, path: Path) -> Recording:
    """What `write_content` wrote, with its sound at a path. What was under way when it was kept broke off.

    Raises:
        NotKept: it was written by a newer version, or is damaged.
    """
    try:
        if content["quintet"] > VERSION:
            raise ValueError("of a newer version")
        segments = [_read(Segment, segment) for segment in content["segments"]]
        name = _value(str, content["name"])
        recording = _read_part(content, Recording(name, path), segments)
        if content["translation"]:
            recording.translation = _read_part(content["translation"], Recording(name, path), segments)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, BadInput) as error:
        raise NotKept(
            "This recording cannot be read: it is damaged, or was kept by a newer Quintet.",
            "无法读取此录音：它已损坏，或由更新版本的 Quintet 保存。",
        ) from error
    return recording


def is_open(content: Any) -> bool:
    """Whether somebody was recognising it when it was kept, or going to."""
    parts = [content, content["translation"]] if content["translation"] else [content]
    return any(_is_under_way(part) for part in parts)


def _is_under_way(part: Any) -> bool:
    return part["state"] == "running" or (part["state"] == "waiting" and part["options"] is not None)


def _read_part(part: Any, recording: Recording, segments: list[Segment]) -> Recording:
    for name, kind in FACTS.items():
        setattr(recording, name, _value(kind, part[name]))
    if recording.state not in get_args(State):
        raise ValueError("no such state")
    recording.options = None if part["options"] is None else _read(SpeechOptions, part["options"])
    if part["trouble"]:
        recording.trouble = SAID(*(_value(str, text) for text in part["trouble"]))
    table = dict(enumerate(segments))
    heard, lines, *past = (
        tuple(table[number] for number in numbers)
        for numbers in (part["heard"], part["lines"], *part["past"])
    )
    recording.heard, recording.lines, recording.past = list(heard), lines, past
    if _is_under_way(part):
        recording.state, recording.trouble = "failed", broke_off()
    return recording


def _read(kind: Any, data: Mapping[str, Any]) -> Any:
    """A dataclass of what `_write` made of one. Raises ValueError and the like for anything else."""
    hints = _hints(kind)
    return kind(**{name: _value(hints[name], value) for name, value in data.items()})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _value(hint: Any, value: Any) -> Any:
    """`value`, if it is of that type. Raises ValueError."""
    if hint is Word:
        start, end, text, probability = value
        return Word(_plain(float, start), _plain(float, end), _plain(str, text), _plain(float, probability))
    if get_origin(hint) is UnionType:
        (inner,) = (part for part in get_args(hint) if part is not NoneType)
        return None if value is None else _value(inner, value)
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_value(get_args(hint)[0], part) for part in value)
    return _plain(hint, value)


def _plain(hint: Any, value: Any) -> Any:
    if type(value) is not hint and not (hint is float and type(value) is int):
        raise ValueError("of another type")
    if hint is str:
        value.encode()  # JSON can hold half a surrogate pair, which no browser takes
    return float(value) if hint is float else value


# --- in the list -----------------------------------------------------------------------------------


def words_of(recording: Recording) -> str:
    """What a search looks through."""
    return "\n".join(line.text for part in recording.parts for line in part.lines)
