"""Work in a thread: what came, how it ended, and that nothing of it is left."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from models.jobs import Job, Stream

WAIT = 10  # seconds after which a test has failed
ERRORS = [ValueError("no"), KeyboardInterrupt("as a panic in Rust"), SystemExit(3)]


# --- a job -----------------------------------------------------------------------------------------


def test_a_job_tells_how_far_it_is_and_keeps_its_result() -> None:
    told, go = threading.Event(), threading.Event()

    def work(send: Callable[[str], None], cancel: threading.Event) -> int:
        send("a quarter")
        send("half")
        told.set()
        assert go.wait(WAIT)
        return 5

    job = Job(work)
    assert told.wait(WAIT)
    assert job.running and job.latest == "half" and job.value is None
    go.set()
    assert job.result(WAIT) == 5
    assert not job.running and job.value == 5 and job.error is None


def test_who_waits_looks_around_meanwhile() -> None:
    go = threading.Event()
    job: Job[Any, bool] = Job(lambda *_: go.wait(WAIT))
    assert not job.wait(0)
    with pytest.raises(TimeoutError):
        job.result(0)
    go.set()
    assert job.wait(WAIT) and job.result() is True


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_an_error_is_kept_and_raised_for_everybody_who_asks(error: BaseException) -> None:
    def work(*_: Any) -> None:
        raise error

    job: Job[Any, None] = Job(work)
    for _ in range(2):
        with pytest.raises(Exception, match=str(error)) as raised:
            job.result(WAIT)
    assert raised.value is job.error and job.value is None
    assert error in (job.error, raised.value.__cause__)


def test_a_closed_job_hears_of_it_and_can_be_waited_for() -> None:
    ended = threading.Event()

    def work(send: Callable[[Any], None], cancel: threading.Event) -> None:
        assert cancel.wait(WAIT)
        ended.set()

    job = Job(work)
    job.close(wait=True)
    assert ended.is_set() and not job.running
    with pytest.raises(ZeroDivisionError), Job(work) as job:
        raise ZeroDivisionError
    assert job.wait(WAIT) and job.error is None


# --- a stream --------------------------------------------------------------------------------------


def test_everything_is_heard_in_order() -> None:
    assert list(Stream.of(lambda cancel: iter(range(5000)))) == list(range(5000))
    assert list(Stream.of(lambda cancel: iter(()))) == []


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("before", [["one", "two"], []])
def test_an_error_comes_after_all_that_came_before_it(error: BaseException, before: list[str]) -> None:
    def work(cancel: threading.Event) -> Iterator[str]:
        yield from before
        raise error

    stream, heard = Stream.of(work), []
    with pytest.raises(Exception, match=str(error)):
        for item in stream:
            heard.append(item)
    assert heard == before
    with pytest.raises(Exception, match=str(error)):  # and no second time, but the error stays
        assert list(stream) == []


def test_a_listener_looks_around_while_nothing_comes() -> None:
    go = threading.Event()

    def work(cancel: threading.Event) -> Iterator[str]:
        yield "early"
        assert go.wait(WAIT)
        yield "late"

    heard = []
    for item in Stream.of(work).ticking(0.001):
        heard.append(item)
        if heard.count(None) == 3:
            go.set()
    assert heard.count(None) >= 3
    assert [item for item in heard if item] == ["early", "late"] and heard[-1] == "late"


def test_what_has_come_is_taken_at_once_and_only_once() -> None:
    came, go = threading.Event(), threading.Event()

    def work(cancel: threading.Event) -> Iterator[int]:
        yield from (1, 2, 3)
        came.set()
        assert go.wait(WAIT)
        yield 4

    stream = Stream.of(work)
    assert came.wait(WAIT)
    assert stream.drain() == [1, 2, 3] and stream.drain() == []
    go.set()
    assert stream.wait(WAIT)
    assert stream.drain() == [4] and stream.drain() == [] == list(stream)


def test_items_that_nobody_hears_hold_nothing_up() -> None:
    stream = Stream.of(lambda cancel: iter(range(5000)))
    stream.close(wait=True)
    assert not stream.running
