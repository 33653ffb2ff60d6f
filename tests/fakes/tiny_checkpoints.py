"""Checkpoints of a few kilobytes, written by the packages whose formats they are where there is one."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter


def write_gguf(
    path: Path,
    architecture: str = "llama",
    template: str | None = "{{ x }}",
    length: int = 512,
    **facts: int,
) -> Path:
    """A whole GGUF file of two layers, written by the format's own package."""
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(2)
    writer.add_context_length(length)
    writer.add_embedding_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_token_list([f"t{n}" for n in range(96)])
    if template:
        writer.add_chat_template(template)
    for key, value in facts.items():
        writer.add_uint32(f"{architecture}.{key.replace('__', '.')}", value)
    writer.add_tensor("token_embd.weight", np.zeros((96, 64), np.float32))
    writer.add_tensor("blk.0.attn_q.weight", np.zeros((64, 64), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_safetensors(path: Path, shapes: dict[str, tuple[int, ...]], dtype: str = "F16") -> Path:
    entries, at = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape)) * (4 if dtype == "I32" else 2)
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    header = json.dumps(entries).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(at))
    return path


def write_torch(path: Path, tensors: dict[str, Any]) -> Path:
    import torch

    torch.save(tensors, path)
    return path


LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": 64,
    "vocab_size": 96,
    "max_position_embeddings": 512,
    "torch_dtype": "float16",
}


QWEN_VL: dict[str, Any] = {
    "model_type": "qwen",
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "kv_channels": 32,
    "hidden_size": 64,
    "vocab_size": 96,
    "max_position_embeddings": 512,
    "visual": {},
}


def write_folder(path: Path, config: dict[str, Any] = LLAMA, template: bool = True) -> Path:
    """A Hugging Face folder with one safetensors file and a tokenizer."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_text("{}")
    (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ x }}"} if template else {}))
    write_safetensors(
        path / "model.safetensors", {"model.embed_tokens.weight": (96, 64), "lm_head.weight": (96, 64)}
    )
    return path


def write_ctranslate2(path: Path, spec: str = "WhisperSpec") -> Path:
    path.mkdir()
    (path / "config.json").write_text('{"alignment_heads": [], "lang_ids": []}')
    (path / "vocabulary.json").write_text("[]")
    (path / "tokenizer.json").write_text("{}")

    def text(value: str) -> bytes:
        return (len(value) + 1).to_bytes(2, "little") + value.encode() + b"\0"

    def variable(name: str, *shape: int) -> bytes:
        size = int(np.prod(shape)) * 2
        dims = b"".join(n.to_bytes(4, "little") for n in shape)
        return text(name) + bytes([len(shape)]) + dims + b"\4" + size.to_bytes(4, "little") + bytes(size)

    variables = [
        variable("decoder/embeddings/weight", 100, 128),
        variable("decoder/layer_0/ffn/weight", 8, 8),
        variable("decoder/layer_1/ffn/weight", 8, 8),
        variable("decoder/layer_norm/beta", 8),
        variable("encoder/position_encodings/encodings", 50, 128),
    ]
    head = (6).to_bytes(4, "little") + text(spec) + (3).to_bytes(4, "little")
    (path / "model.bin").write_bytes(head + len(variables).to_bytes(4, "little") + b"".join(variables))
    return path


def cut(path: Path, by: int) -> Path:
    os.truncate(path, path.stat().st_size - by)
    return path


def whisper_dims() -> dict[str, int]:
    return {
        "n_mels": 80,
        "n_vocab": 300,
        "n_audio_layer": 1,
        "n_text_ctx": 16,
        "n_text_state": 64,
        "n_text_layer": 3,
    }
