"""Documents: bytes and a name become text, or one sentence."""

import re
import threading
import zlib

import pytest

from models.documents import budgets, reading
from models.documents.budgets import CUT
from models.documents.reading import read_document
from models.errors import BadInput, Cancelled
from tests.fakes.documents import make_docx, make_locked_pdf, make_pdf, with_parts

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def refused(name: str, data: bytes) -> BadInput:
    with pytest.raises(BadInput) as found:
        read_document(name, data)
    error = found.value
    assert error.en.startswith(f"The document {name} ") and error.zh.startswith(f"文档 {name} ")
    assert error.en.count(". ") == 0 and error.zh.endswith("。")
    return error


# --- texts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a.txt", "a.md", "a.csv", "a.json", "a.py", "Makefile", "notes.TXT", ".env"]
)
def test_a_text_of_any_name(name: str) -> None:
    assert read_document(name, "第一行\nsecond\n".encode()) == "第一行\nsecond\n"


def test_a_long_text_is_cut_and_marked() -> None:
    read = read_document("a.log", b"word " * (budgets.MOST_CHARACTERS // 4))
    assert len(read) <= budgets.MOST_CHARACTERS + len(CUT) + 1 and read.endswith(f"word\n{CUT}")


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.txt", b"", "is empty"),
        ("a.txt", b" \n\t ", "is empty"),
        ("a.txt", b"\xff\xfe\n\0", "is empty"),
        ("a.txt", b"MZ\x90\x00\x03\x00\x00\x00\x04\x00", "is no text"),
        ("a.zip", b"PK\x05\x06" + bytes(18), "is no text"),
        ("a.doc", bytes.fromhex("d0cf11e0a1b11ae1") + bytes(512), "Word before 2007"),
        ("locked.docx", bytes.fromhex("d0cf11e0a1b11ae1") + bytes(512), "has a password"),
        ("a.xls", bytes.fromhex("d0cf11e0a1b11ae1") + bytes(512), "is no text"),
        ("a.pdf", b"<html>not found</html>", "is damaged"),
        ("a.docx", b"<html>not found</html>", "is damaged"),
    ],
)
def test_what_is_no_text_is_one_sentence(name: str, data: bytes, says: str) -> None:
    assert says in refused(name, data).en


def test_a_file_that_is_too_large_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_BYTES", 10)
    assert "larger than" in refused("a.txt", b"x" * 11).en


def test_a_name_is_no_path() -> None:
    with pytest.raises(BadInput) as found:
        read_document("/home/ada/a.txt", b"")
    assert str(found.value).startswith("The document a.txt ")


# --- PDF -----------------------------------------------------------------------------------------


def test_pages_come_in_order_whatever_the_file_is_called() -> None:
    for name in ("a.pdf", "a.txt", "a"):
        assert read_document(name, make_pdf("The heron", "stands (here)")) == "The heron\n\nstands (here)"


def test_a_scanned_pdf_says_that_it_has_no_text() -> None:
    assert "no text" in refused("scan.pdf", make_pdf("", "")).en


def test_a_locked_pdf_says_so_and_one_that_only_forbids_printing_is_read() -> None:
    assert "password" in refused("a.pdf", make_locked_pdf("secret", "The heron")).en
    assert read_document("a.pdf", make_locked_pdf("", "The heron")) == "The heron"


@pytest.mark.parametrize("end", [9, 60, 200])
def test_a_pdf_that_is_cut_off(end: int) -> None:
    assert "is damaged" in refused("a.pdf", make_pdf("The heron")[:end]).en


def test_a_broken_page_is_marked_and_the_others_are_read() -> None:
    pages = make_pdf("The heron", "BREAK", "stands")
    broken = pages.replace(b"BT /F1 12 Tf 72 720 Td (BREAK) Tj ET", b"BT " + b"[" * 27 + b" Tj ET")
    assert len(broken) == len(pages)
    read = read_document("a.pdf", broken)
    assert read.startswith("The heron") and read.endswith("stands")


