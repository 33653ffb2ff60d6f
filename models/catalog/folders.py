"""Folders of weights: Hugging Face's with a config.json, and CTranslate2's for Whisper."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from models.catalog.headers import Header, read_ctranslate2, read_safetensors, read_torch, reading
from models.catalog.selection import TOKENIZERS, matching
from models.catalog.table import CHECKPOINTS
from models.errors import CheckpointCorrupt, UnsupportedCheckpoint
from models.schema import Checkpoint, Format, Shape

Config = Mapping[str, Any]

# Every how many layers one attends to everything, where neither config nor header says so.
GLOBAL_EVERY = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6}
_INDEXED = (
    ("model.safetensors.index.json", "model.safetensors"),
    ("pytorch_model.bin.index.json", "pytorch_model.bin"),
)


def read_folder(path: Path) -> Checkpoint:
    """Describe a folder that has a config.json. Raises as `models.catalog.recognise.describe` does."""
    with reading(path / "config.json"):
        config = json.loads((path / "config.json").read_bytes())
        if "model_type" not in config and ("alignment_heads" in config or (path / "model.bin").exists()):
            return _ctranslate2(path)
        return _configured(path, config)


def family_of(text: str) -> str:
    """The family that a model type or a repository's name speaks of, or "other"."""
    text = text.lower().replace("_", "-")
    known = {"chatglm": "chatglm", "qwen-vl": "qwen_vl", "gemma": "gemma", "whisper": "whisper"}
    known |= dict.fromkeys(("llama", "smollm", "qwen", "mistral"), "llama2")
    return next((family for word, family in known.items() if word in text), "other")


def text_family(model_type: str) -> str:
    # Any text model that brings its own template is at home on the LLaMA page.
    family = family_of(model_type)
    return "llama2" if family == "other" else family


def missing(folder: Path, name: str) -> CheckpointCorrupt:
    return CheckpointCorrupt(
        f"{folder} lacks {name}, perhaps half a download: fetch the checkpoint again.",
        f"{folder} 中缺少 {name}，可能只下载了一部分：请重新下载该模型。",
    )


def unsupported(path: Path, what: str) -> UnsupportedCheckpoint:
    return UnsupportedCheckpoint(
        f"{path.name} holds {what}, which no engine here reads: choose a LLaMA, Gemma, ChatGLM, Qwen-VL or "
        "Whisper checkpoint, or a GGUF file.",
        f"{path.name} 是 {what}，目前没有引擎能读取：请选择 LLaMA、Gemma、ChatGLM、Qwen-VL 或 Whisper 模型，或 GGUF 文件。",
    )


