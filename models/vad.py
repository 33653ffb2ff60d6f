"""Leaving silence out before recognition, and putting the times right afterwards.

The voice activity detector is Silero's, as shipped with faster-whisper and with its settings there,
so that both Whisper engines hear the same. The stretches with speech are joined: cut into clips
instead, every short one would cost a whole 30-second window and lose the words before it.
"""

from dataclasses import replace
from typing import Any

from models.audio import SAMPLE_RATE
from models.schema import Segment, Word


class Speech:
    """The speech in a recording. `samples` has shape (samples,) and is empty when there is none."""

    def __init__(self, samples: Any) -> None:
        import numpy as np
        from faster_whisper.vad import SpeechTimestampsMap, get_speech_timestamps

        stretches = get_speech_timestamps(samples)
        self.samples = np.concatenate(
            [samples[:0], *(samples[part["start"] : part["end"]] for part in stretches)]
        )
        self._times = SpeechTimestampsMap(stretches, SAMPLE_RATE)

    def restore(self, segment: Segment) -> Segment:
        """The same segment with its times in the whole recording."""
        if not segment.words:
            start = self._times.get_original_time(segment.start)
            end = self._times.get_original_time(segment.end, is_end=True)
            return replace(segment, start=start, end=end)
        words = tuple(self._restore_word(word) for word in segment.words)
        return replace(segment, start=words[0].start, end=words[-1].end, words=words)

    def _restore_word(self, word: Word) -> Word:
        # Both ends belong to the stretch that the word's middle lies in.
        stretch = self._times.get_chunk_index((word.start + word.end) / 2)
        start, end = (self._times.get_original_time(time, stretch) for time in (word.start, word.end))
        return replace(word, start=start, end=end)
