"""What a file or folder is: a `Checkpoint` made from what its files say, and from nothing else."""

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from struct import error as StructError
from typing import Any

from models.errors import CheckpointCorrupt, CheckpointNotFound, UnsupportedCheckpoint
from models.files import TOKENIZERS, matching
from models.headers import Header, read_ctranslate2, read_gguf, read_safetensors, read_torch
from models.schema import Checkpoint, Format, Shape

Config = Mapping[str, Any]

# Every how many layers one attends to everything, where neither config nor header says so.
_GLOBAL_EVERY = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6}
_INDEXED = (
    ("model.safetensors.index.json", "model.safetensors"),
    ("pytorch_model.bin.index.json", "pytorch_model.bin"),
)


def describe(path: Path, base: Checkpoint | None = None) -> Checkpoint:
    """Read what a checkpoint is from its files, without loading or unpickling any of them.

    Args:
        path: a folder, a .gguf file, or an OpenAI Whisper .pt file.
        base: the catalog entry whose files these are; its name, licence, options, … are kept.

    Raises:
        CheckpointNotFound: nothing is there, or it may not be read.
        CheckpointCorrupt: a file is missing, empty, or shorter than its own header says.
        UnsupportedCheckpoint: whole files that no engine reads.
    """
    path = path.expanduser().absolute()
    if not path.exists():
        raise CheckpointNotFound(
            f"There is nothing at {path}: check the path, or type a name from the list.",
            f"{path} 不存在：请检查路径，或输入列表中的名称。",
        )
    found = _folder(path) if path.is_dir() else _file(path)
    if base is None:
        return found
    if base.format == "unknown":
        return replace(found, name=base.name, title=base.title, hub_id=base.hub_id)
    return replace(
        base,
        path=found.path,
        format=found.format,
        bytes=found.bytes,
        shape=found.shape,
        parameters=base.parameters or found.parameters,
        context_length=found.context_length or base.context_length,
    )


def family_of(text: str) -> str:
    """The family that a model type or a repository's name speaks of, or "other"."""
    text = text.lower().replace("_", "-")
    known = {"chatglm": "chatglm", "qwen-vl": "qwen_vl", "gemma": "gemma", "whisper": "whisper"}
    known |= dict.fromkeys(("llama", "smollm", "qwen", "mistral"), "llama2")
    return next((family for word, family in known.items() if word in text), "other")


