"""Work in a thread of its own, and what whoever started it can wait for, hear and stop."""

import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Callable[[Item], None], threading.Event], Result]

_END = object()


class Job(Generic[Item, Result]):
    """Runs `work(send, cancel)`, beginning now. `latest` is what it sent last: how far it is.

    The work looks at `cancel`: Python cannot stop a thread. Leaving a `with` block cancels. The thread
    does not keep the process alive.
    """

    def __init__(self, work: Work[Item, Result]) -> None:
        self.cancel = threading.Event()
        self.latest: Item | None = None
        self.value: Result | None = None  # once it has succeeded
        self.error: Exception | None = None  # once it has failed
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Work[Item, Result]) -> None:
        try:
            self.value = work(self._send, self.cancel)
        except BaseException as error:  # raised again in the thread that waits for it
            self.error = _ordinary(error)

    def _send(self, item: Item) -> None:
        self.latest = item

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the end, so long at most. True: it has ended."""
        self._thread.join(seconds)
        return not self.running

    def result(self, seconds: float | None = None) -> Result:
        """What the work returned, once it has.

        Raises:
            TimeoutError: it has not ended within so many seconds.
            Exception: what the work raised; a RuntimeError for what is no Exception, as an exit or a
                panic in a library's Rust part: it ends one job and no more.
        """
        if not self.wait(seconds):
            raise TimeoutError
        if self.error is not None:
            raise self.error
        return cast(Result, self.value)

    def close(self, wait: bool = False) -> None:
        """Cancel the work; with `wait`, return when it has ended."""
        self.cancel.set()
        if wait:
            self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Stream(Job[Item, None]):
    """A job whose items are all heard, in order, by one listener. Its error comes behind them."""

    def __init__(self, work: Work[Item, None]) -> None:
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._wake: Callable[[], Any] = _nothing  # tells a coroutine that listens
        super().__init__(work)

    @classmethod
    def of(cls, items: Callable[[threading.Event], Iterator[Item]]) -> Self:
        """What `items(cancel)` yields, in a thread."""

        def work(send: Callable[[Item], None], cancel: threading.Event) -> None:
            for item in items(cancel):
                send(item)

        return cls(work)

    def _run(self, work: Work[Item, None]) -> None:
        super()._run(work)
        self._put(_END)

    def _send(self, item: Item) -> None:
        self._put(item)

    def _put(self, item: Any) -> None:
        self._items.put(item)
        self._wake()

    def __iter__(self) -> Iterator[Item]:
        return (item for item in self.ticking(None) if item is not None)

    def ticking(self, seconds: float | None) -> Iterator[Item | None]:
        """Each item as it comes; None whenever there was none for so long, to look around."""
        while True:
            try:
                item = self._items.get(timeout=seconds)
            except queue.Empty:
                yield None
                continue
            if item is _END:
                break
            yield item
        self._items.put(_END)  # whoever asks once more is not kept waiting
        self.result()

    async def batches(self, seconds: float) -> AsyncIterator[list[Item]]:
        """For a coroutine: what has come since its last look; an empty list when nothing came for so long."""
        import asyncio  # nobody else here needs it

        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(woken.set)

        self._wake = wake
        ended = False
        while not ended:
            woken.clear()
            items, ended = self._take()
            if not items and not ended:
                with suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), seconds)
                    continue
            if items or not ended:
                yield items
        self.result()

    def drain(self) -> list[Item]:
        """All items that have come and were not heard yet. `result` raises the error behind them."""
        return self._take()[0]

    def _take(self) -> tuple[list[Item], bool]:
        """What has come, and whether that was all."""
        items: list[Item] = []
        while not self._items.empty():
            item = self._items.get()
            if item is _END:
                self._items.put(item)  # for whoever asks once more
                return items, True
            items.append(item)
        return items, False


def _nothing() -> None:
    """Nobody has to be woken."""


def _ordinary(error: BaseException) -> Exception:
    if isinstance(error, Exception):
        return error
    ordinary = RuntimeError(f"{type(error).__name__}: {error}")
    ordinary.__cause__ = error
    return ordinary
