"""Work that several sessions ask for at once is done once, and everybody sees its progress."""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from models.errors import Cancelled
from models.jobs import Job
from models.schema import OnProgress, Progress

POLL = 0.1  # seconds between two looks at the progress and at Cancel

Result = TypeVar("Result")
Work = Callable[[OnProgress, threading.Event], Result]


class _Shared(Job[Progress, Result]):
    """Work under way, and how many wait for it."""

    waiting = 0


class SharedWork(Generic[Result]):
    """Runs one piece of work per key at a time; whoever asks for a running one joins it."""

    def __init__(self) -> None:
        self._jobs: dict[Hashable, _Shared[Result]] = {}
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
        job = self._join(key, work)
        shown = None
        try:
            while not job.wait(POLL):
                if cancel and cancel.is_set():
                    raise Cancelled
                if progress and job.latest and job.latest is not shown:
                    progress(shown := job.latest)
            return job.result()
        finally:
            self._leave(key, job)

    def _join(self, key: Hashable, work: Work[Result]) -> _Shared[Result]:
        with self._lock:
            job = self._jobs.get(key)
            if job is None or job.cancel.is_set() or not job.running:
                self._jobs[key] = job = _Shared(work)
            job.waiting += 1
            return job

    def _leave(self, key: Hashable, job: _Shared[Result]) -> None:
        with self._lock:
            job.waiting -= 1
            if job.waiting == 0:
                job.close()
                if self._jobs.get(key) is job:
                    del self._jobs[key]
