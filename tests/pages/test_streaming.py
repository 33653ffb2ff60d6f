"""An answer as it comes: what of it goes into the conversation, and what onto the page."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from models import BadInput, Delta, Done, Prefill, Queued, ToolCall, Usage
from models.interpreter import Output
from models.tools import Observation
from pages.shared.conversation import streaming
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.streaming import follow
from pages.shared.conversation.turns import Answer
from pages.shared.conversation.usage import CURSOR


class Place:
    """An empty element of a page that writes down what is done with it."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def markdown(self, text: str) -> None:
        self.log.append(text)

    def caption(self, text: str) -> None:
        self.log.append(f"({text})")

    def empty(self) -> None:
        self.log.append("empty")

    @contextmanager
    def container(self) -> Iterator[None]:
        yield


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Answer]:
    """Every answer whose steps were drawn."""
    found: list[Answer] = []
    monkeypatch.setattr(streaming, "show_steps", found.append)
    return found


def followed(*known: list[Any]) -> tuple[Answer, list[str], list[int]]:
    """The answer made of these batches, what was drawn, and the characters that each batch waited for."""
    conversation, place, waits = Conversation(), Place(), []

    def batches(events: Any, shown: Callable[[], int]) -> Iterator[list[Any]]:
        for batch in known:
            waits.append(shown())
            yield batch

    conversation.ask("?")
    conversation.begin_answer("tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "batches", batches)
        follow(lambda cancel: iter(()), conversation, lambda text: text.upper(), Place(), place)
    return conversation.turns[-1].answers[-1], place.log, waits


CALL = ToolCall("f", {"a": 1})


def test_text_grows_and_slows_the_next_batch_down(drawn: list[Answer]) -> None:
    answer, log, waits = followed(
        [Delta("one ")], [], [Delta("two "), Delta("three")], [Done("stop", Usage(9))]
    )
    assert answer.text == "one two three" and answer.reason == "stop" and answer.figures["prompt_tokens"] == 9
    assert waits == [0, 4, 4, 13]
    assert log == [f"ONE {CURSOR}", f"ONE TWO THREE{CURSOR}", f"ONE TWO THREE{CURSOR}"]
    assert len(drawn) == 1  # the steps from before


def test_steps_are_drawn_when_they_change(drawn: list[Answer]) -> None:
    answer, log, waits = followed(
        [Delta("Let me see.")], [CALL], [Output("text", "1")], [Observation("1")], [Delta("It is 1.")],
        [Done("stop", Usage())],
    )  # fmt: skip
    assert [len(each.steps) for each in drawn] == [0, 1, 1, 1]
    (step,) = answer.steps
    assert (step.name, step.arguments, step.text, step.observation) == ("f", '{"a": 1}', "Let me see.", "1")
    assert [output.text for output in step.shown] == ["1"] and not step.failed
    assert answer.text == "It is 1." and waits[2] == 0  # what was written before is a step now
    assert log[0] == f"LET ME SEE.{CURSOR}" and log[1:3] == ["empty", "(f is running)"]


def test_a_failed_step_is_one(drawn: list[Answer]) -> None:
    answer, *_ = followed([CALL, Observation("no", BadInput("no", "否"))])
    assert answer.steps[0].failed and answer.steps[0].observation == "no"


def test_what_happens_is_said_until_words_come(drawn: list[Answer]) -> None:
    _, log, _ = followed([Queued(2)], [], [Prefill(1, 4)], [Prefill(0, 0)], [Delta("a")], [Prefill(4, 4)])
    assert log == [
        "(In the queue: 2 ahead of you)", "(Reading the prompt 25%)", f"A{CURSOR}", f"A{CURSOR}",
    ]  # fmt: skip
