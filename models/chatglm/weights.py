"""ChatGLM2 and ChatGLM3: the original files onto transformers' own Glm.

The architecture is that of `GlmForCausalLM`; names differ, and query, key and value are one matrix.
transformers renames and splits them while it reads, so that quantisation while loading and device
maps work as for any model. Written back, a model has its original names again.
"""

import threading
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GlmConfig,
    GlmForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import (
    Concatenate,
    ConversionOps,
    WeightConverter,
    WeightRenaming,
)
from transformers.utils.quantization_config import QuantizationConfigMixin

from models.chatglm import packed
from models.chatglm.files import (
    check_config,
    generation,
    is_first_generation,
    stored_tensors,
)
from models.chatglm.model import ChatGLM6BConfig, ChatGLM6BForCausalLM
from models.errors import UnsupportedPlacement
from models.pretrained.loading import check_loaded, read_config

ROTARY_BASE = 10000.0
OUTPUT_HEADS = ("lm_head.weight", "transformer.output_layer.weight")
_REGISTERING = threading.Lock()


class ChatGLM3Config(GlmConfig):  # type: ignore[no-untyped-call]
    """Glm's configuration under the model type that the original files have."""

    model_type = "chatglm"


class ChatGLMConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """What a config.json with model type "chatglm" stands for: two architectures bear that name."""

    model_type = "chatglm"

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """The configuration of the right class.

        Raises UnsupportedCheckpoint for variants that no released weights have, and for GLM-4.
        """
        check_config(config_dict)
        if is_first_generation(config_dict):
            return ChatGLM6BConfig.from_dict(config_dict, **kwargs)
        if "padded_vocab_size" in config_dict:
            config_dict = translate(config_dict)
        return ChatGLM3Config.from_dict(config_dict, **kwargs)


def translate(config: dict[str, Any]) -> dict[str, Any]:
    """Glm's names for the keys of an original config.json; defaults are the original class's."""
    heads = config.get("num_attention_heads", 32)
    grouped = config.get("multi_query_attention", False)
    return {
        "vocab_size": config["padded_vocab_size"],
        "hidden_size": config.get("hidden_size", 4096),
        "intermediate_size": config.get("ffn_hidden_size", 13696),
        "num_hidden_layers": config.get("num_layers", 28),
        "num_attention_heads": heads,
        "num_key_value_heads": config.get("multi_query_group_num", 1) if grouped else heads,
        "head_dim": config.get("kv_channels", 128),
        "max_position_embeddings": config.get("seq_length", 2048),
        "rms_norm_eps": config.get("layernorm_epsilon", 1e-5),
        "attention_bias": config.get("add_qkv_bias", False),
        "tie_word_embeddings": config.get("tie_word_embeddings", False),
        "rope_parameters": rotary(config),
        "pad_token_id": config.get("pad_token_id", 0),
        "eos_token_id": config.get("eos_token_id", 2),
        "bos_token_id": config.get("bos_token_id"),
        "dtype": config.get("torch_dtype", config.get("dtype")),
        "use_cache": config.get("use_cache", True),
        "architectures": ["ChatGLM3ForCausalLM"],
    }


def rotary(config: dict[str, Any]) -> dict[str, Any]:
    """How positions turn the first half of each head.

    For a longer context ChatGLM3 makes the base of the rotations larger, where ChatGLM2-6B-32K
    interpolated the positions (github.com/ztxz16/fastllm, src/models/chatglm.cpp).
    """
    ratio = config.get("rope_ratio", 1)
    half = {"partial_rotary_factor": 0.5}
    if generation(config) == "chatglm2" and ratio != 1:
        return {"rope_type": "linear", "factor": float(ratio), "rope_theta": ROTARY_BASE, **half}
    return {"rope_type": "default", "rope_theta": ROTARY_BASE * ratio, **half}


