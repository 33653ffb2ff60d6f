"""What is asked of a Whisper library: features, language, tokens and word times of single windows.

Everything that spans windows (seeking, prompts, silence, files too long for the memory) is written once,
in `windows` and `chunks`, so that an option means the same whichever library runs the network.
"""

import ctypes
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from models.schema import Segment, SpeechOptions, Word

BEST_OF = 5  # samples drawn above temperature 0, as on both libraries' command lines

FRAMES_PER_SECOND = 100
SAMPLES_PER_FRAME = 160
WINDOW = 3000  # frames that the network sees at once: 30 seconds
# A time token counts steps of 20 ms within its window.
SECONDS_PER_TIME, FRAMES_PER_TIME = 0.02, 2
# Tokens that can be put before a window: half of what a text may have, less the one that announces them.
PROMPT = 223
SURE_LANGUAGE = 0.5  # probability from which a passage is taken to be in another language than the one before
# Text decoded at a higher temperature is no guide for the next window.
MAX_PROMPT_TEMPERATURE = 0.5


@dataclass(frozen=True)
class Decoded:
    """One window's text: `tokens` with the times among them, without the prompt."""

    tokens: list[int]
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    temperature: float

    def is_silence(self, options: SpeechOptions) -> bool:
        """Whether nothing was said: likely silence, and the words in it are guessed."""
        guessed = self.avg_logprob <= options.logprob_threshold
        return guessed and self.no_speech_prob > options.no_speech_threshold

    def is_bad(self, options: SpeechOptions) -> bool:
        """Whether the text repeats itself or was guessed, and is not silence."""
        guessed = self.avg_logprob < options.logprob_threshold
        if guessed and self.no_speech_prob > options.no_speech_threshold:
            return False
        return guessed or self.compression_ratio > options.compression_ratio_threshold


# A piece of a window between two times, in the form that both libraries' word timing reads and changes:
# seek (frames), start, end (seconds), tokens, text, words.
Piece = dict[str, Any]


class Decoder(ABC):
    """The way of one recording through a network.

    `first_time` is the token of 0.00 s: it and all above it are times. `hotwords` are the tokens of the
    words to listen for. Both are known after `begin`.
    """

    first_time: int
    hotwords: list[int]

    def prompt(self, previous: Sequence[int]) -> list[int]:
        """What is put before a window: words to listen for, then the text before it, within one budget.

        Each has half of it, and what the other leaves. Of the words the first stay, of the text the last.
        """
        words = self.hotwords[: max(PROMPT // 2, PROMPT - len(previous))]
        return [*words, *previous[max(0, len(previous) + len(words) - PROMPT) :]]

    @abstractmethod
    def features(self, samples: Any) -> Any:
        """Log-mel features as the library makes them of a whole recording of shape (samples,).

        Returns:
            float32 of shape (bands, samples // 160 + what the library adds behind the end).
        """

    @abstractmethod
    def detect(self, features: Any) -> tuple[str, float]:
        """Code and probability of the language in the first window of features (bands, frames)."""

    @abstractmethod
    def begin(self, language: str) -> None:
        """Decode in this language from now on."""

    @abstractmethod
    def encode(self, features: Any) -> Any:
        """A window of shape (bands, up to 3000 frames), ready to be decoded."""

    @abstractmethod
    def decode(self, window: Any, previous: Sequence[int]) -> Decoded:
        """The text of an encoded window, after the tokens `previous`.

        Falls back to higher temperatures. May be one that `is_bad` when all failed or on cancel.
        """

    @abstractmethod
    def decode_together(self, windows: Sequence[Any]) -> tuple[Any, list[Decoded]]:
        """Features of several windows, encoded together, and their texts at the first temperature."""

    @abstractmethod
    def tokens(self, text: str) -> list[int]:
        """The tokens of a text, in which the names of special ones are letters."""

    @abstractmethod
    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without times and other special ones."""

    @abstractmethod
    def seconds(self, frames: int) -> float:
        """The library's own way to divide by 100, which rounds differently."""

    @abstractmethod
    def time_words(
        self, pieces: list[list[Piece]], windows: Any, frames: list[int], last_speech: float
    ) -> None:
        """Put words into the pieces of windows that were encoded together, and correct their times.

        Args:
            pieces: those of each window.
            windows: encoded.
            frames: how many of each window are sound.
            last_speech: seconds at which the last word before ended.
        """


class Library(ABC):
    """A Whisper that one of the libraries has loaded.

    `languages` are the codes it knows, `dtype` what the weights are kept in, `weights` their bytes.
    """

    languages: tuple[str, ...]
    dtype: str
    weights: int

    @contextmanager
    @abstractmethod
    def decoder(self, options: SpeechOptions, cancel: threading.Event) -> Iterator[Decoder]:
        """For one recording. A decoder stops as early as its library allows once `cancel` is set."""

    @abstractmethod
    def count(self, text: str) -> int:
        """The tokens of a text."""

    @abstractmethod
    def close(self) -> None:
        """Give the memory back."""


def temperatures(options: SpeechOptions) -> tuple[float, ...]:
    """Where decoding starts, and what it falls back to: steps of 0.2 up to 1."""
    steps = int((1.0 - options.temperature) / 0.2 + 1e-6) if options.fallback else 0
    return tuple(round(options.temperature + 0.2 * step, 2) for step in range(steps + 1))


def segment(piece: Piece, decoded: Decoded) -> Segment:
    return Segment(
        start=float(piece["start"]),
        end=float(piece["end"]),
        text=piece["text"],
        words=tuple(
            Word(float(word["start"]), float(word["end"]), word["word"], float(word["probability"]))
            for word in piece["words"]
        ),
        avg_logprob=float(decoded.avg_logprob),
        no_speech_prob=float(decoded.no_speech_prob),
        compression_ratio=float(decoded.compression_ratio),
        temperature=decoded.temperature,
        seek=piece["seek"],
        tokens=tuple(piece["tokens"]),
    )


def give_back_memory() -> None:
    """Freed memory to the system, at once: the GNU C library keeps some hundred MB for later otherwise."""
    with suppress(OSError, TypeError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
