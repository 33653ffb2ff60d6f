"""What Qwen-VL is told, as text and pictures: ChatML, and how a picture stands in a message.

Format: ``make_context`` and ``from_list_format`` of huggingface.co/Qwen/Qwen-VL-Chat.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any

from models.pictures.reading import picture_bytes
from models.schema import Message, Messages

DEFAULT_SYSTEM = "You are a helpful assistant."


@dataclass(frozen=True)
class PromptPicture:
    """A picture in a prompt: its file, which nothing has decoded yet."""

    data: bytes

    @cached_property
    def digest(self) -> bytes:
        return hashlib.sha256(self.data).digest()

    def __str__(self) -> str:
        return "<img></img>"


Content = Sequence[str | PromptPicture]


@dataclass(frozen=True)
class ChatMLMessage:
    """One message of a ChatML prompt."""

    role: str
    content: Content


def format_messages(messages: Messages) -> list[ChatMLMessage]:
    """A conversation as ChatML has it: a system prompt comes first, the makers' where none is given.

    Pictures are numbered through the conversation, as in the makers' demo (see `number_pictures`).

    Raises BadInput for a part that is neither a text nor the bytes of a picture.
    """
    numbers = count(1)
    made = [ChatMLMessage(message["role"], read_content(message, numbers)) for message in messages]
    if any(message.role == "system" for message in made):
        return made
    return [ChatMLMessage("system", [DEFAULT_SYSTEM]), *made]


def number_pictures(messages: Messages) -> list[Message]:
    """The conversation with a "number" in each picture, which it keeps when messages before it go."""
    numbers = count(1)
    return [{**message, "content": _number(message.get("content"), numbers)} for message in messages]


def _number(given: Any, numbers: Iterator[int]) -> Any:
    if not isinstance(given, list):
        return given
    return [part if part["type"] == "text" else {**part, "number": next(numbers)} for part in given]


def read_content(message: Message, numbers: Iterator[int]) -> Content:
    """What a message says: texts, each as long as it can be, and pictures with their captions.

    `numbers` are for pictures that have none.
    """
    given = message.get("content") or ""
    pieces: list[str | PromptPicture] = []
    for part in [{"type": "text", "text": given}] if isinstance(given, str) else given:
        if part["type"] == "text":
            pieces.append(part["text"])
        else:
            pieces += _shown(part, int(part.get("number") or next(numbers)))
    return _joined(pieces)


def _shown(part: Mapping[str, Any], number: int) -> list[str | PromptPicture]:
    return [f"Picture {number}:", PromptPicture(picture_bytes(part)), "\n"]


def _joined(pieces: Iterable[str | PromptPicture]) -> Content:
    """`pieces` with neighbouring texts as one: they are tokenised together."""
    made: list[str | PromptPicture] = []
    for piece in pieces:
        if isinstance(piece, str) and made and isinstance(made[-1], str):
            made[-1] += piece
        else:
            made.append(piece)
    return made


def read_plain(messages: Messages) -> Content:
    """What a base model is given: pictures and texts alone, one message under the other."""
    numbers = count(1)
    pieces: list[str | PromptPicture] = []
    for message in messages:
        pieces += ["\n"] * bool(pieces)
        pieces += read_content(message, numbers)
    return _joined(pieces)
