"""Which files of a repository make up a checkpoint, and whether a folder holds all of them.

The same rules choose from a hub's listing and judge a folder on disk, so that what was fetched is
also what counts as complete.
"""

import json
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from models.catalog.formats import FORMATS, SINGLE_FILE, Format, format_of
from models.schema import Checkpoint

# The first of these that a repository has is taken; the others are copies of the same weights.
WEIGHTS = tuple(pattern for row in FORMATS.values() for pattern in row.weights)
# Everything small that describes a model or its tokenizer. No Python: it never runs here.
DESCRIPTIONS = ("*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja")
TOKENIZERS = ("tokenizer*", "*.tiktoken", "vocab*", "ice_text.model", "spiece.model")

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(\.\w+)$")


def matching(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Those names that match any of the glob patterns in any case, sorted."""
    patterns = [pattern.lower() for pattern in patterns]
    return sorted(name for name in names if any(fnmatchcase(name.lower(), pattern) for pattern in patterns))


def select(names: Iterable[str], checkpoint: Checkpoint) -> list[str]:
    """The files of a listing that the checkpoint needs, descriptions first and weights last.

    Only the top folder counts unless ``checkpoint.files`` says otherwise: subfolders hold other
    formats of the same weights.
    """
    names = [name for name in names if ".." not in name and not name.startswith("/")]
    if checkpoint.files:
        return matching(names, checkpoint.files)
    top = [name for name in names if "/" not in name]
    weights = _weights(top)
    if weights and weights[0].endswith(SINGLE_FILE):
        return weights
    indexes = {_index(name) for name in weights}
    described = [
        name for name in matching(top, DESCRIPTIONS) if not name.endswith(".index.json") or name in indexes
    ]
    return [name for name in described if name not in weights] + weights


def _weights(names: list[str]) -> list[str]:
    for pattern in WEIGHTS:
        if found := matching(names, [pattern]):
            return _one_set(found) if pattern.endswith(SINGLE_FILE) else found
    return []


def _index(shard: str) -> str:
    return _SHARD.sub(r"\3", shard) + ".index.json"


def _one_set(found: list[str]) -> list[str]:
    """A GGUF repository holds one model many times: the first file, with its other shards."""
    stem = _SHARD.sub("", found[0])
    return [name for name in found if _SHARD.sub("", name) == stem]


def missing(folder: Path, checkpoint: Checkpoint) -> list[str]:
    """Names of files that the checkpoint needs and ``folder`` lacks; empty when it is complete."""
    present = _present(folder, checkpoint)
    chosen = select(present, checkpoint)
    lacking = [pattern for pattern in checkpoint.files if not matching(present, [pattern])]
    lacking += [name for name in _promised(folder, present, chosen) if name not in present]
    if checkpoint.files or any(name.endswith(SINGLE_FILE) for name in chosen):
        return lacking
    if not _weights(chosen) and not lacking:
        lacking.append("*.safetensors")
    row = _row(checkpoint, chosen)
    if row.config and "config.json" not in present:
        lacking.append("config.json")
    if row.tokenizer and not matching(present, TOKENIZERS):
        lacking.append(row.tokenizer)
    return lacking


def _row(checkpoint: Checkpoint, chosen: list[str]) -> Format:
    """The row of the checkpoint's format, or where that is not known yet, of its weight files."""
    row = format_of(checkpoint)
    return row if row.known else next((row for row in FORMATS.values() if matching(chosen, row.weights)), row)


def _present(folder: Path, checkpoint: Checkpoint) -> list[str]:
    found = folder.rglob("*") if checkpoint.files else folder.iterdir()
    return [path.relative_to(folder).as_posix() for path in found if path.is_file()]


def _promised(folder: Path, present: list[str], chosen: list[str]) -> list[str]:
    """Shards that an index, or the numbering of the shards themselves, says there are."""
    promised: set[str] = set()
    for name in chosen:
        if found := _SHARD.search(name):
            total, suffix = found[2], found[3]
            stem = name[: found.start()]
            promised |= {f"{stem}-{n:05d}-of-{total}{suffix}" for n in range(1, int(total) + 1)}
            if suffix not in SINGLE_FILE:
                promised.add(_index(name))
    if not _weights([name for name in present if "/" not in name]):
        for name in matching(present, ["*.index.json"]):
            promised |= _indexed(folder / name)
    return sorted(promised)


def _indexed(index: Path) -> set[str]:
    """The shards that an index names; an index that cannot be read is itself to be fetched again."""
    try:
        return set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        return {f"{index.name} (damaged)"}


def entry(folder: Path, checkpoint: Checkpoint) -> Path:
    """What an engine is given: the (first) file of a single-file checkpoint, else the folder."""
    chosen = select(_present(folder, checkpoint), checkpoint)
    weights = [name for name in chosen if name.endswith(SINGLE_FILE)]
    return folder / weights[0] if weights else folder
