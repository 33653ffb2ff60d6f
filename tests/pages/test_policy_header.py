"""The policy goes with every answer, and what else an answer says stays."""

from contextlib import suppress
from typing import Any

from pages.shared.security_policy import POLICY, SecurityPolicy


def test_the_policy_comes_behind_the_headers_of_every_answer() -> None:
    own = (b"content-type", b"text/html")
    sent: list[Any] = []

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": [own]})
        await send({"type": "http.response.body", "body": b"nothing here"})
        await send({"type": "websocket.accept"})

    async def send(message: Any) -> None:
        sent.append(message)

    with suppress(
        StopIteration
    ):  # it waits for nothing, so it needs no event loop: a browser's may be running
        SecurityPolicy(answer)({}, None, send).send(None)  # type: ignore[arg-type, attr-defined]
    start, *others = sent
    assert start["headers"] == [own, (b"content-security-policy", POLICY.encode())] and start["status"] == 404
    assert others == [{"type": "http.response.body", "body": b"nothing here"}, {"type": "websocket.accept"}]
