"""Qwen-VL's original files onto `models.qwen_vl.model`, and back.

Names differ, and query, key and value are one matrix. transformers renames and splits while it reads,
so that quantisation while loading and device maps work as for any model; written back, a model has its
original names again. The first Qwen's models of texts have the same names.
"""

import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import Chunk, ConversionOps, WeightConverter, WeightRenaming
from transformers.utils.quantization_config import QuantizationConfigMixin

from models.errors import UnsupportedCheckpoint, UnsupportedPlacement
from models.pretrained.loading import check_loaded, read_config
from models.qwen_vl import gptq
from models.qwen_vl.model import ATTENTION, QwenVLConfig, QwenVLForCausalLM
from models.qwen_vl.vision import HEAD_DIM

# Names inside a layer: in the files, and here.
FUSED = "self_attn.qkv_proj"
LAYER = {
    "ln_1": "input_layernorm",
    "ln_2": "post_attention_layernorm",
    "attn.c_attn": FUSED,
    "attn.c_proj": "self_attn.o_proj",
    "mlp.w1": "mlp.up_proj",
    "mlp.w2": "mlp.gate_proj",
    "mlp.c_proj": "mlp.down_proj",
}
NO_BIAS = re.compile(r"\.h\.\d+\.(attn\.c_proj|mlp\.\w+)\.bias$")
_REGISTERING = threading.Lock()


class QwenConfig(QwenVLConfig):  # type: ignore[no-untyped-call]
    """What a config.json of an original folder stands for."""

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """The configuration in the library's words. Raises UnsupportedCheckpoint."""
        if "rms_norm_eps" not in config_dict:
            check_config(config_dict)
            config_dict = translate(config_dict)
        return QwenVLConfig.from_dict(config_dict, **kwargs)


def check_config(config: Mapping[str, Any]) -> None:
    """Raise UnsupportedCheckpoint for what no released Qwen has."""
    hidden, heads = config.get("hidden_size", 4096), config.get("num_attention_heads", 32)
    channels = (config.get("visual") or {"output_dim": hidden})["output_dim"]
    differs = {
        "no_bias": not config.get("no_bias", True),
        "rotary_pct": config.get("rotary_pct", 1.0) != 1.0,
        "kv_channels": config.get("kv_channels", 128) * heads != hidden,
        "visual.output_dim": channels != hidden or ("visual" in config and channels % HEAD_DIM),
    }
    for key in filter(differs.get, differs):
        raise UnsupportedCheckpoint(
            f"This Qwen has a {key} that no released weights have: use Qwen/Qwen-VL-Chat or one trained from it.",
            f"这个 Qwen 的 {key} 与所有已发布的权重不同：请使用 Qwen/Qwen-VL-Chat 或由它训练的模型。",
        )


def translate(config: Mapping[str, Any]) -> dict[str, Any]:
    """Qwen2's names for the keys of an original config.json; defaults are the original class's."""
    heads = config.get("num_attention_heads", 32)
    return {
        "vocab_size": config.get("vocab_size", 151936),
        "hidden_size": config.get("hidden_size", 4096),
        "intermediate_size": config.get("intermediate_size", 22016) // 2,  # w1 and w2 have half of it each
        "num_hidden_layers": config.get("num_hidden_layers", 32),
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "max_position_embeddings": config.get("max_position_embeddings", 8192),
        "rms_norm_eps": config.get("layer_norm_epsilon", 1e-6),
        "tie_word_embeddings": config.get("tie_word_embeddings", False),
        "initializer_range": config.get("initializer_range", 0.02),
        "seq_length": config.get("seq_length", 2048),
        "rotary_emb_base": float(config.get("rotary_emb_base", 10000)),
        "use_dynamic_ntk": config.get("use_dynamic_ntk", True),
        "use_logn_attn": config.get("use_logn_attn", True),
        "visual": config.get("visual"),
        "dtype": config.get("torch_dtype", config.get("dtype")),
        "use_cache": config.get("use_cache", True),
        "architectures": [QwenVLForCausalLM.__name__],
    }


