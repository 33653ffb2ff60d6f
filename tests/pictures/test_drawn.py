"""What is drawn and what is not, by its colours and edges: scenes, photographs and screenshots."""

import io
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from models.catalog import CHECKPOINTS
from models.errors import BadInput
from models.pictures.drawn import is_drawn, remark_on
from starters.qwen_vl.drawing import draw
from starters.qwen_vl.scenes import UNSEEN, make
from tests.fakes.paths import ROOT

PHOTOGRAPHS = ROOT.parent / "shared" / "images"


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


# --- drawn ---------------------------------------------------------------------------------------


def scenes(first: int, count: int) -> list[Image.Image]:
    made = (make(UNSEEN + seed) for seed in range(first, first + count))
    return [draw(scene) for scene in made if scene.layout != "unknown"]


@pytest.mark.slow
def test_one_scene_in_a_hundred_may_be_taken_for_something_else() -> None:
    pictures = scenes(0, 320)
    assert len(pictures) > 300
    assert sum(not is_drawn(encoded(picture)) for picture in pictures) <= 3


def smaller(image: Image.Image) -> bytes:
    return encoded(image.resize((image.width // 2, image.height // 2)), "JPEG", quality=75)


@pytest.mark.parametrize(
    "sent",
    [
        lambda image: encoded(image, "JPEG", quality=40),
        lambda image: encoded(image, "WEBP", quality=60),
        lambda image: encoded(image.resize((3 * image.width, 3 * image.height)), "JPEG", quality=85),
        smaller,
        lambda image: encoded(image.convert("P", palette=Image.Palette.ADAPTIVE), "GIF"),
    ],
)
def test_scenes_stay_drawn_however_they_were_sent(sent: Callable[[Image.Image], bytes]) -> None:
    assert all(is_drawn(sent(picture)) for picture in scenes(1000, 12))


def by_hand(seed: int) -> Image.Image:
    """Shapes with outlines, a freehand line and a word."""
    chance = np.random.default_rng(seed)
    image = Image.new("RGB", (640, 480), tuple(chance.integers(180, 256, 3).tolist()))
    brush = ImageDraw.Draw(image)
    for _ in range(4):
        left, top = chance.integers(0, 400, 2).tolist()
        colour, outline = (tuple(chance.integers(0, 256, 3).tolist()) for _ in range(2))
        brush.ellipse((left, top, left + 120, top + 90), colour, outline, 3)
        brush.text((top, left), "Hello", outline, ImageFont.load_default(40))
    steps = chance.normal(0, 15, (40, 2)).cumsum(0) + 200
    brush.line([tuple(point) for point in steps.tolist()], (20, 20, 60), 4, "curve")
    return image


@pytest.mark.parametrize("seed", range(5))
def test_what_somebody_drew_by_hand_is_drawn(seed: int) -> None:
    image = by_hand(seed)
    assert is_drawn(encoded(image)) and is_drawn(encoded(image, "JPEG", quality=60))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (8, 8), (40, 20)])
def test_a_plain_picture_is_drawn(size: tuple[int, int]) -> None:
    assert is_drawn(encoded(Image.new("RGB", size, "orange")))


# --- not drawn -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cow_in_beach.jpg", "lilly.jpg", "sunflower.JPG"])
def test_photographs_are_not_drawn(name: str) -> None:
    if not (PHOTOGRAPHS / name).is_file():
        pytest.skip("these photographs do not come with the repository")
    assert not is_drawn((PHOTOGRAPHS / name).read_bytes())


# Photographs and scans that packages bring along, by package and folder.
BROUGHT = {
    ("matplotlib", "mpl-data/sample_data"): "grace_hopper.jpg",
    (
        "skimage",
        "data",
    ): "astronaut.png brick.png camera.png cell.png chelsea.png clock_motion.png coffee.png coins.png "
    "grass.png gravel.png hubble_deep_field.jpg ihc.png microaneurysms.png moon.png motorcycle_left.png "
    "motorcycle_right.png page.png retina.jpg rocket.jpg text.png",
    ("sklearn", "datasets/images"): "china.jpg flower.jpg",
}


@pytest.mark.parametrize(("package", "folder"), list(BROUGHT))
def test_photographs_of_installed_packages_are_not_drawn(package: str, folder: str) -> None:
    if not (found := find_spec(package)) or not found.origin:
        pytest.skip(f"{package} is not installed")
    photographs = [Path(found.origin).parent / folder / name for name in BROUGHT[package, folder].split()]
    taken = [photograph.name for photograph in photographs if is_drawn(photograph.read_bytes())]
    assert taken == []


def landscape(seed: int, grey: bool = False) -> Image.Image:
    """A sky of soft colours, and below it something with a grain."""
    chance = np.random.default_rng(seed)
    sky = np.linspace(chance.integers(120, 255, 3), chance.integers(60, 200, 3), 300)[:, None]
    clouds = Image.fromarray(chance.integers(0, 90, (6, 8), np.uint8)).resize(
        (400, 300), Image.Resampling.BICUBIC
    )
    values = sky + np.asarray(clouds, float)[..., None] - 45
    grain = chance.normal(0, 25, (300, 400, 1)) * (np.arange(300) > 180)[:, None, None]
    values = values + grain + chance.normal(0, 3, values.shape)
    image = Image.fromarray(values.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.8))
    return image.convert("L") if grey else image


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_what_has_soft_colours_and_a_grain_is_not_drawn(seed: int, grey: bool) -> None:
    image = landscape(seed, grey)
    assert not is_drawn(encoded(image)) and not is_drawn(encoded(image, "JPEG", quality=75))


