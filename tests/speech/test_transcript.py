"""How far a transcript is, and when it will be done."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from models.schema import Progress, Queued
from models.speech import transcript
from models.speech.transcript import Transcript


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Transcript, list[Progress]]]:
    """A transcript of 200 seconds, and what it tells; ten seconds lie between two looks at the clock."""
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(transcript, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    progress: list[Progress] = []
    made = Transcript(progress.append)
    made.duration = 200.0
    yield made, progress


def test_the_time_left_follows_from_the_speed_so_far(told: tuple[Transcript, list[Progress]]) -> None:
    made, progress = told
    for seconds in (20.0, 60.0, 140.0, 200.0):
        made.reach(seconds)
    assert [(it.done, it.total) for it in progress] == [(20, 200), (60, 200), (140, 200), (200, 200)]
    assert [(it.rate, it.left) for it in progress] == [(0.0, None), (4.0, 35.0), (6.0, 10.0), (6.0, 0.0)]


def test_what_was_done_before_makes_nobody_faster(told: tuple[Transcript, list[Progress]]) -> None:
    made, progress = told
    for seconds in (100.0, 110.0):  # an interrupted recording goes on
        made.reach(seconds)
    assert (progress[-1].rate, progress[-1].left, made.position) == (1.0, 90.0, 110.0)


def test_a_header_that_says_too_little_leaves_no_time_below_none(
    told: tuple[Transcript, list[Progress]],
) -> None:
    made, progress = told
    made.wait(Queued(2))
    for seconds in (100.0, 250.0):
        made.reach(seconds)
    assert progress[0] == Progress("queue", total=2) and progress[-1].left == 0.0
