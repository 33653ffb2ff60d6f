"""The chat view that every family of language models shares."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import streamlit as st

from models import (
    ChatEngine,
    ChatOptions,
    ModelError,
)
from models.pictures.boxes import without_tags
from models.schema import Tools
from models.tools import Toolbox
from pages.shared import loading
from pages.shared.conversation import dictation, sources
from pages.shared.conversation.answering import get_answers
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.following import follow
from pages.shared.conversation.menu import show_menu
from pages.shared.conversation.steps import ask_for_result, show_steps
from pages.shared.conversation.streaming import show_answer, show_growing
from pages.shared.conversation.turns import PictureFile, Turn
from pages.shared.conversation.usage import show_usage
from pages.shared.language import tr
from pages.shared.markdown import readable, typed
from pages.shared.vision import questions
from pages.shared.vision.pictures import TYPES, pictures_of, show_boxes, show_pictures, show_region


@dataclass(frozen=True)
class Chat:
    """What the page shows: a conversation, and all that it is answered with.

    `key` begins the keys of its widgets. Without a `toolbox` nothing can be asked. `sees`: with pictures,
    of which `draw_example` draws one to try.
    """

    key: str
    choice: loading.Choice
    options: ChatOptions
    conversation: Conversation
    toolbox: Toolbox | None
    sees: bool = False
    draw_example: Callable[[], bytes] | None = None

    @property
    def family(self) -> str:
        return self.choice.family

    @property
    def engine(self) -> ChatEngine | None:
        return self.choice.engine if isinstance(self.choice.engine, ChatEngine) else None

    @property
    def schemas(self) -> Tools:
        """Of the tools that an answer may call."""
        return self.toolbox.schemas if self.toolbox else ()

    def readable(self, text: str) -> str:
        """What is shown of a text: boxes are drawn instead."""
        return readable(without_tags(text) if self.sees else text)


@dataclass(frozen=True)
class ContextUse:
    """How full the context is, in tokens, and how many of the oldest messages no longer fit."""

    used: int
    length: int
    dropped: int


def show_chat(chat: Chat) -> None:
    """Draw it, take what is asked, and answer."""
    family, conversation = chat.family, chat.conversation
    _keep_unsent(chat)
    work = _take_work(chat)
    show_menu(chat.key, family, chat.choice.checkpoint, conversation)
    context = _measure_context(chat)
    with st.container():  # one element, however many turns: what follows keeps its place
        _show_turns(chat, conversation.turns_within(context.dropped if context else 0), work)
    container = st.container()
    if work is None:
        loading.show_load(chat.choice)
    loading.show_failure(family)
    if context:
        _show_context(context)
    if chat.sees:
        questions.show_controls(chat.key, family, conversation, partial(_ask, chat), chat.draw_example)
    sources.show_waiting(family)
    _show_stop(chat, work)
    question = _read_question(chat, container)
    if question:
        _ask(chat, question.question, question.pictures)


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
            st.button(
                tr("Stop", "停止"), icon=":material/stop:", key=f"{chat.key}.stop", on_click=stop, help="Esc"
            )


def _ask(chat: Chat, text: str, pictures: Sequence[PictureFile] = ()) -> NoReturn:
    chat.conversation.ask(text, pictures, sources.take(chat.family))
    _answer(chat)


def _answer(chat: Chat) -> NoReturn:
    """Have the last question answered."""
    if chat.toolbox is not None and loading.may_begin(chat.choice):
        get_answers().start(chat.conversation, chat.choice, chat.toolbox, chat.options)
    st.rerun()


def _read_question(chat: Chat, container: Any) -> Turn | None:
    """What was asked in the message field, if anything; `container` shows how dictation goes."""
    sent: Any = st.chat_input(
        tr("Your message", "输入消息"),
        key=f"{chat.key}.input",
        disabled=chat.toolbox is None,
        accept_file="multiple" if chat.sees else False,
        file_type=TYPES if chat.sees else None,
        accept_audio=dictation.is_possible(),
    )
    message = dictation.write_down(chat.key, chat.family, sent, container)
    if message and chat.sees:
        return questions.compose_question(chat.key, chat.family, chat.conversation, message)
    return Turn(message.text) if message and message.text.strip() else None


def _keep_unsent(chat: Chat) -> None:
    """What was typed beside a recording that came to nothing is a question without an answer."""
    unsent = dictation.take_unsent(chat.key)
    if unsent is None:
        return
    questions.keep_files(chat.key, unsent)
    if unsent.text.strip():
        pictures = questions.take_pictures(chat.key)
        chat.conversation.ask(unsent.text, pictures, sources.take(chat.family))


def _show_turns(chat: Chat, unsent: int, work: loading.Work | None) -> None:
    """All turns, with a line under the oldest `unsent` ones, and the last one's answer as the `work` writes it."""
    turns = chat.conversation.turns
    if not turns and chat.toolbox:
        begin = tr("Add a picture and ask about it. ", "添加图片并提问。") if chat.sees else ""
        begin = begin or tr("Write a message to begin. ", "输入消息即可开始。")
        st.info(begin + loading.describe_first_use(chat.choice))
    for index, turn in enumerate(turns):
        if unsent and index == unsent:
            st.caption(
                ":material/vertical_align_top: "
                + tr("no longer sent: the context is full", "以上内容已超出上下文，不再发送")
            )
        if work and index == len(turns) - 1:
            _show_question_of(chat, index, turn)
            _show_coming_answer(chat, work)
        else:
            _show_turn(chat, index, turn)


