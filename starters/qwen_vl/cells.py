"""What each place of a picture shows, and how the vision tower has to say it.

A model that only hears whether its answers were right takes very long to learn to look. Here every one of
the 16 x 16 features that the tower hands to the decoder has a meaning: groups of channels are one-hot
codes of what is there, in which colour, on which ground, which character, how large, in which ninth of the
picture, and where the box around it ends. The tower learns to see them, while the decoder learns to talk
about them as they ought to be seen.
"""

import math
import string

import torch
from torch import Tensor
from torch.nn import functional as F

from starters.qwen_vl.scenes import BACKGROUNDS, COLOURS, KINDS, SIDE, Item, Scene, glyphs

NOTHING = 0
WHAT = ("nothing", *KINDS, "text", "bar", "slice")
TINTS = ("nothing", *COLOURS)
CHARACTERS = (" ", *string.digits, *string.ascii_letters)
GROUNDS = (*BACKGROUNDS, *(f"{colour} sign" for colour in COLOURS))
SCALE = ("small", "medium", "large")
# The columns of a code and how many values each has. Those from THING on mean nothing where nothing is: size,
# ninth of the picture, then for left, top, right and bottom of its box the place and the quarter of the place.
SIZES = (len(WHAT), len(TINTS), len(CHARACTERS), len(GROUNDS), 2, 2, len(SCALE), 9, *[SIDE, 4] * 4)
KIND, TINT, LETTER, GROUND, CENTRE, BEGINS, THING = range(7)
CHANNELS = sum(SIZES)
LOUD = 4  # what stands for 1 in a feature: beside it, what the decoder adds in the beginning is small
SIMILAR = 3  # the weight of letters beside the other columns: nothing else is as hard to tell apart
SHARPNESS = 10  # what a channel of 1 is worth as a logarithm of odds


def truth(scene: Scene) -> Tensor:
    """The codes of a scene's cells, row by row: (SIDE * SIDE, len(SIZES)), long."""
    codes = torch.zeros(SIDE, SIDE, len(SIZES), dtype=torch.long)
    x = ((torch.arange(SIDE) + 0.5) * scene.width / SIDE).expand(SIDE, SIDE)
    y = ((torch.arange(SIDE) + 0.5) * scene.height / SIDE)[:, None].expand(SIDE, SIDE)
    codes[..., GROUND] = list(BACKGROUNDS).index(scene.background)
    if scene.panel:
        colour, (left, top, right, bottom) = scene.panel
        on_it = (x > left) & (x < right) & (y > top) & (y < bottom)
        codes[..., GROUND][on_it] = GROUNDS.index(f"{colour} sign")
    turned = 0.0
    for item in scene.items:
        here = _covers(item, x, y, turned)
        here[scene.cell(*item.centre)] |= item.kind != "slice"
        for _, at_x, at_y in glyphs(item) if item.text else ():
            here[scene.cell(at_x, at_y)] = True
        turned += item.share
        ends = [part for step in scene.steps(item.box) for part in divmod(step, 4)]
        code = codes[here]
        code[:, : TINT + 1] = torch.tensor([WHAT.index(item.kind), TINTS.index(item.colour)])
        code[:, THING:] = torch.tensor([SCALE.index(scene.size(item)), scene.place(item), *ends])
        codes[here] = code
    for item in scene.items:
        if item.kind != "slice":
            codes[*scene.cell(*item.centre), CENTRE] = 1
        for number, (letter, at_x, at_y) in enumerate(glyphs(item) if item.text else ()):
            cell = scene.cell(at_x, at_y)
            codes[*cell, LETTER] = CHARACTERS.index(letter)
            codes[*cell, BEGINS] = number in (0, len(item.text))  # or the label of a bar
    return codes.flatten(0, 1)


def _covers(item: Item, x: Tensor, y: Tensor, turned: float) -> Tensor:
    """Which cells have their middle on an item. `turned` is where a slice begins, of a whole turn."""
    left, top, right, bottom = item.box
    if item.kind in ("text", "bar"):
        return (x > left) & (x < right) & (y > top) & (y < bottom)
    across, down = (x - item.centre[0]) / (right - left), (y - item.centre[1]) / (bottom - top)
    round_it = across**2 + down**2 < 0.25
    if item.kind == "slice":
        angle = torch.atan2(across, -down) / (2 * math.pi) % 1
        return round_it & (angle >= turned) & (angle < turned + item.share)
    return round_it


def ideal(codes: Tensor, width: int) -> Tensor:
    """Features as the tower should make them, (..., width): LOUD or 0 in CHANNELS channels, 0 in the others."""
    hot = [F.one_hot(codes[..., n], size) for n, size in enumerate(SIZES)]
    hot[THING:] = [column * (codes[..., :1] != NOTHING) for column in hot[THING:]]
    return F.pad(LOUD * torch.cat(hot, -1).float(), (0, width - CHANNELS))


def loss(features: Tensor, codes: Tensor) -> Tensor:
    """How far features are from what they should be: each column's cross entropy, and the squared distance."""
    columns = torch.split_with_sizes(features[..., :CHANNELS] / LOUD, SIZES, -1)
    seen = codes[..., 0] != NOTHING
    total = even(((features - ideal(codes, features.shape[-1])) / LOUD).square().sum(-1), seen)
    for n, column in enumerate(columns):
        wrong = F.cross_entropy(
            SHARPNESS * column.flatten(0, -2), codes[..., n].flatten(), reduction="none"
        ).view_as(seen)
        wrong = even(wrong, codes[..., n] != NOTHING) if n < THING else wrong[seen].mean()
        total = total + (SIMILAR * wrong if n == LETTER else wrong)
    return total


def even(losses: Tensor, rare: Tensor) -> Tensor:
    """A mean in which the rare cells, few of a picture, weigh as much as the others together."""
    return losses[~rare].sum() / (~rare).sum().clamp(min=1) + losses[rare].sum() / rare.sum().clamp(min=1)


# --- what the decoder has to count ---------------------------------------------------------------

RANKS = 20  # the highest


def ranks(codes: Tensor) -> Tensor:
    """The places of one picture by rank, (..., SIDE * SIDE), 0 for most: the first of each sort of things, and
    apart from them the letters of printed texts, from 1 in the order of the places."""
    centre, letter = codes[..., CENTRE] == 1, codes[..., LETTER] != NOTHING
    sort = (codes[..., KIND] * len(TINTS) + codes[..., TINT]) * len(CHARACTERS) + codes[..., LETTER]
    same = (sort[..., :, None] == sort[..., None, :]) & centre[..., None, :]
    first = centre & (codes[..., KIND] <= len(KINDS)) & ~same.tril(-1).any(-1)
    printed = letter & (codes[..., KIND] == WHAT.index("text"))
    counted = first.long().cumsum(-1) * first + printed.long().cumsum(-1) * printed
    return counted * (counted <= RANKS)
