"""A chat message that is spoken: what was recorded in the message field, written down by a loaded Whisper."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import streamlit as st

from models import BadInput, EngineClosed, Segment, SpeechEngine
from models.cache.temporary import temporary_folder
from pages.shared import loading
from pages.shared.jobs import batches, when_stopped
from pages.shared.language import tr
from pages.shared.markdown import readable


@dataclass(frozen=True)
class MessageInput:
    """What was sent from a message field, spoken words among the typed ones."""

    text: str
    files: Sequence[Any] = ()


def is_possible() -> bool:
    """Whether somebody is there to listen: no second model is loaded for a message."""
    return _find_speech_engine() is not None


def _find_speech_engine() -> SpeechEngine | None:
    return next((engine for engine in loading.loader().loaded() if isinstance(engine, SpeechEngine)), None)


def write_down(key: str, family: str, sent: Any, container: Any) -> MessageInput | None:
    """What a message field gave, with the words of its recording behind the typed ones.

    They come in the `container`. Where that ends early (Stop, a failure), `take_unsent` has what was typed.
    """
    if sent is None or isinstance(sent, str):
        return MessageInput(sent) if sent else None
    typed = MessageInput(sent.text, tuple(getattr(sent, "files", ())))
    recording = getattr(sent, "audio", None)
    if recording is None:
        return typed
    st.session_state[f"{key}.unsent"] = typed
    when_stopped(f"{key}.listened")
    with container:
        st.button(tr("Stop", "停止"), icon=":material/stop:", key=f"{key}.stop_listening")  # any click does
        placeholder = st.empty()
    try:
        spoken = _transcribe(recording.getvalue(), Path(recording.name).suffix, placeholder)
    except EngineClosed:
        loading.fail(family, _no_speech_engine())
    except Exception as error:  # the page stays alive, whatever a library throws
        loading.fail(family, error)
    placeholder.empty()
    take_unsent(key)
    return MessageInput(" ".join(filter(None, (typed.text.strip(), spoken))), typed.files)


def take_unsent(key: str) -> MessageInput | None:
    """What was typed beside a recording that was never written down; given once."""
    left: MessageInput | None = st.session_state.pop(f"{key}.unsent", None)
    return left


def _transcribe(data: bytes, suffix: str, placeholder: Any) -> str:
    engine = _find_speech_engine()
    if engine is None:
        raise _no_speech_engine()
    text = ""
    placeholder.caption(tr("Writing down what you said…", "正在转写您说的话……"))
    for batch in batches(partial(_transcribe_file, engine, data, suffix)):
        text += "".join(segment.text for segment in batch)
        if batch:
            placeholder.caption(f":material/mic: {readable(text)}")
    if not text.strip():
        raise BadInput(
            "No words were heard in the recording: say it again, or type it.",
            "录音中没有听到话语：请再说一遍，或直接输入。",
        )
    return text.strip()


def _transcribe_file(engine: SpeechEngine, data: bytes, suffix: str, cancel: Event) -> Iterator[Segment]:
    """In the worker thread: the engines read files."""
    with tempfile.TemporaryDirectory(dir=temporary_folder()) as folder:
        path = Path(folder) / f"message{suffix}"
        path.write_bytes(data)
        yield from engine.transcribe(path, cancel=cancel)


def _no_speech_engine() -> BadInput:
    return BadInput(
        "No speech model is loaded to write down what you said: load one on the Whisper page, then say it again.",
        "没有已加载的语音模型来转写您说的话：请先在 Whisper 页面加载，然后再说一遍。",
    )
