"""Who is served next, for engines that serve a few at a time."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from models.schema import Queued


class Ticket:
    """A place in the line."""


class FairQueue:
    """First come, first served, `width` at a time; everyone can see how many are ahead."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._tickets: deque[Ticket] = deque()
        self._moved = threading.Condition()

    @contextmanager
    def enter(self) -> Iterator[Ticket]:
        """A place in the line, given up on leaving the block however that happens."""
        ticket = Ticket()
        with self._moved:
            self._tickets.append(ticket)
        try:
            yield ticket
        finally:
            with self._moved:
                self._tickets.remove(ticket)
                self._moved.notify_all()

    def wait(self, ticket: Ticket, cancel: threading.Event) -> Iterator[Queued]:
        """Yield Queued whenever the place changes; end when it is this ticket's turn or on cancel."""
        last = None
        while not cancel.is_set():
            with self._moved:
                ahead = self._tickets.index(ticket) - self._width + 1
                if ahead > 0 and ahead == last:
                    self._moved.wait(0.05)  # short, because cancel does not notify
            if ahead <= 0:
                return
            if ahead != last:
                last = ahead
                yield Queued(ahead)
