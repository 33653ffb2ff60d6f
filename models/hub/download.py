"""Bytes from an address to a file: resumed, checked against their hash, reported, and stoppable."""

import hashlib
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from models.errors import Cancelled, CheckpointCorrupt, DoesNotFit
from models.permissions import kept_free
from models.schema import OnProgress, Progress

CHUNK = 1 << 20  # bytes
ATTEMPTS = 5  # in a row without a single new byte


@dataclass(frozen=True)
class Remote:
    """One file to fetch. ``size`` in bytes and ``sha256`` as far as its publisher says."""

    name: str
    url: str
    target: Path
    size: int | None = None
    sha256: str | None = None

    @property
    def part(self) -> Path:
        # Named by the content too: a part of another version is never continued.
        return self.target.with_name(f"{self.target.name}.{(self.sha256 or '')[:12]}.part")

    @property
    def there(self) -> int:
        """Bytes of the part on disk."""
        return self.part.stat().st_size if self.part.exists() else 0

    @property
    def done(self) -> bool:
        return self.target.exists() and self.size in (None, self.target.stat().st_size)


class Transfer:
    """How far one fetch is, told ten times a second, and the way to stop it from another thread."""

    def __init__(self, stop: threading.Event | None = None, report: OnProgress | None = None) -> None:
        self.stop = stop or threading.Event()
        self._report = report
        self._latest, self._told = Progress("find"), 0.0
        self._rate, self._mark = 0.0, (time.monotonic(), 0)

    def begin(
        self, stage: Literal["queue", "find", "download", "verify", "unpack"], total: int = 0, done: int = 0
    ) -> None:
        self.check()
        self._rate, self._mark = 0.0, (time.monotonic(), done)
        self._tell(Progress(stage, done, total))

    def advance(self, count: int, detail: str = "") -> None:
        """Adds ``count`` bytes. Raises Cancelled once nobody waits any more."""
        self.check()
        now, last = time.monotonic(), self._latest
        done = last.done + count
        since, before = self._mark
        if now - since >= 0.25:
            speed = max(done - before, 0) / (now - since)
            self._rate += (speed - self._rate) * (0.3 if self._rate else 1.0)
            self._mark = now, done
        left = (last.total - done) / self._rate if last.total and self._rate else None
        self._latest = Progress(last.stage, done, last.total, self._rate, left, detail)
        if now - self._told >= 0.1:
            self._tell(self._latest)

    def _tell(self, progress: Progress) -> None:
        self._latest, self._told = progress, time.monotonic()
        if self._report:
            self._report(progress)

    def check(self) -> None:
        if self.stop.is_set():
            raise Cancelled

    def pause(self, seconds: float) -> None:
        self.stop.wait(seconds)
        self.check()


def fetch_all(client: Any, remotes: Sequence[Remote], transfer: Transfer, extra: int = 0) -> None:
    """Brings every file to its target, or none: nothing is renamed before all are there and verified.

    Args:
        client: an httpx2.Client with authorisation and redirects set up.
        remotes: what is already at its target is left alone, what is there in part is continued.
        extra: bytes that will be needed on the same disk afterwards.

    Raises:
        CheckpointCorrupt: a file is not what its publisher says; it is removed.
        DoesNotFit: the disk is too small. Cancelled. httpx2.HTTPError: the server's refusal.
    """
    # By target: two names may share one content, and so one blob.
    wanted = list({remote.target: remote for remote in remotes if not remote.done}.values())
    if not wanted:
        return
    total, there = sum(remote.size or 0 for remote in wanted), sum(remote.there for remote in wanted)
    require_space(wanted[0].target.parent, total - there + extra)
    transfer.begin("download", 0 if any(remote.size is None for remote in wanted) else total, there)
    for remote in wanted:
        _fetch(client, remote, transfer)
    for remote in wanted:
        remote.part.replace(remote.target)


def _fetch(client: Any, remote: Remote, transfer: Transfer) -> None:
    """Downloads into the part, however often the connection breaks, and verifies it."""
    import httpx2

    remote.part.parent.mkdir(parents=True, exist_ok=True)
    failures = 0
    with remote.part.open("a+b") as file:
        part = _Part(file, transfer)
        while remote.size is None or part.size < remote.size:
            before = part.size
            try:
                _continue(client, remote, part, transfer)
                break
            except httpx2.TransportError:
                failures = 0 if part.size > before else failures + 1
                if failures == ATTEMPTS:
                    raise
            transfer.pause(min(2.0**failures / 4, 8))
    if remote.size not in (None, part.size) or remote.sha256 not in (None, part.sha256):
        remote.part.unlink()
        raise CheckpointCorrupt(
            f"{remote.name} arrived damaged and was removed: try again to fetch a fresh copy.",
            f"{remote.name} 下载后已损坏，现已删除：请重试以重新获取。",
        )


class _Part:
    """A file that grows, and the hash of what it holds so far."""

    def __init__(self, file: BinaryIO, transfer: Transfer) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0
        file.seek(0)
        while chunk := file.read(CHUNK):
            transfer.check()
            self._digest.update(chunk)
            self.size += len(chunk)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._digest.update(chunk)
        self.size += len(chunk)

    def clear(self) -> None:
        self._file.truncate(0)
        self._digest = hashlib.sha256()
        self.size = 0


def _continue(client: Any, remote: Remote, part: _Part, transfer: Transfer) -> None:
    """One request for the bytes that are not there yet. Raises httpx2.TransportError when some stay away."""
    import httpx2

    headers = {"Range": f"bytes={part.size}-"} if part.size else {}
    with client.stream("GET", remote.url, headers=headers) as response:
        status = response.status_code
        if status == 429 or status >= 500:
            raise httpx2.ReadError(f"the server answers {status}")
        if part.size and status != 206:  # it serves no ranges (200), or not this one (416)
            transfer.advance(-part.size, remote.name)
            part.clear()
        if status == 416:
            raise httpx2.ReadError("the part on disk is longer than the file")
        response.raise_for_status()
        for chunk in response.iter_bytes():
            part.write(chunk)
            transfer.advance(len(chunk), remote.name)
    if remote.size is not None and part.size < remote.size:
        raise httpx2.ReadError("the server ended the file early")


def sha256_of(path: Path, transfer: Transfer) -> str:
    """The file's SHA-256 in hexadecimal; advances ``transfer`` by the bytes read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            transfer.advance(len(chunk), path.name)
    return digest.hexdigest()


def require_space(folder: Path, needed: int) -> None:
    """Raises DoesNotFit when the disk that holds (or will hold) ``folder`` has less than ``needed`` beyond what the
    operator keeps free."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = max(shutil.disk_usage(existing).free - kept_free(), 0)
    if needed > free:
        raise DoesNotFit(
            f"{needed / 1e9:.1f} GB more is needed on the disk of its folder and {free / 1e9:.1f} GB is free: "
            "make room there, or set QUINTET_CACHE or HF_HOME to a folder on another disk.",
            f"其文件夹所在磁盘还需要 {needed / 1e9:.1f} GB，而可用空间只有 {free / 1e9:.1f} GB："
            "请清理该磁盘，或将 QUINTET_CACHE 或 HF_HOME 设为其他磁盘上的文件夹。",
        )
