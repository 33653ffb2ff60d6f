"""Work beside the script: batches in order, errors in the script, an end for whoever leaves."""

import threading
from collections.abc import Iterator

import pytest

from pages.shared import jobs
from pages.shared.jobs import Background, Job

WAIT = 10  # seconds after which a test has failed


@pytest.fixture(autouse=True)
def touches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """There is no Streamlit here; how often it would have been touched."""
    counted: list[int] = []
    monkeypatch.setattr(jobs, "touch", lambda: counted.append(1))
    return counted


def test_everything_arrives_in_order_and_in_few_batches() -> None:
    job = Job(lambda cancel: iter(range(5000)))
    batches = list(job.batches())
    assert [item for batch in batches for item in batch] == list(range(5000))
    assert len(batches) < 500


def test_work_without_items_ends() -> None:
    assert [item for batch in Job(lambda cancel: iter(())).batches() for item in batch] == []


def test_streamlit_is_touched_while_nothing_comes(touches: list[int]) -> None:
    go = threading.Event()

    def work(cancel: threading.Event) -> Iterator[str]:
        assert go.wait(WAIT)
        yield "late"

    arrived = []
    for batch in Job(work).batches():
        arrived += batch
        if len(touches) == 3:  # three times, and nothing has come
            assert arrived == []
            go.set()
    assert arrived == ["late"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt("as a panic in Rust"), SystemExit(3)])
def test_an_error_comes_after_all_that_came_before_it(error: BaseException) -> None:
    def work(cancel: threading.Event) -> Iterator[str]:
        yield "one"
        yield "two"
        raise error

    arrived: list[str] = []
    with pytest.raises(Exception, match=str(error)):
        for batch in Job(work).batches():
            arrived += batch
    assert arrived == ["one", "two"]


def test_an_error_before_the_first_item_is_raised() -> None:
    def work(cancel: threading.Event) -> Iterator[str]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(Job(work).batches())


@pytest.mark.parametrize("leaves", ["breaks", "is interrupted"])
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

    job = Job(work)
    if leaves == "breaks":
        for _ in job.batches():
            break
    else:
        monkeypatch.setattr(jobs, "touch", interrupt)
        with pytest.raises(Interrupted):
            list(job.batches())
    assert ended.wait(WAIT)


def test_batches_come_more_slowly_as_the_text_on_the_page_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    take = Job._take

    def record(self: Job[int], seconds: float) -> tuple[list[int], bool]:
        waited.append(seconds)
        return take(self, 0.01)

    monkeypatch.setattr(Job, "_take", record)
    go = threading.Event()

    def work(cancel: threading.Event) -> Iterator[int]:
        assert go.wait(WAIT)
        yield 1

    job = Job(work)
    for _ in job.batches():
        if len(waited) == 2:
            job.shown = 60_000
        if len(waited) == 4:
            go.set()
    assert waited[:2] == [jobs.INTERVAL] * 2 and waited[2:4] == [1.0, 1.0]


# --- Background ----------------------------------------------------------------------------------


def test_background_work_tells_its_progress_and_keeps_its_result() -> None:
    go = threading.Event()
    told = threading.Event()

    def work(report, cancel):
        report("half")
        told.set()
        assert go.wait(WAIT)
        return 5

    job = Background(work)
    assert told.wait(WAIT)
    assert job.running and job.progress == "half" and job.result is None
    go.set()
    job._thread.join(WAIT)
    assert not job.running and job.result == 5 and job.error is None


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt("as a panic in Rust")])
def test_background_work_keeps_its_error(error: BaseException) -> None:
    def work(report, cancel):
        raise error

    job: Background[int] = Background(work)
    job._thread.join(WAIT)
    assert isinstance(job.error, Exception) and str(error) in str(job.error) and job.result is None


def test_background_work_hears_that_it_is_cancelled() -> None:
    job: Background[bool] = Background(lambda report, cancel: cancel.wait(WAIT))
    job.cancel.set()
    job._thread.join(WAIT)
    assert job.result is True
