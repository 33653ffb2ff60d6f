"""GGUF files, as llama.cpp reads them. Keys: github.com/ggml-org/ggml, docs/gguf.md, "LLM"."""

from math import prod
from typing import Any

from models.catalog.families import GLOBAL_EVERY, text_family
from models.catalog.files import Files, missing, parts
from models.catalog.headers import read_gguf, reading
from models.errors import UnsupportedCheckpoint
from models.schema import Checkpoint, Shape


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


def _average(heads: int | tuple[int, ...]) -> int:
    """Heads per layer; some architectures list them layer by layer."""
    return heads if isinstance(heads, int) else -(-sum(heads) // len(heads))
