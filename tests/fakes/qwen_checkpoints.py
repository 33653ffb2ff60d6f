"""Small random Qwen-VL checkpoints in the original file format, and what they have to compute.

The computations are written again here, as plainly as can be, so that the tests compare two things.
"""

import base64
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.fakes.glm_checkpoints import write as write_tensors

SPECIAL = 217  # tokens behind the ranks of qwen.tiktoken
WORDS = ("th", "the", " the", "in", "er", " c", "at", " cat", "你", "好", "你好", "图", "er the")
VISUAL = {
    "image_size": 24,
    "patch_size": 4,
    "width": 32,
    "layers": 2,
    "heads": 2,
    "mlp_ratio": 1.9,
    "output_dim": 128,
    "n_queries": 9,
}
CONFIG = {
    "model_type": "qwen",
    "architectures": ["QWenLMHeadModel"],
    "auto_map": {"AutoConfig": "configuration_qwen.QWenConfig"},
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "kv_channels": 32,
    "seq_length": 32,
    "max_position_embeddings": 512,
    "layer_norm_epsilon": 1e-6,
    "rotary_emb_base": 10000,
    "rotary_pct": 1.0,
    "no_bias": True,
    "use_dynamic_ntk": True,
    "use_logn_attn": True,
    "torch_dtype": "float32",
    "vocab_size": 500,
}
GPTQ = {"bits": 4, "group_size": 32, "desc_act": False, "sym": True, "quant_method": "gptq"}

Tensors = dict[str, Tensor]


def vocabulary() -> list[bytes]:
    """Tokens by rank: all bytes, then what they make."""
    made = [bytes([byte]) for byte in range(256)]
    for word in WORDS:
        data = word.encode()
        made += [data[:end] for end in range(2, len(data) + 1) if data[:end] not in made]
    return made


IMAGE = len(vocabulary()) + 214  # end, two of ChatML, 205 extras, six tags


