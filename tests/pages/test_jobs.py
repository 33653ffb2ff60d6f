"""Batches for a script: in order, with Streamlit touched between them, and an end for whoever leaves."""

import threading
from collections.abc import Iterator

import pytest

from pages.shared import jobs
from pages.shared.jobs import batches

WAIT = 10  # seconds after which a test has failed


@pytest.fixture(autouse=True)
def touches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """There is no Streamlit here; how often it would have been touched."""
    counted: list[int] = []
    monkeypatch.setattr(jobs, "touch", lambda: counted.append(1))
    return counted


def test_everything_arrives_in_order_and_in_few_batches() -> None:
    came = list(batches(lambda cancel: iter(range(5000))))
    assert [item for batch in came for item in batch] == list(range(5000))
    assert len(came) < 500


def test_streamlit_is_touched_while_nothing_comes(touches: list[int]) -> None:
    go = threading.Event()

    def work(cancel: threading.Event) -> Iterator[str]:
        assert go.wait(WAIT)
        yield "late"

    arrived = []
    for batch in batches(work):
        arrived += batch
        if len(touches) == 3:  # three times, and nothing has come
            assert arrived == []
            go.set()
    assert arrived == ["late"]


def test_an_error_comes_after_all_that_came_before_it() -> None:
    def work(cancel: threading.Event) -> Iterator[str]:
        yield "one"
        yield "two"
        raise SystemExit(3)

    arrived: list[str] = []
    with pytest.raises(RuntimeError, match="SystemExit: 3"):
        for batch in batches(work):
            arrived += batch
    assert arrived == ["one", "two"]


@pytest.mark.parametrize("leaves", ["breaks", "is interrupted", "is interrupted while it shows"])
def test_whoever_leaves_ends_the_work(leaves: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    class Interrupted(BaseException):
        """As Streamlit's own, which is no Exception."""

    def work(cancel: threading.Event) -> Iterator[int]:
        yield 1
        assert cancel.wait(WAIT)
        ended.set()

    def interrupt() -> None:
        raise Interrupted

    def show() -> None:
        for _ in batches(work):
            if leaves == "breaks":
                break
            interrupt()

    if leaves == "is interrupted":
        monkeypatch.setattr(jobs, "touch", interrupt)
    if leaves == "breaks":
        show()
    else:
        with pytest.raises(Interrupted):
            show()
    assert ended.wait(WAIT)


def test_nothing_begins_before_it_is_listened_to() -> None:
    """Whoever is interrupted before the first batch leaves nothing running."""
    began = threading.Event()

    def work(cancel: threading.Event) -> Iterator[int]:
        began.set()
        yield 1

    waiting = batches(work)
    assert not began.is_set()
    assert next(waiting) == [1] and began.is_set()
