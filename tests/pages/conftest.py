"""The browser that pages are looked at with, and what parts of them do without one."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.browser import browser
from tests.fakes.script import leave_browser


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    with browser() as opened:
        yield opened


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """That of a script without a browser."""
    return leave_browser(monkeypatch)
