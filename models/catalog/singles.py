"""Folders in which a checkpoint is a single file, or one of several."""

import re
from collections.abc import Iterable
from pathlib import Path

from models.catalog.files import missing, parts
from models.catalog.formats import SINGLE_FILE
from models.catalog.gguf import is_companion
from models.catalog.instead import adapter, foreign
from models.catalog.selection import is_beside, select
from models.errors import ModelError, UnsupportedCheckpoint
from models.schema import Checkpoint, Text

_ANY = Checkpoint("", "other", "chat", "unknown")
# What the names of one model's files differ in.
_QUANTISATION = re.compile(
    r"[-._]?(ud-|i1-)?(i?q\d(_\w+)*|bf16|fp?16|fp?32|mxfp4(_\w+)*)(-\d{5}-of-\d{5})?(?=\.)", re.IGNORECASE
)


def choose_single(folder: Path, alone: bool) -> tuple[Path | None, Text | None]:
    """The checkpoint in a folder that is a single file, or was one before it was cut, and what else is there.

    Of several quantisations of one model it is that which would be fetched out of a repository.

    Args:
        alone: whether there is no config.json, without which the folder as a whole is no checkpoint.

    Returns:
        None, None where the folder as a whole is the checkpoint.

    Raises:
        UnsupportedCheckpoint: there is no such file, or those of several models.
        CheckpointCorrupt: the first part of a model is missing, or there is half an adapter_config.json.
    """
    names = sorted(file.name for file in folder.iterdir())
    chosen = select(names, _ANY)
    if not alone and not (chosen and chosen[-1].endswith(SINGLE_FILE)):
        return None, None
    singles = [name for name in names if name.lower().endswith(SINGLE_FILE)]
    models = {parts(folder / name)[0].name for name in singles if not is_beside(name)}
    if len(models) > 1:  # whose names do not tell which are models
        models = {name for name in models if not is_companion(folder / name)}
    if not models:
        raise _no_model(folder, names)
    if len({_QUANTISATION.sub("", name) for name in models}) > 1:
        raise _several(folder, models)
    path = parts(folder / select(sorted(models), _ANY)[0])[0]
    if not path.exists():
        raise missing(folder, path.name)
    others = [name for name in singles if parts(folder / name)[0] != path]
    listed = ", ".join(others[:12])
    note = Text(
        f"One file of its folder, where there are also {listed}.", f"取自其文件夹，其中还有 {listed}。"
    )
    return path, note if others else None


def _several(folder: Path, models: Iterable[str]) -> UnsupportedCheckpoint:
    listed = ", ".join(sorted(models)[:12])
    return UnsupportedCheckpoint(
        f"{folder} holds no config.json and several models, {listed}: choose one of these files.",
        f"{folder} 中没有 config.json，且有多个模型（{listed}）：请选择其中一个文件。",
    )


def _no_model(folder: Path, names: list[str]) -> ModelError:
    if error := adapter(folder, names):
        return error
    beside = [name for name in names if name.endswith(SINGLE_FILE)]
    if beside:
        return UnsupportedCheckpoint(
            f"{folder} holds {beside[0]}, which belongs to a model and is none: put the model's own file beside it.",
            f"{folder} 中只有 {beside[0]}，它附属于某个模型，本身不是模型：请放入模型文件。",
        )
    return foreign(folder.name, names) or UnsupportedCheckpoint(
        f"{folder} holds no config.json and no .gguf or .pt model: choose a folder with a config, or one such file.",
        f"{folder} 中没有 config.json，也没有 .gguf 或 .pt 模型：请选择含 config.json 的文件夹，或一个这样的文件。",
    )
