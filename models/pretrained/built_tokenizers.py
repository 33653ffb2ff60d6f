"""Tokenizers that take a while to build from a checkpoint's files, kept for the next time."""

import hashlib
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from models.cache.temporary import folder_in

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def kept(path: Path, build: "Callable[[Path], Tokenizer]", layout: int, cache: Path | None) -> "Tokenizer":
    """What `build` makes of a file, read from `cache` where an earlier call could leave it there.

    Args:
        layout: raised when `build` changes, so that what it made earlier is not read.
        cache: a folder; None: nothing is kept.

    Raises what `build` raises.
    """
    if cache is None:
        return build(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    file = cache / f"{path.stem}-{digest}-{layout}.json"
    if tokenizer := _read(file):
        return tokenizer
    tokenizer = build(path)
    text = tokenizer.to_str()
    with suppress(OSError):  # a full or read-only disk: then it is built again the next time
        cache.mkdir(parents=True, exist_ok=True)
        # Under a name of its own first, because others may be reading or writing.
        part = folder_in(cache.parent / "unfinished") / f"{threading.get_ident()}.json"
        part.write_text(json.dumps({"sha256": _digest(text), "tokenizer": text}), "utf-8")
        part.replace(file)
    return tokenizer


def _read(file: Path) -> "Tokenizer | None":
    from tokenizers import Tokenizer

    try:
        kept = json.loads(file.read_bytes())
        if kept["sha256"] != _digest(kept["tokenizer"]):  # a changed byte may still be a tokenizer
            return None
        return Tokenizer.from_str(kept["tokenizer"])
    except Exception:  # the library raises no other class, for a damaged file and for one of another version
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
