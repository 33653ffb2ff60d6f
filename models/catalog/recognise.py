"""What a file or folder is: a `Checkpoint` made from what its files say, and from nothing else."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from models.catalog.files import Files, Reader, State, missing, parts, state, unsupported
from models.catalog.formats import FORMATS, format_of, resolve
from models.catalog.headers import reading, unreadable
from models.catalog.selection import SINGLE_FILE
from models.errors import CheckpointNotFound, UnsupportedCheckpoint
from models.schema import Checkpoint


def describe(path: Path, base: Checkpoint | None = None) -> Checkpoint:
    """Read what a checkpoint is from its files, without loading or unpickling any of them.

    They are read once for each state (names, sizes, times) that they are found in: the header of a large
    vocabulary takes a while, and a page asks at every run.

    Args:
        path: a folder, a .gguf file, or an OpenAI Whisper .pt file.
        base: the catalog entry whose files these are; its name, licence, options, … are kept.

    Raises:
        CheckpointNotFound: nothing is there, or it may not be read.
        CheckpointCorrupt: a file is missing, empty, or shorter than its own header says.
        UnsupportedCheckpoint: whole files that no engine reads.
    """
    path = absolute(path)
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
        bytes=found.bytes,
        shape=found.shape,
        parameters=base.parameters or found.parameters,
        context_length=found.context_length or base.context_length,
    )


def absolute(path: Path) -> Path:
    """`path` from the root, with ~ replaced where there is such a user. Links are kept."""
    try:
        return path.expanduser().absolute()
    except (RuntimeError, UnicodeError):
        return path.absolute()


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
    found = _ask(files)
    if found is None and path.is_dir() and files.config is None:
        files = Files(_single_file(path))
        found = _ask(files)
    if found is not None:
        return found
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


def _single_file(folder: Path) -> Path:
    """The only checkpoint in a folder that is a single file, or was one before it was cut."""
    files = sorted(file for file in folder.iterdir() if file.suffix in SINGLE_FILE)
    models = {parts(file)[0] for file in files}
    if len(models) == 1:
        return models.pop()
    raise UnsupportedCheckpoint(
        f"{folder} holds no config.json and {len(models)} .gguf or .pt models: choose a folder with a config, "
        "or one such file.",
        f"{folder} 中没有 config.json，且有 {len(models)} 个 .gguf 或 .pt 文件：请选择含 config.json 的文件夹，或其中一个文件。",
    )
