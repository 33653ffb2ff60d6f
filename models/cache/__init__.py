"""Where Quintet keeps what it fetched and made, and what its visitors made. Standard library only."""

import os
import sys
from pathlib import Path


def cache_dir() -> Path:
    """The folder of starters, stamps and built tokenizers: QUINTET_CACHE, else in the user's cache folder."""
    if chosen := os.environ.get("QUINTET_CACHE"):
        return Path(chosen).expanduser()
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen).expanduser() / "quintet"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~")).expanduser() / "quintet" / "cache"
    return Path("~/Library/Caches" if sys.platform == "darwin" else "~/.cache").expanduser() / "quintet"


def data_dir() -> Path:
    """The folder of what visitors made: QUINTET_DATA, else beside the cache. It is no cache: nothing makes it anew."""
    if chosen := os.environ.get("QUINTET_DATA"):
        return Path(chosen).expanduser()
    return cache_dir().with_name(f"{cache_dir().name}-data")
