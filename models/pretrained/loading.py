"""Reading a model with transformers: what every engine of that library shares.

Precisions and devices, progress and cancellation between two tensors, and failures as sentences.
"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import (
    Cancelled,
    CheckpointCorrupt,
    CheckpointNotFound,
    DoesNotFit,
    ModelError,
    UnsupportedCheckpoint,
    short,
)
from models.schema import OnProgress, Placement, Progress

# int8 and int4 weights work on bfloat16 activations; "file" keeps what the files say.
DTYPES = {
    "fp32": "float32",
    "bf16": "bfloat16",
    "fp16": "float16",
    "int8": "bfloat16",
    "int4": "bfloat16",
    "file": "auto",
}

# What watches the tensors of the load that runs in this context (see `watched`).
_watcher: ContextVar["_Watcher | None"] = ContextVar("_watcher", default=None)


@dataclass(frozen=True)
class _Watcher:
    """Tells how many tensors are loaded, and stops between two of them."""

    progress: OnProgress | None
    cancel: threading.Event | None

    def over(self, tensors: Sequence[Any]) -> Iterator[Any]:
        for done, tensor in enumerate(tensors):
            self.report(done, len(tensors))
            yield tensor
        self.report(len(tensors), len(tensors))

    def report(self, done: int, total: int) -> None:
        if self.cancel is not None and self.cancel.is_set():
            raise Cancelled
        if self.progress is not None:
            self.progress(Progress("load", done, total))


@contextmanager
def watched(progress: OnProgress | None, cancel: threading.Event | None) -> Iterator[None]:
    """Report tensors as "load" steps, and raise Cancelled between two of them.

    It stands where transformers would draw its progress bar.

    transformers takes one hook for the whole process; a context variable keeps the loads that run at
    the same time on other devices apart.
    """
    from transformers.utils.logging import set_tqdm_hook

    def bar(factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        current = _watcher.get()
        return current.over(list(args[0])) if current and args else factory(*args, **kwargs)

    set_tqdm_hook(bar)
    token = _watcher.set(_Watcher(progress, cancel))
    try:
        yield
    finally:
        _watcher.reset(token)


def placed(placement: Placement) -> dict[str, Any]:
    """`device_map` for one device, or layers spread over what is free on several."""
    if len(placement.devices) < 2:
        return {"device_map": {"": placement.device}}
    import torch

    numbers = [torch.device(name).index or 0 for name in placement.devices]
    # The rest is for the attention states and for what a layer needs while it works.
    free = {number: int(torch.cuda.mem_get_info(number)[0] * 0.85) for number in numbers}
    return {"device_map": "auto", "max_memory": free}


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json. Raises CheckpointNotFound or CheckpointCorrupt."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise CheckpointNotFound(
            f"{folder.name} has no config.json: choose the folder that holds it and the weights.",
            f"{folder.name} 中没有 config.json：请选择含有该文件与权重的文件夹。",
        ) from error
    except ValueError as error:
        raise damaged(path) from error
    if not isinstance(config, dict):
        raise damaged(path)
    return config


def load_config(folder: Path, weights: str = "") -> Any:
    """The folder's configuration as transformers reads it, completed by what older tools wrote beside it.

    Args:
        weights: name of the file with the weights, or of their index, where it is not one of transformers'.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if weights:
        config.transformers_weights = weights
    beside = folder / "quantize_config.json"  # AutoGPTQ's
    if not hasattr(config, "quantization_config") and beside.is_file():
        config.quantization_config = {**json.loads(beside.read_text("utf-8")), "quant_method": "gptq"}
    return config


def check_loaded(info: Mapping[str, Any]) -> None:
    """Raise CheckpointCorrupt when tensors were missing, left over or of another shape."""
    for kind, what, chinese in (
        ("missing_keys", "lacks", "缺少"),
        ("mismatched_keys", "has another shape for", "的形状不符："),
        ("unexpected_keys", "has an unknown", "含有未知的"),
    ):
        if info[kind]:
            name = str(min(map(str, info[kind])))
            raise CheckpointCorrupt(
                f"The checkpoint {what} {name} ({len(info[kind])} such tensors): fetch it again.",
                f"检查点{chinese} {name}（共 {len(info[kind])} 个）：请重新下载。",
            )


def damaged(path: Path) -> CheckpointCorrupt:
    return CheckpointCorrupt(
        f"{path.name} is damaged or incomplete: delete it and fetch it again.",
        f"{path.name} 已损坏或不完整：请删除后重新下载。",
    )


@contextmanager
def loading(path: Path, placement: Placement) -> Iterator[None]:
    """Say what went wrong while loading in a sentence."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise does_not_fit(path.name, placement) from error
        damaged = damaged_file(path)
        if damaged is not None:
            raise CheckpointCorrupt(
                f"{damaged} is damaged or cut short: delete it and get the checkpoint again.",
                f"{damaged} 已损坏或不完整：请删除后重新获取该检查点。",
            ) from error
        if isinstance(error, (OSError, RuntimeError)):
            raise CheckpointCorrupt(
                f"{path.name} cannot be loaded ({short(error)}): get the checkpoint again.",
                f"无法加载 {path.name}（{short(error)}）：请重新获取该检查点。",
            ) from error
        raise UnsupportedCheckpoint(
            f"transformers cannot run {path.name} ({short(error)}): choose another checkpoint.",
            f"transformers 无法运行 {path.name}（{short(error)}）：请选择其他检查点。",
        ) from error


def damaged_file(path: Path) -> str | None:
    """The first weight file or configuration that cannot be opened."""
    import torch
    from safetensors import safe_open

    readers: dict[str, Any] = {
        "*.json": lambda file: json.loads(file.read_text("utf-8")),
        "*.safetensors": lambda file: safe_open(file, framework="pt"),
        "pytorch_model*.bin": lambda file: torch.load(file, map_location="meta", weights_only=True),
    }
    for pattern, read in readers.items():
        for file in sorted(path.glob(pattern)):
            try:
                read(file)
            except Exception:  # every reader has its own errors; which file it is, is what matters
                return file.name
    return None


def out_of_memory(error: BaseException) -> bool:
    import torch

    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "not enough memory" in str(error)


def does_not_fit(name: str, placement: Placement) -> DoesNotFit:
    return DoesNotFit(
        f"{placement.device} ran out of memory with {name} in {placement.precision}: "
        "choose int8 or int4, a shorter context, or a smaller checkpoint.",
        f"{placement.device} 内存不足，无法以 {placement.precision} 运行 {name}："
        "请选择 int8 或 int4、更短的上下文，或更小的检查点。",
    )


def weight_bytes(model: Any) -> int:
    """Bytes of parameters and buffers as they lie in memory; tied ones count once."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum({t.data_ptr(): t.nbytes for t in tensors if t.numel()}.values())
