"""The browser that pages are looked at with."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.chromium import CHROMIUM, FLAGS


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()
