"""Folders in the format of transformers: the config says what it is, the weights whether it is whole."""

import json
from collections.abc import Callable
from dataclasses import replace
from math import prod
from pathlib import Path

from models.catalog.families import GLOBAL_EVERY, text_family
from models.catalog.files import Config, Files, missing, unsupported
from models.catalog.formats import FORMATS
from models.catalog.headers import reading
from models.catalog.selection import TOKENIZERS, matching
from models.catalog.table import CHECKPOINTS
from models.catalog.weights import Weights, find_weights
from models.schema import Checkpoint, Shape

# Older tools say how they quantised in a file of its own: AutoGPTQ, and AutoAWQ.
_BESIDE_CONFIG = {"quantize_config.json": "gptq", "quant_config.json": "awq"}


def describe_folder(
    files: Files, read: Callable[[Path, Config, Weights], Checkpoint], any_name: bool = False
) -> Checkpoint:
    """What `read` makes of the config, completed by what the weights say; it may raise KeyError for the config.

    `any_name`: whether the engine takes weights that are called otherwise than transformers calls them.
    """
    path = files.path
    weights = find_weights(path, any_name)
    config = _with_quantisation(path, files.config or {}, weights)
    try:
        described = read(path, config, weights)
    except KeyError as error:
        lacking = f"a {files.model_type} model whose config lacks {error.args[0]}"
        raise unsupported(path, lacking) from error
    bits = int((config.get("quantization_config") or {}).get("bits") or config.get("quantization_bit") or 8)
    return replace(
        described,
        name=str(path),
        title=path.name,
        path=str(path),
        weights=weights.file,
        bytes=weights.bytes,
        parameters=weights.parameters(bits),
    )


def _with_quantisation(path: Path, config: Config, weights: Weights) -> Config:
    """`config` with how the weights are quantised, in transformers' words, wherever their maker has said it."""
    found = dict(config.get("quantization_config") or {})
    if not found and "quantization" in config:
        found = {"quant_method": "mlx"}
    packed = any(name.endswith(".qweight") for name in weights.names)
    for name, method in _BESIDE_CONFIG.items() if packed and not found else ():
        if (path / name).is_file():
            with reading(path / name):
                found = {**json.loads((path / name).read_bytes()), "quant_method": method}
    if packed and not found:
        raise unsupported(path, f"packed weights, and no {' or '.join(_BESIDE_CONFIG)} that says how")
    if not found:
        return config
    # As transformers decides where the file is older than the word quant_method.
    before = "bitsandbytes" if any(key.startswith(("load_in_", "bnb_")) for key in found) else "gptq"
    return {**config, "quantization_config": {"quant_method": before, **found}}


def read_chatglm(files: Files) -> Checkpoint | None:
    """Describe a ChatGLM in its original files."""
    return describe_folder(files, _chatglm) if files.model_type == "chatglm" else None


def read_qwen(files: Files) -> Checkpoint | None:
    """Describe a Qwen-VL, or a Qwen of the first generation, in its original files."""
    return describe_folder(files, _qwen) if files.model_type == "qwen" else None


def read_decoder(files: Files) -> Checkpoint | None:
    """Describe any decoder that transformers has."""
    named = map(str, (files.config or {}).get("architectures") or ())
    if files.model_type == "gemma3" or any("ForCausalLM" in name for name in named):
        return describe_folder(files, _decoder, any_name=True)
    return None


# --- configs -----------------------------------------------------------------------------------


def _chatglm(path: Path, config: Config, weights: Weights) -> Checkpoint:
    """ChatGLM-6B and ChatGLM3-6B share a model_type; only the newer one pads its vocabulary."""
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    newer = "padded_vocab_size" in config
    shape = Shape(
        layers=config["num_layers"],
        kv_heads=config.get("multi_query_group_num", heads) if newer else heads,
        head_dim=config["kv_channels"] if newer else hidden // heads,
        hidden=hidden,
        vocab=config["padded_vocab_size"] if newer else config["vocab_size"],
        tied=weights.tied,
    )
    # The config's quantization_bit may be a default that the files do not follow.
    packed = any(name.endswith("weight_scale") for name in weights.names)
    base = "-base" in f"{config.get('_name_or_path', '')} {path.name}".lower()
    return Checkpoint(
        name="",
        family="chatglm",
        kind="completion" if base else "chat",
        format="chatglm-packed" if packed else "chatglm",
        shape=shape,
        context_length=config["seq_length"] if newer else config["max_sequence_length"],
        options=CHECKPOINTS["chatglm3-6b" if newer else "chatglm-6b"].options,
    )


def _qwen(path: Path, config: Config, weights: Weights) -> Checkpoint:
    """Qwen-VL, and the first Qwen: later ones have model types of their own."""
    heads, sees = config["num_attention_heads"], "visual" in config
    shape = Shape(
        layers=config["num_hidden_layers"],
        kv_heads=heads,
        head_dim=config["kv_channels"],
        hidden=config["hidden_size"],
        vocab=config["vocab_size"],
        tied=weights.tied,
        vision=sum(prod(weights.shapes[name]) for name in weights.shapes if ".visual." in name),
    )
    return Checkpoint(
        name="",
        family="qwen_vl" if sees else text_family("qwen"),
        kind="vision" if sees else "chat",
        format="qwen-vl-gptq" if "quantization_config" in config else "qwen-vl",
        shape=shape,
        context_length=config["max_position_embeddings"],
        options=CHECKPOINTS["qwen-vl-chat" if sees else "qwen-7b-chat"].options,
    )


def _decoder(path: Path, config: Config, weights: Weights) -> Checkpoint:
    """Any decoder that transformers has: LLaMA, Gemma, Mistral, Qwen2, GLM-4, …"""
    names = [file.name for file in path.iterdir()]
    if not matching(names, TOKENIZERS):
        raise missing(path, "tokenizer.json")
    format = config.get("quantization_config", {}).get("quant_method", "transformers")
    if format not in FORMATS:
        raise unsupported(path, f"weights quantised with {format}")
    text = {**config, **config.get("text_config", {})}
    heads, hidden, layers = text["num_attention_heads"], text["hidden_size"], text["num_hidden_layers"]
    window, global_layers = _window(text, layers)
    shape = Shape(
        layers=layers,
        kv_heads=text.get("num_key_value_heads") or heads,
        head_dim=text.get("head_dim") or hidden // heads,
        hidden=hidden,
        vocab=text["vocab_size"],
        tied=weights.tied,
        window=window,
        global_layers=global_layers,
    )
    template = "chat_template.jinja" in names or any(
        _has_template(path / name) for name in ("tokenizer_config.json", "chat_template.json")
    )
    return Checkpoint(
        name="",
        family=text_family(config["model_type"]),
        kind="chat" if template else "completion",
        format=format,
        shape=shape,
        context_length=text.get("max_position_embeddings", 0),
    )


def _has_template(file: Path) -> bool:
    if not file.is_file():
        return False
    with reading(file):
        return bool(json.loads(file.read_bytes()).get("chat_template"))


def _window(text: Config, layers: int) -> tuple[int | None, int | None]:
    """Length of the sliding window, and how many layers have none."""
    window = text.get("sliding_window")
    if not window or text.get("use_sliding_window") is False:
        return None, None
    if kinds := text.get("layer_types"):
        return window, list(kinds).count("full_attention")
    every = text.get("sliding_window_pattern") or GLOBAL_EVERY.get(text["model_type"])
    return window, layers // every if every else 0
