"""Transcripts as files: one recording in every form, or all of them in one archive."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypedDict

import streamlit as st

from models.file_names import file_names
from models.transcripts.edit import Lines
from models.transcripts.formats import FORMATS, MIME, archive, write
from models.transcripts.recordings import Recording
from pages.shared.language import remember, tr


class Sizes(TypedDict):
    """How long lines and cues of subtitles may be, as `write` wants it."""

    max_line_width: int | None
    max_line_count: int | None


def show_downloads(family: str, recording: Recording, recordings: Sequence[Recording]) -> None:
    """Buttons for every form of the transcript as it is now, for its translation, and for all at once."""
    with st.container(horizontal=True):
        sizes = _choose_sizes(family)
        _show_files(family, recording, sizes)
        if recording.translation and recording.translation.lines:
            _show_bilingual_files(family, recording, recording.translation.lines, sizes)
        done = [other for other in recordings if other.lines]
        if len(done) > 1:
            title = tr("All transcripts (zip)", "全部文稿（zip）")
            _show_download(
                family, "zip", title, lambda: _zip(done, sizes), "transcripts.zip", "application/zip"
            )


def _choose_sizes(family: str) -> Sizes:
    with st.popover(tr("Subtitle lines", "字幕换行"), icon=":material/subtitles:"):
        width = st.number_input(
            tr("Max. characters per line", "每行最多字符数"),
            min_value=5,
            max_value=200,
            placeholder=tr("no limit", "不限"),
            key=remember(f"set.{family}.max_line_width", None),
            help=tr(
                "Of subtitles (srt, vtt). Usual: 42, and 16 for Chinese.",
                "用于字幕（srt、vtt）。常用：西文 42，中文 16。",
            ),
        )
        count = st.number_input(
            tr("Max. lines per subtitle", "每条字幕最多行数"),
            min_value=1,
            max_value=10,
            placeholder=tr("no limit", "不限"),
            key=remember(f"set.{family}.max_line_count", None),
            disabled=width is None,
        )
    return {"max_line_width": width, "max_line_count": count}


def _show_files(family: str, recording: Recording, sizes: Sizes) -> None:
    for format in FORMATS:
        text = partial(write, recording.lines, format, recording.language, **sizes)
        _show_download(family, format, format, text, f"{Path(recording.name).stem}.{format}", MIME[format])


def _show_bilingual_files(family: str, recording: Recording, translation: Lines, sizes: Sizes) -> None:
    stem = Path(recording.name).stem
    for format in ("srt", "vtt"):
        text = partial(write, recording.lines, format, **sizes, translation=translation)
        name = f"{stem}.{recording.language}-en.{format}"
        title = tr(f"{format}, both languages", f"{format}（双语）")
        _show_download(family, f"both.{format}", title, text, name, MIME[format])
    title = tr("txt, translation", "txt（译文）")
    text = partial(write, translation, "txt")
    _show_download(family, "translation", title, text, f"{stem}.en.txt", MIME["txt"])


def _show_download(
    family: str, key: str, title: str, data: Callable[[], str | bytes], name: str, mime: str
) -> None:
    st.download_button(
        title,
        data,
        name,
        mime,
        key=f"{family}.download.{key}",
        on_click="ignore",
        icon=":material/download:",
    )


def _zip(recordings: Sequence[Recording], sizes: Sizes) -> bytes:
    names = file_names([recording.name for recording in recordings])
    return archive(
        {
            f"{Path(name).with_suffix('')}.{format}": write(
                recording.lines, format, recording.language, **sizes
            )
            for name, recording in zip(names, recordings, strict=True)
            for format in FORMATS
        }
    )
