"""Pictures as people send them: from the bytes of a file to upright pixels of red, green and blue.

Nothing here opens a path or an address: a picture comes as its bytes.
"""

import base64
import binascii
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from models.errors import BadInput

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

MOST_PIXELS = 80_000_000  # a file of a few kilobytes can claim far more
MOST_MEMORY = 400_000_000  # bytes that reading one picture may take, with the copies that are made on the way
MOST_TOGETHER = 400_000_000  # pixels of all pictures that come at once: some seconds of reading
MOST_BYTES = 64 << 20
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "ICO")
_HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")  # brands of ISO 23008-12
SENT = ("JPEG", "PNG", "WEBP")  # that every server with eyes reads
DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras and scanners give greys, whatever the file has room for
SCALES = (1.0, 255.0, 65535.0)  # white, where greys are no whole numbers
# How a picture has to be turned for each EXIF orientation but the upright one.
TURNS = MappingProxyType(
    {
        2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270",
        7: "TRANSVERSE", 8: "ROTATE_90",
    }
)  # fmt: skip


def picture_bytes(part: Mapping[str, Any]) -> bytes:
    """The file in a content part: {"type": "image", "image": bytes}, or OpenAI's "image_url" as data URL.

    Raises BadInput for anything else, an address or a path among them.
    """
    if part["type"] == "image" and isinstance(part.get("image"), (bytes, bytearray)):
        return bytes(part["image"])
    address = part.get("image_url")
    url = address.get("url") if isinstance(address, Mapping) else address
    if part["type"] == "image_url" and isinstance(url, str) and url.startswith("data:image/"):
        header, _, text = url.partition(",")
        if header.endswith(";base64"):
            try:
                return base64.b64decode(text, validate=True)
            except binascii.Error as error:
                raise _no_picture() from error
    raise _no_picture()


def _no_picture() -> BadInput:
    return BadInput(
        "A picture has to come with the message as a base64 data URL or as bytes: paths and web addresses "
        "are not opened.",
        "图片须以 base64 的 data URL 或字节形式随消息发送：不会打开路径或网址。",
    )


def sent_as(data: bytes) -> tuple[str, bytes]:
    """A picture file as any server reads it, and its kind: itself, or a PNG of what is no common kind or has
    transparent parts, which some show black. Raises BadInput as `read_picture`."""
    from PIL import Image

    with suppress(Exception), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.format in SENT and not image.has_transparency_data:
            return image.format.lower(), data
    file = io.BytesIO()
    read_picture(data).save(file, "PNG")
    return "png", file.getvalue()


def read_picture(data: bytes, side: int = 0) -> "Image":
    """A picture file as RGB, upright as its EXIF says: the first frame of an animation, and what is
    transparent on white. Where `side` pixels on its longer side will do, JPEG is read faster.

    Raises BadInput for what is no picture, is cut short, or is larger than `MOST_PIXELS` or `MOST_MEMORY`.
    """
    with _explained(data):
        image = _decoded(data, side)
        if image.format == "WEBP" and image.mode == "RGB":
            return to_rgb(_upright(_first_of_webp(image, data)))
        return to_rgb(_upright(image))


def check(data: bytes) -> None:
    """Raise BadInput unless these bytes are a picture that can be read."""
    with _explained(data):
        _decoded(data, side=1)


def check_many(pictures: Sequence[bytes]) -> None:
    """As `check`, for pictures that come at once. Raises BadInput also where they are too many pixels."""
    from PIL import Image

    pixels = 0
    for data in pictures:
        with _explained(data), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            pixels += image.width * image.height
    if pixels > MOST_TOGETHER:
        raise BadInput(
            f"These pictures have more than {MOST_TOGETHER // 10**6} million pixels together: send fewer at once.",
            f"这些图片合计超过 {MOST_TOGETHER // 10**4} 万像素：请减少一次发送的数量。",
        )
    for data in pictures:
        check(data)


def _decoded(data: bytes, side: int) -> "Image":
    """The first frame as its file has it; of a JPEG a smaller one where `side` pixels will do."""
    from PIL import Image

    if len(data) > MOST_BYTES:
        raise _too_large()
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    pixels = image.width * image.height
    if pixels > MOST_PIXELS or pixels * _bytes_per_pixel(image) > MOST_MEMORY:
        raise _too_large()
    if side:
        image.draft("RGB", (side, side))
    image.load()
    return image


def _bytes_per_pixel(image: "Image") -> float:
    """What a pixel takes until it is RGB: all copies of it that there are at one time."""
    if image.mode == "F" or image.mode.startswith("I"):
        return 20
    if image.has_transparency_data or image.format in ("WEBP", "AVIF"):
        return 16
    size = 8 if image.mode == "CMYK" else 5
    if not image.info.get("progressive"):
        return size
    # libjpeg keeps the coefficients, two bytes each, of all of such a picture.
    samples = [across * down for _, across, down, _ in image.layer]  # type: ignore[attr-defined]
    return float(size + 2 * sum(samples) / max(samples))


