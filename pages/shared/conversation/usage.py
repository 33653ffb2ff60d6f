"""What answers cost: the line under each (why it ended, its figures, who gave it), and how full the context is."""

from contextlib import suppress
from dataclasses import asdict, dataclass

import streamlit as st

from models import ChatEngine, ChatOptions, ModelError, Usage
from models.schema import Tools
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.turns import Answer
from pages.shared.language import tr
from pages.shared.markdown import readable

CURSOR = "▌"
COUNTING = 1.0  # seconds between two counts of an answer that is being written
ANSWERED = {
    "length": ("cut at the max. answer length", "达到最大回答长度，已截断"),
    "cancelled": ("stopped", "已停止"),
    "failed": ("broke off", "意外中断"),
}


def figures_of(usage: Usage) -> dict[str, float]:
    """What an answer keeps of its costs: not how much of the prompt the engine had read before, which would
    tell whoever guesses how another visitor's conversation begins that the guess is right."""
    return {name: figure for name, figure in asdict(usage).items() if name != "cached_tokens"}


def show_usage(answer: Answer) -> None:
    figures = answer.figures
    parts = [tr(*ANSWERED[answer.reason])] if answer.reason in ANSWERED else []
    if figures.get("completion_tokens"):
        tokens, speed = int(figures["completion_tokens"]), figures.get("tokens_per_second", 0.0)
        first = figures.get("seconds_to_first_token", 0.0)
        parts += [
            tr(f"{tokens} tokens", f"{tokens} token"),
            tr(f"{speed:.1f} tokens/s", f"{speed:.1f} token/秒"),
            tr(f"first after {first:.2f} s", f"首字延迟 {first:.2f} 秒"),
        ]
    if answer.checkpoint:
        parts.append(readable(answer.checkpoint))
    st.caption(" · ".join(parts))


# --- the context ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class ContextUse:
    """How full the context is, in tokens, and how many of the oldest messages no longer fit, which are not counted."""

    used: int
    length: int
    dropped: int


def measure_context(
    engine: ChatEngine, conversation: Conversation, options: ChatOptions, tools: Tools, again: bool
) -> ContextUse | None:
    """Of what the next answer would be asked with; `again`: the last one. None where the engine cannot count."""
    messages, start, dropped = conversation.messages(again), len(conversation.preamble), 0
    with suppress(ModelError):  # said again, where it matters, when the answer is asked for
        dropped = engine.dropped(messages, options, tools)
    try:
        used = engine.count_tokens([*messages[:start], *messages[start + dropped :]], tools)
    except ModelError:
        return None
    return ContextUse(used, engine.context_length, dropped)


def show_context(context: ContextUse, conversation: Conversation, writer: ChatEngine | None) -> None:
    """Draw it; where somebody writes an answer, again and again with what was written."""
    if writer is None:
        _draw_context(context, conversation)
    else:
        st.fragment(_draw_growing_context, run_every=COUNTING)(context, conversation, writer)


def _draw_growing_context(context: ContextUse, conversation: Conversation, writer: ChatEngine) -> None:
    answer = conversation.turns[-1].answer if conversation.turns else None
    with suppress(ModelError):  # the rest of the page says what it is
        written = writer.count_tokens(_text_of(answer)) if answer and _text_of(answer) else 0
        _draw_context(context, conversation, written)


def _text_of(answer: Answer) -> str:
    steps = (text for step in answer.steps for text in (step.text, step.arguments, step.observation))
    return "\n".join(filter(None, (*steps, answer.text)))


def _draw_context(context: ContextUse, conversation: Conversation, written: int = 0) -> None:
    used, length = context.used + written, context.length
    said = [tr(f"Context: {used} of {length} tokens", f"上下文：{used} / {length} token")]
    unread = conversation.turns_within(context.dropped)
    if unread:
        said.append(
            tr(
                f"the {unread} oldest questions are no longer read"
                if unread > 1
                else "the oldest question is no longer read",
                f"最早的 {unread} 个问题已不再读取",
            )
        )
    cut = {
        source.title
        for turn in conversation.turns[unread:]
        for source in turn.sources
        if source.sent is not None
    }
    if cut:
        names = readable(", ".join(sorted(cut)))
        said.append(tr(f"read in part: {names}", f"只读取了一部分：{names}"))
    st.progress(min(used / length, 1.0), text=" · ".join(said))
