"""A connection that drops, and another page that is looked at, cost nothing: the running app in headless Chromium."""

import numpy
import pytest

from tests.fakes.browser import SLOW, answers, ask, done, key
from tests.fakes.sounds import write_sound

pytestmark = [pytest.mark.browser, pytest.mark.weights]

# Keeps hold of the page's connections, so that a test can close the one that is open.
SOCKETS = """
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(...given) { super(...given); window.sockets.push(this); }
};
"""
BROKEN = "This app has encountered an error"


@pytest.fixture
def visit_over(visit):
    """Open a page whose connection can be dropped."""

    def open_page(path: str = "/"):
        page = visit(path)
        page.add_init_script(SOCKETS)
        page.reload()
        return page

    return open_page


def drop(page) -> None:
    """Close the connection, and wait until the browser has another one."""
    count = page.evaluate("window.sockets.length")
    page.evaluate("window.sockets.at(-1).close()")
    page.wait_for_function(
        "count => window.sockets.slice(count).some(one => one.readyState === 1)", arg=count
    )


def grown(page, length: int) -> str:
    """The answer, once it has so many characters."""
    page.wait_for_function(
        "length => [...document.querySelectorAll('[data-testid=stChatMessage]')]"
        ".filter(one => one.innerText.includes('▌')).at(-1)?.innerText.length > length",
        arg=length,
        timeout=SLOW,
    )
    return answers(page).last.inner_text()


def test_an_answer_outlasts_another_page_and_a_dropped_connection(visit_over):
    page = visit_over()
    ask(page, "Write a very long story about a dragon.")
    part = grown(page, 40)[:30]
    page.get_by_role("link", name="Whisper").click()
    page.get_by_text("Spoken language").wait_for()
    page.get_by_role("link", name="LLaMA 2").click()
    before = grown(page, 40)
    assert before.startswith(part)
    drop(page)
    assert grown(page, len(before)).startswith(part)
    assert page.locator(key("llama2.stop")).count() == 1
    page.locator(key("llama2.stop") + " button").click()
    page.get_by_text("stopped · ").wait_for()
    assert answers(page).last.inner_text().startswith(part)
    assert page.get_by_text(BROKEN).count() == 0


def test_a_queue_an_album_and_settings_outlast_a_dropped_connection(visit_over, tmp_path):
    page = visit_over("/whisper")
    page.locator("[data-testid=stFileUploaderDropzoneInput]").first.set_input_files(
        write_sound(tmp_path / "talk.wav", numpy.zeros(16_000, "float32"))
    )
    page.get_by_role("button", name="talk.wav").wait_for()
    page.get_by_role("link", name="Qwen-VL").click()
    page.get_by_role("radio", name="Caption many").click()
    page.locator(key("qwen_vl.caption_draw") + " button").click()
    page.get_by_text("0 of 12").wait_for()
    page.get_by_role("link", name="ChatGLM").click()
    page.get_by_role("radio", name="Tool", exact=True).click()
    page.locator(key("chatglm.tool.input")).wait_for()
    drop(page)
    drop(page)
    page.get_by_role("link", name="Whisper").click()
    page.get_by_role("button", name="talk.wav").wait_for()
    page.get_by_role("link", name="Qwen-VL").click()
    page.get_by_text("0 of 12").wait_for()
    page.get_by_role("link", name="ChatGLM").click()
    page.locator(key("chatglm.tool.input")).wait_for()
    assert page.get_by_text(BROKEN).count() == 0


def test_variables_outlast_a_dropped_connection(visit_over):
    page = visit_over("/chatglm")
    page.get_by_role("radio", name="Code Interpreter", exact=True).click()
    page.locator(key("chatglm.code.input")).wait_for()
    ask(page, "let x = 41")
    done(page)
    drop(page)
    ask(page, "print x")
    assert "41" in done(page, 2)
