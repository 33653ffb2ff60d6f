"""The running app in headless Chromium, and a model that speaks when the test says so: what is in view while an answer
comes, what the keyboard does, and what another page or a dropped connection costs, which is nothing."""

from collections.abc import Iterator
from typing import Any

import numpy
import pytest

from tests.fakes.browser import answers, ask, key
from tests.fakes.server import served
from tests.fakes.sounds import write_sound
from tests.fakes.speaker import Speaker, speaking
from tests.fakes.waiting import WAIT

pytestmark = pytest.mark.browser

# Keeps hold of the page's connections, so that a test can close the one that is open.
SOCKETS = """
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    window.sockets.push(this);
  }
};
"""
END = """() => {
  const scroller = document.querySelector('[data-testid=stAppScrollToBottomContainer]');
  return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
}"""
BROKEN = "This app has encountered an error"


@pytest.fixture(scope="module")
def speaker() -> Iterator[Speaker]:
    with speaking() as found:
        yield found


@pytest.fixture(scope="module")
def app(speaker: Speaker) -> Iterator[str]:
    with served("app.py", LLAMA2_MODEL_PATH=speaker.address) as address:
        yield address


@pytest.fixture
def visit(chromium: Any, app: str) -> Iterator[Any]:
    contexts = []

    def open_page(path: str = "/", locale: str = "en-US", width: int = 1280) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": 700}, locale=locale)
        contexts.append(context)
        context.add_init_script(SOCKETS)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(app + path)
        page.locator("h1").first.wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()


def asked(page: Any, speaker: Speaker, text: str) -> None:
    """An answer has begun."""
    ask(page, text)
    assert speaker.begun.acquire(timeout=WAIT)


def tell(page: Any, speaker: Speaker, number: int) -> None:
    """A part of an answer, longer than the page is high, until it is there."""
    lines = [f"Line {number}.{line} of a story that is told for the length of it." for line in range(12)]
    speaker.say("\n\n".join(lines) + "\n\n")
    page.get_by_text(f"Line {number}.11").wait_for()


def at_end(page: Any) -> None:
    page.wait_for_function(f"({END})() < 2")


def end(page: Any, speaker: Speaker) -> None:
    speaker.end()
    page.locator(key("llama2.stop")).wait_for(state="detached")


def test_the_page_follows_an_answer_unless_the_reader_scrolls_away(visit: Any, speaker: Speaker) -> None:
    page = visit()
    asked(page, speaker, "Tell a story.")
    tell(page, speaker, 1)
    at_end(page)
    tell(page, speaker, 2)
    at_end(page)
    down = page.get_by_role("button", name="To the newest message")
    assert down.count() == 0  # hidden
    page.mouse.move(800, 300)
    page.mouse.wheel(0, -400)
    down.wait_for()
    away = page.evaluate(END)
    tell(page, speaker, 3)
    assert page.evaluate(END) > away  # it has stayed where the reader looks
    down.click()
    at_end(page)
    tell(page, speaker, 4)
    at_end(page)
    page.mouse.wheel(0, -4000)
    down.wait_for()
    end(page, speaker)
    asked(page, speaker, "And another?")  # from above
    page.get_by_text("And another?").wait_for()
    at_end(page)
    end(page, speaker)


def test_the_keyboard_is_enough(visit: Any, speaker: Speaker) -> None:
    focused = "document.activeElement.dataset.testid === 'stChatInputTextArea'"
    page = visit(locale="zh-CN")
    page.wait_for_function(focused)
    page.keyboard.type("讲个故事")
    page.keyboard.press("Enter")
    assert speaker.begun.acquire(timeout=WAIT)
    speaker.say("从前有一条龙。")
    page.get_by_text("从前有一条龙。").wait_for()
    assert page.get_by_role("button", name="停止").count() == 1  # one Stop
    page.keyboard.press("Escape")
    page.get_by_text("已停止").wait_for()
    assert speaker.left.acquire(timeout=WAIT)
    assert "从前有一条龙。" in answers(page).last.inner_text()
    page.wait_for_function(focused)


