"""What live text shows and tells the browser at each moment, of recordings in every state."""

import base64
from collections.abc import Iterator
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st

from models import DoesNotFit, EngineFailed
from models.jobs import Job
from models.schema import Checkpoint, Placement, Segment, SpeechOptions
from models.transcripts.live import LiveText, LiveTranscript
from pages.shared.loading import Choice
from pages.shared.speech import live as view
from pages.shared.speech.live import LONGEST, TAIL, LiveRecording
from tests.fakes.engines import FakeSpeechEngine
from tests.fakes.script import record
from tests.fakes.waiting import WAIT

pytestmark = pytest.mark.usefixtures("session")

ENGINE = FakeSpeechEngine("x", Checkpoint("x", "whisper", "speech", "ctranslate2"), Placement("cpu", "fp32"))
NOW = LiveText((Segment(0.0, 2.0, " good morning"),), " to you", "en", 7.0, 5.0, 2.0, 0.4)


@pytest.fixture
def running() -> Iterator[Job[Any, Any]]:
    with Job[Any, Any](lambda _, cancel: cancel.wait(WAIT)) as job:
        yield job


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    return record(monkeypatch, "error", "info", "caption")


def ended(error: Exception | None = None) -> Job[Any, Any]:
    def work(*_: Any) -> None:
        if error is not None:
            raise error

    job: Job[Any, Any] = Job(work)
    assert job.wait(WAIT)
    return job


def recording(job: Job[Any, Any], received: float = 7.0, now: LiveText = NOW, **facts: Any) -> LiveRecording:
    transcript: Any = SimpleNamespace(now=now, received=received, abandoned=False)
    return LiveRecording("a", transcript, job, **facts)


# --- what the browser is told ----------------------------------------------------------------------


def test_before_anything_is_recorded() -> None:
    for ready in (True, False):
        data = view._component_data(None, ready)
        assert data.pop("labels") and data == {
            "run": "", "acknowledged": 0, "over": False, "stop": False, "ready": ready, "text": "", "tentative": "",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "over", "stop", "ready"),
    [
        ({}, False, False, False),
        ({"over": True}, True, False, False),
        ({"refusal": DoesNotFit("Full.", "满。")}, False, True, False),
        ({"received": float(view.LIMIT)}, False, True, False),
        ({"received": view.LIMIT - 0.5}, False, False, False),
        ({"job": ended()}, False, True, False),  # recognition broke off: what is said is kept
        ({"job": ended(), "over": True}, True, True, True),
    ],
)
def test_what_the_microphone_does_next(
    facts: dict[str, Any], over: bool, stop: bool, ready: bool, running: Job[Any, Any]
) -> None:
    data = view._component_data(recording(**{"job": running, "acknowledged": 3, **facts}), ready=True)
    assert (data["run"], data["acknowledged"]) == ("a", 3)
    assert (data["over"], data["stop"], data["ready"]) == (over, stop, ready)
    assert (data["text"], data["tentative"]) == ("good morning", " to you")


def test_only_the_end_of_a_long_text_is_sent_while_it_grows(running: Job[Any, Any]) -> None:
    text = " " + "x" * (TAIL + 50)
    long = LiveText((Segment(0.0, 1.0, text),))
    assert view._component_data(recording(running, now=long), True)["text"] == "x" * TAIL
    over = recording(ended(), now=long, over=True)
    assert view._component_data(over, True)["text"] == text.strip()


# --- what the visitor is told ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, [("caption", "Text is about 3 s behind, and final after 6 s · one recognition takes 0.4 s")]),
        ({"now": LiveText()}, []),
        ({"over": True}, [("caption", "The last 2 s are still being recognised")]),
        ({"job": ended()}, []),
        ({"job": ended(EngineFailed("It stopped.", "停了。"))}, [("error", "It stopped.")]),
        ({"job": ended(ZeroDivisionError())}, [("error", "Recognition broke off; what was heard is kept.")]),
        ({"job": ended(), "refusal": DoesNotFit("Full.", "满。")}, [("error", "Full.")]),
        ({"job": ended(), "received": 3600.0},
         [("info", "A live recording lasts at most 60 minutes; this one is kept as it is.")]),
        ({"job": ended(), "received": 3600.0, "refusal": DoesNotFit("Full.", "满。")}, [("error", "Full.")]),
    ],
)  # fmt: skip
def test_how_far_it_is(
    facts: dict[str, Any], expected: list[Any], said: list[Any], running: Job[Any, Any]
) -> None:
    view._show_progress(recording(**{"job": running, **facts}))
    assert said == expected


