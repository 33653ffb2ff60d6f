"""Waiting for what other threads do."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from models.errors import ModelError
from models.jobs import Job

WAIT = 60  # seconds after which a test has failed; far more than a busy machine needs
LONG_WAIT = 300  # where real models answer, and the machine may be busy

Item = TypeVar("Item")
Result = TypeVar("Result")


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Run `work` beside the test; the list gets its result or its error."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(work())
        except ModelError as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, outcome


def at_once(work: Callable[[Item], Result], items: Iterable[Item], seconds: float = WAIT) -> list[Result]:
    """The results of `work` for all items, each in a thread of its own. Whatever hangs fails the test."""
    jobs: list[Job[Any, Result]] = [Job(lambda *_, item=item: work(item)) for item in items]
    return [job.result(seconds) for job in jobs]
