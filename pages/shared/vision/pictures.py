"""Pictures on a page: taken in, shown with their questions, and with the boxes of their answers."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from models import BadInput
from models.pictures.boxes import Box
from models.pictures.drawing import annotated, boxes_by_picture, in_pixels, named_picture, preview
from models.pictures.reading import check
from pages.shared.conversation.turns import PictureFile, Turn
from pages.shared.language import tr
from pages.shared.markdown import literal

TYPES = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "avif", "ico"]
SMALL, LARGE = 480, 1280  # pixels of the longer side, as pictures are shown


def read_uploads(files: Iterable[Any]) -> tuple[list[PictureFile], BadInput | None]:
    """Uploaded files as pictures, and what is wrong with the first that is none."""
    pictures: list[PictureFile] = []
    refusal: BadInput | None = None
    for file in files:
        picture = PictureFile(file.name, file.getvalue())
        try:
            check(picture.data)
            pictures.append(picture)
        except BadInput as error:
            refusal = refusal or type(error)(f"{file.name}: {error.en}", f"{file.name}：{error.zh}")
    return pictures, refusal


def pictures_of(turns: Iterable[Turn]) -> list[PictureFile]:
    """In the order in which the model counts them."""
    return [picture for turn in turns for picture in turn.pictures]


def show_pictures(pictures: Sequence[PictureFile], before: int = 0) -> None:
    """Side by side, numbered on from the `before` pictures of earlier questions."""
    if not pictures:
        return
    with st.container(horizontal=True):
        for number, picture in enumerate(pictures, before + 1):
            st.image(make_thumbnail(picture.data), f"{number} · {literal(picture.name)}", width=200)


@st.cache_data(max_entries=256, show_spinner=False)
def make_thumbnail(data: bytes) -> bytes:
    """A JPEG for the browser."""
    return preview(data, SMALL)


# --- boxes ---------------------------------------------------------------------------------------


def show_region(turns: Sequence[Turn]) -> None:
    """The box in the last question, drawn on the picture that it is about."""
    for picture, boxes in _find_boxes(turns, turns[-1].question):
        st.image(_with_boxes(picture.data, boxes, SMALL), width=300)


def show_boxes(key: str, turns: Sequence[Turn]) -> None:
    """The boxes in the last answer: drawn, as a table, and as files."""
    text = turns[-1].answer.text if turns[-1].answer else ""
    for number, (picture, boxes) in enumerate(_find_boxes(turns, text)):
        st.image(_with_boxes(picture.data, boxes, LARGE))
        width, height, corners = _in_pixels(picture.data, boxes)
        columns = {tr("label", "标签"): [literal(box.label) for box in boxes]}
        sides = (tr("left", "左"), tr("top", "上"), tr("right", "右"), tr("bottom", "下"))
        columns |= {
            side: list(values) for side, values in zip(sides, zip(*corners, strict=True), strict=True)
        }
        st.table({tr("no.", "序号"): list(range(1, len(boxes) + 1)), **columns})
        found = [{"label": box.label, "box": corner} for box, corner in zip(boxes, corners, strict=True)]
        data = {"picture": picture.name, "width": width, "height": height, "boxes": found}
        _show_downloads(f"{key}.{len(turns)}.{number}", picture, boxes, data)


def _show_downloads(key: str, picture: PictureFile, boxes: tuple[Box, ...], data: dict[str, Any]) -> None:
    stem = Path(picture.name).stem
    with st.container(horizontal=True):
        st.download_button(
            tr("Picture with boxes", "带框的图片"),
            lambda: annotated(picture.data, boxes),  # full size, made when it is wanted
            f"{stem}-boxes.png",
            "image/png",
            key=f"{key}.png",
            on_click="ignore",
            icon=":material/download:",
        )
        st.download_button(
            tr("Boxes", "方框"),
            json.dumps(data, ensure_ascii=False, indent=1),
            f"{stem}-boxes.json",
            "application/json",
            key=f"{key}.json",
            on_click="ignore",
            icon=":material/download:",
        )


def _find_boxes(turns: Sequence[Turn], text: str) -> list[tuple[PictureFile, tuple[Box, ...]]]:
    """Pictures and the boxes on them that a text has.

    Where the text names no picture it means the one that the last question names, or else the newest.
    """
    pictures = pictures_of(turns)
    if not pictures:
        return []
    found = boxes_by_picture(text, named_picture(turns[-1].question) or len(pictures))
    return [(pictures[min(number, len(pictures)) - 1], tuple(boxes)) for number, boxes in found.items()]


@st.cache_data(max_entries=64, show_spinner=False)
def _with_boxes(data: bytes, boxes: tuple[Box, ...], side: int) -> bytes:
    return annotated(data, boxes, side)


@st.cache_data(max_entries=256, show_spinner=False)
def _in_pixels(data: bytes, boxes: tuple[Box, ...]) -> tuple[int, int, list[tuple[int, int, int, int]]]:
    return in_pixels(data, boxes)
