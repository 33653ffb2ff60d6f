"""Live text on the Whisper page: what the browser sends, what the page makes of it."""

import base64
import threading
import wave
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from models import DoesNotFit, EngineFailed, Segment, SpeechOptions, Word, loader
from models.jobs import Job
from models.transcripts import live
from pages.shared.speech import live as view
from pages.shared.speech.live import LiveRecording
from tests.fakes.engines import Stage
from tests.fakes.visitor import alive, click, sentences, untranslated, visit
from tests.fakes.visitor import texts as readings
from tests.fakes.waiting import WAIT, until

PIECE = b"\x01\x02" * 16_000
SAID = (Word(0.0, 0.4, " good"), Word(0.4, 0.8, " morning"))


def message(first: int, *pieces: bytes, over: bool = False, run: str = "a") -> dict[str, Any]:
    return {
        "run": run,
        "first": first,
        "pieces": [base64.b64encode(piece).decode() for piece in pieces],
        "over": over,
    }


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "WAIT", 0.001)


@pytest.fixture
def page(stage: Stage) -> AppTest:
    """The Whisper page, with its model in memory."""
    stage.heard = [Segment(0.0, 0.8, " good morning", SAID)]
    return click(visit("whisper"), "whisper.live.load")


@pytest.fixture
def recording(page: AppTest) -> LiveRecording:
    transcript = live.LiveTranscript(loader.shared().loaded()[0])  # type: ignore[arg-type]
    made = LiveRecording("a", transcript, Job(transcript.run))
    page.session_state["whisper.live.recording"] = made
    return made


def ended(recording: LiveRecording) -> LiveRecording:
    assert recording.job.wait(WAIT)
    return recording


def sound_of(finished: view.Finished) -> bytes:
    with wave.open(finished.sound.wav(), "rb") as file:
        return file.readframes(file.getnframes())


def test_no_piece_is_lost_or_taken_twice(recording: LiveRecording) -> None:
    pieces = [bytes([number, 0]) * 16_000 for number in range(5)]
    recording.receive(message(0, pieces[0]))
    recording.receive(message(0, pieces[0], pieces[1]))  # the answer to the first came late
    recording.receive(message(4, pieces[4]))  # one that is too early
    recording.receive(message(4, pieces[4], over=True))  # the last of all
    assert recording.acknowledged == 2 and not recording.over
    recording.receive(message(1, *pieces[1:4]))
    recording.receive(message(0, pieces[0]))
    recording.receive(message(4, pieces[4], over=True))
    recording.receive(message(4, pieces[4], over=True))
    assert recording.acknowledged == 5 and recording.over
    finished = ended(recording).finish()
    assert sound_of(finished) == b"".join(pieces) and finished.duration == 5


def test_a_recording_begun_anew_takes_the_engine_from_the_one_before(
    recording: LiveRecording, monkeypatch: pytest.MonkeyPatch
) -> None:
    (engine,) = loader.shared().loaded()
    session = {"microphone": {"pieces": message(0, PIECE, run="b")}, "whisper.live.recording": recording}
    monkeypatch.setattr(st, "session_state", session)
    for _ in range(2):  # a message that came twice
        view._receive("whisper.live", "microphone", engine, SpeechOptions())  # type: ignore[arg-type]
    begun: Any = session["whisper.live.recording"]
    assert (begun.run, begun.acknowledged) == ("b", 1)
    assert ended(recording) is not begun and recording.job.cancel.is_set()
    begun.receive(message(1, over=True, run="b"))
    assert ended(begun).finish().duration == 1


