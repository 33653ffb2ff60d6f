"""First weights with which the decoder finds what a word names, before it has learned anything.

Words for colours, kinds and letters begin as the channels that stand for these in the features of a picture.
Two heads of the first layer gather the words just said; heads of the third layer look for places with the
same colour and kind; these and those of the fourth copy what stands there. Training finds out when to
say which of it. Without this, finding things at all takes most of a short training.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import torch

from models.qwen_vl.tokenizer import QwenTokenizer
from starters.qwen_vl import cells, chinese, english
from starters.qwen_vl.cells import CENTRE, GROUND, KIND, LETTER, SIZES, THING, TINT
from starters.qwen_vl.scenes import COLOURS, KINDS

STARTS = (0, *accumulate(SIZES))  # first channel of each column of a code
SLOW = 14  # from this pair of a head's dimensions on, positions hardly turn it within a prompt


def channels(*columns: int, first: int = 1) -> list[int]:
    """The channels of some columns, from the value `first` on: 0 is mostly "nothing"."""
    return [channel for n in columns for channel in range(STARTS[n] + first, STARTS[n + 1])]


NAMES = channels(KIND, TINT)
BOXES = channels(*range(THING + 2, len(SIZES)), first=0)
# What each head of the last two layers copies.
COPIED = (
    [*NAMES, *channels(THING, THING + 1, first=0)],
    BOXES[: len(BOXES) // 2],
    BOXES[len(BOXES) // 2 :],
    channels(LETTER),
)


def meanings(text: str) -> Iterator[int]:
    """The channels that a token's text stands for."""
    word = text.strip().lower()
    for n, kind in enumerate(KINDS, STARTS[KIND] + 1):
        if word in (english.named("", kind), english.named("", kind, 2)) or chinese.KINDS[kind] in text:
            yield n
    for n, colour in enumerate(COLOURS, STARTS[TINT] + 1):
        if word == colour or chinese.COLOURS[colour].removesuffix("色") in text:
            yield n
    if len(text) == 1 and text in cells.CHARACTERS[1:]:
        yield STARTS[LETTER] + cells.CHARACTERS.index(text)


@torch.no_grad()
def prepare(model: Any, tokenizer: QwenTokenizer) -> None:
    """Set the words of a Qwen-VL with random weights, and its heads as above."""
    embeddings = model.model.embed_tokens.weight.normal_(std=0.05)
    head = model.lm_head.weight.normal_(std=0.02)
    for token in range(len(embeddings)):
        for channel in meanings(tokenizer.decode([token])):
            embeddings[token, channel] += 0.3
            head[token, channel] += 0.3
    first, _, third, fourth = (layer.self_attn for layer in model.model.layers)
    for number, pairs in enumerate((range(12), range(4, 14))):  # of the last three tokens; of the last dozen
        _look_back(first, number, pairs)
        _copy(first, number, NAMES, strength=0.3)
    for number, copied in enumerate(COPIED):
        if number < 3:
            _match(third, number, NAMES)
        _copy(third, number, copied, strength=0.25)
        _copy(fourth, number, copied, strength=0.25)


def _look_back(attention: Any, number: int, pairs: Sequence[int]) -> None:
    """Let a head attend to the tokens before, nearer ones more, by its biases alone."""
    at = number * attention.head_dim + torch.tensor(pairs)
    for linear in (attention.q_proj, attention.k_proj):
        linear.bias[at] = 3.0


def _match(attention: Any, number: int, wanted: Sequence[int]) -> None:
    """Let a head attend to places of pictures that share channels with the token, and to middles of things."""
    half = attention.head_dim // 2
    slow = torch.tensor([*range(SLOW, half), *range(half + SLOW, 2 * half)])
    at = number * attention.head_dim + slow
    for linear in (attention.q_proj, attention.k_proj):
        linear.weight[at[: len(wanted)], torch.tensor(wanted)] = 1.2
    middle, picture = at[len(wanted)], at[len(wanted) + 1]
    attention.k_proj.weight[middle, STARTS[CENTRE] + 1] = 1.2
    attention.k_proj.weight[picture, channels(GROUND, first=0)] = 1.5  # no word has a ground
    attention.q_proj.bias[middle] = 3.0
    attention.q_proj.bias[picture] = 8.0


def _copy(attention: Any, number: int, copied: Sequence[int], strength: float) -> None:
    """Let a head take channels as they are where it attends, and add them to the token's."""
    at, wanted = number * attention.head_dim + torch.arange(len(copied)), torch.tensor(copied)
    attention.v_proj.weight[number * attention.head_dim : (number + 1) * attention.head_dim] = 0
    attention.v_proj.weight[at, wanted] = 1
    attention.o_proj.weight[wanted, at] = strength
