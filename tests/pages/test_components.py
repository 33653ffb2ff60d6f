"""What the components of the pages are given: transcripts, regions, and the microphone."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

from models.schema import Segment, SpeechOptions, Word
from models.speech.doubts import DOUBTS
from models.transcripts.recordings import Recording
from pages.shared.speech.transcript_view import show_transcript
from tests.fakes.engines import Stage
from tests.fakes.sounds import sine, write_sound
from tests.fakes.visitor import alive, ask, click, to, visit
from tests.fakes.waiting import until

LINES = (
    Segment(
        0.12345,
        1.5,
        " Hello",
        (Word(0.12345, 1.23456, " Hello"),),
        -0.2345,
        0.1,
        1.999,
        0.4,
        doubts=("unsure",),
    ),
    Segment(1.5, 3.0, " world"),
)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What each component was mounted with last, by its name."""
    found: dict[str, dict[str, Any]] = {}

    def component(name: str, **code: str) -> Any:
        assert set(code) == {"html", "css", "js"} and all(code.values())
        return lambda **given: found.__setitem__(name, given)

    monkeypatch.setattr(st.components.v2, "component", component)
    return found


# --- transcripts ---------------------------------------------------------------------------------


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> list[Recording]:
    found: list[Recording] = []
    begin = Recording.__init__

    def remember(self: Recording, *arguments: Any, **named: Any) -> None:
        begin(self, *arguments, **named)
        found.append(self)

    monkeypatch.setattr(Recording, "__init__", remember)
    return found


@pytest.fixture
def page(stage: Any, sent: Any, recording: list[Recording], tmp_path: Any) -> AppTest:
    wav = write_sound(tmp_path / "talk.wav", sine(0.5)).read_bytes()
    at = alive(visit("whisper").file_uploader[0].upload("talk.wav", wav, "audio/wav").run())
    until(lambda: bool(_transcript(sent, at)["sound"]))  # it is prepared beside the page
    return at


def _transcript(sent: Any, at: AppTest) -> dict[str, Any]:
    alive(at.run())
    data: dict[str, Any] = json.loads(sent["quintet_transcript"]["data"])
    return data


def shown(sent: Any, at: AppTest, recording: Recording, **facts: Any) -> dict[str, Any]:
    for name, value in facts.items():
        setattr(recording, name, value)
    return _transcript(sent, at)


def test_lines_with_their_figures_and_words(page: AppTest, sent: Any, recording: list[Recording]) -> None:
    data = shown(sent, page, recording[0], state="done", options=SpeechOptions(), lines=LINES)
    assert data["lines"] == [
        [0.123, 1.5, "Hello", ["unsure"], [-0.23, 0.1, 2.0, 0.4], [[0.123, 1.235, " Hello"]], None],
        [1.5, 3.0, "world", [], [None, None, None, None], None, None],
    ]
    assert (data["editable"], data["again"], data["growing"], data["changed"]) == (True, True, False, False)
    assert data["version"] == recording[0].version and set(data["words"]["doubts"]) == set(DOUBTS)
    assert len(data["words"]["facts"]) == 4
    recording[0].change(LINES[:1])
    data = _transcript(sent, page)
    assert data["changed"] and data["version"] == recording[0].version and len(data["lines"]) == 1


def test_words_come_once_nothing_grows_any_more(page: AppTest, sent: Any, recording: list[Recording]) -> None:
    data = shown(sent, page, recording[0], state="running", options=SpeechOptions(), lines=LINES)
    assert [line[5] for line in data["lines"]] == [None, None]
    assert (data["editable"], data["growing"]) == (False, True)


def test_a_translation_stands_in_its_lines(page: AppTest, sent: Any, recording: list[Recording]) -> None:
    shown(sent, page, recording[0], state="done", options=SpeechOptions(), lines=LINES)
    recording[0].translate().lines = (Segment(0.0, 1.4, " Hallo"), Segment(1.6, 3.0, " Welt"))
    assert [line[6] for line in _transcript(sent, page)["lines"]] == ["Hallo", "Welt"]


