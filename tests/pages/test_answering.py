"""Answers that go on: written into their conversation by another thread, until their end or a visitor's change."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from models import BadInput, ChatOptions, Delta, Done, ToolCall, Usage
from models.interpreter import Output
from models.tools import Observation, Toolbox
from pages.shared.conversation import answering
from pages.shared.conversation.answering import Answers, write_answer
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.turns import Answer
from tests.fakes.waiting import WAIT


class Known(Toolbox):
    """Answers with these events; "wait" among them waits until the answer is stopped."""

    def __init__(self, *events: Any) -> None:
        super().__init__()
        self.events = events

    def answer(self, engine: Any, messages: Any, options: Any = None, cancel: Any = None) -> Iterator[Any]:
        self.messages = messages
        for event in self.events:
            if isinstance(event, BaseException):
                raise event
            if event == "wait":
                assert cancel.wait(WAIT)
            else:
                yield event


ENGINE: Any = type("Engine", (), {"checkpoint": type("Row", (), {"name": "tiny"})})


def asked() -> Conversation:
    conversation = Conversation()
    conversation.ask("?")
    return conversation


def written(*events: Any) -> Answer:
    conversation = asked()
    write_answer(conversation, Known(*events), ChatOptions(), ENGINE, lambda event: None, threading.Event())
    return conversation.turns[-1].answers[-1]


CALL = ToolCall("f", {"a": 1})


def test_text_grows_to_its_end() -> None:
    answer = written(Delta("one "), Delta("two "), Delta("three"), Done("stop", Usage(9)))
    assert answer.text == "one two three" and answer.reason == "stop" and answer.figures["prompt_tokens"] == 9
    assert answer.checkpoint == "tiny"


def test_calls_become_steps() -> None:
    answer = written(
        Delta("Let me see."), CALL, Output("text", "1"), Observation("1"), Delta("It is 1."), Done("stop", Usage())
    )  # fmt: skip
    (step,) = answer.steps
    assert (step.name, step.arguments, step.text, step.observation) == ("f", '{"a": 1}', "Let me see.", "1")
    assert [output.text for output in step.shown] == ["1"] and not step.failed and answer.text == "It is 1."


def test_a_failed_step_is_one() -> None:
    (step,) = written(CALL, Observation("no", BadInput("no", "否")), Done("stop", Usage())).steps
    assert step.failed and step.observation == "no"


@pytest.mark.parametrize("error", [BadInput("no", "否"), SystemExit(3)])
def test_what_breaks_off_keeps_its_words(error: BaseException) -> None:
    conversation = asked()
    with pytest.raises(type(error)):
        write_answer(
            conversation, Known(Delta("one"), error), ChatOptions(), ENGINE, lambda event: None, threading.Event()
        )  # fmt: skip
    (answer,) = conversation.turns[-1].answers
    assert (answer.text, answer.reason) == ("one", "failed")


# --- those of a session ----------------------------------------------------------------------------


class Work:
    """As `loading.Work`, with an engine that is there."""

    def __init__(self, choice: Any, kind: Any, use: Callable[..., None]) -> None:
        self.cancel = threading.Event()
        self.wrote = threading.Semaphore(0)

        def work() -> None:
            with suppress(SystemExit):
                use(ENGINE, lambda event: self.wrote.release(), self.cancel)

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def end(self) -> None:
        self._thread.join(WAIT)
        assert not self._thread.is_alive()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    monkeypatch.setattr(answering, "Work", Work)
    return Answers()


def begin(answers: Answers, conversation: Conversation, *events: Any) -> Any:
    """An answer that has written its first event."""
    answers.start(conversation, None, Known(*events), ChatOptions())  # type: ignore[arg-type]
    work: Any = answers.of(conversation)
    assert work.wrote.acquire(timeout=WAIT)
    return work


CHANGES: dict[str, Callable[[Conversation], None]] = {
    "stop": Conversation.settle,
    "clear": Conversation.clear,
    "undo": Conversation.undo,
    "ask": lambda conversation: conversation.ask("else"),
    "edit": lambda conversation: conversation.edit(0, "else"),
    "import": lambda conversation: conversation.take_over(Conversation()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_visitors_change_stops_it_and_nothing_is_written_any_more(
    change: Callable[[Conversation], None], answers: Answers
) -> None:
    conversation = asked()
    work = begin(answers, conversation, Delta("one"), "wait", Delta(" two"), Done("stop", Usage()))
    change(conversation)
    after = conversation.turns
    assert answers.of(conversation) is None
    work.end()
    assert conversation.turns == after
    assert all(answer.text == "one" and answer.reason for turn in after for answer in turn.answers)


def test_what_fails_after_a_stop_changes_nothing(answers: Answers) -> None:
    conversation = asked()
    work = begin(answers, conversation, Delta("one"), "wait", SystemExit(3))
    conversation.settle()
    after = conversation.turns
    work.end()
    assert conversation.turns == after and after[-1].answers[-1].reason == "cancelled"


def test_another_answer_to_the_same_question_stops_the_first(answers: Answers) -> None:
    conversation = asked()
    first = begin(answers, conversation, Delta("one"), "wait", Delta(" more"))
    second = begin(answers, conversation, Delta("two"), Done("stop", Usage()))
    first.end()
    second.end()
    assert [answer.text for answer in conversation.turns[-1].answers] == ["one", "two"]
    assert answers.of(conversation) is second
    answers.forget(conversation)
    assert answers.of(conversation) is None


def test_choosing_an_older_answer_stops_nothing(answers: Answers) -> None:
    conversation = asked()
    begin(answers, conversation, Delta("one"), Done("stop", Usage())).end()
    work = begin(answers, conversation, Delta("two"), "wait")
    conversation.choose(0, 0)
    assert answers.of(conversation) is work
    conversation.settle()
    work.end()


def test_the_end_of_the_session_ends_them_all_and_leaves_no_thread(answers: Answers) -> None:
    talks = [asked() for _ in range(5)]
    works = [begin(answers, talk, Delta("one"), "wait", Delta(" two")) for talk in talks]
    answers.close()
    for work in works:
        work.end()
    assert [talk.turns[-1].answers[-1].text for talk in talks] == ["one"] * 5
    assert [answers.of(talk) for talk in talks] == [None] * 5


def test_another_session_follows_it_and_it_goes_on_until_nobody_does(answers: Answers) -> None:
    talk, other, later = asked(), Answers(), Answers()
    work = begin(answers, talk, Delta("one"), "wait", Delta(" two"))
    assert other.of(talk) is work and other.is_of_another_session(talk)
    assert not answers.is_of_another_session(talk)
    answers.close()  # the tab that asked is gone
    assert not work.cancel.is_set() and later.of(talk) is work
    other.close()
    assert not work.cancel.is_set()
    later.close()
    work.end()
    assert talk.turns[-1].answers[-1].reason == "cancelled"


def test_another_session_stops_it(answers: Answers) -> None:
    talk, other = asked(), Answers()
    work = begin(answers, talk, Delta("one"), "wait")
    assert other.of(talk) is work
    talk.settle()
    work.end()
    assert answers.of(talk) is None and other.of(talk) is None


def test_whoever_asks_next_is_followed_by_who_asked_before(answers: Answers) -> None:
    talk, other = asked(), Answers()
    begin(answers, talk, Delta("one"), Done("stop", Usage())).end()
    assert other.of(talk) is None  # it has ended
    work = begin(other, talk, Delta("two"), "wait")
    assert answers.of(talk) is work and answers.is_of_another_session(talk)
    answers.close()
    assert not answers.is_of_another_session(talk) and not work.cancel.is_set()
    other.close()
    work.end()


def test_what_ended_before_it_began_is_heard_of_once(answers: Answers) -> None:
    talk = asked()
    answers.start(talk, None, Known(), ChatOptions())  # type: ignore[arg-type]
    work: Any = answers.of(talk)
    work.end()
    talk.writer = work  # as the load of an engine leaves it that has failed
    answers.forget(talk)
    assert answers.of(talk) is None and talk.writer is None


def test_what_was_stopped_is_not_kept(answers: Answers) -> None:
    for _ in range(3):
        talk = asked()
        work = begin(answers, talk, Delta("one"), "wait")
        talk.settle()
        work.end()
    assert len(answers._works) == 1
