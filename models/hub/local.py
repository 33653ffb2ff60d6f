"""The copies of a checkpoint that are on this machine already: found, judged complete, verified."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from models.cache import cache_dir
from models.catalog.selection import entry, missing
from models.errors import CheckpointCorrupt
from models.hub.download import Transfer, sha256_of
from models.hub.huggingface import hf_snapshots
from models.hub.modelscope import modelscope_id, modelscope_snapshots
from models.hub.stamps import Stamps
from models.schema import Checkpoint, OnProgress

_SHA256 = re.compile(r"[0-9a-f]{64}")


def stamps() -> Stamps:
    return Stamps(cache_dir() / "verified")


def locate(checkpoint: Checkpoint) -> Path | None:
    """The complete local copy (a folder, or the file of a single-file checkpoint), or None.

    Never touches the network.
    """
    if checkpoint.path:
        chosen = Path(checkpoint.path).expanduser()
        if chosen.is_file():
            return chosen
        folders = [chosen]
    else:
        folders = [cache_dir() / checkpoint.name] if checkpoint.wheels else []
        folders += hf_snapshots(checkpoint.hub_id, checkpoint.revision) if checkpoint.hub_id else []
        model = modelscope_id(checkpoint)
        folders += modelscope_snapshots(model, checkpoint.revision) if model else []
    for folder in folders:
        if folder.is_dir() and not lacking(folder, checkpoint):
            return entry(folder, checkpoint)
    return None


def lacking(folder: Path, checkpoint: Checkpoint) -> list[str]:
    """Names of files that the checkpoint needs and this folder does not have in the right version."""
    if checkpoint.wheels and folder == cache_dir() / checkpoint.name:
        names = {name for wheel in checkpoint.wheels for name in wheel.members.values()}
        return sorted(name for name in names if not (folder / name).is_file())
    other = [
        name for name, sha256 in checkpoint.sha256.items() if _blob_hash(folder / name) not in ("", sha256)
    ]
    return other + missing(folder, checkpoint)


def _blob_hash(file: Path) -> str:
    """The SHA-256 that a file in the Hugging Face cache bears as the name of its blob, or ""."""
    blob = file.resolve()
    return blob.name if blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name) else ""


def verify(
    checkpoint: Checkpoint,
    path: Path,
    progress: OnProgress | None = None,
    cancel: threading.Event | None = None,
) -> None:
    """Hashes the files of a local copy whose SHA-256 is known, unless untouched since the last time.

    Args:
        path: what `locate` or `Hub.fetch` returned.

    Raises:
        CheckpointCorrupt: a file differs; unless the user chose its path, it is removed.
    """
    known, transfer = stamps(), Transfer(cancel, progress)
    pending = [(file, sha256) for file, sha256 in _hashes(checkpoint, path) if not known.valid(file, sha256)]
    transfer.begin("verify", sum(file.stat().st_size for file, _ in pending))
    for file, sha256 in pending:
        if sha256_of(file, transfer) != sha256:
            _discard(checkpoint, file)
        known.add(file, sha256)


def _hashes(checkpoint: Checkpoint, path: Path) -> Iterator[tuple[Path, str]]:
    folder = path if path.is_dir() else path.parent
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        known = checkpoint.sha256.get(file.relative_to(folder).as_posix()) or _blob_hash(file)
        if known and file.is_file():
            yield file, known


def _discard(checkpoint: Checkpoint, file: Path) -> NoReturn:
    """Say that a file is damaged, and delete it unless the user chose its path."""
    if checkpoint.path:
        raise CheckpointCorrupt(
            f"{file.name} is damaged: its bytes are not those that were published; delete it and fetch a fresh copy.",
            f"{file.name} 已损坏：内容与发布的文件不一致；请删除后重新获取。",
        )
    file.resolve().unlink()
    file.unlink(missing_ok=True)
    raise CheckpointCorrupt(
        f"{file.name} of {checkpoint.name} was damaged on disk and has been deleted: Load again fetches a fresh copy.",
        f"{checkpoint.name} 的 {file.name} 在磁盘上已损坏并已删除：再次加载会重新获取。",
    )
