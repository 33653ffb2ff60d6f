"""Folders for a while: gone with the process that made them, however it ends.

Each is locked by its process, and the system lets go of a lock with the process. What is not locked any more
was left by one that was killed, and is removed when the next folder is made beside it.
"""

import atexit
import shutil
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

_lock = threading.Lock()
_own: dict[Path, tuple[Path, Any]] = {}  # by the folder around it: this process's, and what locks it


def folder_in(parent: Path) -> Path:
    """This process's own folder in `parent`, which only it may use. Raises OSError where none can be made."""
    with _lock:
        found, _ = _own.get(parent, (None, None))
        if found is None or not found.is_dir():  # somebody tidied up
            found = _make(parent)
        return found


def temporary_folder() -> Path:
    """This process's own folder where the system has its temporary files."""
    return folder_in(Path(tempfile.gettempdir()))


def sweep(parent: Path) -> None:
    """Remove from `parent` what processes that were killed have left there."""
    from filelock import FileLock

    for file in parent.glob("quintet-*.lock"):
        lock = FileLock(file, thread_local=False)
        with suppress(OSError):  # Timeout too: its process lives; or it is another user's
            lock.acquire(blocking=False)
            shutil.rmtree(file.with_suffix(""), ignore_errors=True)
            lock.release()
            file.unlink(missing_ok=True)


def _make(parent: Path) -> Path:
    from filelock import FileLock

    parent.mkdir(parents=True, exist_ok=True)
    sweep(parent)
    folder = parent / f"quintet-{uuid4().hex[:12]}"
    lock = FileLock(folder.with_suffix(".lock"), thread_local=False)
    lock.acquire(blocking=False)
    folder.mkdir(mode=0o700)
    _own[parent] = folder, lock
    atexit.register(_remove, folder, lock)
    return folder


def _remove(folder: Path, lock: Any) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()
    with suppress(OSError):
        folder.with_suffix(".lock").unlink(missing_ok=True)
