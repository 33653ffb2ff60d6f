"""A region of a picture, chosen by dragging on it, or with two sliders."""

import base64

import streamlit as st

from models.pictures.boxes import Box
from models.pictures.drawing import preview
from pages.shared.conversation.turns import PictureFile
from pages.shared.language import tr

SIDE = 900  # pixels of the picture that is dragged on
MIDDLE = (250, 750)
LAST = 999  # of the grid

HTML = '<div class="picture"><img draggable="false"><div class="box"></div></div>'
CSS = """
.picture { position: relative; touch-action: none; cursor: crosshair; user-select: none; line-height: 0; }
.picture img { width: 100%; border-radius: var(--st-base-radius); pointer-events: none; }
.box {
  position: absolute; box-sizing: border-box; border: 3px solid var(--st-primary-color);
  outline: 1px solid white; pointer-events: none;
}
"""
JS = """
export default function ({ data, parentElement, setTriggerValue }) {
  const picture = parentElement.querySelector(".picture");
  const image = picture.querySelector("img");
  const box = picture.querySelector(".box");
  if (image.src !== data.picture) image.src = data.picture;
  image.alt = data.alt;

  const draw = ([left, top, right, bottom]) => {
    const percent = (value) => `${value / 10}%`;
    Object.assign(box.style, {
      left: percent(left), top: percent(top), width: percent(right - left), height: percent(bottom - top),
    });
  };
  const place = (event) => {
    const frame = picture.getBoundingClientRect();
    const grid = (share) => Math.max(0, Math.min(999, Math.floor(share * 1000)));
    return [grid((event.clientX - frame.left) / frame.width), grid((event.clientY - frame.top) / frame.height)];
  };

  let start = null;
  const dragged = (event) => {
    const [x, y] = place(event);
    return [Math.min(start[0], x), Math.min(start[1], y), Math.max(start[0], x), Math.max(start[1], y)];
  };
  picture.onpointerdown = (event) => {
    start = place(event);
    picture.setPointerCapture(event.pointerId);
    event.preventDefault();
  };
  picture.onpointermove = (event) => { if (start) draw(dragged(event)); };
  picture.onpointerup = (event) => {
    if (!start) return;
    const drawn = dragged(event);
    start = null;
    const isClick = drawn[2] - drawn[0] < 5 || drawn[3] - drawn[1] < 5;
    draw(isClick ? data.box : drawn);
    if (!isClick) setTriggerValue("drawn", drawn);
  };
  picture.onpointercancel = () => { start = null; draw(data.box); };
  draw(data.box);
}
"""


def choose_region(key: str, picture: PictureFile) -> Box:
    """Draw the picture to be dragged on, and sliders that say and set the same."""
    across, down = f"{key}.across", f"{key}.down"  # the sliders hold the region
    for slider in (across, down):
        st.session_state.setdefault(slider, MIDDLE)
    canvas = f"{key}.canvas"
    (left, right), (top, bottom) = st.session_state[across], st.session_state[down]
    mount = st.components.v2.component("quintet_region", html=HTML, css=CSS, js=JS)
    mount(
        key=canvas,
        data={
            "picture": _data_url(picture.data),
            "box": [left, top, right, bottom],
            "alt": tr("Drag on the picture to choose a region", "在图片上拖动以选择区域"),
        },
        on_drawn_change=lambda: _move_sliders(canvas, across, down),
    )
    st.caption(tr("Drag on the picture, or use the sliders.", "在图片上拖动，或使用滑块。"))
    columns = st.columns(2)
    columns[0].slider(tr("From left to right", "从左到右"), 0, LAST, key=across)
    columns[1].slider(tr("From top to bottom", "从上到下"), 0, LAST, key=down)
    return Box(left, top, right, bottom)


def _move_sliders(canvas: str, across: str, down: str) -> None:
    """What was dragged becomes what the sliders say."""
    left, top, right, bottom = (max(0, min(int(value), LAST)) for value in st.session_state[canvas]["drawn"])
    st.session_state[across], st.session_state[down] = (left, right), (top, bottom)


@st.cache_data(max_entries=16, show_spinner=False)
def _data_url(data: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(preview(data, SIDE)).decode()
