"""The files of visitors, each under its digest in its owner's folder, which nobody but this user can read."""

import os
import re
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from models.errors import BadInput

_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)  # else Windows changes line ends
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Folder:
    """Files by owner and digest. Writing and sweeping are for whoever holds the owner's lock."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, owner: str, name: str, data: bytes) -> None:
        """Write a file whole, unless it is there. Raises OSError."""
        path = self._path(owner, name)
        if path.exists():
            return
        for folder in (self._root, path.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        partial = path.with_suffix(".part")
        try:
            with os.fdopen(os.open(partial, _WRITE, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise

    def read(self, owner: str, name: str) -> bytes | None:
        """None where it is gone: somebody tidied up."""
        try:
            return self._path(owner, name).read_bytes()
        except FileNotFoundError:
            return None

    def owners(self) -> list[str]:
        """Who has files here."""
        return [found.name for found in self._root.glob("*") if _DIGEST.fullmatch(found.name)]

    def sweep(self, owner: str, needed: Collection[str]) -> None:
        """Remove an owner's files but for those that are needed, and what a killed process left half-written."""
        folder = self._path(owner)
        if not needed:
            shutil.rmtree(folder, ignore_errors=True)
            return
        with suppress(FileNotFoundError):
            for found in folder.iterdir():
                if found.name not in needed:
                    found.unlink(missing_ok=True)

    def _path(self, *names: str) -> Path:
        """Of an owner, or of one of its files: no name that leads elsewhere is taken."""
        if not all(map(_DIGEST.fullmatch, names)):
            raise BadInput("A kept file is called by its digest.", "保存的文件以其摘要命名。")
        return self._root.joinpath(*names)
