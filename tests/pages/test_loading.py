"""Loads that a page waits for, and what it says of them, one function at a time."""

import threading
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st

from models import SpeechEngine
from models.errors import BadInput, Cancelled
from models.jobs import Job
from models.schema import Checkpoint, Placement
from pages.shared import loading
from pages.shared.loading import Choice, Load, Work
from tests.fakes.engines import FakeEngine, Stage
from tests.fakes.script import Rerun, lend, record
from tests.fakes.waiting import WAIT

ROW = Checkpoint("row", "llama2", "chat", "gguf")


pytestmark = pytest.mark.usefixtures("session")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    return record(monkeypatch, "error", "info", "warning", "code")


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The loads that were begun, each with what it loads."""
    begun: list[tuple[Any, ...]] = []
    shared = SimpleNamespace(load=lambda *arguments: begun.append(arguments[:4]) or "engine")
    monkeypatch.setattr(loading, "loader", lambda: shared)
    return begun


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    monkeypatch.setattr(FakeEngine, "stage", Stage())
    return FakeEngine("x", ROW, Placement("cpu", "fp32", context=128))


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is drawn of a load; `cancel` is whether its button is clicked."""
    found: dict[str, Any] = {"cancel": False, "shown": []}
    button = lambda *_, **__: found["cancel"]  # noqa: E731
    monkeypatch.setattr(st, "columns", lambda *_, **__: (nullcontext(), SimpleNamespace(button=button)))
    monkeypatch.setattr(st, "progress", lambda share, text: found["shown"].append(text))
    return found


def choice(**facts: Any) -> Choice:
    given = {"checkpoint": ROW, "engine": None, "accepted": True, "fits": True, **facts}
    return Choice("llama2", "row", "cpu", "fp32", 128, **given)


# --- beginning -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "under_way", "begun"),
    [
        ({}, False, True),
        ({}, True, False),
        ({"accepted": False}, False, False),
        ({"fits": False}, False, False),
    ],
)
def test_a_load_begins_once_and_where_it_may(
    facts: Any, under_way: bool, begun: bool, session: dict[str, Any], loads: list[Any]
) -> None:
    session["llama2.failure"] = BadInput("Before.", "之前。")
    if under_way:
        session["llama2.load"] = "another"
    choice(**facts).load()
    assert "llama2.failure" not in session
    if begun:
        assert session["llama2.load"].arguments == ("row", "cpu", "fp32", 128)
        assert session["llama2.load"].job.result(WAIT) == "engine" and loads == [("row", "cpu", "fp32", 128)]
    else:
        assert session.get("llama2.load") == ("another" if under_way else None) and not loads


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, ""),
        ({"engine": object(), "accepted": False}, ""),  # somebody else has accepted them
        ({"accepted": False}, "read and accept the terms of row"),
        ({"fits": False}, "Choose a checkpoint that can be loaded"),
        ({"checkpoint": None, "accepted": False, "fits": False}, "Choose a checkpoint that can be loaded"),
    ],
)
def test_work_begins_where_there_can_be_an_engine(facts: Any, words: str, session: dict[str, Any]) -> None:
    session["llama2.failure"] = BadInput("Before.", "之前。")
    assert loading.may_begin(choice(**facts)) is not bool(words)
    failure = session.get("llama2.failure")
    assert words in str(failure) if words else failure is None


def test_what_is_being_loaded_can_be_waited_for(session: dict[str, Any]) -> None:
    session["llama2.load"] = "under way"
    assert loading.may_begin(choice(fits=False))


# --- work ------------------------------------------------------------------------------------------


