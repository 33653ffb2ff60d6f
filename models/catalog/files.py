"""What lies at a path, looked at once for the readers of all formats."""

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

from models.catalog.headers import read_json, reading
from models.errors import CheckpointCorrupt, UnsupportedCheckpoint
from models.schema import Checkpoint

Config = Mapping[str, Any]

_PART = re.compile(r"(.+)-\d{5}-of-(\d{5})\.gguf")


class Files:
    """A file, or the files of a folder, that may be a checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def magic(self) -> bytes:
        """The first four bytes of a file; of a folder none. Raises CheckpointCorrupt for an empty file."""
        if self.path.is_dir():
            return b""
        with reading(self.path), self.path.open("rb") as file:
            if not (magic := file.read(4)):
                raise EOFError
            return magic

    @cached_property
    def config(self) -> Config | None:
        """The folder's config.json, where there is one. Raises CheckpointCorrupt for half of one."""
        file = self.path / "config.json"
        if not file.is_file():
            return None
        with reading(file):
            config = read_json(file)
            if not isinstance(config, dict):
                raise TypeError(config)
            return config

    @property
    def model_type(self) -> str | None:
        """As the config calls it; None without a config, and where the config does not say."""
        named = (self.config or {}).get("model_type")
        return None if named is None else str(named)


# A function that describes what lies there; None: it is of another format.
Reader = Callable[[Files], Checkpoint | None]


def parts(path: Path) -> list[Path]:
    """`path`, or all files of a model that llama-gguf-split cut, the first one first."""
    numbered = _PART.fullmatch(path.name)
    if not numbered:
        return [path]
    stem, total = numbered.groups()
    return [path.with_name(f"{stem}-{n:05}-of-{total}.gguf") for n in range(1, int(total) + 1)]


State = tuple[tuple[str, int, int], ...]


def state(path: Path) -> State:
    """Name, size and time of all that a description of `path` is read from: another one after any change."""
    # Where a part is missing there will be no description, so nothing behind it counts.
    files = sorted(path.iterdir()) if path.is_dir() else takewhile(Path.exists, parts(path))
    return tuple(_stamp(file) for file in files)


def _stamp(file: Path) -> tuple[str, int, int]:
    try:
        found = file.stat()
    except FileNotFoundError:  # a link that leads nowhere
        return file.name, -1, -1
    return file.name, found.st_size, found.st_mtime_ns


def missing(folder: Path, name: str) -> CheckpointCorrupt:
    return CheckpointCorrupt(
        f"{folder.name} lacks {name}, perhaps half a download: fetch the checkpoint again.",
        f"{folder.name} 中缺少 {name}，可能只下载了一部分：请重新下载该模型。",
    )


def unsupported(path: Path, what: str) -> UnsupportedCheckpoint:
    return UnsupportedCheckpoint(
        f"{path.name} holds {what}, which no engine here reads: choose a LLaMA, Gemma, ChatGLM, Qwen-VL or "
        "Whisper checkpoint, or a GGUF file.",
        f"{path.name} 是 {what}，目前没有引擎能读取：请选择 LLaMA、Gemma、ChatGLM、Qwen-VL 或 Whisper 模型，或 GGUF 文件。",
    )