def _text_family(model_type: str) -> str:
    # Any text model that brings its own template is at home on the LLaMA page.
    family = family_of(model_type)
    return "llama2" if family == "other" else family


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say in one sentence what is wrong with the file at `path`."""
    try:
        yield
    except (EOFError, zipfile.BadZipFile, json.JSONDecodeError, StructError, KeyError) as error:
        raise CheckpointCorrupt(
            f"{path.name} is incomplete or damaged, perhaps half a download: delete {path} and fetch it again.",
            f"{path.name} 不完整或已损坏，可能只下载了一部分：请删除 {path} 后重新下载。",
        ) from error
    except ValueError as error:
        raise _unreadable(path) from error
    except PermissionError as error:
        raise CheckpointNotFound(
            f"{path} may not be read: change its permissions or choose another checkpoint.",
            f"没有读取 {path} 的权限：请修改权限或选择其他模型。",
        ) from error


def _unreadable(path: Path) -> UnsupportedCheckpoint:
    return UnsupportedCheckpoint(
        f"{path.name} is neither a GGUF file nor a Whisper .pt file, whatever it is called: choose such a "
        "file, or the folder that holds config.json and the weights.",
        f"{path.name} 的内容既不是 GGUF 也不是 Whisper 的 .pt：请选择这样的文件，或含有 config.json 与权重的文件夹。",
    )


def _missing(folder: Path, name: str) -> CheckpointCorrupt:
    return CheckpointCorrupt(
        f"{folder} lacks {name}, perhaps half a download: fetch the checkpoint again.",
        f"{folder} 中缺少 {name}，可能只下载了一部分：请重新下载该模型。",
    )


def _json(path: Path) -> Config:
    with _reading(path):
        value = json.loads(path.read_bytes())
        if not isinstance(value, dict):
            raise EOFError
        return value


# --- single files ------------------------------------------------------------------------------


def _file(path: Path) -> Checkpoint:
    with _reading(path), path.open("rb") as file:
        magic = file.read(4)
        if not magic:
            raise EOFError
        if magic == b"GGUF":
            return _gguf(path, read_gguf(path))
        if magic == b"PK\x03\x04":
            return _whisper_pt(path, read_torch(path).facts)
        raise _unreadable(path)


def _gguf(path: Path, header: Header) -> Checkpoint:
    """Keys: github.com/ggml-org/ggml, docs/gguf.md, "LLM"."""
    architecture = header.facts["general.architecture"]
    embedding = header.tensors.get("token_embd.weight")

    def fact(key: str, default: Any = None) -> Any:
        return header.facts.get(f"{architecture}.{key}", default)

    if embedding is None or fact("attention.causal") is False or header.facts.get("split.count", 0) > 1:
        raise UnsupportedCheckpoint(
            f"{path.name} is not a whole text model ({architecture}): choose a GGUF file of one, "
            "joined with llama-gguf-split --merge if it comes in parts.",
            f"{path.name} 不是完整的文本模型（{architecture}）：请选择文本模型的 GGUF 文件；"
            "若分为多个文件，请先用 llama-gguf-split --merge 合并。",
        )
    layers, hidden = fact("block_count"), fact("embedding_length")
    heads = _average(fact("attention.head_count"))
    every = _GLOBAL_EVERY.get(architecture)
    return Checkpoint(
        name=str(path),
        title=path.stem,
        family=_text_family(architecture),
        kind="chat" if "tokenizer.chat_template" in header.facts else "completion",
        format="gguf",
        parameters=sum(prod(shape) for shape in header.tensors.values()),
        bytes=path.stat().st_size,
        shape=Shape(
            layers=layers,
            kv_heads=_average(fact("attention.head_count_kv", heads)),
            head_dim=fact("attention.key_length", hidden // heads),
            hidden=hidden,
            vocab=embedding[-1],
            tied="output.weight" not in header.tensors,
            window=fact("attention.sliding_window") if every else None,
            global_layers=layers // every if every else None,
        ),
        context_length=fact("context_length", 0),
        path=str(path),
    )


def _average(heads: int | tuple[int, ...]) -> int:
    """Heads per layer; some architectures list them layer by layer."""
    return heads if isinstance(heads, int) else -(-sum(heads) // len(heads))


def _whisper_pt(path: Path, dims: Mapping[str, int]) -> Checkpoint:
    """Keys: github.com/openai/whisper, ModelDimensions."""
    if not {"n_mels", "n_vocab", "n_audio_layer", "n_text_layer", "n_text_state"} <= set(dims):
        raise _unreadable(path)
    return Checkpoint(
        name=str(path),
        title=path.stem,
        family="whisper",
        kind="speech",
        format="whisper-pt",
        parameters=whisper_parameters(dims),
        bytes=path.stat().st_size,
        shape=_whisper_shape(dims["n_text_layer"], dims["n_text_state"], dims["n_vocab"]),
        path=str(path),
    )


def whisper_parameters(dims: Mapping[str, int]) -> int:
    """Parameters of a Whisper of these ModelDimensions; the encoder's sinusoids are none."""
    width = dims["n_text_state"]
    attention = 4 * width**2 + 3 * width  # the key projection has no bias
    mlp = 8 * width**2 + 5 * width
    norm = 2 * width
    convolutions = 3 * width * (dims["n_mels"] + width) + 2 * width
    encoder = convolutions + dims["n_audio_layer"] * (attention + mlp + 2 * norm) + norm
    embeddings = (dims["n_vocab"] + dims["n_text_ctx"]) * width
    return encoder + embeddings + dims["n_text_layer"] * (2 * attention + mlp + 3 * norm) + norm


def _whisper_shape(layers: int, hidden: int, vocab: int) -> Shape:
    return Shape(layers, kv_heads=hidden // 64, head_dim=64, hidden=hidden, vocab=vocab, tied=True)


# --- folders -----------------------------------------------------------------------------------


def _folder(path: Path) -> Checkpoint:
    for partial in sorted(path.glob("*.incomplete")):
        raise _missing(path, partial.stem)
    if (path / "config.json").is_file():
        config = _json(path / "config.json")
        if "model_type" not in config and ("alignment_heads" in config or (path / "model.bin").exists()):
            return _ctranslate2(path)
        return _configured(path, config)
    files = sorted(file for file in path.iterdir() if file.suffix in (".gguf", ".pt"))
    if len(files) == 1:
        return _file(files[0])
    raise UnsupportedCheckpoint(
        f"{path} holds no config.json and {len(files)} .gguf or .pt files: choose a folder with a config, "
        "or one such file.",
        f"{path} 中没有 config.json，且有 {len(files)} 个 .gguf 或 .pt 文件：请选择含 config.json 的文件夹，或其中一个文件。",
    )


def _ctranslate2(path: Path) -> Checkpoint:
    for pattern in ("model.bin", "vocabulary.*", "tokenizer.json"):
        if not any(path.glob(pattern)):
            raise _missing(path, pattern)
    weights = path / "model.bin"
    with _reading(weights):
        header = read_ctranslate2(weights)
        if header.facts["spec"] != "WhisperSpec":
            raise _unsupported(path, header.facts["spec"])
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
        shape=_whisper_shape(len(layers - {"layer_norm"}), hidden, vocab),
        path=str(path),
    )


def _unsupported(path: Path, what: str) -> UnsupportedCheckpoint:
    return UnsupportedCheckpoint(
        f"{path.name} holds {what}, which no engine here reads: choose a LLaMA, Gemma, ChatGLM, Qwen-VL or "
        "Whisper checkpoint, or a GGUF file.",
        f"{path.name} 是 {what}，目前没有引擎能读取：请选择 LLaMA、Gemma、ChatGLM、Qwen-VL 或 Whisper 模型，或 GGUF 文件。",
    )


