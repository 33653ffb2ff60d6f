"""Window by window: where each begins, what it is told, and what is made of what it says."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from models.schema import Segment, SpeechOptions, Word
from models.speech.library import Decoded, segment
from models.speech.windows import Windows, advance, last_end, says_end, split, spoken
from tests.fakes.decoder import Dictated, at, heard, numbered

PLAIN = {"vad": False, "language": "en"}


def run(
    decoder: Dictated,
    seconds: float = 70.0,
    done: Sequence[Segment] = (),
    cancel: threading.Event | None = None,
    **options: Any,
) -> tuple[list[Segment], list[float]]:
    """The segments of a recording without a detector of speech, and how far it was told to be."""
    reached: list[float] = []
    blocks = [(numbered(seconds), True)]
    windows = Windows(decoder, blocks, SpeechOptions(**(PLAIN | options)), cancel or threading.Event())
    return list(windows.segments(done, reached.append)), reached


def spans(segments: Sequence[Segment]) -> list[tuple[float, float, str]]:
    return [(round(s.start, 2), round(s.end, 2), s.text) for s in segments]


def starts(decoder: Dictated) -> list[int]:
    return [first for first, *_ in decoder.asked]


# --- where windows begin -----------------------------------------------------------------------


def test_a_window_begins_at_the_last_time_that_was_said() -> None:
    decoder = Dictated(
        heard(at(0), 1, at(4), at(4.5), 2, at(9), at(9)),  # something begins at nine seconds
        heard(at(0), 3, at(30)),
        heard(at(1), 4, at(2)),
        heard(at(0), 5, at(1)),
    )
    segments, reached = run(decoder)
    assert decoder.asked[0][:2] == (0, 3000) and starts(decoder) == [0, 900, 3900, 6900]
    assert [size for _, size, _ in decoder.asked] == [3000, 3000, 3000, 100]
    assert spans(segments) == [
        (0, 4, " w1"), (4.5, 9, " w2"), (9, 39, " w3"), (39, 41, " w4"), (69, 70, " w5"),
    ]  # fmt: skip
    assert reached == [9, 39, 69, 70]
    assert [s.seek for s in segments] == [0, 0, 900, 3900, 6900]


def test_a_window_without_times_is_one_line_and_passed_whole() -> None:
    decoder = Dictated(heard(1, 2), heard(3, at(5)), heard(at(2), 4))
    segments, _ = run(decoder)
    assert spans(segments) == [(0, 30, " w1 w2"), (30, 35, " w3"), (60, 62, " w4")]
    assert starts(decoder) == [0, 3000, 6000]


def test_lines_without_words_or_length_are_left_out_and_not_remembered() -> None:
    decoder = Dictated(heard(at(0), 1, at(2), at(2), at(3), at(3), 5, at(3)), heard(6))
    segments, _ = run(decoder, 40)
    assert spans(segments) == [(0, 2, " w1"), (30, 40, " w6")]
    assert decoder.asked[1][2] == [at(0), 1, at(2)]


class Polyglot(Dictated):
    """Three passages of half a minute, of which the last could be in any language."""

    def detect(self, features: Any) -> tuple[str, float]:
        return {0: ("de", 0.9), 3000: ("fr", 0.9), 6000: ("zh", 0.3)}[int(features[0, 0])]


def test_each_passage_is_in_its_own_language_where_that_is_wanted() -> None:
    decoder = Polyglot(heard(1), heard(2), heard(3))
    run(decoder, 80, language=None, detect_each=True)
    assert decoder.begun == ["de", "fr"]
    assert [before for *_, before in decoder.asked] == [[], [], [2]]  # nothing in another language
    for options in ({"language": "de", "detect_each": True}, {"language": None}):
        decoder = Polyglot(heard(1), heard(2), heard(3))
        run(decoder, 80, **options)
        assert decoder.begun == [] and decoder.asked[2][2] == [1, 2]


def test_silence_says_nothing_and_is_passed() -> None:
    quiet = heard(1, avg_logprob=-1.5, no_speech_prob=0.7)
    decoder = Dictated(quiet, heard(2))
    segments, reached = run(decoder, 45)
    assert spans(segments) == [(30, 45, " w2")] and reached == [30, 45]
    assert decoder.asked[1][2] == []  # nothing is remembered of it


# --- what a window is told -----------------------------------------------------------------------


def test_the_text_so_far_is_told_and_the_names_before_it() -> None:
    script = heard(1), heard(2), heard(3)
    decoder = Dictated(*script)
    run(decoder, initial_prompt=" 8 9 ")
    assert [before for *_, before in decoder.asked] == [[8, 9], [8, 9, 1], [8, 9, 1, 2]]
    decoder = Dictated(*script)
    run(decoder, initial_prompt="8 9", condition_on_previous_text=False)
    assert [before for *_, before in decoder.asked] == [[8, 9], [], []]
    decoder = Dictated(*script)
    run(decoder)
    assert [before for *_, before in decoder.asked] == [[], [1], [1, 2]]


@pytest.mark.parametrize(("temperature", "told"), [(0.5, [1, 2]), (0.6, [])])
def test_text_that_was_drawn_wildly_is_no_guide(temperature: float, told: list[int]) -> None:
    decoder = Dictated(heard(1), heard(2, temperature=temperature), heard(3))
    segments, _ = run(decoder)
    assert [before for *_, before in decoder.asked] == [[], [1], told]
    assert [s.temperature for s in segments] == [0.0, temperature, 0.0]


# --- word times ----------------------------------------------------------------------------------


def test_words_get_times_and_the_next_window_begins_behind_the_last() -> None:
    decoder = Dictated(heard(1), heard(2), heard(3))
    decoder.word_end = 12.5
    segments, _ = run(decoder, 40, word_timestamps=True)
    assert starts(decoder) == [0, 1250]  # and the second says nothing behind it
    assert decoder.timed == [([3000], 0.0), ([2750], 12.5)]
    (word,) = segments[0].words
    assert (word.start, word.end, word.text, word.probability) == (0, 12.5, " w1", 0.5)


def test_a_window_that_says_its_end_is_passed_whole_whatever_its_words_say() -> None:
    decoder = Dictated(heard(at(0), 1, at(4), at(4), 2, at(20)), heard(3))
    decoder.word_end = 12.5
    run(decoder, 40, word_timestamps=True)
    assert starts(decoder) == [0, 3000]


# --- going on, and parts ---------------------------------------------------------------------------


def test_an_earlier_run_goes_on_with_its_last_window() -> None:
    script = [heard(at(0), 1, at(9), at(9)), heard(at(0), 2, at(8), at(8)), heard(3), heard(4)]
    whole, _ = run(Dictated(*script), 60)
    assert [s.seek for s in whole] == [0, 900, 1700, 4700]
    decoder = Dictated(*script[2:])
    segments, reached = run(decoder, 60, done=whole[:3])
    assert segments == whole
    assert decoder.asked[0] == (1700, 3000, [at(0), 1, at(9), at(0), 2, at(8)])
    assert reached == [47, 60]


def test_what_was_drawn_wildly_before_is_no_guide_now() -> None:
    earlier = segment(
        {"start": 0.0, "end": 9.0, "text": " w1", "words": [], "seek": 0, "tokens": [1]},
        heard(1, temperature=0.8),
    )
    last = segment({**_piece(), "seek": 900, "tokens": [2]}, heard(2))
    decoder = Dictated(heard(2), heard(3))
    run(decoder, 40, done=[earlier, last])
    assert [before for *_, before in decoder.asked] == [[], [2]]


def _piece() -> dict[str, Any]:
    return {"start": 9.0, "end": 20.0, "text": " w", "words": [], "seek": 0, "tokens": []}


def test_word_times_go_on_behind_the_last_word_of_the_earlier_run() -> None:
    earlier = segment({**_piece(), "end": 8.0, "seek": 0}, heard(1))
    last = segment({**_piece(), "seek": 900}, heard(2))
    decoder = Dictated(heard(2), heard(3))
    run(decoder, 39, done=[earlier, last], word_timestamps=True)
    assert [before for _, before in decoder.timed] == [8.0]
    decoder = Dictated(heard(2), heard(3))
    decoder.word_end = 20.0
    run(decoder, 39, done=[earlier, last], word_timestamps=True)
    assert [before for _, before in decoder.timed] == [8.0, 20.0]


def test_only_the_parts_that_were_asked_for_are_decoded() -> None:
    decoder = Dictated(heard(1), heard(2), heard(3))
    segments, _ = run(decoder, 70, clips="5-10, 20.5-21, 65-")
    assert [(first, size) for first, size, _ in decoder.asked] == [(500, 500), (2050, 50), (6500, 500)]
    assert spans(segments) == [(5, 10, " w1"), (20.5, 21, " w2"), (65, 70, " w3")]


@pytest.mark.parametrize(("clips", "size"), [("0-0.29", 29), ("0-0.284", 28), ("0-0.004", 0), ("0-0.006", 1)])
def test_a_part_has_the_frames_that_lie_in_it(clips: str, size: int) -> None:
    """Rounded: 0.29 seconds are 28.999999999999996 frames."""
    decoder = Dictated(heard(1))
    run(decoder, 5, clips=clips)
    assert [asked[1] for asked in decoder.asked] == [size] * bool(size)


def test_a_part_goes_on_where_it_was() -> None:
    done = segment({**_piece(), "seek": 600}, heard(1))
    decoder = Dictated(heard(2), heard(3))
    run(decoder, 70, done=[done], clips="5-10,20-21")
    assert [(first, size) for first, size, _ in decoder.asked] == [(600, 400), (2000, 100)]


# --- languages -------------------------------------------------------------------------------------


def test_the_language_is_that_of_the_first_thirty_seconds_that_count() -> None:
    def detected(seconds: float, **options: Any) -> tuple[str | None, float | None]:
        blocks = [(numbered(seconds), True)]
        return Windows(Dictated(), blocks, SpeechOptions(**(PLAIN | options)), threading.Event()).detect()

    assert detected(70) == ("from0to3000", 0.75)
    assert detected(70, clips="12-14") == ("from1200to3000", 0.75)
    assert detected(10) == ("from0to1003", 0.75)  # with what the library adds behind the end
    assert detected(5, clips="12-14") == (None, None)


# --- stopped -----------------------------------------------------------------------------------------


def test_a_stop_ends_after_the_window_at_hand_which_is_not_shown() -> None:
    cancel = threading.Event()

    class Stopped(Dictated):
        def decode(self, window: Any, previous: Sequence[int]) -> Decoded:
            if self.asked:
                cancel.set()
            return super().decode(window, previous)

    decoder = Stopped(heard(1), heard(2), heard(3))
    segments, _ = run(decoder, cancel=cancel)
    assert spans(segments) == [(0, 30, " w1")] and len(decoder.asked) == 2


# --- times and cuts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "lines", "forward"),
    [
        ([1, 2], [(10, 40)], 3000),
        ([at(0), 1, at(5)], [(10, 15)], 3000),
        ([at(0), 1], [(10, 40)], 3000),
        ([at(0), 1, at(5), at(5)], [(10, 15)], 500),
        ([at(0), 1, at(5), at(6), 2], [(10, 15)], 500),  # the second was not finished
        ([at(0), 1, at(5), at(6), 2, at(7)], [(10, 15), (16, 17)], 3000),
        ([at(1), 1, at(5), at(6), 2, at(7), at(8)], [(11, 15), (16, 17)], 700),
    ],
)
def test_a_window_is_cut_where_one_time_ends_and_one_begins(
    tokens: list[int], lines: list[tuple[float, float]], forward: int
) -> None:
    pieces = split(Dictated(), tokens, 1000, 10.0, 30.0)
    assert [(piece["start"], piece["end"]) for piece in pieces] == lines
    assert all(piece["seek"] == 1000 for piece in pieces)
    assert advance(Dictated(), tokens, 3000) == forward


def test_the_end_is_said_by_one_time_alone_behind_words() -> None:
    decoder = Dictated()
    assert says_end(decoder, [1, at(2)])
    assert not says_end(decoder, [1, at(2), at(2)])
    assert not says_end(decoder, [at(2), 1])
    assert not says_end(decoder, [at(2)]) and not says_end(decoder, [])


def test_the_last_end_is_that_of_the_last_word() -> None:
    first, second = {"words": [{"end": 3.0}], "end": 9.0}, {"words": [], "end": 12.0}
    assert last_end([first, second]) == 3.0
    assert last_end([second]) == 12.0
    said = {"start": 1.0, "end": 2.0, "text": " a"}
    assert spoken([said, {**said, "end": 1.0}, {**said, "text": "  "}]) == [said]


def test_a_segment_has_the_figures_of_its_window() -> None:
    word = {"start": 1, "end": 2, "word": " a", "probability": 0.5}
    piece = {"seek": 100, "start": 1, "end": 2.5, "text": " a", "tokens": [1, 2], "words": [word]}
    decoded = Decoded([1, 2], avg_logprob=-0.25, no_speech_prob=0.75, compression_ratio=1.5, temperature=0.4)
    assert segment(piece, decoded) == Segment(
        1.0, 2.5, " a", words=(Word(1.0, 2.0, " a", 0.5),), avg_logprob=-0.25, no_speech_prob=0.75,
        compression_ratio=1.5, temperature=0.4, seek=100, tokens=(1, 2),
    )  # fmt: skip
