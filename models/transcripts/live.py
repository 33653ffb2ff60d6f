"""Text while somebody speaks: a rolling window of sound, decoded again and again.

Whisper hears recordings of up to 30 seconds, not streams. So the window is recognised anew with every
piece that comes, and words are final once two recognitions in a row agree on them (LocalAgreement-2:
Macháček, Dabre, Bojar, "Turning Whisper into Real-Time Transcription System", arXiv:2307.14743). What
is final is cut off the front of the window at the end of a sentence.
"""

import io
import threading
import time
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.engines.base import SpeechEngine
from models.schema import Segment, SpeechOptions, Word
from models.sound.decoding import SAMPLE_RATE

LONG = 12.0  # seconds of window from which it is cut at the end of a final sentence
MOST = 24.0  # seconds it never exceeds: what two recognitions do not agree on by then is final too
MARGIN = 1.0  # seconds of silence that stay in the window: a word may begin there
CONTEXT = 200  # characters of final text that the model is told came before the window
OVERLAP = 5  # words that may be heard a second time, where the window was cut
PAUSE = 1.0  # seconds without a word that end a line
LINE = 12.0  # seconds after which a line ends anyway
WAIT = 0.1  # seconds between two looks at what came
PATIENCE = 15.0  # seconds without a piece after which whoever speaks is gone
SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！")


@dataclass(frozen=True)
class LiveText:
    """What is known at one moment. Times in seconds from the start of the recording.

    ``segments`` are final; ``tentative`` is what the last recognition heard behind them. Of ``heard``
    seconds, ``shown`` are in the text, and ``settled`` are final (or silence).
    """

    segments: tuple[Segment, ...] = ()
    tentative: str = ""
    language: str | None = None
    heard: float = 0.0
    shown: float = 0.0
    settled: float = 0.0
    decoding: float = 0.0  # seconds that the last recognition took

    @property
    def text(self) -> str:
        """The final part."""
        return "".join(segment.text for segment in self.segments)


