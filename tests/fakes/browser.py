"""Headless Chromium, with a microphone that beeps or plays a file."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SLOW = 180_000  # milliseconds: a starter may have to be fetched first
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


@contextmanager
def component_page(browser: Any, name: str, script: str) -> Iterator[Any]:
    """A page of a browser with nothing but a component's script, which is `window.NAME`."""
    context = browser.new_context(viewport={"width": 800, "height": 600})
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.route("http://localhost/", lambda route: route.fulfill(body="<html>", content_type="text/html"))
    page.route(f"**/{name}.js", lambda route: route.fulfill(body=script, content_type="text/javascript"))
    page.goto("http://localhost/")
    page.evaluate(f"async () => {{ window.{name} = await import('/{name}.js'); }}")
    yield page
    context.close()


# --- what a visitor does and sees there ------------------------------------------------------------


def key(name: str) -> str:
    """The class that Streamlit gives to the element with this key."""
    return ".st-key-" + name.replace(".", "-")


def ask(page, text: str) -> None:
    page.locator("[data-testid=stChatInputTextArea]").fill(text)
    page.keyboard.press("Enter")


def answers(page):
    return page.locator("[data-testid=stChatMessage]:has([data-testid=stChatMessageAvatarAssistant])")


def done(page, count: int = 1) -> str:
    """The text of the last answer, once there are so many that have ended."""
    page.wait_for_function(  # the last too: what stands there from the run before may be shown twice for a moment
        "count => {"
        "  const shown = [...document.querySelectorAll('[data-testid=stChatMessage]')];"
        "  const ended = shown.map(message => /first after|首字延迟/.test(message.innerText));"
        "  return ended.filter(Boolean).length >= count && ended.at(-1);"
        "}",
        arg=count,
        timeout=SLOW,
    )
    return answers(page).last.inner_text()
