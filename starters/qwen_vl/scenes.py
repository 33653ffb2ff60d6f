"""Drawn scenes from a seed: shapes, printed words, simple charts, and the truth about them.

Positions are pixels of the scene's own width and height, x to the right and y downwards.
"""

import random
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL import ImageFont

Box = tuple[float, float, float, float]  # left, top, right, bottom
Layout = Literal["free", "row", "column", "grid", "sign", "bars", "pie", "unknown"]

SHAPES = ("circle", "square", "triangle", "star", "diamond", "heart", "cross", "ring", "hexagon")
THINGS = ("house", "tree", "car", "flower", "fish")
KINDS = (*SHAPES, *THINGS)
BEARING = ("circle", "square", "hexagon")  # shapes wide enough for a printed letter
COLOURS = {
    "red": (220, 30, 35), "orange": (250, 140, 20), "yellow": (250, 220, 40), "green": (35, 150, 60),
    "blue": (40, 85, 215), "purple": (135, 45, 165), "pink": (250, 150, 190), "brown": (125, 75, 40),
    "black": (20, 20, 22), "grey": (130, 132, 136), "white": (250, 250, 250),
}  # fmt: skip
BACKGROUNDS = {
    "white": (255, 255, 255), "black": (16, 16, 20), "grey": (205, 206, 210), "light blue": (200, 226, 250),
    "light green": (208, 240, 205), "light yellow": (255, 246, 205), "dark blue": (22, 34, 84),
}  # fmt: skip
SIZES = {"small": (0.11, 0.15), "medium": (0.19, 0.25), "large": (0.32, 0.42)}  # of the shorter side
UNSEEN = 50_000_000  # from here on seeds are never trained on
SIDE = 16  # places per side, of which the model's vision tower says what is there
# Height of the smallest letters, of the shorter side: each fills about one place.
LEGIBLE = 0.12
WORDS = (
    "OPEN CLOSED EXIT ENTER STOP GO SALE HELLO BYE WELCOME COFFEE TEA MILK BREAD CAKE PIZZA WATER FIRE ICE "
    "PUSH PULL UP DOWN LEFT RIGHT YES NO ON OFF HOT COLD BUS TAXI TRAIN METRO HOTEL BANK SHOP CAFE BAR PARK "
    "ZOO BOOK MUSIC GAME MOVIE NEWS HOME SCHOOL WORK PLAY LOVE LUCK HAPPY QUIET DANGER LAKE RIVER SUN MOON "
    "STAR SKY SNOW RAIN WIND CAT DOG BIRD FISH LION TIGER PANDA APPLE LEMON MELON PEACH GRAPE JAZZ ROCK "
    "MAY JUNE JULY MONDAY SUNDAY TODAY NEW OLD BIG TOP BEST FREE FAST SLOW QUEEN KING JUMP BOX SIX TEN VIP "
    "OK TV PC QUIZ FOX WAX MIX EXTRA ZERO ZIP JOB VAN WEB"
)
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"  # alone, I and O look like 1 and 0


@dataclass(frozen=True)
class Item:
    """One thing to be seen.

    Attributes:
        kind: one of KINDS, or "text", "bar", "slice".
        colour: a name in COLOURS; of a text, its letters'.
        box: what it covers.
        text: what is printed: the text itself, the letter on a shape, the value of a bar.
        label: the letter below a bar.
        height: pixels of the font of its text.
        share: of a slice, from 0 to 1.
    """

    kind: str
    colour: str
    box: Box
    text: str = ""
    label: str = ""
    height: float = 0
    share: float = 0

    @property
    def centre(self) -> tuple[float, float]:
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2

    @property
    def area(self) -> float:
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