def test_the_sound_with_its_waveform(page: AppTest, sent: Any) -> None:
    data = _transcript(sent, page)
    assert data["seconds"] == 0.5 and data["peaks"][0] == [-50, 50] and len(data["peaks"]) == 50
    assert data["sound"].endswith(".wav")


def test_a_recording_has_its_length_before_its_waveform(
    sent: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Recording("a.wav", Path("a.wav"), duration=7.5)
    show_transcript("key", made, None, editable=True, again=True, error="", on_edit=len)
    data = json.loads(sent["quintet_transcript"]["data"])
    assert (data["seconds"], data["sound"], data["peaks"], data["lines"]) == (7.5, "", [], [])


# --- regions -------------------------------------------------------------------------------------


def test_a_region_begins_in_the_middle_and_follows_the_sliders(stage: Any, sent: Any) -> None:
    file = io.BytesIO()
    Image.new("RGB", (2000, 1000), "white").save(file, "PNG")
    at = visit("qwen_vl")
    uploader = next(found for found in at.main.file_uploader if found.label == "Pictures")
    at = alive(uploader.set_value([("a.png", file.getvalue(), "image/png")]).run())
    at = alive(next(toggle for toggle in at.toggle if "region" in toggle.label).set_value(True).run())
    data = sent["quintet_region"]["data"]
    assert data["box"] == [250, 250, 750, 750]
    assert data["picture"].startswith("data:image/jpeg;base64,")
    across, down = (slider for slider in at.slider if slider.label.startswith("From "))
    at = alive(across.set_value((100, 200)).run())
    down = next(slider for slider in at.slider if slider.label.startswith("From top"))
    alive(down.set_value((5, 999)).run())
    assert sent["quintet_region"]["data"]["box"] == [100, 5, 200, 999]
    assert (across.min, across.max) == (0, 999)


# --- the microphone --------------------------------------------------------------------------------


def test_the_microphone_waits_for_a_model(stage: Any, sent: Any, tmp_path: Any) -> None:
    at = visit("whisper")
    assert "quintet_microphone" not in sent
    at = click(at, "whisper.load_button")
    data = sent["quintet_microphone"]["data"]
    assert (data["run"], data["acknowledged"], data["over"], data["stop"], data["ready"]) == (
        "",
        0,
        False,
        False,
        True,
    )
    assert (data["text"], data["tentative"]) == ("", "")
    assert {"start", "stop", "level", "insecure", "denied", "missing", "failed"} == set(data["labels"])


# --- the view of a conversation ------------------------------------------------------------------


def test_what_follows_an_answer_knows_of_it_and_can_stop_it(
    stage: Stage, sent: dict[str, dict[str, Any]]
) -> None:
    def now() -> tuple[int, bool]:
        data = sent["quintet_following"]["data"]
        return data["begun"], data["answering"]

    at = visit()
    assert now() == (0, False)
    stage.go.clear()
    alive(at.chat_input[0].set_value("hello").run())
    assert now() == (1, True)
    sent["quintet_following"]["on_stop_change"]()
    alive(at.run())
    assert now() == (1, False)
    alive(at.button(key="llama2.again").click().run())
    assert now() == (2, True)


def test_an_answer_is_copied_as_it_was_written(stage: Stage, sent: dict[str, dict[str, Any]]) -> None:
    ask(visit(), "**a** $x$")
    assert sent["quintet_copy"]["data"] == {"text": "**a** $x$ ", "label": "Copy"}


def test_a_browser_is_told_how_often_another_page_was_chosen(
    stage: Stage, sent: dict[str, dict[str, Any]]
) -> None:
    at = visit()
    told = [sent["quintet_arrival"]["data"]["moves"]]
    for page in ("whisper", "whisper", "llama2"):
        to(at, page)
        told.append(sent["quintet_arrival"]["data"]["moves"])
    assert told == [0, 1, 1, 2]
