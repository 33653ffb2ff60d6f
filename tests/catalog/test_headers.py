"""What weight files say of themselves, read byte by byte: what is there, and what cannot be."""

import json
import struct
import zipfile
from pathlib import Path

import pytest

from models.catalog.headers import read_ctranslate2, read_gguf, read_safetensors, read_torch, reading
from models.errors import CheckpointCorrupt, CheckpointNotFound, UnsupportedCheckpoint
from tests.fakes.tiny_checkpoints import write_ctranslate2, write_gguf

MOST = 2**60  # more of anything than there can be


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(
    facts: bytes = b"", count: int = 0, tensors: bytes = b"", number: int = 0, version: int = 3
) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, number, count) + facts + tensors


def aligned(content: bytes) -> bytes:
    return content.ljust(-(-len(content) // 32) * 32, b"\0")


def fact(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def array(kind: int, count: int, items: bytes) -> bytes:
    return struct.pack("<IQ", kind, count) + items


def tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + sizes + struct.pack("<IQ", kind, offset)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.bin"


# --- GGUF ----------------------------------------------------------------------------------------


def test_facts_of_every_kind_are_read(file: Path) -> None:
    kinds = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
    values = {kind: 1 if code in "?BHIQ" else -2 for kind, code in kinds.items()}
    facts = [fact(f"n{kind}", kind, struct.pack(f"<{code}", values[kind])) for kind, code in kinds.items()]
    facts += [fact("text", 8, text("你好")), fact("few", 9, array(4, 3, struct.pack("<3I", 7, 8, 9)))]
    facts += [fact("words", 9, array(8, 2, text("a") + text("bc")))]
    file.write_bytes(aligned(gguf(b"".join(facts), len(facts))))
    read = dict(read_gguf(file).facts)
    assert read == {f"n{kind}": value for kind, value in values.items()} | {
        "text": "你好", "few": (7, 8, 9), "words": 2,  # of texts only the number is kept
    }  # fmt: skip


@pytest.mark.parametrize(("count", "kept"), [(4096, tuple([5] * 4096)), (4097, 4097)])
def test_of_a_long_array_only_the_length_is_kept(count: int, kept: object, file: Path) -> None:
    both = fact("long", 9, array(0, count, b"\5" * count)) + fact("last", 0, b"\7")
    file.write_bytes(aligned(gguf(both, 2)))
    assert dict(read_gguf(file).facts) == {"long": kept, "last": 7}


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "facts",
    [
        fact("x", 9, array(8, MOST, text("a") * 9)),  # texts
        fact("x", 9, array(8, 3, text("a") + struct.pack("<Q", MOST))),
        fact("x", 9, array(10, MOST, b"")),  # numbers
        fact("x", 9, array(0, 100, b"\0" * 50)),
        fact("x", 8, struct.pack("<Q", MOST) + b"a"),
        fact("x", 8, text("abc")[:-1]),
        fact("x", 10, b"\0" * 7),
    ],
)
def test_more_than_the_file_holds_is_no_header(facts: bytes, file: Path) -> None:
    file.write_bytes(gguf(facts, 1))
    with pytest.raises(EOFError):
        read_gguf(file)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("facts", "tensors"), [(MOST, 0), (0, MOST)])
def test_no_count_is_believed(facts: int, tensors: int, file: Path) -> None:
    file.write_bytes(gguf(fact("x", 0, b"\1"), facts, number=tensors))
    with pytest.raises(EOFError):
        read_gguf(file)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (gguf(version=1), "version"),
        (gguf(version=4), "version"),
        (gguf(version=3 << 24), "version"),
        (b"GGML" + gguf()[4:], "magic"),
        (gguf(fact("x", 9, array(9, 1, array(0, 1, b"\1"))), 1), "nested"),
    ],
)
def test_what_is_of_another_kind_says_so(content: bytes, why: str, file: Path) -> None:
    file.write_bytes(content)
    with pytest.raises(ValueError, match=why):
        read_gguf(file)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("kind", "shape", "size"),
    [(0, (3, 5), 60), (1, (7,), 14), (2, (64, 2), 72), (8, (32,), 34), (999, (8,), 0)],
)
def test_a_tensor_ends_where_its_type_says(
    version: int, kind: int, shape: tuple[int, ...], size: int, file: Path
) -> None:
    head = gguf(tensors=tensor("t", shape, kind, 32), number=1, version=version)
    start = -(-len(head) // 32) * 32
    file.write_bytes(head.ljust(start + 32 + size, b"\0"))
    assert dict(read_gguf(file).tensors) == {"t": shape}
    file.write_bytes(head.ljust(start + 32 + size, b"\0")[: -1 if size else None])
    if size:
        with pytest.raises(EOFError):
            read_gguf(file)


BITS = {  # of a weight, as llama.cpp names its types, and how many weights share a scale
    "F32": (0, 32, 1), "F16": (1, 16, 1), "BF16": (30, 16, 1), "F64": (28, 64, 1),
    "I8": (24, 8, 1), "I16": (25, 16, 1), "I32": (26, 32, 1), "I64": (27, 64, 1),
    "Q4_0": (2, 4.5, 32), "Q4_1": (3, 5, 32), "Q5_0": (6, 5.5, 32), "Q5_1": (7, 6, 32),
    "Q8_0": (8, 8.5, 32), "Q8_1": (9, 10, 32), "MXFP4": (39, 4.25, 32),
    "Q2_K": (10, 2.625, 256), "Q3_K": (11, 3.4375, 256), "Q4_K": (12, 4.5, 256),
    "Q5_K": (13, 5.5, 256), "Q6_K": (14, 6.5625, 256), "Q8_K": (15, 9.125, 256),
    "IQ2_XXS": (16, 2.0625, 256), "IQ2_XS": (17, 2.3125, 256), "IQ2_S": (22, 2.5625, 256),
    "IQ3_XXS": (18, 3.0625, 256), "IQ3_S": (21, 3.4375, 256), "IQ1_S": (19, 1.5625, 256),
    "IQ1_M": (29, 1.75, 256), "IQ4_NL": (20, 4.5, 32), "IQ4_XS": (23, 4.25, 256),
    "TQ1_0": (34, 1.6875, 256), "TQ2_0": (35, 2.0625, 256),
}  # fmt: skip


@pytest.mark.parametrize("kind", BITS)
def test_every_type_of_llama_cpp_has_its_size(kind: str, file: Path) -> None:
    number, bits, shared = BITS[kind]
    for count in (shared, 3 * shared):
        head = aligned(gguf(tensors=tensor("t", (count,), number, 0), number=1))
        file.write_bytes(head + bytes(int(count * bits / 8)))
        assert dict(read_gguf(file).tensors) == {"t": (count,)}
        file.write_bytes(head + bytes(int(count * bits / 8) - 1))
        with pytest.raises(EOFError):
            read_gguf(file)


def test_the_last_tensor_need_not_be_the_last_in_the_header(file: Path) -> None:
    head = gguf(tensors=tensor("b", (8,), 0, 32) + tensor("a", (8,), 0, 0), number=2)
    start = -(-len(head) // 32) * 32
    file.write_bytes(head.ljust(start + 63, b"\0"))
    with pytest.raises(EOFError):
        read_gguf(file)


def test_the_files_own_alignment_counts(file: Path) -> None:
    head = gguf(fact("general.alignment", 4, struct.pack("<I", 64)), 1, tensor("t", (4,), 0, 0), 1)
    start = -(-len(head) // 64) * 64
    assert start != -(-len(head) // 32) * 32
    file.write_bytes(head.ljust(start + 16, b"\0"))
    assert dict(read_gguf(file).tensors) == {"t": (4,)}
    file.write_bytes(head.ljust(start + 15, b"\0"))
    with pytest.raises(EOFError):
        read_gguf(file)


# --- safetensors -----------------------------------------------------------------------------------


def safetensors(entries: dict[str, object], data: int) -> bytes:
    head = json.dumps(entries).encode()
    return struct.pack("<Q", len(head)) + head + bytes(data)


def test_a_safetensors_file_is_as_long_as_its_last_tensor(file: Path) -> None:
    entries: dict[str, object] = {
        "b": {"dtype": "F32", "shape": [2, 2], "data_offsets": [4, 20]},
        "a": {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]},
        "__metadata__": {"format": "pt"},
    }
    file.write_bytes(safetensors(entries, 20))
    header = read_safetensors(file)
    assert dict(header.facts) == {"a": "I8", "b": "F32"}
    assert dict(header.tensors) == {"a": (4,), "b": (2, 2)}
    file.write_bytes(safetensors(entries, 19))
    with pytest.raises(EOFError):
        read_safetensors(file)
    file.write_bytes(safetensors({}, 0))
    assert dict(read_safetensors(file).tensors) == {}


def test_a_safetensors_header_longer_than_the_file_or_the_format_allows(file: Path) -> None:
    file.write_bytes(struct.pack("<Q", 50) + b"{}")
    with pytest.raises(EOFError):
        read_safetensors(file)
    with file.open("wb") as sparse:
        sparse.write(struct.pack("<Q", (100 << 20) + 1))
        sparse.truncate(200 << 20)
    with pytest.raises(ValueError, match="header too long"):
        read_safetensors(file)


# --- torch.save ------------------------------------------------------------------------------------


def test_tensors_of_a_pickle_are_listed_with_what_they_share(file: Path) -> None:
    import torch

    whole = torch.zeros(6)
    torch.save({"dims": {"n_mels": 80}, "a.b": whole, "c": whole.view(2, 3), "d": torch.zeros(2, 2)}, file)
    header = read_torch(file)
    assert dict(header.tensors) == {"a.b": (6,), "c": (0,), "d": (4,)}
    assert dict(header.facts) == {"n_mels": 80}


def test_pickles_of_other_kinds(file: Path) -> None:
    file.write_bytes(b"\x80\x02}q\x00.")
    assert read_torch(file).tensors == {}  # of the oldest form nothing is known
    file.write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(ValueError, match="not a zip"):
        read_torch(file)
    file.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(EOFError):
        read_torch(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(ValueError, match=r"data\.pkl"):
        read_torch(file)


# --- CTranslate2 -----------------------------------------------------------------------------------


def test_variables_of_a_ctranslate2_file(tmp_path: Path) -> None:
    file = write_ctranslate2(tmp_path / "folder") / "model.bin"
    header = read_ctranslate2(file)
    assert dict(header.facts) == {"spec": "WhisperSpec"}
    assert header.tensors["decoder/embeddings/weight"] == (100, 128)
    whole = file.read_bytes()
    for version, known in ((1, False), (2, True), (99, True), (100, False)):
        file.write_bytes(struct.pack("<I", version) + whole[4:])
        if known:
            assert read_ctranslate2(file).tensors == header.tensors
        else:
            with pytest.raises(ValueError, match="CTranslate2"):
                read_ctranslate2(file)
    file.write_bytes(whole[:-1])
    with pytest.raises(EOFError):
        read_ctranslate2(file)


# --- in a sentence ---------------------------------------------------------------------------------


# What takes long is ended by the time that a test has; what takes much memory would not be noticed.
@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "content",
    [
        gguf(tensors=tensor("a", (1,) * 60_000, 0, 0), number=1),
        gguf(tensors=tensor("a", (1, 1, 1, 1, 1), 0, 0), number=1),  # ggml itself has four
        gguf(b"".join(fact(str(n), 0, b"\0") for n in range(5000)), 5000),
        gguf(number=200_000, tensors=tensor("", (), 0, 0) * 200_000),
        gguf(fact("x", 9, array(8, 5 << 20, bytes(8 * (5 << 20)))), 1),
    ],
    ids=["60000 dimensions", "5 dimensions", "facts", "tensors", "texts"],
)
def test_no_gguf_has_as_many(content: bytes, file: Path) -> None:
    file.write_bytes(aligned(content))
    with pytest.raises(ValueError, match="no model has"):
        read_gguf(file)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("shape", ["[[1]]", "[-1]", '["a"]', "[1e999]", f"[{'9' * 4000}]", f"[{'1,' * 99}1]"])
def test_a_shape_is_a_few_sizes(shape: str, file: Path) -> None:
    header = b'{"a": {"dtype": "F16", "shape": %s, "data_offsets": [0, 0]}}' % shape.encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises((CheckpointCorrupt, UnsupportedCheckpoint)), reading(file):
        read_safetensors(file)


@pytest.mark.timeout(20)
def test_a_small_zip_is_not_unpacked_to_a_large_pickle(file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + b"K\0" * (10 << 20) + b".")
    assert file.stat().st_size < 30_000
    with pytest.raises(ValueError, match="no model has"):
        read_torch(file)


@pytest.mark.timeout(20)
def test_a_zip_of_very_many_entries_is_not_listed(file: Path) -> None:
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", *[0] * 15, 0)
    directory = b"PK\3\4" + bytes(26), entry * 200_000
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, len(directory[1]), len(directory[0]), 0)
    file.write_bytes(b"".join(directory) + end)
    with pytest.raises(ValueError, match="header too long"):
        read_torch(file)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (EOFError(), CheckpointCorrupt),
        (KeyError("x"), CheckpointCorrupt),
        (ZeroDivisionError(), CheckpointCorrupt),
        (TypeError(), CheckpointCorrupt),
        (zipfile.BadZipFile(), CheckpointCorrupt),
        (struct.error(), CheckpointCorrupt),
        (UnicodeDecodeError("utf-8", b"", 0, 1, ""), CheckpointCorrupt),
        (ValueError(), UnsupportedCheckpoint),
        (PermissionError(), CheckpointNotFound),
    ],
)
def test_what_goes_wrong_is_a_sentence_with_the_file(error: Exception, kind: type, tmp_path: Path) -> None:
    with pytest.raises(kind) as caught, reading(tmp_path / "model.gguf"):
        raise error
    assert "model.gguf" in str(caught.value) and caught.value.zh.endswith("。")


def test_a_header_of_zero_alignment_is_damaged(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "a.gguf")
    file.write_bytes(gguf(fact("general.alignment", 4, bytes(4)), 1))
    with pytest.raises(CheckpointCorrupt), reading(file):
        read_gguf(file)
