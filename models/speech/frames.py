"""Features of a long recording, of which only the part being decoded is in memory."""

from collections.abc import Callable
from typing import Any

from models.speech.library import SAMPLES_PER_FRAME, WINDOW
from models.speech.voice import Blocks

# Frames on either side whose samples reach into another's spectrum (400 samples wide, 160 apart).
CONTEXT = 2


class Frames:
    """The features of all blocks as one row, read as far as needed and forgotten behind.

    A block is computed with the samples around it, so that no frame knows where the blocks meet. Only
    the loudest sound, to which the features are scaled, is looked for within a block, not within the
    whole recording; the network was trained on such scales of 30 seconds.
    """

    def __init__(self, blocks: Blocks, features: Callable[[Any], Any]) -> None:
        """
        Args:
            blocks: what is heard.
            features: of samples, with any frames that belong behind the end.
        """
        self._blocks = iter(blocks)
        self._features = features
        self._kept: Any = None  # shape (bands, frames)
        self._start = self._end = 0  # the frames of the recording that are kept
        self._samples: Any = None  # those of frames still to come, after `_before` frames of context
        self._before = 0
        self._ended = False

    def reach(self, seek: int) -> int:
        """How many frames there are from `seek` on: a whole window, but at the end of the recording."""
        while self._end - seek < WINDOW and not self._ended:
            self._forget(min(seek, self._end))
            self._read()
        return max(0, min(WINDOW, self._end - seek))

    def window(self, seek: int, size: int) -> Any:
        """`size` frames from `seek` on, which must not lie behind what was reached before."""
        return self._kept[:, seek - self._start : seek - self._start + size]

    def _forget(self, frame: int) -> None:
        if self._kept is not None:
            self._kept = self._kept[:, frame - self._start :]
        self._start = frame

    def _read(self) -> None:
        import numpy as np

        samples, self._ended = next(self._blocks)
        if self._samples is not None:
            samples = np.concatenate([self._samples, samples])
        frames = len(samples) // SAMPLES_PER_FRAME
        known = frames if self._ended else max(self._before, frames - CONTEXT)
        if known > self._before:
            # At the end, what the library adds behind it is kept too: languages are detected with it.
            last = None if self._ended else known
            new = self._features(samples)[:, self._before : last]
            self._kept = new.copy() if self._kept is None else np.concatenate([self._kept, new], axis=1)
            self._end += known - self._before
        self._samples = samples[max(0, known - CONTEXT) * SAMPLES_PER_FRAME :]
        self._before = min(known, CONTEXT)
