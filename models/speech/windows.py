"""Transcription window by window, as Whisper does it: each starts where the last one's text ended.

`whisper.transcribe` returns everything at its end and cannot be stopped, and both libraries want the
whole recording in memory. So their loop over windows of 30 seconds is written here anew, as a
generator that reads on while it goes: nothing is cut, whatever the length, and the text so far stays
known. Features, decoding and word times are the libraries' own; the tests hold the result equal to
theirs, field by field.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from math import inf

from models.schema import Segment, SpeechOptions, clip_ranges
from models.speech.frames import Frames
from models.speech.library import (
    FRAMES_PER_SECOND,
    FRAMES_PER_TIME,
    MAX_PROMPT_TEMPERATURE,
    SECONDS_PER_TIME,
    SURE_LANGUAGE,
    WINDOW,
    Decoded,
    Decoder,
    Piece,
    segment,
)
from models.speech.voice import Blocks, Timeline, Untouched, speech


class Windows:
    """One recording on its way through a network."""

    def __init__(
        self, decoder: Decoder, blocks: Blocks, options: SpeechOptions, cancel: threading.Event
    ) -> None:
        self._decoder, self._options, self._cancel = decoder, options, cancel
        self._timeline = Timeline() if options.vad else Untouched()
        # What is to be decoded, in frames: without the detector the clips, else it has left out the rest.
        self._ranges: list[tuple[float, float]] = [(0, inf)]
        clips = clip_ranges(options.clips)
        if options.vad:
            blocks = speech(blocks, self._timeline, clips)
        elif clips:
            self._ranges = [
                (round(first * FRAMES_PER_SECOND), last * FRAMES_PER_SECOND) for first, last in clips
            ]
        self._frames = Frames(blocks, decoder.features)
        self._tokens: list[int] = []
        self._prompt_start = 0  # index into _tokens
        self._last_speech = 0.0
        self._language: str | None = None

    def detect(self) -> tuple[str | None, float | None]:
        """The language of the first 30 seconds that are heard, and its probability; None: there are none."""
        start = int(self._ranges[0][0])
        if not self._frames.reach(start):
            return None, None
        self._language, probability = self._decoder.detect(self._frames.window(start, WINDOW))
        return self._language, probability

    def segments(self, done: Sequence[Segment], reached: Callable[[float], None]) -> Iterator[Segment]:
        """Segments as their windows are decoded; ends after the window at hand when cancelled.

        Args:
            done: segments of an earlier run. Its last window is decoded again, and what was before it
                yielded as it is.
            reached: told the seconds of the recording after each window.
        """
        prompt = self._options.initial_prompt.strip()
        self._tokens = self._decoder.tokens(f" {prompt}") if prompt else []
        resumed = done[-1].seek if done else 0
        for earlier in done:
            if earlier.seek < resumed:
                yield earlier
                self._remember(earlier.tokens, earlier.temperature)
        spoken_before = max((earlier.end for earlier in done if earlier.seek < resumed), default=0.0)
        for first, last in self._ranges:
            seek = max(int(first), resumed)
            while not self._cancel.is_set() and (size := self._size(seek, last)) > 0:
                if spoken_before:  # what is heard is known up to there only now
                    self._last_speech, spoken_before = self._timeline.joined(spoken_before), 0.0
                pieces, decoded, seek = self._window(seek, size)
                reached(self._timeline.recorded(self._decoder.seconds(seek)))
                for piece in pieces:
                    yield self._timeline.restore(segment(piece, decoded))

    def _size(self, seek: int, last: float) -> int:
        return round(min(self._frames.reach(seek), last - seek))

    def _window(self, seek: int, size: int) -> tuple[list[Piece], Decoded, int]:
        """Decode one window: its pieces, and where the next one starts."""
        if self._options.detect_each and self._options.language is None:
            self._detect_anew(seek)
        window = self._decoder.encode(self._frames.window(seek, size))
        decoded = self._decoder.decode(window, self._tokens[self._prompt_start :])
        if self._cancel.is_set() or decoded.is_silence(self._options):
            return [], decoded, seek + size
        at = self._decoder.seconds(seek)
        pieces = split(self._decoder, decoded.tokens, seek, at, self._decoder.seconds(size))
        after = seek + advance(self._decoder, decoded.tokens, size)
        if self._options.word_timestamps:
            self._decoder.time_words([pieces], window, [size], self._last_speech)
            self._last_speech = last_end(pieces)
            if not says_end(self._decoder, decoded.tokens) and self._last_speech > at:
                after = round(self._last_speech * FRAMES_PER_SECOND)
        pieces = spoken(pieces)
        self._remember([token for piece in pieces for token in piece["tokens"]], decoded.temperature)
        return pieces, decoded, after

    def _detect_anew(self, seek: int) -> None:
        """Decode on in the language of a window; text in another one would lead it back to that."""
        language, probability = self._decoder.detect(self._frames.window(seek, WINDOW))
        if language != self._language and probability >= SURE_LANGUAGE:
            self._language = language
            self._prompt_start = len(self._tokens)
            self._decoder.begin(language)

    def _remember(self, tokens: Sequence[int], temperature: float) -> None:
        """What is said next is decoded knowing this text."""
        self._tokens += tokens
        if not self._options.condition_on_previous_text or temperature > MAX_PROMPT_TEMPERATURE:
            self._prompt_start = len(self._tokens)


def split(decoder: Decoder, tokens: Sequence[int], seek: int, offset: float, seconds: float) -> list[Piece]:
    """Cut a window's tokens where it says one time to end and one to start.

    Args:
        decoder: whose tokens they are.
        tokens: of the window.
        seek: its first frame.
        offset: the same in seconds.
        seconds: of sound in it.
    """
    first = decoder.first_time

    def piece(part: Sequence[int], start: float, end: float) -> Piece:
        return {
            "seek": seek,
            "start": offset + start,
            "end": offset + end,
            "tokens": list(part),
            "text": decoder.text(part),
            "words": [],
        }

    cuts = _cuts(decoder, tokens)
    if not cuts:
        last = next((token for token in reversed(tokens) if token >= first), first)
        end = (last - first) * SECONDS_PER_TIME if last > first else seconds
        return [piece(tokens, 0.0, end)]
    if says_end(decoder, tokens):
        cuts.append(len(tokens))
    parts = [tokens[start:end] for start, end in zip([0, *cuts], cuts, strict=False)]
    return [piece(part, *((part[i] - first) * SECONDS_PER_TIME for i in (0, -1))) for part in parts]


def advance(decoder: Decoder, tokens: Sequence[int], size: int) -> int:
    """Frames to go forward: to the last time said, unless nothing follows it in the window of `size`."""
    cuts = _cuts(decoder, tokens)
    if not cuts or says_end(decoder, tokens):
        return size
    return (tokens[cuts[-1] - 1] - decoder.first_time) * FRAMES_PER_TIME


def _cuts(decoder: Decoder, tokens: Sequence[int]) -> list[int]:
    is_time = [token >= decoder.first_time for token in tokens]
    return [i for i in range(1, len(tokens)) if is_time[i - 1] and is_time[i]]


def says_end(decoder: Decoder, tokens: Sequence[int]) -> bool:
    """Whether a window closes with the time its last words end: then nothing is said after them."""
    return len(tokens) > 1 and tokens[-2] < decoder.first_time <= tokens[-1]


def last_end(pieces: Sequence[Piece]) -> float:
    """Seconds at which the last word ends; without words, the last piece."""
    words = [word for piece in pieces for word in piece["words"]]
    return float((words or pieces)[-1]["end"])


def spoken(pieces: Sequence[Piece]) -> list[Piece]:
    return [piece for piece in pieces if piece["start"] != piece["end"] and piece["text"].strip()]
