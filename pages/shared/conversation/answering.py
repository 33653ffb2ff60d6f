"""Answers that are being written: each goes on whatever page is looked at, until it ends, is stopped, or the session
has ended."""

import threading
from collections.abc import Callable
from typing import Any

from models import ChatEngine, ChatOptions, Delta, Done, Event, ToolCall
from models.interpreter import Output
from models.tools import Observation, Toolbox, written
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.fitting import fit_sources
from pages.shared.conversation.usage import figures_of
from pages.shared.loading import Choice, Work
from pages.shared.session import hold


class Answers:
    """Those of one session: of each conversation one at most.

    One that another session of the visitor's has begun, in another tab or before a refresh, is followed here too, and
    goes on until nobody follows it any more.
    """

    def __init__(self) -> None:
        self.begun = 0  # how many
        self._works: dict[Conversation, Work] = {}
        self._others: set[Conversation] = set()

    def start(
        self,
        conversation: Conversation,
        choice: Choice,
        toolbox: Toolbox,
        options: ChatOptions,
        goes_on: bool = False,
    ) -> None:
        """Have the last question answered, or its answer continued; whatever is being written there stops."""

        def use(engine: ChatEngine, send: Callable[[Any], None], stop: threading.Event) -> None:
            write_answer(conversation, toolbox, options, engine, send, stop, goes_on)

        self._works = {other: work for other, work in self._works.items() if not work.cancel.is_set()}
        self.begun += 1
        with conversation.lock:
            conversation.settle()
            self._works[conversation] = conversation.writer = Work(choice, ChatEngine, use)
            conversation.followers.add(self)
            self._others.discard(conversation)

    def of(self, conversation: Conversation) -> Work | None:
        """What goes on in a conversation, or has ended and was not heard of yet."""
        with conversation.lock:
            writer = conversation.writer
            known = writer is self._works.get(conversation)
            if isinstance(writer, Work) and not known and writer.running:
                self._works[conversation] = writer
                conversation.followers.add(self)
                self._others.add(conversation)
        work = self._works.get(conversation)
        return work if work and not work.cancel.is_set() else None

    def is_of_another_session(self, conversation: Conversation) -> bool:
        """Whether what goes on there was begun elsewhere."""
        return conversation in self._others

    def forget(self, conversation: Conversation) -> None:
        """The end of it was heard of."""
        work = self._works.pop(conversation, None)
        self._others.discard(conversation)
        with conversation.lock:
            conversation.followers.discard(self)
            if conversation.writer is work:  # it ended before it had written anything
                conversation.writer = None

    def close(self) -> None:
        for conversation in self._works:
            with conversation.lock:
                conversation.followers.discard(self)
                if not conversation.followers:
                    conversation.settle()
        self._works, self._others = {}, set()


def get_answers() -> Answers:
    """The visitor's own."""
    return hold("answers", Answers, Answers.close)


def write_answer(
    conversation: Conversation,
    toolbox: Toolbox,
    options: ChatOptions,
    engine: ChatEngine,
    send: Callable[[Any], None],
    stop: threading.Event,
    goes_on: bool = False,
) -> None:
    """Write what comes into the conversation, and send it on, until the end or `stop`.

    With `goes_on` the last answer goes on where it was cut; else it is another one.
    """
    with conversation.lock:
        if stop.is_set():
            return
        turn, preamble = conversation.turns[-1], conversation.preamble
    fitted = fit_sources(turn, preamble, engine, options, toolbox.schemas) if turn.sources else ()
    with conversation.lock:
        if stop.is_set():
            return
        if fitted:
            conversation.give_sources(fitted)
        resumed = conversation.resume(goes_on)
        messages = conversation.messages(again=not resumed, goes_on=resumed)
        if not resumed:
            conversation.begin_answer(engine.checkpoint.name)
    try:
        for event in toolbox.answer(engine, messages, options, stop):
            with conversation.lock:
                if stop.is_set():
                    return
                _apply(event, conversation)
            send(event)
    except BaseException:  # a panic in a library is none of the ordinary ones
        with conversation.lock:
            if not stop.is_set():
                conversation.fail_answer()
        raise


def _apply(event: Event | Output | Observation, conversation: Conversation) -> None:
    """Put an event into the answer being written."""
    match event:
        case Delta():
            conversation.write(conversation.turns[-1].answers[-1].text + event.text)
        case Done():
            conversation.end_answer(event.finish_reason, figures_of(event.usage))
        case ToolCall():
            conversation.call(event.name, written(event))
        case Output():
            conversation.show(event)
        case Observation():
            conversation.observe(event.text, event.error is not None)
