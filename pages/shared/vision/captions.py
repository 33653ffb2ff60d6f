"""Captions for many pictures: made in the background, corrected in a table, taken away as files."""

import base64
import time
from collections.abc import Callable
from functools import partial
from threading import Event
from typing import Any

import streamlit as st

from models import BadInput, ChatEngine, ChatOptions
from models.captions import FORMATS, MIME, Caption, caption_many, write
from models.pictures.drawing import preview
from pages.shared import loading
from pages.shared.language import remember, sentence, tr
from pages.shared.session import hold
from pages.shared.vision.pictures import TYPES

THUMBNAIL = 96  # pixels
REFRESH = 1.0  # seconds; longer for many pictures, since all rows are sent each time
ROWS_PER_SECOND = 200
DRAWN = 12  # scenes at one click


class Album:
    """The pictures of one visitor with their captions, and the work on them."""

    def __init__(self) -> None:
        self.editor = 0  # a new number forgets what the table shows over the captions
        self.job: loading.Work | None = None
        self._began, self._before = 0.0, 0
        self.clear()

    @property
    def running(self) -> bool:
        return self.job is not None and self.job.running

    @property
    def done(self) -> int:
        return sum(bool(caption.text or caption.trouble) for caption in self.captions)

    @property
    def seconds_left(self) -> float | None:
        """As long as the rest takes at the speed so far."""
        made = self.done - self._before
        spent = time.monotonic() - self._began
        return spent / made * (len(self.captions) - self.done) if made else None

    def add(self, name: str, picture: bytes) -> None:
        self.captions.append(Caption(name, picture))

    def thumbnails(self) -> list[str]:
        """As data addresses; made once. A picture that is none gets its trouble here."""
        for caption in self.captions[len(self._thumbnails) :]:
            try:
                small = base64.b64encode(preview(caption.picture, THUMBNAIL)).decode()
                self._thumbnails.append(f"data:image/jpeg;base64,{small}")
            except BadInput as error:
                caption.trouble = error
                self._thumbnails.append("")
        return self._thumbnails

    def start(self, choice: loading.Choice, prompt: str, options: ChatOptions) -> None:
        """Caption what has no caption yet."""
        self.editor += 1
        captions = self.captions  # which Remove all replaces

        def use(engine: ChatEngine, send: Callable[[Any], None], cancel: Event) -> None:
            self._began, self._before = time.monotonic(), self.done
            for _ in caption_many(engine, captions, prompt, options, cancel):
                pass

        self.job = loading.Work(choice, ChatEngine, use)

    def stop(self) -> None:
        if self.job is not None:
            self.job.cancel.set()

    def clear(self) -> None:
        self.stop()
        self.job = None
        self.editor += 1
        self.captions: list[Caption] = []
        self._thumbnails: list[str] = []


def get_album(family: str) -> Album:
    """The visitor's own, as long as the session lasts."""
    return hold(f"{family}.album", Album, Album.clear)


def show_captions(
    choice: loading.Choice, options: ChatOptions, draw_example: Callable[[], bytes] | None = None
) -> None:
    """The page's second mode; `draw_example` draws a picture to try."""
    family, album = choice.family, get_album(choice.family)
    _add_pictures(family, album)
    if draw_example:
        _draw_examples(family, album, draw_example)
    prompt, prefix = _choose_wording(family)
    if _show_buttons(family, album, ready=bool(prompt.strip())):
        if loading.may_begin(choice):
            album.start(choice, prompt, options)
        st.rerun()
    if not album.running:
        loading.show_load(choice)
    loading.show_failure(family)
    if not album.captions:
        st.info(
            tr("Add pictures: each gets a caption. ", "添加图片，每张都会得到一段描述。")
            + loading.describe_first_use(choice)
        )
        return
    if album.job is not None and not album.running:
        failure, album.job = album.job.failure, None
        if failure is not None:
            loading.fail(family, failure)
    with st.spinner(tr("Reading the pictures", "正在读取图片")):
        album.thumbnails()
    pause = max(REFRESH, len(album.captions) / ROWS_PER_SECOND) if album.running else None
    st.fragment(_show_progress_and_table, run_every=pause)(family, album)
    _show_downloads(family, album, prefix)


def _add_pictures(family: str, album: Album) -> None:
    number = st.session_state.setdefault(f"{family}.albums", 0)  # a new key empties the widgets
    single, folder = st.tabs([tr("Pictures", "图片"), tr("Folder", "文件夹")])
    files = single.file_uploader(
        tr("Pictures to caption", "要描述的图片"),
        type=TYPES,
        accept_multiple_files=True,
        key=f"{family}.album.{number}",
        disabled=album.running,
    )
    files += folder.file_uploader(
        tr("A folder of pictures", "图片文件夹"),
        type=TYPES,
        accept_multiple_files="directory",
        key=f"{family}.folder.{number}",
        disabled=album.running,
    )
    if files:
        for file in files:
            album.add(file.name, file.getvalue())
        st.session_state[f"{family}.albums"] = number + 1
        st.rerun()


