"""What comes of one recording: its segments, and how far it is done."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from models.schema import OnProgress, Progress, Queued, Segment, Text

FACTS = ("duration", "position", "language", "language_probability", "notes")


class Transcript(Iterator[Segment]):
    """The segments of one recording as they are recognised.

    `duration` (seconds of audio), `language`, `language_probability` and `notes` (what somebody should
    know of how it is done) are known from the first segment on, and for a recording without speech when
    the iteration has ended. `position` is how many seconds are done; it moves on through silence too.
    """

    def __init__(self, progress: OnProgress | None = None) -> None:
        self._progress = progress
        self._started: tuple[float, float] | None = None  # seconds of the clock and of audio
        self.duration = self.position = 0.0
        self.language: str | None = None
        self.language_probability: float | None = None
        self.notes: tuple[Text, ...] = ()
        self._segments: Iterator[Segment] = iter(())

    def start(self, segments: Iterator[Segment]) -> "Transcript":
        self._segments = segments
        return self

    def __next__(self) -> Segment:
        return next(self._segments)

    def reach(self, seconds: float) -> None:
        """For the engine: this much of the recording is done."""
        self.position = seconds
        now = time.monotonic()
        self._started = since, first = self._started or (now, seconds)
        rate = (seconds - first) / (now - since) if now > since else 0.0
        left = max(0.0, self.duration - seconds) / rate if rate else None
        self.report(Progress("transcribe", int(seconds), int(self.duration), rate, left))

    def wait(self, queued: Queued) -> None:
        """For the engine: others are served before."""
        self.report(Progress("queue", total=queued.ahead))

    def report(self, progress: Progress) -> None:
        """For the engine: tell whoever asked how far it is."""
        if self._progress is not None:
            self._progress(progress)

    def facts(self) -> dict[str, Any]:
        """What is known beside the segments, by name."""
        return {name: getattr(self, name) for name in FACTS}

    def update(self, facts: Mapping[str, Any]) -> None:
        """For an engine elsewhere: what is known there."""
        for name in FACTS:
            setattr(self, name, facts[name])

    def close(self) -> None:
        """Stop the work; what was recognised stays with whoever has it."""
        close = getattr(self._segments, "close", None)
        if close is not None:
            close()
