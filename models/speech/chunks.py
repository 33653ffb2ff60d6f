"""Long recordings cut at pauses, and several pieces decoded together: faster, without the text before.

The cutting and the joint decoding are those of faster-whisper's `BatchedInferencePipeline`, which takes
a decoding as it comes. Here a chunk that fails Whisper's checks is decoded again at higher
temperatures, as it would be window by window.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from math import ceil
from typing import Any

from models.schema import Segment, SpeechOptions, clip_ranges
from models.sound.decoding import SAMPLE_RATE
from models.speech.library import (
    FRAMES_PER_SECOND,
    SAMPLES_PER_FRAME,
    SURE_LANGUAGE,
    Decoder,
    give_back_memory,
    segment,
)
from models.speech.voice import Blocks, Clips, Stretch, Timeline, join, moved, stretches, within
from models.speech.windows import last_end, split, spoken

LONGEST = 30  # seconds
PAUSE = 160  # milliseconds that divide two chunks, as in faster-whisper


@dataclass(frozen=True)
class Chunk:
    """Up to 30 seconds of speech, joined."""

    samples: Any  # shape (samples,)
    start: float  # seconds of speech before it

    @property
    def seek(self) -> int:
        return int(self.start * FRAMES_PER_SECOND)

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @property
    def frames(self) -> int:
        """Those of whole seconds, as faster-whisper counts them."""
        return ceil(self.seconds) * FRAMES_PER_SECOND


def chunks(blocks: Blocks, timeline: Timeline, clips: Clips) -> Iterator[Chunk]:
    """The speech in a recording. A chunk that the next block may continue is found again together with it."""
    import numpy as np

    held, start, heard = np.zeros(0, np.float32), 0, 0
    for samples, last in blocks:
        samples = np.concatenate([held, samples])
        give_back_memory()  # of what was decoded, because the detector needs some
        found = stretches(samples, max_speech_duration_s=LONGEST, min_silence_duration_ms=PAUSE)
        give_back_memory()
        groups = list(_grouped(within(found, clips, start)))
        rest = len(samples)
        if groups and not last and rest - groups[-1][0]["start"] < LONGEST * SAMPLE_RATE:
            rest = groups.pop()[0]["start"]
        for group in groups:
            timeline.add(moved(group, start))
            speech = join(samples, group)
            yield Chunk(speech, heard / SAMPLE_RATE)
            heard += len(speech)
        held, start = samples[rest:], start + rest


def _grouped(found: Sequence[Stretch]) -> Iterator[list[Stretch]]:
    """Stretches that follow each other and fit into one chunk."""
    group: list[Stretch] = []
    length = 0
    for part in found:
        size = part["end"] - part["start"]
        if group and length + size > LONGEST * SAMPLE_RATE:
            yield group
            group, length = [], 0
        group.append(part)
        length += size
    if group:
        yield group


class Batches:
    """One recording on its way through a network, `options.batch_size` chunks at a time."""

    def __init__(
        self,
        decoder: Decoder,
        blocks: Blocks,
        options: SpeechOptions,
        cancel: threading.Event,
    ) -> None:
        self._decoder, self._options, self._cancel = decoder, options, cancel
        self._timeline = Timeline()
        found = chunks(blocks, self._timeline, clip_ranges(options.clips))
        self._batches = iter(lambda: list(islice(found, options.batch_size)), [])
        self._first = next(self._batches, [])
        self._last_speech = 0.0
        self._language: str | None = None

    def detect(self) -> tuple[str | None, float | None]:
        """The language of the first chunk and its probability; None: there is no speech."""
        if not self._first:
            return None, None
        self._language, probability = self._decoder.detect(self._decoder.features(self._first[0].samples))
        return self._language, probability

    def segments(self, done: Sequence[Segment], reached: Callable[[float], None]) -> Iterator[Segment]:
        """As for Windows: earlier segments up to the last chunk they come from, and all that follow."""
        resumed = done[-1].seek if done else 0
        yield from (earlier for earlier in done if earlier.seek < resumed)
        batch = self._first
        while batch and not self._cancel.is_set():
            # The same chunks go together as in the earlier run: so they are decoded the same.
            if batch[-1].seek >= resumed:
                for language, same in groupby(batch, self._detect_anew):
                    if language:
                        self._decoder.begin(language)
                    yield from self._decoded(list(same), resumed)
            reached(self._timeline.recorded(batch[-1].start + batch[-1].seconds))
            batch = next(self._batches, [])

    def _detect_anew(self, chunk: Chunk) -> str | None:
        """The language of a chunk; None: that of all."""
        if not self._options.detect_each or self._options.language is not None:
            return None
        language, probability = self._decoder.detect(self._decoder.features(chunk.samples))
        if probability >= SURE_LANGUAGE:
            self._language = language
        return self._language

    def _decoded(self, batch: Sequence[Chunk], resumed: int) -> Iterator[Segment]:
        features = [self._features(chunk) for chunk in batch]
        windows, texts = self._decoder.decode_together(features)
        for number, decoded in enumerate(texts):
            if decoded.is_bad(self._options) and self._options.fallback and not self._cancel.is_set():
                window = self._decoder.encode(features[number])
                texts[number] = self._decoder.decode(window, self._prompt())
        if self._cancel.is_set():
            return
        pieces = [
            split(self._decoder, decoded.tokens, chunk.seek, chunk.start, chunk.seconds)
            for chunk, decoded in zip(batch, texts, strict=True)
        ]
        if self._options.word_timestamps:
            self._decoder.time_words(pieces, windows, [chunk.frames for chunk in batch], self._last_speech)
            self._last_speech = last_end(pieces[-1])
        for chunk, said, decoded in zip(batch, pieces, texts, strict=True):
            if chunk.seek >= resumed and not decoded.is_silence(self._options):
                yield from (self._timeline.restore(segment(piece, decoded)) for piece in spoken(said))

    def _features(self, chunk: Chunk) -> Any:
        return self._decoder.features(chunk.samples)[:, : len(chunk.samples) // SAMPLES_PER_FRAME]

    def _prompt(self) -> list[int]:
        return self._decoder.tokens(self._options.initial_prompt)
