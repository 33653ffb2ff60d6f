"""First weights with which a model can copy from its prompt before it has learned anything.

Two heads of the first layer look at the token before and at the one before that; a head of the second
layer looks for the place where those two were followed by something, and says that (Olsson et al. 2022,
"In-context Learning and Induction Heads"). Found by training alone this takes most of the time.
"""

from typing import Any

import torch
from torch import Tensor

_EMBEDDED = 0.3  # standard deviation of the embeddings, large beside what untrained layers add
_TURNED = 3  # pairs of dimensions that tell positions apart; they turn fastest


@torch.no_grad()
def prepare(model: Any) -> None:
    """Set the heads of the first two layers of a ChatGLM3 with random weights, its embeddings and its head."""
    config = model.config
    size, hidden = config.head_dim, config.hidden_size
    basis = torch.linalg.qr(torch.randn(hidden, hidden)).Q
    token, before, earlier, said = basis.split(size)[:4]  # what is kept where, each (head size, hidden)
    embeddings = model.model.embed_tokens.weight.normal_(std=_EMBEDDED)
    model.lm_head.weight.copy_(0.5 * embeddings @ token.T @ said)
    first, second = (layer.self_attn for layer in model.model.layers[:2])
    per_group = config.num_attention_heads // config.num_key_value_heads
    for group, (back, kept) in enumerate(((1, before), (2, earlier))):
        _look_back(first, group, per_group, size, back)
        _copy(first, group, group * per_group, size, token, kept, 2 * _EMBEDDED)
    half = size // 4  # of the dimensions that do not turn, one half for each of the two tokens
    query, key = torch.zeros(size, hidden), torch.zeros(size, hidden)
    query[2 * half : 3 * half], key[2 * half : 3 * half] = 2.5 * token[:half], 2.5 * before[:half]
    query[3 * half :], key[3 * half :] = 2.5 * before[:half], 2.5 * earlier[:half]
    second.q_proj.weight[:size] = query
    second.k_proj.weight[:size] = key
    _copy(second, 0, 0, size, token, said, 2 * _EMBEDDED)


def _look_back(attention: Any, group: int, per_group: int, size: int, back: int) -> None:
    """Let the first head of a group attend `back` positions back, by its biases alone."""
    pairs = torch.arange(_TURNED)
    angles = back / 10000 ** (2 * pairs / (size // 2))
    strength = 5.5
    key, head = group * size, group * per_group * size
    attention.k_proj.bias[key + 2 * pairs] = strength
    attention.q_proj.bias[head + 2 * pairs] = strength * angles.cos()
    attention.q_proj.bias[head + 2 * pairs + 1] = -strength * angles.sin()


def _copy(
    attention: Any, group: int, head: int, size: int, read: Tensor, write: Tensor, strength: float
) -> None:
    """Let a head take what `read` finds where it attends, and add it where `write` puts it."""
    attention.v_proj.weight[group * size : (group + 1) * size] = read
    attention.o_proj.weight[:, head * size : (head + 1) * size] = strength * write.T
