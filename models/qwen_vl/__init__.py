"""Qwen-VL, and the first Qwen, from their original files, without their code.

    weights.py     the files onto model.py, renamed and split while they are read
    model.py       transformers' Qwen2 decoder that sees, with the first Qwen's long texts
    vision.py      vision tower and resampler
    gptq.py        AutoGPTQ's int4 files without a GPU
    tokenizer.py   a fast tokenizer from qwen.tiktoken
    prompt.py      conversations with pictures as ChatML
    pictures.py    picture files to pixels
    features.py    what the tower saw in the pictures at hand
    boxes.py       what an answer points at

Most modules import torch; this one costs nothing.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from models.qwen_vl.tokenizer import QwenTokenizer


def load(
    folder: str | Path, dtype: "torch.dtype", chat: bool = True, cache: Path | None = None, **kwargs: Any
) -> "tuple[Any, QwenTokenizer]":
    """A model that stops where its answers end, and its tokenizer.

    Args:
        folder: of the original files: config.json, weights, qwen.tiktoken.
        dtype: of what is not quantised.
        chat: False for a base model, which only continues text.
        cache: a folder that keeps the built tokenizer.
        kwargs: as for `weights.load_model`: quantization_config, device_map, …

    Raises:
        CheckpointNotFound, CheckpointCorrupt, UnsupportedCheckpoint, UnsupportedPlacement.
    """
    from models.qwen_vl.tokenizer import load_tokenizer
    from models.qwen_vl.weights import load_model

    tokenizer = load_tokenizer(folder, chat=chat, cache=cache)
    model: Any = load_model(folder, dtype, **kwargs)
    if model.model.sizes is not None:
        tokenizer.queries = model.model.sizes.n_queries
    else:
        tokenizer.tags = ()
    model.generation_config.eos_token_id = list(tokenizer.stop_ids)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer
