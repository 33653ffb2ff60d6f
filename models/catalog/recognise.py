"""What a file or folder is: a `Checkpoint` made from what its files say, and from nothing else."""

import re
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from models.catalog.folders import GLOBAL_EVERY, missing, read_folder, text_family, whisper_shape
from models.catalog.headers import read_gguf, read_torch, reading, unreadable
from models.errors import CheckpointNotFound, UnsupportedCheckpoint
from models.schema import Checkpoint, Shape

_PART = re.compile(r"(.+)-\d{5}-of-(\d{5})\.gguf")


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
    path = absolute(path)
    with reading(path):
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


def absolute(path: Path) -> Path:
    """`path` from the root, with ~ replaced where there is such a user. Links are kept."""
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        return path.absolute()


def _file(path: Path) -> Checkpoint:
    with reading(path), path.open("rb") as file:
        magic = file.read(4)
        if not magic:
            raise EOFError
        if magic == b"GGUF":
            return _gguf(_gguf_parts(path))
        if magic == b"PK\x03\x04":
            return _whisper_pt(path, read_torch(path).facts)
        raise unreadable(path)


def _gguf_parts(path: Path) -> list[Path]:
    """`path`, or all files of a model that llama-gguf-split cut, the first one first."""
    numbered = _PART.fullmatch(path.name)
    if not numbered:
        return [path]
    stem, total = numbered.groups()
    return [path.with_name(f"{stem}-{n:05}-of-{total}.gguf") for n in range(1, int(total) + 1)]


def _gguf(parts: list[Path]) -> Checkpoint:
    """Keys: github.com/ggml-org/ggml, docs/gguf.md, "LLM"."""
    path = parts[0]
    tensors: dict[str, tuple[int, ...]] = {}
    for part in reversed(parts):
        if not part.is_file():
            raise missing(part.parent, part.name)
        with reading(part):
            header = read_gguf(part)
        tensors |= header.tensors
    facts = header.facts  # of the first part: the others have none
    architecture = facts["general.architecture"]
    embedding = tensors.get("token_embd.weight")

    def fact(key: str, default: Any = None) -> Any:
        return facts.get(f"{architecture}.{key}", default)

    if embedding is None or fact("attention.causal") is False:
        raise UnsupportedCheckpoint(
            f"{path.name} is not a text model but {architecture}: choose the GGUF file of a text model.",
            f"{path.name} 不是文本模型，而是 {architecture}：请选择文本模型的 GGUF 文件。",
        )
    layers, hidden = fact("block_count"), fact("embedding_length")
    heads = _average(fact("attention.head_count"))
    every = GLOBAL_EVERY.get(architecture)
    return Checkpoint(
        name=str(path),
        title=path.stem,
        family=text_family(architecture),
        kind="chat" if "tokenizer.chat_template" in facts else "completion",
        format="gguf",
        parameters=sum(prod(shape) for shape in tensors.values()),
        bytes=sum(part.stat().st_size for part in parts),
        shape=Shape(
            layers=layers,
            kv_heads=_average(fact("attention.head_count_kv", heads)),
            head_dim=fact("attention.key_length", hidden // heads),
            hidden=hidden,
            vocab=embedding[-1],
            tied="output.weight" not in tensors,
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
        raise unreadable(path)
    return Checkpoint(
        name=str(path),
        title=path.stem,
        family="whisper",
        kind="speech",
        format="whisper-pt",
        parameters=whisper_parameters(dims),
        bytes=path.stat().st_size,
        shape=whisper_shape(dims["n_text_layer"], dims["n_text_state"], dims["n_vocab"]),
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


def _folder(path: Path) -> Checkpoint:
    for partial in sorted(path.glob("*.incomplete")):
        raise missing(path, partial.stem)
    if (path / "config.json").is_file():
        return read_folder(path)
    files = sorted(file for file in path.iterdir() if file.suffix in (".gguf", ".pt"))
    models = {_gguf_parts(file)[0] for file in files}
    if len(models) == 1:
        return _file(models.pop())
    raise UnsupportedCheckpoint(
        f"{path} holds no config.json and {len(models)} .gguf or .pt models: choose a folder with a config, "
        "or one such file.",
        f"{path} 中没有 config.json，且有 {len(models)} 个 .gguf 或 .pt 文件：请选择含 config.json 的文件夹，或其中一个文件。",
    )