def _configured(path: Path, config: Config) -> Checkpoint:
    """A folder with a Hugging Face config: the config says what it is, the weights whether it is whole."""
    model_type = str(config.get("model_type", "a model without model_type"))
    reader = _CONFIGS.get(model_type)
    if reader is None:
        if not any("ForCausalLM" in str(name) for name in config.get("architectures") or ()):
            raise _unsupported(path, model_type)
        reader = _decoder
    weights = _weights(path)
    seen = reader(path, config, weights)
    bits = int((config.get("quantization_config") or {}).get("bits") or config.get("quantization_bit") or 16)
    return replace(
        seen,
        name=str(path),
        title=path.name,
        path=str(path),
        bytes=weights.bytes,
        parameters=weights.parameters(config, bits, seen.shape),
    )


@dataclass(frozen=True)
class _Weights:
    """The weight files of a folder, all there and whole."""

    names: frozenset[str]
    shapes: Mapping[str, tuple[int, ...]]  # known for safetensors only
    bytes: int

    @property
    def tied(self) -> bool:
        heads = ("lm_head.weight", "output_layer.weight")
        return bool(self.names) and not any(name.endswith(heads) for name in self.names)

    def parameters(self, config: Config, bits: int, shape: Shape | None) -> int:
        """Exact for safetensors; for .bin files, from their size."""
        if self.shapes:
            return sum(self._elements(name, bits) for name in self.shapes)
        width = 4 if config.get("torch_dtype", config.get("dtype")) == "float32" else 2
        if bits == 16 or shape is None:
            return self.bytes // width
        # ChatGLM's own packing leaves the embedding, and the head if it has one, as they were.
        plain = min(shape.vocab * shape.hidden * (1 if shape.tied else 2), self.bytes // width)
        return plain + (self.bytes - plain * width) * 8 // bits

    def _elements(self, name: str, bits: int) -> int:
        if name.endswith((".qzeros", ".scales", ".g_idx", "_scale", "inv_freq")):
            return 0
        packing = (
            32 // bits if name.endswith(".qweight") else 8 // bits if f"{name}_scale" in self.names else 1
        )
        return prod(self.shapes[name]) * packing


def _weights(folder: Path) -> _Weights:
    """Find the weights as transformers would, and check every file against its own header."""
    for index, single in _INDEXED:
        if (folder / single).is_file():
            return _check(folder, [single], frozenset())
        if (folder / index).is_file():
            weight_map = _json(folder / index).get("weight_map", {})
            return _check(folder, sorted(set(weight_map.values())), frozenset(weight_map))
    raise _missing(folder, "model.safetensors")


def _check(folder: Path, files: list[str], names: frozenset[str]) -> _Weights:
    shapes: dict[str, tuple[int, ...]] = {}
    for name in files:
        file = folder / name
        if not file.is_file():
            raise _missing(folder, name)
        with _reading(file):
            if not file.stat().st_size:
                raise EOFError
            safe = file.suffix == ".safetensors"
            header = read_safetensors(file) if safe else _read_bin(file)
        names = names | frozenset(header.tensors)
        shapes |= header.tensors if safe else {}
    return _Weights(names, shapes, sum((folder / name).stat().st_size for name in files))


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
    return _found(
        "chatglm",
        "completion" if base else "chat",
        "chatglm-packed" if packed else "chatglm",
        shape,
        length,
    )


def _qwen(path: Path, config: Config, weights: _Weights) -> Checkpoint:
    if "visual" not in config:
        raise _unsupported(path, "the first Qwen without vision")
    heads = config["num_attention_heads"]
    shape = Shape(
        layers=config["num_hidden_layers"],
        kv_heads=heads,
        head_dim=config["kv_channels"],
        hidden=config["hidden_size"],
        vocab=config["vocab_size"],
        tied=weights.tied,
    )
    format: Format = "qwen-vl-gptq" if "quantization_config" in config else "qwen-vl"
    return _found("qwen_vl", "vision", format, shape, config["max_position_embeddings"])


def _whisper(path: Path, config: Config, weights: _Weights) -> Checkpoint:
    shape = _whisper_shape(config["decoder_layers"], config["d_model"], config["vocab_size"])
    return _found("whisper", "speech", "whisper-hf", shape, 0)


def _decoder(path: Path, config: Config, weights: _Weights) -> Checkpoint:
    """Any decoder that transformers has: LLaMA, Gemma, Mistral, Qwen2, GLM-4, …"""
    names = [file.name for file in path.iterdir()]
    if not matching(names, TOKENIZERS):
        raise _missing(path, "tokenizer.json")
    method = (config.get("quantization_config") or {}).get("quant_method", "gptq")
    if method != "gptq":
        raise _unsupported(path, f"weights quantised with {method}")
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
        template = "chat_template" in _json(path / "tokenizer_config.json")
    return _found(
        _text_family(config["model_type"]),
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
    every = text.get("sliding_window_pattern") or _GLOBAL_EVERY.get(text["model_type"])
    return window, layers // every if every else 0


_CONFIGS: Mapping[str, Callable[[Path, Config, _Weights], Checkpoint]] = {
    "chatglm": _chatglm,
    "qwen": _qwen,
    "whisper": _whisper,
    "gemma3": _decoder,
}