def whisper_shape(layers: int, hidden: int, vocab: int) -> Shape:
    return Shape(layers, kv_heads=hidden // 64, head_dim=64, hidden=hidden, vocab=vocab, tied=True)


def _ctranslate2(path: Path) -> Checkpoint:
    for pattern in ("model.bin", "vocabulary.*", "tokenizer.json"):
        if not any(path.glob(pattern)):
            raise missing(path, pattern)
    weights = path / "model.bin"
    with reading(weights):
        header = read_ctranslate2(weights)
        if header.facts["spec"] != "WhisperSpec":
            raise unsupported(path, header.facts["spec"])
        vocab, hidden = header.tensors["decoder/embeddings/weight"]
    layers = {name.split("/")[1] for name in header.tensors if name.startswith("decoder/layer_")}
    return Checkpoint(
        name=str(path),
        title=path.name,
        family="whisper",
        kind="speech",
        format="ctranslate2",
        parameters=sum(
            prod(shape)
            for name, shape in header.tensors.items()
            if not name.endswith("_scale") and name != "encoder/position_encodings/encodings"
        ),
        bytes=weights.stat().st_size,
        shape=whisper_shape(len(layers - {"layer_norm"}), hidden, vocab),
        path=str(path),
    )


def _configured(path: Path, config: Config) -> Checkpoint:
    """A folder with a Hugging Face config: the config says what it is, the weights whether it is whole."""
    model_type = str(config.get("model_type", "a model without model_type"))
    reader = _CONFIGS.get(model_type)
    if reader is None:
        if not any("ForCausalLM" in str(name) for name in config.get("architectures") or ()):
            raise unsupported(path, model_type)
        reader = _decoder
    weights = _weights(path)
    try:
        seen = reader(path, config, weights)
    except KeyError as error:
        raise unsupported(path, f"a {model_type} model whose config lacks {error.args[0]}") from error
    bits = int((config.get("quantization_config") or {}).get("bits") or config.get("quantization_bit") or 8)
    return replace(
        seen,
        name=str(path),
        title=path.name,
        path=str(path),
        bytes=weights.bytes,
        parameters=weights.parameters(bits),
    )


@dataclass(frozen=True)
class _Weights:
    """The weight files of a folder, all there and whole, and the tensors in them."""

    names: frozenset[str]
    shapes: Mapping[str, tuple[int, ...]]
    bytes: int

    @property
    def tied(self) -> bool:
        """Whether input embedding and output head are one matrix."""
        heads = [name for name in self.names if name.endswith(("lm_head.weight", "output_layer.weight"))]
        return all(prod(self.shapes.get(name, (1,))) == 0 for name in heads)

    def parameters(self, bits: int) -> int:
        """Elements of all tensors, those of packed ones counted before packing."""
        return sum(self._elements(name, bits) for name in self.shapes)

    def _elements(self, name: str, bits: int) -> int:
        stored = prod(self.shapes[name])
        if name.endswith((".qzeros", ".scales", ".g_idx", "_scale", "inv_freq")):
            return 0
        if name.endswith(".qweight"):  # GPTQ packs into int32
            return stored * 32 // bits
        if f"{name}_scale" in self.names:  # ChatGLM packs into int8
            return stored * 8 // bits
        return stored


def _weights(folder: Path) -> _Weights:
    """Find the weights as transformers would, and check every file against its own header."""
    for index, single in _INDEXED:
        if (folder / single).is_file():
            return _check(folder, [single], frozenset())
        if (folder / index).is_file():
            with reading(folder / index):
                weight_map: dict[str, str] = json.loads((folder / index).read_bytes())["weight_map"]
            return _check(folder, sorted(set(weight_map.values())), frozenset(weight_map))
    raise missing(folder, "model.safetensors")


def _check(folder: Path, files: list[str], names: frozenset[str]) -> _Weights:
    shapes: dict[str, tuple[int, ...]] = {}
    for name in files:
        file = folder / name
        if not file.is_file():
            raise missing(folder, name)
        with reading(file):
            if not file.stat().st_size:
                raise EOFError
            header = read_safetensors(file) if file.suffix == ".safetensors" else _read_bin(file)
        shapes |= header.tensors
    return _Weights(names | frozenset(shapes), shapes, sum((folder / name).stat().st_size for name in files))


def _read_bin(file: Path) -> Header:
    try:
        return read_torch(file)
    except ValueError as error:  # a Git LFS pointer, or a web page saved under this name
        raise EOFError from error


# --- configs -----------------------------------------------------------------------------------


def _found(family: str, kind: Any, format: Format, shape: Shape, context_length: int) -> Checkpoint:
    return Checkpoint("", family, kind, format, shape=shape, context_length=context_length)


def _chatglm(path: Path, config: Config, weights: _Weights) -> Checkpoint:
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
    length = config["seq_length"] if newer else config["max_sequence_length"]
    found = _found(
        "chatglm",
        "completion" if base else "chat",
        "chatglm-packed" if packed else "chatglm",
        shape,
        length,
    )
    return replace(found, options=CHECKPOINTS["chatglm3-6b" if newer else "chatglm-6b"].options)


def _qwen(path: Path, config: Config, weights: _Weights) -> Checkpoint:
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
    format: Format = "qwen-vl-gptq" if "quantization_config" in config else "qwen-vl"
    family = "qwen_vl" if sees else text_family("qwen")
    kind = "vision" if sees else "chat"
    found = _found(family, kind, format, shape, config["max_position_embeddings"])
    return replace(found, options=CHECKPOINTS["qwen-vl-chat" if sees else "qwen-7b-chat"].options)


def _whisper(path: Path, config: Config, weights: _Weights) -> Checkpoint:
    shape = whisper_shape(config["decoder_layers"], config["d_model"], config["vocab_size"])
    return _found("whisper", "speech", "whisper-hf", shape, 0)


def _decoder(path: Path, config: Config, weights: _Weights) -> Checkpoint:
    """Any decoder that transformers has: LLaMA, Gemma, Mistral, Qwen2, GLM-4, …"""
    names = [file.name for file in path.iterdir()]
    if not matching(names, TOKENIZERS):
        raise missing(path, "tokenizer.json")
    method = (config.get("quantization_config") or {}).get("quant_method", "gptq")
    if method != "gptq":
        raise unsupported(path, f"weights quantised with {method}")
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
    template = "chat_template.jinja" in names or "chat_template.json" in names
    if not template and "tokenizer_config.json" in names:
        with reading(path / "tokenizer_config.json"):
            template = "chat_template" in json.loads((path / "tokenizer_config.json").read_bytes())
    return _found(
        text_family(config["model_type"]),
        "chat" if template else "completion",
        "gptq" if config.get("quantization_config") else "transformers",
        shape,
        text.get("max_position_embeddings", 0),
    )


def _window(text: Config, layers: int) -> tuple[int | None, int | None]:
    """Length of the sliding window, and how many layers have none."""
    window = text.get("sliding_window")
    if not window or text.get("use_sliding_window") is False:
        return None, None
    if kinds := text.get("layer_types"):
        return window, list(kinds).count("full_attention")
    every = text.get("sliding_window_pattern") or GLOBAL_EVERY.get(text["model_type"])
    return window, layers // every if every else 0


_CONFIGS: Mapping[str, Callable[[Path, Config, _Weights], Checkpoint]] = {
    "chatglm": _chatglm,
    "qwen": _qwen,
    "whisper": _whisper,
    "gemma3": _decoder,
}
