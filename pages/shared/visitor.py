"""Who a visitor is: a browser that knows a secret, and what is kept for it. There are no accounts."""

import re
import secrets
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

import streamlit as st
from starlette.requests import HTTPConnection

from models.errors import NotKept
from models.permissions import keeps
from models.store.opening import open_store
from pages.shared.security_policy import App, Message, Receive, Send

if TYPE_CHECKING:
    from models.store.store import Shelf

COOKIE = "quintet_visitor"
LIFE = 400 * 24 * 3600  # seconds: as long as browsers keep any; it begins anew with each visit
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


class VisitorCookie:
    """ASGI middleware that gives every browser a secret of its own with a page's HTML: what a page's script is
    asked over the web socket, which is opened after that, comes with it.

    No script reads it, and no other site's request carries it, unless it is a link that is followed: to a browser
    that came by such a link without its secret, a new one would be given, and what it has kept would be lost.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_page(scope, message):
                # A cache that several people share must not give one's secret to another.
                own = [(b"set-cookie", _cookie(scope).encode()), (b"cache-control", b"private")]
                message = {**message, "headers": [*message.get("headers", ()), *own]}
            await send(message)

        wanted = scope["type"] == "http" and scope["method"] == "GET" and keeps()
        await self._app(scope, receive, send_with_cookie if wanted else send)


def _is_page(scope: MutableMapping[str, Any], message: Message) -> bool:
    """Whether this is the HTML of a page, or says that the browser has it already."""
    if message["status"] == 304:
        return "text/html" in HTTPConnection(scope).headers.get("accept", "")
    kinds = [value for name, value in message.get("headers", ()) if name.lower() == b"content-type"]
    return bool(message["status"] == 200 and kinds and kinds[0].startswith(b"text/html"))


def _cookie(scope: MutableMapping[str, Any]) -> str:
    """With the secret that the browser has, or a new one."""
    had = HTTPConnection(scope).cookies.get(COOKIE, "")
    secret = had if _SECRET.fullmatch(had) else secrets.token_urlsafe(32)
    secure = "; Secure" if scope["scheme"] == "https" else ""
    return f"{COOKIE}={secret}; Path=/; Max-Age={LIFE}; HttpOnly; SameSite=Lax{secure}"


def open_shelf() -> "Shelf":
    """What is kept for the visitor of this session.

    Raises:
        NotKept: nothing is, and why.
    """
    store = open_store()
    secret = st.context.cookies.get(COOKIE, "")
    if not _SECRET.fullmatch(secret):
        raise NotKept(
            "Nothing is kept, since this browser takes no cookie: allow cookies for this site, and reload the page.",
            "浏览器未接受 Cookie，内容无法保存：请允许本站的 Cookie，然后刷新页面。",
        )
    return store.shelf(secret)
