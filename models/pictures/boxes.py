"""What an answer of Qwen-VL points at: ``<ref>the cat</ref><box>(x1,y1),(x2,y2)</box>``.

Qwen2-VL, which a server may run, writes ``<|object_ref_start|>the cat<|object_ref_end|><|box_start|>…<|box_end|>``.
Coordinates are thousandths of the picture's width and height. Models write this by heart, so what
cannot be read is left out: the parser raises nothing.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

SCALE = 1000
_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")
_TAG = re.compile(r"<(/?)(ref|box|quad|img)>")
_LATER = re.compile(r"<\|(object_ref|box|quad)_(start|end)\|>")  # Qwen2-VL's
_BETWEEN = re.compile(r"[\s,;、，；]*")  # boxes that one label has
MOST = 1000  # boxes of one answer that are read


@dataclass(frozen=True)
class Box:
    """A rectangle on a picture, in thousandths; `label` is what the answer calls it, or empty.

    The corners are as the answer gives them: now and then the second is not the lower right one.
    """

    left: int
    top: int
    right: int
    bottom: int
    label: str = ""

    def pixels(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom on a picture of this size, rounded as in the original, but in order."""
        left, right = sorted(int(x / SCALE * width) for x in (self.left, self.right))
        top, bottom = sorted(int(y / SCALE * height) for y in (self.top, self.bottom))
        return left, top, right, bottom

    def __str__(self) -> str:
        """As the model reads and writes it."""
        box = f"<box>({self.left},{self.top}),({self.right},{self.bottom})</box>"
        return f"<ref>{self.label}</ref>{box}" if self.label else box


def find_boxes(text: str) -> list[Box]:
    """The boxes in an answer, at most `MOST`. A label belongs to all boxes that follow it one after another."""
    text = unicodedata.normalize("NFC", _in_first_form(text))
    boxes: list[Box] = []
    label, behind = "", -1
    for kind, begin, inside, end in _elements(text):
        follows = behind >= 0 and _BETWEEN.fullmatch(text, behind, begin)
        if kind == "ref":
            label = inside
        elif not follows:
            label = ""
        if kind == "box" and (corners := _corners(inside)):
            boxes.append(Box(*corners, label))
            if len(boxes) == MOST:
                break
        behind = end if kind in ("ref", "box") else -1
    return boxes


def _in_first_form(text: str) -> str:
    """Qwen2-VL's tags as Qwen-VL's."""
    return _LATER.sub(lambda tag: f"<{'/' if tag[2] == 'end' else ''}{tag[1].removeprefix('object_')}>", text)


def _elements(text: str) -> Iterator[tuple[str, int, str, int]]:
    """Kind, begin, inside and end of every element, in one scan.

    What is inside another element is part of that one. One that nobody closes ends where the next begins.
    """
    tags = list(_TAG.finditer(text))
    labels = [tag for tag in tags if tag[2] == "ref"]
    closed = {one.start() for one, next in pairwise(labels) if next[1]}  # labels that may hold boxes
    kind, begin, start = "", 0, 0
    for tag in tags:
        if tag[1] and tag[2] == kind:
            yield kind, begin, text[start : tag.start()], tag.end()
            kind = ""
        elif not tag[1] and kind != "img" and not (kind == "ref" and begin in closed):
            if kind:
                yield kind, begin, text[start : tag.start()], tag.start()
            kind, begin, start = tag[2], tag.start(), tag.end()
    if kind:
        yield kind, begin, text[start:], len(text)


def _corners(text: str) -> tuple[int, int, int, int] | None:
    numbers = [min(max(int(float(number)), 0), SCALE) for number in _NUMBER.findall(text)]
    if len(numbers) != 4:
        return None
    left, top, right, bottom = numbers
    return left, top, right, bottom


def without_tags(text: str) -> str:
    """An answer as a person reads it: labels stay, coordinates go."""
    shapes = re.compile(r"<(box|quad)>.*?(?:</\1>|(?=<(?:ref|box|quad)>)|$)", re.DOTALL)
    return _TAG.sub("", shapes.sub("", _in_first_form(text)))
