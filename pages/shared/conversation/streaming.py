"""An answer as it comes: drawn again and again, until the page draws it as a whole."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from models import Prefill, Queued, ToolCall
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.steps import show_steps
from pages.shared.conversation.usage import CURSOR
from pages.shared.language import tr
from pages.shared.loading import Work, show_progress
from pages.shared.markdown import readable

INTERVAL = 0.2  # seconds between two looks at a short answer
CHARACTERS_PER_SECOND = 60_000  # Streamlit re-sends the whole text each time: bound the bytes


def show_growing(work: Work, length: Callable[[], int], draw: Callable[[], None]) -> None:
    """What some work writes, by `draw`, every INTERVAL seconds and less often as its `length` grows.

    Once its model is loaded, and once it has ended, the whole page is drawn, and so it is to slow down.
    """
    pause, loaded = _pause(length()), work.loaded

    def look() -> None:
        if not work.running or work.loaded != loaded or _pause(length()) > 2 * pause:
            st.rerun()
        if work.loaded:
            draw()
        else:
            show_progress(work.name, work.latest)

    st.fragment(look, run_every=pause)()


def _pause(characters: int) -> float:
    return max(INTERVAL, characters / CHARACTERS_PER_SECOND)


def show_answer(work: Work, conversation: Conversation, render: Callable[[str], str]) -> None:
    """The answer that is being written, or what happens where no word comes."""
    answer = conversation.turns[-1].answers[-1] if conversation.turns[-1].answers else None
    if answer is None or answer.reason:  # not begun yet, or just ended
        return
    show_steps(answer)
    if answer.text:
        st.markdown(render(answer.text) + CURSOR)
    elif status := _describe_status(work.latest):
        st.caption(status)


def _describe_status(latest: Any) -> str:
    match latest:
        case Queued():
            return tr(f"In the queue: {latest.ahead} ahead of you", f"排队中：前面还有 {latest.ahead} 个请求")
        case Prefill() if latest.total:
            return tr("Reading the prompt", "读取提示") + f" {latest.done / latest.total:.0%}"
        case ToolCall():
            name = readable(latest.name)
            return tr(f"{name} is running", f"正在运行 {name}")
    return ""
