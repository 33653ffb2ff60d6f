"""What a folder of ChatGLM files holds: which generation, which tensors."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from models.errors import CheckpointNotFound, UnsupportedCheckpoint
from models.pretrained.loading import damaged

if TYPE_CHECKING:
    from torch import Tensor

Generation = Literal["chatglm", "chatglm2", "chatglm3"]

# What the released weights have; the architecture in transformers has no other.
_FIXED = {
    "add_bias_linear": False,
    "apply_residual_connection_post_layernorm": False,
    "post_layer_norm": True,
    "rmsnorm": True,
}


def is_first_generation(config: Mapping[str, Any]) -> bool:
    """All generations call themselves "chatglm"; only ChatGLM-6B has these keys."""
    return "inner_hidden_size" in config or "position_encoding_2d" in config


def generation(config: Mapping[str, Any]) -> Generation:
    """Which prompt format a config.json stands for; ChatGLM2 and 3 differ in nothing but their name."""
    if is_first_generation(config):
        return "chatglm"
    return "chatglm2" if "chatglm2" in str(config.get("_name_or_path")).lower() else "chatglm3"


def check_config(config: Mapping[str, Any]) -> None:
    """Raise UnsupportedCheckpoint for what only looks like ChatGLM."""
    if config.get("padded_vocab_size", 0) > 150000:
        raise UnsupportedCheckpoint(
            "This is GLM-4 in its original format, which has another tokenizer: use the same model's "
            "repository whose name ends in -hf.",
            "这是原始格式的 GLM-4，使用另一种分词器：请改用同一模型名称以 -hf 结尾的仓库。",
        )
    other = [key for key, value in _FIXED.items() if config.get(key, value) != value]
    if other:
        raise UnsupportedCheckpoint(
            f"This ChatGLM has {other[0]} = {config[other[0]]}, which no released weights have: use "
            "THUDM/chatglm3-6b or one trained from it.",
            f"这个 ChatGLM 的 {other[0]} 为 {config[other[0]]}，已发布的权重均非如此："
            "请使用 THUDM/chatglm3-6b 或由它训练的模型。",
        )


def stored_tensors(folder: Path) -> "dict[str, Tensor]":
    """Every tensor of a folder under its name, without its data: on the meta device.

    Raises CheckpointNotFound without weights, CheckpointCorrupt for a damaged file.
    """
    import torch

    files = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not files:
        raise CheckpointNotFound(
            f"{folder.name} holds no weights: fetch its .safetensors or .bin files too.",
            f"{folder.name} 中没有权重：请同时下载其中的 .safetensors 或 .bin 文件。",
        )
    tensors: dict[str, Tensor] = {}
    for path in files:
        try:
            if path.suffix == ".safetensors":
                tensors |= _safetensors(path)
            else:
                tensors |= torch.load(path, map_location="meta", mmap=True, weights_only=True)
        except Exception as error:  # both readers raise whatever their parsers do
            raise damaged(path) from error
    return tensors


def _safetensors(path: Path) -> "dict[str, Tensor]":
    import torch
    from safetensors import safe_open

    with safe_open(path, "pt") as file:  # reads the header alone
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  no mapping
        # Of the types only int8 tells something: the makers' own quantisation.
        return {
            name: torch.empty(
                part.get_shape(),
                dtype=torch.int8 if part.get_dtype() == "I8" else torch.float16,
                device="meta",
            )
            for name, part in slices.items()
        }
