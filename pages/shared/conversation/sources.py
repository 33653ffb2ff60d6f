"""A text handed over to a chat page: it waits there for a question, and stays with it as its source."""

from collections.abc import Sequence
from contextlib import suppress

import streamlit as st

from models import ChatEngine, ModelError
from pages.shared import frame
from pages.shared.conversation.turns import Source
from pages.shared.language import tr
from pages.shared.markdown import readable

LONG, HEIGHT = 1500, 300  # characters of a source that scrolls when it is open, and pixels of it


def show_send_to_chat(name: str, text: str) -> None:
    """Draw the way from the transcript of the recording `name` to the chat pages."""
    with st.popover(tr("Ask about it", "就此提问"), icon=":material/forum:", disabled=not text.strip()):
        st.caption(
            tr(
                "Goes with your next question on that page, and can be removed there.",
                "将随您在该页面的下一个问题一同发送，也可在那里移除。",
            )
        )
        for page in frame.PAGES:
            family = page.family
            if frame.KINDS.get(family) == "speech":
                continue
            if st.button(page.title, icon=page.icon, key=f"send.{family}", width="stretch"):
                add(family, Source(tr(f"Transcript of {name}", f"{name} 的转写"), text.strip()))
                st.switch_page(page.file)


def _waiting_sources(family: str) -> list[Source]:
    sources: list[Source] = st.session_state.setdefault(f"{family}.sources", [])
    return sources


def add(family: str, source: Source) -> None:
    """Let it wait for the next question."""
    _waiting_sources(family).append(source)


def take(family: str) -> list[Source]:
    """The sources of the question that is asked now."""
    sources: list[Source] = st.session_state.pop(f"{family}.sources", [])
    return sources


def show_waiting(family: str, engine: ChatEngine | None = None) -> None:
    """What goes with the next question, each with a way to remove it, and with its tokens once somebody can count."""
    waiting = _waiting_sources(family)
    if not waiting:
        return
    with st.container(horizontal=True):
        for number, source in enumerate(waiting):
            if st.button(
                f"{readable(source.title)} :material/close:",
                icon=":material/description:",
                key=f"{family}.source.{number}",
                help=tr("Goes with your next question; click to remove it", "将随下一个问题发送；点击移除"),
            ):
                waiting.pop(number)
                st.rerun()
    if engine:
        with suppress(ModelError):  # said when it is asked for an answer
            tokens = sum(engine.count_tokens(source.quoted) for source in waiting)
            length = engine.context_length
            st.caption(
                tr(
                    f"{tokens} tokens; the context holds {length}. What does not fit is not sent, and marked.",
                    f"共 {tokens} token，上下文为 {length}。放不下的部分不会发送，并会标明。",
                )
                if tokens > length
                else tr(f"{tokens} tokens", f"{tokens} token")
            )


def explain_waiting(family: str) -> None:
    """Where nothing can be asked: what to do about what waits."""
    for source in _waiting_sources(family):
        title = readable(source.title)
        st.info(
            tr(
                f"{title} waits for a question: choose a chat model in the sidebar.",
                f"{title} 正等待提问：请在侧边栏选择对话模型。",
            ),
            icon=":material/description:",
        )


def show_sources(sources: Sequence[Source]) -> None:
    """What a question is about, folded away, and below it how much of it is sent."""
    for source in sources:
        with st.expander(readable(source.title), icon=":material/description:"):
            st.container(height=HEIGHT if len(source.read) > LONG else "content").text(source.read)
        if source.tokens:
            st.caption(_describe(source))


def _describe(source: Source) -> str:
    tokens = tr(f"{source.tokens} tokens", f"{source.tokens} token")
    if source.sent is None:
        return tokens
    share = source.sent / len(source.text)
    return f"{tokens} · :material/content_cut: " + tr(
        f"cut where the context ends: only the first {share:.0%} of it is sent",
        f"已在上下文容量处截断：只发送前 {share:.0%}",
    )
