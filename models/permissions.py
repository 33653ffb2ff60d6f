"""What the operator of this server lets its visitors reach, as the environment says. Standard library only."""

import os
import re
from fnmatch import fnmatchcase


def model_paths() -> list[str]:
    """What the *MODEL_PATH variables name: the operator offers it, so a visitor may have it."""
    return [
        value.strip() for key, value in os.environ.items() if key.endswith("MODEL_PATH") and value.strip()
    ]


def listed_servers() -> dict[str, str | None]:
    """The servers of QUINTET_REMOTES and of *MODEL_PATH, each with the key that the operator wrote beside it.

    The variable's entries are separated by commas. Each is a whole address, a host or host:port, and
    where a key belongs to it, a space and that key.
    """
    entries = [part.split(maxsplit=1) for part in os.environ.get("QUINTET_REMOTES", "").split(",")]
    servers: dict[str, str | None] = {
        value.partition("#")[0].rstrip("/"): None for value in model_paths() if "://" in value
    }
    return servers | {
        name.rstrip("/"): key[0].strip() if key else None for name, *key in filter(None, entries)
    }


def is_listed(address: str) -> bool:
    """Whether the operator named this server: its address, its host, or host:port."""
    return not _names(address).isdisjoint({name.lower() for name in listed_servers()})


def key_for(address: str) -> str | None:
    """The key that a server gets: the one beside its entry, else QUINTET_REMOTE_KEY if there is an entry.

    Only what names one server gets a key, an address or host:port. Behind the other ports of a host
    whoever has an account there may listen.
    """
    servers = listed_servers()
    for name in (address, address.split("/")[2]):
        if name in servers and (name == address or re.search(r":\d+$", name)):
            return servers[name] or os.environ.get("QUINTET_REMOTE_KEY") or None
    return None


def _names(address: str) -> set[str]:
    host_and_port = address.lower().split("/")[2]
    return {address.lower(), host_and_port, re.sub(r":\d+$", "", host_and_port)}


def may_fetch(name: str, offered: bool) -> bool:
    """Whether a checkpoint may be fetched: QUINTET_FETCH is "anything" (the default), "catalog" or "nothing".

    "catalog" is what Quintet offers, and what *MODEL_PATH names. Whatever else is written there means nothing.
    """
    allowed = os.environ.get("QUINTET_FETCH", "").strip().lower() or "anything"
    return allowed == "anything" or (allowed == "catalog" and (offered or name in model_paths()))


def may_use_token(name: str, offered: bool) -> bool:
    """Whether the operator's token of a hub is shown for this: for what `may_fetch` calls the catalog, and for
    the ids and patterns of QUINTET_TOKEN_FOR (owner/name, owner/*; separated by commas; default: all)."""
    patterns = os.environ.get("QUINTET_TOKEN_FOR", "*").split(",")
    return offered or name in model_paths() or any(fnmatchcase(name, part.strip()) for part in patterns)


def kept_free() -> int:
    """Bytes of a disk that no download may take: QUINTET_KEEP_FREE, in GB; default: none."""
    return _bytes("QUINTET_KEEP_FREE", 0)


def keeps() -> bool:
    """Whether what visitors make is kept: unless QUINTET_KEEP is 0."""
    return os.environ.get("QUINTET_KEEP", "").strip() != "0"


def kept_per_visitor() -> int:
    """Bytes that one visitor may keep: QUINTET_KEEP_VISITOR, in GB; default: 2."""
    return _bytes("QUINTET_KEEP_VISITOR", 2)


def kept_in_all() -> int:
    """Bytes that all visitors may keep: QUINTET_KEEP_ALL, in GB; default: 50."""
    return _bytes("QUINTET_KEEP_ALL", 50)


def _bytes(variable: str, default: float) -> int:
    """What a setting in GB says; the default where it is no number."""
    try:
        return round(float(os.environ.get(variable) or default) * 1e9)
    except (ValueError, OverflowError):
        return round(default * 1e9)
