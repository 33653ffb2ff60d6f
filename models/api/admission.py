"""How many requests are answered or wait at a time, and what happens to them when the server ends."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from models.api.refusals import Refused
from models.api.settings import most_requests
from models.schema import Text


class Admission:
    """Places for requests that need an engine. All of its methods are for the loop's own thread."""

    def __init__(self) -> None:
        self.present = 0
        self.ending = False  # set when the server is told to stop: no more requests, and those there are end

    @contextmanager
    def place(self) -> Iterator[None]:
        """Raises Refused where all are taken."""
        if self.ending:
            raise going_down()
        if self.present >= most_requests():
            raise Refused(
                429,
                Text(
                    "As many requests as this server takes are being answered: ask again in a moment.",
                    "服务器正在处理的请求已达上限：请稍后再试。",
                ),
                "too_many_requests",
                retry_after=2,
            )
        self.present += 1
        try:
            yield
        finally:
            self.present -= 1


def going_down() -> Refused:
    return Refused(
        503,
        Text("The server is being stopped: ask again once it is back.", "服务器正在停止：请在其恢复后再试。"),
        "server_stopping",
        retry_after=10,
    )


@contextmanager
def told_of_end(admission: Admission) -> Iterator[None]:
    """Within the block, the signals that stop the server reach `admission` first: else a server that waits for
    its open streams waits as long as somebody reads one."""

    def end(number: int, frame: FrameType | None) -> None:
        admission.ending = True
        if callable(before := handlers[number]):
            before(number, frame)

    handlers: dict[int, Any] = {
        number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)
    }
    for number in handlers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, before in handlers.items():
            signal.signal(number, before)