class LiveTranscript:
    """The transcript of sound that is still coming.

    One thread calls `hear` and `end`; another calls `step` until it is over, or `run`, which does that.
    """

    def __init__(self, engine: SpeechEngine, options: SpeechOptions | None = None) -> None:
        """Options other than language, task and names are those that keep up with speech."""
        options = options or SpeechOptions(**dict(engine.checkpoint.options))
        self._engine = engine
        self._options = replace(
            options, beam_size=1, vad=True, word_timestamps=True, fallback=False, clips="", batch_size=1
        )
        self._lock = threading.Lock()
        self._pieces: list[Any] = []  # float32 arrays that no window has yet
        self._heard = 0  # samples
        self._last_heard = time.monotonic()
        self._ended = False
        self._window: Any = None  # samples, float32, from `_start` on
        self._start = 0  # samples of the recording before the window
        self._hypothesis: list[Word] = []  # of the last step, behind what is final
        self._final: list[Word] = []
        self._context = ""  # final text before the window
        self._language: str | None = None  # as detected
        self.now = LiveText()

    # --- for whoever listens ----------------------------------------------------------------------

    def hear(self, samples: Any) -> None:
        """The next piece: mono at 16 kHz, float32 in [-1, 1], shape (samples,)."""
        with self._lock:
            self._pieces.append(samples)
            self._heard += len(samples)
            self._last_heard = time.monotonic()

    def end(self) -> None:
        """Nothing comes any more."""
        self._ended = True

    @property
    def heard(self) -> float:
        """Seconds that came so far."""
        return self._heard / SAMPLE_RATE

    # --- for whoever recognises -------------------------------------------------------------------

    def run(self, report: Callable[[LiveText], None], cancel: threading.Event) -> LiveText:
        """Recognise until the end, or until nothing has come for long. The engine stays open meanwhile.

        Raises:
            EngineClosed, EngineFailed, BadInput: as `SpeechEngine.transcribe`; `now` keeps what is final.
        """
        with self._engine.request():
            while not cancel.is_set():
                over = self._ended or time.monotonic() - self._last_heard > PATIENCE
                if self.step(cancel):
                    report(self.now)
                elif over:
                    break
                else:
                    time.sleep(WAIT)
        return self.flush()

    def step(self, cancel: threading.Event | None = None) -> bool:
        """Recognise with all pieces that came since the last time. False: none did."""
        if not self._take():
            return False
        began = time.monotonic()
        words = self._recognise(cancel)
        if cancel is not None and cancel.is_set():
            return False  # cut short: no hypothesis to agree with
        if words is not None:
            words = self._behind_final(words)
            agreed = _agreement(self._hypothesis, words)
            self._commit(words[:agreed])
            self._hypothesis = words[agreed:]
        self._cut(silent=words is not None and not self._hypothesis)
        self._tell(time.monotonic() - began)
        return True

    def flush(self) -> LiveText:
        """Make all that was heard final."""
        self._commit(self._hypothesis)
        self._hypothesis = []
        self._tell(self.now.decoding)
        return self.now

    # --- the window -------------------------------------------------------------------------------

    def _take(self) -> bool:
        """Put what came behind the window, as much as it holds; what is too much waits for the next step."""
        import numpy as np

        room = int(MOST * SAMPLE_RATE) - (0 if self._window is None else len(self._window))
        with self._lock:
            if not self._pieces:
                return False
            came = np.concatenate(self._pieces)
            self._pieces = [came[room:]] if len(came) > room else []
        parts = [came[:room]] if self._window is None else [self._window, came[:room]]
        self._window = np.concatenate(parts)
        return True

    @property
    def _end(self) -> int:
        """Samples of the recording up to the window's end."""
        return self._start + (0 if self._window is None else len(self._window))

    def _cut(self, silent: bool) -> None:
        """Shorten a window that has grown long, by what is final, or by force.

        `silent`: nothing was said behind what is final.
        """
        length = len(self._window) / SAMPLE_RATE
        start = self._start / SAMPLE_RATE
        inside = [word for word in self._final if word.end > start]
        if silent and not inside:
            self._drop(self._end / SAMPLE_RATE - MARGIN)
        elif length > LONG:
            ends = [word.end for word in inside if _ends_sentence(word)]
            if silent:
                ends.append(min(inside[-1].end + MARGIN, self._end / SAMPLE_RATE))
            if ends:
                self._drop(max(ends))
        if (left := len(self._window) / SAMPLE_RATE) > MOST - 2 * MARGIN and inside:
            self._drop(inside[-1].end)
            left = len(self._window) / SAMPLE_RATE
        if left > MOST - 2 * MARGIN:  # no two recognitions agreed on anything in it
            self._commit(self._hypothesis)
            self._hypothesis = []
            self._drop(self._end / SAMPLE_RATE)

    def _drop(self, until: float) -> None:
        """Let the window begin `until` seconds into the recording, if that is later than now."""
        samples = min(int(until * SAMPLE_RATE), self._end) - self._start
        if samples > 0:
            self._window = self._window[samples:].copy()
            self._start += samples
            before = "".join(word.text for word in self._final if word.end <= until)
            self._context = before[-CONTEXT:].partition(" ")[2] if len(before) > CONTEXT else before

    # --- words ------------------------------------------------------------------------------------

    def _recognise(self, cancel: threading.Event | None) -> list[Word] | None:
        """The words in the window, at their times in the recording; None if the model lost its way."""
        if len(self._window) < SAMPLE_RATE // 10:
            return []
        terms = self._options.initial_prompt
        prompt = " ".join(filter(None, (terms, self._context.strip())))
        language = self._options.language or self._language
        options = replace(self._options, initial_prompt=prompt, language=language)
        transcript = self._engine.transcribe(self._window, options, cancel)
        segments = list(transcript)
        doubts = {doubt for segment in segments for doubt in segment.doubts}
        # Kept while the words make sense: a second of sound is easily taken for another language.
        sure = self._final and not doubts & {"looping", "unsure"}
        self._language = transcript.language if sure else None
        self.now = replace(self.now, language=transcript.language)
        if "looping" in doubts:
            return None
        offset = self._start / SAMPLE_RATE
        return [
            replace(word, start=word.start + offset, end=word.end + offset)
            for segment in segments
            for word in segment.words
        ]

    def _behind_final(self, words: list[Word]) -> list[Word]:
        """Those that are not final yet: by their times, and by what they say where times are uncertain."""
        if not self._final:
            return words
        end = self._final[-1].end
        new = [word for word in words if (word.start + word.end) / 2 > end - 0.1]
        if not new or new[0].start > end + PAUSE:
            return new
        for count in range(min(OVERLAP, len(new), len(self._final)), 0, -1):
            if list(map(_plain, self._final[-count:])) == list(map(_plain, new[:count])):
                return new[count:]
        return new

    def _commit(self, words: Sequence[Word]) -> None:
        self._final += words
        segments = list(self.now.segments)
        for word in words:
            if segments and _continues(segments[-1], word):
                line = segments[-1]
                segments[-1] = replace(
                    line, end=word.end, text=line.text + word.text, words=(*line.words, word)
                )
            else:
                segments.append(Segment(word.start, word.end, word.text, (word,)))
        self.now = replace(self.now, segments=tuple(segments))

    def _tell(self, seconds: float) -> None:
        shown = self._end / SAMPLE_RATE
        settled = self._final[-1].end if self._final else self._start / SAMPLE_RATE
        self.now = replace(
            self.now,
            tentative="".join(word.text for word in self._hypothesis),
            heard=self.heard,
            shown=shown,
            settled=min(settled, shown) if self._hypothesis else shown,
            decoding=seconds,
        )


def _agreement(before: Sequence[Word], now: Sequence[Word]) -> int:
    """How many words from the first on are the same in both, whatever their case and punctuation."""
    count = 0
    for old, new in zip(before, now, strict=False):
        if _plain(old) != _plain(new):
            break
        count += 1
    return count


def _plain(word: Word) -> str:
    return "".join(letter for letter in word.text.casefold() if letter.isalnum()) or word.text


def _ends_sentence(word: Word) -> bool:
    return word.text.rstrip().endswith(SENTENCE_ENDS)


def _continues(line: Segment, word: Word) -> bool:
    pause, length = word.start - line.end, word.end - line.start
    return pause < PAUSE and length < LINE and not _ends_sentence(line.words[-1])


# --- what browsers send -------------------------------------------------------------------------


def samples_of(pcm: bytes) -> Any:
    """16-bit little-endian samples as float32 in [-1, 1), shape (samples,)."""
    import numpy as np

    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768.0


def wav(pcm: bytes) -> bytes:
    """A WAV file of 16-bit little-endian samples, mono at 16 kHz."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes(pcm)
    return file.getvalue()