def test_work_holds_its_engine_and_says_how_far_it_is(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def use(found: FakeEngine, send: Any, cancel: threading.Event) -> None:
        assert found is engine and engine.leased and work.loaded and work.latest is None
        send("one")

    started = threading.Event()
    row = lend(monkeypatch, engine)
    work = Work(row, FakeEngine, lambda *these: started.wait(WAIT) and use(*these))
    started.set()
    assert work.wait(WAIT) and work.failure is None and work.latest == "one" and not engine.leased


def test_an_engine_of_another_kind_is_not_used(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(lend(monkeypatch, engine), SpeechEngine, lambda *_: pytest.fail("it cannot listen"))
    assert work.wait(WAIT) and work.failure is None and not work.loaded


@pytest.mark.parametrize("error", [BadInput("No.", "不。"), Cancelled()])
def test_that_work_was_stopped_is_no_failure(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(lend(monkeypatch, error), SpeechEngine, lambda *_: None)
    assert work.wait(WAIT) and not work.loaded
    assert work.failure is (None if isinstance(error, Cancelled) else error)


# --- a load that is watched ------------------------------------------------------------------------


def under_way(session: dict[str, Any], result: Any) -> Job[Any, Any]:
    def work(_: Any, cancel: threading.Event) -> Any:
        if result == "cancelled":
            assert cancel.wait(WAIT)
            raise Cancelled
        if isinstance(result, Exception):
            raise result
        return result

    job: Job[Any, Any] = Job(work)
    session["llama2.load"] = Load(("row", "cpu", "fp32", 128), job)
    return job


def test_a_load_that_has_ended_is_gone_and_the_page_drawn_again(
    session: dict[str, Any], watched: dict[str, Any]
) -> None:
    assert under_way(session, "engine").wait(WAIT)
    with pytest.raises(Rerun):
        loading._show_load("llama2")
    assert "llama2.load" not in session and "llama2.failure" not in session
    loading._show_load("llama2")
    assert watched["shown"] == []


def test_a_load_can_be_cancelled(session: dict[str, Any], watched: dict[str, Any]) -> None:
    job = under_way(session, "cancelled")
    loading._show_load("llama2")
    assert watched["shown"] == ["row: starting"] and not job.cancel.is_set()
    watched["cancel"] = True
    loading._show_load("llama2")
    assert job.wait(WAIT)
    with pytest.raises(Rerun):
        loading._show_load("llama2")
    assert isinstance(session["llama2.failure"], Cancelled) and "llama2.load" not in session


# --- what is said ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "row is loaded when it is first needed"),
        (
            {"checkpoint": Checkpoint("row", "llama2", "chat", "gguf", title="Row 7B")},
            "Row 7B is loaded when",
        ),
        ({"accepted": False}, "accept the terms of row in the sidebar"),
        ({"checkpoint": None}, ""),
        ({"engine": object()}, ""),
        ({"engine": object(), "accepted": False}, ""),
    ],
)
def test_what_happens_at_the_first_use(facts: Any, words: str) -> None:
    text = loading.describe_first_use(choice(**facts))
    assert words in text and bool(text) is bool(words)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (None, []),
        (Cancelled(), [("info", "Loading was cancelled; what was downloaded is kept.")]),
        (BadInput("![a](http://b/c.png)", ""), [("error", "[a](http://b/c.png)")]),
        (ZeroDivisionError("odd\nlines"), [("error", None), ("code", "ZeroDivisionError: odd")]),
    ],
)
def test_why_it_came_to_nothing(
    error: Any, shown: list[Any], session: dict[str, Any], said: list[Any]
) -> None:
    session["llama2.failure"] = error
    loading.show_failure("llama2")
    loading.show_failure("gemma")
    assert [kind for kind, _ in said] == [kind for kind, _ in shown]
    assert all(text in (None, found) for (_, found), (_, text) in zip(said, shown, strict=True))


@pytest.mark.parametrize(
    ("error", "logged"), [(BadInput("No.", "不。"), False), (ZeroDivisionError("odd"), True)]
)
def test_a_failure_ends_the_run_and_only_the_unforeseen_is_logged(
    error: Exception, logged: bool, session: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Rerun):
        loading.fail("llama2", error)
    assert session["llama2.failure"] is error and bool(caplog.records) is logged
