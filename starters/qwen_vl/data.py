"""Scenes and dialogues as tensors."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from models.qwen_vl.pictures import pixels
from models.qwen_vl.prompt import DEFAULT_SYSTEM, content
from models.qwen_vl.tokenizer import START, STOP, load_tokenizer
from models.schema import Message
from starters.qwen_vl.cells import truth
from starters.qwen_vl.dialogues import Turn, dialogue
from starters.qwen_vl.drawing import draw
from starters.qwen_vl.scenes import Scene, make

IMAGE_SIZE = 192
QUERIES = 256
IGNORED = -100  # a label that is not learnt


class Batch(NamedTuple):
    """ids and labels: (rows, length), padded at the end; pixels: (pictures, 3, size, size), or none drawn;
    codes: what `cells.truth` says of each picture."""

    ids: Tensor
    labels: Tensor
    pixels: Tensor
    codes: Tensor


def seen(scene: Scene) -> Tensor:
    """The picture as the model sees it, (3, IMAGE_SIZE, IMAGE_SIZE)."""
    return pixels(draw(scene), IMAGE_SIZE)


class Writer:
    """Dialogues as ids and labels.

    Args:
        vocabulary: the folder of qwen.tiktoken.
    """

    def __init__(self, vocabulary: Path) -> None:
        self.tokenizer = load_tokenizer(vocabulary, QUERIES)
        special = self.tokenizer.special
        line = self.tokenizer.encode("\n")
        self.end = special[STOP]
        system = {"role": "system", "content": DEFAULT_SYSTEM}
        self.system = self.tokenizer.apply_chat_template([system], add_generation_prompt=False)["input_ids"]
        self.question = [*line, special[START], *self.tokenizer.encode("user"), *line]
        self.answer = [self.end, *line, special[START], *self.tokenizer.encode("assistant"), *line]

    def turn(self, turn: Turn, numbers: Iterator[int]) -> tuple[list[int], list[int]]:
        """What the model is given and what it says. `numbers` are for the pictures."""
        asked = self.tokenizer.content_ids(content(message(turn, b""), numbers))
        said = self.tokenizer.content_ids([turn.answer])
        return [*self.question, *asked, *self.answer], [*said, self.end]

    def dialogue(self, turns: Iterable[Turn], limit: int) -> tuple[list[int], list[int], list[Scene]]:
        """Ids, labels, and pictures of as many turns as fit into `limit` tokens beside the pictures."""
        ids, labels = [*self.system], [IGNORED] * len(self.system)
        shown: list[Scene] = []
        numbers = count(1)
        for turn in turns:
            asked, said = self.turn(turn, numbers)
            pictures = len(shown) + len(turn.pictures)
            if len(ids) + len(asked) + len(said) > limit + pictures * QUERIES:
                break
            ids += asked + said
            labels += [IGNORED] * len(asked) + said
            shown += turn.pictures
        return ids, labels, shown


def message(turn: Turn, picture: bytes) -> Message:
    """A question as a message, with a file in place of each of its pictures."""
    shown = [{"type": "image", "image": picture} for _ in turn.pictures]
    return {"role": "user", "content": [*shown, {"type": "text", "text": turn.question}]}


class Talks(Dataset[tuple[list[int], list[int], list[Scene]]]):
    """Dialogues of neighbouring seeds; scenes become busier over `easy` of them."""

    def __init__(self, writer: Writer, seeds: range, batch: int, easy: int, limit: int) -> None:
        self.writer, self.seeds, self.batch, self.easy, self.limit = writer, seeds, batch, easy, limit

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int) -> tuple[list[int], list[int], list[Scene]]:
        seed = self.seeds[index]
        turns = dialogue(seed, turns=20, busy=min(1, seed / max(1, self.easy)), alike=self.batch)
        return self.writer.dialogue(turns, self.limit)


class Looks(Dataset[Scene]):
    """Scenes without a word, two of three crowded: the tower learns from every thing in them."""

    def __init__(self, seeds: range) -> None:
        self.seeds = seeds

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int) -> Scene:
        seed = self.seeds[index]
        return make(seed, "crowd" if seed % 3 else None)


def scenes(shown: Sequence[Scene]) -> tuple[Tensor, Tensor]:
    """Pixels of several scenes, and what is to be seen in them."""
    return torch.stack([seen(scene) for scene in shown]), torch.stack([truth(scene) for scene in shown])


def talks(rows: Sequence[tuple[list[int], list[int], list[Scene]]], draw: bool = True) -> Batch:
    """Several dialogues; without their pictures where the tower is not asked."""
    longest = max(len(ids) for ids, _, _ in rows)
    ids = torch.tensor([row + [0] * (longest - len(row)) for row, _, _ in rows])
    labels = torch.tensor([row + [IGNORED] * (longest - len(row)) for _, row, _ in rows])
    shown = [scene for _, _, scenes in rows for scene in scenes]
    if draw and shown:
        return Batch(ids, labels, *scenes(shown))
    codes = [truth(scene) for scene in shown]
    return Batch(ids, labels, torch.empty(0), torch.stack(codes) if codes else torch.empty(0))
