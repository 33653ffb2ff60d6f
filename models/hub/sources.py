"""The two model hubs a checkpoint comes from: Hugging Face and ModelScope.

huggingface_hub 2.4 and modelscope_hub 0.5 cannot keep the part of a cancelled download for the next
one, and read their settings once at import. So the bytes come through `models.hub.download`, while both
hubs' caches keep their documented layout: what is fetched here serves other programs, and theirs us.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from models.catalog.selection import select
from models.errors import AccessDenied, CheckpointNotFound, HubUnreachable, UnsupportedCheckpoint
from models.hub.download import Remote, Transfer, fetch_all
from models.hub.stamps import Stamps
from models.schema import Checkpoint

TIMEOUT = 10.0  # seconds without a byte, after which the rest is asked for anew


def is_set(variable: str) -> bool:
    return os.environ.get(variable, "").upper() in {"1", "ON", "YES", "TRUE"}


def _folder(*variables: str, default: Path) -> Path:
    """The folder named by the first of these environment variables that is set."""
    found = next((value for name in variables if (value := os.environ.get(name))), str(default))
    return Path(os.path.expandvars(found)).expanduser()


def user_cache() -> Path:
    return _folder("XDG_CACHE_HOME", default=Path("~/.cache"))


# --- Hugging Face ------------------------------------------------------------------------------


def hf_home() -> Path:
    return _folder("HF_HOME", default=user_cache() / "huggingface")


def hf_cache() -> Path:
    return _folder("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", default=hf_home() / "hub")


def hf_endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def hf_offline() -> bool:
    return is_set("HF_HUB_OFFLINE") or is_set("TRANSFORMERS_OFFLINE")


def _hf_token() -> str | None:
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := os.environ.get(variable, "").strip():
            return token
    saved = _folder("HF_TOKEN_PATH", default=hf_home() / "token")
    return saved.read_text("utf-8").strip() or None if saved.is_file() else None


def _hf_repository(hub_id: str) -> Path:
    return hf_cache() / f"models--{hub_id.replace('/', '--')}"


def hf_snapshots(hub_id: str) -> list[Path]:
    """Local snapshots, that of the main branch first. Layout: huggingface.co/docs, "How-to cache"."""
    repository = _hf_repository(hub_id)
    main = repository / "refs" / "main"
    first = main.read_text("utf-8").strip() if main.is_file() else ""
    found = [path for path in repository.glob("snapshots/*") if path.is_dir()]
    return sorted(found, key=lambda path: (path.name != first, -path.stat().st_mtime))


def from_hugging_face(checkpoint: Checkpoint, transfer: Transfer, stamps: Stamps) -> Path:
    """Fetches into the Hugging Face cache and returns the snapshot folder."""
    hub_id, endpoint = str(checkpoint.hub_id), hf_endpoint()
    repository = _hf_repository(hub_id)
    with _explained(checkpoint, f"{endpoint}/{hub_id}", "HF_TOKEN"), _client(_hf_token()) as client:
        listing = _ask(client, f"{endpoint}/api/models/{hub_id}/revision/main", blobs="true")
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
            for name in _chosen({name: lfs.get("sha256") for name, lfs in large.items()}, checkpoint)
        ]
        fetch_all(client, remotes, transfer)
    snapshot = repository / "snapshots" / commit
    for remote in remotes:
        _link(remote.target, snapshot / remote.name)
        if remote.sha256:
            stamps.add(snapshot / remote.name, remote.sha256)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(commit, "utf-8")
    return snapshot


def _hexadecimal(name: str) -> str:
    """A commit or blob name, made safe as a file name should a server give something else."""
    return name if re.fullmatch("[0-9a-f]{40,64}", name) else hashlib.sha1(name.encode()).hexdigest()


def _link(blob: Path, pointer: Path) -> None:
    pointer.parent.mkdir(parents=True, exist_ok=True)
    pointer.unlink(missing_ok=True)
    try:
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError:  # Windows without the right to make links
        blob.replace(pointer)


# --- ModelScope --------------------------------------------------------------------------------


def _modelscope_cache() -> Path:
    return _folder("MODELSCOPE_CACHE", default=Path("~/.cache/modelscope"))


def modelscope_endpoint() -> str:
    found = os.environ.get("MODELSCOPE_ENDPOINT") or os.environ.get("MODELSCOPE_DOMAIN") or "modelscope.cn"
    return (found if "://" in found else f"https://{found}").rstrip("/")


def modelscope_id(checkpoint: Checkpoint) -> str | None:
    """Its id there; one that was typed means ModelScope too once ModelScope is asked for."""
    typed = checkpoint.format == "unknown" and is_set("USE_MODELSCOPE_HUB")
    return checkpoint.modelscope_id or (checkpoint.hub_id if typed else None)


def modelscope_snapshots(model: str) -> list[Path]:
    """Local copies in the layouts of modelscope_hub and of the older modelscope package."""
    cache, safe = _modelscope_cache(), model.replace(".", "___")
    repository = cache / "models" / model.replace("/", "--")
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
    snapshot = _modelscope_cache() / "models" / model.replace("/", "--") / "snapshots" / "master"
    address = f"{endpoint}/api/v1/models/{model}/repo"
    token = os.environ.get("MODELSCOPE_API_TOKEN")
    page = f"{endpoint}/models/{model}"
    with _explained(checkpoint, page, "MODELSCOPE_API_TOKEN"), _client(token) as client:
        listing = _ask(client, f"{address}/files", Revision="master", Recursive="True")["Data"]["Files"]
        entries = {file["Path"]: file for file in listing if file.get("Type") != "tree"}
        remotes = [
            Remote(
                name,
                f"{address}?Revision=master&FilePath={quote(name, safe='')}",
                snapshot / name,
                entries[name].get("Size"),
                entries[name].get("Sha256") or None,
            )
            for name in _chosen(
                {name: file.get("Sha256") or None for name, file in entries.items()}, checkpoint
            )
        ]
        fetch_all(client, remotes, transfer)
    for remote in remotes:
        if remote.sha256:
            stamps.add(remote.target, remote.sha256)
    return snapshot


# --- what both hubs share ----------------------------------------------------------------------


def _client(token: str | None) -> Any:
    import httpx2

    headers = {"User-Agent": "quintet", "Accept-Encoding": "identity"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return httpx2.Client(headers=headers, follow_redirects=True, timeout=TIMEOUT)


def _ask(client: Any, address: str, **parameters: str) -> Any:
    return client.get(address, params=parameters).raise_for_status().json()


def _chosen(published: dict[str, str | None], checkpoint: Checkpoint) -> list[str]:
    """The names to fetch out of a listing (name to SHA-256, None where the hub gives no such hash)."""
    names = select(published, checkpoint)
    if any(
        published[name] not in (None, sha256) for name, sha256 in checkpoint.sha256.items() if name in names
    ):
        raise CheckpointNotFound(
            f"The hub now has another file under the name of {checkpoint.name}: type its hub id to use that one.",
            f"Hub 上 {checkpoint.name} 的同名文件已变更：如需使用，请直接输入其 Hub 名称。",
        )
    if not names:
        raise UnsupportedCheckpoint(
            f"The repository of {checkpoint.name} holds no weights that Quintet reads: choose another one.",
            f"{checkpoint.name} 的仓库中没有 Quintet 能读取的权重：请选择其他模型。",
        )
    return names


def answers(address: str, timeout: float) -> bool:
    """Whether a hub answers there at all; a proxy's refusal is not an answer."""
    import httpx2

    try:
        status = int(httpx2.head(address, timeout=timeout).status_code)
    except (httpx2.HTTPError, httpx2.InvalidURL):
        return False
    return status < 500 and status not in (403, 407)


