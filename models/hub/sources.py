"""What the two model hubs that a checkpoint comes from share: settings, questions, refusals.

huggingface_hub 2.4 and modelscope_hub 0.5 cannot keep the part of a cancelled download for the next
one, and read their settings once at import. So the bytes come through `models.hub.download`, while both
hubs' caches keep their documented layout: what is fetched here serves other programs, and theirs us.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from models.catalog.formats import SINGLE_FILE
from models.catalog.instead import foreign
from models.catalog.selection import has_weights, select
from models.catalog.table import CHECKPOINTS
from models.errors import AccessDenied, CheckpointNotFound, HubUnreachable, UnsupportedCheckpoint
from models.hub.download import Transfer
from models.hub.stamps import Stamps
from models.permissions import may_use_token
from models.schema import Checkpoint, Text

_TOKEN_REFUSED = "quintet_token_refused"  # marks a refusal that had another one before it
TIMEOUT = 10.0  # seconds without a byte, after which the rest is asked for anew


def is_set(variable: str) -> bool:
    return os.environ.get(variable, "").upper() in {"1", "ON", "YES", "TRUE"}


def folder_of(*variables: str, default: Path) -> Path:
    """The folder named by the first of these environment variables that is set."""
    found = next((value for name in variables if (value := os.environ.get(name))), str(default))
    return Path(os.path.expandvars(found)).expanduser()


def user_cache() -> Path:
    return folder_of("XDG_CACHE_HOME", default=Path("~/.cache"))


def is_offered(checkpoint: Checkpoint) -> bool:
    """Whether it is a row of the catalog, and so what Quintet's operator offers."""
    return checkpoint.name in CHECKPOINTS


def token_for(checkpoint: Checkpoint, token: str | None) -> str | None:
    """The operator's token, if it may be shown for this checkpoint."""
    return token if may_use_token(checkpoint.hub_id or checkpoint.name, is_offered(checkpoint)) else None


def open_client(token: str | None) -> Any:
    import httpx2

    headers = {"User-Agent": "quintet", "Accept-Encoding": "identity"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return httpx2.Client(headers=headers, follow_redirects=True, timeout=TIMEOUT)


def ask_json(client: Any, address: str, **parameters: str) -> Any:
    """What a hub answers; where it refuses the token, without it, and so is all that the client asks later."""
    response = client.get(address, params=parameters)
    if response.status_code in (401, 403) and client.headers.pop("Authorization", None):
        refused, response = response, client.get(address, params=parameters)
        if response.is_success:
            host = urlsplit(address).hostname
            logging.getLogger(__name__).warning(
                "%s refuses the token: it may have expired; asked without", host
            )
        elif refused.status_code == 403:  # the token is known, and is not enough
            response = refused
        else:
            response.extensions[_TOKEN_REFUSED] = True
    return response.raise_for_status().json()


def choose_files(published: dict[str, str | None], checkpoint: Checkpoint) -> list[str]:
    """The names to fetch out of a listing (name to SHA-256, None where the hub gives no such hash)."""
    names = select(published, checkpoint)
    if any(
        published[name] not in (None, sha256) for name, sha256 in checkpoint.sha256.items() if name in names
    ):
        raise CheckpointNotFound(
            f"The hub now has another file under the name of {checkpoint.name}: type its hub id to use that one.",
            f"Hub 上 {checkpoint.name} 的同名文件已变更：如需使用，请直接输入其 Hub 名称。",
        )
    # An adapter's descriptions say of which model it is.
    if not has_weights(names, checkpoint) and "adapter_config.json" not in names:
        raise _no_weights(sorted(published), checkpoint)
    return names


def _no_weights(published: list[str], checkpoint: Checkpoint) -> UnsupportedCheckpoint:
    if checkpoint.variant:
        listed = ", ".join([name for name in published if name.endswith(SINGLE_FILE)][:12])
        alone = Text(f"type {checkpoint.hub_id} alone", f"只输入 {checkpoint.hub_id}")
        files = Text(f"choose one of its files, which are {listed}", f"从其文件中选择：{listed}")
        way = files if listed else alone
        return UnsupportedCheckpoint(
            f"{checkpoint.hub_id} has no {checkpoint.variant}: {way.en}.",
            f"{checkpoint.hub_id} 中没有 {checkpoint.variant}：请{way.zh}。",
        )
    return foreign(checkpoint.name, published) or UnsupportedCheckpoint(
        f"The repository of {checkpoint.name} holds no weights that Quintet reads: choose another one.",
        f"{checkpoint.name} 的仓库中没有 Quintet 能读取的权重：请选择其他模型。",
    )


def answers(address: str, timeout: float) -> bool:
    """Whether a hub answers there at all; a proxy's refusal is not an answer."""
    import httpx2

    try:
        status = int(httpx2.head(address, timeout=timeout).status_code)
    except (httpx2.HTTPError, httpx2.InvalidURL):
        return False
    return status < 500 and status not in (403, 407)


@contextmanager
def explained(checkpoint: Checkpoint, page: str, variable: str) -> Iterator[None]:
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
    if _TOKEN_REFUSED in response.extensions and status < 500:
        return AccessDenied(
            f"{page} cannot be had without a token, and yours is refused as expired or mistyped: give a valid one in "
            f"{variable}, or log in again; check the name too.",
            f"访问 {page} 需要令牌，而您的令牌已过期或有误：请通过 {variable} 提供有效的令牌或重新登录，并检查名称。",
        )
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