def test_a_page_that_unpacks_to_gigabytes_ends_its_own_process_at_most() -> None:
    pack, piece = zlib.compressobj(), b"(a) Tj " * 100_000
    packed = b"".join([*(pack.compress(piece) for _ in range(150)), pack.flush()])  # a hundred times smaller
    stream = b"<< /Length %d /Filter /FlateDecode >>\nstream\n" % len(packed) + packed
    data = re.sub(rb"<< /Length \d+ >>\nstream\nBT.*ET", lambda found: stream, make_pdf("x"))
    assert len(stream) < len(data) < budgets.MOST_BYTES / 100
    assert refused("bomb.pdf", data)


# --- docx ----------------------------------------------------------------------------------------


def test_paragraphs_and_tables_in_their_order() -> None:
    read = read_document("a.docx", make_docx(["The heron", "", "站在水边"], [["a", "b"], ["1", "2"]]))
    assert read == "The heron\n\n站在水边\na\tb\n1\t2"


def test_what_was_inserted_is_read_and_what_was_deleted_is_not() -> None:
    body = (
        "<w:p><w:r><w:t>The </w:t></w:r><w:ins><w:r><w:t>grey </w:t></w:r></w:ins>"
        "<w:del><w:r><w:delText>blue </w:delText></w:r></w:del><w:r><w:t>heron</w:t><w:tab/><w:t>stands</w:t></w:r></w:p>"
        "<w:sdt><w:sdtContent><w:p><w:pPr><w:tabs><w:tab/></w:tabs></w:pPr><w:r><w:t>here</w:t></w:r></w:p>"
        "</w:sdtContent></w:sdt>"
    )
    document = f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>'.encode()
    made = with_parts(make_docx([""]), {"word/document.xml": document})
    assert read_document("a.docx", made) == "The grey heron\tstands\nhere"


def test_an_empty_docx_says_so() -> None:
    assert "is empty" in refused("a.docx", make_docx([""])).en


def test_a_broken_docx_is_one_sentence() -> None:
    whole = make_docx(["The heron"])
    for data in (whole[: len(whole) // 2], with_parts(whole, {"word/document.xml": b"<w:document"})):
        assert "is damaged" in refused("a.docx", data).en


def test_a_zip_of_anything_else_is_no_document() -> None:
    import io
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("xl/workbook.xml", "<workbook/>")
    assert "is no text" in refused("a.xlsx", file.getvalue()).en


def test_a_zip_bomb_is_not_unpacked() -> None:
    bomb = with_parts(make_docx(["x"]), {"word/media/image1.png": bytes(budgets.MOST_UNPACKED + 1)})
    assert len(bomb) < budgets.MiB
    assert "too large" in refused("bomb.docx", bomb).en


def test_entities_of_xml_do_not_multiply() -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    document = (
        f'<!DOCTYPE d [<!ENTITY l0 "ha">{laughs}]><w:document xmlns:w="{WORD}"><w:body><w:p><w:r><w:t>&l9;</w:t>'
        "</w:r></w:p></w:body></w:document>"
    )
    made = with_parts(make_docx([""]), {"word/document.xml": document.encode()})
    assert refused("a.docx", made)


# --- time ----------------------------------------------------------------------------------------


def test_a_reading_that_is_cancelled_ends() -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        read_document("a.pdf", make_pdf(*["page"] * 500), cancel)


def test_what_was_read_in_time_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was ended has written whole lines, and perhaps the beginning of one."""
    said = b'{"text": "one "}\n{"text": "two "}\n{"te'
    monkeypatch.setattr(reading, "_output", lambda *_: said)
    assert read_document("a.pdf", b"%PDF-1.4") == f"one two\n{CUT}"
    monkeypatch.setattr(reading, "_output", lambda *_: b"")
    assert "too long" in refused("a.pdf", b"%PDF-1.4").en
