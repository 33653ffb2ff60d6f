"""Hugging Face: its cache, its settings, its files."""

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import quote

from models.catalog.snapshots import referenced, snapshots
from models.hub.download import Remote, Transfer, fetch_all
from models.hub.sources import (
    ask_json,
    choose_files,
    explained,
    folder_of,
    is_set,
    open_client,
    token_for,
    user_cache,
)
from models.hub.stamps import Stamps
from models.schema import Checkpoint


def hf_home() -> Path:
    return folder_of("HF_HOME", default=user_cache() / "huggingface")


def hf_cache() -> Path:
    return folder_of("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", default=hf_home() / "hub")


def hf_endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def hf_offline() -> bool:
    return is_set("HF_HUB_OFFLINE") or is_set("TRANSFORMERS_OFFLINE")


def _hf_token() -> str | None:
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := os.environ.get(variable, "").strip():
            return token
    saved = folder_of("HF_TOKEN_PATH", default=hf_home() / "token")
    return saved.read_text("utf-8").strip() or None if saved.is_file() else None


def _hf_repository(hub_id: str) -> Path:
    return hf_cache() / f"models--{hub_id.replace('/', '--')}"


def hf_snapshots(hub_id: str, revision: str = "") -> list[Path]:
    """Local snapshots of a revision; without one those of no other branch, that of the main branch first."""
    repository = _hf_repository(hub_id)
    if revision:
        names = {revision, referenced(repository, revision)}
        return [path for path in snapshots(repository) if path.name in names]
    others = {path.read_text("utf-8").strip() for path in repository.glob("refs/**/*") if path.is_file()}
    others -= {referenced(repository, "main")}
    return [path for path in snapshots(repository) if path.name not in others]


def from_hugging_face(checkpoint: Checkpoint, transfer: Transfer, stamps: Stamps) -> Path:
    """Fetches into the Hugging Face cache and returns the snapshot folder."""
    hub_id, endpoint = str(checkpoint.hub_id), hf_endpoint()
    repository, revision = _hf_repository(hub_id), checkpoint.revision or "main"
    with (
        explained(checkpoint, f"{endpoint}/{hub_id}", "HF_TOKEN"),
        open_client(token_for(checkpoint, _hf_token())) as client,
    ):
        listing = ask_json(
            client, f"{endpoint}/api/models/{hub_id}/revision/{quote(revision, safe='')}", blobs="true"
        )
        commit = _hexadecimal(listing["sha"])
        entries = {entry["rfilename"]: entry for entry in listing["siblings"]}
        large = {name: entry.get("lfs") or {} for name, entry in entries.items()}
        remotes = [
            Remote(
                name,
                f"{endpoint}/{hub_id}/resolve/{commit}/{quote(name)}",
                # As the library names blobs: by SHA-256 in LFS, by git's hash outside.
                repository
                / "blobs"
                / _hexadecimal(large[name].get("sha256") or entries[name].get("blobId") or name),
                large[name].get("size", entries[name].get("size")),
                large[name].get("sha256"),
            )
            for name in choose_files({name: lfs.get("sha256") for name, lfs in large.items()}, checkpoint)
        ]
        fetch_all(client, remotes, transfer)
    snapshot = repository / "snapshots" / commit
    for remote in remotes:
        _link(remote.target, snapshot / remote.name)
        if remote.sha256:
            stamps.add(snapshot / remote.name, remote.sha256)
    if revision != commit:
        reference = repository / "refs" / revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(commit, "utf-8")
    return snapshot


def _hexadecimal(name: str) -> str:
    """A commit or blob name, made safe as a file name should a server give something else."""
    return name if re.fullmatch("[0-9a-f]{40,64}", name) else hashlib.sha1(name.encode()).hexdigest()


def _link(blob: Path, pointer: Path) -> None:
    pointer.parent.mkdir(parents=True, exist_ok=True)
    part = pointer.with_name(f"{pointer.name}.part")
    part.unlink(missing_ok=True)
    try:
        part.symlink_to(os.path.relpath(blob, pointer.parent))
        part.replace(pointer)  # at no moment does a file lack that was there
    except OSError:  # Windows without the right to make links
        blob.replace(pointer)
