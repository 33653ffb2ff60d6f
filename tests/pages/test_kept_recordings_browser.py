"""Recordings that are kept, in real browsers and through real restarts of the server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.browser import key
from tests.fakes.server import Server
from tests.fakes.sounds import sine, write_sound
from tests.fakes.tiny_checkpoints import write_ctranslate2
from tests.fakes.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HALF, WHOLE = "The heron stands", "in the reeds."


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """When it is there, recordings are heard to their end."""
    return tmp_path / "go"


@pytest.fixture
def app(go: Path, tmp_path: Path) -> Iterator[Server]:
    """A server that keeps, and whose model hears half a recording."""
    server = Server(
        "tests/fakes/speech_app.py",
        WHISPER_MODEL_PATH=str(write_ctranslate2(tmp_path / "whisper")),
        QUINTET_TEST_GO=str(go),
        QUINTET_KEEP="1",
        QUINTET_DATA=str(tmp_path / "data"),
    )
    try:
        server.start()
        yield server
    finally:
        go.touch()
        server.stop()


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    return write_sound(tmp_path / "heron.wav", sine(2.0))


def lines(page: Any) -> Any:
    return page.locator(".lines")


def listed(page: Any) -> Any:
    return page.get_by_test_id("stSidebar").get_by_role("button", name="heron.wav", exact=True)


def transcribe(page: Any, *files: Path) -> None:
    page.set_input_files("[data-testid=stFileUploaderDropzoneInput]", [str(file) for file in files])
    page.locator(key("whisper.go") + " button:not([disabled])").click()


def traces(folder: Path, *marks: bytes) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if any(mark in path.read_bytes() for mark in marks)]


def test_kept_for_this_browser_until_it_is_deleted(
    app: Server, go: Path, wav: Path, new_browser: Any, tmp_path: Path
) -> None:
    """Through a refresh, in whose middle the transcription goes on, in another tab, and after a restart."""
    page = new_browser(f"{app.address}/whisper")
    transcribe(page, wav)
    lines(page).get_by_text(HALF).wait_for()
    listed(page).wait_for()
    page.wait_for_url("**/whisper?c=*")
    page.reload()
    lines(page).get_by_text(HALF).wait_for()
    page.locator(key("whisper.stop") + " button:not([disabled])").wait_for()
    go.touch()
    lines(page).get_by_text(WHOLE).wait_for()  # it is seen as it comes, without a click
    tab = page.context.new_page()
    tab.goto(page.url.replace("/whisper?", "/?"))  # the page that it is of is another
    tab.get_by_role("heading", name="Whisper").wait_for()
    lines(tab).get_by_text(WHOLE).wait_for()
    other = new_browser(page.url)  # another browser, though it has the address
    other.get_by_text("somebody else's").wait_for()
    assert lines(other).count() == 0 and listed(other).count() == 0
    app.stop()
    app.start()
    page.goto(f"{app.address}/whisper")
    lines(page).get_by_text(WHOLE).wait_for()
    sound = wav.read_bytes()[1000:1200]
    assert traces(tmp_path / "data", sound) and traces(tmp_path / "data", HALF.encode())
    page.get_by_role("button", name="Rename or delete heron.wav").click()
    page.get_by_text("Delete", exact=True).last.click()
    page.get_by_role("button", name="Undo").first.wait_for()
    page.wait_for_function("() => !location.search")
    assert not traces(tmp_path / "data", sound, HALF.encode(), b"heron.wav")
    page.get_by_test_id("stSidebar").get_by_role("button", name="Undo").click()
    lines(page).get_by_text(WHOLE).wait_for()


def test_a_kill_in_the_middle_of_a_transcription(
    app: Server, go: Path, wav: Path, new_browser: Any, tmp_path: Path
) -> None:
    page = new_browser(f"{app.address}/whisper")
    transcribe(page, wav)
    lines(page).get_by_text(HALF).wait_for()
    files = (tmp_path / "data" / "quintet.db-wal", tmp_path / "data" / "quintet.db")
    until(lambda: any(HALF.encode() in file.read_bytes() for file in files if file.exists()))
    app.kill()
    app.start()
    page.goto(f"{app.address}/whisper")
    page.get_by_text("broke off").first.wait_for()
    lines(page).get_by_text(HALF).wait_for()
    go.touch()
    page.locator(key("whisper.resume.0") + " button").first.click()
    lines(page).get_by_text(WHOLE).wait_for()
    listed(page).wait_for()
