"""What the worker reads: a PDF page by page, a docx paragraph by paragraph.

None stands for a page that cannot be read.
"""

import io
import zipfile
from collections.abc import Iterator
from typing import Any

from models.documents.budgets import MOST_PAGES, MOST_UNPACKED

_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_BREAKS = {f"{_WORD}tab": "\t", f"{_WORD}br": "\n", f"{_WORD}cr": "\n", f"{_WORD}noBreakHyphen": "-"}
# Settings, what was moved elsewhere, and what is written once more for old programs.
_SKIPPED = frozenset(
    [
        *(f"{_WORD}{name}" for name in ("pPr", "rPr", "trPr", "tblPr", "tblPrEx", "sectPr", "moveFrom")),
        "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback",
    ]
)


class Unreadable(Exception):
    """Why nothing can be read, as a key of `reading.REFUSALS`."""


def read_pdf(data: bytes) -> Iterator[str | None]:
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not _opens(reader):
        raise Unreadable("locked")
    for number, page in enumerate(reader.pages):
        if number == MOST_PAGES:
            yield None
            return
        try:
            yield f"{page.extract_text()}\n\n"
        except MemoryError:
            raise
        except Exception:  # whatever the page has broken: the others can be read
            yield None


def _opens(reader: Any) -> bool:
    """Whether it has no password, and forbids only printing and the like."""
    from pypdf.errors import DependencyError

    try:
        return bool(reader.decrypt(""))
    except (DependencyError, NotImplementedError):  # encrypted in a way that takes another library
        return False


def read_docx(data: bytes) -> Iterator[str | None]:
    from docx import Document

    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        # zipfile gives no more of a file than the zip says.
        if sum(file.file_size for file in zipped.infolist()) > MOST_UNPACKED:
            raise Unreadable("large")
        if not any(name.startswith("word/") for name in zipped.namelist()):
            raise Unreadable("unknown")
    for block in _blocks(Document(io.BytesIO(data)).element.body):
        yield f"{block}\n"


def _blocks(element: Any) -> Iterator[str]:
    """Paragraphs, and the rows of tables with a tab between cells."""
    for child in element:
        if child.tag == f"{_WORD}p":
            yield _text(child)
        elif child.tag == f"{_WORD}tr":
            yield "\t".join(" ".join(_blocks(cell)) for cell in child if cell.tag not in _SKIPPED)
        elif child.tag not in _SKIPPED:
            yield from _blocks(child)


def _text(element: Any) -> str:
    parts = []
    for child in element:
        if child.tag == f"{_WORD}t":
            parts.append(child.text or "")
        elif child.tag == f"{_WORD}p":  # in a box of its own
            parts.append(f"\n{_text(child)}")
        elif child.tag not in _SKIPPED:
            parts.append(_BREAKS.get(child.tag) or _text(child))
    return "".join(parts)
