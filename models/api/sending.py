"""How an answer leaves: whole, or as server-sent events while it comes. Whoever leaves frees the engine."""

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import Request
from starlette.responses import StreamingResponse

from models.api.admission import Admission, going_down
from models.api.refusals import CLIENT_LEFT, Refused, error_object, refusal, speaks_chinese
from models.jobs import Stream
from models.schema import Text

Item = TypeVar("Item")

TICK = 0.1  # seconds after which it is looked whether the client is still there
PATIENCE = 5.0  # seconds for which a stream's status waits for the first news; after that, errors are events
PING = 10.0  # seconds without an event after which a comment keeps the connection open


async def heard(request: Request, begin: Callable[[], Stream[Item]]) -> AsyncGenerator[list[Item]]:
    """What comes of the work, for as long as the client is there and the server goes on.

    Raises:
        Refused: the server takes no more requests, it is being stopped, or the client has left.
        Exception: what the work raised.
    """
    admission: Admission = request.app.state.admission
    with admission.place():
        stream = begin()
        try:
            async for batch in stream.batches(TICK):
                if await request.is_disconnected():
                    raise Refused(CLIENT_LEFT, Text("The client has left.", "客户端已断开。"), "client_left")
                if admission.ending:
                    raise going_down()
                yield batch
        finally:
            stream.close()


async def hear_all(
    request: Request, begin: Callable[[], Stream[Item]], add: Callable[[Item], Iterable[Any]]
) -> None:
    """Add every item to what becomes one response; the pieces that `add` makes are for streams. Raises as `heard`."""
    async for batch in heard(request, begin):
        for item in batch:
            for _ in add(item):
                pass


async def stream(
    request: Request,
    begin: Callable[[], Stream[Item]],
    write: Callable[[Item], Iterable[str]],
    end: Callable[[], Iterable[str]],
    fail: Callable[[dict[str, Any]], str] | None = None,
) -> StreamingResponse:
    """A response of server-sent events.

    Args:
        write: the events that an item makes.
        end: the events behind the last one.
        fail: the event for an error object that comes in the middle; default: the object as it is.
    """
    items = heard(request, begin)
    first: list[Item] = []
    until = time.monotonic() + PATIENCE
    async for first in items:  # an error before any news gets a status of its own
        if first or time.monotonic() > until:
            break

    async def events() -> AsyncIterator[str]:
        async with aclosing(items):
            try:
                yield _joined(first, write)
                async for text in _pinged(items, write):
                    yield text
                yield "".join(end())
            except Exception as error:
                refused = refusal(error)
                if refused.status != CLIENT_LEFT:
                    yield (fail or event)(error_object(refused, speaks_chinese(request)))

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


async def _pinged(
    items: AsyncIterator[list[Item]], write: Callable[[Item], Iterable[str]]
) -> AsyncIterator[str]:
    spoken = time.monotonic()
    async for batch in items:
        text = _joined(batch, write)
        if not text and time.monotonic() - spoken > PING:
            text = ": waiting\n\n"
        if text:
            spoken = time.monotonic()
            yield text


def _joined(batch: Iterable[Item], write: Callable[[Item], Iterable[str]]) -> str:
    return "".join(text for item in batch for text in write(item))


def event(data: dict[str, Any], name: str = "") -> str:
    """One server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n"


def events(chunks: Iterable[dict[str, Any]]) -> Iterator[str]:
    return map(event, chunks)