class SplitHeads(ConversionOps):
    """The rows of a fused tensor: all queries, then all keys, then all values."""

    def convert(
        self,
        input_dict: dict[str, Any],
        source_patterns: list[str],
        target_patterns: list[str],
        **kwargs: Any,
    ) -> dict[str, Any]:
        (fused,) = input_dict.values()
        fused = fused[0] if isinstance(fused, list) else fused
        config = kwargs["config"]
        queries = config.num_attention_heads * config.head_dim
        keys = config.num_key_value_heads * config.head_dim
        parts = fused.tensor_split((queries, queries + keys))
        return {name: part.contiguous() for name, part in zip(target_patterns, parts, strict=True)}

    @property
    def reverse_op(self) -> ConversionOps:
        return Concatenate(0)


def conversions() -> list[WeightConverter | WeightRenaming]:
    """From the names in the files to Glm's."""
    renamed = {
        "transformer.embedding.word_embeddings.": "model.embed_tokens.",
        "transformer.encoder.final_layernorm.": "model.norm.",
        "transformer.output_layer.": "lm_head.",
        "transformer.encoder.layers.": "model.layers.",
        ".self_attention.dense.": ".self_attn.o_proj.",
        ".mlp.dense_h_to_4h.": ".mlp.gate_up_proj.",
        ".mlp.dense_4h_to_h.": ".mlp.down_proj.",
    }
    split = [
        WeightConverter(
            f"self_attention.query_key_value.{kind}",
            [f"self_attn.{part}_proj.{kind}" for part in "qkv"],
            [SplitHeads()],
        )
        for kind in ("weight", "weight_scale", "bias")
    ]
    return [*(WeightRenaming(*(n.replace(".", r"\.") for n in pair)) for pair in renamed.items()), *split]


class ChatGLM3ForCausalLM(GlmForCausalLM):  # type: ignore[no-untyped-call]
    """ChatGLM2 and ChatGLM3."""

    config_class = ChatGLM3Config
    _keys_to_ignore_on_load_unexpected = [r"rotary_pos_emb\.inv_freq$"]


def register() -> None:
    """Let `AutoConfig` and `AutoModelForCausalLM` read ChatGLM folders; again does nothing."""
    with _REGISTERING:
        packed.register()
        register_checkpoint_conversion_mapping(ChatGLM3ForCausalLM.__name__, conversions(), overwrite=True)
        AutoConfig.register(ChatGLMConfig.model_type, ChatGLMConfig, exist_ok=True)
        AutoModelForCausalLM.register(ChatGLM3Config, ChatGLM3ForCausalLM, exist_ok=True)
        AutoModelForCausalLM.register(ChatGLM6BConfig, ChatGLM6BForCausalLM, exist_ok=True)


def load_model(
    folder: str | Path,
    dtype: torch.dtype,
    quantization_config: QuantizationConfigMixin | None = None,
    **kwargs: Any,
) -> PreTrainedModel:
    """A ChatGLM of any generation from its original files, packed ones too.

    Args:
        folder: config.json and `.bin` or `.safetensors` shards.
        dtype: of what is not quantised.
        quantization_config: how to quantise ordinary weights while they are read.
        kwargs: further arguments of `from_pretrained`: device_map, max_memory, …

    Raises:
        CheckpointNotFound, CheckpointCorrupt: files are missing or damaged.
        UnsupportedCheckpoint: an architecture that no released ChatGLM has, or GLM-4.
        UnsupportedPlacement: the files are packed and a further quantisation is asked for.
    """
    register()
    folder = Path(folder)
    config = ChatGLMConfig.from_dict(read_config(folder))
    tensors = stored_tensors(folder)
    config.tie_word_embeddings |= not any(head in tensors for head in OUTPUT_HEADS)
    own = packed.packing(tensors)
    if own is not None and quantization_config is not None:
        raise UnsupportedPlacement(
            f"These files are already packed as int{own.bits}: load them as they are, in no other precision.",
            f"这些文件已是 int{own.bits} 量化格式：请直接加载，不要另选精度。",
        )
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        config=config,
        dtype=dtype,
        quantization_config=own or quantization_config,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # `check_loaded` says which
        attn_implementation=None,  # the library's own choice, whatever config.json says
        local_files_only=True,
        **kwargs,
    )
    model: PreTrainedModel = loaded[0]
    check_loaded(loaded[1])
    return model
