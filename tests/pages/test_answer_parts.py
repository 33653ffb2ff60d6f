"""What stands around answers, one part at a time: calls, figures, what happens, sources, texts that go on."""

import threading
from contextlib import nullcontext
from typing import Any

import pytest
import streamlit as st

from models import ChatOptions, Delta, Done, Usage
from models.interpreter import Output
from pages.shared.conversation import completion, sources, steps, usage
from pages.shared.conversation.notes import _SENTENCES, Notes
from pages.shared.conversation.turns import Answer, Source, Step
from tests.fakes.script import Rerun, lend, record
from tests.fakes.waiting import WAIT

pytestmark = pytest.mark.usefixtures("session")


# --- calls -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "heading", "icon"),
    [
        (Step("get", "{}"), "`get {}`", "hourglass_empty"),
        (Step("get", "{}", observation="2"), "`get {} → 2`", "build"),
        (Step("get", "{}", observation=""), "`get {} →`", "build"),
        (Step("get", "{}", observation="2", failed=True), "`get {} → 2`", "error"),
        (Step("get", "{\n `a`}"), "`get { 'a'}`", "hourglass_empty"),
        (Step("get", "x" * 56), "`get " + "x" * 56 + "`", "hourglass_empty"),
        (Step("get", "x" * 57), "`get " + "x" * 56 + "…`", "hourglass_empty"),
        (Step("interpreter", '{"code": "1"}'), "Python", "hourglass_empty"),
    ],
)
def test_a_call_in_one_line(step: Step, heading: str, icon: str) -> None:
    assert steps._heading(step, steps.find_code(step)) == heading
    assert steps._icon(step) == f":material/{icon}:"


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("get", '{"code": "1"}', None),
        ("interpreter", '{"code": "1"}', "1"),
        ("interpreter", "{}", ""),
        ("interpreter", '{"code": 5}', "5"),
        ("interpreter", "print(1)", "print(1)"),
    ],
)
def test_the_code_of_a_call(name: str, arguments: str, code: str | None) -> None:
    assert steps.find_code(Step(name, arguments)) == code