def _measure_context(chat: Chat) -> ContextUse | None:
    """Counted once for all that is drawn of it; None where nobody can count, or there is nothing to."""
    if chat.engine is None or not chat.conversation.turns:
        return None
    messages, dropped = chat.conversation.messages(), 0
    with suppress(ModelError):  # said again, where it matters, when the answer is asked for
        dropped = chat.engine.dropped(messages, chat.options, chat.schemas)
    try:
        return ContextUse(
            chat.engine.count_tokens(messages, chat.schemas), chat.engine.context_length, dropped
        )
    except ModelError:
        return None


def _show_context(context: ContextUse) -> None:
    used, length = context.used, context.length
    st.progress(
        min(used / length, 1.0),
        text=tr(f"Context: {used} of {length} tokens", f"上下文：{used} / {length} token"),
    )


# --- one turn ----------------------------------------------------------------------------------


def _show_question_of(chat: Chat, index: int, turn: Turn) -> None:
    if turn.asked:
        with st.chat_message("user"):
            _show_editable_question(chat, index, turn)


def _show_coming_answer(chat: Chat, work: loading.Work) -> None:
    conversation = chat.conversation

    def length() -> int:
        return sum(len(answer.text) for answer in conversation.turns[-1].answers[-1:])

    with st.chat_message("assistant"):
        show_growing(work, length, partial(show_answer, work, conversation, chat.readable))


def _show_turn(chat: Chat, index: int, turn: Turn) -> None:
    _show_question_of(chat, index, turn)
    last = index == len(chat.conversation.turns) - 1
    if turn.answer or last:
        with st.chat_message("assistant"):
            if turn.answer:
                show_steps(turn.answer)
                if turn.answer.text or not turn.answer.steps:
                    st.markdown(chat.readable(turn.answer.text) or tr("*no text*", "*无内容*"))
                show_boxes(f"{chat.key}.boxes", chat.conversation.turns[: index + 1])
                show_usage(turn.answer)
            if last and turn.answer is not None and turn.answer is turn.answers[-1]:
                _ask_for_result(chat)
            _show_actions(chat, index, turn)


def _ask_for_result(chat: Chat) -> None:
    """What a person types where the last answer waits for it."""
    answer = chat.conversation.turns[-1].answers[-1]
    if answer.waiting is None:
        return
    result = ask_for_result(chat.key, len(answer.steps), answer.waiting)
    if result is not None:
        chat.conversation.observe(result)
        _answer(chat)


def _show_editable_question(chat: Chat, index: int, turn: Turn) -> None:
    if chat.conversation.editing == index:
        _edit_question(chat, index, turn)
        return
    text, pen = st.columns([12, 1])
    with text:
        _show_question(chat, chat.conversation.turns[: index + 1])
    if pen.button(
        "",
        icon=":material/edit:",
        key=f"{chat.key}.edit.{index}",
        type="tertiary",
        help=tr("Edit and resend", "编辑并重新发送"),
    ):
        chat.conversation.editing = index
        st.rerun()


def _show_question(chat: Chat, turns: Sequence[Turn]) -> None:
    """The last question."""
    show_pictures(turns[-1].pictures, before=len(pictures_of(turns[:-1])))
    sources.show_sources(turns[-1].sources)
    with st.container(key=f"typed-{chat.key}-{len(turns)}"):
        st.markdown(typed(without_tags(turns[-1].question) if chat.sees else turns[-1].question))
    if chat.sees:
        show_region(turns)


def _edit_question(chat: Chat, index: int, turn: Turn) -> None:
    with st.form(f"{chat.key}.edit.form", border=False):
        text = st.text_area(tr("Your message", "输入消息"), turn.question)
        left, right = st.columns(2)
        if left.form_submit_button(tr("Send", "发送"), type="primary"):
            if text.strip():
                chat.conversation.edit(index, text)
                _answer(chat)
            st.info(tr("Write a message first.", "请先输入消息。"))
        if right.form_submit_button(tr("Cancel", "取消")):
            chat.conversation.editing = None
            st.rerun()


def _show_actions(chat: Chat, index: int, turn: Turn) -> None:
    """Under a question: its answers to choose from, the raw text, and, for the last one, another try."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if len(turn.answers) > 1:
            shown = turn.chosen % len(turn.answers)
            for step, sign in ((-1, ":material/chevron_left:"), (1, ":material/chevron_right:")):
                beyond = not 0 <= shown + step < len(turn.answers)
                key = f"{chat.key}.choose.{index}.{step}"
                if st.button(sign, key=key, type="tertiary", disabled=beyond):
                    chat.conversation.choose(index, shown + step)
                    st.rerun()
            st.caption(f"{shown + 1} / {len(turn.answers)}", width="content")
        if index == len(chat.conversation.turns) - 1 and st.button(
            "",
            icon=":material/refresh:",
            key=f"{chat.key}.again",
            type="tertiary",
            help=tr("Regenerate; this answer is kept", "重新生成，保留此回答")
            if turn.answer
            else tr("Ask again", "重新提问"),
        ):
            _answer(chat)
        if turn.answer:
            with st.popover(
                "",
                icon=":material/notes:",
                type="tertiary",
                help=tr("The text as the model wrote it", "模型的原始文本"),
            ):
                st.code(turn.answer.text, language=None, wrap_lines=True)