def test_an_answer_outlasts_another_page_and_dropped_connections(visit: Any, speaker: Speaker) -> None:
    page = visit()
    asked(page, speaker, "Tell a story.")
    tell(page, speaker, 1)
    page.get_by_role("link", name="Whisper").click()
    page.get_by_text("Spoken language").wait_for()
    speaker.say("Meanwhile somebody waits. ")
    page.get_by_role("link", name="LLaMA 2").click()
    page.get_by_text("Meanwhile somebody waits.").wait_for()
    drop(page)
    speaker.say("They come back. ")
    page.get_by_text("They come back.").wait_for()
    page.context.set_offline(True)
    page.evaluate("window.sockets.at(-1).close()")
    speaker.say("The end.")
    speaker.end()  # while nobody is there
    page.wait_for_function("document.querySelector('[data-testid=stConnectionStatus]') !== null")
    page.context.set_offline(False)
    page.get_by_text("The end.").wait_for()
    page.get_by_text("first after").wait_for()
    assert page.get_by_text("Line 1.0").count() == 1 and page.get_by_text(BROKEN).count() == 0


def test_a_queue_an_album_and_settings_outlast_a_dropped_connection(visit: Any, tmp_path: Any) -> None:
    page = visit("/whisper")
    sound = write_sound(tmp_path / "talk.wav", numpy.zeros(16_000, "float32"))
    page.locator("[data-testid=stFileUploaderDropzoneInput]").first.set_input_files(sound)
    page.locator(key("whisper.show.0") + " button").first.wait_for()
    page.get_by_role("link", name="Qwen-VL").click()
    page.get_by_role("radio", name="Caption many").click()
    page.locator(key("qwen_vl.caption_draw") + " button").click()
    page.get_by_text("0 of 12").wait_for()
    page.get_by_role("link", name="ChatGLM").click()
    page.get_by_role("radio", name="Tool", exact=True).click()
    page.locator(key("chatglm.tool.input")).wait_for()
    drop(page)
    page.get_by_role("link", name="Whisper").click()
    page.locator(key("whisper.show.0") + " button").first.wait_for()
    drop(page)
    page.get_by_role("link", name="Qwen-VL").click()
    page.get_by_text("0 of 12").wait_for()
    page.get_by_role("link", name="ChatGLM").click()
    page.locator(key("chatglm.tool.input")).wait_for()
    assert page.get_by_text(BROKEN).count() == 0


def test_an_answer_ends_with_its_session(chromium: Any, speaker: Speaker) -> None:
    patience = {"STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL": "1"}
    with served("app.py", LLAMA2_MODEL_PATH=speaker.address, **patience) as address:
        context = chromium.new_context()
        page = context.new_page()
        page.goto(address)
        asked(page, speaker, "Tell a story.")
        speaker.say("Once upon a time")
        page.get_by_text("Once upon a time").wait_for()
        context.close()
        assert speaker.left.acquire(timeout=WAIT)  # nobody can come back to it


def test_a_phone_shows_the_page_that_was_chosen_and_not_the_list(visit: Any) -> None:
    page = visit(width=390)
    for name in ("Whisper", "Gemma"):
        page.get_by_test_id("stExpandSidebarButton").click()
        page.get_by_role("link", name=name).click()
        page.get_by_role("heading", name=name).wait_for()
        page.get_by_test_id("stExpandSidebarButton").wait_for()
        page.locator("[data-testid=stSidebar][data-collapsed=true]").wait_for(state="attached")


def test_an_answer_is_copied(visit: Any, speaker: Speaker) -> None:
    page = visit()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    asked(page, speaker, "Say it.")
    speaker.say("**Bold** and $x^2$.")
    end(page, speaker)
    page.get_by_role("button", name="Copy", exact=True).click()
    page.wait_for_function("navigator.clipboard.readText().then(text => text === '**Bold** and $x^2$.')")


def drop(page: Any) -> None:
    """Close the connection, and wait until the browser has another one."""
    count = page.evaluate("window.sockets.length")
    page.evaluate("window.sockets.at(-1).close()")
    page.wait_for_function(
        "count => window.sockets.slice(count).some(one => one.readyState === 1)", arg=count
    )
