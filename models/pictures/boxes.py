"""What an answer of Qwen-VL points at: ``<ref>the cat</ref><box>(x1,y1),(x2,y2)</box>``.

Coordinates are thousandths of the picture's width and height. Models write this by heart, so what
cannot be read is left out: the parser raises nothing.
"""

import re
import unicodedata
from dataclasses import dataclass

SCALE = 1000
# One after the other; what is inside another element is part of that one. One that nobody closes ends
# where the next begins.
_ELEMENT = re.compile(
    r"""
    <ref> (?P<label> (?: (?!<ref>) . )*? ) </ref>
    | <ref> (?P<open> .*? ) (?: (?= <(?:ref|box|quad)> ) | $ )
    | <(?P<name> box | quad )> (?P<inside> .*? ) (?: </(?P=name)> | (?= <(?:ref|box|quad)> ) | $ )
    | <img> .*? (?: </img> | $ )
    """,
    re.DOTALL | re.VERBOSE,
)
_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")
_TAG = re.compile(r"</?(?:ref|box|quad)>")


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
    """The boxes in an answer. A label belongs to the box directly behind it, as in the original."""
    boxes: list[Box] = []
    label, behind = "", -1
    for element in _ELEMENT.finditer(unicodedata.normalize("NFC", text)):
        if element["name"] == "box" and (corners := _corners(element["inside"])):
            boxes.append(Box(*corners, label if element.start() == behind else ""))
        label, behind = element["label"] or element["open"] or "", element.end()
    return boxes


def _corners(text: str) -> tuple[int, int, int, int] | None:
    numbers = [min(max(int(float(number)), 0), SCALE) for number in _NUMBER.findall(text)]
    if len(numbers) != 4:
        return None
    left, top, right, bottom = numbers
    return left, top, right, bottom


def without_tags(text: str) -> str:
    """An answer as a person reads it: labels stay, coordinates go."""
    shapes = re.compile(r"<(box|quad)>.*?(?:</\1>|(?=<(?:ref|box|quad)>)|$)", re.DOTALL)
    return _TAG.sub("", shapes.sub("", text))
