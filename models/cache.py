"""Where Quintet keeps what it fetched and made. Standard library only."""

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