@contextmanager
def _explained(data: bytes) -> Iterator[None]:
    from PIL import Image

    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large() from error
    except BadInput:
        raise
    except Exception as error:  # each of Pillow's parsers raises what it likes
        if data[4:8] == b"ftyp" and data[8:12] in _HEIC:
            raise BadInput(
                "This is a HEIC picture, as iPhones take them, which cannot be read here: save it as JPEG and send "
                "it again.",
                "这是 iPhone 拍摄的 HEIC 图片，此处无法读取：请另存为 JPEG 后重新发送。",
            ) from error
        raise BadInput(
            "This picture is damaged, or of a kind that cannot be read: save it as JPEG or PNG and send it again.",
            "图片已损坏或格式无法读取：请另存为 JPEG 或 PNG 后重新发送。",
        ) from error


def _too_large() -> BadInput:
    return BadInput(
        f"This picture has more than {MOST_PIXELS // 10**6} million pixels (less where they are transparent or have "
        f"more than 8 bits) or {MOST_BYTES >> 20} MB: make it smaller and send it again.",
        f"图片超过 {MOST_PIXELS // 10**4} 万像素（透明或超过 8 位时更少）或 {MOST_BYTES >> 20} MB：请缩小后重新发送。",
    )


def _upright(image: "Image") -> "Image":
    """The picture as its camera was held. Only that tag is asked for: others may be damaged."""
    from PIL import ExifTags
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # tags that cannot be read say nothing
        return image
    turn = TURNS.get(orientation) if isinstance(orientation, int) else None
    return image.transpose(Transpose[turn]) if turn else image


def _first_of_webp(image: "Image", data: bytes) -> "Image":
    """On white where the first frame of an animation is smaller than the whole: libwebp shows black there.

    The form of the file: developers.google.com/speed/webp/docs/riff_container.
    """
    from PIL import Image

    def number(at: int, size: int = 3) -> int:
        return int.from_bytes(data[at : at + size], "little")

    at = 12
    while at < len(data) and data[at : at + 4] != b"ANMF":
        at += 8 + number(at + 4, 4) + number(at + 4, 4) % 2
    left, top = 2 * number(at + 8), 2 * number(at + 11)
    box = (left, top, left + number(at + 14) + 1, top + number(at + 17) + 1)
    if at >= len(data) or box == (0, 0, *image.size):  # no animation, or nothing beside its first frame
        return image
    white = Image.new("RGB", image.size, "white")
    white.paste(image.crop(box), box)
    return white


def to_rgb(image: "Image") -> "Image":
    """8 bits of red, green and blue for each pixel; what is transparent on white, as on a page."""
    deep = image.mode == "F" or image.mode.startswith("I")
    plain = _eight_bits(image) if deep else image
    if not image.has_transparency_data:
        return plain if plain.mode == "RGB" else plain.convert("RGB")

    from PIL import Image

    mask = _opaque(image) if deep else _with_alpha(image)
    white = Image.new("RGB", image.size, "white")
    white.paste(plain.convert("RGB") if deep else mask.convert("RGB"), mask=mask)
    return white


def _with_alpha(image: "Image") -> "Image":
    colour = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(colour, tuple) and max(colour) > 255:
        image.info["transparency"] = tuple(value >> 8 for value in colour)  # Pillow keeps that in 16 bits
    return image.convert("RGBA")


def _opaque(image: "Image") -> "Image":
    """Where a deep grey is not the one that stands for nothing."""
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.asarray(image) != image.info["transparency"])


def _eight_bits(image: "Image") -> "Image":
    """Deep greys as 0 to 255, where Pillow would cut them."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image)
    bits = next((bits for bits in DEPTHS if values.max() < 1 << bits), None)
    if image.mode == "F" or values.min() < 0 or bits is None:
        return Image.fromarray(_stretched(values.astype(np.float32)))
    return Image.fromarray((values >> (bits - 8)).astype(np.uint8))


def _stretched(values: "NDArray[Any]") -> "NDArray[Any]":
    """Numbers of a usual scale as 0 to 255, others from the darkest to the brightest; what is none is black."""
    import numpy as np

    finite = np.isfinite(values)
    low = float(values.min(where=finite, initial=np.inf))
    high = float(values.max(where=finite, initial=-np.inf))
    if low >= 0:
        # The brightest of a picture is not far from the end of its scale.
        low, high = next(((0.0, full) for full in SCALES if full / 4 <= high <= full), (low, high))
    if not low < high:
        return np.zeros(values.shape, np.uint8)
    scale = 255 / (high - low)
    scaled = np.nan_to_num(values, nan=low, posinf=high, neginf=low) * scale - low * scale
    return (scaled + 1e-3).clip(0, 255).astype(np.uint8)  # rounding costs no white
