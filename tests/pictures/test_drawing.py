"""Pictures for people: smaller, upright, with boxes on them; and which picture a text means."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from models.chat.openai_form import write_conversation
from models.errors import BadInput
from models.pictures import drawing
from models.pictures.boxes import Box
from models.pictures.drawing import annotated, boxes_by_picture, in_pixels, named_picture, preview
from models.pictures.reading import check

CAT, DOG = "<ref>cat</ref><box>(1,2),(3,4)</box>", "<box>(5,6),(7,8)</box>"
IS_CAT, IS_DOG = Box(1, 2, 3, 4, "cat"), Box(5, 6, 7, 8)


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def turned(width: int, height: int) -> bytes:
    """A photo that its EXIF turns by a quarter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.new("RGB", (width, height), "white"), "JPEG", exif=exif)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "I;16"])
def test_a_preview_is_a_jpeg_of_at_most_that_size(mode: str) -> None:
    small = opened(preview(encoded(Image.new(mode, (400, 100))), 80))
    assert (small.format, small.size) == ("JPEG", (80, 20))


def test_a_photo_is_shown_and_measured_upright() -> None:
    photo = turned(800, 400)
    assert opened(preview(photo, 100)).size == (50, 100)
    assert in_pixels(photo, [Box(0, 0, 500, 1000)]) == (400, 800, [(0, 0, 200, 800)])
    assert opened(annotated(photo, [])).size == (400, 800)


@pytest.mark.parametrize("data", [b"", b"no picture", turned(80, 80)[:200]])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    for use in (check, lambda data: preview(data, 9), lambda data: annotated(data, [])):
        with pytest.raises(BadInput):
            use(data)


def test_boxes_are_drawn_where_they_are_and_nowhere_else() -> None:
    white = (255, 255, 255)
    drawn = opened(annotated(encoded(Image.new("RGB", (1000, 500), "white")), [Box(100, 400, 300, 800)]))
    assert drawn.size == (1000, 500)
    assert drawn.getpixel((100, 300)) != white and drawn.getpixel((300, 400)) != white
    assert drawn.getpixel((200, 300)) == white and drawn.getpixel((700, 300)) == white
    assert drawn.getpixel((103, 195)) != white  # its number, above


def test_a_number_without_room_above_its_box_is_inside_it() -> None:
    drawn = opened(annotated(encoded(Image.new("RGB", (1000, 500), "white")), [Box(100, 0, 300, 800)]))
    assert drawn.getpixel((106, 8)) != (255, 255, 255)


@pytest.mark.parametrize(
    "box", [Box(0, 0, 1000, 1000, "名字"), Box(999, 999, 1000, 1000, "x" * 500), Box(5, 5, 5, 5)]
)
@pytest.mark.parametrize("size", [(1, 1), (3, 900), (300, 200)])
def test_any_box_can_be_drawn_on_any_picture(box: Box, size: tuple[int, int]) -> None:
    assert opened(annotated(encoded(Image.new("RGB", size)), [box] * 10)).size == size


def test_without_a_chinese_font_the_number_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "FONTS", ("no such font.ttf",))
    picture = encoded(Image.new("RGB", (300, 200), "white"))
    assert annotated(picture, [Box(100, 400, 300, 800, "猫")]) == annotated(
        picture, [Box(100, 400, 300, 800)]
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nothing", {}),
        (f"{CAT} and {DOG}", {3: [IS_CAT, IS_DOG]}),
        (f"Picture 1: {CAT}", {1: [IS_CAT]}),
        (f"picture 1: {CAT}. In image 2 {DOG}, {CAT}", {1: [IS_CAT], 2: [IS_DOG, IS_CAT]}),
        (f"{DOG} 图1：{CAT} 第二张图：{DOG}", {3: [IS_DOG], 1: [IS_CAT], 2: [IS_DOG]}),
        (f"Picture 1: {CAT} Picture 2: {DOG} 图1：{DOG}", {1: [IS_CAT, IS_DOG], 2: [IS_DOG]}),
        (f"第10张：{CAT}", {10: [IS_CAT]}),
        (f"picture {'1' * 5000}: {CAT}", {3: [IS_CAT]}),
        (f"<ref>picture 2</ref>{Box(1, 2, 3, 4)}", {3: [Box(1, 2, 3, 4, "picture 2")]}),
    ],
)
def test_boxes_belong_to_the_picture_named_before_them(text: str, found: dict[int, list[Box]]) -> None:
    assert boxes_by_picture(text, 3) == found


def test_a_question_names_a_picture() -> None:
    assert named_picture("Where is the cat in picture 2?") == 2
    assert named_picture("第一张图里的猫") == 1 and named_picture("the cat") is None
    assert named_picture("Is the cat of picture 1 in image 3, too?") == 3  # the last that is named


def test_pictures_go_to_servers_as_data_addresses() -> None:
    data = encoded(Image.new("RGB", (2, 2)))
    parts = [{"type": "image", "image": data}, {"type": "text", "text": "?"}]
    (sent,) = write_conversation([{"role": "user", "content": parts}])["messages"]
    url = sent["content"][0]["image_url"]["url"]
    assert (
        url == f"data:image/png;base64,{base64.b64encode(data).decode()}" and sent["content"][1] == parts[1]
    )


def test_no_picture_is_taken_from_a_path(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(encoded(Image.new("RGB", (2, 2))))
    with pytest.raises(BadInput):
        write_conversation(
            [{"role": "user", "content": [{"type": "image", "image": str(tmp_path / "x.png")}]}]
        )