@dataclass(frozen=True)
class Scene:
    """A picture to be drawn, and the truth about it.

    Items are in the order of the model's places, row by row, in which it comes across them.

    Attributes:
        panel: colour and place of a sign's board; None where there is no sign.
        shape: rows and columns of a grid.
        seed: decides what is drawn but never asked: shades, textures.
    """

    layout: Layout
    background: str
    width: int
    height: int
    items: tuple[Item, ...]
    seed: int
    panel: tuple[str, Box] | None = None
    shape: tuple[int, int] = (0, 0)

    @property
    def objects(self) -> list[Item]:
        return [item for item in self.items if item.kind in KINDS]

    @property
    def texts(self) -> list[str]:
        """What a reader reads aloud, in order; of a bar its letter and its value."""
        return [f"{item.label} {item.text}".strip() for item in self.items if item.text]

    def size(self, item: Item) -> str:
        """ "small", "medium" or "large", by the height of the item."""
        part = (item.box[3] - item.box[1]) / min(self.width, self.height)
        return "small" if part < 0.17 else "medium" if part < 0.28 else "large"

    def place(self, item: Item) -> int:
        """The ninth of the picture that holds the item's centre: 0 top left, 2 top right, 8 bottom right."""
        x, y = item.centre
        return min(2, int(3 * y / self.height)) * 3 + min(2, int(3 * x / self.width))

    def cell(self, x: float, y: float) -> tuple[int, int]:
        """Row and column of the model's place that holds a point."""
        row, column = int(SIDE * y / self.height), int(SIDE * x / self.width)
        return min(SIDE - 1, max(0, row)), min(SIDE - 1, max(0, column))

    def steps(self, box: Box) -> tuple[int, int, int, int]:
        """A box in quarters of the model's places: a small model sees no finer."""
        sides = (self.width, self.height, self.width, self.height)
        left, top, right, bottom = (
            min(4 * SIDE - 1, max(0, round(4 * SIDE * at / side)))
            for at, side in zip(box, sides, strict=True)
        )
        return left, top, right, bottom

    def on_grid(self, box: Box, exact: bool = False) -> tuple[int, int, int, int]:
        """A box as Qwen-VL writes it, in thousandths of the picture's sides: `exact`, or its `steps` in tens."""
        if exact:
            across, down = 1000 / self.width, 1000 / self.height
            corners = zip(box, (across, down) * 2, strict=True)
            left, top, right, bottom = (min(999, max(0, round(at * scale))) for at, scale in corners)
        else:
            left, top, right, bottom = map(written, self.steps(box))
        return left, top, right, bottom


def written(step: int) -> int:
    """A step as it is written in a box."""
    return 10 * round(25 * step / SIDE)


def step_of(number: int) -> int:
    """The step that was written as this number."""
    return round(number * SIDE / 250)


