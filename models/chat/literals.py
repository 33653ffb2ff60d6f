r"""Calls as models write them: ``tool_call(city="北京", from='a', user-id=3, now=true)``, read and never evaluated.

Python's own parser refuses what models write all the same: keywords as names, hyphens in them, JSON's
true and null, and texts over several lines.
"""

import re
from typing import Any

_NAME = re.compile(r"""[^\W\d][\w.-]*""")
_NUMBER = re.compile(r"[-+]?(?:\d[\d_]*+(?:\.[\d_]*+)?|\.\d++)(?:[eE][-+]?\d++)?(?![\w.])")
_WORD = re.compile(r"[A-Za-z]+(?!\w)")
_WORDS = {"True": True, "true": True, "False": False, "false": False, "None": None, "null": None}
_BLANK = re.compile(r"(?:\s|#[^\n]*)*")
_QUOTED_NAME = re.compile(r"""(['"])([^'"\n]+)\1""")
_ESCAPE = re.compile(r"\\(\r?\n|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "a": "\a", "\n": "", "\r\n": ""}
_QUOTE = re.compile(r"""[rRuU]?('{3}|"{3}|'|")""")
_DEPTH = 50  # of lists in lists


class Malformed(ValueError):
    """What was read is no call. The one argument says in what way: "syntax" (it ends too early or goes on),
    "call" (of something else), "names" (a value has none), "once" (a name is repeated), or "value"."""


def read_call(text: str) -> dict[str, Any]:
    """The values of one ``tool_call(name=value, …)`` by their names.

    Values are texts, numbers, true, false, null (in Python's words as well), lists, tuples and dicts.

    Raises:
        Malformed: `text` is anything else.
    """
    return _Reader(text).call()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def call(self) -> dict[str, Any]:
        if "\0" in self._text or not self._text.strip():
            raise Malformed("syntax")
        if not self._take("tool_call") or not self._take("("):
            raise Malformed("call")
        arguments: dict[str, Any] = {}
        while not self._take(")"):
            name = self._name()
            if name in arguments:
                raise Malformed("once")
            arguments[name] = self._value(0)
            self._separate(")")
        self._blank()
        if self._at < len(self._text):
            raise Malformed("syntax")
        return arguments

    def _separate(self, end: str) -> None:
        """A comma behind a value, or `end`, which is not taken."""
        if not self._take(",") and not self._peek(end):
            raise self._wrong("value")

    def _wrong(self, kind: str) -> Malformed:
        return Malformed(kind if self._at < len(self._text) else "syntax")

    def _name(self) -> str:
        self._blank()
        found = _NAME.match(self._text, self._at) or _QUOTED_NAME.match(self._text, self._at)
        if not found:
            raise self._wrong("once" if self._peek("**") else "names")
        self._at = found.end()
        if not (self._take("=") or self._take(":")):
            raise self._wrong("names")
        return found[found.lastindex or 0]

    def _value(self, depth: int) -> Any:
        self._blank()
        if depth > _DEPTH:
            raise Malformed("value")
        if self._take("["):
            return self._items("]", depth)
        if self._take("("):
            return self._tuple(depth)
        if self._take("{"):
            return self._pairs(depth)
        if _QUOTE.match(self._text, self._at):
            return self._texts()
        if found := _NUMBER.match(self._text, self._at):
            self._at = found.end()
            return _number(found[0])
        if (found := _WORD.match(self._text, self._at)) and found[0] in _WORDS:
            self._at = found.end()
            return _WORDS[found[0]]
        raise self._wrong("value")

    def _items(self, end: str, depth: int) -> list[Any]:
        items = []
        while not self._take(end):
            items.append(self._value(depth + 1))
            self._separate(end)
        return items

    def _tuple(self, depth: int) -> Any:
        """A tuple, which JSON has as a list; brackets around one value without a comma are that value."""
        begin = self._at
        items = self._items(")", depth)
        alone = len(items) == 1 and not self._text[begin : self._at - 1].rstrip().endswith(",")
        return items[0] if alone else items

    def _pairs(self, depth: int) -> dict[Any, Any]:
        pairs = {}
        while not self._take("}"):
            key = self._value(depth + 1)
            if not isinstance(key, str) or not self._take(":"):
                raise Malformed("value")
            pairs[key] = self._value(depth + 1)
            self._separate("}")
        return pairs

    def _texts(self) -> str:
        """A text, and those that follow it directly."""
        whole = ""
        while quote := _QUOTE.match(self._text, self._at):
            whole += self._string(quote)
            self._blank()
        return whole

    def _string(self, quote: re.Match[str]) -> str:
        end = re.compile(rf"(?:\\.|(?!{quote[1]})[^\\])*+{quote[1]}", re.DOTALL).match(
            self._text, quote.end()
        )
        if not end:
            raise Malformed("syntax")
        inside = self._text[quote.end() : end.end() - len(quote[1])]
        self._at = end.end()
        if quote[0][0] in "rR":
            return inside
        # JSON writes what lies beyond 16 bits as a pair of surrogates.
        return _ESCAPE.sub(_unescape, inside).encode("utf-16", "surrogatepass").decode("utf-16")

    def _blank(self) -> None:
        found = _BLANK.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _peek(self, sign: str) -> bool:
        self._blank()
        return self._text.startswith(sign, self._at)

    def _take(self, sign: str) -> bool:
        if not self._peek(sign):
            return False
        self._at += len(sign)
        return True


def _number(text: str) -> int | float:
    try:
        return int(text) if re.fullmatch(r"[-+]?[\d_]+", text) else float(text)
    except ValueError as error:
        raise Malformed("value") from error


def _unescape(found: re.Match[str]) -> str:
    code = found[1]
    if code in _ESCAPES:
        return _ESCAPES[code]
    if code[0] in "uUx" and len(code) > 1:
        number = int(code[1:], 16)
        return chr(number) if number <= 0x10FFFF else found[0]
    if code[0] in "01234567":
        return chr(int(code, 8))
    return code if code in "\\'\"/" else found[0]  # as Python keeps an escape that it does not know
