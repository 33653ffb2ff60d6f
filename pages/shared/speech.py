"""The speech view: a recording in, its transcript out as it is recognised."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from threading import Event
from typing import Any

import streamlit as st

from models import BadInput, Segment, SpeechEngine, SpeechOptions, Transcript
from models.languages import LANGUAGES
from models.transcript import FORMATS, MIME, write
from pages.shared import frame, loading
from pages.shared.handing import send_to_chat
from pages.shared.jobs import Job, when_stopped
from pages.shared.live import Finished, live
from pages.shared.words import remember, say, sentence, tr

FAMILY = "whisper"
SOUND = ["wav", "mp3", "m4a", "flac", "ogg", "opus", "aac", "wma", "amr", "aiff"]
VIDEO = ["mp4", "mkv", "mov", "webm", "avi", "m4v", "ts"]


@dataclass
class Result:
    """One recording's transcript, growing while it is recognised."""

    name: str
    segments: list[Segment] = field(default_factory=list)
    duration: float = 0.0
    language: str | None = None
    probability: float | None = None
    seconds: float = 0.0  # spent so far
    complete: bool = False


def speech_page(intro: str) -> None:
    """The Whisper page."""
    frame.page(FAMILY, intro)
    choice, values = frame.sidebar(
        FAMILY, [spec for spec in fields(SpeechOptions) if spec.name != "language"]
    )
    recording = _recording(choice)
    try:
        options = SpeechOptions(language=_language(), **values)
    except BadInput as error:
        st.error(sentence(error))
        return
    if recording is not None:
        _player(recording)
    left, right = st.columns(2)
    start = left.button(
        tr("Transcribe", "开始转写"),
        type="primary",
        width="stretch",
        disabled=recording is None,
        key="whisper.go",
    )
    stop = right.empty()
    if recording is None:
        st.info(tr("Upload or record something. ", "请上传或录制一段声音。") + loading.first_time(choice))
    loading.show_failure(FAMILY)
    if start:
        loading.ask(FAMILY)
    if recording is None:  # taken away while the model was loading
        loading.withdraw(FAMILY)
    if ready := loading.engine_to_answer(choice, SpeechEngine):
        # Any click interrupts the script.
        stop.button(tr("Stop", "停止"), width="stretch", key="whisper.stop")
        _transcribe(ready, recording, options)
    result: Result | None = st.session_state.get("whisper.result")
    if result is not None:
        _show(result)


def _recording(choice: loading.Choice) -> Any:
    """The file that was uploaded or recorded, the newer of the two."""
    upload, record, speak = st.tabs([tr("Upload", "上传"), tr("Record", "录音"), tr("Live", "实时")])
    with speak:
        _take_over(
            live("whisper.live", choice, SpeechOptions(st.session_state.get("set.whisper.language") or None))
        )
    file = upload.file_uploader(
        tr("Audio or video", "音频或视频"),
        type=SOUND + VIDEO,
        key="whisper.file",
        on_change=_set_newest,
        args=("file",),
    )
    spoken = record.audio_input(
        tr("Speak, then stop the recording", "开始说话，然后停止录音"),
        key="whisper.record",
        on_change=_set_newest,
        args=("record",),
    )
    return spoken if spoken and st.session_state.get("whisper.newest") == "record" else file or spoken


def _take_over(finished: Finished | None) -> None:
    """What was said live becomes the result, once."""
    if finished is not None and st.session_state.get("whisper.spoken") is not finished:
        st.session_state["whisper.spoken"] = finished
        st.session_state["whisper.result"] = Result(
            finished.name, list(finished.segments), finished.duration, finished.language, complete=True
        )


def _set_newest(source: str) -> None:
    st.session_state["whisper.newest"] = source


def _language() -> str | None:
    names = {"": tr("detect", "自动检测")} | {code: say(name) for code, name in LANGUAGES.items()}
    return (
        st.selectbox(
            tr("Spoken language", "语音语言"),
            list(names),
            format_func=names.__getitem__,
            key=remember("set.whisper.language", ""),
        )
        or None
    )


