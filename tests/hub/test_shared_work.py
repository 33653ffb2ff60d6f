"""One piece of work for all who ask: sharing, progress, leaving, failure."""

import threading
from collections.abc import Callable

import pytest

from models.errors import BadInput, Cancelled
from models.hub.shared_work import SharedWork
from models.schema import OnProgress, Progress
from tests.fakes.waiting import WAIT, at_once


class Held:
    """Work that begins, reports, and waits until it may end or is stopped."""

    def __init__(self, result: object = "result") -> None:
        self.runs = 0
        self.begun, self.go, self.stopped = threading.Event(), threading.Event(), threading.Event()
        self.result = result

    def __call__(self, report: OnProgress, stop: threading.Event) -> object:
        self.runs += 1
        self.stop = stop
        report(Progress("load", self.runs, 10))
        self.begun.set()
        while not self.go.wait(0.01):
            if stop.is_set():
                self.stopped.set()
                raise Cancelled
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def asker(
    work: SharedWork[object], job: Callable[..., object], key: str = "key", **how: object
) -> threading.Thread:
    thread = threading.Thread(target=lambda: work.run(key, job, **how), daemon=True)
    thread.start()
    return thread


def test_all_who_ask_at_once_share_one_run_and_its_progress() -> None:
    work: SharedWork[object] = SharedWork()
    job = Held(object())
    told: list[list[Progress]] = [[] for _ in range(5)]
    everybody = threading.Barrier(5)

    def ask(number: int) -> object:
        def progress(step: Progress) -> None:
            told[number].append(step)
            everybody.wait(WAIT)  # nobody goes on before all have been told
            job.go.set()

        return work.run("key", job, progress)

    results = at_once(ask, range(5))
    assert job.runs == 1
    assert all(result is job.result for result in results)
    assert told == [[Progress("load", 1, 10)]] * 5


def test_different_keys_run_beside_each_other() -> None:
    work: SharedWork[object] = SharedWork()
    one, two = Held(1), Held(2)
    threads = [asker(work, one, "one"), asker(work, two, "two")]
    assert one.begun.wait(WAIT) and two.begun.wait(WAIT)
    one.go.set(), two.go.set()
    for thread in threads:
        thread.join(WAIT)
    assert one.runs == two.runs == 1


def test_one_who_leaves_does_not_disturb_the_others() -> None:
    work: SharedWork[object] = SharedWork()
    job, cancel = Held(), threading.Event()
    results: list[object] = []
    stays = threading.Thread(target=lambda: results.append(work.run("key", job)), daemon=True)
    stays.start()
    assert job.begun.wait(WAIT)
    cancel.set()
    with pytest.raises(Cancelled):
        work.run("key", job, cancel=cancel)
    assert not job.stop.is_set()
    job.go.set()
    stays.join(WAIT)
    assert results == ["result"] and job.runs == 1


def test_the_last_to_leave_stops_the_work_and_the_next_one_begins_anew() -> None:
    work: SharedWork[object] = SharedWork()
    job, cancel = Held(), threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        work.run("key", job, cancel=cancel)
    assert job.stopped.wait(WAIT)
    job.go.set()
    assert work.run("key", job) == "result"
    assert job.runs == 2


def test_who_asks_while_stopped_work_still_winds_down_gets_work_of_their_own() -> None:
    work: SharedWork[object] = SharedWork()
    cancel, slow, late = threading.Event(), threading.Event(), list[str]()

    def stubborn(report: OnProgress, stop: threading.Event) -> object:
        slow.wait(WAIT)  # deaf to stop
        late.append("over")
        return "late"

    cancel.set()
    with pytest.raises(Cancelled):
        work.run("key", stubborn, cancel=cancel)
    assert work.run("key", lambda report, stop: "fresh") == "fresh" and not late
    slow.set()


def test_a_failure_reaches_everybody_and_is_forgotten() -> None:
    work: SharedWork[object] = SharedWork()
    job = Held(BadInput("No.", "不。"))
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            work.run("key", job)
        except BadInput as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert job.begun.wait(WAIT)
    job.go.set()
    for thread in threads:
        thread.join(WAIT)
    assert len(failures) == 3
    assert work.run("key", lambda report, stop: "again") == "again"


def test_a_finished_result_is_not_handed_to_who_asks_later() -> None:
    """What was made may be gone by then: an engine that was unloaded, a file that was deleted."""
    work: SharedWork[object] = SharedWork()
    finished, hold = threading.Event(), threading.Event()

    def slow_reader(step: Progress) -> None:
        finished.set()
        hold.wait(WAIT)

    def quick(report: OnProgress, stop: threading.Event) -> object:
        report(Progress("load", 1, 1))
        finished.wait(WAIT)
        return "first"

    first = asker(work, quick, progress=slow_reader)
    assert finished.wait(5)
    assert work._jobs["key"].wait(5)
    assert work.run("key", lambda report, stop: "second") == "second"
    hold.set()
    first.join(WAIT)


def test_who_leaves_old_work_late_takes_nobody_from_the_new() -> None:
    work: SharedWork[object] = SharedWork()
    told, hold = threading.Event(), threading.Event()

    def slow_reader(step: Progress) -> None:
        told.set()
        hold.wait(WAIT)

    def quick(report: OnProgress, stop: threading.Event) -> None:
        report(Progress("load", 1, 1))
        told.wait(WAIT)

    old = asker(work, quick, progress=slow_reader)
    assert told.wait(WAIT) and work._jobs["key"].wait(WAIT)
    held = Held()
    new = asker(work, held)
    assert held.begun.wait(WAIT)
    hold.set()
    old.join(WAIT)
    joins = asker(work, lambda *_: pytest.fail("begun a second time"), progress=lambda step: held.go.set())
    joins.join(WAIT)
    joined = held.go.is_set()
    held.go.set()
    new.join(WAIT)
    assert joined and held.runs == 1


def test_a_progress_callback_that_raises_only_ends_its_own_wait() -> None:
    work: SharedWork[object] = SharedWork()
    job = Held()

    def broken(step: Progress) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work.run("key", job, broken)
    assert job.stopped.wait(5)
