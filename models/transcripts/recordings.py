"""Several recordings, one after another: what is recognised of each, how far it is, and its corrections."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from models.engines.base import SpeechEngine
from models.errors import EngineClosed
from models.schema import Progress, Segment, SpeechOptions
from models.speech.transcript import Transcript
from models.transcripts.edit import Lines

State = Literal["waiting", "running", "done", "stopped", "failed"]
STEPS_BACK = 100


@dataclass(eq=False)
class Recording:
    """A recording and its transcript, growing while it is recognised.

    ``heard`` is what came from the engine: with it an interrupted recording goes on. ``lines`` is what
    somebody reads and corrects.
    """

    name: str
    path: Path
    track: int | None = None  # the sound track that is heard, from 1; None: the default one
    options: SpeechOptions | None = None  # it was begun with; None: not begun
    state: State = "waiting"
    heard: list[Segment] = field(default_factory=list)
    lines: Lines = ()
    version: int = 0  # of the lines: another one after every change
    duration: float = 0.0
    position: float = 0.0  # seconds that are done
    left: float | None = None  # seconds it will probably take
    ahead: int = 0  # recordings of others that the engine takes before
    language: str | None = None
    probability: float | None = None
    seconds: float = 0.0  # spent
    trouble: Exception | None = None
    translation: "Recording | None" = None
    past: list[Lines] = field(default_factory=list)  # what the lines were before each correction

    @property
    def parts(self) -> tuple["Recording", ...]:
        """The recording, and its translation where there is one."""
        translation = self.translation  # another thread may look
        return (self, translation) if translation else (self,)

    @property
    def busy(self) -> bool:
        """Its lines are still to come."""
        return self.state in ("waiting", "running") and self.options is not None

    def change(self, lines: Lines) -> None:
        """Take corrected lines over."""
        self.past = [*self.past[-STEPS_BACK:], self.lines]
        self.lines = lines
        self.version += 1

    @property
    def changed(self) -> bool:
        return bool(self.past)

    def undo(self) -> None:
        self.lines = self.past.pop()
        self.version += 1

    def again(self) -> None:
        """Wait to be recognised from the start, corrections and translation forgotten."""
        self.options, self.heard, self.lines, self.translation = None, [], (), None
        self.seconds = self.position = 0.0
        self._wait()

    def choose(self, track: int | None) -> None:
        """Listen to another sound track from now on; what was recognised in the last one stays until then."""
        self.track, self.heard = track, []

    def resume(self) -> None:
        """Wait to be recognised on from where it was interrupted; corrections before that stay."""
        self._wait()

    def _wait(self) -> None:
        self.state, self.trouble, self.left = "waiting", None, None
        self.past = []
        self.version += 1

    @property
    def resumed(self) -> float:
        """Where the last passage starts, which is recognised anew."""
        last = self.heard[-1].seek if self.heard else 0
        return next((segment.start for segment in self.heard if segment.seek == last), 0.0)

    def translate(self) -> "Recording":
        """A translation to English of this recording, waiting."""
        self.translation = Recording(self.name, self.path, self.track)
        return self.translation


def transcribe_all(
    engine: SpeechEngine, recordings: Sequence[Recording], options: SpeechOptions, cancel: threading.Event
) -> Iterator[Recording]:
    """Recognise what waits, also what begins to wait meanwhile; yield each recording when it has ended.

    Whatever goes wrong with one is its `trouble`, and the others go on. A translation follows the
    recording it is of, in the language that was found there if it is one.

    Raises:
        EngineClosed: the engine was unloaded; what was under way waits again.
    """
    while not cancel.is_set() and (job := _next(recordings)):
        recording, original = job
        if recording.options is None:
            recording.options = replace(options, track=recording.track)
            if original:
                begun = original.options or recording.options
                language = _language(original, begun) or options.language
                recording.options = replace(begun, task="translate", language=language)
        _transcribe(engine, recording, cancel)
        yield recording


def _next(recordings: Sequence[Recording]) -> tuple[Recording, Recording | None] | None:
    """The first that waits, and what it is a translation of."""
    for recording in list(recordings):
        if recording.state == "waiting":
            return recording, None
        if recording.translation is not None and recording.translation.state == "waiting":
            return recording.translation, recording
    return None


def _transcribe(engine: SpeechEngine, recording: Recording, cancel: threading.Event) -> None:
    began, before, resumed = time.monotonic(), recording.seconds, recording.resumed
    done, recording.heard, recording.state = recording.heard, [], "running"
    lines = [line for line in recording.lines if line.start < resumed]

    def follow(progress: Progress) -> None:
        recording.ahead = progress.total if progress.stage == "queue" else 0
        if progress.stage == "transcribe":
            recording.position, recording.left = float(progress.done), progress.left
            _take_facts(recording, transcript)

    transcript = engine.transcribe(recording.path, recording.options, cancel, follow, done)
    try:
        for segment in transcript:
            _take_facts(recording, transcript)
            recording.heard.append(segment)
            if segment.start >= resumed:
                lines.append(segment)
                recording.lines = tuple(lines)
            recording.seconds = before + time.monotonic() - began
        _take_facts(recording, transcript)
        recording.state = "stopped" if cancel.is_set() else "done"
    except EngineClosed:
        recording.state = "waiting"
        raise
    except Exception as error:  # kept, and shown beside it
        recording.state, recording.trouble = "failed", error
    finally:
        if len(recording.heard) < len(done):  # stopped before it had caught up
            recording.heard = done
        recording.seconds = before + time.monotonic() - began
        recording.version += 1


def _language(recording: Recording, options: SpeechOptions) -> str | None:
    """The one that was found; None where each passage may be in another."""
    return None if options.detect_each else recording.language


def _take_facts(recording: Recording, transcript: Transcript) -> None:
    recording.duration = transcript.duration
    recording.language = transcript.language
    recording.probability = transcript.language_probability


def hear_again(
    engine: SpeechEngine,
    recording: Recording,
    line: Segment,
    options: SpeechOptions,
    cancel: threading.Event,
) -> Iterator[Segment]:
    """What is recognised anew in the time of one line, in the language of its recording if it has one."""
    clip = replace(
        options,
        clips=f"{line.start:.3f}-{line.end:.3f}",
        language=options.language or _language(recording, options),
        track=recording.track,
        batch_size=1,
    )
    yield from engine.transcribe(recording.path, clip, cancel)
