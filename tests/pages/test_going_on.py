"""Answers that were cut go on where they ended."""

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.turns import Answer, Step, Turn
from tests.fakes.engines import FakeEngine, Stage
from tests.fakes.visitor import alive, ask, click, conversation, engine, keys, said, sentences, visit

GO_ON = "llama2.go_on"


def limited(words: int) -> AppTest:
    """A page whose answers have so many words at most."""
    at = visit()
    field = next(found for found in at.number_input if "Max. answer length" in found.label)
    return alive(field.set_value(words).run())


def test_an_answer_that_reached_its_limit_goes_on_as_one(stage: Stage) -> None:
    at = ask(limited(2), "one two three four five")
    assert said(at) == [("one two three four five", ["one two "])] and GO_ON in keys(at)
    click(at, GO_ON)
    assert engine(at).sent[-1][-1] == {"role": "assistant", "content": "one two ", "prefix": True}
    assert said(at) == [("one two three four five", ["one two three four "])]
    click(at, GO_ON)
    answer = conversation(at).turns[0].answers[0]
    assert answer.text == "one two three four five " and answer.reason == "stop" and GO_ON not in keys(at)
    assert answer.figures["completion_tokens"] == 5
    click(at, "llama2.undo")
    assert said(at) == [("one two three four five", ["one two three four "])]


def test_what_stands_there_is_not_changed_when_it_fails_again(stage: Stage) -> None:
    at = ask(limited(2), "one two three four")
    stage.breaks = (0, RuntimeError("bang"))
    click(at, GO_ON)
    assert said(at) == [("one two three four", ["one two "])] and sentences(at)
    assert conversation(at).turns[0].answers[0].reason == "failed" and GO_ON in keys(at)
    stage.breaks = None
    click(at, GO_ON)
    assert said(at) == [("one two three four", ["one two three four "])]


def test_a_new_answer_is_another_one(stage: Stage) -> None:
    at = click(ask(limited(2), "one two three"), "llama2.again")
    assert said(at) == [("one two three", ["one two ", "one two "])]
    at = click(at, "llama2.choose.0.-1")
    assert GO_ON not in keys(at)  # the older one is shown


def test_it_is_not_offered_where_the_engine_cannot(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeEngine, "continues_answers", False)
    assert GO_ON not in keys(ask(limited(2), "one two three"))


@pytest.mark.parametrize(
    ("answer", "goes_on"),
    [
        (Answer("one", "length"), True),
        (Answer("one", "cancelled"), True),
        (Answer("one", "failed"), True),
        (Answer("one", "stop"), False),
        (Answer("", "cancelled"), False),
        (Answer(" \n", "cancelled"), False),
        (Answer("one", "tool_calls", steps=(Step("f", "{}"),)), False),
        (Answer("", "length", steps=(Step("f", "{", failed=True),)), False),
        (Answer("It is", "length", steps=(Step("f", "{}", observation="1"),)), True),
        (Answer("<think>Let me", "length"), False),
        (Answer("<think>Let me</think> It is", "length"), True),
        (Answer("<think>a</think> b <think>c", "length"), False),
        (Answer('<tool_call>{"name": "f"', "length"), False),
        (Answer('[TOOL_CALLS][{"name": "f"', "length"), False),
    ],
)
def test_only_text_that_a_person_reads_goes_on(answer: Answer, goes_on: bool) -> None:
    talk = Conversation((Turn("a", (Answer("b", "stop"),)), Turn("c", (answer,))))
    assert talk.can_go_on is goes_on
    if goes_on:
        assert talk.resume(goes_on=True) and talk.messages(goes_on=True)[-1]["prefix"] is True


def test_without_a_wish_nothing_goes_on() -> None:
    talk = Conversation((Turn("c", (Answer("one", "length"),)),))
    assert not talk.resume() and not any("prefix" in message for message in talk.messages())
    assert not Conversation().can_go_on


def test_figures_of_parts_are_added() -> None:
    talk = Conversation((Turn("c", (Answer("one", "length", {"completion_tokens": 3.0}),)),))
    talk.resume(goes_on=True)
    talk.end_answer("stop", {"completion_tokens": 4.0, "tokens_per_second": 9.0})
    figures: Any = talk.turns[0].answers[0].figures
    assert figures["completion_tokens"] == 7 and figures["tokens_per_second"] == 9
