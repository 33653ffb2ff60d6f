"""Corrections of a transcript: what they change, and what they must leave."""

from typing import Any

import pytest

from models.errors import BadInput
from models.schema import Segment, Word
from models.transcripts import edit
from models.transcripts.edit import (
    believe,
    beside,
    merge,
    put,
    remove,
    rewrite,
    split,
    spread,
    substitute,
    timed,
    units,
)

WORDS = (Word(0.0, 0.5, " Hello", 0.9), Word(0.5, 1.0, " big", 0.8), Word(1.5, 2.0, " world.", 0.7))
LINES = (
    Segment(0.0, 2.0, " Hello big world.", WORDS, doubts=("unsure",)),
    Segment(2.5, 4.0, " 你好，世界。"),
    Segment(4.0, 6.0, " The end."),
)


def texts(lines: tuple[Segment, ...]) -> list[str]:
    return [line.text for line in lines]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (" Hello, world.", [" Hello,", " world."]),
        ("你好，世界。", ["你", "好，", "世", "界。"]),
        ("用Python写“代码”。", ["用", "Python", "写", "“代", "码”。"]),
        (" a  b ", [" a", "  b "]),
        ("  ", ["  "]),
        ("", []),
    ],
)
def test_a_text_breaks_between_words_or_letters(text: str, parts: list[str]) -> None:
    assert units(text) == parts and "".join(parts) == text


def test_words_without_times_share_the_line_by_length() -> None:
    assert spread(["ab", "cd"], 1.0, 2.0) == (Word(1.0, 1.5, "ab"), Word(1.5, 2.0, "cd"))
    assert timed(LINES[0]) == WORDS
    assert [round(word.end, 3) for word in timed(LINES[1])] == [2.75, 3.25, 3.5, 4.0]


def test_a_line_gets_another_text_and_times() -> None:
    changed = rewrite(LINES, 1, "  早安，\n世界。", 2.4, 4.0)[1]
    assert (changed.start, changed.end, changed.text) == (2.4, 4.0, " 早安， 世界。")


def test_known_words_keep_their_times_and_new_ones_stand_in_their_place() -> None:
    (changed, *rest) = rewrite(LINES, 0, "Hello small old world.", 0.0, 2.0)
    assert [(word.text, word.start, word.end) for word in changed.words] == [
        (" Hello", 0.0, 0.5),
        (" small", 0.5, 0.8125),
        (" old", 0.8125, 1.0),
        (" world.", 1.5, 2.0),
    ]
    assert changed.doubts == () and tuple(rest) == LINES[1:]
    assert "".join(word.text for word in changed.words) == changed.text


def test_times_that_were_not_touched_stay_exact() -> None:
    lines = (Segment(1.23456, 2.34567, " x"),)
    assert rewrite(lines, 0, "x", 1.235, 2.346) == lines


