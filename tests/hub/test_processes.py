"""Several processes that want the same files: one fetches them, the others wait."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from filelock import FileLock

from models.errors import CheckpointNotFound
from models.hub import Hub
from tests.fakes.hub import TINY, FakeHub
from tests.fakes.waiting import WAIT


def test_another_process_asks_nobody_while_it_waits(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    arrivals = threading.Semaphore(0)

    class Lock(FileLock):
        def acquire(self, *arguments: Any, **named: Any) -> Any:
            arrivals.release()
            return super().acquire(*arguments, **named)

    monkeypatch.setattr("filelock.FileLock", Lock)
    server.hold.clear()
    with ThreadPoolExecutor() as pool:  # two Hubs share nothing but the file lock
        first = pool.submit(Hub().fetch, TINY)
        assert server.held.wait(WAIT) and arrivals.acquire(timeout=WAIT)
        second = pool.submit(Hub().fetch, TINY)
        another = pool.submit(Hub().fetch, replace(TINY, name="org/other", hub_id="org/other"))
        assert arrivals.acquire(timeout=WAIT) and arrivals.acquire(timeout=WAIT)
        with pytest.raises(CheckpointNotFound):  # another checkpoint has a lock of its own
            another.result(WAIT)
        assert len(server.asked("api/models/org/tiny")) == 1
        server.hold.set()
        assert first.result(WAIT) == second.result(WAIT)
    assert len(server.asked("api/models/org/tiny")) == 1
