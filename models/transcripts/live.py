"""Text while somebody speaks: a rolling window of sound, decoded again and again.

Whisper hears recordings of up to 30 seconds, not streams. So the window is recognised anew with every
piece that comes, and words are final once two recognitions in a row agree on them (LocalAgreement-2:
Macháček, Dabre, Bojar, "Turning Whisper into Real-Time Transcription System", arXiv:2307.14743). What
is final is cut off the front of the window at the end of a sentence.

Where recognising is slower than speech, the sound waits on disk. A window that it fills at once is
recognised once: more sound would not change what is said in it, but for the words at its end, which are
heard again in the next one.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from models.engines.base import SpeechEngine
from models.schema import Segment, SpeechOptions, Word
from models.sound.decoding import SAMPLE_RATE
from models.sound.spool import Spool

LONG = 12.0  # seconds of window from which it is cut at the end of a final sentence
MOST = 24.0  # seconds it never exceeds: what two recognitions do not agree on by then is final too
MARGIN = 1.0  # seconds at the window's end in which a word may begin, or be cut off
CONTEXT = 200  # characters of final text that the model is told came before the window
OVERLAP = 5  # words that may be heard a second time, where the window was cut
PAUSE = 1.0  # seconds without a word that end a line
LINE = 12.0  # seconds after which a line ends anyway
WAIT = 0.1  # seconds between two looks at what came
PATIENCE = 60.0  # seconds without a piece after which whoever speaks is gone
SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！")


@dataclass(frozen=True)
class LiveText:
    """What is known at one moment. Times in seconds from the start of the recording.

    ``segments`` are final; ``tentative`` is what the last recognition heard behind them. Of ``received``
    seconds, ``recognised`` are in the text, and ``settled`` are final (or silence).
    """

    segments: tuple[Segment, ...] = ()
    tentative: str = ""
    language: str | None = None
    received: float = 0.0
    recognised: float = 0.0
    settled: float = 0.0
    decoding: float = 0.0  # seconds that the last recognition took

    @property
    def text(self) -> str:
        """The final part."""
        return "".join(segment.text for segment in self.segments)


class LiveTranscript:
    """The transcript of sound that is still coming.

    One thread calls `feed` and `end`; another calls `step` until it is over, or `run`, which does that.
    """

    def __init__(self, engine: SpeechEngine, options: SpeechOptions | None = None) -> None:
        """Options other than language, task and names are those that keep up with speech."""
        options = options or SpeechOptions(**dict(engine.checkpoint.options))
        self._engine = engine
        self._options = replace(
            options, beam_size=1, vad=True, word_timestamps=True, fallback=False, clips="", batch_size=1
        )
        self.sound = Spool()
        self._last_received = time.monotonic()
        self._ended = False
        self._start = self._end = 0  # of the window, in samples of the recording
        self._most = MOST  # seconds that it may have now
        self._hypothesis: list[Word] = []  # of the last step, behind what is final
        self._final: list[Word] = []
        self._context = ""  # final text before the window
        self._language: str | None = None  # as detected
        self.now = LiveText()

    # --- for whoever listens ----------------------------------------------------------------------

    def feed(self, pcm: bytes) -> None:
        """The next piece: 16-bit little-endian samples, mono at 16 kHz. Raises DoesNotFit: as `Spool`."""
        self._last_received = time.monotonic()
        self.sound.append(pcm)

    def end(self) -> None:
        """Nothing comes any more."""
        self._ended = True

    @property
    def received(self) -> float:
        """Seconds that came so far."""
        return self.sound.length / SAMPLE_RATE

    @property
    def abandoned(self) -> bool:
        """Whether nothing has come for long."""
        return time.monotonic() - self._last_received > PATIENCE

    # --- for whoever recognises -------------------------------------------------------------------

    def run(self, report: Callable[[LiveText], None], cancel: threading.Event) -> LiveText:
        """Recognise until the end, or until nothing has come for long. The engine stays open meanwhile.

        Raises:
            EngineClosed, EngineFailed, BadInput: as `SpeechEngine.transcribe`; `now` keeps what is final.
        """
        with self._engine.request():
            while not cancel.is_set():
                over = self._ended or self.abandoned
                if self.step(cancel):
                    report(self.now)
                elif over:
                    break
                else:
                    cancel.wait(WAIT)
        return self.flush()

    def step(self, cancel: threading.Event | None = None) -> bool:
        """Recognise what came since the last time, or as much of it as the window holds. False: nothing did."""
        end = min(self.sound.length, self._start + int(self._most * SAMPLE_RATE))
        if end == self._end:
            return False
        self._end = end
        # More sound would not help, or there is no more.
        full = self._length == self._most or (self._ended and end == self.sound.length)
        began = time.monotonic()
        words = self._recognise(cancel)
        if cancel is not None and cancel.is_set():
            return False  # cut short: no hypothesis to agree with
        if words is not None:
            self._take(words, full)
        elif full:
            self._find_the_way()
        self._tell(time.monotonic() - began)
        return True

    def flush(self) -> LiveText:
        """Make all that was heard final."""
        self._settle(len(self._hypothesis))
        self._tell(self.now.decoding)
        return self.now

    # --- the window -------------------------------------------------------------------------------

    def _take(self, words: list[Word], full: bool) -> None:
        """Settle what can be settled of a recognition, and shorten the window by it."""
        words = self._behind_final(words)
        agreed = _agreement(self._hypothesis, words)
        self._hypothesis = words
        self._settle(max(agreed, self._whole) if full else agreed)
        self._cut(silent=not self._hypothesis, most=self._most / 2 if full else MOST - 2 * MARGIN)
        self._most = MOST

    def _find_the_way(self) -> None:
        """Where the model lost it in a full window: look at half of it, and only then pass that over."""
        if self._most == MOST:
            self._most = MOST / 2
        else:
            self._settle(len(self._hypothesis))
            self._drop(self._end / SAMPLE_RATE)
            self._most = MOST

    @property
    def _length(self) -> float:
        """Of the window, in seconds."""
        return (self._end - self._start) / SAMPLE_RATE

    def _cut(self, silent: bool, most: float) -> None:
        """Shorten a window that has grown long, by what is final, or by force.

        Args:
            silent: nothing was said behind what is final.
            most: seconds that may be left of it.
        """
        end = self._end / SAMPLE_RATE
        inside = [word for word in self._final if word.end > self._start / SAMPLE_RATE]
        if silent and (not inside or self._length > LONG):
            self._drop(max([end - MARGIN, *(word.end for word in inside)]))
        elif self._length > LONG:
            self._drop(max((word.end for word in inside if _ends_sentence(word)), default=0.0))
        if self._length > most and inside:
            self._drop(inside[-1].end)
        if self._length > most:  # no two recognitions agreed on anything in it
            self._settle(self._whole or len(self._hypothesis))
            self._drop(self._final[-1].end if self._final else 0.0)
        if self._length > most:  # whatever it was, it has no time
            self._drop(end - MARGIN)

    def _drop(self, until: float) -> None:
        """Let the window begin `until` seconds into the recording, if that is later than now."""
        samples = min(int(until * SAMPLE_RATE), self._end) - self._start
        if samples > 0:
            self._start += samples
            before = "".join(word.text for word in self._final if word.end <= until)
            self._context = before[-CONTEXT:].partition(" ")[2] if len(before) > CONTEXT else before

    # --- words ------------------------------------------------------------------------------------

    def _recognise(self, cancel: threading.Event | None) -> list[Word] | None:
        """The words in the window, at their times in the recording; None if the model lost its way."""
        if self._length < 0.1:
            return []
        terms = self._options.initial_prompt
        context = self._context.strip() if self._most == MOST else ""  # it may be what led astray
        prompt = " ".join(filter(None, (terms, context)))
        language = self._options.language or self._language
        options = replace(self._options, initial_prompt=prompt, language=language)
        transcript = self._engine.transcribe(self.sound.read(self._start, self._end), options, cancel)
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

    @property
    def _whole(self) -> int:
        """How many words of the hypothesis the window's end does not cut off."""
        return sum(word.end <= self._end / SAMPLE_RATE - MARGIN for word in self._hypothesis)

    def _settle(self, count: int) -> None:
        """Make the first words of the hypothesis final."""
        words, self._hypothesis = self._hypothesis[:count], self._hypothesis[count:]
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
        recognised = self._end / SAMPLE_RATE
        settled = self._final[-1].end if self._final else self._start / SAMPLE_RATE
        self.now = replace(
            self.now,
            tentative="".join(word.text for word in self._hypothesis),
            received=self.received,
            recognised=recognised,
            settled=min(settled, recognised) if self._hypothesis else recognised,
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