# --- what comes in ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("piece", "samples"),
    [(bytes(LONGEST), LONGEST), (bytes(LONGEST + 2), 0), (bytes(3), 0), (b"", 0), (bytes(2), 2)],
)
def test_a_piece_is_whole_samples_and_not_too_many(piece: bytes, samples: int) -> None:
    assert len(view._decoded(base64.b64encode(piece).decode())) == samples


@pytest.mark.parametrize("piece", [None, 5, "ä", "AAA", "A=A=", ["AAAA"], "AA AA"])
def test_a_piece_that_is_no_base64_is_nothing(piece: Any) -> None:
    assert view._decoded(piece) == b""


@pytest.mark.parametrize("message", [None, {}, {"pieces": None}])
def test_without_a_message_nothing_begins(message: Any, session: dict[str, Any]) -> None:
    session.update({"canvas": message})
    view._receive("live", "canvas", ENGINE, SpeechOptions())
    assert "live.recording" not in session


def test_without_a_model_no_recording_begins_but_one_goes_on(session: dict[str, Any]) -> None:
    piece = base64.b64encode(bytes(32_000)).decode()
    message = {"run": "a", "first": 0, "pieces": [piece], "over": False}
    session["canvas"] = {"pieces": message}
    view._receive("live", "canvas", None, SpeechOptions())
    assert "live.recording" not in session
    transcript = LiveTranscript(ENGINE, SpeechOptions())
    session["live.recording"] = begun = LiveRecording("a", transcript, ended())
    view._receive("live", "canvas", None, SpeechOptions())
    assert (begun.acknowledged, transcript.received) == (1, 1.0)


def test_what_comes_after_the_end_is_not_added() -> None:
    transcript = LiveTranscript(ENGINE, SpeechOptions())
    begun = LiveRecording("a", transcript, ended(), began=datetime(2026, 3, 4, 5, 6, 7))
    piece = base64.b64encode(bytes(32_000)).decode()
    begun.receive({"run": "a", "first": 0, "pieces": [piece], "over": False})
    finished = begun.finish()
    assert (begun.name, finished.duration) == ("2026-03-04 05.06.07.wav", 1.0)
    begun.receive({"run": "a", "first": 1, "pieces": [piece], "over": False})
    assert begun.acknowledged == 2 and transcript.received == 1.0 and begun.finish() is finished


# --- the parts of the page -------------------------------------------------------------------------


def choice(**facts: Any) -> Choice:
    given = {"checkpoint": None, "engine": None, "accepted": True, "fits": True, **facts}
    return Choice("whisper", "x", "cpu", "fp32", None, **given)


@pytest.mark.parametrize(
    ("engine", "state", "offers", "every"),
    [
        (None, None, True, None),
        (ENGINE, None, False, "never"),
        (ENGINE, "open", False, view.REFRESH),
        (None, "open", False, view.REFRESH),  # the engine went: what is said is kept all the same
        (None, "over", True, "never"),
        (ENGINE, "over", False, "never"),
        (object(), None, True, None),  # no engine for speech
    ],
)
def test_when_it_is_drawn_and_when_a_model_is_offered(
    engine: Any, state: Any, offers: bool, every: Any, session: dict[str, Any], running: Job[Any, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    drawn: list[Any] = []
    offered: list[Any] = []

    def fragment(_: Any, run_every: Any) -> Any:
        return lambda *given: drawn.append((run_every or "never", given[1], given[3]))

    monkeypatch.setattr(st, "fragment", fragment)
    monkeypatch.setattr(view, "_offer_to_load", lambda *_: offered.append(1))
    if state:
        session["live.recording"] = recording(
            running if state == "open" else ended(), over=state == "over", finished=object()
        )
    shown = view.show_live_text("live", choice(engine=engine), SpeechOptions())
    assert shown is session.get("live.recording") and bool(offered) is offers
    kind = engine if engine is ENGINE else None
    assert drawn == ([(every, kind, state == "open")] if every else [])


@pytest.mark.parametrize(
    ("facts", "loading", "disabled"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"accepted": False}, False, True),
        ({"fits": False}, False, True),
    ],
)
def test_a_load_is_offered_where_one_can_begin(
    facts: Any, loading: bool, disabled: bool, session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(st, "button", lambda *_, disabled, **__: asked.append(disabled))
    if loading:
        session["whisper.load"] = object()
    view._offer_to_load("live", choice(**facts))
    assert asked == [disabled]
