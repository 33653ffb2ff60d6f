"""An answer as it comes: when the page is drawn again, and what of the answer is drawn before its end."""

from typing import Any

import pytest
import streamlit as st

from models import Delta, Prefill, Queued, ToolCall
from pages.shared.conversation import streaming
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.streaming import INTERVAL, show_answer, show_growing
from pages.shared.conversation.turns import Answer
from pages.shared.conversation.usage import CURSOR
from tests.fakes.script import Rerun, record


class Work:
    """One that a test moves on."""

    name = "tiny"

    def __init__(self, latest: Any = None, running: bool = True, loaded: bool = True) -> None:
        self.latest, self.running, self.loaded = latest, running, loaded


class Fragment:
    """What Streamlit draws again and again; here a test does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(st, "fragment", self._take)

    def _take(self, look: Any, run_every: float) -> Any:
        self.look, self.pause = look, run_every
        return look


@pytest.fixture
def fragment(session: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Fragment:
    return Fragment(monkeypatch)


def test_it_is_drawn_until_its_end(fragment: Fragment) -> None:
    work, drawn = Work(), []
    show_growing(work, lambda: 0, lambda: drawn.append(1))  # type: ignore[arg-type]
    fragment.look()
    assert len(drawn) == 2 and fragment.pause == INTERVAL
    work.running = False
    with pytest.raises(Rerun):
        fragment.look()
    assert len(drawn) == 2


def test_a_long_text_is_sent_less_often(fragment: Fragment) -> None:
    length = 60_000
    show_growing(Work(), lambda: length, lambda: None)  # type: ignore[arg-type]
    assert fragment.pause == 1.0
    length = 120_000
    fragment.look()
    length += 1
    with pytest.raises(Rerun):
        fragment.look()


def test_the_load_comes_first(fragment: Fragment, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    monkeypatch.setattr(streaming, "show_progress", lambda name, progress: found.append(name))
    work = Work(loaded=False)
    show_growing(work, lambda: 0, lambda: found.append("text"))  # type: ignore[arg-type]
    assert found == ["tiny"]
    work.loaded = True
    with pytest.raises(Rerun):  # the sidebar shows what is loaded
        fragment.look()


CALL = ToolCall("f", {"a": 1})


@pytest.mark.parametrize(
    ("latest", "text", "drawn"),
    [
        (Delta("three"), "one two", [("markdown", f"ONE TWO{CURSOR}")]),
        (Queued(2), "", [("caption", "In the queue: 2 ahead of you")]),
        (Prefill(1, 4), "", [("caption", "Reading the prompt 25%")]),
        (Prefill(0, 0), "", []),
        (CALL, "", [("caption", "f is running")]),
        (None, "", []),
    ],
)
def test_words_are_drawn_or_what_happens_before_them(
    latest: Any, text: str, drawn: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Answer] = []
    monkeypatch.setattr(streaming, "show_steps", steps.append)
    found = record(monkeypatch, "markdown", "caption")
    conversation = Conversation()
    conversation.ask("?")
    show_answer(Work(latest), conversation, str.upper)  # type: ignore[arg-type]
    assert found == steps == []  # it has not begun
    conversation.begin_answer("tiny")
    conversation.write(text)
    show_answer(Work(latest), conversation, str.upper)  # type: ignore[arg-type]
    assert found == drawn and len(steps) == 1
    conversation.end_answer("stop", {})
    show_answer(Work(latest), conversation, str.upper)  # type: ignore[arg-type]
    assert found == drawn  # the page draws it as a whole
