"""The browser that pages are looked at with."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.browser import browser


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    with browser() as opened:
        yield opened
