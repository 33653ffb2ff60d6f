"""A Whisper network that hears what it is told to, for tests of what stands between networks and recordings."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.speech.library import Decoded, Decoder, Piece

TIME = 1000  # the token of 0.00 s; each further one is 20 ms later


def at(seconds: float) -> int:
    """The token of a time within a window."""
    return TIME + round(seconds * 50)


def heard(*tokens: int, **figures: Any) -> Decoded:
    """A window's text, sure of itself unless told otherwise."""
    known = {"avg_logprob": -0.2, "no_speech_prob": 0.0, "compression_ratio": 1.0, "temperature": 0.0}
    return Decoded(list(tokens), **(known | figures))


class Dictated(Decoder):
    """Its script is one `heard` a window. The text of token 7 is " w7"; a text's tokens are the numbers in it.

    A sample holds its own number, and a frame the number of its first sample: so windows say where they begin.

    Attributes:
        asked: of each window that was decoded: its first frame, its frames, and the tokens before it.
        together: of each joint decoding, those two of its windows.
        timed: what each call for word times was told: frames, and the end of the last word.
        begun: each language that it was to decode in.
        word_end: where the last word of a window ends, in seconds; None: at its piece's end.
    """

    first_time = TIME

    def __init__(self, *script: Decoded) -> None:
        self.script = list(script)
        self.asked: list[tuple[int, int, list[int]]] = []
        self.together: list[list[tuple[int, int]]] = []
        self.timed: list[tuple[list[int], float]] = []
        self.word_end: float | None = None
        self.begun: list[str] = []

    def features(self, samples: Any) -> Any:
        frames = samples[: len(samples) // 160 * 160 : 160] // 160
        return np.concatenate([frames, np.full(3, -1.0)])[None]  # and what a library adds

    def detect(self, features: Any) -> tuple[str, float]:
        return f"from{int(features[0, 0])}to{features.shape[1]}", 0.75

    def begin(self, language: str) -> None:
        self.begun.append(language)

    def encode(self, features: Any) -> Any:
        return features

    def decode(self, window: Any, previous: Sequence[int]) -> Decoded:
        self.asked.append((int(window[0, 0]), window.shape[1], list(previous)))
        return self.script.pop(0)

    def decode_together(self, windows: Sequence[Any]) -> tuple[Any, list[Decoded]]:
        self.together.append([(int(window[0, 0]), window.shape[1]) for window in windows])
        return list(windows), [self.script.pop(0) for _ in windows]

    def tokens(self, text: str) -> list[int]:
        return [int(word) for word in text.split()]

    def text(self, tokens: Sequence[int]) -> str:
        return "".join(f" w{token}" for token in tokens if token < TIME)

    def seconds(self, frames: int) -> float:
        return frames / 100

    def time_words(
        self, pieces: list[list[Piece]], windows: Any, frames: list[int], last_speech: float
    ) -> None:
        self.timed.append((list(frames), last_speech))
        for piece in (piece for window in pieces for piece in window):
            end = piece["end"] if self.word_end is None else self.word_end
            word = {"word": piece["text"], "start": piece["start"], "end": end, "probability": 0.5}
            piece["words"] = [word]


def numbered(seconds: float) -> Any:
    """Samples that hold their own number, float64, shape (seconds * 16000,)."""
    return np.arange(round(seconds * 16_000), dtype=np.float64)