def test_clouds_of_colour_are_not_drawn() -> None:
    textures = [draw(make(seed, "unknown")) for seed in range(20)]
    assert not any(is_drawn(encoded(texture, "JPEG", quality=80)) for texture in textures)


def test_a_thing_on_white_is_a_photograph() -> None:
    picture = Image.new("RGB", (400, 400), "white")
    thing = landscape(3).resize((220, 220))
    picture.paste(thing, (90, 90))
    assert not is_drawn(encoded(picture, "JPEG", quality=90))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_page_of_small_print_is_a_screenshot(width: int, dark: bool) -> None:
    ground, ink = ((20, 22, 30), (230, 230, 230)) if dark else ((255, 255, 255), (40, 40, 50))
    page = Image.new("RGB", (width, 800), ground)
    brush = ImageDraw.Draw(page)
    for row in range(12):
        line = "The quick brown fox jumps over the lazy dog, and then the story goes on. " * 3
        brush.text((16, 40 + 22 * row), line[row:], ink, ImageFont.load_default(14))
    brush.rectangle((16, 400, width - 16, 460), (60, 110, 220))
    assert not is_drawn(encoded(page)) and not is_drawn(encoded(page, "JPEG", quality=85))


@pytest.mark.parametrize("name", ["chat.png", "chat.zh.png"])
def test_screenshots_of_this_program_are_none_of_its_scenes(name: str) -> None:
    assert not is_drawn((ROOT / "docs" / name).read_bytes())


# --- what is said --------------------------------------------------------------------------------


def test_only_who_knows_drawn_scenes_alone_says_so() -> None:
    scene, photograph = encoded(scenes(0, 1)[0]), encoded(landscape(1))
    (limited,) = (row for row in CHECKPOINTS.values() if row.drawn_only)
    assert limited.starter and limited.kind == "vision" and limited.drawn_only
    better = [row.title for row in CHECKPOINTS.values() if row.kind == "vision" and not row.drawn_only]
    for said in limited.drawn_only:
        assert any(title in said for title in better)
    assert remark_on(photograph, limited) == limited.drawn_only and remark_on(scene, limited) is None
    assert remark_on(photograph, CHECKPOINTS["qwen-vl-chat"]) is None


def test_what_is_no_picture_is_said() -> None:
    with pytest.raises(BadInput):
        is_drawn(b"no picture")
