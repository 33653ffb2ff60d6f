"""The files of visitors, each under its digest in its owner's folder, which nobody but this user can read."""

import os
import re
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

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

    def stage(self, source: Path) -> Path:
        """A copy of a file beside the owners' folders, for `place`: however large it is, nobody waits for it.

        Where the disk can, it is the same file under another name, so `source` must not be changed any more.
        Raises OSError.
        """
        self._root.mkdir(mode=0o700, exist_ok=True)
        staged = self._root / f"{uuid4().hex}.part"
        try:
            link_or_copy(source, staged)
            staged.chmod(0o600)
            with staged.open("rb+") as file:
                os.fsync(file.fileno())
        except OSError:
            staged.unlink(missing_ok=True)
            raise
        return staged

    def place(self, owner: str, name: str, staged: Path | None) -> None:
        """Move in what was staged; None: the file was there. Raises OSError, also where it is gone by now."""
        path = self._path(owner, name)
        if path.exists():
            return
        if staged is None:
            raise FileNotFoundError(name)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        staged.replace(path)

    def path(self, owner: str, name: str) -> Path | None:
        """Where a file lies; None where it is gone."""
        found = self._path(owner, name)
        return found if found.exists() else None

    def tidy(self) -> None:
        """Remove what a killed process has staged."""
        for staged in self._root.glob("*.part"):
            staged.unlink(missing_ok=True)

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


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under another name, or on another disk a copy. Raises OSError."""
    try:
        os.link(source.resolve(), target)  # of what a symbolic link leads to
    except OSError:
        shutil.copyfile(source, target)
