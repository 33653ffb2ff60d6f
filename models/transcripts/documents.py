"""Transcripts as documents for people: a title, a paragraph for each line, a translation below its line.

    md    Markdown, in which nothing of the text acts
    docx  Word's format, written by python-docx

The name of a format is also its file's extension.
"""

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

from models import markdown
from models.errors import BadInput
from models.schema import Segment
from models.transcripts.edit import beside
from models.transcripts.formats import clock, one_line
from models.transcripts.lasting import lasting

DOCUMENTS: Mapping[str, str] = MappingProxyType(
    {
        "md": "text/markdown",
        "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    }
)
# What XML can hold (https://www.w3.org/TR/xml/#charsets); control characters and halves of letters it cannot.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONGEST_TITLE = 255  # characters among a docx file's properties

Paragraph = tuple[str, str, str]  # when the line begins (or ""), its text, its translation (or "")


def write_document(
    segments: Iterable[Segment],
    format: str,
    title: str,
    times: bool = True,
    translation: Sequence[Segment] = (),
) -> bytes:
    """A transcript as the file of a document.

    Args:
        segments: what an engine recognised, in order; times in seconds.
        format: one of DOCUMENTS.
        title: what stands above it.
        times: whether each line begins with its time, written as in vtt.
        translation: segments of the same recording in another language.

    Raises:
        BadInput: there is no such format.
    """
    if format not in DOCUMENTS:
        listed = ", ".join(DOCUMENTS)
        raise BadInput(
            f"There is no document format {format!r}: choose one of {listed}.",
            f"没有名为 {format!r} 的文档格式：请从 {listed} 中选择。",
        )
    paragraphs = _paragraphs(lasting(list(segments)), times, translation)
    return (_markdown if format == "md" else _docx)(_clean(title), paragraphs)


def _paragraphs(
    segments: Sequence[Segment], times: bool, translation: Sequence[Segment]
) -> Iterator[Paragraph]:
    for segment, below in zip(segments, beside(segments, translation), strict=True):
        yield clock(segment.start, ".") if times else "", _clean(segment.text), _clean(below)


def _clean(text: str) -> str:
    return one_line(_NOT_XML.sub("", text))


def _markdown(title: str, paragraphs: Iterable[Paragraph]) -> bytes:
    blocks = [f"# {markdown.escape(title)}"]
    for time, text, below in paragraphs:
        blocks.append(" ".join(filter(None, (time and f"**{time}**", markdown.escape(text)))))
        if below:
            blocks.append(f"> {markdown.escape(below)}")
    return ("\n\n".join(blocks) + "\n").encode()


def _docx(title: str, paragraphs: Iterable[Paragraph]) -> bytes:
    import docx

    document = docx.Document()
    facts = document.core_properties
    facts.title, facts.author, facts.comments = title[:_LONGEST_TITLE], "", ""
    facts.created = facts.modified = datetime.now(UTC)
    document.add_heading(title, 0)
    for time, text, below in paragraphs:
        paragraph = document.add_paragraph()
        if time:
            paragraph.add_run(f"{time} ").bold = True
        paragraph.add_run(text)
        if below:
            paragraph.add_run().add_break()
            paragraph.add_run(below).italic = True
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()
