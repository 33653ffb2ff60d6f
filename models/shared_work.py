"""Work that several sessions ask for at once is done once, and everybody sees its progress."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

from models.errors import Cancelled
from models.schema import OnProgress, Progress

POLL = 0.1  # seconds between two looks at the progress and at Cancel

Result = TypeVar("Result")
Work = Callable[[OnProgress, threading.Event], Result]


def in_background(work: Callable[[], Result]) -> "Future[Result]":
    """Run `work` in a thread that does not keep the process alive, as an executor's would."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # handed to whoever waits
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


class _Running(Generic[Result]):
    """One piece of work under way, and how many wait for it."""

    def __init__(self, work: Work[Result]) -> None:
        self.waiting = 0
        self.stop = threading.Event()
        self.latest: Progress | None = None
        self.result = in_background(lambda: work(self._report, self.stop))

    def _report(self, progress: Progress) -> None:
        self.latest = progress


class SharedWork(Generic[Result]):
    """Runs one piece of work per key at a time; whoever asks for a running one joins it."""

    def __init__(self) -> None:
        self._running: dict[Hashable, _Running[Result]] = {}
        self._lock = threading.Lock()

    def run(
        self,
        key: Hashable,
        work: Work[Result],
        progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> Result:
        """The result of `work(report, stop)`, done in the background for all who ask for `key`.

        Args:
            progress: called from this thread whenever there is something new.
            cancel: leaves within a tenth of a second; the last to leave sets the work's `stop`.

        Raises:
            Cancelled: `cancel` was set. Otherwise whatever the work raised.
        """
        running = self._join(key, work)
        shown = None
        try:
            while not wait([running.result], POLL).done:
                if cancel and cancel.is_set():
                    raise Cancelled
                if progress and running.latest and running.latest is not shown:
                    progress(shown := running.latest)
            return running.result.result()
        finally:
            self._leave(key, running)

    def _join(self, key: Hashable, work: Work[Result]) -> _Running[Result]:
        with self._lock:
            running = self._running.get(key)
            if running is None or running.stop.is_set() or running.result.done():
                self._running[key] = running = _Running(work)
            running.waiting += 1
            return running

    def _leave(self, key: Hashable, running: _Running[Result]) -> None:
        with self._lock:
            running.waiting -= 1
            if running.waiting == 0:
                running.stop.set()
                if self._running.get(key) is running:
                    del self._running[key]