def _draw_examples(family: str, album: Album, draw_example: Callable[[], bytes]) -> None:
    if st.button(
        tr(f"Draw {DRAWN} scenes", f"画 {DRAWN} 个场景"),
        icon=":material/draw:",
        key=f"{family}.caption_draw",
        disabled=album.running,
    ):
        for number in range(len(album.captions) + 1, len(album.captions) + DRAWN + 1):
            album.add(tr(f"scene {number}.png", f"场景 {number}.png"), draw_example())
        st.rerun()


def _choose_wording(family: str) -> tuple[str, str]:
    """What is asked of every picture, and what is put before every caption."""
    usual = tr("Describe this picture in one sentence.", "用一句话描述这张图片。")
    left, right = st.columns([2, 1])
    prompt = left.text_area(
        tr("Prompt", "提示词"), key=remember(f"set.{family}.prompt.{usual}", usual), height=68
    )
    prefix = right.text_input(
        tr("Before every caption", "描述前缀"),
        key=remember(f"set.{family}.prefix", ""),
        placeholder=tr("trigger word, ", "触发词，"),
        help=tr(
            "Put before every caption in the downloaded files, as training tools for pictures want it.",
            "在下载的文件中加在每段描述之前，供图像训练工具使用。",
        ),
    )
    return prompt, prefix


def _show_buttons(family: str, album: Album, ready: bool) -> bool:
    """Whether captions are wanted now."""
    left = len(album.captions) - album.done
    with st.container(horizontal=True):
        begun = any(caption.text for caption in album.captions)
        wanted = st.button(
            tr("Continue", "继续") if begun and left else tr("Caption all", "全部描述"),
            type="primary",
            icon=":material/play_arrow:",
            key=f"{family}.caption",
            disabled=album.running or not left or not ready,
        )
        if st.button(
            tr("Stop", "停止"),
            icon=":material/stop:",
            key=f"{family}.caption_stop",
            disabled=not album.running,
        ):
            album.stop()
        if st.button(
            tr("Remove all", "全部移除"), key=f"{family}.caption_clear", disabled=not album.captions
        ):
            album.clear()
            st.rerun()
    return wanted


# --- the table -----------------------------------------------------------------------------------


def _show_progress_and_table(family: str, album: Album) -> None:
    """Drawn again and again while captions come, without the rest of the page."""
    was_running = st.session_state.get(f"{family}.captioning", False)
    st.session_state[f"{family}.captioning"] = album.running
    if was_running and not album.running:
        st.rerun()
    _show_progress(album)
    _show_table(family, album)


def _show_progress(album: Album) -> None:
    if album.job is not None and album.running and not album.job.loaded:
        loading.show_progress(album.job.name, album.job.latest)
        return
    done, all_of_them = album.done, len(album.captions)
    text = tr(f"{done} of {all_of_them}", f"{done} / {all_of_them}")
    if album.running and (left := album.seconds_left) is not None:
        text += tr(f" · {left:.0f} s left", f" · 剩余 {left:.0f} 秒")
    st.progress(done / all_of_them, text=text)


def _show_table(family: str, album: Album) -> None:
    key = f"{family}.captions.{album.editor}"
    st.data_editor(
        {
            "picture": album.thumbnails(),
            "name": [caption.name for caption in album.captions],
            "text": [caption.text for caption in album.captions],
            "note": [sentence(caption.trouble) if caption.trouble else "" for caption in album.captions],
        },
        column_config={
            "picture": st.column_config.ImageColumn(tr("Picture", "图片"), width="small"),
            "name": st.column_config.TextColumn(tr("File", "文件"), width="small"),
            "text": st.column_config.TextColumn(tr("Caption", "描述"), width="large"),
            "note": st.column_config.TextColumn(tr("Note", "备注"), width="medium"),
        },
        disabled=["picture", "name", "note"],
        row_height=72,
        hide_index=True,
        key=key,
        on_change=_apply_edits,
        args=(key, album),
    )


def _apply_edits(key: str, album: Album) -> None:
    for row, change in st.session_state[key]["edited_rows"].items():
        if "text" in change:
            album.captions[int(row)].text = change["text"] or ""


def _show_downloads(family: str, album: Album, prefix: str) -> None:
    titles = {
        "csv": "CSV",
        "json": "JSON",
        "zip": tr(".txt beside each picture (zip)", "图片与同名 .txt（zip）"),
    }
    with st.container(horizontal=True):
        for format in FORMATS:
            st.download_button(
                titles[format],
                partial(write, album.captions, format, prefix),
                f"captions.{format}",
                MIME[format],
                key=f"{family}.download.{format}",
                on_click="ignore",
                icon=":material/download:",
                disabled=album.running or not any(caption.text for caption in album.captions),
            )
