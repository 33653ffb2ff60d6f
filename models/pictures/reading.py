"""Pictures as people send them: from the bytes of a file to upright pixels of red, green and blue.

Nothing here opens a path or an address: a picture comes as its bytes.
"""

import base64
import binascii
import io
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from models.errors import BadInput

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 80_000_000  # a file of a few kilobytes can claim far more
MOST_BYTES = 64 << 20
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF")
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


def read_picture(data: bytes, side: int = 0) -> "Image":
    """A picture file as RGB, upright as its EXIF says. The first frame of an animation; transparency is
    dropped, as the original does. Where `side` pixels on its longer side will do, JPEG is read faster.

    Raises BadInput for what is no picture, is cut short, or is larger than `MOST_PIXELS`.
    """
    from PIL import Image

    if len(data) > MOST_BYTES:
        raise _too_large()
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > MOST_PIXELS:
            raise _too_large()
        if side:
            image.draft("RGB", (side, side))
        image.load()
        return to_rgb(_upright(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large() from error
    except BadInput:
        raise
    except Exception as error:  # each of Pillow's parsers raises what it likes
        raise BadInput(
            "This picture is damaged, or of a kind that cannot be read: save it as JPEG or PNG and send it again.",
            "图片已损坏或格式无法读取：请另存为 JPEG 或 PNG 后重新发送。",
        ) from error


def _too_large() -> BadInput:
    return BadInput(
        f"This picture has more than {MOST_PIXELS // 10**6} million pixels or {MOST_BYTES >> 20} MB: make it smaller "
        "and send it again.",
        f"图片超过 {MOST_PIXELS // 10**4} 万像素或 {MOST_BYTES >> 20} MB：请缩小后重新发送。",
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


def to_rgb(image: "Image") -> "Image":
    """8 bits of red, green and blue for each pixel. Greys of 16 bits, and those from 0 to 1, are scaled,
    where Pillow would cut them."""
    if image.mode.startswith("I;16"):
        image = image.convert("I")
    if image.mode == "F" and image.getextrema()[1] <= 1:  # type: ignore[operator]
        image = image.point(lambda value: value * 255)
    if image.mode.startswith("I") and image.getextrema()[1] > 255:  # type: ignore[operator]
        image = image.point(lambda value: value / 256).convert("L")
    return image.convert("RGB")
