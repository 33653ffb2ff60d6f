"""Headless Chromium, with a microphone that beeps or plays a file."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


@contextmanager
def browser() -> Iterator[Any]:
    """A browser of playwright's."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, launched(playwright.chromium) as opened:
        yield opened


@contextmanager
def launched(kind: Any, said: Path | None = None) -> Iterator[Any]:
    """One more browser; what is `said` is played once, from the moment the microphone opens."""
    plays = [f"--use-file-for-fake-audio-capture={said}%noloop"] if said else []
    opened = kind.launch(executable_path=CHROMIUM, headless=True, args=[*FLAGS, *plays])
    try:
        yield opened
    finally:
        opened.close()
