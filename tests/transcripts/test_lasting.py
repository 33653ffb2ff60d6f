"""No line, word or cue is without length or goes back, whatever a recogniser says."""

import json
import random
import re

import pytest

from models.schema import Segment, Word
from models.transcripts.formats import cues, write
from models.transcripts.lasting import LINE, STEP, lasting

ZERO = Segment(
    39.5,
    40.2,
    " I'm having nightmares again",
    (
        Word(39.56, 39.56, " I'm", 0.5),
        Word(39.56, 39.56, " having", 0.6),
        Word(39.56, 39.56, " nightmares", 0.7),
        Word(39.56, 40.2, " again", 0.8),
    ),
)
BACK = Segment(
    61.0,
    64.0,
    " one two three four",
    (
        Word(61.63, 61.8, " one"),
        Word(61.8, 61.8, " two"),
        Word(61.2, 61.5, " three"),
        Word(61.5, 64.0, " four"),
    ),
)


def times(lines: list[Segment]) -> list[tuple[float, float]]:
    return [(round(line.start, 3), round(line.end, 3)) for line in lines]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ([(1, 4), (3, 5)], [(1, 4), (3, 5)]),  # each has a length: nothing is touched
        ([(5, 5)], [(5, 5 + LINE)]),
        ([(5, 5), (5.2, 7)], [(5, 5.2), (5.2, 7)]),
        ([(5, 5), (5, 7)], [(4.5, 5), (5, 7)]),  # into the pause before
        ([(3, 5), (5, 5), (5, 7)], [(3, 5), (5, 5.5), (5.5, 7)]),  # from the next
        ([(3, 5), (5, 5), (5, 5.1)], [(3, 5), (5, 5.1), (5.1, 5.6)]),
        ([(3, 5), (5, 5), (5, 5), (5, 9)], [(3, 5), (5, 5.1), (5.1, 5.6), (5.6, 9)]),
        ([(1, 1.0004)], [(1, 1.5)]),
        ([(2, 1)], [(2, 2.5)]),
    ],
)
def test_lines(given: list[tuple[float, float]], shown: list[tuple[float, float]]) -> None:
    made = lasting([Segment(float(start), float(end), " x") for start, end in given])
    assert times(made) == shown
    assert lasting(made) == made


def test_words_without_length_share_the_next_ones() -> None:
    (line,) = lasting([ZERO])
    assert line.words[0].start == 39.56 and line.words[-1].end == 40.2
    assert all(word.end - word.start >= STEP for word in line.words)
    assert [(word.text, word.probability) for word in line.words] == [
        (word.text, word.probability) for word in ZERO.words
    ]


def test_words_do_not_go_back() -> None:
    (line,) = lasting([BACK])
    ends = [time for word in line.words for time in (word.start, word.end)]
    assert ends == sorted(ends) and line.words[0] == BACK.words[0]


def test_the_last_words_share_with_those_before() -> None:
    words = (Word(0.0, 1.0, " one"), Word(1.0, 1.0, " two"), Word(1.0, 1.0, " three"))
    (line,) = lasting([Segment(0.0, 1.0, " one two three", words)])
    assert [round(word.start, 2) for word in line.words] == [0.0, 0.27, 0.55] and line.words[-1].end == 1.0


@pytest.mark.parametrize("line", [ZERO, BACK])
@pytest.mark.parametrize("width", [5, 10, 42])
def test_cues_last_and_are_in_order(line: Segment, width: int) -> None:
    made = list(cues([line], width, 1))
    assert all(cue.end - cue.start > 0.01 for cue in made)
    assert all(first.end <= second.start for first, second in zip(made, made[1:], strict=False))


@pytest.mark.parametrize("name", ["srt", "vtt", "tsv"])
def test_no_file_has_a_line_of_no_time(name: str) -> None:
    text = write([Segment(5.0, 5.0, " flash"), Segment(5.0, 7.0, " after"), Segment(8.0, 8.0004, " x")], name)
    pairs = re.findall(r"^(\S+)(?: --> |\t)([\d:.,]+)", text, re.MULTILINE)
    assert len(pairs) == 3 and all(start != end for start, end in pairs)


def test_the_words_in_json_last() -> None:
    words = json.loads(write([ZERO], "json"))["segments"][0]["words"]
    assert all(word["end"] > word["start"] for word in words) and words[0]["probability"] == 0.5


def test_whatever_comes() -> None:
    draw = random.Random(0)
    for _ in range(500):
        given, at = [], 0.0
        for _ in range(draw.randint(1, 6)):
            start = at + draw.choice([0, 0, 0.01, 0.5])
            at = start + draw.choice([0, 0, 0.0004, 0.02, 0.05, 1, 3])
            begins = [draw.uniform(start - 0.2, at + 0.2) for _ in range(draw.randint(0, 5))]
            words = [Word(begin, begin + draw.choice([-0.1, 0, 0, 0.3]), " word") for begin in begins]
            given.append(Segment(start, at, " word" * len(words) or " x", tuple(words)))
        made = lasting(given)
        for first, second in zip(made, made[1:], strict=False):
            assert first.end <= second.start + 1e-6
        for line in made:
            assert line.end - line.start >= STEP - 1e-9
            ends = [time for word in line.words for time in (word.start, word.end)]
            assert ends == sorted(ends)
            assert all(word.end - word.start > 1e-4 for word in line.words)
