"""The host's side of one worker process: starting it, asking it, noticing its end, and ending it."""

import itertools
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BufferedIOBase
from math import inf
from pathlib import Path
from typing import IO, Any

from models.errors import BadInput
from models.schema import Delta
from models.workers.channel import Channel

ROOT = Path(__file__).resolve().parents[2]
LOOK = 0.05  # seconds between two looks at `cancel`
# Seconds: in which a worker has to hear a cancel; for an engine in the middle of a long calculation, whose
# other answers would be lost; and for reading a question, which no honest template takes.
HEARING, GRACE, READING = 2.0, 10.0, 60.0
# Seconds in which words of an answer may gather. To hear each of a small model's as it comes, the system would take
# a processor from the engine's own threads a hundred times a second.
GATHERING = 0.03
# All workers are started by one thread that lives as long as the process: Linux ends them with the thread.
_STARTER = ThreadPoolExecutor(1, "starts-workers")


class Died(Exception):
    """The process ended before it had answered.

    Attributes:
        status: as of `subprocess.Popen.returncode`: negative for a signal.
        share: how likely it is that this very request ended it, from 0 to 1.
        asked: False: it had ended before the request was sent.
    """

    def __init__(self, status: int, share: float, asked: bool = True) -> None:
        super().__init__(f"ended with {status}")
        self.status, self.share, self.asked = status, share, asked


class Unheard(Exception):
    """The request was cancelled and the worker did not hear of it, or it never came to an end with reading it."""


class _Request:
    def __init__(self) -> None:
        self.came: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.sent = True
        self.made = False  # read by the engine: what is left is the answer

    def next(self, seconds: float) -> dict[str, Any] | None:
        """What came, within so many seconds."""
        try:
            return self.came.get(timeout=seconds)
        except queue.Empty:
            return None


class WorkerProcess:
    """One worker. Several threads may ask it at the same time. `title` is for those who list processes."""

    def __init__(self, title: str) -> None:
        self._process = _STARTER.submit(start_python, "-m", "models.workers.worker", title).result()
        self._channel = Channel(_pipe(self._process.stdout), _pipe(self._process.stdin))
        self._numbers = itertools.count()
        self._requests: dict[int, _Request] = {}
        self._lock = threading.Lock()
        self._status: int | None = None  # once it has ended
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._status is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(
        self, call: str, *arguments: Any, cancel: threading.Event | None = None
    ) -> Generator[Any, None, Any]:
        """Yield what the worker sends for a call, and return what it ends with.

        Left early, the call is cancelled, and the worker ended if it does not hear of that.

        Raises:
            BadInput: something among the arguments cannot be sent.
            Died: the process has ended.
            Unheard: nothing came of a `cancel` for two seconds, or of the question for a minute.
            ModelError: what the engine raised.
        """
        cancel = cancel or threading.Event()
        number, request = self._send(call, arguments)
        until = inf if call == "load" else time.monotonic() + READING
        cancelled = ended = False
        try:
            while True:
                if cancel.is_set() and not cancelled:
                    cancelled, until = True, time.monotonic() + HEARING
                    self._cancel(number)
                message = request.next(LOOK)
                if message is None:
                    if time.monotonic() > until and (cancelled or not request.made):
                        raise Unheard
                elif "item" in message:
                    yield message["item"]
                else:
                    ended = True
                    if "error" in message:
                        raise message["error"]
                    return message["end"]
        finally:
            if not ended:
                self._abandon(number, request, 0.0 if time.monotonic() > until else HEARING)

    def end(self) -> None:
        """End the process, whatever it does, and wait for that."""
        self._process.kill()
        self._process.wait()

    # --- inside -------------------------------------------------------------------------------

    def _send(self, call: str, arguments: tuple[Any, ...]) -> tuple[int, _Request]:
        number, request = next(self._numbers), _Request()
        with self._lock:
            if self._status is not None:
                raise Died(self._status, 0.0, asked=False)
            self._requests[number] = request
        try:
            self._channel.send({"id": number, "call": call, "arguments": list(arguments)})
        except (TypeError, RecursionError) as error:
            with self._lock:
                del self._requests[number]
            raise BadInput(
                f"This cannot be sent to a model ({error}): send texts, numbers, and files as bytes.",
                f"无法将其发送给模型（{error}）：请发送文本、数字，以及字节形式的文件。",
            ) from error
        except (OSError, ValueError):
            request.sent = False  # it is gone, as `_listen` will say
        return number, request

    def _cancel(self, number: int) -> None:
        with suppress(OSError, ValueError):
            self._channel.send({"cancel": number})

    def _abandon(self, number: int, request: _Request, seconds: float) -> None:
        """Nobody waits for it any more: see to it that the worker does not go on with it."""
        self._cancel(number)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and number in self._requests:
            request.next(min(left, LOOK))
        if not request.made:
            self._end_if_busy_with(number)
        elif number in self._requests:
            watch = threading.Timer(GRACE, self._end_if_busy_with, (number,))
            watch.daemon = True
            watch.start()

    def _end_if_busy_with(self, number: int) -> None:
        if number in self._requests:
            self.end()

    def _listen(self) -> None:
        """Hand on what comes, until nothing can come any more."""
        try:
            while True:
                message = self._channel.receive()
                self._hand_on(message)
                if isinstance(message.get("item"), Delta) and self._channel.drained:
                    time.sleep(GATHERING)
        except Exception:  # the end of the line, or something that is no message
            self._process.kill()
        status = self._process.wait()
        with self._lock:
            self._status = status
            left = list(self._requests.values())
            self._requests.clear()
        reading = [request for request in left if request.sent and not request.made]
        for request in left:
            share = 1 / len(reading) if request in reading else 0.0
            request.came.put({"error": Died(status, share, request.sent)})
        self._channel.close()

    def _hand_on(self, message: dict[str, Any]) -> None:
        with self._lock:
            request = self._requests[message["id"]]
            if "end" in message or "error" in message:
                del self._requests[message["id"]]
        if "made" in message:
            request.made = True
        else:
            request.came.put(message)


def start_python(*arguments: str) -> "subprocess.Popen[bytes]":
    """A Python that finds Quintet, and is asked and answers by pipes."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,  # Ctrl-C in a terminal is for the server, which ends its workers
    )


def _pipe(file: IO[bytes] | None) -> BufferedIOBase:
    """None is what Popen gives where no pipe was asked for."""
    if not isinstance(file, BufferedIOBase):
        raise TypeError("a worker without a line")
    return file


def describe_end(status: int) -> str:
    """SIGSEGV, SIGABRT, …, or the exit status."""
    with suppress(ValueError):
        return signal.Signals(-status).name
    return f"status {status}"