def test_whoever_speaks_to_no_model_is_told_at_once(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    session: dict[str, Any] = {"microphone": {"pieces": message(0, PIECE, run="b")}}
    monkeypatch.setattr(st, "session_state", session)
    view._receive("whisper.live", "microphone", None, SpeechOptions())
    assert session["whisper.live.unheard"] == "b" and "whisper.live.recording" not in session
    told = view._component_data(None, False, "b")
    assert (told["run"], told["stop"], told["over"], told["ready"]) == ("b", True, True, False)
    page.session_state["whisper.live.unheard"] = "b"
    assert any("load it and start again" in text for text in sentences(alive(page.run())))
    (engine,) = loader.shared().loaded()
    view._receive("whisper.live", "microphone", engine, SpeechOptions())  # type: ignore[arg-type]
    assert "whisper.live.unheard" not in session
    session["whisper.live.recording"].job.cancel.set()


def test_what_is_no_sound_is_left_out(recording: LiveRecording) -> None:
    recording.receive({"run": "a", "first": 0, "pieces": ["%%%", None, 5], "over": False})
    recording.receive(message(3, b"odd", bytes(view.LONGEST + 2), PIECE, over=True))
    assert recording.acknowledged == 6 and ended(recording).finish().duration == 1


def test_a_recording_has_an_end(recording: LiveRecording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "LIMIT", 2)
    recording.receive(message(0, PIECE, PIECE, PIECE, PIECE))
    assert recording.full and recording.acknowledged == 4
    recording.receive(message(4, over=True))
    assert ended(recording).finish().duration == 2


def test_what_was_said_becomes_a_recording_on_the_page(
    workspaces: list[Any], page: AppTest, recording: LiveRecording
) -> None:
    recording.receive(message(0, PIECE))
    recording.receive(message(1, PIECE, over=True))
    ended(recording)
    alive(page.run())
    alive(page.run())
    (result,) = workspaces[-1].recordings
    assert [segment.text for segment in result.lines] == [" good morning"]
    assert (result.state, result.duration, result.language) == ("done", 2, "en")
    assert page.subheader[0].value == result.name
    with wave.open(str(result.path)) as file:
        assert file.readframes(file.getnframes()) == PIECE + PIECE


def test_how_far_it_is_is_said(page: AppTest, recording: LiveRecording) -> None:
    recording.receive(message(0, PIECE))
    until(lambda: bool(recording.transcript.now.recognised))
    alive(page.run())
    assert any(caption.value.startswith("Text is about 1 s behind") for caption in page.caption)
    recording.receive(message(1, over=True))
    ended(recording)


def test_what_waits_when_somebody_stops_is_still_recognised(
    stage: Stage, workspaces: list[Any], page: AppTest, recording: LiveRecording
) -> None:
    stage.hold = 0, threading.Event()
    recording.receive(message(0, PIECE))
    until(lambda: len(stage.options) == 1)  # it is being recognised, and takes its time
    pieces = [bytes([number, 0]) * 16_000 for number in range(60)]
    recording.receive(message(1, *pieces, over=True))
    alive(page.run())
    assert any("The last 61 s are still being recognised" in caption.value for caption in page.caption)
    assert (
        view._component_data(recording, ready=True)["over"]
        and not view._component_data(recording, ready=True)["ready"]
    )
    stage.hold[1].set()
    ended(recording)
    alive(page.run())
    alive(page.run())
    (result,) = workspaces[-1].recordings
    assert (result.state, result.duration) == ("done", 61)
    assert recording.transcript.now.recognised == 61
    assert not any("still being recognised" in caption.value for caption in page.caption)


def test_a_failure_is_a_sentence_and_keeps_what_was_heard(
    stage: Stage, page: AppTest, recording: LiveRecording
) -> None:
    stage.breaks = (0, EngineFailed("Whisper stopped; try again.", "Whisper 中断；请重试。"))
    recording.receive(message(0, PIECE))
    ended(recording)
    alive(page.run())
    assert "Whisper stopped; try again." in sentences(page)
    data = view._component_data(recording, ready=True)
    assert data["stop"] and not data["over"] and recording.finished is None  # the browser has more
    recording.receive(message(1, PIECE, PIECE, over=True))
    alive(page.run())
    assert recording.finished is not None and sound_of(recording.finished) == 3 * PIECE


def test_somebody_who_is_gone_is_not_waited_for(
    page: AppTest, recording: LiveRecording, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording.receive(message(0, PIECE))
    monkeypatch.setattr(live, "PATIENCE", -1.0)
    ended(recording)
    alive(page.run())
    assert recording.finished is not None and not recording.open
    assert view._component_data(recording, ready=True)["over"]


def test_a_full_disk_ends_a_recording_with_a_sentence(
    page: AppTest, recording: LiveRecording, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording.receive(message(0, PIECE))
    full = DoesNotFit("The disk is full.", "磁盘已满。")
    with monkeypatch.context() as patch:
        patch.setattr(recording.transcript.sound, "append", lambda _: (_ for _ in ()).throw(full))
        recording.receive(message(1, PIECE))
    alive(page.run())
    assert "The disk is full." in sentences(page) and view._component_data(recording, ready=True)["stop"]
    recording.receive(message(2, PIECE, over=True))
    assert ended(recording).finish().duration == 1


def test_without_a_model_it_offers_to_load_one(stage: Stage) -> None:
    at = visit("whisper")
    assert any("model in memory first" in caption.value for caption in at.caption)
    assert loader.shared().loaded() == []
    click(at, "whisper.live.load")
    assert len(loader.shared().loaded()) == 1
    assert "whisper.live.load" not in {button.key for button in alive(at.run()).button}


def test_it_is_said_in_both_languages(stage: Stage) -> None:
    assert untranslated(list(readings(visit("whisper"))), list(readings(visit("whisper", "zh-CN")))) == []
