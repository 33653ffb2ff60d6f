"""The facts of a GGUF file, with the arrays that somebody wants; tests/catalog/test_headers.py has what is refused."""

import struct
from pathlib import Path
from typing import Any

import pytest

from models.gguf_header import opened, read_facts


def write(path: Path, words: list[str], numbers: list[int]) -> Path:
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "llama")
    writer.add_array("words", words)
    writer.add_array("numbers", numbers)
    writer.add_uint32("last", 7)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


WORDS, NUMBERS = ["a", "你好", ""] * 2000, list(range(6000))


@pytest.mark.parametrize(
    ("whole", "words", "numbers"),
    [((), 6000, 6000), (("words",), WORDS, 6000), (("words", "numbers"), WORDS, tuple(NUMBERS))],
)
def test_arrays_are_kept_where_they_are_wanted(
    whole: tuple[str, ...], words: Any, numbers: Any, tmp_path: Path
) -> None:
    with opened(write(tmp_path / "a.gguf", WORDS, NUMBERS)) as reader:
        facts, tensors = read_facts(reader, whole)
        assert reader.at == len(reader.buffer)  # all of it was passed
    assert (facts["words"], facts["numbers"], facts["last"], tensors) == (words, numbers, 7, 0)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("kind", "size"), [(8, 8), (4, 4)])
def test_what_is_wanted_is_believed_no_more_than_other_facts(kind: int, size: int, tmp_path: Path) -> None:
    for count, error in ((1 << 40, EOFError), (5 << 20, ValueError)):
        head = struct.pack("<4sIQQQ1sIIQ", b"GGUF", 3, 0, 1, 1, b"x", 9, kind, count)
        with (tmp_path / "a.gguf").open("wb") as file:
            file.write(head)
            file.truncate(len(head) + (5 << 20) * size)
        with opened(tmp_path / "a.gguf") as reader, pytest.raises(error):
            read_facts(reader, ("x",))
