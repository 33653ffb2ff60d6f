"""Live text: the browser's microphone in, words out while somebody speaks.

The component records, and sends numbered pieces of a second until the script has acknowledged them, so
that none is lost or taken twice however often the script runs. A thread recognises them; the fragment
only shows how far it is.
"""

import base64
import binascii
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import streamlit as st

from models import ModelError, Segment, SpeechEngine, SpeechOptions
from models.jobs import Job
from models.sound.spool import Spool
from models.transcripts.live import LiveText, LiveTranscript
from pages.shared.language import sentence, tr
from pages.shared.loading import Choice
from pages.shared.markdown import readable
from pages.shared.speech.microphone import CSS, HTML, JS

LIMIT = 3600  # seconds of one recording, 115 MB on disk
PIECE = 1.0  # seconds between two pieces, as the browser sends them
LONGEST = 4 * 32_000  # bytes of a piece; more is not the component's
REFRESH = 0.5  # seconds
TAIL = 4000  # characters of final text that are on the page while it grows


@dataclass(frozen=True)
class Finished:
    """What was said, and how it was written down."""

    sound: Spool
    segments: tuple[Segment, ...]
    language: str | None
    duration: float  # seconds


@dataclass(eq=False)
class LiveRecording:
    """One recording, from Start on; `run` is the browser's name for it."""

    run: str
    transcript: LiveTranscript
    job: Job[LiveText, LiveText]
    began: datetime = field(default_factory=datetime.now)
    acknowledged: int = 0  # pieces
    over: bool = False  # the browser sends no more
    refusal: ModelError | None = None  # why no more is kept
    finished: Finished | None = None
    taken: bool = False  # into the queue

    @property
    def name(self) -> str:
        return f"{self.began:%Y-%m-%d %H.%M.%S}.wav"

    @property
    def full(self) -> bool:
        return self.refusal is not None or self.transcript.received >= LIMIT

    @property
    def open(self) -> bool:
        """Something may still come of it: text, or sound to be kept where recognition broke off."""
        return self.job.running or not (self.over or self.transcript.abandoned)

    def receive(self, message: dict[str, Any]) -> None:
        """Keep those pieces of a message that are new; what they say is left to the thread."""
        first, pieces = int(message["first"]), message["pieces"]
        for piece in pieces[max(0, self.acknowledged - first) :] if first <= self.acknowledged else ():
            self.acknowledged += 1
            pcm = _decoded(piece)
            if pcm and not self.full and self.finished is None:
                self._keep(pcm)
        if message["over"] and self.acknowledged == first + len(pieces):
            self.over = True
            self.transcript.end()

    def _keep(self, pcm: bytes) -> None:
        try:
            self.transcript.feed(pcm)
        except ModelError as error:
            self.refusal = error

    def finish(self) -> Finished:
        """What was said, kept once nothing more comes."""
        if self.finished is None:
            now = self.transcript.flush()
            sound, seconds = self.transcript.sound, self.transcript.received
            self.finished = Finished(sound, now.segments, now.language, seconds)
        return self.finished


def _decoded(piece: Any) -> bytes:
    """16-bit samples, or nothing where a piece is none."""
    try:
        pcm = base64.b64decode(piece, validate=True)
    except (TypeError, ValueError, binascii.Error):
        return b""
    return pcm if len(pcm) % 2 == 0 and len(pcm) <= LONGEST else b""


# --- the view ------------------------------------------------------------------------------------


def show_live_text(key: str, choice: Choice, options: SpeechOptions) -> LiveRecording | None:
    """Draw it; return the last recording, whether it has ended or not."""
    recording = _recording(key)
    engine = choice.engine if isinstance(choice.engine, SpeechEngine) else None
    is_open = recording is not None and recording.open
    if engine is None and not is_open:
        _offer_to_load(key, choice)
    if engine is None and recording is None and f"{key}.unheard" not in st.session_state:
        return None
    st.fragment(_view, run_every=REFRESH if is_open else None)(key, engine, options, is_open)
    return _recording(key)


def _recording(key: str) -> LiveRecording | None:
    found: LiveRecording | None = st.session_state.get(f"{key}.recording")
    return found


def _offer_to_load(key: str, choice: Choice) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            tr("Live text needs the model in memory first.", "实时转写需要先将模型载入内存。"),
            width="content",
        )
        ready = choice.loadable and choice.loading is None
        if st.button(tr("Load it", "加载模型"), key=f"{key}.load", disabled=not ready):
            choice.load()
            st.rerun()


