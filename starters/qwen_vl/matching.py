"""First weights with which the decoder finds what a word names, before it has learned anything.

Features of a picture have a channel for each colour, kind, letter, … (see cells.py). What is left of the
hidden channels is for words, one channel for each colour and kind that words name, and for ranks, which the
decoder has to count (see `cells.ranks`). A head of the second layer gathers the words just said. Heads of the
fourth layer look for places of their colour and kind, and copy what stands there. From the rank of what
was just named a head of the last layer goes on to the next; another does so for letters. Training finds out
when to say which of it, and holds on to these heads while it does. Without this, finding things at all takes
most of a short training.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import torch

from models.qwen_vl.tokenizer import QwenTokenizer
from starters.qwen_vl import cells, chinese, english
from starters.qwen_vl.cells import (
    BEGINS,
    CENTRE,
    CHANNELS,
    GROUND,
    KIND,
    LETTER,
    LOUD,
    RANKS,
    SIZES,
    THING,
    TINT,
)
from starters.qwen_vl.scenes import COLOURS, KINDS

STARTS = (0, *accumulate(SIZES))  # first channel of each column of a code
SLOW = 14  # from this pair of a head's dimensions on, positions hardly turn it within a prompt


def channels(*columns: int, first: int = 1) -> list[int]:
    """The channels of some columns, from the value `first` on: 0 is mostly "nothing"."""
    return [channel for n in columns for channel in range(STARTS[n] + first, STARTS[n + 1])]


NAMES = channels(KIND, TINT)
NAMED = [*NAMES, *channels(THING, THING + 1, first=0)]  # with size and ninth of the picture
LETTERS = [*channels(LETTER), STARTS[BEGINS] + 1]
BOXES = channels(*range(THING + 2, len(SIZES)), first=0)
RANK = [*range(CHANNELS, CHANNELS + RANKS)]
HEADS = {0: (0,), 1: (0,), 3: (0, 1, 2), 5: (0, 3)}  # those that are set, by layer
WORDS = [*range(CHANNELS + RANKS, CHANNELS + RANKS + len(NAMES))]  # in the order of NAMES


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
    embeddings = model.model.embed_tokens.weight.normal_(std=0.1 * LOUD)
    embeddings[:, [*RANK, *WORDS]] = 0
    head = model.lm_head.weight.normal_(std=0.02)
    for token in range(len(embeddings)):
        for channel in meanings(str(tokenizer.decode([token]))):
            head[token, channel] += 0.5
            if channel in NAMES:
                embeddings[token, WORDS[NAMES.index(channel)]] = LOUD
    for weight, mask in held(model)[1:]:
        weight[mask] = 0
    first, second, fourth, last = (model.model.layers[number].self_attn for number in HEADS)
    _look_back(first, 0, range(12))
    _copy(first, 0, WORDS, strength=0.4)
    _look_back(second, 0, range(6, SLOW))
    _prefer(second, 0, WORDS, 5.0)
    _copy(second, 0, WORDS, strength=1)
    for number, copied in enumerate(([*NAMED, *RANK], BOXES[:40], BOXES[40:])):
        _match(fourth, number, WORDS, NAMES, 1.5)
        _prefer(fourth, number, [STARTS[CENTRE] + 1], 3.0, 1)
        _prefer(fourth, number, channels(GROUND, first=0), 4.0, 2)  # pictures alone have a ground
        _copy(fourth, number, copied, strength=1)
    for number, copied in ((0, NAMED), (3, LETTERS)):
        _match(last, number, RANK[:-1], RANK[1:], 2.0)
        _prefer(last, number, channels(GROUND, first=0), 4.0, 2)
        _copy(last, number, copied, strength=1)


def held(model: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What a training should hold on to, as weights and masks: the heads that are set, and all that could write
    into the channels of words; first of all the words themselves."""
    words = torch.tensor(WORDS)
    parts: list[tuple[torch.Tensor, tuple[slice | torch.Tensor, ...]]] = [
        (model.model.embed_tokens.weight, (slice(None), words))
    ]
    for number, layer in enumerate(model.model.layers):
        attention = layer.self_attn
        rows = torch.arange(attention.q_proj.out_features).view(-1, attention.head_dim)
        heads = rows[[*HEADS.get(number, ())]].flatten()
        for linear in (attention.q_proj, attention.k_proj, attention.v_proj):
            parts += [(linear.weight, (heads,)), (linear.bias, (heads,))]
        parts += [(attention.o_proj.weight, (slice(None), heads)), (attention.o_proj.weight, (words,))]
        parts += [(layer.mlp.down_proj.weight, (words,))]
    masks = []
    for weight, where in parts:
        mask = torch.zeros_like(weight, dtype=torch.bool)
        mask[where] = True
        masks.append((weight, mask))
    return masks


def _slow(attention: Any, number: int) -> torch.Tensor:
    """Rows of a head that positions do not turn: 36 of 64."""
    half = attention.head_dim // 2
    rows = torch.tensor([*range(SLOW, half), *range(half + SLOW, 2 * half)])
    return rows + number * int(attention.head_dim)


def _look_back(attention: Any, number: int, pairs: Sequence[int]) -> None:
    """Let a head attend to the tokens before, nearer ones more, by its biases alone."""
    at = number * attention.head_dim + torch.tensor(pairs)
    for linear in (attention.q_proj, attention.k_proj):
        linear.bias[at] = 3.0


def _match(attention: Any, number: int, asked: Sequence[int], found: Sequence[int], strength: float) -> None:
    """Let a head attend where a channel of `found` is on, if the same of `asked` is on in the token."""
    at = _slow(attention, number)[: len(asked)]
    for linear, channel in ((attention.q_proj, asked), (attention.k_proj, found)):
        linear.weight[at, torch.tensor(channel)] = strength


def _prefer(attention: Any, number: int, wanted: Sequence[int], strength: float, place: int = 1) -> None:
    """Let a head attend where a channel of `wanted` is on. `place`: a row, from the last, that is free for it."""
    at = _slow(attention, number)[-place]
    attention.k_proj.weight[at, torch.tensor(wanted)] = 1.5
    attention.q_proj.bias[at] = strength


def _copy(attention: Any, number: int, copied: Sequence[int], strength: float) -> None:
    """Let a head take channels as they are where it attends, and add them to the token's."""
    at, wanted = number * attention.head_dim + torch.arange(len(copied)), torch.tensor(copied)
    attention.v_proj.weight[at, wanted] = 1
    attention.o_proj.weight[wanted, at] = strength