def _player(recording: Any) -> None:
    suffix = Path(recording.name).suffix.lower().lstrip(".")
    (st.video if suffix in VIDEO else st.audio)(recording)


# --- recognising -------------------------------------------------------------------------------


def _transcribe(engine: SpeechEngine, recording: Any, options: SpeechOptions) -> None:
    """Fill the session's result line by line; an interruption leaves the lines that are there."""
    result = Result(recording.name)
    data, suffix = recording.getvalue(), Path(recording.name).suffix
    when_stopped("whisper.watched")
    job = Job(lambda cancel: _segments(engine, data, suffix, options, cancel, result))
    place = st.empty()
    with place.container():
        _progress(result)
    began = time.monotonic()
    try:
        for batch in job.batches():
            if batch:
                result.segments += batch
                result.seconds = time.monotonic() - began
                job.shown = sum(len(segment.text) for segment in result.segments)
                st.session_state["whisper.result"] = result  # until here an earlier one stays
                with place.container():
                    _progress(result)
                    _lines(result)
    except Exception as error:  # the page stays alive, whatever a library throws
        loading.fail(FAMILY, error)
    result.complete = True
    result.seconds = time.monotonic() - began
    st.session_state["whisper.result"] = result
    st.rerun()


def _segments(
    engine: SpeechEngine, data: bytes, suffix: str, options: SpeechOptions, cancel: Event, result: Result
) -> Iterator[Segment]:
    """In the worker thread: the engines read files, and an upload is bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"recording{suffix}"
        path.write_bytes(data)
        transcript = engine.transcribe(path, options, cancel)
        for segment in transcript:
            _facts(result, transcript)
            yield segment
        _facts(result, transcript)


def _facts(result: Result, transcript: Transcript) -> None:
    result.duration = transcript.duration
    result.language = transcript.language
    result.probability = transcript.language_probability


def _progress(result: Result) -> None:
    done = result.segments[-1].end if result.segments else 0.0
    if not done or not result.duration:
        st.progress(0.0, text=tr("Listening…", "正在聆听……"))
        return
    share = min(done / result.duration, 1.0)
    left = result.seconds * (1 - share) / share
    st.progress(
        share,
        text=tr(
            f"{clock(done)} of {clock(result.duration)} · {left:.0f} s left",
            f"{clock(done)} / {clock(result.duration)} · 剩余 {left:.0f} 秒",
        ),
    )


# --- showing -----------------------------------------------------------------------------------


def _show(result: Result) -> None:
    st.subheader(result.name)
    parts = [f"{clock(result.duration)}"]
    if result.language:
        sure = f" ({result.probability:.0%})" if result.probability is not None else ""
        parts.append(tr("language", "语言") + f": {result.language}{sure}")
    if result.seconds:
        speed = result.duration / result.seconds
        parts.append(tr(f"{speed:.1f} seconds of audio per second", f"每秒处理 {speed:.1f} 秒音频"))
    if not result.complete:
        parts.append(tr("stopped: what was recognised is kept", "已停止：保留已识别的部分"))
    st.caption(" · ".join(parts))
    if not result.segments:
        st.info(tr("No speech was found in this recording.", "此录音中未发现语音。"))
        return
    _downloads(result)
    send_to_chat(result.name, write(result.segments, "txt"))
    _lines(result)


def _downloads(result: Result) -> None:
    stem = Path(result.name).stem
    with st.container(horizontal=True):
        for format in FORMATS:
            st.download_button(
                format,
                write(result.segments, format, result.language),
                f"{stem}.{format}",
                MIME[format],
                key=f"whisper.download.{format}",
                on_click="ignore",
                icon=":material/download:",
            )


def _lines(result: Result) -> None:
    rows = [
        {
            tr("from", "开始"): clock(s.start),
            tr("to", "结束"): clock(s.end),
            tr("text", "文字"): s.text.strip(),
        }
        for s in result.segments
    ]
    if rows:
        st.table(rows)


def clock(seconds: float) -> str:
    """12.3 → "0:12"; an hour and more with its hours."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
