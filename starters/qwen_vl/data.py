"""Scenes and dialogues as tensors."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

import torch
from tokenizers.decoders import DecodeStream
from torch import Tensor
from torch.utils.data import Dataset

from models.qwen_vl.pixels import pixels
from models.qwen_vl.prompt import DEFAULT_SYSTEM, read_content
from models.qwen_vl.tokenizer import PICTURE_END, START, STOP, load_tokenizer
from models.schema import Message
from starters.qwen_vl.cells import truth
from starters.qwen_vl.dialogues import MOST, Turn, counted, dialogue, told
from starters.qwen_vl.drawing import draw
from starters.qwen_vl.scenes import COLOURS, KINDS, SIDE, Scene, make, step_of

IMAGE_SIZE = 192
QUERIES = 256
IGNORED = -100  # a label that is not learnt
# What a token of an answer may be about, as the digits of a number in these bases. side: place and quarter of the
# side of a box; sort: kind and colour of what is being named; region: the places of the four sides of the box
# that was asked about; bar: the place of the left side of the bar whose letter and value are being told; number:
# what a word says that is one.
HINTS = {
    "side": (SIDE, 4), "sort": (len(KINDS), len(COLOURS)), "region": (SIDE,) * 4, "bar": (SIDE,), "number": (MOST + 1,),
}  # fmt: skip


class Batch(NamedTuple):
    """What a step learns from.

    Attributes:
        ids, labels, spelt, turns: as in `Row`, (rows, length), padded at the end.
        hints: by the names of HINTS, each (rows, length).
        pixels: (pictures, 3, size, size), or none drawn.
        codes: what `cells.truth` says of each picture.
    """

    ids: Tensor
    labels: Tensor
    spelt: Tensor
    turns: Tensor
    hints: dict[str, Tensor]
    pixels: Tensor
    codes: Tensor


def seen(scene: Scene) -> Tensor:
    """The picture as the model sees it, (3, IMAGE_SIZE, IMAGE_SIZE)."""
    return pixels(draw(scene), IMAGE_SIZE)


class Row(NamedTuple):
    """A dialogue.

    Attributes:
        spelt: how many letters an answer has spelt so far, where it spells, or IGNORED.
        turns: which question each token belongs to, from 1; 0 for pictures and what comes before them.
        hints: by the names of HINTS, what an answer's token is about, or IGNORED.
    """

    ids: list[int]
    labels: list[int]
    spelt: list[int]
    turns: list[int]
    hints: dict[str, list[int]]
    pictures: list[Scene]


class Writer:
    """Dialogues as ids and labels.

    Args:
        vocabulary: the folder of qwen.tiktoken.
    """

    def __init__(self, vocabulary: Path) -> None:
        self.tokenizer = load_tokenizer(vocabulary, QUERIES)
        special = self.tokenizer.special
        line = self.tokenizer.encode("\n")
        self.end, self.shown = special[STOP], special[PICTURE_END]
        system = {"role": "system", "content": DEFAULT_SYSTEM}
        self.system = self.tokenizer.apply_chat_template([system], add_generation_prompt=False)["input_ids"]
        self.question = [*line, special[START], *self.tokenizer.encode("user"), *line]
        self.answer = [self.end, *line, special[START], *self.tokenizer.encode("assistant"), *line]

    def turn(self, turn: Turn, numbers: Iterator[int]) -> tuple[list[int], list[int]]:
        """What the model is given and what it says. `numbers` are for the pictures."""
        asked = self.tokenizer.content_ids(read_content(message(turn, b""), numbers))
        said = self.tokenizer.content_ids([turn.answer])
        return [*self.question, *asked, *self.answer], [*said, self.end]

    def spelt(self, turn: Turn, said: Sequence[int]) -> list[int]:
        """How many letters have been spelt up to each token, from the first quotation mark on."""
        if not turn.spelt:
            return [IGNORED] * len(said)
        letters, inside, counts = 0, False, []
        for text in self._texts(said):
            for character in text:
                inside = (character != "”") if character in "“”" else inside != (character == '"')
                letters += inside and character.isalnum()
            counts.append(letters if letters or inside else IGNORED)
        return counts

    def hints(self, turn: Turn, said: Sequence[int], shown: Iterable[Scene]) -> dict[str, list[int]]:
        """What each token of an answer about some pictures is about, by the names of HINTS."""
        numbers = re.finditer(r"(?<=[(,])\d+(?=[,)])", turn.answer)
        # What ends a number is a part of it.
        sides = [(number.start(), number.end() + 1, step_of(int(number[0]))) for number in numbers]
        kinds, colours = list(KINDS), list(COLOURS)
        sorts = [
            (named.start, named.end, kinds.index(named.kind) * len(colours) + colours.index(named.colour))
            for named in told(turn.answer)
        ]
        asked, region = re.findall(r"\d+", turn.question.partition("<box>")[2]), 0
        for number in asked:
            region = region * SIDE + int(number) * SIDE // 1000
        whole = [(0, len(turn.answer) + 1, region)] if asked else []
        spans = {
            "side": sides,
            "sort": sorts,
            "region": whole,
            "bar": _bars(turn.answer, shown),
            "number": counted(turn.answer),
        }
        return {name: self._spread(said, spans[name]) for name in HINTS}

    def _spread(self, said: Sequence[int], spans: Iterable[tuple[int, int, int]]) -> list[int]:
        """The value of the span of the text, (start, end, value), in which each token begins, or IGNORED."""
        values = {at: value for start, end, value in spans for at in range(start, end)}
        spread, at = [], 0
        for text in self._texts(said):
            spread.append(values.get(at, IGNORED))
            at += len(text)
        return spread

    def _texts(self, said: Sequence[int]) -> Iterator[str]:
        """The text that each token adds, "" where it ends within a character."""
        stream = DecodeStream(ids=[], skip_special_tokens=False)
        for token in said:
            yield stream.step(self.tokenizer.backend_tokenizer, token) or ""

    def dialogue(self, turns: Iterable[Turn], limit: int) -> Row:
        """As many turns as fit into `limit` tokens beside the pictures."""
        nothing = [IGNORED] * len(self.system)
        row = Row(
            [*self.system],
            [*nothing],
            [*nothing],
            [0] * len(self.system),
            {name: [*nothing] for name in HINTS},
            [],
        )
        numbers = count(1)
        for number, turn in enumerate(turns, 1):
            asked, said = self.turn(turn, numbers)
            pictures = len(row.pictures) + len(turn.pictures)
            if len(row.ids) + len(asked) + len(said) > limit + pictures * QUERIES:
                break
            row.ids.extend(asked + said)
            row.labels.extend([IGNORED] * len(asked) + said)
            row.spelt.extend([IGNORED] * len(asked) + self.spelt(turn, said))
            for name, values in self.hints(turn, said, [*row.pictures, *turn.pictures]).items():
                row.hints[name].extend([IGNORED] * len(asked) + values)
            # Up to the end of the last picture's line.
            shown = len(asked) - asked[::-1].index(self.shown) + 1 if turn.pictures else 0
            row.turns.extend([0] * shown + [number] * (len(asked) + len(said) - shown))
            row.pictures.extend(turn.pictures)
        return row


def _bars(text: str, shown: Iterable[Scene]) -> list[tuple[int, int, int]]:
    """Where the letter and then the value of a bar are told, and the place of its left side."""
    charts = [scene for scene in shown if scene.layout == "bars"]
    if len(charts) != 1:
        return []
    spans = []
    for bar in charts[0].items:
        pattern = rf"(?<![A-Z]){bar.label}(?![A-Z])[^A-Z\d]*{bar.text}(?!\d)"
        left = charts[0].steps(bar.box)[0] // 4
        spans += [(found.start() - 1, found.end() + 1, left) for found in re.finditer(pattern, text)]
    return spans


def message(turn: Turn, picture: bytes) -> Message:
    """A question as a message, with a file in place of each of its pictures."""
    shown = [{"type": "image", "image": picture} for _ in turn.pictures]
    return {"role": "user", "content": [*shown, {"type": "text", "text": turn.question}]}


class Talks(Dataset[Row]):
    """Dialogues of neighbouring seeds; scenes become busier over `easy` of them."""

    def __init__(self, writer: Writer, seeds: range, batch: int, easy: int, limit: int) -> None:
        self.writer, self.seeds, self.batch, self.easy, self.limit = writer, seeds, batch, easy, limit

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int) -> Row:
        seed = self.seeds[index]
        busy = min(1, seed / self.easy) if self.easy else 1
        turns = dialogue(seed, turns=20, busy=busy, alike=self.batch)
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


def talks(rows: Sequence[Row], draw: bool = True) -> Batch:
    """Several dialogues; without their pictures where the tower is not asked."""
    longest = max(len(row.ids) for row in rows)

    def padded(lists: Iterable[list[int]], padding: int) -> Tensor:
        return torch.tensor([numbers + [padding] * (longest - len(numbers)) for numbers in lists])

    texts = (
        padded((row.ids for row in rows), 0),
        padded((row.labels for row in rows), IGNORED),
        padded((row.spelt for row in rows), IGNORED),
        padded((row.turns for row in rows), 0),
        {name: padded((row.hints[name] for row in rows), IGNORED) for name in HINTS},
    )
    shown = [scene for row in rows for scene in row.pictures]
    if draw and shown:
        return Batch(*texts, *scenes(shown))
    codes = [truth(scene) for scene in shown]
    return Batch(*texts, torch.empty(0), torch.stack(codes) if codes else torch.empty(0))
