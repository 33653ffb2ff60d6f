"""What a file or folder is: a `Checkpoint` made from what its files say, and from nothing else."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from models.catalog.files import Files, Reader, State, missing, state, unsupported
from models.catalog.formats import FORMATS, format_of, resolve
from models.catalog.headers import reading, unreadable
from models.catalog.singles import choose_single
from models.catalog.snapshots import inside
from models.errors import CheckpointNotFound
from models.schema import Checkpoint

# Files of a checkpoint that is a folder; one that is a single file ends otherwise.
_IN_FOLDERS = (".json", ".safetensors", ".bin", ".model", ".txt", ".jinja", ".tiktoken")


def describe(path: Path, base: Checkpoint | None = None) -> Checkpoint:
    """Read what a checkpoint is from its files, without loading or unpickling any of them.

    They are read once for each state (names, sizes, times) that they are found in: the header of a large
    vocabulary takes a while, and a page asks at every run.

    Args:
        path: a folder or a file in it, a file of a format that is one file, or the folder that Hugging Face's
            cache keeps for a repository.
        base: the catalog entry whose files these are; its name, licence, options, … are kept.

    Raises:
        CheckpointNotFound: nothing is there, or it may not be read.
        CheckpointCorrupt: a file is missing, empty, or shorter than its own header says.
        UnsupportedCheckpoint: whole files that no engine reads.
    """
    path = _whole(absolute(path))
    with reading(path):
        found = _read(path, state(path))
    if base is None:
        return found
    if not format_of(base).known:
        return replace(found, name=base.name, title=base.title, hub_id=base.hub_id)
    return replace(
        base,
        path=found.path,
        format=found.format,
        weights=found.weights,
        bytes=found.bytes,
        shape=found.shape,
        parameters=base.parameters or found.parameters,
        context_length=found.context_length or base.context_length,
    )


def absolute(path: Path) -> Path:
    """`path` from the root, with ~ replaced where there is such a user. Links are kept."""
    try:
        return path.expanduser().absolute()
    except (RuntimeError, ValueError):
        return path.absolute()


def _whole(path: Path) -> Path:
    """What holds the checkpoint that `path` is only a file or an outer folder of."""
    with reading(path):
        configs = [path.parent / name for name in ("config.json", "adapter_config.json")]
        if (
            path.is_file()
            and any(file.is_file() for file in configs)
            and path.name.lower().endswith(_IN_FOLDERS)
        ):
            return path.parent
        return inside(path)


@lru_cache(maxsize=128)
def _read(path: Path, state: State) -> Checkpoint:
    if not path.exists():
        raise CheckpointNotFound(
            f"There is nothing at {path}: check the path, or type a name from the list.",
            f"{path} 不存在：请检查路径，或输入列表中的名称。",
        )
    partial = [name for name, _, _ in state if name.endswith(".incomplete")]
    if partial and path.is_dir():
        raise missing(path, partial[0].removesuffix(".incomplete"))
    files = Files(path)
    single = note = None
    if path.is_dir():
        alone = files.config is None
        if alone and (found := _ask(files)):  # of a format that has none
            return found
        single, note = choose_single(path, alone)
    if single is not None:
        files = Files(single)
    if found := _ask(files):
        return replace(found, note=note)
    if files.config is not None:
        raise unsupported(path, files.model_type or "a model without model_type")
    raise unreadable(files.path)


def _ask(files: Files) -> Checkpoint | None:
    """The description by the first reader that knows what these files are."""
    with reading(files.path / "config.json" if files.config is not None else files.path):
        found = next(filter(None, (read(files) for read in _readers())), None)
        if found is not None:
            _check_numbers(found)
        return found


def _check_numbers(found: Checkpoint) -> None:
    """Raise TypeError for what cannot be counted with: a config may hold anything."""
    sizes = dict(vars(found.shape)) if found.shape else {}
    sometimes = {"window", "global_layers"}
    known = (size for name, size in sizes.items() if size is not None or name not in sometimes)
    for number in (found.parameters, found.bytes, found.context_length, *known):
        if not (isinstance(number, int) and 0 <= number < 1 << 60):
            raise TypeError(number)


def _readers() -> Iterator[Reader]:
    """Those of the special formats first: the others would take their files as well."""
    for name in dict.fromkeys(row.reader for row in reversed([*FORMATS.values()]) if row.reader):
        yield resolve(name)
