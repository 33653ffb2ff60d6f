"""What each place of a picture shows: a lesson for the vision tower, given beside the dialogues.

A tower that only hears whether an answer was right learns slowly. Here every one of the 16 x 16 features
that it hands to the decoder says what is there: a plain classification, dropped after the training.
"""

import math
import string
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from starters.qwen_vl.scenes import COLOURS, KINDS, Item, Scene, glyphs

SIDE = 16  # features per side
NOTHING = 0
WHAT = ("nothing", *KINDS, "text", "bar", "slice")
TINTS = ("nothing", *COLOURS)
CHARACTERS = (" ", *string.digits, *string.ascii_letters)


class Cells(NamedTuple):
    """Per cell, row by row: indices into WHAT, TINTS and CHARACTERS, whether an item has its middle here,
    and the item's box with sides from 0 to 1."""

    what: Tensor
    tint: Tensor
    character: Tensor
    middle: Tensor
    box: Tensor


def truth(scene: Scene) -> Cells:
    """The lesson of a scene: tensors of SIDE * SIDE, the box with a last axis of four."""
    what = torch.zeros(SIDE, SIDE, dtype=torch.long)
    tint, character, middle = what.clone(), what.clone(), what.clone()
    box = torch.zeros(SIDE, SIDE, 4)
    size = torch.tensor([scene.width, scene.height] * 2)
    x = ((torch.arange(SIDE) + 0.5) * scene.width / SIDE).expand(SIDE, SIDE)
    y = ((torch.arange(SIDE) + 0.5) * scene.height / SIDE)[:, None].expand(SIDE, SIDE)
    turned = 0.0
    for item in scene.items:
        here = _covers(item, x, y, turned)
        turned += item.share
        what[here], tint[here] = WHAT.index(item.kind), TINTS.index(item.colour)
        box[here] = torch.tensor(item.box) / size
        if item.kind != "slice":
            middle[_cell(scene, *item.centre)] = 1
        for letter, at_x, at_y in glyphs(item) if item.text else ():
            character[_cell(scene, at_x, at_y)] = CHARACTERS.index(letter)
    return Cells(what.flatten(), tint.flatten(), character.flatten(), middle.flatten(), box.flatten(0, 1))


def _cell(scene: Scene, x: float, y: float) -> tuple[int, int]:
    row, column = int(SIDE * y / scene.height), int(SIDE * x / scene.width)
    return min(SIDE - 1, max(0, row)), min(SIDE - 1, max(0, column))


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


class Lesson(nn.Module):
    """Reads the cells off the vision tower's output; its loss teaches the tower.

    Args:
        width: of the tower's output.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sizes = (len(WHAT), len(TINTS), len(CHARACTERS), 2, 4)
        self.read = nn.Linear(width, sum(self.sizes))

    def forward(self, features: Tensor, cells: Cells) -> Tensor:
        """The loss of (batch, cells, width) features."""
        *classes, box = self.read(features).split(self.sizes, -1)
        losses = [
            _balanced(logits.flatten(0, 1), label.flatten())
            for logits, label in zip(classes, cells[:-1], strict=True)
        ]
        seen = cells.what != NOTHING
        return torch.stack([*losses, 10 * F.l1_loss(box[seen], cells.box[seen])]).sum()


def _balanced(logits: Tensor, label: Tensor) -> Tensor:
    """Cross entropy in which empty cells, most of a picture, weigh as much as the others together."""
    loss = F.cross_entropy(logits, label, reduction="none")
    empty = label == NOTHING
    return loss[empty].mean() + loss[~empty].sum() / (~empty).sum().clamp(min=1)
