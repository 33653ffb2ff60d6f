"""Which files were hashed before, so that a load does not read gigabytes twice."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any


class Stamps:
    """Remembers which files were already hashed, by size and modification time.

    Args:
        folder: where the stamps are kept, apart from the files, whose folders may belong to others.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _stamp(self, path: Path) -> Path:
        return self._folder / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]}.json"

    @staticmethod
    def _facts(path: Path, sha256: str) -> list[Any]:
        found = path.stat()
        return [found.st_size, found.st_mtime_ns, sha256]

    def valid(self, path: Path, sha256: str) -> bool:
        """True when this very file was found to have this hash and was not touched since."""
        try:
            return bool(json.loads(self._stamp(path).read_text("utf-8")) == self._facts(path, sha256))
        except (OSError, ValueError):
            return False

    def add(self, path: Path, sha256: str) -> None:
        with suppress(OSError):  # a read-only cache: then it is hashed again the next time
            self._folder.mkdir(parents=True, exist_ok=True)
            self._stamp(path).write_text(json.dumps(self._facts(path, sha256)), "utf-8")