@pytest.mark.parametrize(
    ("start", "end", "why"),
    [
        (3.0, 3.0, "end after it starts"),
        (4.0, 3.0, "end after it starts"),
        (float("nan"), 3.0, "end after it starts"),
        (1.9, 4.0, "line before or after"),
        (2.5, 4.1, "line before or after"),
    ],
)
def test_times_stay_in_order(start: float, end: float, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        rewrite(LINES, 1, "x", start, end)


def test_lines_that_overlap_already_can_still_be_corrected() -> None:
    lines = (Segment(0.0, 2.0, "a"), Segment(1.5, 3.0, "b"))
    assert rewrite(lines, 1, "c", 1.5, 3.0)[1].text == "c"


def test_the_first_of_two_lines_that_overlap_can_be_corrected_and_goes_no_further() -> None:
    lines = (Segment(0.0, 5.0, " One."), Segment(4.0, 8.0, " Two."), Segment(7.0, 9.0, " Three."))
    assert texts(rewrite(lines, 0, "1", 0.0, 5.0)) == [" 1", " Two.", " Three."]
    changed = rewrite(lines, 1, "2", 4.5, 7.5)[1]
    assert (changed.start, changed.end) == (4.5, 7.5)
    for index, start, end in ((0, 0.0, 5.5), (1, 3.5, 8.0), (1, 4.0, 8.5), (2, 6.5, 9.0)):
        with pytest.raises(BadInput, match="before or after"):
            rewrite(lines, index, "?", start, end)


def test_a_line_is_not_emptied() -> None:
    with pytest.raises(BadInput, match="delete the line"):
        rewrite(LINES, 0, " \n", 0.0, 2.0)


def test_two_lines_become_one() -> None:
    joined = merge((*LINES[:1], Segment(2.0, 3.0, " Bye.", (Word(2.0, 3.0, " Bye."),))), 0)
    assert joined == (
        Segment(0.0, 3.0, " Hello big world. Bye.", (*WORDS, Word(2.0, 3.0, " Bye.")), doubts=("unsure",)),
    )
    assert merge((Segment(0.0, 1.0, "你好"), Segment(1.0, 2.0, "世界")), 0)[0].text == "你好世界"


def test_lines_that_overlap_end_when_both_have_ended() -> None:
    long, short = Segment(0.0, 5.0, "a"), Segment(1.0, 2.0, "b")
    (joined,) = merge((long, short), 0)
    assert (joined.start, joined.end, joined.text) == (0.0, 5.0, "a b")
    (joined,) = merge((short, long), 0)
    assert (joined.start, joined.end) == (1.0, 5.0)


@pytest.mark.parametrize(
    ("left", "right", "text"),
    [
        ("你好", " world", "你好 world"),
        (" Hello ", "世界", " Hello 世界"),
        ("你好。", "世界", "你好。世界"),
        (" a", " b", " a b"),
    ],
)
def test_a_space_joins_what_is_written_with_spaces(left: str, right: str, text: str) -> None:
    assert merge((Segment(0.0, 1.0, left), Segment(1.0, 2.0, right)), 0)[0].text == text


def test_joined_lines_keep_every_doubt_once_and_words_only_if_both_have_them() -> None:
    doubtful = Segment(2.0, 3.0, " Bye.", doubts=("silence", "unsure"))
    joined, last = merge((LINES[0], doubtful, LINES[2]), 0)
    assert (joined.doubts, joined.words, last) == (("unsure", "silence"), (), LINES[2])


def test_a_line_is_cut_where_its_words_end() -> None:
    first, second, *_ = split(LINES, 0, len("Hello big"))
    assert (first.text, first.start, first.end) == (" Hello big", 0.0, 1.0)
    assert (second.text, second.start, second.end) == (" world.", 1.5, 2.0)
    assert first.words == WORDS[:2] and second.words == WORDS[2:]


def test_without_word_times_a_cut_goes_by_length() -> None:
    (first, second) = split((Segment(0.0, 6.0, "你好，世界。"),), 0, 3)
    assert (first.text, first.end, second.text, second.start) == ("你好，", 3.0, "世界。", 3.0)


def test_a_cut_within_a_word_leaves_every_letter() -> None:
    first, second, *_ = split(LINES, 0, len("Hello big wor"))
    assert (first.text, second.text) == (" Hello big wor", " ld.")
    assert first.start < first.end <= second.start < second.end


@pytest.mark.parametrize("position", [0, len("Hello big world.")])
def test_nothing_is_cut_off_an_end(position: int) -> None:
    with pytest.raises(BadInput, match="nothing to cut off"):
        split(LINES, 0, position)


def test_a_line_is_removed() -> None:
    assert remove(LINES, 1) == (LINES[0], LINES[2])


def test_what_is_heard_again_stays_within_its_line() -> None:
    heard = [
        Segment(2.0, 3.0, " a", (Word(2.0, 3.0, " a"),)),
        Segment(3.0, 9.0, " b"),
        Segment(3.9, 4.0, " "),
    ]
    lines = put(LINES, 1, heard)
    assert [(line.start, line.end, line.text) for line in lines[1:3]] == [(2.5, 3.0, " a"), (3.0, 4.0, " b")]
    assert lines[1].words[0].start == 2.5 and len(lines) == 4
    with pytest.raises(BadInput, match="stays as it was"):
        put(LINES, 1, [])


def test_a_text_is_replaced_everywhere() -> None:
    lines, count = substitute(LINES, "hello", r"Good \1 day")
    assert count == 1 and lines[0].text == r" Good \1 day big world."
    assert lines[0].words[-1] == WORDS[-1]
    assert substitute(LINES, "hello", "x", same_case=True) == (LINES, 0)
    assert substitute(LINES, "", "x") == (LINES, 0)
    assert texts(substitute(LINES, " The end.", "")[0]) == texts(LINES[:2])  # nothing is left of it


def test_doubts_stay_until_somebody_writes_or_listens() -> None:
    doubtful = (LINES[0], Segment(2.5, 4.0, " Bye, world.", doubts=("silence",)))
    changed, _ = substitute(doubtful, "world", "all")
    assert texts(changed) == [" Hello big all.", " Bye, all."]
    assert [line.doubts for line in changed] == [("unsure",), ("silence",)]
    assert rewrite(doubtful, 1, "Bye, world.", 2.5, 3.5)[1].doubts == ("silence",)  # only its times
    assert [line.doubts for line in believe(changed, [1])] == [("unsure",), ()]
    assert texts(believe(changed, [0, 1])) == texts(changed)


def test_no_line_ends_after_its_recording() -> None:
    assert rewrite(LINES, 2, "x", 4.0, 6.5, 6.5)[2].end == 6.5
    with pytest.raises(BadInput, match="ends after 6.500 seconds"):
        rewrite(LINES, 2, "x", 4.0, 6.6, 6.5)
    assert rewrite(LINES, 2, "x", 4.0, 6.0, 5.0)[2].text == " x"  # as it was recognised


def test_a_translation_stands_beside_what_it_overlaps_most() -> None:
    translation = [
        Segment(0.0, 1.9, " A"),
        Segment(1.8, 2.6, " B"),
        Segment(4.5, 5.0, " C"),
        Segment(9, 10, " D"),
    ]
    assert beside(LINES, translation) == ["A B", "", "C D"]
    assert beside((), translation) == [] and beside(LINES, ()) == ["", "", ""]


@pytest.mark.parametrize("index", [-1, 3, 10**20])
def test_a_line_that_is_not_there_is_a_sentence(index: int) -> None:
    changes = (
        lambda: rewrite(LINES, index, "x", 0.0, 1.0),
        lambda: split(LINES, index, 1),
        lambda: merge(LINES, index),
        lambda: merge(LINES, 2),  # the last has no next one
        lambda: remove(LINES, index),
        lambda: put(LINES, index, LINES),
        lambda: believe(LINES, [0, index]),
    )
    for change in changes:
        with pytest.raises(BadInput, match="no such line"):
            change()


def test_no_line_grows_without_end() -> None:
    full = (Segment(0.0, 1.0, "a" * edit.LONGEST),)
    with pytest.raises(BadInput, match="100,000"):
        edit.rewrite(full, 0, "a" * edit.LONGEST + "b", 0.0, 1.0)
    with pytest.raises(BadInput, match="100,000"):
        edit.substitute(full, "a", "ab")
    longer = (Segment(0.0, 1.0, "a" * edit.LONGEST + "aa"),)  # as it was recognised
    assert edit.rewrite(longer, 0, "a" * edit.LONGEST + "ab", 0.0, 1.0)
    assert edit.substitute(longer, "a", "b")[1] == edit.LONGEST + 2


def test_half_a_character_is_no_text() -> None:
    with pytest.raises(BadInput, match="half a character"):
        rewrite(LINES, 0, "a \ud800", 0.0, 1.0)
    with pytest.raises(BadInput, match="half a character"):
        substitute(LINES, "hello", "\udc00")


# What is quadratic in these takes minutes, and is ended by the time that a test has.
@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", [" " * 90_000, "a " * 45_000, "中" * 50_000])
def test_a_line_may_be_very_long(text: str) -> None:
    assert "".join(units(text)) == text
    line = Segment(0.0, 10.0, text, words=spread(units(text), 0.0, 10.0))
    (changed,) = rewrite((line,), 0, f"{text}b", 0.0, 10.0)
    assert "".join(word.text for word in changed.words).strip() == changed.text.strip()
    assert changed.words[0] == line.words[0] or not text.strip()


def test_of_a_long_line_only_what_lies_between_the_differences_changes() -> None:
    text = " ".join(map(str, range(5000)))
    line = Segment(0.0, 5000.0, text, words=spread(units(text), 0.0, 5000.0))
    (changed,) = rewrite((line,), 0, text.replace(" 2000 ", " two thousand "), 0.0, 5000.0)
    assert changed.words[:2000] == line.words[:2000]
    assert changed.words[2002:] == line.words[2001:]
    assert [word.text for word in changed.words[2000:2002]] == [" two", " thousand"]


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("So Hello big world.", [(0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.5, 2.0)]),
        ("Hello big old world.", [(0.0, 0.5), (0.5, 1.0), (1.5, 1.5), (1.5, 2.0)]),
        ("Hello big world. Bye", [(0.0, 0.5), (0.5, 1.0), (1.5, 2.0), (2.0, 2.0)]),
        ("Hello vast wide world.", [(0.0, 0.5), (0.5, 0.75), (0.75, 1.0), (1.5, 2.0)]),
        ("Hello world.", [(0.0, 0.5), (1.5, 2.0)]),
    ],
)
def test_new_words_share_the_time_of_those_they_stand_for(
    text: str, times: list[tuple[float, float]]
) -> None:
    """And where nothing stood, a moment beside the word that follows."""
    (changed, *_) = rewrite(LINES, 0, text, 0.0, 2.0)
    assert [(word.start, word.end) for word in changed.words] == times
    assert "".join(word.text for word in changed.words) == changed.text == f" {text}"


