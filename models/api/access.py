"""Who may ask: whoever has a key, or, where there are none, whoever sits at this machine. ASGI middleware."""

import hashlib
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import HTTPConnection

from models.api.refusals import Refused, respond
from models.api.settings import key_hashes, most_bytes
from models.schema import Text

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

OPEN = ("/health",)  # that a load balancer may ask
AUDIO = "/v1/audio/"  # whose files come as forms


class Access:
    """Refuses who may not ask, and bodies that are larger than allowed, which are counted as they come."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        body = _Body(receive)
        try:
            check(request)
            _check_kind(scope, request)
            # What the application makes of a body that was cut short is nobody's answer.
            await self._app(scope, body.receive, lambda message: _unless(body.too_large, send, message))
            if body.too_large:
                raise _too_large()
        except Refused as refused:
            await respond(request, refused)(scope, receive, send)


class _Body:
    """A body that ends where it becomes too large: some clients do not say its size."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._taken = receive, 0
        self.too_large = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        if self._taken > most_bytes():
            self.too_large = True
            raise _too_large()
        return message


async def _unless(skipped: bool, send: Send, message: Message) -> None:
    if not skipped:
        await send(message)


def _too_large() -> Refused:
    most = most_bytes() >> 20
    return Refused(
        413,
        Text(f"The request is larger than {most} MB: send less.", f"请求超过 {most} MB：请减少内容。"),
        "request_too_large",
    )


def _check_kind(scope: MutableMapping[str, Any], request: HTTPConnection) -> None:
    """A page of another site may send texts and forms without asking, but no JSON: so JSON it has to be."""
    if scope["method"] != "POST":
        return
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    wanted = "multipart/form-data" if scope["path"].startswith(AUDIO) else "application/json"
    if kind != wanted:
        raise Refused(
            415, Text(f"The body has to be {wanted}.", f"请求体必须为 {wanted}。"), "unsupported_media_type"
        )


def check(request: HTTPConnection) -> None:
    """Raise Refused unless this request may be answered.

    Without keys only this machine is served, and only under its own names: a page of another site that has
    its name point here is not.
    """
    hashes = key_hashes()
    if request.url.path in OPEN:
        return
    if not hashes:
        if not (_is_loopback(request.client.host if request.client else "") and _is_own_name(request)):
            raise Refused(
                401,
                Text(
                    "This server has no API keys, so it answers programs on its own machine alone: set "
                    "QUINTET_API_KEYS, and send one as a Bearer token.",
                    "此服务器未设置 API 密钥，只应答本机程序：请设置 QUINTET_API_KEYS，并以 Bearer 令牌发送其中之一。",
                ),
                "no_keys",
            )
        return
    given = hashlib.sha256(_key(request).encode()).digest()
    # All are compared, and each in constant time: how long it takes tells nothing.
    if not any([hmac.compare_digest(given, known) for known in hashes]):
        raise Refused(
            401,
            Text(
                "The API key is missing or wrong: send one of this server's as a Bearer token.",
                "API 密钥缺失或错误：请以 Bearer 令牌发送此服务器的密钥。",
            ),
            "invalid_api_key",
        )


def _key(request: HTTPConnection) -> str:
    """As OpenAI's clients send it, or Anthropic's."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _is_own_name(request: HTTPConnection) -> bool:
    host = request.url.hostname or ""
    return host == "localhost" or _is_loopback(host)
