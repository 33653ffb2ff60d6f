"""Text while somebody speaks: what is final, what is tentative, and how far behind it is."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from models.engines.base import Audio, SpeechEngine
from models.errors import EngineFailed
from models.schema import Checkpoint, Placement, Segment, SpeechOptions, Word
from models.sound import decoding
from models.speech.transcript import Transcript
from models.transcripts import live
from models.transcripts.live import LiveText, LiveTranscript
from tests.fakes.engines import FakeSpeechEngine
from tests.fakes.paths import SHARED

RATE = decoding.SAMPLE_RATE
TICKS = 250  # in a second, of the times that samples hold: 16 bits are enough for two minutes


class Listener(FakeSpeechEngine):
    """Hears the words of a talk whose time has come; a word that is cut off at the end it hears wrongly.

    A sample holds its time, so that the engine knows where a window begins.
    """

    def __init__(self, talk: Sequence[Word]) -> None:
        checkpoint = Checkpoint("fake", "whisper", "speech", "ctranslate2")
        super().__init__("fake", checkpoint, Placement("cpu", "fp32"))
        self.talk = talk
        self.asked: list[tuple[float, float, SpeechOptions]] = []
        self.fails = False

    def _transcribe(
        self,
        audio: Audio,
        options: SpeechOptions,
        cancel: threading.Event,
        result: Transcript,
        done: Sequence[Segment],
    ) -> Iterator[Segment]:
        begin = float(audio[0]) * 32768 / TICKS  # type: ignore[index,arg-type]
        end = begin + len(audio) / RATE  # type: ignore[arg-type]
        self.asked.append((begin, end, options))
        if self.fails:
            raise EngineFailed("It broke.", "出错了。")
        result.language = "en"
        heard = [word for word in self.talk if word.start >= begin - 0.3 and word.start < end]
        words = [
            Word(word.start - begin, min(word.end, end) - begin, " hm" if word.end > end else word.text)
            for word in heard
        ]
        if words:
            yield Segment(words[0].start, words[-1].end, "".join(word.text for word in words), tuple(words))


def talk(text: str, begin: float = 0.25, each: float = 0.4) -> list[Word]:
    """Words of 0.4 seconds, one after another."""
    return [
        Word(begin + number * each, begin + (number + 1) * each, f" {word}")
        for number, word in enumerate(text.split())
    ]


def seconds(start: float, count: float = 1.0) -> bytes:
    """Samples that say when they are."""
    times = start + np.arange(int(count * RATE)) / RATE
    return (times * TICKS).astype("<i2").tobytes()


def spoken(transcript: LiveTranscript, length: int) -> list[LiveText]:
    texts = []
    for second in range(length):
        transcript.feed(seconds(second))
        assert transcript.step()
        texts.append(transcript.now)
    return texts


def step_through(transcript: LiveTranscript) -> None:
    """Recognise all that has come."""
    for _ in range(1000):
        if not transcript.step():
            return
    pytest.fail("it goes on and on")


def test_words_are_final_when_two_recognitions_agree() -> None:
    transcript = LiveTranscript(Listener(talk("one two three four five six")))
    first, second, third = spoken(transcript, 3)
    assert (first.text, first.tentative) == ("", " one hm")
    assert (second.text, second.tentative) == (" one", " two three four hm")
    assert third.text == " one two three four" and third.tentative == " five six"
    assert transcript.flush().text == " one two three four five six"
    assert transcript.now.tentative == ""


def test_what_is_final_never_changes_and_nothing_is_said_twice() -> None:
    words = talk(" ".join(f"w{n}{'.' if n % 9 == 8 else ''}" for n in range(150)))
    texts = spoken(transcript := LiveTranscript(engine := Listener(words)), 62)
    for before, after in zip(texts, texts[1:], strict=False):
        assert after.text.startswith(before.text)
    final = transcript.flush()
    assert final.text == "".join(word.text for word in words)
    for word, expected in zip((w for s in final.segments for w in s.words), words, strict=True):
        assert word.start == pytest.approx(expected.start, abs=0.01)
    assert max(end - begin for begin, end, _ in engine.asked) <= live.LONG + 5


def test_lines_end_with_sentences_and_pauses() -> None:
    words = [*talk("one two. three"), *talk("four", 6.0)]
    spoken(transcript := LiveTranscript(Listener(words)), 8)
    assert [line.text for line in transcript.flush().segments] == [" one two.", " three", " four"]
    assert transcript.now.segments[2].start == pytest.approx(6.0)


def test_the_window_is_cut_without_sentences_and_without_agreement() -> None:
    endless = Listener(talk(" ".join(f"w{n}" for n in range(200))))
    spoken(LiveTranscript(endless), 60)
    assert max(end - begin for begin, end, _ in endless.asked) <= live.MOST

    class Undecided(Listener):
        def _transcribe(self, *arguments: Any) -> Iterator[Segment]:
            for segment in super()._transcribe(*arguments):
                count = len(self.asked)
                words = tuple(Word(w.start, w.end, f" {count}x{n}") for n, w in enumerate(segment.words))
                yield Segment(segment.start, segment.end, "", words)

    undecided = Undecided(endless.talk)
    texts = spoken(LiveTranscript(undecided), 60)
    assert max(end - begin for begin, end, _ in undecided.asked) <= live.MOST
    assert texts[-1].segments  # something is better than nothing


def test_the_model_is_told_what_came_before_the_window_and_not_what_is_in_it() -> None:
    words = talk(" ".join(f"w{n}{'.' if n % 9 == 8 else ''}" for n in range(100)))
    options = SpeechOptions(initial_prompt="Names", beam_size=5, word_timestamps=False)
    spoken(LiveTranscript(engine := Listener(words), options), 40)
    assert engine.asked[0][2].initial_prompt == "Names"
    for begin, _, asked in engine.asked:
        assert (asked.beam_size, asked.vad, asked.word_timestamps, asked.fallback) == (1, True, True, False)
        told = asked.initial_prompt.split()[1:]
        before = [word.text.strip() for word in words if word.end <= begin + 0.01]
        assert told == before[len(before) - len(told) :]
    assert len(engine.asked[-1][2].initial_prompt) <= live.CONTEXT + len("Names ")
    assert engine.asked[-1][2].language == "en"  # kept once words are final


def test_silence_costs_no_window_and_is_settled() -> None:
    transcript = LiveTranscript(engine := Listener(talk("late.", 40.2)))
    texts = spoken(transcript, 45)
    assert max(end - begin for begin, end, _ in engine.asked[:40]) <= 1 + live.MARGIN
    assert texts[30].settled == texts[30].recognised == texts[30].received == 31
    assert transcript.flush().text == " late."


def test_pieces_that_come_meanwhile_are_taken_together_and_counted() -> None:
    transcript = LiveTranscript(engine := Listener(talk("one two three four five six seven eight")))
    assert not transcript.step()
    for second in range(4):
        transcript.feed(seconds(second))
    assert transcript.step() and not transcript.step()
    assert len(engine.asked) == 1
    assert (transcript.now.received, transcript.now.recognised, transcript.now.settled) == (4, 4, 0)
    for second in range(4, 64):
        transcript.feed(seconds(second))
    transcript.step()
    assert transcript.now.received == 64 and transcript.now.recognised == live.MOST
    step_through(transcript)
    assert transcript.now.recognised == 64


class Slow(Listener):
    """Takes `pace` seconds for a second of sound; somebody speaks on meanwhile."""

    def __init__(self, talk: Sequence[Word], pace: float, length: int) -> None:
        super().__init__(talk)
        self.transcript = LiveTranscript(self)
        self.pace, self.length = pace, length
        self.said, self.now = 0, 0.0  # seconds that were sent, and that have passed
        self.behind = 0.0  # at most

    def speak(self) -> LiveTranscript:
        """All of it, recognised as it comes, and then what is left."""
        while self.said < self.length:
            self._pass(1.0)
            step_through(self.transcript)
        self.transcript.flush()
        return self.transcript

    def _pass(self, time: float) -> None:
        self.now += time
        while self.said < min(int(self.now), self.length):
            self.transcript.feed(seconds(self.said))
            self.said += 1

    def _transcribe(self, audio: Audio, *arguments: Any) -> Iterator[Segment]:
        self._pass(self.pace * len(audio) / RATE)  # type: ignore[arg-type]
        self.behind = max(self.behind, self.transcript.received - self.transcript.now.recognised)
        yield from super()._transcribe(audio, *arguments)


TALKS = {
    "sentences": talk(" ".join(f"w{n}{'.' if n % 9 == 8 else ''}" for n in range(290))),
    "one sentence": talk(" ".join(f"w{n}" for n in range(290))),
    "pauses": [*talk("one two", 3.0), *talk("three four five. six", 40.3), *talk("seven eight", 90.9)],
}


@pytest.mark.parametrize("words", TALKS.values(), ids=TALKS)
@pytest.mark.parametrize("pace", [0.4, 1.0, 3.0, 50.0])
def test_what_is_slower_than_speech_loses_and_repeats_nothing(words: list[Word], pace: float) -> None:
    engine = Slow(words, pace, 120)
    final = engine.speak().now
    assert final.text == "".join(word.text for word in words)
    for word, expected in zip((w for s in final.segments for w in s.words), words, strict=True):
        assert word.start == pytest.approx(expected.start, abs=0.01)
    assert final.received == final.recognised == final.settled == 120
    reached = 0.0
    for begin, end, _ in engine.asked:  # no second is passed over
        assert begin <= reached + 0.01 and end - begin <= live.MOST
        reached = max(reached, end)
    assert reached == pytest.approx(120, abs=0.01)
    assert pace < 1 or engine.behind > live.MOST  # it did fall behind


def test_what_waited_is_caught_up_with_in_few_steps() -> None:
    engine = Listener(TALKS["sentences"])
    transcript = LiveTranscript(engine)
    for second in range(120):
        transcript.feed(seconds(second))
    step_through(transcript)
    assert transcript.flush().text == "".join(word.text for word in engine.talk)
    assert len(engine.asked) <= 120 / live.LONG + 1


class Lost(Listener):
    """Loses its way in windows that begin before `until` and are longer than `most`, in seconds."""

    until, most = 0.0, 0.0

    def _transcribe(self, *arguments: Any) -> Iterator[Segment]:
        for segment in super()._transcribe(*arguments):
            begin, end, _ = self.asked[-1]
            lost = begin < self.until and end - begin > self.most
            yield replace(segment, doubts=("looping",) if lost else ())


def caught_up(engine: Listener, length: int) -> LiveText:
    transcript = LiveTranscript(engine)
    for second in range(length):
        transcript.feed(seconds(second))
    transcript.end()
    step_through(transcript)
    return transcript.flush()


def test_where_the_model_loses_its_way_a_shorter_window_is_tried() -> None:
    engine = Lost(TALKS["sentences"])
    engine.until, engine.most = 50.0, 15.0
    now = caught_up(engine, 120)
    assert now.text == "".join(word.text for word in engine.talk) and now.recognised == 120
    short = [options for begin, end, options in engine.asked if end - begin == live.MOST / 2]
    assert short and not any(options.initial_prompt for options in short)


def test_the_end_is_looked_at_in_shorter_windows_too() -> None:
    engine = Lost(TALKS["sentences"][:45])
    engine.until, engine.most = 50.0, 15.0
    assert caught_up(engine, 19).text == "".join(word.text for word in engine.talk)


def test_where_it_is_lost_in_a_short_window_too_that_is_passed_over() -> None:
    engine = Lost(TALKS["one sentence"][:140])
    engine.until = 10.0
    now = caught_up(engine, 60)
    heard = [word for word in engine.talk if word.start > live.MOST / 2 - 0.3]
    assert now.text == "".join(word.text for word in heard) and now.recognised == 60


def test_nothing_that_a_model_says_of_times_holds_it_up() -> None:
    class Odd(Listener):
        def _transcribe(self, *arguments: Any) -> Iterator[Segment]:
            for segment in super()._transcribe(*arguments):
                words = tuple(replace(word, start=0.0, end=0.0) for word in segment.words)
                yield replace(segment, words=words)

    assert caught_up(Odd(TALKS["sentences"]), 120).recognised == 120


def test_it_runs_to_its_end_and_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "WAIT", 0.001)
    transcript = LiveTranscript(engine := Listener(talk("one two three four five")))
    reported: list[LiveText] = []

    def report(now: LiveText) -> None:
        assert not engine.close_if_idle()  # nobody unloads it while somebody speaks
        reported.append(now)
        if len(reported) < 3:
            transcript.feed(seconds(len(reported)))
        else:
            transcript.end()

    transcript.feed(seconds(0))
    last = transcript.run(report, threading.Event())
    assert len(reported) == 3 and last.text == " one two three four five"
    assert engine.close_if_idle()


def test_somebody_who_is_gone_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PATIENCE", 0.0)
    transcript = LiveTranscript(Listener(talk("one")))
    transcript.feed(seconds(0))
    assert transcript.run(lambda now: None, threading.Event()).text == " one"


def test_a_failure_and_a_stop_keep_what_is_final() -> None:
    transcript = LiveTranscript(engine := Listener(talk("one two three four five six")))
    spoken(transcript, 3)
    engine.fails = True
    transcript.feed(seconds(3))
    with pytest.raises(EngineFailed):
        transcript.step()
    assert transcript.now.text == " one two three four"
    stopped = threading.Event()
    stopped.set()
    assert transcript.run(lambda now: None, stopped).text == " one two three four five six"


class Confused(Listener):
    """Doubts what it hears from the fourth to the sixth time on."""

    doubt = "looping"

    def _transcribe(self, *arguments: Any) -> Iterator[Segment]:
        for segment in super()._transcribe(*arguments):
            doubtful = 4 <= len(self.asked) <= 6
            words = (Word(0.0, 0.4, " so"),) * 9 if doubtful else segment.words
            yield replace(segment, words=words, doubts=(self.doubt,) if doubtful else ())


def test_a_loop_is_neither_shown_nor_final() -> None:
    words = talk("one two three four five six seven eight nine ten eleven twelve")
    texts = spoken(transcript := LiveTranscript(Confused(words)), 8)
    assert all(" so" not in text.text + text.tentative for text in texts)
    assert texts[4].tentative == texts[2].tentative  # what was known before
    assert transcript.flush().text == "".join(word.text for word in words)


@pytest.mark.parametrize("doubt", ["looping", "unsure"])
def test_a_language_is_kept_while_the_words_make_sense(doubt: str) -> None:
    engine = Confused(talk("one two three four five six seven eight nine ten eleven twelve"))
    engine.doubt = doubt
    spoken(LiveTranscript(engine), 9)
    languages = [options.language for _, _, options in engine.asked]
    assert languages == [None, None, None, "en", None, None, None, "en", "en"]
    spoken(LiveTranscript(engine := Listener(engine.talk), SpeechOptions(language="de")), 3)
    assert {options.language for _, _, options in engine.asked} == {"de"}


def differing_words(one: str, other: str) -> int:
    """Levenshtein's distance, in words without case and punctuation."""
    left, right = (
        ["".join(filter(str.isalnum, word)) for word in text.casefold().split()] for text in (one, other)
    )
    row = list(range(len(right) + 1))
    for number, word in enumerate(left, 1):
        diagonal, row[0] = row[0], number
        for column, other_word in enumerate(right, 1):
            best = min(row[column] + 1, row[column - 1] + 1, diagonal + (word != other_word))
            diagonal, row[column] = row[column], best
    return row[-1]