class Share(ConversionOps):
    """One tensor for several layers; back, the first of theirs."""

    def convert(
        self,
        input_dict: dict[str, Any],
        source_patterns: list[str],
        target_patterns: list[str],
        **kwargs: Any,
    ) -> dict[str, Any]:
        shared = input_dict[source_patterns[0]]
        return dict.fromkeys(target_patterns, shared)

    @property
    def reverse_op(self) -> ConversionOps:
        return Share()


def conversions() -> list[WeightConverter | WeightRenaming]:
    """From the names in the files to the model's."""
    renamed = {
        r"transformer\.visual\.": r"model\.visual\.",
        r"transformer\.wte\.": r"model\.embed_tokens\.",
        r"transformer\.ln_f\.": r"model\.norm\.",
    }
    for old, new in LAYER.items():
        renamed[rf"transformer\.h\.(\d+)\.{re.escape(old)}\."] = rf"model\.layers\.\1\.{re.escape(new)}\."
    return [
        *(WeightRenaming(f"^{old}", new) for old, new in renamed.items()),
        *(_thirds(kind, Chunk(0)) for kind in ("weight", "bias")),
        # AutoGPTQ's tensors have the outputs last.
        *(_thirds(kind, Chunk(1)) for kind in ("qweight", "qzeros", "scales")),
        _thirds("g_idx", Share()),
    ]


def _thirds(kind: str, split: ConversionOps) -> WeightConverter:
    """All queries, then all keys, then all values."""
    return WeightConverter(f"{FUSED}.{kind}", [f"self_attn.{part}_proj.{kind}" for part in "qkv"], [split])


def register() -> None:
    """Let `AutoConfig` and `AutoModelForCausalLM` read Qwen folders; again does nothing."""
    with _REGISTERING:
        gptq.register()
        register_checkpoint_conversion_mapping(QwenVLForCausalLM.__name__, conversions(), overwrite=True)
        AutoConfig.register(QwenVLConfig.model_type, QwenConfig, exist_ok=True)
        AutoModelForCausalLM.register(QwenVLConfig, QwenVLForCausalLM, exist_ok=True)


def load_model(
    folder: str | Path,
    dtype: torch.dtype,
    quantization_config: QuantizationConfigMixin | None = None,
    kernels: bool = False,
    **kwargs: Any,
) -> PreTrainedModel:
    """A Qwen-VL or a Qwen from its original files, AutoGPTQ's too.

    Args:
        folder: config.json and `.bin` or `.safetensors` shards.
        dtype: of what is not quantised.
        quantization_config: how to quantise ordinary weights while they are read.
        kernels: run AutoGPTQ's files on the kernels of gptqmodel, not on the reader here.
        kwargs: further arguments of `from_pretrained`: device_map, max_memory, …

    Raises:
        CheckpointNotFound, CheckpointCorrupt: files are missing or damaged.
        UnsupportedCheckpoint: an architecture that no released Qwen has, or other packed weights.
        UnsupportedPlacement: the files are packed and a further quantisation is asked for.
    """
    register()
    folder = Path(folder)
    stored = read_config(folder)
    config = QwenConfig.from_dict(stored)
    if packing := stored.get("quantization_config"):
        if quantization_config is not None:
            raise UnsupportedPlacement(
                "These files are already packed as int4: load them as they are, in no other precision.",
                "这些文件已是 int4 量化格式：请直接加载，不要另选精度。",
            )
        check_biases(folder)
        quantization_config = gptq.StoredConfig(**packing)
        if kernels:
            config.quantization_config, quantization_config = packing, None
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        config=config,
        dtype=dtype,
        quantization_config=quantization_config,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # `check_loaded` says which
        attn_implementation=ATTENTION,  # whatever config.json says
        local_files_only=True,
        **kwargs,
    )
    model: PreTrainedModel = loaded[0]
    check_loaded(loaded[1])
    return model


def check_biases(folder: Path) -> None:
    """AutoGPTQ stores biases of all layers. Raise UnsupportedCheckpoint for one that is used and should
    not be there: those are not read."""
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in filter(NO_BIAS.search, file.keys()):
                if file.get_tensor(name).any():
                    raise UnsupportedCheckpoint(
                        f"This Qwen has the bias {name}, which no released weights have: use "
                        "Qwen/Qwen-VL-Chat-Int4.",
                        f"这个 Qwen 含有偏置 {name}，已发布的权重均没有：请使用 Qwen/Qwen-VL-Chat-Int4。",
                    )
