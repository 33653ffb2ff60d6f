"""Nothing is said after a recording has ended, whatever a network hears in the silence that fills its window."""

import pytest

from models.schema import Segment, Word
from models.speech.voice import until
from models.transcripts.lasting import lasting

END = 28.0


@pytest.mark.parametrize(
    ("given", "before", "shown"),
    [
        ((20.0, 25.0), 20.0, (20.0, 25.0)),
        ((27.0, 28.0), 27.0, (27.0, 28.0)),
        ((27.0, 30.0), 26.0, (27.0, 28.0)),
        ((27.9, 30.0), 26.0, (27.5, 28.0)),  # long enough to be seen
        ((29.0, 30.0), 26.0, (27.5, 28.0)),
        ((29.0, 30.0), 27.8, (27.8, 28.0)),
        ((29.0, 30.0), 28.0, (27.97, 28.0)),  # no room is left: but it is not lost
        ((27.9, 27.9), 26.0, (27.5, 28.0)),  # a file would show it for half a second
        ((27.0, 27.0), 26.0, (27.0, 27.0)),
    ],
)
def test_a_line_ends_with_its_recording(
    given: tuple[float, float], before: float, shown: tuple[float, float]
) -> None:
    line = until(Segment(*given, " x"), Segment(0.0, before, " w"), END)
    assert (line.start, line.end) == pytest.approx(shown)
    assert lasting([line])[0].end <= END


def test_words_end_with_it_too_and_each_has_some_time() -> None:
    words = tuple(Word(27.5 + n, 28.5 + n, f" {n}") for n in range(3))
    before = Segment(26.0, 28.0, " w")
    line = until(Segment(27.5, 30.5, " 0 1 2", words), before, END)
    assert [(word.start, word.end) for word in line.words] == [(27.5, 28.0), (28.0, 28.0), (28.0, 28.0)]
    (shown,) = lasting([line])
    assert shown.end == END and all(word.start < word.end <= END for word in shown.words)
    late = until(Segment(29.0, 30.5, " 1 2", words[1:]), before, END)
    assert late.start == pytest.approx(END - 0.06) and lasting([late])[0].end == END


def test_a_recording_shorter_than_its_line_is_all_there_is() -> None:
    line = until(Segment(0.0, 30.0, " x"), None, 0.2)
    assert (line.start, line.end) == (0.0, 0.2)
