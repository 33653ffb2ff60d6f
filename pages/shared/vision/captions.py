"""Captions for many pictures: made in the background, corrected in a table, taken away as files."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import streamlit as st

from models import ChatOptions
from models.captions import FORMATS, MIME, Caption, write
from pages.shared import loading
from pages.shared.language import language, remember, say, tr
from pages.shared.markdown import literal, readable
from pages.shared.vision.album import Album
from pages.shared.vision.kept_album import remove_all, show_albums
from pages.shared.vision.pictures import TYPES

REFRESH = 1.0  # seconds; longer for many pictures, since all rows are sent each time
ROWS_PER_SECOND = 200
DRAWN = 12  # scenes at one click
LISTED = 20  # pictures without a caption, each with its reason


def show_captions(
    choice: loading.Choice,
    options: ChatOptions,
    place: Any,
    draw_example: Callable[[], bytes] | None = None,
) -> None:
    """The page's second mode; the list of albums goes into `place`, and `draw_example` draws a picture to try."""
    family = choice.family
    album = show_albums(family, place)
    _add_pictures(family, album)
    if draw_example:
        _draw_examples(family, album, draw_example)
    prompt, prefix = _choose_wording(family, album)
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


def _choose_wording(family: str, album: Album) -> tuple[str, str]:
    """What is asked of every picture, and what is put before every caption: each album has its own."""
    usual = tr("Describe this picture in one sentence.", "用一句话描述这张图片。")
    keys = f"set.{family}.prompt.{usual}", f"set.{family}.prefix"
    if album.captions and st.session_state.get(f"{family}.worded") != (album.number, usual):
        st.session_state.update(zip(keys, (album.prompt or usual, album.prefix), strict=True))
    st.session_state[f"{family}.worded"] = album.number, usual
    left, right = st.columns([2, 1])
    prompt = left.text_area(tr("Prompt", "提示词"), key=remember(keys[0], usual), height=68)
    prefix = right.text_input(
        tr("Before every caption", "描述前缀"),
        key=remember(keys[1], ""),
        placeholder=tr("trigger word, ", "触发词，"),
        help=tr(
            "Put before every caption in the downloaded files, as training tools for pictures want it.",
            "在下载的文件中加在每段描述之前，供图像训练工具使用。",
        ),
    )
    album.prompt, album.prefix = "" if prompt == usual else prompt, prefix
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
        st.button(
            tr("Remove all", "全部移除"),
            key=f"{family}.caption_clear",
            disabled=not album.captions,
            on_click=remove_all,
            args=(family, album),
        )
    return wanted


# --- the table -----------------------------------------------------------------------------------


def _show_progress_and_table(family: str, album: Album) -> None:
    """Drawn again and again while captions come, without the rest of the page."""
    was_running = st.session_state.get(f"{family}.captioning", False)
    st.session_state[f"{family}.captioning"] = album.running
    if was_running and not album.running:
        st.rerun()
    _show_progress(album)
    _show_failed(album.failed)
    _show_remarks(album.captions)
    _show_table(family, album)


def _show_progress(album: Album) -> None:
    if album.job is not None and album.running and not album.job.loaded:
        loading.show_progress(album.job.name, album.job.latest)
        return
    done, failed, all_of_them = album.done, len(album.failed), len(album.captions)
    text = tr(f"{done} of {all_of_them}", f"{done} / {all_of_them}")
    if failed:
        text += tr(f": {done - failed} done, {failed} failed", f"：完成 {done - failed}，失败 {failed}")
    if album.running and (left := album.seconds_left) is not None:
        text += tr(f" · {left:.0f} s left", f" · 剩余 {left:.0f} 秒")
    st.progress(done / all_of_them, text=text)


def _show_failed(failed: Sequence[Caption]) -> None:
    """Each with its reason, to be read where the table is wider than the screen."""
    if not failed:
        return
    with st.expander(tr(f"{len(failed)} failed", f"{len(failed)} 张失败"), icon=":material/error:"):
        for caption in failed[:LISTED]:
            st.markdown(f"{literal(caption.name)}: {readable(caption.note(language()))}")
        if more := failed[LISTED:]:
            st.caption(tr(f"{len(more)} more are in the files.", f"其余 {len(more)} 张见导出文件。"))


def _show_remarks(captions: Sequence[Caption]) -> None:
    """Which captions are not to be believed, once for all of them."""
    remarks = Counter(caption.remark for caption in captions if caption.text and caption.remark)
    for remark, count in remarks.items():
        of_all = tr(f"{count} of {len(captions)}: ", f"{len(captions)} 张中有 {count} 张：")
        st.warning(of_all + say(remark), icon=":material/photo_camera:")


def _show_table(family: str, album: Album) -> None:
    key = f"{family}.captions.{album.editor}"
    st.data_editor(
        {
            "picture": album.thumbnails(),
            "text": [caption.text for caption in album.captions],
            "note": [caption.note(language()) for caption in album.captions],
            "name": [caption.name for caption in album.captions],
        },
        # The first two fit the screen of a phone together.
        column_config={
            "picture": st.column_config.ImageColumn(tr("Picture", "图片"), width=90),
            "text": st.column_config.TextColumn(tr("Caption", "描述"), width=230),
            "note": st.column_config.TextColumn(tr("Note", "备注"), width=150),
            "name": st.column_config.TextColumn(tr("File", "文件"), width=100),
        },
        disabled=["picture", "name", "note"],
        row_height=88,
        hide_index=True,
        key=key,
        on_change=_apply_edits,
        args=(key, album),
    )


def _apply_edits(key: str, album: Album) -> None:
    for row, change in st.session_state[key]["edited_rows"].items():
        if "text" in change:
            caption = album.captions[int(row)]
            caption.text, caption.remark = change["text"] or "", None  # by somebody who sees


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
                partial(write, album.captions, format, prefix, language()),
                f"captions.{format}",
                MIME[format],
                key=f"{family}.download.{format}",
                on_click="ignore",
                icon=":material/download:",
                disabled=album.running or not album.done,
            )
