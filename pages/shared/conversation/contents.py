"""What is in a message of another program: its text, its pictures, and a mark for whatever else it holds."""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from models import BadInput
from models.pictures.reading import check
from pages.shared.conversation.notes import Notes
from pages.shared.conversation.turns import PictureFile, read_text

_TEXTS = ("text", "input_text", "output_text", "refusal")  # kinds of parts that are text
_THOUGHTS = ("thinking", "redacted_thinking", "reasoning", "thoughts", "reasoning_recap")
_CALLS = frozenset({"tool_use", "server_tool_use", "functionCall"})
_RESULTS = frozenset({"tool_result", "functionResponse"})
_PICTURES = ("image_url", "image", "source", "inlineData", "inline_data", "url", "data")  # where one may be
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")
_IMAGES = ("image", "image_url", "input_image")  # kinds of parts whose picture may be an address or a path
_LONGEST = 200  # characters of an address or a name


def read_content(content: Any, notes: Notes) -> tuple[str, tuple[PictureFile, ...]]:
    """The text and the pictures of a message's content: a text, parts, one part, or nothing."""
    texts: list[str] = []
    pictures: list[PictureFile] = []
    for part in _flat(content):
        found = _read_part(part, notes)
        if isinstance(found, bytes):
            pictures.append(PictureFile(f"{len(pictures) + 1}.png", found))
        elif found:
            texts.append(found)
    return "\n".join(texts), tuple(pictures)


def _flat(content: Any) -> Iterator[Any]:
    """The parts of a content, those within parts too."""
    if isinstance(content, Mapping) and isinstance(content.get("parts"), list):
        content = content["parts"]
    if not isinstance(content, list):
        yield content
        return
    for part in content:
        yield from _flat(part)


def _read_part(part: Any, notes: Notes) -> str | bytes:
    if part is None or isinstance(part, str):
        return read_text(part or "")
    if not isinstance(part, Mapping):
        return _mark(type(part).__name__, json.dumps(part), notes)
    kind = _kind(part)
    if kind in _CALLS | _RESULTS:
        return ""
    if kind in _THOUGHTS:
        notes.add("thought")
        return ""
    if kind in _TEXTS:
        return read_text(part.get("text") or part.get(kind) or "")
    return _read_picture(kind, part, notes) or _mark(kind, _name(part), notes)


def _kind(part: Any) -> str:
    """What a part calls itself; Gemini's are called by their only field."""
    if not isinstance(part, Mapping):
        return ""
    return str(part.get("type") or part.get("content_type") or next(iter(part), "nothing"))


def _read_picture(kind: str, part: Mapping[str, Any], notes: Notes) -> str | bytes:
    """The file of a picture, or the mark of one that is elsewhere; "" for what is none."""
    given: Any = part
    while isinstance(given, Mapping):
        given = next((given[key] for key in _PICTURES if given.get(key)), None)
    if not isinstance(given, str):
        return ""
    data = _decoded(given)
    if data is None and kind in _IMAGES and not given.startswith("data:") and {".", ":"} & set(given):
        notes.add("address")
        return read_text(f"[image: {given[:_LONGEST]}]")
    return data or ""


def _decoded(text: str) -> bytes | None:
    """The picture that base64 holds, with or without the head of a data URL; None if it is none."""
    try:
        data = base64.b64decode(_DATA_URL.sub("", text, count=1), validate=True)
        check(data)
    except (binascii.Error, ValueError, BadInput):
        return None
    return data


def _name(part: Mapping[str, Any]) -> str:
    """What a part calls the file in it, or says of it."""
    inner = next((value for value in part.values() if isinstance(value, Mapping)), {})
    keys = ("filename", "file_name", "name", "title", "transcript", "url")
    named = (where.get(key) for where in (part, inner) for key in keys)
    return next((name for name in named if isinstance(name, str) and not name.startswith("data:")), "")


def _mark(kind: str, name: str, notes: Notes) -> str:
    """What stands where something cannot be shown."""
    notes.add("part", kind)
    return read_text(f"[{kind}: {name[:_LONGEST]}]" if name else f"[{kind}]")


def mark_pictures(pictures: Iterable[PictureFile], notes: Notes) -> str:
    """The marks of pictures where only questions have them."""
    return "\n".join(_mark("image", "", notes) for _ in pictures)


# --- calls of tools ----------------------------------------------------------------------------


@dataclass
class Call:
    """A call of a tool, or a result of one: `id` is what both name."""

    id: str
    name: str
    arguments: str = "{}"
    text: str = ""  # what was written before it
    result: str | None = None


def find_calls(raw: Mapping[str, Any], is_call: bool) -> list[Call]:
    """The calls in a message; `is_call`: it is one itself."""
    if not is_call:
        one = raw.get("function_call")
        return [
            _call(call)
            for call in (*(raw.get("tool_calls") or ()), *([one] if one else ()), *_parts(raw, _CALLS))
        ]
    given = raw.get("value") or raw.get("content")  # ShareGPT has it as JSON, one or several
    try:
        found = json.loads(given) if isinstance(given, str) else given or raw
        calls = [_call(call) for call in (found if isinstance(found, list) else [found])]
    except (ValueError, AttributeError):
        calls = []
    return calls or [Call("", "tool", _written(given))]


def _call(raw: Mapping[str, Any]) -> Call:
    inner = raw.get("function") or raw.get("functionCall") or raw
    arguments = next(
        (inner[key] for key in ("arguments", "args", "input", "parameters") if key in inner), None
    )
    number = raw.get("call_id") or raw.get("id")
    return Call(
        str(number or ""),
        read_text(inner.get("name") or "tool"),
        _written({} if arguments is None else arguments),
    )


def find_results(raw: Mapping[str, Any], is_result: bool, notes: Notes) -> list[Call]:
    """The results of tools in a message; `is_result`: it is one itself."""
    return [_result(found, notes) for found in ([raw] if is_result else _parts(raw, _RESULTS))]


def _result(raw: Mapping[str, Any], notes: Notes) -> Call:
    inner = raw.get("functionResponse") or raw
    given = next(
        (inner[key] for key in ("content", "value", "output", "response", "parts") if inner.get(key)), ""
    )
    text, pictures = read_content(given, notes) if isinstance(given, (str, list)) else (_written(given), ())
    number = next((raw[key] for key in ("tool_call_id", "call_id", "tool_use_id") if raw.get(key)), "")
    name = inner.get("name") or inner.get("tool_name") or ""
    text = "\n".join(filter(None, (text, mark_pictures(pictures, notes))))
    return Call(str(number), read_text(name), result=text)


def _parts(raw: Mapping[str, Any], kinds: frozenset[str]) -> list[Mapping[str, Any]]:
    content = raw.get("content") or raw.get("parts")
    return [part for part in content if _kind(part) in kinds] if isinstance(content, list) else []


def _written(value: Any) -> str:
    """Arguments or a result: a text as it is, anything else as JSON."""
    return read_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