@contextmanager
def _explained(checkpoint: Checkpoint, page: str, variable: str) -> Iterator[None]:
    """Turns the HTTP library's errors into sentences about this checkpoint."""
    import httpx2

    try:
        yield
    except httpx2.HTTPStatusError as error:
        raise _refusal(error.response, checkpoint, page, variable) from error
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, LookupError, TypeError) as error:
        # The last three: something answers there that is not a hub, such as a network's login page.
        raise unreachable(checkpoint, urlsplit(page).hostname or page) from error


def _refusal(response: Any, checkpoint: Checkpoint, page: str, variable: str) -> CheckpointNotFound:
    status, code = response.status_code, response.headers.get("X-Error-Code", "")
    if status == 404 or code == "RepoNotFound":
        return CheckpointNotFound(
            f"There is no {page}, or it is private: check the name, or give a token in {variable}.",
            f"{page} 不存在或为私有：请检查名称，或通过 {variable} 提供访问令牌。",
        )
    if status in (401, 403):
        return AccessDenied(
            f"{checkpoint.name} is gated or private: ask for access at {page} and give your token in {variable}.",
            f"{checkpoint.name} 需要授权：请在 {page} 申请访问权限，并通过 {variable} 提供访问令牌。",
        )
    return unreachable(checkpoint, urlsplit(page).hostname or page)


def unreachable(checkpoint: Checkpoint, host: str) -> HubUnreachable:
    return HubUnreachable(
        f"{checkpoint.name} is not on this machine and {host} cannot be reached: check the network.",
        f"本机没有 {checkpoint.name}，且无法连接 {host}：请检查网络。",
    )


Fetch = Callable[[Checkpoint, Transfer, Stamps], Path]
