"""Texts in the encodings that people have: UTF-8, UTF-16, UTF-32, GB18030, or else Windows' Western European one."""

import codecs
import re

# The longer marks first: UTF-32's begins as UTF-16's does.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_ASCII = re.compile(r"[\x00-\x7f]+")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_PRINTED = frozenset(b"\t\n\r") | frozenset(range(32, 127))
_LOOKED_AT = 8192  # bytes by which UTF-16 is known
_FEW = 0.02  # of the letters of a text may be no letters at all


def decode(data: bytes) -> str:
    """The text in a file, which may be cut off in the middle of a letter. Raises ValueError for what is no text."""
    text = _decoded(data)
    strange = len(_CONTROLS.findall(text)) + text.count("\ufffd")
    if "\0" in text or strange > _FEW * len(text):
        raise ValueError("no text")
    return clean(text)


def clean(text: str) -> str:
    """`text` as it can be kept and sent: lines end with a line feed, and there is nothing that is no letter."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "")
    return _CONTROLS.sub("", text).encode("utf-8", "replace").decode()


def _decoded(data: bytes) -> str:
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return _read(data, encoding, "replace")
    for encoding in (_unmarked_utf16(data), "utf-8"):
        if encoding and (text := _try(data, encoding)) is not None:
            return text
    chinese = _try(data, "gb18030")
    if chinese is not None and _is_chinese(chinese):
        return chinese
    damaged = _read(data, "utf-8", "replace")
    if damaged.count("\ufffd") <= _FEW * len(_ASCII.sub("", damaged)):
        return damaged
    return _read(data, "cp1252", "replace")


def _read(data: bytes, encoding: str, errors: str) -> str:
    """Without the letter at the end that is not whole."""
    return codecs.getincrementaldecoder(encoding)(errors).decode(data)


def _try(data: bytes, encoding: str) -> str | None:
    try:
        return _read(data, encoding, "strict")
    except UnicodeDecodeError:
        return None


def _unmarked_utf16(data: bytes) -> str:
    """Line feeds, spaces and Latin letters have a zero in it, always on the same side. (一, U+4E00, has one, too.)"""
    pairs = list(zip(data[:_LOOKED_AT:2], data[1:_LOOKED_AT:2], strict=False))
    big = sum(not first and second in _PRINTED for first, second in pairs)
    little = sum(not second and first in _PRINTED for first, second in pairs)
    if not max(big, little) > 2 * min(big, little):
        return ""
    return "utf-16-be" if big > little else "utf-16-le"


def _is_chinese(text: str) -> bool:
    """Whether GB18030 is what it was written in: it makes letters of most other texts, too, but rare ones."""
    wide = _ASCII.sub("", text)
    common = len(wide.encode("gb2312", "ignore")) // 2
    return 2 * common >= len(wide)
