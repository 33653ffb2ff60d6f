"""An answer as it comes: into the conversation, and onto the page."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

from models import Delta, Done, Event, Prefill, Queued, ToolCall
from models.interpreter import Output
from models.tools import Observation, written
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.steps import show_steps
from pages.shared.conversation.usage import CURSOR, figures_of
from pages.shared.jobs import batches
from pages.shared.language import tr
from pages.shared.markdown import readable


def follow(
    events: Callable[[threading.Event], Iterator[Event | Output | Observation]],
    conversation: Conversation,
    render: Callable[[str], str],
    steps: Any,
    placeholder: Any,
) -> None:
    """Write what comes into the conversation, and show it: `steps` and `placeholder` are empty elements.

    `events(cancel)` runs in another thread.
    """
    show = True  # the steps: some may be there from before
    for batch in batches(events, lambda: len(conversation.turns[-1].answers[-1].text)):
        for event in batch:
            show = _apply(event, conversation) or show
        answer = conversation.turns[-1].answers[-1]
        if any(isinstance(event, ToolCall) for event in batch):
            placeholder.empty()  # what was written before the call stands above it now
        if show:
            with steps.container():
                show_steps(answer)
        show = False
        if answer.text and batch:
            placeholder.markdown(render(answer.text) + CURSOR)
        elif status := _describe_status(batch):
            placeholder.caption(status)


def _apply(event: Event | Output | Observation, conversation: Conversation) -> bool:
    """Put an event into the answer being written; whether it changed a step."""
    match event:
        case Delta():
            conversation.write(conversation.turns[-1].answers[-1].text + event.text)
        case Done():
            conversation.end_answer(event.finish_reason, figures_of(event.usage))
        case ToolCall():
            conversation.call(event.name, written(event))
            return True
        case Output():
            conversation.show(event)
            return True
        case Observation():
            conversation.observe(event.text, event.error is not None)
            return True
    return False


def _describe_status(batch: list[Event | Output | Observation]) -> str:
    """What happens where no word comes."""
    last = batch[-1] if batch else None
    if isinstance(last, Queued):
        return tr(f"In the queue: {last.ahead} ahead of you", f"排队中：前面还有 {last.ahead} 个请求")
    if isinstance(last, Prefill) and last.total:
        return tr("Reading the prompt", "读取提示") + f" {last.done / last.total:.0%}"
    if isinstance(last, ToolCall):
        name = readable(last.name)
        return tr(f"{name} is running", f"正在运行 {name}")
    return ""
