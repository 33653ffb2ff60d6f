"""Text that reads like a control token stays text.

A chat template writes control tokens, and so can whoever writes a message, a tool's schema or its result. What
of a conversation reads like one goes through the template as a mark: digits that nobody else knows, which
survive trimming, changes of case, JSON, and a look for a control token. Whoever makes ids of the prompt then
knows what the template wrote, and takes what the marks stand for as letters.
"""

import re
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import groupby
from os.path import commonprefix
from typing import Any

from models.schema import Message, Messages, Tools

JOINER = "\u2060"  # a word joiner: it shows nothing


class ControlTokens:
    """The control tokens of one vocabulary, and the marks that stand for their texts.

    Args:
        special: their texts.
        structural: texts of other tokens with which the chat template frames what it is given.
    """

    def __init__(self, special: Collection[str], structural: Collection[str] = ()) -> None:
        special, every = _visible(special), _visible({*special, *structural})
        # Cut in two, over two contents, or by a template that takes something out, a token could come together.
        starts = {text[:end] for text in every if not text[0].isalnum() for end in range(1, len(text))}
        openings = [start for start in starts if len(start) == 2 and not re.search(r"[\w\s/]", start)]
        self._texts = [*every, *starts.difference(every)]
        self._numbers = {text: number for number, text in enumerate(self._texts)}
        self._tokens = frozenset(every)
        self._structural = self._tokens.difference(special)
        self._starts = frozenset(starts)
        self._longest = max(map(len, starts), default=0)
        self._special, self._every = _any_of(special), _any_of(every)
        self._suspect = _any_of([*every, *openings])
        secret = _secret()
        # Names for the tokens themselves, under which nobody can call for one.
        self.names = {text: f"{secret}{number:06}" for number, text in enumerate(every)}
        self._secret = _secret()
        self._mark = re.compile(self._secret + r"(\d{6})")

    def in_text(self, text: str) -> bool:
        """Whether a text that somebody wrote holds one."""
        return self._special.search(text) is not None

    def hide(self, messages: Messages, tools: Tools = ()) -> tuple[list[Message], list[Any]] | None:
        """A conversation and its tools with marks. None: nothing in them reads like a control token."""
        given = _map([messages, tools], str)
        hidden = [[self._hide_message(message) for message in messages], _map(tools, self._hide_all)]
        return None if hidden == given else (hidden[0], hidden[1])

    def _hide_message(self, message: Message) -> Message:
        # What the assistant said may hold structural tokens: the model writes them itself.
        hide = self._hide_in_answer if message["role"] == "assistant" else self._hide_all
        hidden: Message = _map(message, hide)
        return hidden

    def _hide_in_answer(self, text: str) -> str:
        return self._hide_text(text, self._structural)

    def _hide_all(self, text: str) -> str:
        return self._hide_text(text, frozenset())

    def _hide_text(self, text: str, kept: frozenset[str]) -> str:
        text = self._suspect.sub(
            lambda found: found[0] if found[0] in kept else self._mark_of(found[0]), text
        )
        for length in range(min(self._longest, len(text)), 0, -1):
            if text[-length:] in self._starts:
                return text[:-length] + self._mark_of(text[-length:])
        return text

    def _mark_of(self, text: str) -> str:
        return f"{self._secret}{self._numbers[text]:06}"

    def reveal(self, text: str) -> str:
        """`text` with what its marks stand for."""
        return self._mark.sub(lambda found: self._texts[int(found[1])], text)

    def rename(self, prompt: str) -> str:
        """A prompt that a template made, with secret names for the tokens that it wrote."""
        return self._every.sub(lambda found: self.names[found[0]], prompt)

    def disarm(self, value: Any) -> Any:
        """Messages or tools with marks, made into texts that no tokenizer takes for a control token."""
        return _map(value, lambda text: self._mark.sub(self._disarm_mark, text))

    def _disarm_mark(self, found: re.Match[str]) -> str:
        text = self._texts[int(found[1])]
        return text[0] + JOINER + text[1:] if text in self._tokens else text

    def pieces(self, prompt: str) -> Iterator[tuple[str, bool]]:
        """A prompt that a template made, in pieces, and whether a piece holds marks. Those that do are revealed
        and hold no control token; they begin and end where one stands, or the prompt does. The marks of
        structural tokens are disarmed."""
        parts = re.split(f"({self._special.pattern})", prompt)
        for typed, group in groupby(parts, lambda part: self._mark.search(part) is not None):
            if text := "".join(group):
                yield self._mark.sub(self._reveal_mark, text) if typed else text, typed

    def _reveal_mark(self, found: re.Match[str]) -> str:
        text = self._texts[int(found[1])]
        return self._disarm_mark(found) if text in self._structural else text


def _secret() -> str:
    return f"{secrets.randbelow(10**24):024}"


def _visible(texts: Collection[str]) -> list[str]:
    """White space is text even where it is a token of its own."""
    return sorted({text for text in texts if text.strip()})


def _any_of(texts: Collection[str]) -> re.Pattern[str]:
    """Finds the longest of `texts`, as tokenizers do; of a few letters' look each, however many there are."""
    return re.compile(_branches(sorted(set(texts))) or "(?!)")


def _branches(texts: list[str]) -> str:
    """A pattern for sorted texts, what they have in common written once."""
    written = []
    for _, group in groupby(filter(None, texts), key=lambda text: text[0]):
        alike = list(group)
        common = commonprefix(alike)
        written.append(re.escape(common) + _branches([text[len(common) :] for text in alike]))
    if not written:
        return ""
    return f"(?:{'|'.join(written)})" + ("?" if not texts[0] else "")


def _map(value: Any, change: Callable[[str], str]) -> Any:
    """`value` with every text in it changed, the names of its fields too."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {_map(key, change): _map(each, change) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_map(each, change) for each in value]
    return value