@cache
def font(height: int) -> "ImageFont.FreeTypeFont":
    """The font that comes with Pillow, in pixels."""
    from PIL import ImageFont

    made = ImageFont.load_default(size=height)
    if not isinstance(made, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType: its only font has one size.")
    return made


def text_size(text: str, height: float) -> tuple[float, float]:
    """Width and height of the ink of a text."""
    left, top, right, bottom = font(round(height)).getbbox(text)
    return right - left, bottom - top


def glyphs(item: Item) -> list[tuple[str, float, float]]:
    """Each character of an item's text and label, with the middle of it."""
    face = font(round(item.height))
    middle, y = item.centre
    label = []
    if item.kind == "bar":
        y = item.box[1] - 0.6 * item.height
        label = [(item.label, middle, item.box[3] + 0.65 * item.height)]
    left = middle - face.getlength(item.text) / 2
    bounds = [left + face.getlength(item.text[:n]) for n in range(len(item.text) + 1)]
    return [
        (character, (start + end) / 2, y)
        for character, start, end in zip(item.text, bounds, bounds[1:], strict=False)
    ] + label


def distinct(colour: str, background: tuple[int, int, int], least: int = 130) -> bool:
    """Whether a colour stands out from a background."""
    return sum(abs(a - b) for a, b in zip(COLOURS[colour], background, strict=True)) > least


# --- what a scene is made of ---------------------------------------------------------------------


class _Maker:
    """Takes decisions for one scene.

    Args:
        seed: of all of them.
        busy: from 0 for the simplest scenes to 1 for all that there are.
    """

    def __init__(self, seed: int, busy: float) -> None:
        self.seed, self.busy = seed, busy
        self.random = random.Random(seed)
        sides = self.random.choice([(384, 384)] * 6 + [(480, 384), (384, 480), (512, 384)])
        self.width, self.height = sides
        self.unit = min(sides)
        self.background = self.random.choice(["white"] * 5 + list(BACKGROUNDS))
        self.colours = [name for name in COLOURS if distinct(name, BACKGROUNDS[self.background])]

    def scene(
        self,
        layout: Layout,
        items: Sequence[Item],
        panel: tuple[str, Box] | None = None,
        shape: tuple[int, int] = (0, 0),
    ) -> Scene:
        made = Scene(layout, self.background, self.width, self.height, tuple(items), self.seed, panel, shape)
        if layout == "free":
            return replace(made, items=tuple(sorted(items, key=lambda item: made.cell(*item.centre))))
        return made

    def words(self) -> str:
        """A word, a number, or letters in any order."""
        kind = self.random.random()
        if kind < 0.3:
            return "".join(self.random.choices(string.digits, k=self.random.randint(1, 4)))
        if kind < 0.6:
            return "".join(self.random.choices(LETTERS, k=self.random.randint(1, 5)))
        word = self.random.choice(WORDS.split())
        return self.random.choice([word] * 5 + [word.title(), word.lower()])

    def centred(self, x: float, y: float, width: float, height: float) -> Box:
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2

    def text(self, x: float, y: float, height: float, colour: str, words: str) -> Item:
        return Item("text", colour, self.centred(x, y, *text_size(words, height)), words, height=height)

    def object(self, x: float, y: float, side: float) -> Item:
        kind = self.random.choice((*SHAPES, *KINDS))
        item = Item(kind, self.random.choice(self.colours), self.centred(x, y, side, side))
        if kind in BEARING and side > 0.18 * self.unit and self.random.random() < 0.25:
            letter = self.random.choice(LETTERS + string.digits)
            return replace(item, text=letter, height=round(0.6 * side))
        return item

    def free(self) -> Scene:
        """Up to six objects and two texts anywhere, none on another."""
        most = 1 + round(5 * self.busy)
        count = self.random.randint(1, most)
        kinds = self.random.choice(("mixed", "mixed", "few"))
        items: list[Item] = []
        for _ in range(count):
            size = self.random.choice(list(SIZES) if count < 5 else ["small", "medium"])
            side = self.unit * self.random.uniform(*SIZES[size])
            item = self.object(0, 0, side)
            if kinds == "few" and items and self.random.random() < 0.6:
                item = replace(item, kind=items[0].kind, text="")
                item = replace(item, colour=self.random.choice([items[0].colour, item.colour]))
            self._place(item, items)
        if self.random.random() < 0.35 * self.busy:
            for _ in range(self.random.choice((1, 1, 2))):
                height = self.unit * self.random.uniform(LEGIBLE, 0.17)
                self._place(self.text(0, 0, height, self.random.choice(self.colours), self.words()), items)
        return self.scene("free", items)

    def _place(self, item: Item, items: list[Item]) -> None:
        """Adds the item where there is room, if there is any."""
        width, height = item.box[2] - item.box[0], item.box[3] - item.box[1]
        gap = 0.02 * self.unit
        for _ in range(40):
            left = self.random.uniform(gap, max(gap, self.width - width - gap))
            top = self.random.uniform(gap, max(gap, self.height - height - gap))
            box = (left, top, left + width, top + height)
            if box[2] < self.width and all(_apart(box, other.box, gap) for other in items):
                items.append(replace(item, box=box))
                return

    def crowd(self) -> Scene:
        """As many things as there is room for, perhaps on a board: much to be looked at, nothing to be told."""
        half = self.random.random() < 0.5
        board = self.random.choice(self.colours)
        box = (0.0, 0.0, float(self.width), float(self.height)) if half else None
        ground = COLOURS[board] if box else BACKGROUNDS[self.background]
        colours = [name for name in COLOURS if distinct(name, ground, 280 if box else 130)]
        self.colours, items = colours, list[Item]()
        for _ in range(self.random.randint(6, 24)):
            if self.random.random() < 0.5:
                height = self.unit * self.random.triangular(LEGIBLE, 0.3, LEGIBLE)
                letters = string.digits if self.random.random() < 0.3 else 2 * LETTERS + string.ascii_letters
                words = "".join(self.random.choices(letters, k=self.random.randint(1, 6)))
                if text_size(words, height)[0] < 0.9 * self.width:
                    self._place(self.text(0, 0, height, self.random.choice(colours), words), items)
            else:
                side = self.unit * self.random.uniform(
                    *SIZES[self.random.choice((*SIZES, "small", "medium"))]
                )
                self._place(self.object(0, 0, side), items)
        return self.scene("free", items, panel=(board, box) if box else None)

    def line(self) -> Scene:
        """Two to six objects side by side, or one below the other."""
        layout: Layout = self.random.choice(("row", "column"))
        count = self.random.randint(2, 6)
        return self._lattice(layout, *((1, count) if layout == "row" else (count, 1)))

    def grid(self) -> Scene:
        return self._lattice("grid", self.random.randint(2, 3), self.random.randint(2, 4))

    def _lattice(self, layout: Layout, rows: int, columns: int) -> Scene:
        across, down = self.width / columns, self.height / rows
        side = min(across, down, 0.5 * self.unit) * self.random.uniform(0.5, 0.75)
        models = [self.object(0, 0, side) for _ in range(self.random.choice((1, 1, 2, 6)))]
        items = []
        for row in range(rows):
            for column in range(columns):
                box = self.centred((column + 0.5) * across, (row + 0.5) * down, side, side)
                items.append(replace(self.random.choice(models), box=box, text=""))
        return self.scene(layout, items, shape=(rows, columns))

    def sign(self) -> Scene:
        """A board with one to three lines on it."""
        count = self.random.randint(1, 1 + round(2 * self.busy))
        lines = [self.words() for _ in range(count)]
        widest = max(text_size(line, 100)[0] for line in lines) / 100
        height = min(0.78 * self.width / widest, 0.62 * self.height / count, 0.3 * self.unit)
        height = max(LEGIBLE * self.unit, height * self.random.uniform(0.6, 1))
        board = self.random.choice(self.colours)
        colour = self.random.choice([name for name in COLOURS if distinct(name, COLOURS[board], 280)])
        half_x, half_y = widest * height / 2 + 0.07 * self.width, 0.62 * height * count + 0.05 * self.height
        x = self.random.uniform(half_x, self.width - half_x) if 2 * half_x < self.width else self.width / 2
        y = self.random.uniform(half_y, self.height - half_y) if 2 * half_y < self.height else self.height / 2
        step = 1.15 * height
        first = y - step * (count - 1) / 2
        items = [self.text(x, first + n * step, height, colour, line) for n, line in enumerate(lines)]
        return self.scene("sign", items, panel=(board, self.centred(x, y, 2 * half_x, 2 * half_y)))

    def bars(self) -> Scene:
        """Two to five bars, letters below and values above."""
        count = self.random.randint(2, 5)
        values = self.random.sample(range(1, 100), count)
        one = self.random.random() < 0.5
        colours = (
            [self.random.choice(self.colours)] * count if one else self.random.sample(self.colours, count)
        )
        bottom, room = 0.86 * self.height, 0.68 * self.height
        step = 0.9 * self.width / count
        wide = step * self.random.uniform(0.45, 0.7)
        items = []
        for n, (value, colour) in enumerate(zip(values, colours, strict=True)):
            x = 0.05 * self.width + (n + 0.5) * step
            box = (x - wide / 2, bottom - room * value / max(values), x + wide / 2, bottom)
            label = string.ascii_uppercase[n]
            items.append(Item("bar", colour, box, str(value), label, height=LEGIBLE * self.unit))
        return self.scene("bars", items)

    def pie(self) -> Scene:
        """Two to four slices, clockwise from the top."""
        count = self.random.randint(2, 4)
        parts = [self.random.uniform(0.5, 3) for _ in range(count)]
        side = self.unit * self.random.uniform(0.6, 0.85)
        box = self.centred(self.width / 2, self.height / 2, side, side)
        colours = self.random.sample(self.colours, count)
        slices = [
            Item("slice", colour, box, share=part / sum(parts))
            for colour, part in zip(colours, parts, strict=True)
        ]
        return self.scene("pie", slices)

    def unknown(self) -> Scene:
        """What is no drawing: a texture like a photograph's."""
        return self.scene("unknown", [])


def _apart(first: Box, second: Box, gap: float) -> bool:
    return (
        first[2] + gap < second[0]
        or second[2] + gap < first[0]
        or first[3] + gap < second[1]
        or second[3] + gap < first[1]
    )


_LAYOUTS = ("free",) * 9 + ("line",) * 2 + ("grid",) * 2 + ("sign",) * 4 + ("bars",) * 2 + ("pie", "unknown")


def make(seed: int, layout: str | None = None, busy: float = 1) -> Scene:
    """A scene. The same arguments always give the same one.

    Args:
        layout: "free", "line", "grid", "sign", "bars", "pie" or "unknown", any of them by default; or "crowd".
        busy: from 0 for the simplest scenes to 1 for all that there are.
    """
    maker = _Maker(seed, busy)
    method = layout or maker.random.choice(_LAYOUTS)
    made: Scene = getattr(maker, method)()
    return made


def changed(scene: Scene, seed: int) -> Scene:
    """The scene with one object recoloured or taken away, to be compared with it."""
    choose = random.Random(seed)
    items = list(scene.items)
    at = choose.choice([n for n, item in enumerate(items) if item.kind in KINDS])
    if len(scene.objects) > 1 and choose.random() < 0.5:
        del items[at]
    else:
        background = BACKGROUNDS[scene.background]
        others = [name for name in COLOURS if name != items[at].colour and distinct(name, background)]
        items[at] = replace(items[at], colour=choose.choice(others))
    return replace(scene, items=tuple(items), layout="free", shape=(0, 0), seed=seed)
