"""Loads that a page waits for, and what it says of them, one function at a time."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st

from models import ChatEngine, SpeechEngine
from models.errors import BadInput, Cancelled, EngineClosed
from models.jobs import Job
from models.schema import Checkpoint, Placement
from pages.shared import loading
from pages.shared.loading import Choice, Load
from tests.fakes.engines import FakeEngine, Stage
from tests.fakes.script import Rerun, record
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
    """What a load that is waited for draws; `cancel` is whether its button is clicked."""
    found: dict[str, Any] = {"cancel": False, "shown": []}
    bar = SimpleNamespace(progress=lambda share, text: found["shown"].append(text))
    button = lambda *_, **__: found["cancel"]  # noqa: E731
    monkeypatch.setattr(
        st, "columns", lambda *_, **__: (SimpleNamespace(empty=lambda: bar), SimpleNamespace(button=button))
    )
    monkeypatch.setattr(loading, "when_stopped", lambda key, action: found.update(stop=action))
    monkeypatch.setattr(loading, "REFRESH", 0.001)
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


def test_a_request_forgets_the_last_failure(session: dict[str, Any]) -> None:
    session["llama2.failure"] = BadInput("Before.", "之前。")
    loading.request_answer("llama2")
    assert loading.answer_requested("llama2") and not loading.answer_requested("gemma")
    assert "llama2.failure" not in session
    loading.withdraw_request("llama2")
    loading.withdraw_request("llama2")
    assert not loading.answer_requested("llama2")


@pytest.mark.parametrize(("before", "kept"), [(None, True), ("chat", True), ("text", False)])
def test_what_was_asked_in_another_conversation_is_not_asked_here(
    before: str | None, kept: bool, session: dict[str, Any]
) -> None:
    if before:
        loading.switch_conversation("llama2", before)
    loading.request_answer("llama2")
    loading.switch_conversation("llama2", "chat")
    assert loading.answer_requested("llama2") is kept
    loading.request_answer("llama2")
    loading.switch_conversation("llama2", "chat")
    assert loading.answer_requested("llama2")


# --- an engine to answer ---------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [True, False])
def test_an_engine_is_there_when_it_was_asked_for_and_held(
    asked: bool, engine: FakeEngine, session: Any
) -> None:
    if asked:
        loading.request_answer("llama2")
    with loading.engine_to_answer(choice(engine=engine), ChatEngine) as found:
        assert (found is engine) is asked and engine.leased is asked
        assert not loading.answer_requested("llama2")
    assert not engine.leased


def test_an_engine_of_another_kind_is_not_used(engine: FakeEngine) -> None:
    loading.request_answer("llama2")
    with pytest.raises(Rerun), loading.engine_to_answer(choice(engine=engine), SpeechEngine):
        pytest.fail("it cannot listen")
    assert not loading.answer_requested("llama2")


def test_a_closed_engine_is_asked_for_again(engine: FakeEngine, session: dict[str, Any]) -> None:
    loading.request_answer("llama2")
    assert engine.close_if_idle()
    with pytest.raises(Rerun), loading.engine_to_answer(choice(engine=engine), ChatEngine):
        pytest.fail("it is closed")
    assert loading.answer_requested("llama2") and "llama2.failure" not in session


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"accepted": False}, "read and accept the terms of row"),
        ({"fits": False}, "Choose a checkpoint that can be loaded"),
        ({"checkpoint": None, "accepted": False, "fits": False}, "Choose a checkpoint that can be loaded"),
    ],
)
def test_what_cannot_be_loaded_is_not_waited_for(
    facts: Any, words: str, said: list[Any], loads: list[Any]
) -> None:
    loading.request_answer("llama2")
    with loading.engine_to_answer(choice(**facts), ChatEngine) as found:
        assert found is None
    ((kind, text),) = said
    assert kind == "warning" and words in text and not loads
    assert not loading.answer_requested("llama2")


# --- waiting ---------------------------------------------------------------------------------------


def under_way(
    session: dict[str, Any], result: Any, arguments: Any = ("row", "cpu", "fp32", 128)
) -> Job[Any, Any]:
    def work(_: Any, cancel: threading.Event) -> Any:
        if result == "cancelled":
            assert cancel.wait(WAIT)
            raise Cancelled
        if isinstance(result, Exception):
            raise result
        return result

    job: Job[Any, Any] = Job(work)
    session["llama2.load"] = Load(arguments, job)
    return job


def test_a_load_is_waited_for_and_gone_afterwards(session: dict[str, Any], watched: dict[str, Any]) -> None:
    loading.request_answer("llama2")
    job = under_way(session, "engine")
    assert loading._wait_for_load(choice()) == "engine" and "llama2.load" not in session
    assert watched["stop"] == job.cancel.set and loading._wait_for_load(choice()) is None


@pytest.mark.parametrize("changed", [True, False])
def test_a_load_that_nobody_waits_for_draws_the_page_again(
    changed: bool, session: dict[str, Any], watched: Any
) -> None:
    """Or that was of another choice than is made now."""
    if changed:
        loading.request_answer("llama2")
    under_way(session, "engine", ("other", "cpu", "fp32", 128) if changed else ("row", "cpu", "fp32", 128))
    with pytest.raises(Rerun):
        loading._wait_for_load(choice())
    assert "llama2.load" not in session and loading.answer_requested("llama2") is changed


def test_a_load_is_cancelled_and_its_request_with_it(
    session: dict[str, Any], watched: dict[str, Any]
) -> None:
    loading.request_answer("llama2")
    watched["cancel"] = True
    under_way(session, "cancelled")
    with pytest.raises(Rerun):
        loading._wait_for_load(choice())
    assert isinstance(session["llama2.failure"], Cancelled)
    assert "llama2.load" not in session and not loading.answer_requested("llama2")


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
    ("error", "kept", "logged"),
    [
        (BadInput("No.", "不。"), True, False),
        (ZeroDivisionError("odd"), True, True),
        (EngineClosed("Gone.", "没了。"), False, False),
    ],
)
def test_a_failure_ends_the_run_and_only_the_unforeseen_is_logged(
    error: Exception, kept: bool, logged: bool, session: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    loading.request_answer("llama2")
    with pytest.raises(Rerun):
        loading.fail("llama2", error)
    assert (session.get("llama2.failure") is error) is kept
    assert loading.answer_requested("llama2") is not kept
    assert bool(caplog.records) is logged
