"""ChatGLM-6B, ChatGLM2 and ChatGLM3 from their original files, without their code.

    weights.py     the files onto transformers' Glm, or onto model.py
    model.py       ChatGLM-6B, which transformers does not have
    packed.py      the makers' own int4 and int8 files
    tokenizer.py   fast tokenizers from the SentencePiece files (vocabulary.py)
    prompt.py      prompts and replies as text
    files.py       what a folder holds

The modules import torch; this one costs nothing.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from models.chatglm.tokenizer import ChatGLMTokenizer


def load(
    folder: str | Path,
    dtype: "torch.dtype",
    cache: str | Path | None = None,
    chat: bool = True,
    **kwargs: Any,
) -> "tuple[Any, ChatGLMTokenizer]":
    """A model that stops where its answers end, and its tokenizer.

    Args:
        folder: of the original files: config.json, weights, tokenizer.model or ice_text.model.
        dtype: of what is not quantised.
        cache: a folder that keeps the built tokenizer.
        chat: False for a base model, which only continues text.
        kwargs: as for `weights.load_model`: quantization_config, device_map, …

    Raises:
        CheckpointNotFound, CheckpointCorrupt, UnsupportedCheckpoint, UnsupportedPlacement.
    """
    from models.chatglm.tokenizer import load_tokenizer
    from models.chatglm.weights import load_model

    tokenizer = load_tokenizer(folder, cache, chat)
    model: Any = load_model(folder, dtype, **kwargs)
    model.generation_config.eos_token_id = list(tokenizer.stop_ids)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer
