"""Whether a picture is drawn: plain colours with sharp edges between them, as shapes, signs and charts have.

A checkpoint that was trained on drawn scenes answers about a photograph as readily as about those.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from models.pictures.reading import read_picture
from models.schema import Checkpoint, Text

if TYPE_CHECKING:
    from PIL.Image import Image

LARGE, SMALL = 1024, 256  # pixels of the longer side in which edges are counted, and surfaces looked at
EDGE, PLAIN = 40, 2  # steps of 255 from which neighbours are parted, and up to which they are one colour
STRONG, SOFT = 64, 48  # a step of an edge that JPEG has ripples around, and the most of what is none
RIPPLES = 8  # pixels that these reach

# What is drawn keeps to all three. They were chosen on 1,212 files of 303 drawn scenes (PNG, JPEG from quality 30 on, WebP,
# and from a third to three times their size), on 30 photographs and scans, most of them scikit-image's, and on 55
# screenshots. Scenes have at most 32, at least 0.47, at most 0.07; of 1,252 files of 313 others one has more, 42 edges.
# All photographs and 53 screenshots are told from them, by the first (11 and 53), the second (28 and 2) or the third
# (26 and 40).
MOST_CROSSED = 36
LEAST_PLAIN = 0.42
MOST_TEXTURE = 0.1


class Surface(NamedTuple):
    """What a picture looks like.

    Attributes:
        crossed: edges that a line crosses where it crosses many, in rows or in columns: small print has them.
        plain: share of the pixels whose neighbours have the same colour.
        texture: share of those that differ softly from them, with no edge nearby that would explain it.
        side: pixels of the longer side in which the shares were found.
    """

    crossed: float
    plain: float
    texture: float
    side: int


def is_drawn(data: bytes) -> bool:
    """Whether all of a picture could be drawn. Raises BadInput as `read_picture`."""
    seen = surface(data)
    # Edges take more of a small picture.
    least = LEAST_PLAIN * min(1.0, seen.side / SMALL) ** 2
    return seen.crossed <= MOST_CROSSED and seen.plain >= least and seen.texture <= MOST_TEXTURE


def remark_on(data: bytes, checkpoint: Checkpoint) -> Text | None:
    """What there is to say of a picture before this checkpoint's answer. Raises BadInput as `read_picture`."""
    return checkpoint.drawn_only if checkpoint.drawn_only and not is_drawn(data) else None


def surface(data: bytes) -> Surface:
    """Look at a picture. Raises BadInput as `read_picture`."""
    import numpy as np
    from PIL import Image, ImageFilter

    image = read_picture(data, LARGE)
    longer = max(image.size)
    image.thumbnail((LARGE, LARGE))
    crossed = _crossed(image)
    image.thumbnail((SMALL, SMALL))
    side = max(image.size)
    steps = _steps(image)
    reach = max(2, round(RIPPLES * side / longer))
    edges = Image.fromarray(np.where(steps > STRONG, np.uint8(255), np.uint8(0)))
    near = np.asarray(edges.filter(ImageFilter.BoxBlur(reach))) > 0
    soft = (steps > PLAIN + 1) & (steps <= SOFT) & ~near
    return Surface(crossed, float((steps <= PLAIN).mean()), float(soft.mean()), side)


def _steps(image: "Image") -> Any:
    """How far each pixel's neighbours lie apart, in the colour in which that is most, uint8 (height, width)."""
    import numpy as np

    pixels = np.pad(np.asarray(image), ((1, 1), (1, 1), (0, 0)), "edge")

    def over(values: Any, choose: Any) -> Any:
        rows = choose(choose(values[:-2], values[1:-1]), values[2:])
        return choose(choose(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])

    return _most(over(pixels, np.maximum) - over(pixels, np.minimum))


def _most(colours: Any) -> Any:
    import numpy as np

    return np.maximum(np.maximum(colours[..., 0], colours[..., 1]), colours[..., 2])


def _crossed(image: "Image") -> float:
    """Edges in a row, or in a column, that has more of them than 99 of 100."""
    import numpy as np
    from PIL import ImageChops

    width, height = image.size

    def most(moved: Any, still: Any, axis: int) -> float:
        edges = _most(np.asarray(ImageChops.difference(moved, still))) > EDGE
        begun = np.diff(edges, axis=axis, prepend=False) & edges
        return float(np.percentile(begun.sum(axis), 99)) if begun.size else 0.0

    across = most(image.crop((1, 0, width, height)), image.crop((0, 0, width - 1, height)), 1)
    down = most(image.crop((0, 1, width, height)), image.crop((0, 0, width, height - 1)), 0)
    return max(across, down)
