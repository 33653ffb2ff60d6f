"""What Qwen-VL sees with: a vision transformer, and a resampler to a fixed number of features.

Names and shapes are those of the files of Qwen/Qwen-VL-Chat, under ``transformer.visual``. The tower is
OpenCLIP's ViT-bigG (github.com/mlfoundations/open_clip), the resampler one cross-attention with learned
queries (Bai et al., 2023, arXiv:2308.12966).
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from models.pretrained.quantize import product_dtype

EPS = 1e-6
GRID = 16  # the table of positions has 16 x 16 rows, whatever the picture's size
HEAD_DIM = 128  # of the resampler


@dataclass(frozen=True)
class Sizes:
    """What a config.json says under "visual": sizes in pixels and channels.

    Attributes:
        n_queries: features of one picture.
        image_start_id: token in front of a picture's features; the next id stands behind them.
    """

    image_size: int
    patch_size: int
    width: int
    layers: int
    heads: int
    mlp_ratio: float
    output_dim: int
    image_start_id: int
    n_queries: int = 256

    @classmethod
    def read(cls, visual: dict[str, Any]) -> "Sizes":
        return cls(**{field.name: visual[field.name] for field in fields(cls) if field.name in visual})


def resized(positions: Tensor, length: int) -> Tensor:
    """A square table of positions, (rows * rows, channels), for another number of rows in all."""
    if len(positions) == length:
        return positions
    old, new = math.isqrt(len(positions)), math.isqrt(length)
    table = positions.float().view(1, old, old, -1).permute(0, 3, 1, 2)
    table = F.interpolate(table, size=(new, new), mode="bicubic", align_corners=False)
    return table.flatten(2).transpose(1, 2)[0].to(positions.dtype)


def sine_positions(channels: int, rows: int) -> Tensor:
    """Sines and cosines of columns, then those of rows, (rows * rows, channels)."""
    frequencies = 1.0 / 10000 ** (torch.arange(channels // 4).float() / (channels / 4))
    angles = torch.arange(rows).float()[:, None] * frequencies
    line = torch.cat((angles.sin(), angles.cos()), dim=1)
    columns = line.expand(rows, rows, -1)
    return torch.cat((columns, columns.transpose(0, 1)), dim=-1).flatten(0, 1)


class Linear(nn.Linear):
    """Widens bfloat16 for processors that do not multiply it: three times faster, weights stay small."""

    def forward(self, x: Tensor) -> Tensor:
        dtype = product_dtype(x.dtype) if x.device.type == "cpu" else x.dtype
        bias = None if self.bias is None else self.bias.to(dtype)
        return F.linear(x.to(dtype), self.weight.to(dtype), bias).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.in_proj = Linear(sizes.width, 3 * sizes.width)
        self.out_proj = Linear(sizes.width, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        # Every head holds its query, key and value next to each other.
        fused = self.in_proj(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        query, key, value = fused.chunk(3, dim=-1)
        out: Tensor = self.out_proj(
            F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        )
        return out


class MLP(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        inner = int(sizes.width * sizes.mlp_ratio)
        self.c_fc = Linear(sizes.width, inner)
        self.c_proj = Linear(inner, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.c_proj(F.gelu(self.c_fc(x)))
        return out


class VisionBlock(GradientCheckpointingLayer):  # type: ignore[no-untyped-call]
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(sizes.width, eps=EPS)
        self.attn = Attention(sizes)
        self.ln_2 = nn.LayerNorm(sizes.width, eps=EPS)
        self.mlp = MLP(sizes)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class Blocks(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(VisionBlock(sizes) for _ in range(sizes.layers))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.resblocks:
            x = block(x)
        return x


class Resampler(nn.Module):
    """Learned queries ask the patches of a picture. Positions are added to queries and keys only."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        channels = sizes.output_dim
        positions = sine_positions(channels, math.isqrt(sizes.n_queries))
        # As wide as what torch makes of `empty` here: the library sets that while it builds a model.
        self.pos_embed = nn.Parameter(positions.to(torch.get_default_dtype()), requires_grad=False)
        self.query = nn.Parameter(torch.empty(sizes.n_queries, channels).normal_(std=0.02))
        same = sizes.width == channels
        self.kv_proj = nn.Identity() if same else Linear(sizes.width, channels, bias=False)
        self.attn = nn.MultiheadAttention(channels, channels // HEAD_DIM, batch_first=True)
        self.ln_q = nn.LayerNorm(channels, eps=EPS)
        self.ln_kv = nn.LayerNorm(channels, eps=EPS)

    def forward(self, patches: Tensor) -> Tensor:
        values = self.ln_kv(self.kv_proj(patches))
        keys = values + resized(self.pos_embed, patches.shape[1])
        query = (self.ln_q(self.query) + self.pos_embed).expand(len(patches), -1, -1)
        out: Tensor = self.attn(query, keys, values, need_weights=False)[0]
        return out


class VisionTransformer(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width, channels = sizes.width, sizes.output_dim
        self.conv1 = nn.Conv2d(3, width, sizes.patch_size, stride=sizes.patch_size, bias=False)
        self.positional_embedding = nn.Parameter(torch.empty(GRID**2, width).normal_(std=width**-0.5))
        self.ln_pre = nn.LayerNorm(width, eps=EPS)
        self.transformer = Blocks(sizes)
        self.attn_pool = Resampler(sizes)
        self.ln_post = nn.LayerNorm(channels, eps=EPS)
        self.proj = nn.Parameter(torch.empty(channels, channels).normal_(std=channels**-0.5))

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(pictures, 3, height, width), normalised, to (pictures, n_queries, output_dim)."""
        patches = self.conv1(pixel_values.to(self.conv1.weight.dtype)).flatten(2).transpose(1, 2)
        x = self.ln_pre(patches + resized(self.positional_embedding, patches.shape[1]))
        out: Tensor = self.ln_post(self.attn_pool(self.transformer(x))) @ self.proj
        return out
