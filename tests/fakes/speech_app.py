"""The app with a Whisper checkpoint that hears half of what is said, and the rest once the file QUINTET_TEST_GO is there."""

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from models.catalog import formats
from models.engines.base import Audio
from models.schema import Segment, SpeechOptions
from models.speech.transcript import Transcript
from pages.shared.visitor import VisitorCookie
from tests.fakes.paths import ROOT
from tests.fakes.worker_engines import ObedientSpeechEngine

HEARD = (Segment(0.0, 1.0, " The heron stands", seek=0), Segment(1.0, 2.0, " in the reeds.", seek=100))


class PatientSpeechEngine(ObedientSpeechEngine):
    """Waits before the second line."""

    def _transcribe(
        self,
        audio: Audio,
        options: SpeechOptions,
        cancel: threading.Event,
        result: Transcript,
        done: Sequence[Segment],
    ) -> Iterator[Segment]:
        result.language, result.duration = "en", 2.0
        yield HEARD[0]
        while not Path(os.environ["QUINTET_TEST_GO"]).exists():
            if cancel.wait(0.01):
                return
        yield HEARD[1]


formats.FORMATS = {
    **formats.FORMATS,
    "ctranslate2": replace(
        formats.FORMATS["ctranslate2"], engine="tests.fakes.speech_app:PatientSpeechEngine"
    ),
}
app = st.App(ROOT / "app.py", middleware=[Middleware(VisitorCookie)])