def _view(key: str, engine: SpeechEngine | None, options: SpeechOptions, was_open: bool) -> None:
    canvas = f"{key}.microphone"
    mount = st.components.v2.component("quintet_microphone", html=HTML, css=CSS, js=JS)
    mount(
        key=canvas,
        data=_component_data(_recording(key), engine is not None, st.session_state.get(f"{key}.unheard")),
        on_pieces_change=lambda: _receive(key, canvas, engine, options),
    )
    recording = _recording(key)
    if f"{key}.unheard" in st.session_state:
        st.error(
            tr(
                "The model has left memory, so nothing was heard: load it and start again.",
                "模型已不在内存中，未能听到任何内容：请加载模型后重新开始。",
            )
        )
    elif recording is not None:
        _show_progress(recording)
    is_open = recording is not None and recording.open
    if recording is not None and not is_open:
        recording.finish()
    if is_open != was_open:  # the timer goes with it, and the page takes over what is finished
        st.rerun()


def _receive(key: str, canvas: str, engine: SpeechEngine | None, options: SpeechOptions) -> None:
    sent = st.session_state.get(canvas)  # None where the page was left meanwhile
    message = sent["pieces"] if sent else None
    if not message:
        return
    recording = _recording(key)
    if recording is None or recording.run != message["run"]:
        if engine is None:  # it was unloaded after the microphone had been offered
            st.session_state[f"{key}.unheard"] = str(message["run"])
            return
        st.session_state.pop(f"{key}.unheard", None)
        if recording is not None:
            recording.job.cancel.set()
        transcript = LiveTranscript(engine, options)
        recording = LiveRecording(str(message["run"]), transcript, Job(transcript.run))
        st.session_state[f"{key}.recording"] = recording
    recording.receive(message)


def _component_data(
    recording: LiveRecording | None, ready: bool, unheard: str | None = None
) -> dict[str, Any]:
    """What the component shows, and how far it has been heard; `unheard` names a run that no model hears."""
    if unheard is not None:
        ended = {"run": unheard, "acknowledged": 0, "over": True, "stop": True, "ready": ready}
        return {**ended, "text": "", "tentative": "", "labels": _labels()}
    now = recording.transcript.now if recording else LiveText()
    is_open = recording is not None and recording.open
    return {
        "run": recording.run if recording else "",
        "acknowledged": recording.acknowledged if recording else 0,
        "over": bool(recording and (recording.over or not is_open)),
        "stop": bool(recording and (recording.full or not recording.job.running)),
        "ready": ready and not is_open,
        "text": now.text[-TAIL:].strip() if is_open else now.text.strip(),
        "tentative": now.tentative,
        "labels": _labels(),
    }


def _labels() -> dict[str, str]:
    return {
        "start": tr("Start", "开始"),
        "stop": tr("Stop", "停止"),
        "level": tr("Loudness", "音量"),
        "insecure": tr(
            "The browser gives a microphone only to pages at localhost or over https: open this page there.",
            "浏览器只允许 localhost 或 https 页面使用麦克风：请以这样的地址打开本页。",
        ),
        "denied": tr(
            "The browser was not allowed to use the microphone: allow it in the address bar and start again.",
            "浏览器未获准使用麦克风：请在地址栏中允许，然后重新开始。",
        ),
        "missing": tr(
            "No microphone was found: connect one and start again.", "未找到麦克风：请连接后重新开始。"
        ),
        "failed": tr(
            "The microphone could not be opened: close other programs that use it and start again.",
            "无法打开麦克风：请关闭占用它的其他程序，然后重新开始。",
        ),
    }


def _show_progress(recording: LiveRecording) -> None:
    error = recording.job.error
    if error is not None:
        st.error(
            readable(sentence(error))
            if isinstance(error, ModelError)
            else tr("Recognition broke off; what was heard is kept.", "识别中断；已听到的内容会保留。")
        )
    now = recording.transcript.now
    received = recording.transcript.received
    if recording.refusal is not None:
        st.error(readable(sentence(recording.refusal)))
    elif recording.full:
        st.info(
            tr(
                f"A live recording lasts at most {LIMIT // 60} minutes; this one is kept as it is.",
                f"实时录音最长 {LIMIT // 60} 分钟；已录部分会保留。",
            )
        )
    if not recording.job.running:
        return
    if recording.over:
        left = received - now.recognised
        st.caption(tr(f"The last {left:.0f} s are still being recognised", f"正在识别最后 {left:.0f} 秒"))
    elif now.recognised:
        follows, final = received - now.recognised + PIECE, received - now.settled + PIECE
        st.caption(
            tr(
                f"Text is about {follows:.0f} s behind, and final after {final:.0f} s · "
                f"one recognition takes {now.decoding:.1f} s",
                f"文字约滞后 {follows:.0f} 秒，{final:.0f} 秒后确定 · 每次识别耗时 {now.decoding:.1f} 秒",
            )
        )