@pytest.mark.parametrize(
    ("step", "drawn"),
    [
        (Step("get", "{}"), []),
        (Step("get", "{}", shown=(Output("text", "a"), Output("error", "b"))), [("code", "ab")]),
        (Step("get", "{}", shown=(Output("text", " \n"),)), []),
        (
            Step("interpreter", "{}", observation="line\nNameError: *x*", failed=True),
            [("caption", "NameError: *x*")],
        ),
        (Step("interpreter", "{}", observation="", failed=True), []),
        (Step("interpreter", "{}", observation="fine"), []),
        (Step("get", "{}", observation="no", failed=True), []),
    ],
)
def test_what_a_call_showed(step: Step, drawn: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    found = record(monkeypatch, "code", "caption")
    steps._show_text(step)
    assert found == drawn


# --- figures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer("a", "stop"), ""),
        (Answer("a", "length"), "cut at the max. answer length"),
        (Answer("a", "failed", checkpoint="row"), "broke off · row"),
        (Answer("a", "stop", {"completion_tokens": 0, "tokens_per_second": 3.0}), ""),
        (
            Answer(
                "a",
                "cancelled",
                {"completion_tokens": 7, "tokens_per_second": 3.14, "seconds_to_first_token": 0.256},
            ),
            "stopped · 7 tokens · 3.1 tokens/s · first after 0.26 s",
        ),
        (Answer("a", "stop", {"completion_tokens": 7}), "7 tokens · 0.0 tokens/s · first after 0.00 s"),
    ],
)
def test_the_line_under_an_answer(answer: Answer, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = record(monkeypatch, "caption")
    usage.show_usage(answer)
    assert found == [("caption", said)]


# --- notes of an import ----------------------------------------------------------------------------


def test_notes_count_and_name_each_once() -> None:
    notes = Notes()
    assert notes.sentences() == ()
    for kind, name in (("part", "audio"), ("part", "file"), ("part", "audio"), ("system", "")):
        notes.add(kind, name)
    notes.add("branch", count=4)
    notes.add("thought", count=0)
    said = [text.en for text in notes.sentences()]
    assert len(said) == 3 and said[0].endswith("system prompt: 1.") and "(audio, file)" in said[1]
    assert said[1].endswith(": 3.") and said[2].endswith("left out: 4.")
    assert "（audio、file）" in notes.sentences()[1].zh
    for kind in _SENTENCES:
        notes.add(kind, "x")
    assert len(notes.sentences()) == len(_SENTENCES)
    assert all("{" not in text.en + text.zh for text in notes.sentences())


# --- sources ---------------------------------------------------------------------------------------


def test_what_waits_goes_once_and_can_be_removed(
    session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    session["llama2.sources"] = waiting = [Source("a", "1"), Source("b", "2")]
    found = record(monkeypatch, "info")
    sources.explain_waiting("llama2")
    assert [text.split()[0] for _, text in found] == ["a", "b"]
    clicks = iter([False, True])
    monkeypatch.setattr(st, "button", lambda *_, **__: next(clicks))
    with pytest.raises(Rerun):
        sources.show_waiting("llama2")
    assert [source.title for source in waiting] == ["a"]
    found = record(monkeypatch, "info")
    sources.explain_waiting("llama2")
    assert [text for _, text in found] == ["a waits for a question: choose a chat model in the sidebar."]
    assert [source.title for source in sources.take("llama2")] == ["a"] and sources.take("llama2") == []


@pytest.mark.parametrize(("letters", "scrolls"), [(sources.LONG, False), (sources.LONG + 1, True)])
def test_a_long_source_scrolls(letters: int, scrolls: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    heights: list[Any] = []
    draw = st.container
    monkeypatch.setattr(st, "container", lambda height: heights.append(height) or draw())
    sources.show_sources([Source("a", "x" * letters)])
    assert heights == [sources.HEIGHT if scrolls else "content"]


# --- texts that go on ------------------------------------------------------------------------------


class Base:
    """A base model that goes on with these events, or breaks."""

    checkpoint = type("Row", (), {"name": "row"})
    lease = nullcontext

    def __init__(self, *events: Any) -> None:
        self.events = events

    def stream(self, text: str, options: Any, cancel: Any) -> Any:
        for event in self.events:
            if isinstance(event, Exception):
                raise event
            yield event


@pytest.mark.parametrize(
    ("events", "text", "reason", "failed"),
    [
        ([Delta(" upon"), Delta(" a"), Done("length", Usage(1, 0, 2))], "Once upon a", "length", False),
        ([Delta(" upon")], "Once upon", "cancelled", False),
        ([Delta(" upon"), ZeroDivisionError("odd")], "Once upon", "failed", True),
        ([Done("stop", Usage())], "Once", "stop", False),
    ],
)
def test_a_text_goes_on_and_can_be_taken_back(
    events: list[Any], text: str, reason: str, failed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Base(*events)
    monkeypatch.setattr(completion, "ChatEngine", Base)
    draft = completion.Draft()
    draft.text = "Once"
    draft.go_on(lend(monkeypatch, engine), ChatOptions())
    assert draft.work is not None and draft.work.wait(WAIT)
    assert (draft.text, draft.before) == (text, "Once")
    assert draft.continued is not None
    assert (draft.continued.reason, draft.continued.checkpoint) == (reason, "row")
    assert isinstance(draft.work.failure, ZeroDivisionError) is failed
    number = draft.number
    draft.undo()
    assert (draft.text, draft.before, draft.continued, draft.work) == ("Once", None, None, None)
    assert draft.number > number  # another widget


def test_a_text_that_is_stopped_keeps_what_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def stream(text: str, options: Any, cancel: Any) -> Any:
        yield Delta(" upon")
        written.set()
        assert cancel.wait(WAIT)
        yield Delta(" a time")

    written, engine = threading.Event(), Base()
    engine.stream = stream  # type: ignore[method-assign]
    monkeypatch.setattr(completion, "ChatEngine", Base)
    draft = completion.Draft()
    draft.text = "Once"
    draft.go_on(lend(monkeypatch, engine), ChatOptions())
    work = draft.work
    assert work is not None and written.wait(WAIT)
    draft.stop()
    assert work.wait(WAIT) and draft.text == "Once upon" and draft.work is None
    assert draft.continued is not None and draft.continued.reason == "cancelled"
