"""Transcripts as files: one recording in every form, or all of them in one archive."""

from pathlib import Path

import streamlit as st

from models.captions import file_names
from models.recordings import Recording
from models.transcript import FORMATS, MIME, archive, write
from pages.shared.words import remember, tr


def limits(family: str) -> dict[str, int | None]:
    """How long lines and cues of subtitles may be, as `write` wants it."""
    left, right = st.columns(2)
    width = left.number_input(
        tr("Most letters in a line", "每行最多字数"),
        min_value=5,
        max_value=200,
        value=None,
        placeholder=tr("no limit", "不限"),
        key=remember(f"set.{family}.max_line_width", None),
        help=tr(
            "Of subtitles (srt, vtt). Usual: 42, and 16 for Chinese.",
            "用于字幕（srt、vtt）。常用：西文 42，中文 16。",
        ),
    )
    count = right.number_input(
        tr("Most lines in a subtitle", "每条字幕最多行数"),
        min_value=1,
        max_value=10,
        value=None,
        placeholder=tr("no limit", "不限"),
        key=remember(f"set.{family}.max_line_count", None),
        disabled=width is None,
    )
    return {"max_line_width": width, "max_line_count": count}


def files_of_one(family: str, recording: Recording, sizes: dict[str, int | None]) -> None:
    """A button for every form of the transcript as it is now, and subtitles in two languages."""
    stem = Path(recording.name).stem
    translation = recording.translation
    with st.container(horizontal=True):
        for format in FORMATS:
            st.download_button(
                format,
                lambda format=format: write(recording.lines, format, recording.language, **sizes),
                f"{stem}.{format}",
                MIME[format],
                key=f"{family}.download.{format}",
                on_click="ignore",
                icon=":material/download:",
            )
        for format in ("srt", "vtt") if translation and translation.lines else ():
            st.download_button(
                tr(f"{format}, both languages", f"{format}（双语）"),
                lambda format=format: write(
                    recording.lines, format, **sizes, translation=recording.translation.lines
                ),
                f"{stem}.{recording.language}-en.{format}",
                MIME[format],
                key=f"{family}.download.both.{format}",
                on_click="ignore",
                icon=":material/download:",
            )
        if translation and translation.lines:
            st.download_button(
                tr("txt, translation", "txt（译文）"),
                lambda: write(recording.translation.lines, "txt"),
                f"{stem}.en.txt",
                MIME["txt"],
                key=f"{family}.download.translation",
                on_click="ignore",
                icon=":material/download:",
            )


def files_of_all(family: str, recordings: list[Recording], sizes: dict[str, int | None]) -> None:
    """One archive with all forms of all transcripts."""
    done = [recording for recording in recordings if recording.lines]

    def zipped() -> bytes:
        names = file_names([recording.name for recording in done])
        return archive(
            {
                f"{Path(name).with_suffix('')}.{format}": write(
                    recording.lines, format, recording.language, **sizes
                )
                for name, recording in zip(names, done, strict=True)
                for format in FORMATS
            }
        )

    st.download_button(
        tr("All transcripts (zip)", "全部文稿（zip）"),
        zipped,
        "transcripts.zip",
        "application/zip",
        key=f"{family}.download.zip",
        on_click="ignore",
        icon=":material/folder_zip:",
        disabled=len(done) < 2,
    )
