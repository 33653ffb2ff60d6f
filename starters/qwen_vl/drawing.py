"""The pictures of scenes, drawn with Pillow."""

import io
import math
import random
from typing import TYPE_CHECKING

from starters.qwen_vl.scenes import BACKGROUNDS, COLOURS, UNSEEN, Box, Item, Scene, distinct, font, make

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

Points = tuple[tuple[float, float], ...]
Rgb = tuple[int, int, int]


def _around(corners: int, turn: float, inner: float = 1) -> Points:
    """Corners on a circle in the unit square; with `inner`, every second one nearer to the middle."""
    return tuple(
        (
            0.5 + 0.5 * (inner if n % 2 else 1) * math.sin(turn + 2 * math.pi * n / corners),
            0.5 - 0.5 * (inner if n % 2 else 1) * math.cos(turn + 2 * math.pi * n / corners),
        )
        for n in range(corners)
    )


def _heart() -> Points:
    steps = (2 * math.pi * n / 40 for n in range(40))
    return tuple(
        (
            0.5 + math.sin(t) ** 3 / 2,
            0.42 - (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 29,
        )
        for t in steps
    )


def _spread(points: Points) -> Points:
    """The points, stretched to fill the unit square."""
    xs, ys = zip(*points, strict=True)
    wide, high = max(xs) - min(xs), max(ys) - min(ys)
    return tuple(((x - min(xs)) / wide, (y - min(ys)) / high) for x, y in points)


POLYGONS: dict[str, Points] = {
    "square": ((0, 0), (1, 0), (1, 1), (0, 1)),
    "triangle": ((0.5, 0), (1, 1), (0, 1)),
    "diamond": ((0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)),
    "hexagon": _spread(_around(6, 0)),
    "star": _spread(_around(10, 0, 0.4)),
    "heart": _spread(_heart()),
    "cross": (
        (0.33, 0), (0.67, 0), (0.67, 0.33), (1, 0.33), (1, 0.67), (0.67, 0.67),
        (0.67, 1), (0.33, 1), (0.33, 0.67), (0, 0.67), (0, 0.33), (0.33, 0.33),
    ),
    "tail": ((1, 0), (1, 1), (0, 0.5)),
}  # fmt: skip

# Things of several parts: shape, place in the unit square, colour ("" is the thing's own).
PARTS: dict[str, tuple[tuple[str, Box, str], ...]] = {
    "house": (
        ("square", (0.08, 0.42, 0.92, 1), ""),
        ("triangle", (0, 0, 1, 0.45), "brown"),
        ("square", (0.4, 0.62, 0.6, 1), "white"),
    ),
    "tree": (("square", (0.41, 0.5, 0.59, 1), "brown"), ("circle", (0, 0, 1, 0.72), "")),
    "car": (
        ("square", (0, 0.38, 1, 0.82), ""),
        ("square", (0.2, 0, 0.78, 0.5), ""),
        ("square", (0.3, 0.1, 0.68, 0.34), "white"),
        ("circle", (0.1, 0.66, 0.42, 1), "black"),
        ("circle", (0.58, 0.66, 0.9, 1), "black"),
    ),
    "flower": (
        *(("circle", (x, y, x + 0.4, y + 0.4), "") for x, y in ((0.3, 0), (0.6, 0.23), (0.48, 0.6), (0.12, 0.6), (0, 0.23))),
        ("circle", (0.33, 0.35, 0.67, 0.69), "yellow"),
    ),
    "fish": (
        ("tail", (0.55, 0.15, 1, 0.85), ""),
        ("circle", (0, 0, 0.78, 1), ""),
        ("circle", (0.15, 0.3, 0.27, 0.45), "black"),
    ),
}  # fmt: skip


def draw(scene: Scene) -> "Image.Image":
    """The picture of a scene, RGB, of the scene's width and height."""
    from PIL import Image, ImageDraw

    shades = random.Random(scene.seed + 1)
    if scene.layout == "unknown":
        return _texture(scene)
    image = Image.new("RGB", (scene.width, scene.height), BACKGROUNDS[scene.background])
    brush = ImageDraw.Draw(image)
    if scene.panel:
        colour, box = scene.panel
        brush.rounded_rectangle(box, 0.04 * scene.width, COLOURS[colour])
    if scene.layout == "pie":
        _pie(brush, scene)
    for item in scene.items:
        _item(brush, item, _shade(COLOURS[item.colour], shades), BACKGROUNDS[scene.background])
    return image


def example() -> bytes:
    """A PNG of a scene that no training saw, another one each time, and none of the textures that are no scene."""
    file = io.BytesIO()
    while (scene := make(random.randrange(UNSEEN, 2 * UNSEEN))).layout == "unknown":
        pass
    draw(scene).save(file, "PNG")
    return file.getvalue()


def _shade(colour: Rgb, shades: random.Random) -> Rgb:
    """A colour as another hand might mix it."""
    red, green, blue = (min(255, max(0, part + shades.randint(-12, 12))) for part in colour)
    return red, green, blue


def _item(brush: "ImageDraw.ImageDraw", item: Item, colour: Rgb, background: Rgb) -> None:
    ink = COLOURS["black" if distinct("black", background) else "white"]
    if item.kind == "text":
        _print(brush, item.centre, item.text, item.height, colour)
    elif item.kind == "bar":
        brush.rectangle(item.box, colour)
        x, (top, bottom) = item.centre[0], item.box[1::2]
        _print(brush, (x, top - 0.6 * item.height), item.text, item.height, ink)
        _print(brush, (x, bottom + 0.65 * item.height), item.label, item.height, ink)
    elif item.kind != "slice":
        for shape, place, own in PARTS.get(item.kind, ((item.kind, (0, 0, 1, 1), ""),)):
            _shape(brush, shape, _within(item.box, place), COLOURS[own] if own else colour)
        if item.text:
            on_it = COLOURS["white" if distinct("white", COLOURS[item.colour]) else "black"]
            _print(brush, item.centre, item.text, item.height, on_it)


def _within(box: Box, place: Box) -> Box:
    left, top, right, bottom = box
    wide, high = right - left, bottom - top
    return left + wide * place[0], top + high * place[1], left + wide * place[2], top + high * place[3]


def _shape(brush: "ImageDraw.ImageDraw", shape: str, box: Box, colour: Rgb) -> None:
    left, top, right, bottom = box
    if shape == "circle":
        brush.ellipse(box, colour)
    elif shape == "ring":
        brush.ellipse(box, outline=colour, width=round(0.2 * (right - left)))
    else:
        wide, high = right - left, bottom - top
        brush.polygon([(left + wide * x, top + high * y) for x, y in POLYGONS[shape]], colour)


def _print(
    brush: "ImageDraw.ImageDraw", centre: tuple[float, float], text: str, height: float, colour: Rgb
) -> None:
    """A text with the middle of its ink at `centre`."""
    face = font(round(height))
    left, top, right, bottom = face.getbbox(text)
    brush.text(
        (centre[0] - (left + right) / 2, centre[1] - (top + bottom) / 2),
        text,
        colour,
        face,
        stroke_width=height / 45,
    )


def _pie(brush: "ImageDraw.ImageDraw", scene: Scene) -> None:
    start = -90.0
    for item in scene.items:
        end = start + 360 * item.share
        brush.pieslice(item.box, start, end, COLOURS[item.colour])
        start = end


def _texture(scene: Scene) -> "Image.Image":
    """Clouds of colour over several scales, as photographs have them."""
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(abs(scene.seed))
    size = (scene.width, scene.height)
    total = np.zeros((scene.height, scene.width, 3))
    rough = noise.uniform(0.4, 1.2)
    for cells in (2, 4, 8, 16, 32, 64, 128):
        spots = noise.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        weight = noise.uniform(0.3, 1) / cells**rough
        total += weight * np.asarray(Image.fromarray(spots).resize(size, Image.Resampling.BICUBIC), float)
    total -= total.min()
    return Image.fromarray((255 * total / total.max()).astype(np.uint8))
