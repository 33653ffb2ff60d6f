"""Pictures for people to look at: made smaller, and with boxes drawn on them."""

import re
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from models.pictures.boxes import Box, find_boxes
from models.pictures.reading import read_picture

COLOURS = ("#e6194b", "#0a7d33", "#0057d9", "#b8460e", "#7a1fa2", "#00687a", "#9c0062", "#5a5a00")
# Fonts with Chinese that systems come with; Pillow's own has none.
FONTS = (
    "NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.otf", "wqy-microhei.ttc", "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf", "msyh.ttc", "simhei.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc",
)  # fmt: skip

_NAMED = re.compile(
    r"\b(?:picture|image)\s*(\d{1,4})(?!\d)|图片?\s*(\d{1,4})(?!\d)|第([一二三四五六七八九]|\d{1,4})[张幅]",
    re.IGNORECASE,
)


def preview(data: bytes, side: int) -> bytes:
    """The picture as a JPEG whose longer side has at most `side` pixels. Raises BadInput."""
    return _encoded(_within(read_picture(data, side), side), "JPEG")


def annotated(data: bytes, boxes: Sequence[Box], side: int = 0) -> bytes:
    """The picture as a PNG with its boxes drawn and numbered from 1, at most `side` pixels long if given.

    Raises:
        BadInput: it is no picture.
    """
    from PIL import ImageDraw

    image = read_picture(data, side)
    image = _within(image, side) if side else image
    draw = ImageDraw.Draw(image)
    scale = min(max(image.size), 3 * min(image.size))  # long strips have small letters
    thick, size = max(2, scale // 300), max(14, scale // 32)
    for number, box in enumerate(boxes):
        colour = COLOURS[number % len(COLOURS)]
        corners = box.pixels(*image.size)
        draw.rectangle(corners, outline=colour, width=thick)
        _tag(draw, f"{number + 1} {box.label}".strip(), corners[:2], colour, size)
    return _encoded(image, "PNG")


def in_pixels(data: bytes, boxes: Sequence[Box]) -> tuple[int, int, list[tuple[int, int, int, int]]]:
    """Width and height of the upright picture, and left, top, right and bottom of each box on it."""
    width, height = read_picture(data).size
    return width, height, [box.pixels(width, height) for box in boxes]


def _tag(draw: Any, text: str, corner: tuple[int, int], colour: str, size: int) -> None:
    """A label above the corner of a box, inside it where there is no room above."""
    font = _font(size, text)
    if font is None:  # the number is left, which the list of boxes explains
        text, font = text.split()[0], _font(size, "")
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    wide, high = right - left + size // 2, bottom - top + size // 2
    x = max(0, min(corner[0], draw.im.size[0] - wide))
    y = corner[1] - high if corner[1] >= high else corner[1]
    draw.rectangle((x, y, x + wide, y + high), fill=colour)
    draw.text((x + size // 4 - left, y + size // 4 - top), text, fill="white", font=font)


def _font(size: int, text: str) -> Any:
    """A font that has the characters of `text`, or None."""
    from PIL import ImageFont

    if text.isascii():
        return ImageFont.load_default(size)
    for name in FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return None


def _within(image: Any, side: int) -> Any:
    image.thumbnail((side, side))
    return image


def _encoded(image: Any, format: str) -> bytes:
    file = BytesIO()
    image.save(file, format)
    return file.getvalue()


def boxes_by_picture(text: str, otherwise: int) -> dict[int, list[Box]]:
    """The boxes of an answer by the number of the picture that they are on.

    Args:
        otherwise: the picture meant where the text has not yet named one ("Picture 2", "图2", "第二张").
    """
    found: dict[int, list[Box]] = {}
    at, start = otherwise, 0
    outside = re.sub(r"<ref>(?:(?!<ref>).)*?</ref>", lambda label: " " * len(label[0]), text, flags=re.DOTALL)
    for name in [*_NAMED.finditer(outside), None]:
        end = name.start() if name else len(text)
        if boxes := find_boxes(text[start:end]):
            found.setdefault(at, []).extend(boxes)
        if name:
            at, start = _number(next(group for group in name.groups() if group)), end
    return found


def named_picture(text: str) -> int | None:
    """The number of the picture that a question names last."""
    numbers = [_number(next(group for group in groups if group)) for groups in _NAMED.findall(text)]
    return numbers[-1] if numbers else None


def _number(word: str) -> int:
    return int(word) if word.isdecimal() else "零一二三四五六七八九".index(word)
