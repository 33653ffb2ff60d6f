"""What of a recording is heard, and when it was: reading in blocks, and leaving silence out.

A recording passes through in blocks of some minutes, so that its length costs no memory. The voice
activity detector is Silero's, as shipped with faster-whisper and with its settings there, so that both
libraries hear the same. The stretches with speech are joined: cut into clips instead, every short one
would cost a whole 30-second window and lose the words before it.

Up to one block everything is what the bare library makes of the recording. In a longer one the
detector starts anew with each block. Nothing that it calls speech is lost there: it needs less than a
tenth of a second to find speech, and 0.4 s before what it finds are kept.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import inf
from typing import Any

from models.schema import Segment, Word
from models.sound.decoding import SAMPLE_RATE, Hole

Blocks = Iterable[tuple[Any, bool]]  # samples of shape (samples,), and whether they are the last
Clips = Sequence[tuple[float, float]]  # seconds
LEAST, READABLE = 0.03, 0.5  # seconds: more than Whisper's smallest step, and what it takes to see a line
Stretch = dict[str, int]  # start and end in samples, faster-whisper's form


class Timeline:
    """Where the joined stretches of speech lie in the recording. Times in seconds."""

    def __init__(self) -> None:
        from faster_whisper.vad import SpeechTimestampsMap

        self._make = SpeechTimestampsMap
        self._stretches: list[Stretch] = []
        self._map = self._make([], SAMPLE_RATE)

    def add(self, stretches: Iterable[Stretch]) -> None:
        self._stretches += stretches
        self._map = self._make(self._stretches, SAMPLE_RATE)

    def joined(self, seconds: float) -> float:
        """A time of the recording as one of the joined speech."""
        ends = [stretch["end"] for stretch in self._stretches]
        index = min(bisect_left(ends, int(seconds * SAMPLE_RATE)), len(ends) - 1)
        return seconds - float(self._map.total_silence_before[index])

    def recorded(self, seconds: float) -> float:
        """A time of the joined speech as one of the recording."""
        return float(self._map.get_original_time(seconds)) if self._stretches else 0.0

    def restore(self, segment: Segment) -> Segment:
        """A segment of the joined speech with its times in the recording."""
        if not segment.words:
            start = self._map.get_original_time(segment.start)
            end = self._map.get_original_time(segment.end, is_end=True)
            return replace(segment, start=start, end=end)
        words = tuple(self._restore_word(word) for word in segment.words)
        return replace(segment, start=words[0].start, end=words[-1].end, words=words)

    def _restore_word(self, word: Word) -> Word:
        # Both ends belong to the stretch that the word's middle lies in.
        stretch = self._map.get_chunk_index((word.start + word.end) / 2)
        start, end = (self._map.get_original_time(time, stretch) for time in (word.start, word.end))
        return replace(word, start=start, end=end)


class Untouched(Timeline):
    """Everything is heard, so all times stay what they are."""

    def joined(self, seconds: float) -> float:
        return seconds

    def recorded(self, seconds: float) -> float:
        return seconds

    def restore(self, segment: Segment) -> Segment:
        return segment


def speech(blocks: Blocks, timeline: Timeline, clips: Clips) -> Iterator[tuple[Any, bool]]:
    """The blocks without their silence, and without what lies outside the clips, which nobody listens to."""
    start = 0
    for samples, last in blocks:
        first, end = start / SAMPLE_RATE, (start + len(samples)) / SAMPLE_RATE
        wanted = not clips or any(begins < end and ends > first for begins, ends in clips)
        found = within(stretches(samples), clips, start) if wanted else []
        timeline.add(moved(found, start))
        yield join(samples, found), last
        start += len(samples)


def stretches(samples: Any, **settings: Any) -> list[Stretch]:
    """Where speech is in samples of shape (samples,)."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    if not samples.any():  # a hole, of which there can be hours
        return []
    return list(get_speech_timestamps(samples, VadOptions(**settings)))


def within(found: Sequence[Stretch], clips: Clips, start: int) -> list[Stretch]:
    """What of the stretches lies in the clips; `start`: the sample of the recording they count from."""
    if not clips:
        return list(found)
    bounds = [
        (max(part["start"], first * SAMPLE_RATE - start), min(part["end"], last * SAMPLE_RATE - start))
        for part in found
        for first, last in clips
    ]
    return [{"start": round(first), "end": round(last)} for first, last in bounds if first < last]


def behind_hole(segment: Segment, holes: Sequence[Hole]) -> Segment:
    """The segment, begun where a hole of the file ends instead of within it: nothing is said there, but
    what the detector keeps before the first word reaches into it."""
    at = bisect_right(holes, (segment.start, inf)) - 1
    if at < 0 or not holes[at][0] <= segment.start < holes[at][1] < segment.end:
        return segment
    end = holes[at][1]
    words = tuple(replace(word, start=max(word.start, end), end=max(word.end, end)) for word in segment.words)
    return replace(segment, start=end, words=words)


def until(segment: Segment, before: Segment | None, end: float) -> Segment:
    """The segment within a recording that ends there: a window of 30 seconds goes on behind it, and Whisper
    hears words in that silence too. What would lie behind the end altogether stands right before it.

    Args:
        segment: with its times in the recording.
        before: the segment before it, which leaves it at least `LEAST` for each word.
        end: seconds.
    """
    least = LEAST * max(1, len(segment.words))
    lasts = segment.end - segment.start >= least or segment.start + READABLE <= end
    if segment.end <= end and lasts:
        return segment
    free = max(before.end if before else 0.0, end - READABLE)
    start = max(0.0, min(segment.start, free, end - least))
    words = tuple(
        replace(word, start=min(max(word.start, start), end), end=min(max(word.end, start), end))
        for word in segment.words
    )
    return replace(segment, start=start, end=end, words=words)


def moved(found: Iterable[Stretch], samples: int) -> list[Stretch]:
    return [{edge: at + samples for edge, at in part.items()} for part in found]


def join(samples: Any, found: Sequence[Stretch]) -> Any:
    import numpy as np

    return np.concatenate([samples[:0], *(samples[part["start"] : part["end"]] for part in found)])
