"""How many kernels there are, whoever starts them at the same time. No real ones are started here."""

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any
from weakref import WeakSet

import pytest

from models.errors import DoesNotFit
from models.interpreter import Interpreter, Limits, session
from models.interpreter.confinement import Confinement
from models.jobs import Job

WAIT = 10  # seconds after which a test has failed


class Alive:
    """As `weakref.finalize` says whether it is still to run."""

    def __init__(self, asked: Callable[[], Any]) -> None:
        self._asked = asked

    @property
    def alive(self) -> bool:
        self._asked()
        return True


@pytest.fixture
def meeting(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Kernels where so many threads try to meet: while one "starts", or while those there are "counted".

    They meet at once where nothing keeps them apart, and are let go soon where something does.
    """

    def meet_while(moment: str, threads: int) -> None:
        barrier = threading.Barrier(threads)

        def meet(now: str) -> None:
            if now == moment:
                with suppress(threading.BrokenBarrierError):
                    barrier.wait(0.2)

        class Fake:
            def __init__(self, limits: Limits, confine: bool) -> None:
                meet("started")
                self.close = Alive(lambda: meet("counted"))

            def wait(self) -> tuple[()]:
                """It answers at once."""
                return ()

        monkeypatch.setattr(session, "Kernel", Fake)

    interpreters: Any = cache(WeakSet)
    monkeypatch.setattr(session, "_interpreters", interpreters)
    monkeypatch.setattr(session, "confinement", lambda limits: Confinement((), (), None))
    monkeypatch.setattr(session, "confinable", lambda: True)
    return meet_while


def start_together(count: int) -> list[Job[Any, Any]]:
    together = threading.Barrier(count)

    def start(*_: Any) -> Any:
        interpreter = Interpreter()
        together.wait(WAIT)
        interpreter._started(threading.Event())
        return interpreter

    jobs: list[Job[Any, Any]] = [Job(start) for _ in range(count)]
    assert all(job.wait(WAIT) for job in jobs)
    return jobs


def test_many_at_once_get_no_more_kernels_than_there_are(meeting: Callable[[str, int], None]) -> None:
    meeting("started", session.MOST + 4)
    jobs = start_together(session.MOST + 4)
    assert sum(job.value is not None for job in jobs) == session.MOST
    assert [type(job.error) for job in jobs if job.error] == [DoesNotFit] * 4


def test_kernels_are_counted_while_others_start(
    meeting: Callable[[str, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MOST", 100)
    meeting("counted", 2)
    held = Interpreter()
    held._started(threading.Event())
    jobs = start_together(4)
    assert held.started and [job.error for job in jobs] == [None] * 4
