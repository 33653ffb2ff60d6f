"""A recording with its transcript to listen to and to correct: one component for the browser."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit import runtime

from models import Segment
from models.sound.playback import Sound
from models.speech.doubts import DOUBTS
from models.transcripts.edit import beside
from models.transcripts.recordings import Recording
from pages.shared.language import say, tr
from pages.shared.speech.film import SELECTOR

HERE = Path(__file__).parent
HTML, CSS, JS = (
    (HERE / f"transcript_view.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
)


def show_transcript(
    key: str,
    recording: Recording,
    sound: Sound | None,
    editable: bool,
    again: bool,
    error: str,
    on_edit: Callable[[dict[str, Any]], None],
) -> None:
    """Draw it.

    Args:
        key: of the component; another one begins anew.
        recording: its lines, and those of its translation beside them.
        sound: None as long as it is being prepared.
        editable: whether lines can be changed, and `again`: recognised again.
        error: why the last change could not be made.
        on_edit: is given what somebody wants changed: see `transcript_view.js`.
    """
    mount = st.components.v2.component("quintet_transcript", html=HTML, css=CSS, js=JS)
    data = {
        "sound": _sound_url(key, sound) if sound else "",
        "film": SELECTOR if sound and sound.film and not recording.busy else "",
        "seconds": sound.seconds if sound else recording.duration,
        "peaks": sound.peaks if sound else [],
        "lines": _lines(recording),
        "version": recording.version,
        "editable": editable,
        "again": again,
        "growing": recording.state == "running",
        "changed": recording.changed,
        "error": error,
        "words": _words(),
    }
    # As bytes: a dictionary would be searched for tables, for which pandas is imported.
    mount(
        key=key,
        data=json.dumps(data, ensure_ascii=False).encode(),
        on_edit_change=lambda: on_edit(dict(st.session_state[key]["edit"])),
        on_listened_change=lambda: on_edit(dict(st.session_state[key]["listened"])),
    )


def _sound_url(key: str, sound: Sound) -> str:
    """Where the browser finds the sound. The file is held in memory while the page shows it."""
    return runtime.get_instance().media_file_mgr.add(str(sound.path), sound.mime, f"{key}.sound")


def _lines(recording: Recording) -> list[list[Any]]:
    lines = recording.lines  # grows in another thread meanwhile
    translation = recording.translation
    others = beside(lines, translation.lines) if translation else [None] * len(lines)
    with_words = recording.state != "running"  # every second all lines are sent anew
    return [_line(line, other, with_words) for line, other in zip(lines, others, strict=True)]


def _line(line: Segment, other: str | None, with_words: bool) -> list[Any]:
    figures = (line.avg_logprob, line.no_speech_prob, line.compression_ratio, line.temperature or None)
    words = [[round(word.start, 3), round(word.end, 3), word.text] for word in line.words]
    return [
        round(line.start, 3),
        round(line.end, 3),
        line.text.strip(),
        line.doubts,
        [figure if figure is None else round(figure, 2) for figure in figures],
        words if words and with_words else None,
        other,
    ]


def _words() -> dict[str, Any]:
    """What the component says."""
    return {
        "play": tr("Play or pause (space)", "播放或暂停（空格键）"),
        "speed": tr("Speed", "速度"),
        "in": tr("Zoom in", "放大"),
        "out": tr("Zoom out", "缩小"),
        "wave": tr("Waveform: click to play from there", "波形：点击即可从该处播放"),
        "search": tr("Search", "搜索"),
        "with": tr("Replace with", "替换为"),
        "replace": tr("Replace all", "全部替换"),
        "found": tr("{at} of {all}", "第 {at} 处，共 {all} 处"),
        "none": tr("not found", "未找到"),
        "previous": tr("Previous", "上一个"),
        "next": tr("Next", "下一个"),
        "undo": tr("Undo", "撤销"),
        "edit": tr("Edit this line", "编辑此行"),
        "text": tr("Text", "文字"),
        "from": tr("from", "开始"),
        "to": tr("to", "结束"),
        "save": tr("Save", "保存"),
        "cancel": tr("Cancel", "取消"),
        "split": tr("Split at the cursor", "在光标处拆分"),
        "merge": tr("Join with the next", "与下一行合并"),
        "again": tr("Recognise again", "重新识别"),
        "remove": tr("Delete", "删除"),
        "doubts": {name: say(text) for name, text in DOUBTS.items()},
        "facts": [
            tr("average log probability: ", "平均对数概率："),
            tr("probability of silence: ", "静音概率："),
            tr("compression ratio: ", "压缩比："),
            tr("temperature: ", "温度："),
        ],
    }
