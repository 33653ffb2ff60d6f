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
from pages.shared import loading
from pages.shared.jobs import batches, when_stopped
from pages.shared.language import tr
from pages.shared.markdown import readable


@dataclass(frozen=True)
class Typed:
    """What was sent from a message field, spoken words among the typed ones."""

    text: str
    files: Sequence[Any] = ()


def possible() -> bool:
    """Whether somebody is there to listen: no second model is loaded for a message."""
    return _listener() is not None


def _listener() -> SpeechEngine | None:
    return next((engine for engine in loading.loader().loaded() if isinstance(engine, SpeechEngine)), None)


def written(key: str, family: str, sent: Any, room: Any) -> Typed | None:
    """What a message field gave, with the words of its recording behind the typed ones.

    They come in the `room`. Where that ends early (Stop, a failure), `unsent` has what was typed.
    """
    if sent is None or isinstance(sent, str):
        return Typed(sent) if sent else None
    typed = Typed(sent.text, tuple(getattr(sent, "files", ())))
    recording = getattr(sent, "audio", None)
    if recording is None:
        return typed
    st.session_state[f"{key}.unsent"] = typed
    when_stopped(f"{key}.listened")
    place = room.empty()
    try:
        spoken = _spoken(recording.getvalue(), Path(recording.name).suffix, place)
    except EngineClosed:
        loading.fail(family, _nobody_listens())
    except Exception as error:  # the page stays alive, whatever a library throws
        loading.fail(family, error)
    place.empty()
    unsent(key)
    return Typed(" ".join(filter(None, (typed.text.strip(), spoken))), typed.files)


def unsent(key: str) -> Typed | None:
    """What was typed beside a recording that was never written down; given once."""
    left: Typed | None = st.session_state.pop(f"{key}.unsent", None)
    return left


def _spoken(data: bytes, suffix: str, place: Any) -> str:
    engine = _listener()
    if engine is None:
        raise _nobody_listens()
    text = ""
    place.caption(tr("Writing down what you said…", "正在转写您说的话……"))
    for batch in batches(partial(_segments, engine, data, suffix)):
        text += "".join(segment.text for segment in batch)
        if batch:
            place.caption(f":material/mic: {readable(text)}")
    if not text.strip():
        raise BadInput(
            "No words were heard in the recording: say it again, or type it.",
            "录音中没有听到话语：请再说一遍，或直接输入。",
        )
    return text.strip()


def _segments(engine: SpeechEngine, data: bytes, suffix: str, cancel: Event) -> Iterator[Segment]:
    """In the worker thread: the engines read files."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"message{suffix}"
        path.write_bytes(data)
        yield from engine.transcribe(path, cancel=cancel)


def _nobody_listens() -> BadInput:
    return BadInput(
        "No speech model is loaded to write down what you said: load one on the Whisper page, then say it again.",
        "没有已加载的语音模型来转写您说的话：请先在 Whisper 页面加载，然后再说一遍。",
    )
