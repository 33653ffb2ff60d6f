"""What is kept, in real browsers and through real restarts of the server."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.browser import ask
from tests.fakes.server import Server
from tests.fakes.speaker import ModelHandler, serving
from tests.fakes.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.slow]


class Model(ModelHandler):
    """Says `begins`, and the rest when `go` is set."""

    begins = "The heron stands"
    rest = " in the reeds."
    go: threading.Event

    def answer(self) -> None:
        self._say(self.begins)
        self.go.wait(120)
        self._say(self.rest, "stop")

    def _say(self, text: str, reason: str | None = None) -> None:
        chunk = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]}
        try:
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.flush()
        except OSError:  # whoever asked was killed
            return


@pytest.fixture
def go() -> threading.Event:
    """When it is set, answers go on to their end."""
    return threading.Event()


@pytest.fixture
def app(go: threading.Event, tmp_path: Path) -> Iterator[Server]:
    """A server that keeps, and whose model says half an answer."""
    handler = type("Scripted", (Model,), {"go": go})
    with serving(handler) as path:
        server = Server(
            "app.py", LLAMA2_MODEL_PATH=path, QUINTET_KEEP="1", QUINTET_DATA=str(tmp_path / "data")
        )
        try:
            server.start()
            yield server
        finally:
            go.set()
            server.stop()


def messages(page: Any) -> Any:
    return page.get_by_test_id("stChatMessage")


def listed(page: Any, title: str) -> Any:
    return page.get_by_test_id("stSidebar").get_by_role("button", name=title, exact=True)


def test_kept_for_this_browser_through_refresh_and_restart(
    app: Server, go: threading.Event, new_browser: Any
) -> None:
    go.set()
    page = new_browser(app.address)
    ask(page, "What is a heron?")
    listed(page, "What is a heron?").wait_for()
    page.wait_for_url("**/?c=*")
    page.reload()
    messages(page).filter(has_text="in the reeds.").wait_for()
    tab = page.context.new_page()
    tab.goto(app.address)
    messages(tab).filter(has_text="in the reeds.").wait_for()
    tab.goto(page.url.replace("/?", "/chatglm?"))  # the page that it is of is another
    tab.get_by_role("heading", name="LLaMA 2").wait_for()
    messages(tab).filter(has_text="in the reeds.").wait_for()
    other = new_browser(page.url)  # another browser, though it has the address
    other.get_by_text("somebody else's").wait_for()
    assert messages(other).count() == 0 and listed(other, "What is a heron?").count() == 0
    app.stop()
    app.start()
    page.reload()
    messages(page).filter(has_text="in the reeds.").wait_for()


def test_a_refresh_in_the_middle_of_an_answer(app: Server, go: threading.Event, new_browser: Any) -> None:
    """The rest is seen as it comes, without a click."""
    page = new_browser(app.address)
    ask(page, "What is a heron?")
    messages(page).filter(has_text="The heron stands").wait_for()
    page.reload()
    messages(page).filter(has_text="The heron stands").wait_for()
    go.set()
    messages(page).filter(has_text="in the reeds.").wait_for()


def test_stop_after_a_refresh_reaches_the_answer_and_a_new_tab_follows_it(
    app: Server, go: threading.Event, new_browser: Any
) -> None:
    page = new_browser(app.address)
    ask(page, "What is a heron?")
    messages(page).filter(has_text="The heron stands").wait_for()
    page.wait_for_url("**/?c=*")
    page.reload()
    tab = page.context.new_page()
    tab.goto(page.url)
    for shown in (page, tab):
        messages(shown).filter(has_text="Being written").filter(has_text="The heron stands").wait_for()
        assert shown.get_by_text("broke off").count() == 0
    tab.get_by_role("button", name="Stop").click()
    for shown in (page, tab):
        messages(shown).filter(has_text="stopped").wait_for()
    go.set()
    page.locator(".st-key-llama2-again button").first.click()
    messages(page).filter(has_text="in the reeds.").wait_for()


def test_a_kill_in_the_middle_of_an_answer(
    app: Server, go: threading.Event, new_browser: Any, tmp_path: Path
) -> None:
    page = new_browser(app.address)
    ask(page, "What is a heron?")
    messages(page).filter(has_text="The heron stands").wait_for()
    files = (tmp_path / "data" / "quintet.db-wal", tmp_path / "data" / "quintet.db")
    until(lambda: any(b"The heron stands" in file.read_bytes() for file in files if file.exists()))
    app.kill()
    app.start()
    page.goto(app.address)
    messages(page).filter(has_text="The heron stands").filter(has_text="broke off").wait_for()
    go.set()
    page.locator(".st-key-llama2-again button").first.click()
    messages(page).filter(has_text="in the reeds.").wait_for()
    listed(page, "What is a heron?").wait_for()


def test_delete_is_delete(app: Server, go: threading.Event, new_browser: Any, tmp_path: Path) -> None:
    go.set()
    page = new_browser(app.address)
    ask(page, "Where does the bittern nest?")
    listed(page, "Where does the bittern nest?").wait_for()
    page.get_by_role("button", name="Rename or delete Where does the bittern nest?").click()
    page.get_by_text("Delete", exact=True).last.click()
    page.get_by_role("button", name="Undo").first.wait_for()
    page.wait_for_function("() => !location.search")
    kept = [file for file in (tmp_path / "data").rglob("*") if file.is_file()]
    assert kept and not [file.name for file in kept if b"bittern" in file.read_bytes()]
    page.get_by_test_id("stSidebar").get_by_role("button", name="Undo").click()
    messages(page).filter(has_text="in the reeds.").wait_for()
