"""What a weight file says about itself: sizes and names, without loading or unpickling anything.

Formats: GGUF (github.com/ggml-org/ggml, docs/gguf.md), safetensors (github.com/huggingface/safetensors),
the zip that torch.save writes, and CTranslate2's model.bin (github.com/OpenNMT/CTranslate2,
python/ctranslate2/specs/model_spec.py).

Every reader raises EOFError when the file ends before what its header promises, and ValueError when
it is not of the format at all; `reading` turns these into sentences.
"""

import io
import json
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from models.catalog.formats import SINGLE_FILES
from models.errors import CheckpointCorrupt, CheckpointNotFound, UnsupportedCheckpoint
from models.gguf_header import LONGEST, Reader, opened, read_facts, within

# A file of a few kilobytes can ask for seconds and gigabytes. The longest headers of models that there are
# take a tenth of these.
_LONGEST_JSON = 16 << 20
_LONGEST_PICKLE = 1 << 20  # its instructions are listed one by one
_LONGEST_DIRECTORY = 2 << 20  # of a zip
_MOST_TENSORS = 100_000
_MOST_DIMENSIONS = 64  # as in torch
_GGML_DIMENSIONS = 4  # ggml.h: GGML_MAX_DIMS
_MOST = 1 << 63  # of what is counted, as in all of these formats
# What the parsers here raise for bytes that make no sense; zipfile also uses RuntimeError.
_MALFORMED = (
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    json.JSONDecodeError,
    UnicodeDecodeError,
    struct.error,
)
_INCONSISTENT = (LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, MemoryError)


@dataclass(frozen=True)
class Header:
    """Facts about the file, and the tensors in it with their shapes as stored."""

    facts: Mapping[str, Any]
    tensors: Mapping[str, tuple[int, ...]]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say in one sentence what is wrong with the file or folder at `path`."""
    try:
        yield
    except (*_MALFORMED, *_INCONSISTENT) as error:
        raise CheckpointCorrupt(
            f"{path.name} is incomplete or damaged, perhaps half a download: delete it and fetch it again.",
            f"{path.name} 不完整或已损坏，可能只下载了一部分：请删除后重新下载。",
        ) from error
    except ValueError as error:
        raise unreadable(path) from error
    except OSError as error:
        raise CheckpointNotFound(
            f"{path.name} cannot be read: check its permissions, or choose another checkpoint.",
            f"无法读取 {path.name}：请检查权限，或选择其他模型。",
        ) from error


def unreadable(path: Path) -> UnsupportedCheckpoint:
    return UnsupportedCheckpoint(
        f"{path.name} holds no {SINGLE_FILES.en} model, whatever it is called: choose such a "
        "file, or the folder that holds config.json and the weights.",
        f"{path.name} 的内容不是 {SINGLE_FILES.zh} 模型：请选择这样的文件，或含有 config.json 与权重的文件夹。",
    )


def read_json(path: Path) -> Any:
    """What a JSON file of a checkpoint holds. Raises ValueError for one that is far too long."""
    if path.stat().st_size > _LONGEST_JSON:
        raise ValueError("too long")
    return json.loads(path.read_bytes())


def _shape(sizes: Sequence[int], most: int = _MOST_DIMENSIONS) -> tuple[int, ...]:
    within(len(sizes), most)
    return tuple(within(size, _MOST) for size in sizes)


# --- GGUF --------------------------------------------------------------------------------------

# ggml type -> (elements, bytes) of one block.
GGML_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}  # fmt: skip


def read_gguf(path: Path) -> Header:
    """Metadata and tensors of a GGUF file, version 2 or 3; long arrays are replaced by their length."""
    with opened(path) as reader:
        facts, count = read_facts(reader)
        tensors, sizes = {}, [0]
        for _ in range(reader.believe(count, 24, _MOST_TENSORS)):
            name, shape, end = _gguf_tensor(reader)
            tensors[name] = shape
            sizes.append(end)
        within(reader.at, LONGEST)
        alignment = int(facts.get("general.alignment", 32))
        start = -(-reader.at // alignment) * alignment
        if start + max(sizes) > len(reader.buffer):
            raise EOFError
    return Header(facts, tensors)


def _gguf_tensor(reader: Reader) -> tuple[str, tuple[int, ...], int]:
    """Name, shape, and where the tensor ends, counted from the start of the data."""
    name = reader.text()
    shape = _shape(reader.numbers("Q", within(reader.number("I"), _GGML_DIMENSIONS)))
    kind, offset = reader.number("I"), reader.number("Q")
    elements, size = GGML_BLOCKS.get(kind, (1, 0))  # of a newer type only the start can be checked
    return name, shape, offset + prod(shape) // elements * size


# --- safetensors ---------------------------------------------------------------------------------


def read_safetensors(path: Path) -> Header:
    """Tensors of a safetensors file; the facts hold each tensor's dtype by its name."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if 8 + length > size:
            raise EOFError
        entries = json.loads(file.read(within(length, _LONGEST_JSON)))
    entries.pop("__metadata__", None)
    if 8 + length + max((entry["data_offsets"][1] for entry in entries.values()), default=0) > size:
        raise EOFError
    return Header(
        {name: entry["dtype"] for name, entry in entries.items()},
        {name: _shape(entry["shape"]) for name, entry in entries.items()},
    )


