"""Which tokens of a GGUF file's vocabulary are no text. Keys: github.com/ggml-org/ggml, docs/gguf.md."""

import mmap
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.chat.control_tokens import ControlTokens

_STRING, _ARRAY = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4
# llama.cpp takes such tokens for control tokens though their file does not call them so.
_LOOKS_LIKE_CONTROL = re.compile(r"<[|｜].+[|｜]>|</?s>|_?<EOT>|<end_of_\w+>|<EOS>|<eos>")
_NAMED = re.compile(r"tokenizer\.ggml\.\w+_token_id")


def control_tokens(path: Path) -> ControlTokens:
    """Those of a GGUF file that llama.cpp could load; none of what is no such file."""
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            return ControlTokens(())
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            facts = dict(_facts(buffer))
    tokens: list[str] = facts.get("tokenizer.ggml.tokens", [])
    kinds = dict(enumerate(facts.get("tokenizer.ggml.token_type", ())))
    named = {value for key, value in facts.items() if _NAMED.fullmatch(key)}
    special = [
        text
        for number, text in enumerate(tokens)
        if kinds.get(number) in (_UNKNOWN, _CONTROL) or number in named or _LOOKS_LIKE_CONTROL.fullmatch(text)
    ]
    template = facts.get("tokenizer.chat_template", "")
    defined = [text for number, text in enumerate(tokens) if kinds.get(number) == _USER_DEFINED]
    return ControlTokens(special, [text for text in defined if text in template])


def _facts(buffer: mmap.mmap) -> Iterator[tuple[str, Any]]:
    """The texts, whole numbers, lists of texts and lists of 32-bit numbers among a file's facts."""
    (count,) = struct.unpack_from("<Q", buffer, 16)
    at = 24
    for _ in range(count):
        name, at = _text(buffer, at)
        (kind,) = struct.unpack_from("<I", buffer, at)
        value, at = _value(buffer, kind, at + 4)
        yield name, value


def _value(buffer: mmap.mmap, kind: int, at: int) -> tuple[Any, int]:
    if kind == _STRING:
        return _text(buffer, at)
    if kind != _ARRAY:
        return int.from_bytes(buffer[at : at + _SIZES[kind]], "little"), at + _SIZES[kind]
    kind, count = struct.unpack_from("<IQ", buffer, at)
    at += 12
    if kind != _STRING:
        size = _SIZES[kind]
        return struct.unpack_from(f"<{count}i", buffer, at) if size == 4 else (), at + size * count
    texts = []
    for _ in range(count):
        text, at = _text(buffer, at)
        texts.append(text)
    return texts, at


def _text(buffer: mmap.mmap, at: int) -> tuple[str, int]:
    end = at + 8 + int.from_bytes(buffer[at : at + 8], "little")
    return buffer[at + 8 : end].decode(errors="replace"), end
