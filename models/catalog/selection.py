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
NAMED_TEMPLATES = "additional_chat_templates/*.jinja"
TOKENIZERS = ("tokenizer*", "*.tiktoken", "vocab*", "ice_text.model", "spiece.model")

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(\.\w+)$")
# What lies beside the weights of models and is none: adapters, the leftovers of a training, weights in
# their maker's own format, vocabularies.
_BESIDE = (
    "adapter", "ggml-adapter", "consolidated", "ggml-vocab", "optimizer", "rng_state", "scaler", "scheduler",
    "training_args",
)  # fmt: skip
_QUANTISED = re.compile(r"(?<![a-z])i?q\d")


def matching(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Those names that match any of the glob patterns in any case, sorted."""
    patterns = [pattern.lower() for pattern in patterns]
    return sorted(name for name in names if any(fnmatchcase(name.lower(), pattern) for pattern in patterns))


def is_beside(name: str) -> bool:
    """Whether a file's name says that it lies beside the weights of a model and is none."""
    name = name.rsplit("/", 1)[-1].lower()
    # A projector for pictures; an importance matrix, which is not a model that was quantised with one.
    other = "mmproj" in name or ("imatrix" in name and not _QUANTISED.search(name))
    return other or name.startswith(_BESIDE)


def is_shard(name: str) -> bool:
    return bool(_SHARD.search(name))


def select(names: Iterable[str], checkpoint: Checkpoint) -> list[str]:
    """The files of a listing that the checkpoint needs, descriptions first and weights last.

    Only the top folder counts unless ``checkpoint.files`` says otherwise, and named chat templates:
    other subfolders hold other formats of the same weights.
    """
    names = [name for name in names if ".." not in name and not name.startswith("/")]
    if checkpoint.files:
        return matching(names, checkpoint.files)
    if checkpoint.variant:
        return _one_set(_variants(names, checkpoint.variant))
    top = [name for name in names if "/" not in name]
    weights = _weights(top)
    if weights and weights[0].endswith(SINGLE_FILE):
        return weights
    indexes = {_index(name) for name in weights}
    described = [
        name for name in matching(top, DESCRIPTIONS) if not name.endswith(".index.json") or name in indexes
    ]
    described += matching(names, [NAMED_TEMPLATES])
    return [name for name in described if name not in weights] + weights


def _weights(names: list[str]) -> list[str]:
    names = [name for name in names if not is_beside(name)]
    for pattern in WEIGHTS:
        if found := matching(names, [pattern]):
            return _one_set(found) if pattern.endswith(SINGLE_FILE) else found
    return []


def _variants(names: list[str], variant: str) -> list[str]:
    """The models in single files that are called `variant`, or are of that quantisation, as their names say."""
    singles = [name for name in names if name.endswith(SINGLE_FILE)]
    if variant in singles:
        return [variant, *singles]
    # Q4_K is not in Q4_K_M, nor F16 in BF16.
    quantised = re.compile(rf"(?<![^\W_]){re.escape(variant)}(?![^\W_]|_\w)", re.IGNORECASE)
    return sorted(name for name in singles if quantised.search(Path(name).name) and not is_beside(name))


def has_weights(names: list[str], checkpoint: Checkpoint) -> bool:
    """Whether files that were selected are more than descriptions."""
    return bool(names if checkpoint.files else _weights([name.rsplit("/", 1)[-1] for name in names]))


def _index(shard: str) -> str:
    return _SHARD.sub(r"\3", shard) + ".index.json"


def _one_set(found: list[str]) -> list[str]:
    """A GGUF repository holds one model many times: the first file, with its other shards."""
    stem = _SHARD.sub("", found[0]) if found else ""
    return [name for name in found if _SHARD.sub("", name) == stem]


def missing(folder: Path, checkpoint: Checkpoint) -> list[str]:
    """Names of files that the checkpoint needs and ``folder`` lacks; empty when it is complete."""
    present = _present(folder, checkpoint)
    chosen = select(present, checkpoint)
    lacking = [pattern for pattern in checkpoint.files if not matching(present, [pattern])]
    lacking += [name for name in _promised(folder, present, chosen) if name not in present]
    if checkpoint.variant and not chosen:
        lacking.append(checkpoint.variant)
    if checkpoint.files or checkpoint.variant or any(name.endswith(SINGLE_FILE) for name in chosen):
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
    found = folder.rglob("*") if checkpoint.files or checkpoint.variant else folder.iterdir()
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
