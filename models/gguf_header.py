"""The facts at the beginning of a GGUF file, and the numbers and texts that binary headers are made of.

Format: github.com/ggml-org/ggml, docs/gguf.md. What is read is not believed: a file of a few kilobytes can ask for
seconds and gigabytes. The longest headers of models that there are take a tenth of what is allowed here.

Raises EOFError when a file ends before what its header promises, and ValueError when it is not of the format at all,
or longer than any.
"""

import mmap
import struct
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MAGIC = b"GGUF"
LONGEST = 100 << 20  # bytes of a header, vocabulary, tensors' names and all
_MOST_FACTS, _MOST_TEXTS = 4096, 4 << 20
_LONG_ARRAY = 4096  # a vocabulary or its scores
_STRING, _ARRAY = 8, 9
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def within(count: int, most: int) -> int:
    """`count`, where there can be as many. Raises ValueError."""
    if not 0 <= count <= most:
        raise ValueError(f"header too long, or {count} of what no model has as many")
    return count


class Reader:
    """Little-endian numbers and texts from a buffer, one after the other."""

    def __init__(self, buffer: mmap.mmap | bytes) -> None:
        self.buffer = buffer
        self.at = 0

    def number(self, code: str) -> Any:
        return self.numbers(code, 1)[0]

    def numbers(self, code: str, count: int) -> tuple[Any, ...]:
        layout = f"<{count}{code}"
        start = self.skip(struct.calcsize(layout))
        return struct.unpack_from(layout, self.buffer, start)

    def text(self, length: str = "Q") -> str:
        size = self.number(length)
        start = self.skip(size)
        return self.buffer[start : start + size].decode("utf-8", "replace")

    def believe(self, count: int, size: int, most: int) -> int:
        """`count` things of at least `size` bytes that follow. Raises EOFError where the file has no room for
        them, and ValueError where no model has as many."""
        if self.at + count * size > len(self.buffer):
            raise EOFError
        return within(count, most)

    def skip(self, size: int) -> int:
        """Move on by `size` bytes; returns where they began."""
        start, self.at = self.at, self.at + size
        if self.at > len(self.buffer):
            raise EOFError
        return start

    def texts(self, count: int, keep: bool) -> list[str]:
        """`count` texts, or none of them and only move on. A vocabulary has hundreds of thousands, so no call
        for each."""
        buffer, at, found = self.buffer, self.at, []
        for _ in range(self.believe(count, 8, _MOST_TEXTS)):
            start = at + 8
            at = start + int.from_bytes(buffer[at:start], "little")
            if keep:
                found.append(buffer[start:at].decode("utf-8", "replace"))
        self.skip(at - self.at)
        return found


@contextmanager
def opened(path: Path) -> Iterator[Reader]:
    """A reader at the beginning of a file."""
    with path.open("rb") as file:
        if not path.stat().st_size:  # nothing can be mapped
            yield Reader(b"")
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            yield Reader(buffer)


def read_facts(reader: Reader, whole: Container[str] = ()) -> tuple[dict[str, Any], int]:
    """The facts of a GGUF file, version 2 or 3, and the number of tensors that are described behind them.

    Args:
        whole: names of facts whose arrays are wanted. Of others that are long, or of texts, only the length is
            kept.
    """
    if reader.buffer[: len(MAGIC)] != MAGIC:
        raise ValueError("no GGUF magic")
    reader.skip(len(MAGIC))
    if reader.number("I") not in (2, 3):
        raise ValueError("an old or big-endian GGUF version")
    tensor_count, fact_count = reader.numbers("Q", 2)
    facts = {}
    for _ in range(reader.believe(fact_count, 12, _MOST_FACTS)):
        within(reader.at, LONGEST)
        name = reader.text()
        facts[name] = _value(reader, reader.number("I"), name in whole)
    return facts, tensor_count


def _value(reader: Reader, kind: int, whole: bool) -> Any:
    if kind == _STRING:
        return reader.text()
    if kind != _ARRAY:
        return reader.number(_NUMBERS[kind])
    kind, count = reader.number("I"), reader.number("Q")
    if kind == _STRING:
        texts = reader.texts(count, whole)
        return texts if whole else count
    if kind not in _NUMBERS:
        raise ValueError("nested arrays")
    if whole or count <= _LONG_ARRAY:
        return reader.numbers(_NUMBERS[kind], reader.believe(count, 1, _MOST_TEXTS))
    reader.skip(count * struct.calcsize("<" + _NUMBERS[kind]))
    return count
