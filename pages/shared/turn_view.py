"""The turns of a conversation: questions that can be edited, and answers with what can be done with them."""

from collections.abc import Sequence

import streamlit as st

import models
from models.pictures.boxes import without_tags
from pages.shared import loading
from pages.shared.asking import Chat, answer, ask
from pages.shared.conversation import sources
from pages.shared.conversation.answering import get_answers
from pages.shared.conversation.copying import offer_copy
from pages.shared.conversation.steps import ask_for_result, show_steps
from pages.shared.conversation.streaming import show_answer, show_growing
from pages.shared.conversation.turns import Turn
from pages.shared.conversation.usage import show_usage
from pages.shared.language import say, tr
from pages.shared.markdown import typed
from pages.shared.vision.pictures import pictures_of, show_boxes, show_pictures, show_region
from pages.shared.vision.undrawn import show_remark


def show_turns(chat: Chat, unsent: int, work: loading.Work | None) -> None:
    """All turns, with a line under the oldest `unsent` ones, and the last one's answer as the `work` writes it."""
    turns = chat.conversation.turns
    if not turns and chat.toolbox is not None:
        begin = tr("Add a picture and ask about it. ", "添加图片并提问。") if chat.sees else ""
        begin = begin or tr("Write a message to begin. ", "输入消息即可开始。")
        st.info(begin + loading.describe_first_use(chat.choice))
        _offer_examples(chat)
    for index, turn in enumerate(turns):
        if unsent and index == unsent:
            st.caption(
                ":material/vertical_align_top: "
                + tr("no longer sent: the context is full", "以上内容已超出上下文，不再发送")
            )
        if work and index == len(turns) - 1:
            _show_question_of(chat, index, turn)
            _show_coming_answer(chat, turn, work)
        else:
            _show_turn(chat, index, turn)


def _offer_examples(chat: Chat) -> None:
    """Questions to begin with, at one click."""
    with st.container(horizontal=True):
        for number, example in enumerate(chat.examples):
            if st.button(say(example), key=f"{chat.key}.example.{number}"):
                ask(chat, say(example))


def _show_question_of(chat: Chat, index: int, turn: Turn) -> None:
    if turn.asked:
        with st.chat_message("user"):
            _show_editable_question(chat, index, turn)


def _show_coming_answer(chat: Chat, turn: Turn, work: loading.Work) -> None:
    conversation = chat.conversation

    def draw() -> None:
        # Another tab may have changed it. And the sources are others once it is known how much of them is sent.
        if not conversation.turns or conversation.turns[-1].sources is not turn.sources:
            st.rerun()
        show_answer(work, conversation, chat.readable)

    def length() -> int:
        return sum(len(written.text) for last in conversation.turns[-1:] for written in last.answers[-1:])

    with st.chat_message("assistant"):
        if get_answers().is_of_another_session(conversation):
            st.caption(
                tr(
                    "Being written: asked in another tab, or before this page was loaded anew.",
                    "正在生成：在另一个标签页中、或在刷新本页之前提出。",
                )
            )
        show_remark(chat.choice.checkpoint, pictures_of(conversation.turns))
        show_growing(work, length, draw)


def _show_turn(chat: Chat, index: int, turn: Turn) -> None:
    _show_question_of(chat, index, turn)
    last = index == len(chat.conversation.turns) - 1
    if turn.answer or last:
        with st.chat_message("assistant"):
            if turn.answer:
                answered = models.catalog.CHECKPOINTS.get(turn.answer.checkpoint)
                show_remark(answered, pictures_of(chat.conversation.turns[: index + 1]))
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
    last = chat.conversation.turns[-1].answers[-1]
    if last.waiting is None:
        return
    result = ask_for_result(chat.key, len(last.steps), last.waiting)
    if result is not None:
        chat.conversation.observe(result)
        answer(chat)


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
                answer(chat)
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
            answer(chat)
        if index == len(chat.conversation.turns) - 1:
            _offer_to_go_on(chat)
        if turn.answer:
            offer_copy(f"{chat.key}.copy.{index}", turn.answer.text)
            with st.popover(
                "",
                icon=":material/notes:",
                type="tertiary",
                help=tr("The text as the model wrote it", "模型的原始文本"),
            ):
                st.code(turn.answer.text, language=None, wrap_lines=True)
        if st.button(
            "",
            icon=":material/delete:",
            key=f"{chat.key}.delete.{index}",
            type="tertiary",
            help=tr(
                "Delete this question and its answers; Undo brings them back", "删除此问题及其回答，可撤销"
            ),
        ):
            chat.conversation.delete(index)
            st.rerun()


def _offer_to_go_on(chat: Chat) -> None:
    """A way to have the last answer continued, where it was cut."""
    if chat.toolbox is None or not (chat.conversation.can_go_on and chat.continues):
        return
    if st.button(
        tr("Continue", "继续"),
        icon=":material/play_arrow:",
        key=f"{chat.key}.go_on",
        type="tertiary",
        help=tr("Go on where this answer was cut", "从截断处继续回答"),
    ):
        answer(chat, goes_on=True)
