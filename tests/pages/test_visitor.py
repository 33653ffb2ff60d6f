"""The secret by which a browser is known: given with the page, read by no script, and the same in every tab."""

import re
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st

from models.errors import NotKept
from models.store.things import Thing
from pages.shared.visitor import COOKIE, VisitorCookie, open_shelf
from tests.fakes.server import served

SECRET = "s" * 43


@pytest.fixture(autouse=True)
def kept(keeping: Path) -> Path:
    return keeping


def answer(
    kind: str = "text/html; charset=utf-8",
    status: int = 200,
    method: str = "GET",
    scheme: str = "http",
    **asked: str,
) -> dict[str, list[str]]:
    """The headers of an answer of this kind, as they leave the middleware."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(
            {"type": "http.response.start", "status": status, "headers": [(b"content-type", kind.encode())]}
        )

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(name.encode(), value.encode()) for name, value in asked.items()]
    scope = {"type": "http", "method": method, "scheme": scheme, "path": "/", "headers": headers}
    with suppress(StopIteration):  # nothing in it waits, so that no event loop is needed
        VisitorCookie(app)(scope, None, send).send(None)  # type: ignore[arg-type, attr-defined]
    found: dict[str, list[str]] = {}
    for name, value in sent[0]["headers"]:
        found.setdefault(name.decode(), []).append(value.decode())
    return found


def given(**how: Any) -> str | None:
    """The secret of an answer's cookie."""
    (line,) = answer(**how).get("set-cookie", [None])
    return line and re.fullmatch(rf"{COOKIE}=([\w-]{{43}});.*", line)[1]  # type: ignore[index]


def test_every_page_brings_a_secret() -> None:
    headers = answer()
    (line,) = headers["set-cookie"]
    assert {"Path=/", "HttpOnly", "SameSite=Lax"} < set(line.split("; ")) and "Secure" not in line
    assert headers["cache-control"] == ["private"]
    assert given() != given()


def test_only_encrypted_where_the_page_is() -> None:
    assert "; Secure" in answer(scheme="https")["set-cookie"][0]


def test_the_secret_that_a_browser_has_stays() -> None:
    assert given(cookie=f"{COOKIE}={SECRET}") == SECRET
    assert given(cookie=f'other="a; b,{{}}; {COOKIE}={SECRET}; strange[=\x80') == SECRET
    assert given(status=304, accept="text/html,*/*", cookie=f"{COOKIE}={SECRET}") == SECRET


@pytest.mark.parametrize(
    "bad", ["", "short", SECRET + "x", SECRET[:-1] + ";", '"' + SECRET[2:] + '"', "é" * 43]
)
def test_what_is_no_secret_of_ours_is_replaced(bad: str) -> None:
    found = given(cookie=f"{COOKIE}={bad}")
    assert found and found != bad


@pytest.mark.parametrize(
    "how",
    [
        {"kind": "text/javascript"},
        {"kind": "image/png", "accept": "text/html"},
        {"status": 404},
        {"status": 304, "accept": "image/*"},
        {"method": "POST"},
    ],
    ids=str,
)
def test_nothing_else_brings_one(how: dict[str, Any]) -> None:
    assert given(**how) is None


def test_where_nothing_is_kept_nobody_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUINTET_KEEP", "0")
    assert given() is None
    with pytest.raises(NotKept, match="keeps nothing"):
        open_shelf()


@pytest.mark.parametrize("cookies", [{}, {COOKIE: "short"}])
def test_a_browser_without_cookies(cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(st, "context", SimpleNamespace(cookies=cookies))
    with pytest.raises(NotKept, match="cookie"):
        open_shelf()


def test_a_browser_with_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    cookies = {COOKIE: SECRET}
    monkeypatch.setattr(st, "context", SimpleNamespace(cookies=cookies))
    open_shelf().put(Thing("one", "conversation", "llama2", "mine", []))
    assert [entry.title for entry in open_shelf().entries("conversation")] == ["mine"]
    cookies[COOKIE] = "t" * 43
    assert open_shelf().entries("conversation") == []


# --- in a real browser -------------------------------------------------------------------------------

SHOWN = """
import streamlit as st
from pages.shared.visitor import open_shelf
st.html(f"<p>knows {open_shelf()._owner}.</p>")
"""
ENTRY = """
import streamlit as st
from starlette.middleware import Middleware
from pages.shared.visitor import VisitorCookie
app = st.App({script!r}, middleware=[Middleware(VisitorCookie)])
"""


@pytest.mark.browser
@pytest.mark.slow
def test_a_browser_is_known_from_its_first_visit_on(chromium: Any, tmp_path: Path) -> None:
    """In every tab, after a refresh, and by no other browser; scripts see nothing of it."""
    (tmp_path / "shown.py").write_text(SHOWN)
    (tmp_path / "entry.py").write_text(ENTRY.format(script=str(tmp_path / "shown.py")))

    def owner(page: Any) -> str:
        page.goto(address)
        return str(page.get_by_text(re.compile(r"knows [0-9a-f]{64}\.")).inner_text(timeout=60_000))

    with served(str(tmp_path / "entry.py")) as address:
        browser, other = chromium.new_context(), chromium.new_context()
        page = browser.new_page()
        first = owner(page)  # without a refresh: the web socket came with what the page had just brought
        assert owner(page) == owner(browser.new_page()) == first
        assert COOKIE not in page.evaluate("document.cookie")
        (cookie,) = [each for each in browser.cookies() if each["name"] == COOKIE]
        assert cookie["httpOnly"] and cookie["sameSite"] == "Lax" and not cookie["secure"]
        assert owner(other.new_page()) != first
        request = urllib.request.Request(address, headers={"Cookie": f"{COOKIE}={cookie['value']}"})
        with urllib.request.urlopen(request, timeout=60) as response:
            assert cookie["value"] in response.headers["set-cookie"]
        for path in ("/_stcore/health", "/_stcore/host-config"):
            with urllib.request.urlopen(address + path, timeout=60) as response:
                assert COOKIE not in str(response.headers)
        browser.close()
        other.close()
