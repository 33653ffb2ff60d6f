"""The app and the browser that pages are looked at with, and what parts of them do without either."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.runtime.context import ContextProxy

from pages.shared.visitor import COOKIE
from tests.fakes.browser import browser as start_browser
from tests.fakes.script import leave_browser
from tests.fakes.server import served
from tests.fakes.visitor import ADA, Browser


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    with start_browser() as opened:
        yield opened


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """That of a script without a browser."""
    return leave_browser(monkeypatch)


@pytest.fixture
def browser(keeping: Path, stage: Any, monkeypatch: pytest.MonkeyPatch) -> type[Browser]:
    """What visitors make is kept, for the browser that this says."""
    monkeypatch.setattr(Browser, "secret", ADA)
    monkeypatch.setattr(ContextProxy, "cookies", property(lambda self: {COOKIE: Browser.secret}))
    return Browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """From which visitors may load files."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def address(folder) -> Iterator[str]:
    with served("app.py", QUINTET_CODE_INTERPRETER="1", QUINTET_MODEL_DIRS=str(folder)) as url:
        yield url


@pytest.fixture
def visit(chromium, address):
    """Open a page as a new visitor: `visit("/gemma", locale="zh-CN", width=390)`."""
    contexts = []

    def open_page(path: str = "/", locale: str = "en-US", width: int = 1280):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, locale=locale, permissions=["microphone"]
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(address + path)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def new_browser(chromium: Any) -> Iterator[Any]:
    """Opens a page in a browser of its own: `page.context.new_page()` is another tab."""
    contexts = []

    def opened(address: str) -> Any:
        context = chromium.new_context(locale="en-US", viewport={"width": 1280, "height": 1400})
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
