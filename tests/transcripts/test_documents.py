"""Transcripts as documents, read back by the libraries that read such files."""

import io
from typing import Any

import docx
import pytest
from markdown_it import MarkdownIt

from models.errors import BadInput
from models.schema import Segment
from models.transcripts.documents import DOCUMENTS, write_document

LINES = [Segment(0.0, 2.5, " Hello *there*."), Segment(3661.5, 3700.0, " # 你好\n世界 <b>")]
BELOW = [Segment(3661.5, 3700.0, " hello, _world_")]


def paragraphs(data: bytes) -> list[str]:
    return [paragraph.text for paragraph in docx.Document(io.BytesIO(data)).paragraphs]


def test_a_word_document_has_a_title_times_and_the_translation_below() -> None:
    data = write_document(LINES, "docx", "talk & more.wav", translation=BELOW)
    assert paragraphs(data) == [
        "talk & more.wav",
        "00:00.000 Hello *there*.",
        "01:01:01.500 # 你好 世界 <b>\nhello, _world_",
    ]
    read = docx.Document(io.BytesIO(data))
    assert read.paragraphs[0].style.name == "Title"
    assert [bool(run.bold) for run in read.paragraphs[1].runs] == [True, False]
    facts = read.core_properties
    assert (facts.title, facts.author, facts.comments) == ("talk & more.wav", "", "")


def test_a_markdown_document_in_which_nothing_acts() -> None:
    text = write_document(LINES, "md", "*talk*", translation=BELOW).decode()
    assert text.startswith("# \\*talk\\*\n\n**00:00.000** Hello ") and text.endswith("world\\_\n")
    html = MarkdownIt("commonmark").render(text)
    assert "<p>Hello" not in html and "<strong>01:01:01.500</strong> # 你好 世界 &lt;b&gt;" in html
    assert "<blockquote>\n<p>hello, _world_</p>" in html and "<em>" not in html


def test_times_are_an_option() -> None:
    assert paragraphs(write_document(LINES[:1], "docx", "t", times=False)) == ["t", "Hello *there*."]
    assert write_document(LINES[1:], "md", "t", times=False).decode() == "# t\n\n\\# 你好 世界 \\<b\\>\n"


@pytest.mark.parametrize("format", DOCUMENTS)
def test_what_xml_cannot_hold_is_left_out(format: str) -> None:
    odd = "".join(map(chr, [*range(32), 0x7F, 0xD800, 0xDC00, 0xFFFE, 0xFFFF]))
    data = write_document(
        [Segment(0, 1, f"a{odd}b😀")], format, f"x\x00{odd}y" * 100, translation=[Segment(0, 1, odd)]
    )
    text = "\n".join(paragraphs(data)) if format == "docx" else data.decode()
    assert "b😀" in text and not set(text) & set("\x00\x1b\ufffe\uffff")


@pytest.mark.parametrize("format", DOCUMENTS)
@pytest.mark.parametrize("lines", [[], [Segment(5.0, 1.0, "")]])
def test_a_transcript_of_nothing(format: str, lines: list[Any]) -> None:
    assert write_document(lines, format, "")


def test_another_format_is_a_sentence() -> None:
    with pytest.raises(BadInput, match="'pdf': choose one of md, docx"):
        write_document(LINES, "pdf", "t")
