"""What a session holds: until its real end, and not until its connection drops."""

import threading
import time
from typing import Any

import pytest

from pages.shared import session as held
from pages.shared.session import INTERVAL, Sessions, hold
from tests.fakes.waiting import WAIT

PATIENCE = 60.0


class Connections:
    """Who is connected, and what was closed."""

    def __init__(self) -> None:
        self.now = time.monotonic()
        self.connected: set[str] = set()
        self.closed: list[str] = []
        self.sessions = Sessions(self.connected.__contains__, PATIENCE)

    def open(self, session: str, thing: str) -> None:
        self.connected.add(session)
        self.sessions.add(session, lambda: self.closed.append(thing))

    def after(self, seconds: float) -> list[str]:
        """What is closed so much later."""
        self.now += seconds
        self.sessions.sweep(self.now)
        return self.closed


@pytest.fixture
def connections() -> Connections:
    return Connections()


def test_whoever_stays_connected_keeps_everything(connections: Connections) -> None:
    connections.open("a", "queue")
    assert [connections.after(seconds) for seconds in (1, PATIENCE, 10 * PATIENCE)] == [[], [], []]


def test_whoever_comes_back_in_time_finds_everything(connections: Connections) -> None:
    connections.open("a", "queue")
    for _ in range(5):
        connections.connected.clear()
        assert connections.after(PATIENCE) == []
        connections.connected.add("a")
        assert connections.after(INTERVAL) == []


def test_it_ends_when_nobody_can_come_back(connections: Connections) -> None:
    connections.open("a", "queue")
    connections.open("a", "album")
    connections.open("b", "kernel")
    assert connections.after(0) == []
    connections.connected.discard("a")
    assert connections.after(PATIENCE + INTERVAL) == []  # when it was connected last is known to that much
    assert connections.after(1) == ["queue", "album"]
    assert connections.after(10 * PATIENCE) == ["queue", "album"]  # once, and nobody else's


def test_what_cannot_be_closed_keeps_nothing_else_open(connections: Connections) -> None:
    def refuse() -> None:
        raise OSError("busy")

    connections.sessions.add("a", refuse)
    connections.open("a", "album")
    connections.connected.clear()
    assert connections.after(2 * PATIENCE) == ["album"]


def test_a_thread_looks_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "INTERVAL", 0.01)
    closed = threading.Event()
    sessions = Sessions(lambda name: False, 0.0)
    sessions.add("a", closed.set)
    with sessions.watch():
        assert closed.wait(WAIT)


def test_it_is_made_once(session: dict[str, Any]) -> None:
    first = hold("album", list, list.clear)
    assert hold("album", list, list.clear) is first
    assert hold("queue", list, list.clear) is not first
