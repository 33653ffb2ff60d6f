"""GGUF files, as llama.cpp reads them. Keys: github.com/ggml-org/ggml, docs/gguf.md, "LLM"."""

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from models.catalog.families import GLOBAL_EVERY, text_family
from models.catalog.files import Files, missing, parts
from models.catalog.headers import read_gguf, reading
from models.errors import UnsupportedCheckpoint
from models.schema import Checkpoint, Shape, Text


def read(files: Files) -> Checkpoint | None:
    """Describe a GGUF file, or the parts of a model of which it is one."""
    if files.magic != b"GGUF":
        return None
    all_parts = parts(files.path)
    path = all_parts[0]
    tensors: dict[str, tuple[int, ...]] = {}
    for part in reversed(all_parts):
        if not part.is_file():
            raise missing(part.parent, part.name)
        with reading(part):
            header = read_gguf(part)
        tensors |= header.tensors
    facts = header.facts  # of the first part: the others have none
    if what := _companion(facts):
        raise UnsupportedCheckpoint(
            f"{path.name} is not a text model but {what.en}: choose the GGUF file of the model that it belongs to.",
            f"{path.name} 不是文本模型，而是{what.zh}：请选择它所属模型的 GGUF 文件。",
        )
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
        bytes=sum(part.stat().st_size for part in all_parts),
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


def is_companion(path: Path) -> bool:
    """Whether a file is a GGUF that belongs to a model and is none. One that cannot be read may be a model."""
    try:
        return _companion(read_gguf(path).facts) is not None
    except Exception:  # it is said when the file is chosen, in the words for what is wrong with it
        return False


def _companion(facts: Mapping[str, Any]) -> Text | None:
    """What a GGUF file is that is no model: github.com/ggml-org/llama.cpp, gguf-py, `GGUFType`."""
    kind = facts.get("general.type")
    if kind == "mmproj" or facts.get("general.architecture") == "clip":
        return Text("the projector for pictures (mmproj, clip) of one", "图像投影器（mmproj，clip）")
    if kind == "imatrix" or any(key.startswith("imatrix.") for key in facts):
        return Text("the importance matrix (imatrix) of one", "重要性矩阵（imatrix）")
    if kind == "adapter" or "adapter.type" in facts:
        return Text("an adapter (LoRA) of one", "适配器（LoRA）")
    return None


def _average(heads: int | tuple[int, ...]) -> int:
    """Heads per layer; some architectures list them layer by layer."""
    return heads if isinstance(heads, int) else -(-sum(heads) // len(heads))