# --- torch.save ----------------------------------------------------------------------------------


def read_torch(path: Path) -> Header:
    """Tensors of a torch.save zip; the facts are its numbers that follow a name such as n_mels.

    The pickle's instructions are listed, never carried out. Shapes are flat: the elements of the
    tensor's storage, or 0 where an earlier tensor has the same storage.
    """
    with path.open("rb") as file:
        magic = file.read(4)
    if magic[:2] == b"\x80\x02":  # torch.save before 1.6: a bare pickle with nothing to check
        return Header({}, {})
    if magic != b"PK\x03\x04":
        raise ValueError("not a zip")
    with _InPieces(path) as file:
        if not zipfile.is_zipfile(file):  # a zip's directory is at its end
            raise EOFError
        with zipfile.ZipFile(file) as archive:
            found = [entry for entry in archive.infolist() if entry.filename.endswith("data.pkl")]
            if not found or found[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("no data.pkl as torch writes it")
            within(found[0].file_size, _LONGEST_PICKLE)
            return _list_pickle(archive.read(found[0]))


class _InPieces(io.FileIO):
    """A file of which nothing long can be read at once, such as a zip's directory of a million entries."""

    def read(self, size: int | None = -1) -> bytes:
        every = size is None or size < 0
        return super().read(_LONGEST_DIRECTORY if every else within(size or 0, _LONGEST_DIRECTORY)) or b""


def _list_pickle(pickled: bytes) -> Header:
    """Follow the strings and numbers that the instructions would push, memo included."""
    facts: dict[str, int] = {}
    tensors: dict[str, tuple[int, ...]] = {}
    storages: set[str] = set()
    memo: dict[int, str] = {}
    pushed: list[str] = [""]
    number, fresh = 0, False
    steps: Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]] = pickletools.genops(pickled)
    for step, argument, _ in steps:
        if step.name.endswith("PUT") and fresh:
            memo[argument] = pushed[-1]
        fresh = step.name in ("BINUNICODE", "GLOBAL")
        if fresh:
            pushed.append(argument)
        elif step.name.endswith("GET") and argument in memo:
            pushed.append(memo[argument])
        elif isinstance(argument, int) and abs(argument) < _MOST and not step.name.endswith(("PUT", "GET")):
            number = argument
            if pushed[-1].startswith("n_"):
                facts[pushed[-1]] = number
        elif step.name == "BINPERSID":  # … name, rebuild functions, "storage", type, key, device
            *before, _, _, key, _ = pushed
            name = next((text for text in reversed(before) if not text.startswith("torch._utils ")), "")
            tensors[name] = (0 if key in storages else number,)
            storages.add(key)
            pushed = [""]
    return Header(facts, tensors)


# --- CTranslate2 ---------------------------------------------------------------------------------


def read_ctranslate2(path: Path) -> Header:
    """Variables of a CTranslate2 model.bin; the facts hold ``spec``, the kind of model."""
    with opened(path) as reader:
        if not 2 <= reader.number("I") < 100:
            raise ValueError("no CTranslate2 version")
        spec = reader.text("H").rstrip("\0")
        _, count = reader.numbers("I", 2)
        tensors = {}
        for _ in range(reader.believe(count, 8, _MOST_TENSORS)):
            name = reader.text("H").rstrip("\0")
            tensors[name] = _shape(reader.numbers("I", reader.number("B")))
            reader.skip(1)  # dtype
            reader.skip(reader.number("I"))
    return Header({"spec": spec}, tensors)
