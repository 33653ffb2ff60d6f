"""ModelScope: its cache, its settings, its files."""

import os
from pathlib import Path
from urllib.parse import quote

from models.catalog.formats import format_of
from models.hub.download import Remote, Transfer, fetch_all
from models.hub.sources import ask_json, choose_files, explained, folder_of, is_set, open_client, token_for
from models.hub.stamps import Stamps
from models.schema import Checkpoint


def _modelscope_cache() -> Path:
    return folder_of("MODELSCOPE_CACHE", default=Path("~/.cache/modelscope"))


def modelscope_endpoint() -> str:
    found = os.environ.get("MODELSCOPE_ENDPOINT") or os.environ.get("MODELSCOPE_DOMAIN") or "modelscope.cn"
    return (found if "://" in found else f"https://{found}").rstrip("/")


def modelscope_id(checkpoint: Checkpoint) -> str | None:
    """Its id there; one that was typed means ModelScope too once ModelScope is asked for."""
    typed = not format_of(checkpoint).known and is_set("USE_MODELSCOPE_HUB")
    return checkpoint.modelscope_id or (checkpoint.hub_id if typed else None)


def modelscope_snapshots(model: str, revision: str = "") -> list[Path]:
    """Local copies in the layouts of modelscope_hub and of the older modelscope package.

    Of a revision only the newer layout tells.
    """
    cache, safe = _modelscope_cache(), model.replace(".", "___")
    repository = cache / "models" / model.replace("/", "--")
    if revision:
        return [path for path in (repository / "snapshots" / revision,) if path.is_dir()]
    found = [
        *sorted(repository.glob("snapshots/*"), key=lambda path: path.name != "master"),
        cache / "models" / safe,
        cache / "hub" / "models" / safe,
        cache / "hub" / safe,
    ]
    return [path for path in found if path.is_dir()]


def from_modelscope(checkpoint: Checkpoint, transfer: Transfer, stamps: Stamps) -> Path:
    """Fetches into the ModelScope cache and returns the snapshot folder."""
    model, endpoint = str(modelscope_id(checkpoint)), modelscope_endpoint()
    revision = checkpoint.revision or "master"
    snapshot = _modelscope_cache() / "models" / model.replace("/", "--") / "snapshots" / revision
    address = f"{endpoint}/api/v1/models/{model}/repo"
    token = token_for(checkpoint, os.environ.get("MODELSCOPE_API_TOKEN"))
    page = f"{endpoint}/models/{model}"
    with explained(checkpoint, page, "MODELSCOPE_API_TOKEN"), open_client(token) as client:
        listing = ask_json(client, f"{address}/files", Revision=revision, Recursive="True")["Data"]["Files"]
        entries = {file["Path"]: file for file in listing if file.get("Type") != "tree"}
        remotes = [
            Remote(
                name,
                f"{address}?Revision={quote(revision, safe='')}&FilePath={quote(name, safe='')}",
                snapshot / name,
                entries[name].get("Size"),
                entries[name].get("Sha256") or None,
            )
            for name in choose_files(
                {name: file.get("Sha256") or None for name, file in entries.items()}, checkpoint
            )
        ]
        fetch_all(client, remotes, transfer)
    for remote in remotes:
        if remote.sha256:
            stamps.add(remote.target, remote.sha256)
    return snapshot