@pytest.mark.weights
@pytest.mark.skipif(not (SHARED / "audio").is_dir(), reason="a made voice is not heard to its end")
@pytest.mark.parametrize("keeps_up", [True, False])
def test_a_real_talk_is_understood(jfk: Path, keeps_up: bool) -> None:
    engine = models.load("whisper-tiny.en")
    assert isinstance(engine, SpeechEngine)
    # Said three times, so that the window has to be cut. Compared with what was said, not with what
    # the whole recording is heard as: there the model at times skips what it has just heard.
    samples = np.tile(np.concatenate([decoding.load(jfk), np.zeros(RATE, np.float32)]), 3)
    said_thrice = 3 * (
        "And so my fellow Americans ask not what your country can do for you "
        "ask what you can do for your country "
    )
    transcript = LiveTranscript(engine)
    pcm = (samples * 32767).astype("<i2")
    for start in range(0, len(pcm), RATE):
        transcript.feed(pcm[start : start + RATE].tobytes())
        if keeps_up:
            transcript.step()
    step_through(transcript)
    said = transcript.flush()
    assert differing_words(said.text, said_thrice) <= 0.1 * len(said_thrice.split())
    assert said.text.lower().count("ask not what your country") == 3
    starts = [word.start for line in said.segments for word in line.words]
    assert starts == sorted(starts) and said.segments[-1].end <= len(samples) / RATE
