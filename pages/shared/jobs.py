"""Work in a thread beside the script. Knows nothing of models; only `touch` knows Streamlit.

Streamlit interrupts a script (Stop, a click, another page, a closed tab) at its next call into
Streamlit. So the work itself never runs in the script: a thread does it and fills a queue, the script
empties the queue and touches Streamlit at least ten times a second.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import streamlit as st

Item = TypeVar("Item")

INTERVAL = 0.1  # seconds between two batches of a short text
CHARACTERS_PER_SECOND = 60_000  # Streamlit re-sends the whole text each time: bound the bytes
_END = object()


class Job(Generic[Item]):
    """Runs `work(cancel)` in a thread and hands over what it yields."""

    def __init__(self, work: Callable[[threading.Event], Iterator[Item]]) -> None:
        self.cancel = threading.Event()
        self.shown = 0  # characters on the page so far, kept up to date by whoever shows them
        self._error: Exception | None = None
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def _run(self, work: Callable[[threading.Event], Iterator[Item]]) -> None:
        try:
            for item in work(self.cancel):
                self._items.put(item)
        except BaseException as error:  # raised again in the script that waits for it
            self._error = _ordinary(error)
        finally:
            self._items.put(_END)

    def batches(self) -> Iterator[list[Item]]:
        """What has come, every INTERVAL seconds and less often as the shown text grows.

        An error of the work is raised after everything that came before it. Whoever leaves the loop
        early, for whatever reason, cancels the work.
        """
        try:
            ended = False
            while not ended:
                batch, ended = self._take(max(INTERVAL, self.shown / CHARACTERS_PER_SECOND))
                touch()
                yield batch
        finally:
            self.cancel.set()
        if self._error is not None:
            raise self._error

    def _take(self, seconds: float) -> tuple[list[Item], bool]:
        batch: list[Item] = []
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                item = self._items.get(timeout=left)
            except queue.Empty:
                break
            if item is _END:
                return batch, True
            batch.append(item)
        return batch, False


def _ordinary(error: BaseException) -> Exception:
    """A panic in a library's Rust part, or an exit, in a form that ends one answer and no more."""
    return error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")


def when_stopped(key: str, action: Callable[[], None] = lambda: None) -> None:
    """Do `action`, if any, and draw the page again when Stop ends the script from here on.

    Streamlit ends a stopped script without a new run, so the page would keep what it showed. A
    fragment's timer stands still while the script runs; the first tick after that means Stop.
    """
    st.session_state[key] = False
    _tick(key, action)


@st.fragment(run_every=0.5)
def _tick(key: str, action: Callable[[], None]) -> None:
    if not st.session_state[key]:  # this first run is part of the script itself
        st.session_state[key] = True
        return
    action()
    st.rerun()


def touch() -> None:
    """Give Streamlit the chance to interrupt the script; sends nothing."""
    st.session_state.get("touch")


class Background(Generic[Item]):
    """Work that outlives the script run which started it: a load goes on while sliders are moved."""

    def __init__(self, work: Callable[[Callable[[Any], None], threading.Event], Item]) -> None:
        self.cancel = threading.Event()
        self.progress: Any = None
        self.result: Item | None = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[Callable[[Any], None], threading.Event], Item]) -> None:
        try:
            self.result = work(self._report, self.cancel)
        except BaseException as error:  # shown by the page that asks for it
            self.error = _ordinary(error)

    def _report(self, progress: Any) -> None:
        self.progress = progress

    @property
    def running(self) -> bool:
        return self._thread.is_alive()
