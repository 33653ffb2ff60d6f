"""Waiting for what other threads do."""

import time
from collections.abc import Callable

WAIT = 60  # seconds after which a test has failed; far more than a busy machine needs


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
