"""Live text in its details: what is asked of the engine, and where lines end. A talk is what the test says."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from models.schema import Segment, SpeechOptions, Word
from models.transcripts import live
from models.transcripts.live import LINE, PAUSE, LiveTranscript

RATE = 16_000


class Said(list[Segment]):
    language = "en"


class Listener:
    """Hears the same words whatever comes, and keeps what it was asked."""

    def __init__(self, *words: Word) -> None:
        self.words, self.asked = words, list[tuple[int, SpeechOptions]]()

    def transcribe(self, audio: Sequence[Any], options: SpeechOptions, cancel: Any) -> Said:
        self.asked.append((len(audio), options))
        text = "".join(word.text for word in self.words)
        return Said([Segment(0.0, 1.0, text, self.words)] if self.words else [])


def listening(*words: Word, options: SpeechOptions | None = None) -> tuple[Listener, LiveTranscript]:
    engine: Any = Listener(*words)
    return engine, LiveTranscript(engine, options or SpeechOptions())


def test_what_keeps_up_with_speech_is_not_the_visitors_to_choose() -> None:
    chosen = SpeechOptions(
        language="de", task="translate", initial_prompt="Ada", hotwords="Byron", clips="1-2", batch_size=8,
        beam_size=5, vad=False, word_timestamps=False, fallback=True,
    )  # fmt: skip
    engine, transcript = listening(options=chosen)
    transcript.feed(bytes(2 * RATE))
    assert transcript.step()
    ((_, asked),) = engine.asked
    assert (asked.language, asked.task, asked.initial_prompt, asked.hotwords) == (
        "de", "translate", "Ada", "Byron",
    )  # fmt: skip
    assert (asked.clips, asked.batch_size, asked.beam_size) == ("", 1, 1)
    assert (asked.vad, asked.word_timestamps, asked.fallback) == (True, True, False)


@pytest.mark.parametrize(("samples", "heard"), [(RATE // 10 - 1, 0), (RATE // 10, 1), (RATE, 1)])
def test_less_than_a_word_is_not_recognised(samples: int, heard: int) -> None:
    engine, transcript = listening()
    transcript.feed(bytes(2 * samples))
    assert transcript.step() and len(engine.asked) == heard
    assert not transcript.step() and len(engine.asked) == heard  # nothing new came


@pytest.mark.parametrize(
    ("end", "start", "text", "goes_on"),
    [
        (1.0, 1.0, " so", True),
        (1.0, 1.0 + PAUSE - 0.01, " so", True),
        (1.0, 1.0 + PAUSE, " so", False),
        (LINE - 0.5, LINE - 0.5, " so", False),  # with the next word it would be too long
        (LINE - 1.0, LINE - 1.0, " so", True),
        (1.0, 1.0, " so.", False),
        (1.0, 1.0, " so? ", False),
        (1.0, 1.0, "。", False),
        (1.0, 1.0, " 3.5", True),
    ],
)
def test_where_a_line_ends(end: float, start: float, text: str, goes_on: bool) -> None:
    line = Segment(0.0, end, text, (Word(0.0, end, text),))
    assert live._continues(line, Word(start, start + 0.6, " on")) is goes_on


@pytest.mark.parametrize(
    ("before", "now", "count"),
    [
        ([], [" a"], 0),
        ([" a", " b"], [" a", " c"], 1),
        ([" a,", " B"], [" A", " b."], 2),
        ([" a", " b"], [" a"], 1),
        ([" -"], [" …"], 0),  # marks alone are compared as they are
        ([" -", " a"], [" -", " a"], 2),
    ],
)
def test_how_many_words_two_recognitions_agree_on(before: list[str], now: list[str], count: int) -> None:
    old, new = ([Word(0.0, 1.0, text) for text in texts] for texts in (before, now))
    assert live._agreement(old, new) == count


@pytest.mark.parametrize("options", [None, SpeechOptions(beam_size=3)])
def test_a_cancelled_step_leaves_no_word(options: Any) -> None:
    engine, transcript = listening(Word(0.0, 0.5, " a"), options=options)
    cancel = threading.Event()
    cancel.set()
    transcript.feed(bytes(2 * RATE))
    assert not transcript.step(cancel)
    assert transcript.flush().text == "" and len(engine.asked) == 1


def test_a_window_that_was_shortened_once_may_grow_again() -> None:
    engine, transcript = listening(Word(0.0, 10.0, " and"))
    hear = engine.transcribe

    def lose_the_way_at_first(*given: Any) -> Said:
        heard = hear(*given)
        return heard if len(engine.asked) > 1 else Said([replace(heard[0], doubts=("looping",))])

    engine.transcribe = lose_the_way_at_first  # type: ignore[method-assign]
    transcript.feed(bytes(2 * 24 * RATE))
    for _ in range(3):
        assert transcript.step()
    assert [samples / RATE for samples, _ in engine.asked] == [24, 12, 14]
