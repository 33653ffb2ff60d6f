"""The weight files of a folder in the format of transformers: all there, and whole."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from models.catalog.files import missing
from models.catalog.headers import Header, read_json, read_safetensors, read_torch, reading
from models.catalog.instead import no_weights
from models.catalog.selection import is_beside, is_shard

_INDEXED = (
    ("model.safetensors.index.json", "model.safetensors"),
    ("pytorch_model.bin.index.json", "pytorch_model.bin"),
)


@dataclass(frozen=True)
class Weights:
    """The weight files of a folder, all there and whole, and the tensors in them."""

    names: frozenset[str]
    shapes: Mapping[str, tuple[int, ...]]
    bytes: int
    file: str = ""  # that transformers has to be told, for it has a name of its own

    @property
    def tied(self) -> bool:
        """Whether input embedding and output head are one matrix."""
        heads = [name for name in self.names if name.endswith(("lm_head.weight", "output_layer.weight"))]
        return all(prod(self.shapes.get(name, (1,))) == 0 for name in heads)

    def parameters(self, bits: int) -> int:
        """Elements of all tensors, those of packed ones counted before packing."""
        return sum(self._elements(name, bits) for name in self.shapes)

    def _elements(self, name: str, bits: int) -> int:
        stored = prod(self.shapes[name])
        if name.endswith((".qzeros", ".scales", ".g_idx", "_scale", "inv_freq")):
            return 0
        if name.endswith(".qweight"):  # GPTQ packs into int32
            return stored * 32 // bits
        if f"{name}_scale" in self.names:  # ChatGLM packs into int8
            return stored * 8 // bits
        return stored


def find_weights(folder: Path, any_name: bool) -> Weights:
    """Find the weights as transformers would, and check every file against its own header.

    `any_name`: the only weights there may be called as they like.
    """
    for index, single in _INDEXED:
        if (folder / single).is_file():
            return _check(folder, [single], frozenset())
        if (folder / index).is_file():
            with reading(folder / index):
                weight_map: dict[str, str] = read_json(folder / index)["weight_map"]
            return _check(folder, sorted(set(weight_map.values())), frozenset(weight_map))
    named = [file.name for file in folder.glob("*.safetensors") if not is_beside(file.name)]
    if any_name and len(named) == 1 and not is_shard(named[0]):
        return replace(_check(folder, named, frozenset()), file=named[0])
    raise no_weights(folder)


def _check(folder: Path, files: list[str], names: frozenset[str]) -> Weights:
    shapes: dict[str, tuple[int, ...]] = {}
    for name in files:
        file = folder / name
        if not file.is_file():
            raise missing(folder, name)
        with reading(file):
            if not file.stat().st_size:
                raise EOFError
            header = read_safetensors(file) if file.suffix == ".safetensors" else _read_bin(file)
        shapes |= header.tensors
    return Weights(names | frozenset(shapes), shapes, sum((folder / name).stat().st_size for name in files))


def _read_bin(file: Path) -> Header:
    try:
        return read_torch(file)
    except ValueError as error:  # a Git LFS pointer, or a web page saved under this name
        raise EOFError from error
