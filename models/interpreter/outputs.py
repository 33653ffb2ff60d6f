"""What code shows, from the messages of a Jupyter kernel (jupyter-client: "Messaging in Jupyter")."""

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any, Literal

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PNG = b"\x89PNG\r\n\x1a\n"
_PIXELS = 25_000_000  # a larger picture would cost the server more than a hundred megabytes
_SHOWN = ("execute_result", "display_data", "update_display_data")


@dataclass(frozen=True)
class Output:
    """One thing that code has shown.

    ``text`` is what a model reads: printed text, a traceback, a table as plain text, or what Python
    says of a picture.
    """

    kind: Literal["text", "error", "image", "table"]
    text: str = ""
    image: bytes = b""  # PNG
    rows: tuple[tuple[str, ...], ...] = ()  # of a table, the heading first

    @property
    def characters(self) -> int:
        """How much there is to read, in a table's cells as well."""
        return len(self.text) + sum(len(cell) for row in self.rows for cell in row)


def output_of(message: Mapping[str, Any]) -> Output | None:
    """What a message on the kernel's iopub channel shows, or None for one that shows nothing."""
    kind, content = message["header"]["msg_type"], message["content"]
    try:
        if kind == "stream":
            return Output("text", _COLOURS.sub("", content["text"]))
        if kind == "error":
            lines = content["traceback"] or [f"{content['ename']}: {content['evalue']}"]
            return Output("error", _COLOURS.sub("", "\n".join(lines)))
        return _shown(content["data"]) if kind in _SHOWN else None
    except (KeyError, TypeError, AttributeError):  # code can send messages of its own making
        return None


def _shown(data: Mapping[str, Any]) -> Output:
    text = str(data.get("text/plain", ""))
    if image := _png(data.get("image/png")):
        return Output("image", text, image)
    if rows := _rows(data.get("text/html")):
        return Output("table", text, rows=rows)
    return Output("text", text + "\n")


def _png(encoded: object) -> bytes:
    """A picture that is safe to hand on: really PNG, and not of a bomb's size."""
    if not isinstance(encoded, str):
        return b""
    try:
        image = binascii.a2b_base64(encoded)
    except (binascii.Error, ValueError):
        return b""
    width, height = int.from_bytes(image[16:20], "big"), int.from_bytes(image[20:24], "big")
    return image if image.startswith(_PNG) and width * height <= _PIXELS else b""


def _rows(html: object) -> tuple[tuple[str, ...], ...]:
    reader = _Table()
    try:
        reader.feed(html if isinstance(html, str) else "")
    except AssertionError:  # how html.parser says that a declaration is malformed
        return ()
    return tuple(tuple(cell.strip() for cell in row) for row in reader.rows if row)


class _Table(HTMLParser):
    """The cells of the tables in a page, as text; whatever else is there is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self._in_cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data
