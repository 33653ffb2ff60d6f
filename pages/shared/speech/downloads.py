"""Transcripts as files: one recording in every form, or all of them in one archive."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from models.file_names import file_names
from models.transcripts.documents import DOCUMENTS, write_document
from models.transcripts.edit import Lines
from models.transcripts.formats import MIME, MOST_LINES, archive, write
from models.transcripts.recordings import Recording
from pages.shared.language import remember, tr

_TYPES = {**MIME, **DOCUMENTS}
WIDTHS, COUNTS = range(5, 201), range(1, 11)  # of letters in a line, of lines in a subtitle
_WITH_TRANSLATION = ("srt", "vtt", *DOCUMENTS)


@dataclass(frozen=True)
class Form:
    """How long lines and cues of subtitles may be, and whether documents have times."""

    max_line_width: int | None
    max_line_count: int
    times: bool


def show_downloads(family: str, recording: Recording, recordings: Sequence[Recording]) -> None:
    """Buttons for every form of the transcript as it is now, for its translation, and for all at once."""
    with st.container(horizontal=True):
        form = chosen_form(family)
        _choose_form(family, form)
        _show_files(family, recording, form)
        if recording.translation and recording.translation.lines:
            _show_bilingual_files(family, recording, recording.translation.lines, form)
        done = [other for other in recordings if other.lines]
        if len(done) > 1:
            title = tr("All transcripts (zip)", "全部文稿（zip）")
            _show_download(
                family, "zip", title, lambda: _zip(done, form), "transcripts.zip", "application/zip"
            )


def chosen_form(family: str) -> Form:
    """What the visitor chose, now or earlier."""

    def chosen(name: str, default: object, allows: Callable[[Any], bool] | None = None) -> Any:
        return st.session_state[remember(f"set.{family}.{name}", default, allows)]

    return Form(
        chosen("max_line_width", None, [None, *WIDTHS].__contains__),
        chosen("max_line_count", MOST_LINES, COUNTS.__contains__),
        chosen("document_times", True),
    )


def _choose_form(family: str, form: Form) -> None:
    with st.popover(tr("Subtitle lines", "字幕换行"), icon=":material/subtitles:"):
        st.number_input(
            tr("Max. characters per line", "每行最多字符数"),
            min_value=WIDTHS[0],
            max_value=WIDTHS[-1],
            placeholder=tr("no limit", "不限"),
            key=f"set.{family}.max_line_width",
            help=tr(
                "Of subtitles (srt, vtt). Usual: 42, and 16 for Chinese.",
                "用于字幕（srt、vtt）。常用：西文 42，中文 16。",
            ),
        )
        st.number_input(
            tr("Max. lines per subtitle", "每条字幕最多行数"),
            min_value=COUNTS[0],
            max_value=COUNTS[-1],
            key=f"set.{family}.max_line_count",
            disabled=form.max_line_width is None,
        )
    st.checkbox(
        tr("Times in documents", "文档中标注时间"),
        key=f"set.{family}.document_times",
        help=tr("In Markdown and Word, before each line.", "用于 Markdown 与 Word，标在每行之前。"),
    )


def _show_files(family: str, recording: Recording, form: Form) -> None:
    for format in _TYPES:
        file = partial(_write, recording.name, recording.lines, recording.language, format, form)
        name = f"{Path(recording.name).stem}.{format}"
        _show_download(family, format, _title(format), file, name, _TYPES[format])


def _show_bilingual_files(family: str, recording: Recording, translation: Lines, form: Form) -> None:
    stem = Path(recording.name).stem
    for format in _WITH_TRANSLATION:
        file = partial(_write, recording.name, recording.lines, None, format, form, translation)
        name = f"{stem}.{recording.language}-en.{format}"
        title = tr(f"{format}, both languages", f"{format}（双语）")
        _show_download(family, f"both.{format}", title, file, name, _TYPES[format])
    title = tr("txt, translation", "txt（译文）")
    text = partial(write, translation, "txt")
    _show_download(family, "translation", title, text, f"{stem}.en.txt", MIME["txt"])


def _title(format: str) -> str:
    match format:
        case "md":
            return tr("Markdown (md)", "Markdown（md）")
        case "docx":
            return tr("Word (docx)", "Word（docx）")
    return format


def _write(
    name: str, lines: Lines, language: str | None, format: str, form: Form, translation: Lines = ()
) -> str | bytes:
    if format in DOCUMENTS:
        return write_document(lines, format, name, form.times, translation)
    return write(lines, format, language, form.max_line_width, form.max_line_count, translation)


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


def _zip(recordings: Sequence[Recording], form: Form) -> bytes:
    names = file_names([recording.name for recording in recordings])
    return archive(
        {
            f"{Path(name).with_suffix('')}.{format}": _write(
                recording.name, recording.lines, recording.language, format, form
            )
            for name, recording in zip(names, recordings, strict=True)
            for format in _TYPES
        }
    )
