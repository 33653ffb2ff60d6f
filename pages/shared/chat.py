"""The chat view that every family of language models shares."""

from functools import partial
from typing import Any

import streamlit as st

from pages.shared import attachments, loading
from pages.shared.asking import Chat, ask
from pages.shared.conversation import dictation, sources
from pages.shared.conversation.answering import get_answers
from pages.shared.conversation.following import follow
from pages.shared.conversation.menu import show_menu
from pages.shared.conversation.turns import Turn
from pages.shared.conversation.usage import ContextUse, measure_context, show_context
from pages.shared.language import tr
from pages.shared.turn_view import show_turns
from pages.shared.vision import questions


def show_chat(chat: Chat) -> None:
    """Draw it, take what is asked, and answer."""
    family, conversation = chat.family, chat.conversation
    attachments.keep_unsent(chat)
    work = _take_work(chat)
    show_menu(chat.key, family, chat.choice.checkpoint, conversation)
    context = _measure_context(chat, work)
    with st.container():  # one element, however many turns: what follows keeps its place
        show_turns(chat, conversation.turns_within(context.dropped if context else 0), work)
    container = st.container()
    if work is None:
        loading.show_load(chat.choice)
    loading.show_failure(family)
    if context:
        show_context(context, conversation, chat.engine if work else None)
    if chat.sees:
        questions.show_controls(chat.key, family, conversation, partial(ask, chat), chat.draw_example)
    sources.show_waiting(family, chat.engine)
    _show_stop(chat, work)
    question = _read_question(chat, container)
    if question:
        ask(chat, question.question, question.pictures)


def _take_work(chat: Chat) -> loading.Work | None:
    """The answer that is being written. One that came to nothing is told of, once."""
    answers = get_answers()
    work = answers.of(chat.conversation)
    if work is None or work.running:
        return work
    answers.forget(chat.conversation)
    if work.failure is not None:
        loading.fail(chat.family, work.failure)
    return None


def _show_stop(chat: Chat, work: loading.Work | None) -> None:
    """Above the message field: a way to stop the answer, and what keeps it in view."""
    stop = chat.conversation.settle
    with st.bottom:
        follow(chat.key, get_answers().begun, work is not None, stop)
        if work is not None:
            st.button(tr("Stop", "停止"), icon=":material/stop:", key=f"{chat.key}.stop", on_click=stop)


def _read_question(chat: Chat, container: Any) -> Turn | None:
    """What was asked in the message field, if anything; `container` shows how reading and dictation go."""
    sent: Any = st.chat_input(
        tr("Your message", "输入消息"),
        key=f"{chat.key}.input",
        disabled=chat.toolbox is None,
        accept_file="multiple",
        accept_audio=dictation.is_possible(),
    )
    message = dictation.write_down(chat.key, chat.family, sent, container)
    return attachments.compose_question(chat, message, container) if message else None


def _measure_context(chat: Chat, work: loading.Work | None) -> ContextUse | None:
    """Once for all that is drawn of it; None where nobody can count, there is nothing to, or it is still found out how
    much of the sources is sent."""
    turns, again = chat.conversation.turns, work is not None
    if chat.engine is None or not turns or (again and not all(source.tokens for source in turns[-1].sources)):
        return None
    return measure_context(chat.engine, chat.conversation, chat.options, chat.schemas, again)
