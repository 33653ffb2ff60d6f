"""What is kept, as plain data. Standard library only."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from models.errors import NotKept

Kind = Literal["conversation", "recording", "album", "settings"]


class Changed(NotKept):
    """It was changed or deleted since it was read, in another tab."""

    def __init__(self) -> None:
        super().__init__(
            "This was changed in another tab: reload the page to see it as it is now.",
            "此内容已在另一个标签页中被更改：请刷新页面查看最新内容。",
        )


@dataclass(frozen=True)
class Entry:
    """What a list says of a thing: times in seconds since 1970, `size` in bytes with its files."""

    id: str
    kind: Kind
    page: str
    title: str
    created: float
    updated: float
    size: int


@dataclass(frozen=True)
class Thing:
    """Something to keep, or as it was kept.

    `content` is JSON, whose form is its page's affair; `words` what a search finds beside the title. `files` are
    by their digests (`digest`), which is how `content` speaks of them; of a large one the path, and it must not be
    changed any more. `revision` counts how often it was put, and
    is 0 for what is new: so nobody writes over what another tab has put since.
    """

    id: str
    kind: Kind
    page: str
    title: str
    content: Any
    words: str = ""
    files: Mapping[str, bytes | Path] = field(default_factory=dict)
    revision: int = 0
    created: float | None = None  # None: now
    named: bool = False  # by the visitor: later changes leave the title as it is


def new_id() -> str:
    """Of a thing: nobody guesses it."""
    return secrets.token_urlsafe(16)


def digest(data: bytes) -> str:
    """What a file is called: SHA-256, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest_of(path: Path) -> str:
    """The same of a file that is read piece by piece. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
