"""Pictures of every kind become what somebody sees: transparent ones on white, deep greys scaled."""

import base64
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.chat.openai_form import write_conversation
from models.errors import BadInput
from models.pictures.drawing import annotated, preview
from models.pictures.reading import MOST_PIXELS, MOST_TOGETHER, check, check_many, read_picture, sent_as


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_of_16_bits(values: np.ndarray, colours: int, transparent: bytes = b"") -> bytes:
    """What Pillow reads and does not write. `colours`: 0 grey, 2 RGB, 4 grey and alpha, 6 RGB and alpha."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colours, 0, 0, 0))
    key = chunk(b"tRNS", transparent) if transparent else b""
    return b"\x89PNG\r\n\x1a\n" + head + key + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# --- transparency --------------------------------------------------------------------------------

# A black mark on nothing: the left half, of which the colour behind what is transparent is black too.
MARK = Image.new("RGBA", (64, 32), (0, 0, 0, 0))
MARK.paste((0, 0, 0, 255), (0, 0, 32, 32))
GREY = Image.new("L", (64, 32), 7)
GREY.paste(0, (0, 0, 32, 32))
DEEP = np.repeat(np.where(np.arange(64) < 32, 0, 1799)[None], 32, 0)
STRAIGHT = np.repeat(np.where(np.arange(64) < 32, 65535, 0)[None], 32, 0)

TRANSPARENT = {
    "RGBA": encoded(MARK),
    "LA": encoded(MARK.convert("LA")),
    "palette with alpha for each colour": encoded(MARK.quantize(4)),
    "palette with one colour": encoded(GREY.convert("P"), transparency=7),
    "PA": encoded(MARK.convert("PA"), "TIFF"),
    "grey with one shade": encoded(GREY, transparency=7),
    "RGB with one colour": encoded(GREY.convert("RGB"), transparency=(7, 7, 7)),
    "one bit": encoded(GREY.point(lambda value: value * 255).convert("1"), transparency=255),
    "GIF": encoded(MARK, "GIF"),
    "animated GIF": encoded(MARK, "GIF", save_all=True, append_images=[MARK.transpose(Image.Transpose(0))]),
    "WebP": encoded(MARK, "WEBP", lossless=True),
    "animated WebP": encoded(
        MARK, "WEBP", lossless=True, save_all=True, append_images=[Image.new("RGBA", (64, 32), "red")]
    ),
    "TIFF": encoded(MARK, "TIFF"),
    "AVIF": encoded(MARK, "AVIF", quality=100),
    "16 bits with alpha": png_of_16_bits(np.stack([DEEP] * 3 + [STRAIGHT], -1), 6),
    "16 bits of grey with alpha": png_of_16_bits(np.stack([DEEP, STRAIGHT], -1), 4),
    "16 bits with one colour": png_of_16_bits(
        np.stack([DEEP] * 3, -1), 2, struct.pack(">HHH", 1799, 1799, 1799)
    ),
    "16 bits of grey with one shade": png_of_16_bits(DEEP, 0, struct.pack(">H", 1799)),
}


@pytest.mark.parametrize("kind", TRANSPARENT)
def test_a_black_mark_on_nothing_is_seen_on_white(kind: str) -> None:
    data = TRANSPARENT[kind]
    shown = [
        read_picture(data),
        *(Image.open(io.BytesIO(made)) for made in (preview(data, 64), annotated(data, []))),
    ]
    for image in shown:
        assert (image.mode, image.size) == ("RGB", (64, 32))
        dark, light = (np.array(image.getpixel(at)) for at in ((10, 16), (54, 16)))
        assert dark.max() < 20 and light.min() > 235


def test_half_transparent_parts_are_half_white() -> None:
    image = Image.new("RGBA", (2, 1), (200, 0, 0, 128))
    assert read_picture(encoded(image)).getpixel((0, 0)) == (227, 127, 127)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_what_is_opaque_keeps_its_colours_to_the_bit(mode: str) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(np.stack([values, values[::-1], values.T], -1)).convert(mode)
    data = encoded(image, "TIFF" if mode == "PA" else "PNG")
    assert read_picture(data).tobytes() == image.convert("RGB").tobytes()


def test_a_server_gets_what_every_server_reads() -> None:
    for data in (encoded(Image.new("RGB", (8, 8), "red"), kind) for kind in ("JPEG", "PNG", "WEBP")):
        assert sent_as(data)[1] is data
    shown = {"transparent": TRANSPARENT["RGBA"], "tiff": encoded(Image.new("RGB", (64, 32), "white"), "TIFF")}
    for data in shown.values():
        part = {"type": "image", "image": data}
        (message,) = write_conversation([{"role": "user", "content": [part]}])["messages"]
        head, _, text = message["content"][0]["image_url"]["url"].partition(",")
        assert head == "data:image/png;base64"
        sent = Image.open(io.BytesIO(base64.b64decode(text)))
        assert (sent.format, sent.mode, sent.getpixel((54, 16))) == ("PNG", "RGB", (255, 255, 255))


# --- deep greys ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0, 0.5, 1], [0, 127, 255]),
        ([0, 100, 255], [0, 100, 255]),
        ([0, 30000, 65535], [0, 116, 255]),
        ([0, 1, 4], [0, 63, 255]),
        ([100, 550, 1000], [0, 127, 255]),
        ([-5, 0, 5], [0, 127, 255]),
        ([0, 0.005, 0.01], [0, 127, 255]),
        ([-3e38, 0, 3e38], [0, 127, 255]),
        ([np.nan, 0, 1], [0, 0, 255]),
        ([-np.inf, np.inf, 0.5, 1], [0, 255, 127, 255]),
        ([np.nan, np.nan], [0, 0]),
        ([7, 7], [0, 0]),
    ],
    ids=str,
)
def test_numbers_of_any_range_are_scaled(values: list[float], shown: list[int]) -> None:
    picture = Image.fromarray(np.array([values], np.float32))
    assert np.asarray(read_picture(encoded(picture, "TIFF")))[0, :, 1].tolist() == shown


@pytest.mark.parametrize(
    ("values", "kind", "shown"),
    [
        ([0, 32768, 65535], np.uint16, [0, 128, 255]),
        ([0, 2048, 4095], np.uint16, [0, 128, 255]),  # a camera of 12 bits
        ([0, 100, 255], np.uint16, [0, 100, 255]),
        ([-100, 0, 100], np.int32, [0, 127, 255]),
        ([0, 1_000_000, 2_000_000], np.int32, [0, 127, 255]),
    ],
    ids=str,
)
def test_whole_numbers_are_scaled_to_the_depth_they_have(
    values: list[int], kind: type, shown: list[int]
) -> None:
    picture = Image.fromarray(np.array([values], kind))
    assert np.asarray(read_picture(encoded(picture, "TIFF")))[0, :, 1].tolist() == shown


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_colours_of_print_and_video(mode: str, kind: str) -> None:
    image = Image.new("RGB", (40, 40), (200, 30, 40)).convert(mode)
    assert np.abs(np.array(read_picture(encoded(image, kind)).getpixel((5, 5))) - (200, 30, 40)).max() < 5


# --- kinds of files ------------------------------------------------------------------------------


def test_an_icon_is_a_picture() -> None:
    assert read_picture(encoded(Image.new("RGB", (32, 32), "red"), "ICO")).getpixel((9, 9)) == (255, 0, 0)


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"heix"])
def test_a_photo_of_an_iphone_is_called_by_its_name(brand: bytes) -> None:
    with pytest.raises(BadInput, match="HEIC") as refused:
        read_picture(b"\0\0\0\x18ftyp" + brand + bytes(64))
    assert "HEIC" in refused.value.zh


@pytest.mark.parametrize(
    ("mode", "format", "options", "side"),
    [
        ("RGBA", "PNG", {}, 5100),
        ("P", "PNG", {"transparency": 0}, 5100),
        ("I;16", "PNG", {}, 4600),
        ("RGB", "WEBP", {}, 5100),
        ("RGB", "JPEG", {"progressive": True, "subsampling": 0}, 6200),
    ],
)  # fmt: skip
def test_what_takes_more_memory_may_have_fewer_pixels(
    mode: str, format: str, options: dict[str, Any], side: int
) -> None:
    file = io.BytesIO()
    Image.new(mode, (side, side)).save(file, format, **options)
    assert side**2 < MOST_PIXELS
    for read in (read_picture, check):
        with pytest.raises(BadInput, match="more than 80 million pixels"):
            read(file.getvalue())


def test_a_check_sees_what_is_cut_short() -> None:
    for format in ("JPEG", "PNG", "WEBP"):
        file = io.BytesIO()
        Image.effect_noise((300, 300), 60).convert("RGB").save(file, format)
        check(file.getvalue())
        with pytest.raises(BadInput):
            check(file.getvalue()[:-2000])


def test_pictures_that_come_together_share_a_limit() -> None:
    large = encoded(Image.new("1", (8000, 8000)))
    check_many([large] * (MOST_TOGETHER // 8000**2))
    with pytest.raises(BadInput, match="together"):
        check_many([large] * (MOST_TOGETHER // 8000**2 + 1))
    with pytest.raises(BadInput, match="damaged"):
        check_many([large, b"x"])
