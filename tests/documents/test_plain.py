"""Texts in the encodings that people have."""

import random

import pytest

from models.documents.plain import decode

CHINESE = "第一章　春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。\n"
MIXED = "a,b\nnaïve café, 90 €\n"


@pytest.mark.parametrize(
    "text", [CHINESE, MIXED, CHINESE + MIXED, "plain\n", "𠮷野家 😀\n", "Привет, мир!\n"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030"])
def test_what_was_written_is_read(text: str, encoding: str) -> None:
    if encoding == "gb18030" and text in (MIXED, "𠮷野家 😀\n", "Привет, мир!\n"):
        pytest.skip("nobody writes that so")
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_has_its_zeros_on_one_side(encoding: str) -> None:
    assert decode((CHINESE + "end\n").encode(encoding)) == CHINESE + "end\n"


def test_western_european_text_of_windows_is_not_chinese() -> None:
    for text in (MIXED, "Élan vital\nà bientôt – “déjà vu”\n", "Straße über Köln\n", "señor, ¿qué?\n"):
        assert decode(text.encode("cp1252")) == text


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16"])
def test_cut_off_in_the_middle_of_a_letter(encoding: str) -> None:
    data = (CHINESE * 3).encode(encoding)[:-3]
    assert (CHINESE * 3).startswith(decode(data)) and len(decode(data)) > 2 * len(CHINESE)


def test_a_damaged_byte_in_a_long_text_does_no_harm() -> None:
    data = (CHINESE * 50).encode()
    read = decode(data[:100] + b"\xff" + data[100:])
    assert read.replace("\ufffd", "").count("春眠不觉晓") >= 49


def test_lines_end_with_a_line_feed_and_nothing_is_no_letter() -> None:
    assert decode(b"a\r\nb\rc\n\x0c\x1b[1md\xef\xbb\xbf") == "a\nb\nc\n\x0c\x1b[1md"


@pytest.mark.parametrize(
    "data",
    [
        b"\x7fELF\x02\x01\x01\x00\x00",
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
        b"\x00\x01\x02\x03" * 9,
        bytes(range(256)) * 4,
        random.Random(1).randbytes(4096),
        b"\xff\xfe" + random.Random(2).randbytes(4096),
    ],
)
def test_what_is_no_text_is_none(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data)