@pytest.mark.parametrize(
    ("words", "others", "slow"),
    [(100, 0, False), (2000, 0, True), (100, 3000, True), (3000, 100, True)],
)
def test_lines_that_would_take_long_to_compare_are_compared_at_their_ends(
    words: int, others: int, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One word hundreds of times makes as many pairs as its square."""
    asked: list[int] = []

    class Matcher:
        def __init__(self, *given: Any) -> None:
            asked.append(1)

        def get_opcodes(self) -> list[Any]:
            return [("replace", 0, words + others, 0, words + others)]

    monkeypatch.setattr(edit, "SequenceMatcher", Matcher)
    old = ["a"] * words + [f"w{number}" for number in range(others)]
    new = ["b", *old[1:-1], "b"]
    changes = edit._changes(["x", *old, "y"], ["x", *new, "y"])
    assert asked == [] if slow else asked
    if slow:
        size = len(old)
        assert changes == [
            ("equal", 0, 1, 0, 1), ("replace", 1, size + 1, 1, size + 1),
            ("equal", size + 1, size + 2, size + 1, size + 2),
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(0.5, 1.5)], ["", "x0", ""]),  # as much in both: the later one
        ([(0.4, 1.4)], ["x0", "", ""]),
        ([(0.0, 3.0)], ["", "", "x0"]),
        ([(5.0, 6.0)], ["", "", "x0"]),  # behind all of them
        ([(0.0, 1.0), (0.0, 0.9), (2.0, 3.0)], ["x0 x1", "", "x2"]),
    ],
)
def test_each_part_of_a_translation_goes_where_it_overlaps_most(
    parts: list[tuple[float, float]], expected: list[str]
) -> None:
    lines = [Segment(float(at), at + 1.0, "") for at in range(3)]
    assert beside(lines, [Segment(*times, f" x{at} ") for at, times in enumerate(parts)]) == expected
    assert beside([], [Segment(0.0, 1.0, "x")]) == []
