"""Small random ChatGLM checkpoints in the original file formats, and what they have to compute.

The computations are written again here, as plainly as can be, so that the tests compare two things.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

GLM3 = {
    "_name_or_path": "THUDM/chatglm3-6b",
    "model_type": "chatglm",
    "auto_map": {"AutoConfig": "configuration_chatglm.ChatGLMConfig", "AutoModelForCausalLM": "m.M"},
    "num_layers": 2,
    "hidden_size": 48,
    "ffn_hidden_size": 80,
    "num_attention_heads": 6,
    "kv_channels": 12,
    "multi_query_attention": True,
    "multi_query_group_num": 3,
    "padded_vocab_size": 160,
    "layernorm_epsilon": 1e-5,
    "add_qkv_bias": True,
    "add_bias_linear": False,
    "rmsnorm": True,
    "seq_length": 128,
    "torch_dtype": "float32",
    "eos_token_id": 2,
    "pad_token_id": 0,
}
GLM1 = {
    "_name_or_path": "THUDM/chatglm-6b",
    "model_type": "chatglm",
    "auto_map": {"AutoConfig": "configuration_chatglm.ChatGLMConfig"},
    "num_layers": 3,
    "hidden_size": 48,
    "inner_hidden_size": 96,
    "num_attention_heads": 3,
    "layernorm_epsilon": 1e-5,
    "max_sequence_length": 128,
    "position_encoding_2d": True,
    "vocab_size": 170,
    "bos_token_id": 164,
    "eos_token_id": 165,
    "pad_token_id": 3,
    "torch_dtype": "float32",
}
MASK, GMASK, SOP, PAD = 160, 161, 164, 3

Tensors = dict[str, Tensor]


def glm3_tensors(config: Mapping[str, Any], seed: int = 0) -> Tensors:
    """Random weights under the names of ChatGLM3's files."""
    draw = _drawer(seed)
    hidden, inner, vocab = config["hidden_size"], config["ffn_hidden_size"], config["padded_vocab_size"]
    groups = (
        config["multi_query_group_num"] if config["multi_query_attention"] else config["num_attention_heads"]
    )
    rows = (config["num_attention_heads"] + 2 * groups) * config["kv_channels"]
    made = {"transformer.embedding.word_embeddings.weight": draw(vocab, hidden)}
    for n in range(config["num_layers"]):
        layer = f"transformer.encoder.layers.{n}"
        made[f"{layer}.input_layernorm.weight"] = 1 + draw(hidden)
        made[f"{layer}.post_attention_layernorm.weight"] = 1 + draw(hidden)
        made[f"{layer}.self_attention.query_key_value.weight"] = draw(rows, hidden)
        if config["add_qkv_bias"]:
            made[f"{layer}.self_attention.query_key_value.bias"] = draw(rows)
        made[f"{layer}.self_attention.dense.weight"] = draw(
            hidden, config["num_attention_heads"] * config["kv_channels"]
        )
        made[f"{layer}.mlp.dense_h_to_4h.weight"] = draw(2 * inner, hidden)
        made[f"{layer}.mlp.dense_4h_to_h.weight"] = draw(hidden, inner)
    made["transformer.encoder.final_layernorm.weight"] = 1 + draw(hidden)
    made["transformer.output_layer.weight"] = draw(vocab, hidden)
    made["transformer.rotary_pos_emb.inv_freq"] = draw(config["kv_channels"] // 4)
    return made


def glm1_tensors(config: Mapping[str, Any], seed: int = 0) -> Tensors:
    """Random weights under the names of ChatGLM-6B's files."""
    draw = _drawer(seed)
    hidden, inner, vocab = config["hidden_size"], config["inner_hidden_size"], config["vocab_size"]
    made = {"transformer.word_embeddings.weight": draw(vocab, hidden), "lm_head.weight": draw(vocab, hidden)}
    for n in range(config["num_layers"]):
        layer = f"transformer.layers.{n}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            made |= {f"{layer}.{norm}.weight": 1 + draw(hidden), f"{layer}.{norm}.bias": draw(hidden)}
        for name, rows, columns in (
            ("attention.query_key_value", 3 * hidden, hidden),
            ("attention.dense", hidden, hidden),
            ("mlp.dense_h_to_4h", inner, hidden),
            ("mlp.dense_4h_to_h", hidden, inner),
        ):
            made |= {f"{layer}.{name}.weight": draw(rows, columns), f"{layer}.{name}.bias": draw(rows)}
        made[f"{layer}.attention.rotary_emb.inv_freq"] = draw(4).half()
    made |= {
        "transformer.final_layernorm.weight": 1 + draw(hidden),
        "transformer.final_layernorm.bias": draw(hidden),
    }
    return made


def saying(tensors: Tensors, token: int) -> Tensors:
    """The same names, with weights that answer everything by one token, again and again."""
    made = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    for name, tensor in made.items():
        if "embedding" in name or "final_layernorm" in name:
            tensor.fill_(1.0)  # what the last layer sees is the same for every text
        elif name in ("transformer.output_layer.weight", "lm_head.weight"):
            tensor[token] = 1.0
    return made


def _drawer(seed: int) -> Any:
    random = torch.Generator().manual_seed(seed)
    return lambda *shape: 0.15 * torch.randn(*shape, generator=random)


def write(
    folder: Path, config: Mapping[str, Any], tensors: Tensors, shards: int = 1, suffix: str = "bin"
) -> Path:
    """A checkpoint folder with config.json and one or more weight files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    stem = "pytorch_model" if suffix == "bin" else "model"
    names = list(tensors)
    files = [f"{stem}-{n + 1:05d}-of-{shards:05d}.{suffix}" for n in range(shards)]
    files = files if shards > 1 else [f"{stem}.{suffix}"]
    index = {name: files[at * shards // len(names)] for at, name in enumerate(names)}
    for file in files:
        part = {name: tensors[name].contiguous() for name in names if index[name] == file}
        torch.save(part, folder / file) if suffix == "bin" else save_file(
            part, folder / file, {"format": "pt"}
        )
    if shards > 1:
        listing = {"metadata": {"total_size": 0}, "weight_map": index}
        (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps(listing))
    return folder


def pack(tensors: Tensors, bits: int, embeddings: bool = False) -> tuple[Tensors, Tensors]:
    """Tensors as the makers' own quantised files have them, and the weights that these stand for."""
    packed, whole = dict(tensors), dict(tensors)
    for name, weight in tensors.items():
        linear = ("dense" in name or "query_key_value" in name) and name.endswith("weight")
        head = name in ("transformer.word_embeddings.weight", "lm_head.weight")
        if not linear and not (embeddings and head):
            continue
        if name == "lm_head.weight":
            weight = tensors["transformer.word_embeddings.weight"]
        scale = weight.abs().amax(1) / (7 if bits == 4 else 127)
        numbers = (weight / scale[:, None]).round().to(torch.int8)
        whole[name] = numbers * scale[:, None]
        packed[f"{name}_scale"] = scale
        packed[name] = (numbers[:, ::2] << 4) | (numbers[:, 1::2] & 15) if bits == 4 else numbers
    return packed, whole


def glm3_logits(config: Mapping[str, Any], tensors: Tensors, ids: Tensor) -> Tensor:
    """ChatGLM3 on one row of ids, (length,), without padding."""
    heads, size, hidden = config["num_attention_heads"], config["kv_channels"], config["hidden_size"]
    groups = config["multi_query_group_num"] if config["multi_query_attention"] else heads
    half = size // 2
    base = 10000.0 * config.get("rope_ratio", 1)
    angles = torch.arange(len(ids))[:, None] / base ** (torch.arange(0, half, 2) / half)
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]

    def turn(states: Tensor) -> Tensor:
        even, odd, rest = states[..., :half:2], states[..., 1:half:2], states[..., half:]
        return torch.cat(
            [torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1).flatten(-2), rest], -1
        )

    def norm(x: Tensor, name: str) -> Tensor:
        return F.rms_norm(x, (hidden,), tensors[name], config["layernorm_epsilon"])

    x = tensors["transformer.embedding.word_embeddings.weight"][ids]
    for n in range(config["num_layers"]):
        layer = f"transformer.encoder.layers.{n}"
        fused = norm(x, f"{layer}.input_layernorm.weight")
        fused = F.linear(
            fused,
            tensors[f"{layer}.self_attention.query_key_value.weight"],
            tensors.get(f"{layer}.self_attention.query_key_value.bias"),
        ).unflatten(-1, (-1, size))
        query, key, value = fused.split([heads, groups, groups], 1)
        query, key = turn(query), turn(key).repeat_interleave(heads // groups, 1)
        value = value.repeat_interleave(heads // groups, 1)
        scores = torch.einsum("qhd,khd->hqk", query, key) / math.sqrt(size)
        scores += torch.full(scores.shape[1:], -torch.inf).triu(1)
        mixed = torch.einsum("hqk,khd->qhd", scores.softmax(-1), value).flatten(1)
        x = x + mixed @ tensors[f"{layer}.self_attention.dense.weight"].T
        gate, up = (
            norm(x, f"{layer}.post_attention_layernorm.weight")
            @ tensors[f"{layer}.mlp.dense_h_to_4h.weight"].T
        ).chunk(2, -1)
        x = x + (F.silu(gate) * up) @ tensors[f"{layer}.mlp.dense_4h_to_h.weight"].T
    head = tensors.get(
        "transformer.output_layer.weight", tensors["transformer.embedding.word_embeddings.weight"]
    )
    return norm(x, "transformer.encoder.final_layernorm.weight") @ head.T


def glm1_logits(config: Mapping[str, Any], tensors: Tensors, ids: Tensor) -> Tensor:
    """ChatGLM-6B on one row of ids, (length,), without padding."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    size, length = hidden // heads, len(ids)
    listed = ids.tolist()
    context = listed.index(config["bos_token_id"])
    mask = listed.index(GMASK) if GMASK in listed else listed.index(MASK)
    place = [*range(context), *[mask] * (length - context)]
    block = [0] * context + [*range(1, length - context + 1)]
    frequencies = (1 / 10000 ** (torch.arange(0, size // 2, 2) / (size // 2))).half().float()

    def turn(states: Tensor) -> Tensor:
        turned = []
        for half, positions in zip(states.chunk(2, -1), (place, block), strict=True):
            angles = torch.tensor(positions)[:, None, None] * frequencies
            low, high = half.chunk(2, -1)
            turned += [low * angles.cos() - high * angles.sin(), high * angles.cos() + low * angles.sin()]
        return torch.cat(turned, -1)

    def apply(kind: Any, x: Tensor, name: str) -> Tensor:
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        return kind(x, weight, bias) if kind is F.linear else F.layer_norm(x, (hidden,), weight, bias, 1e-5)

    blocked = torch.ones(length, length, dtype=torch.bool).triu(1)
    blocked[:, :context] = False
    alpha = math.sqrt(2 * 28)
    x = tensors["transformer.word_embeddings.weight"][ids]
    for n in range(config["num_layers"]):
        layer = f"transformer.layers.{n}"
        x = apply(None, x, f"{layer}.input_layernorm")
        fused = apply(F.linear, x, f"{layer}.attention.query_key_value").view(length, heads, 3 * size)
        query, key, value = fused.chunk(3, -1)
        scores = torch.einsum("qhd,khd->hqk", turn(query), turn(key)) / math.sqrt(size)
        weights = scores.masked_fill(blocked, -10000.0).softmax(-1)
        mixed = torch.einsum("hqk,khd->qhd", weights, value).flatten(1)
        x = x * alpha + apply(F.linear, mixed, f"{layer}.attention.dense")
        x = apply(None, x, f"{layer}.post_attention_layernorm")
        inner = F.gelu(apply(F.linear, x, f"{layer}.mlp.dense_h_to_4h"), approximate="tanh")
        x = x * alpha + apply(F.linear, inner, f"{layer}.mlp.dense_4h_to_h")
    head = tensors.get("lm_head.weight", tensors["transformer.word_embeddings.weight"])
    return apply(None, x, "transformer.final_layernorm") @ head.T
