"""What is kept, in real browsers and through real restarts of the server."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.fakes.browser import ask, key
from tests.fakes.server import Server
from tests.fakes.speaker import ModelHandler, serving
from tests.fakes.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.slow]


class Captioner(ModelHandler):
    """Describes a picture for every permit."""

    permits: threading.Semaphore

    def answer(self) -> None:
        self.permits.acquire(timeout=120)
        send(self, "A heron in the reeds.", "stop")


def send(handler: ModelHandler, text: str, reason: str | None = None) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]}
    try:
        handler.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        handler.wfile.flush()
    except OSError:  # whoever asked was killed
        return


class Model(ModelHandler):
    """Says `begins`, and the rest when `go` is set."""

    begins = "The heron stands"
    rest = " in the reeds."
    go: threading.Event

    def answer(self) -> None:
        send(self, self.begins)
        self.go.wait(120)
        send(self, self.rest, "stop")


@pytest.fixture
def go() -> threading.Event:
    """When it is set, answers go on to their end."""
    return threading.Event()


@pytest.fixture
def permits() -> threading.Semaphore:
    """For each of which a picture is described."""
    return threading.Semaphore(0)


@pytest.fixture
def app(go: threading.Event, permits: threading.Semaphore, tmp_path: Path) -> Iterator[Server]:
    """A server that keeps, and whose models say half an answer, and describe as many pictures as they may."""
    talks, looks = type("Talks", (Model,), {"go": go}), type("Looks", (Captioner,), {"permits": permits})
    with serving(talks) as llama2, serving(looks) as qwen_vl:
        server = Server(
            "app.py",
            LLAMA2_MODEL_PATH=llama2,
            QWEN_VL_MODEL_PATH=qwen_vl,
            QUINTET_KEEP="1",
            QUINTET_DATA=str(tmp_path / "data"),
        )
        try:
            server.start()
            yield server
        finally:
            go.set()
            permits.release(99)
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


# --- albums ----------------------------------------------------------------------------------------


def album_of(page: Any, folder: Path, *names: str) -> None:
    """Have these pictures in the album that is shown."""
    for number, name in enumerate(names, 1):
        Image.new("RGB", (8 * number, 8), "white").save(folder / name)
    page.get_by_role("radio", name="Caption many").click()
    page.get_by_text(
        "Add pictures: each gets a caption."
    ).wait_for()  # the last of the page: it is there whole
    uploader = page.locator(key("qwen_vl.album.0") + " input")
    uploader.set_input_files([folder / name for name in names])
    page.get_by_text(f"0 of {len(names)}").wait_for()


def test_a_kill_in_the_middle_of_captioning(
    app: Server, permits: threading.Semaphore, new_browser: Any, tmp_path: Path
) -> None:
    page = new_browser(f"{app.address}/qwen_vl")
    album_of(page, tmp_path, "a.png", "b.png", "c.png")
    page.locator(key("qwen_vl.caption") + " button").click()
    permits.release(1)
    page.get_by_text("1 of 3").wait_for()
    page.reload()  # the rest goes on
    page.get_by_text("1 of 3").wait_for()
    permits.release(1)
    page.get_by_text("2 of 3").wait_for()
    files = (tmp_path / "data" / "quintet.db-wal", tmp_path / "data" / "quintet.db")
    until(
        lambda: any(file.read_bytes().count(b"A heron in the reeds.") > 1 for file in files if file.exists())
    )
    app.kill()
    app.start()
    page.goto(f"{app.address}/qwen_vl")
    page.get_by_text("2 of 3").wait_for()
    listed(page, "a.png (+2)").wait_for()
    tab = page.context.new_page()
    tab.goto(f"{app.address}/qwen_vl")
    tab.get_by_text("2 of 3").wait_for()
    other = new_browser(page.url)
    other.get_by_text("somebody else's").wait_for()
    assert listed(other, "a.png (+2)").count() == 0 and other.get_by_text("2 of 3").count() == 0
    permits.release(99)
    page.get_by_role("button", name="Continue").click()
    page.get_by_text("3 of 3").wait_for()


def test_a_deleted_album_is_deleted(app: Server, new_browser: Any, tmp_path: Path) -> None:
    page = new_browser(f"{app.address}/qwen_vl")
    album_of(page, tmp_path, "bittern.png")
    listed(page, "bittern.png").wait_for()
    picture = (tmp_path / "bittern.png").read_bytes()
    kept = lambda: [file for file in (tmp_path / "data").rglob("*") if file.is_file()]  # noqa: E731
    assert any(file.read_bytes() == picture for file in kept())
    page.get_by_role("button", name="Rename or delete bittern.png").click()
    page.get_by_text("Delete", exact=True).last.click()
    page.get_by_role("button", name="Undo").first.wait_for()
    page.wait_for_function("() => !location.search")
    found = [file.read_bytes() for file in kept()]
    assert found and not [data for data in found if b"bittern" in data or data == picture]
    page.get_by_test_id("stSidebar").get_by_role("button", name="Undo").click()
    listed(page, "bittern.png").wait_for()


# --- settings --------------------------------------------------------------------------------------


def test_settings_through_refresh_and_restart(app: Server, new_browser: Any, tmp_path: Path) -> None:
    def wait_until_kept(value: str) -> None:
        until(lambda: any(value.encode() in file.read_bytes() for file in tmp_path.glob("data/quintet.db*")))

    page = new_browser(app.address)
    tokens = key("set.llama2.max_new_tokens.512") + " input"
    page.locator(tokens).fill("77")
    page.locator(tokens).press("Enter")
    wait_until_kept('": 77')
    page.get_by_text("System prompt and conversation").click()
    prompt = page.locator(key("set.llama2.system.0") + " textarea")
    prompt.fill("Be brief.")
    prompt.press("Control+Enter")
    wait_until_kept("Be brief.")
    page.get_by_role("link", name="Whisper").click()
    page.get_by_role("heading", name="Whisper").wait_for()
    app.stop()
    app.start()
    page.goto(app.address)
    page.wait_for_function("name => document.querySelector(name)?.value === '77'", arg=tokens)
    page.get_by_text("System prompt and conversation").click()
    page.wait_for_function(
        "name => document.querySelector(name)?.value === 'Be brief.'",
        arg=key("set.llama2.system.0") + " textarea",
    )
    other = new_browser(app.address)
    other.wait_for_function("name => document.querySelector(name)?.value === '512'", arg=tokens)
