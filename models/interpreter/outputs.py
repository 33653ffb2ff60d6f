"""What code shows, from the messages of a Jupyter kernel (jupyter-client: "Messaging in Jupyter")."""

import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from io import BytesIO
from itertools import chain
from typing import Any, Literal

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_LONGEST_TABLE = 1_000_000  # characters of HTML that are read
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
        """How much there is to read, in a table's cells as well; an empty one counts, too."""
        return len(self.text) + sum(len(cell) + 1 for row in self.rows for cell in row)


def as_read(outputs: Iterable[Output], longest: int = 4_000) -> str:
    """What a model reads of what code has shown: the end of it, where the error and the result are."""
    text = "".join(_read(output) for output in outputs).strip()
    return text if len(text) <= longest else f"…{text[-longest:]}"


def _read(output: Output) -> str:
    return "[Image]\n" if output.kind == "image" else f"{output.text}\n" if output.rows else output.text


def output_of(message: Mapping[str, Any]) -> Output | None:
    """What a message on the kernel's iopub channel shows, or None for one that shows nothing."""
    try:
        output = _read_message(message["header"]["msg_type"], message["content"])
        if output:
            "".join([output.text, *chain(*output.rows)]).encode()  # half a surrogate pair cannot be sent on
        return output
    except (KeyError, TypeError, AttributeError, UnicodeError):  # code can send messages of its own making
        return None


def _read_message(kind: str, content: Mapping[str, Any]) -> Output | None:
    if kind == "stream":
        return Output("text", _COLOURS.sub("", content["text"]))
    if kind == "error":
        lines = content["traceback"] or [f"{content['ename']}: {content['evalue']}"]
        return Output("error", _COLOURS.sub("", "\n".join(lines)))
    return _shown(content["data"]) if kind in _SHOWN else None


def _shown(data: Mapping[str, Any]) -> Output:
    text = str(data.get("text/plain", ""))
    if image := png(data.get("image/png")):
        return Output("image", text, image)
    if rows := _rows(data.get("text/html")):
        return Output("table", text, rows=rows)
    return Output("text", text + "\n")


def png(encoded: object) -> bytes:
    """A picture that is safe to hand on: PNG that can be decoded, and not of a bomb's size."""
    from PIL.PngImagePlugin import PngImageFile

    if not isinstance(encoded, str):
        return b""
    try:
        image = binascii.a2b_base64(encoded)
        picture = PngImageFile(BytesIO(image))
        if picture.width * picture.height > _PIXELS:
            return b""
        picture.load()
    except (ValueError, SyntaxError, OSError):  # no base64, no PNG, a broken one
        return b""
    return image


def _rows(html: object) -> tuple[tuple[str, ...], ...]:
    if not isinstance(html, str) or len(html) > _LONGEST_TABLE:
        return ()
    reader = _Table()
    try:
        reader.feed(html)
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
