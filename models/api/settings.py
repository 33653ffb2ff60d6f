"""What the operator lets programs do, as the environment says. Standard library only."""

import hashlib
import os


def key_hashes() -> tuple[bytes, ...]:
    """SHA-256 of each key of QUINTET_API_KEYS, which are separated by commas. None: only this machine is served."""
    keys = os.environ.get("QUINTET_API_KEYS", "").split(",")
    return tuple(hashlib.sha256(key.strip().encode()).digest() for key in keys if key.strip())


def aliases() -> dict[str, str]:
    """QUINTET_ALIASES: other names for checkpoints, as "gpt-4=smollm2-135m-instruct,…"."""
    pairs = (entry.partition("=") for entry in os.environ.get("QUINTET_ALIASES", "").split(","))
    return {alias.strip(): name.strip() for alias, _, name in pairs if alias.strip() and name.strip()}


def offered() -> list[str]:
    """QUINTET_API_MODELS: what programs may have loaded beside the starters, separated by commas; * is all."""
    return [name.strip() for name in os.environ.get("QUINTET_API_MODELS", "").split(",") if name.strip()]


def most_requests() -> int:
    """QUINTET_API_REQUESTS: requests that are answered or wait at the same time; default: 64."""
    return _whole("QUINTET_API_REQUESTS", 64)


def most_bytes() -> int:
    """QUINTET_API_BYTES: megabytes that the body of a request may have; default: 512."""
    return _whole("QUINTET_API_BYTES", 512) << 20


def _whole(variable: str, default: int) -> int:
    try:
        return max(1, int(os.environ.get(variable) or default))
    except ValueError:
        return default


def load_seconds() -> int:
    """QUINTET_API_LOAD: seconds that a request waits for its model to be loaded; default: 300."""
    return _whole("QUINTET_API_LOAD", 300)


def fetches_addresses() -> bool:
    """QUINTET_API_FETCH=1: pictures are fetched from public web addresses that a request names."""
    return os.environ.get("QUINTET_API_FETCH", "").strip() == "1"
