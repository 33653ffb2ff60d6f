"""Live text that is stopped in the middle of a recognition."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from models.engines.base import Audio
from models.schema import Checkpoint, OnProgress, Placement, Segment, SpeechOptions, Word
from models.speech.transcript import Transcript
from models.transcripts.live import LiveTranscript
from tests.fakes.engines import FakeSpeechEngine


class Interrupted(FakeSpeechEngine):
    """Hears a word, and the second time half a word, at which it is stopped."""

    def _load(self, path: Path, progress: OnProgress, cancel: threading.Event) -> None:
        self.words = iter((" right", " wro"))

    def _transcribe(
        self,
        audio: Audio,
        options: SpeechOptions,
        cancel: threading.Event,
        result: Transcript,
        done: Sequence[Segment],
    ) -> Iterator[Segment]:
        result.language = "en"
        text = next(self.words)
        if text == " wro":
            cancel.set()
        yield Segment(0.1, 0.5, text, (Word(0.1, 0.5, text),))


def live() -> LiveTranscript:
    checkpoint = Checkpoint("fake", "whisper", "speech", "ctranslate2")
    return LiveTranscript(Interrupted(Path(), checkpoint, Placement("cpu", "fp32")))


def second() -> bytes:
    """Of silence, as the browser sends it."""
    return bytes(32_000)


def test_words_of_a_recognition_that_was_cut_short_do_not_become_final() -> None:
    transcript, cancel = live(), threading.Event()
    transcript.feed(second())
    assert transcript.step(cancel) and transcript.now.tentative == " right"
    transcript.feed(second())
    assert not transcript.step(cancel)
    assert (transcript.now.text, transcript.now.tentative) == ("", " right")
    assert transcript.flush().text == " right"


def test_a_run_that_is_stopped_keeps_what_was_heard_whole() -> None:
    transcript, cancel = live(), threading.Event()
    transcript.feed(second())
    last = transcript.run(lambda now: transcript.feed(second()), cancel)
    assert cancel.is_set() and last.text == " right"