def config(visual: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A config.json; `visual` changes the tower's sizes."""
    seen = VISUAL | dict(visual or {}) | {"image_start_id": IMAGE}
    made = CONFIG | {"visual": seen} | changes
    return {key: value for key, value in made.items() if value is not None}


def tensors(config: Mapping[str, Any], seed: int = 0) -> Tensors:
    """Random weights under the names of the files."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) * 0.4 / math.sqrt(shape[-1] if len(shape) > 1 else 4)

    hidden, inner, vocab = config["hidden_size"], config["intermediate_size"] // 2, config["vocab_size"]
    made = {"transformer.wte.weight": 3 * draw(vocab, hidden), "lm_head.weight": 3 * draw(vocab, hidden)}
    made["transformer.ln_f.weight"] = 1 + draw(hidden)
    for n in range(config["num_hidden_layers"]):
        layer = f"transformer.h.{n}"
        made |= {f"{layer}.{norm}.weight": 1 + draw(hidden) for norm in ("ln_1", "ln_2")}
        made[f"{layer}.attn.c_attn.weight"] = 2 * draw(3 * hidden, hidden)
        made[f"{layer}.attn.c_attn.bias"] = draw(3 * hidden)
        made[f"{layer}.attn.c_proj.weight"] = draw(hidden, hidden)
        made |= {f"{layer}.mlp.{name}.weight": draw(inner, hidden) for name in ("w1", "w2")}
        made[f"{layer}.mlp.c_proj.weight"] = draw(hidden, inner)
    if visual := config.get("visual"):
        seen = _visual_shapes(visual)
        made |= {f"transformer.visual.{name}": draw(*shape) for name, shape in seen.items()}
    return made


def _visual_shapes(visual: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    width, out, queries = visual["width"], visual["output_dim"], visual.get("n_queries", 256)
    inner = int(width * visual["mlp_ratio"])
    shapes: dict[str, tuple[int, ...]] = {
        "conv1.weight": (width, 3, visual["patch_size"], visual["patch_size"]),
        "positional_embedding": (256, width),
        "proj": (out, out),
        "attn_pool.query": (queries, out),
        "attn_pool.pos_embed": (queries, out),
        "attn_pool.attn.in_proj_weight": (3 * out, out),
        "attn_pool.attn.in_proj_bias": (3 * out,),
        "attn_pool.attn.out_proj.weight": (out, out),
        "attn_pool.attn.out_proj.bias": (out,),
    }
    if width != out:
        shapes["attn_pool.kv_proj.weight"] = (out, width)
    norms = {"ln_pre": width, "ln_post": out, "attn_pool.ln_q": out, "attn_pool.ln_kv": out}
    for n in range(visual["layers"]):
        block = f"transformer.resblocks.{n}"
        norms |= {f"{block}.ln_1": width, f"{block}.ln_2": width}
        for name, rows, columns in (
            ("attn.in_proj", 3 * width, width),
            ("attn.out_proj", width, width),
            ("mlp.c_fc", inner, width),
            ("mlp.c_proj", width, inner),
        ):
            shapes |= {f"{block}.{name}.weight": (rows, columns), f"{block}.{name}.bias": (rows,)}
    for name, size in norms.items():
        shapes |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
    return shapes


def write(folder: Path, config: Mapping[str, Any], tensors: Tensors, *layout: Any) -> Path:
    """A whole folder; `layout` is the number of shards and the suffix of their names."""
    write_tensors(folder, config, tensors, *layout)
    lines = (f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(vocabulary()))
    (folder / "qwen.tiktoken").write_text("".join(lines), "ascii")
    (folder / "generation_config.json").write_text(
        json.dumps({"chat_format": "chatml", "max_window_size": 6144})
    )
    return folder


# --- what they compute -------------------------------------------------------------------------


def see(config: Mapping[str, Any], tensors: Tensors, pixels: Tensor) -> Tensor:
    """(3, height, width) to (n_queries, output_dim)."""
    sizes, t = config["visual"], {k.removeprefix("transformer.visual."): v for k, v in tensors.items()}

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"], 1e-6)

    def line(x: Tensor, name: str) -> Tensor:
        return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    def grid(table: Tensor, rows: int) -> Tensor:
        if len(table) == rows * rows:
            return table
        old = math.isqrt(len(table))
        square = table.T.view(1, -1, old, old)
        return F.interpolate(square, (rows, rows), mode="bicubic", align_corners=False).flatten(2)[0].T

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return (query @ key.T / math.sqrt(query.shape[-1])).softmax(-1) @ value

    rows = sizes["image_size"] // sizes["patch_size"]
    patches = F.unfold(pixels[None], sizes["patch_size"], stride=sizes["patch_size"])[0].T
    x = patches @ t["conv1.weight"].flatten(1).T + grid(t["positional_embedding"], rows)
    x = norm(x, "ln_pre")
    for n in range(sizes["layers"]):
        block = f"transformer.resblocks.{n}"
        heads = line(norm(x, f"{block}.ln_1"), f"{block}.attn.in_proj").chunk(sizes["heads"], -1)
        mixed = torch.cat([attend(*head.chunk(3, -1)) for head in heads], -1)
        x = x + line(mixed, f"{block}.attn.out_proj")
        x = x + line(F.gelu(line(norm(x, f"{block}.ln_2"), f"{block}.mlp.c_fc")), f"{block}.mlp.c_proj")
    if "attn_pool.kv_proj.weight" in t:
        x = x @ t["attn_pool.kv_proj.weight"].T
    x, positions = norm(x, "attn_pool.ln_kv"), t["attn_pool.pos_embed"]
    asked = norm(t["attn_pool.query"], "attn_pool.ln_q") + positions
    weights, biases = t["attn_pool.attn.in_proj_weight"].chunk(3), t["attn_pool.attn.in_proj_bias"].chunk(3)
    given = (asked, x + grid(positions, rows), x)
    parts = [(g @ w.T + b).split(128, -1) for g, w, b in zip(given, weights, biases, strict=True)]
    mixed = torch.cat([attend(*head) for head in zip(*parts, strict=True)], -1)
    return norm(line(mixed, "attn_pool.attn.out_proj"), "ln_post") @ t["proj"]


def logits(
    config: Mapping[str, Any], tensors: Tensors, ids: Tensor, pixels: Tensor | None = None, prompt: int = 0
) -> Tensor:
    """(length, vocab) of one row; `prompt` is how much of it was there at first, 0: all."""
    heads, size, length = config["num_attention_heads"], config["kv_channels"], len(ids)
    seq = config["seq_length"]
    alpha = 1.0
    while config["use_dynamic_ntk"] and (prompt or length) > seq * (alpha + 1) / 2:
        alpha = 2 * alpha + 1
    base = config["rotary_emb_base"] * alpha ** (size / (size - 2))
    angles = torch.arange(length)[:, None] / base ** (torch.arange(0, size, 2) / size)
    scale = torch.tensor([max(math.log(p + 1) / math.log(seq), 1.0) for p in range(length)])

    def norm(x: Tensor, name: str) -> Tensor:
        return x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt() * tensors[f"{name}.weight"]

    def turn(x: Tensor) -> Tensor:
        low, high = x.view(length, heads, size).chunk(2, -1)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        return torch.cat([low * cos - high * sin, high * cos + low * sin], -1)

    x = tensors["transformer.wte.weight"][ids].clone()
    if pixels is not None:
        starts = (ids == config["visual"]["image_start_id"]).nonzero().flatten().tolist()
        for start, picture in zip(starts, pixels, strict=True):
            seen = see(config, tensors, picture)
            x[start + 1 : start + 1 + len(seen)] = seen
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    for n in range(config["num_hidden_layers"]):
        layer = f"transformer.h.{n}"
        fused = norm(x, f"{layer}.ln_1") @ tensors[f"{layer}.attn.c_attn.weight"].T
        query, key, value = (fused + tensors[f"{layer}.attn.c_attn.bias"]).chunk(3, -1)
        query, key, value = turn(query), turn(key), value.view(length, heads, size)
        if config["use_logn_attn"]:
            query = query * scale[:, None, None]
        scores = torch.einsum("qhd,khd->hqk", query, key) / math.sqrt(size)
        mixed = torch.einsum("hqk,khd->qhd", scores.masked_fill(future, -torch.inf).softmax(-1), value)
        x = x + mixed.flatten(1) @ tensors[f"{layer}.attn.c_proj.weight"].T
        y = norm(x, f"{layer}.ln_2")
        up, gate = (y @ tensors[f"{layer}.mlp.{name}.weight"].T for name in ("w1", "w2"))
        x = x + (up * F.silu(gate)) @ tensors[f"{layer}.mlp.c_proj.weight"].T
    return norm(x, "transformer.ln_f") @ tensors["lm_head.weight"].T


# --- AutoGPTQ's files --------------------------------------------------------------------------


def pack(
    tensors: Tensors, group: int, second: bool = False, act_order: bool = False
) -> tuple[Tensors, Tensors]:
    """What the files hold, with zeros of biases, and the weights that they stand for.

    Args:
        second: zeros as they are, not less one.
        act_order: inputs belong to groups in no order.
    """
    stored, whole = {}, dict(tensors)
    generator = torch.Generator().manual_seed(1)
    for name, tensor in tensors.items():
        layer = name.removesuffix(".weight")
        if not name.startswith("transformer.h.") or tensor.dim() != 2:
            whole[name] = stored[name] = tensor.half()
            continue
        outside, inside = tensor.shape
        g_idx = torch.arange(inside) // group
        if act_order:
            g_idx = g_idx[torch.randperm(inside, generator=generator)]
        groups = int(g_idx.max()) + 1
        levels = torch.randint(0, 16, (inside, outside), generator=generator)
        zeros = torch.randint(1, 16, (groups, outside), generator=generator)
        scales = (tensor.abs().max() / 20 * (0.5 + torch.rand(groups, outside, generator=generator))).half()
        stored[f"{layer}.qweight"] = _words(levels, 0)
        stored[f"{layer}.qzeros"] = _words(zeros - (0 if second else 1), 1)
        stored[f"{layer}.scales"], stored[f"{layer}.g_idx"] = scales, g_idx.int()
        stored.setdefault(f"{layer}.bias", torch.zeros(outside).half())
        whole[name] = ((levels - zeros[g_idx]) * scales.float()[g_idx]).T
    return stored, {name: tensor.float() for name, tensor in whole.items()}


def _words(nibbles: Tensor, dim: int) -> Tensor:
    """Eight nibbles to an int32, the lowest first, along `dim`."""
    eights = nibbles.movedim(dim, -1).unflatten(-1, (-1, 8)).long()
    words = (eights << torch.arange(0, 32, 4)).sum(-1)
    return torch.where(words >= 1 << 31, words - (1 << 32), words).int().movedim(-1, dim).contiguous()
