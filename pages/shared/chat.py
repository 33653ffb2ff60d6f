"""The chat view that every family of language models shares."""

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

import streamlit as st

from models import (
    BadInput,
    ChatEngine,
    ChatOptions,
    Checkpoint,
    Delta,
    Done,
    Event,
    ModelError,
    Prefill,
    Queued,
)
from pages.shared import frame, loading
from pages.shared.completion import completion
from pages.shared.conversation import Conversation, Turn
from pages.shared.figures import CURSOR, show_figures
from pages.shared.jobs import Job, when_stopped
from pages.shared.markdown import readable
from pages.shared.words import remember, sentence, tr


def chat_page(family: str, intro: str, about: Callable[[Checkpoint], None] | None = None) -> None:
    """A page of one family: a chat, or for a base model a text to be continued.

    `about` draws what there is to say of the chosen checkpoint.
    """
    frame.page(family, intro)
    choice, values = frame.sidebar(family, fields(ChatOptions))
    try:
        options = ChatOptions(**values)
    except BadInput as error:
        st.error(sentence(error))
        return
    if choice.checkpoint and about:
        about(choice.checkpoint)
    if choice.checkpoint and choice.checkpoint.kind == "completion":
        completion(choice, options)
    else:
        _chat(choice, options)


# --- chat --------------------------------------------------------------------------------------


def _conversation(family: str) -> Conversation:
    key = f"{family}.conversation"
    if key not in st.session_state:
        st.session_state[key] = Conversation()
    found: Conversation = st.session_state[key]
    return found


def _chat(choice: loading.Choice, options: ChatOptions) -> None:
    family = choice.family
    conversation = _conversation(family)
    conversation.settle()
    _tools(choice, conversation)
    engine = choice.engine if isinstance(choice.engine, ChatEngine) else None
    dropped = _dropped(engine, conversation, options)
    with st.container():  # one element, however many turns: what follows keeps its place
        _turns(choice, conversation, conversation.turns_within(dropped))
    room = st.container()
    loading.show_failure(family)
    _context_meter(engine, conversation)
    # Its Stop works for the run that a message starts; other runs bring a Stop of their own.
    typed = st.chat_input(tr("Your message", "输入消息"), submit_mode="stop", key=f"{family}.input")
    with room:
        if typed and typed.strip():
            conversation.ask(typed)
            with st.chat_message("user"):
                st.markdown(readable(typed))
            loading.ask(family)
        if ready := loading.engine_to_answer(choice, ChatEngine):
            _answer(family, ready, conversation, options, own_stop=not typed)


def _turns(choice: loading.Choice, conversation: Conversation, unsent: int) -> None:
    """All turns, with a line under the oldest `unsent` ones."""
    if not conversation.turns:
        st.info(tr("Write a message to begin. ", "输入消息即可开始。") + loading.first_time(choice))
    for index, turn in enumerate(conversation.turns):
        if unsent and index == unsent:
            st.caption(
                ":material/vertical_align_top: "
                + tr("no longer sent: the context is full", "以上内容已超出上下文，不再发送")
            )
        _turn(choice, conversation, index, turn)


def _dropped(engine: ChatEngine | None, conversation: Conversation, options: ChatOptions) -> int:
    if engine is None or not conversation.turns:
        return 0
    try:
        return engine.dropped(conversation.messages(), options)
    except ModelError:  # said again, where it matters, when the answer is asked for
        return 0


def _context_meter(engine: ChatEngine | None, conversation: Conversation) -> None:
    if engine is None or not conversation.turns:
        return
    try:
        used = engine.count_tokens(conversation.messages())
    except ModelError:
        return
    share = min(used / engine.context_length, 1.0)
    st.progress(
        share,
        text=tr(
            f"Context: {used} of {engine.context_length} tokens",
            f"上下文：{used} / {engine.context_length} token",
        ),
    )


# --- one turn ----------------------------------------------------------------------------------


def _turn(choice: loading.Choice, conversation: Conversation, index: int, turn: Turn) -> None:
    with st.chat_message("user"):
        _question(choice.family, conversation, index, turn)
    last = index == len(conversation.turns) - 1
    if turn.answer or (last and not loading.asked(choice.family)):
        with st.chat_message("assistant"):
            if turn.answer:
                st.markdown(readable(turn.answer.text) or tr("*no text*", "*无内容*"))
                show_figures(turn.answer)
            _actions(choice.family, conversation, index, turn)


def _question(family: str, conversation: Conversation, index: int, turn: Turn) -> None:
    if conversation.editing == index:
        _edit(family, conversation, index, turn)
        return
    text, pen = st.columns([12, 1])
    text.markdown(readable(turn.question))
    if pen.button(
        "",
        icon=":material/edit:",
        key=f"{family}.edit.{index}",
        type="tertiary",
        help=tr("Edit and resend", "编辑并重新发送"),
    ):
        conversation.editing = index
        st.rerun()


def _edit(family: str, conversation: Conversation, index: int, turn: Turn) -> None:
    with st.form(f"{family}.edit.form", border=False):
        text = st.text_area(tr("Your message", "输入消息"), turn.question)
        left, right = st.columns(2)
        if left.form_submit_button(tr("Send", "发送"), type="primary"):
            if text.strip():
                conversation.edit(index, text)
                loading.ask(family)
                st.rerun()
            st.info(tr("Write a message first.", "请先输入消息。"))
        if right.form_submit_button(tr("Cancel", "取消")):
            conversation.editing = None
            st.rerun()


def _actions(family: str, conversation: Conversation, index: int, turn: Turn) -> None:
    """Under a question: its answers to choose from, the raw text, and, for the last one, another try."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if len(turn.answers) > 1:
            shown = turn.chosen % len(turn.answers)
            for step, sign in ((-1, ":material/chevron_left:"), (1, ":material/chevron_right:")):
                beyond = not 0 <= shown + step < len(turn.answers)
                if st.button(sign, key=f"{family}.choose.{index}.{step}", type="tertiary", disabled=beyond):
                    conversation.choose(index, shown + step)
                    st.rerun()
            st.caption(f"{shown + 1} / {len(turn.answers)}", width="content")
        if index == len(conversation.turns) - 1 and st.button(
            "",
            icon=":material/refresh:",
            key=f"{family}.again",
            type="tertiary",
            help=tr("Regenerate; this answer is kept", "重新生成，保留此回答")
            if turn.answer
            else tr("Ask again", "重新提问"),
        ):
            loading.ask(family)
            st.rerun()
        if turn.answer:
            with st.popover(
                "",
                icon=":material/notes:",
                type="tertiary",
                help=tr("The text as the model wrote it", "模型的原始文本"),
            ):
                st.code(turn.answer.text, language=None, wrap_lines=True)


# --- the answer as it comes ----------------------------------------------------------------------


def _answer(
    family: str, engine: ChatEngine, conversation: Conversation, options: ChatOptions, own_stop: bool
) -> None:
    """Stream the answer to the last question into the conversation.

    Whatever interrupts this (Stop, a click, another page) leaves what was written in place.
    """
    messages = conversation.messages(again=True)
    conversation.begin_answer(engine.checkpoint.name)
    when_stopped(f"{family}.watched", conversation.settle)
    job = Job(lambda cancel: engine.stream(messages, options, cancel))
    with st.chat_message("assistant"):
        place = st.empty()
        if own_stop:  # any click interrupts the script
            st.button(tr("Stop", "停止"), icon=":material/stop:", key=f"{family}.stop")
        try:
            _follow(job, conversation, place)
        except Exception as error:  # the page stays alive, whatever a library throws
            conversation.fail_answer()
            loading.fail(family, error)
    st.rerun()


def _follow(job: Job[Event], conversation: Conversation, place: Any) -> None:
    text = ""
    for batch in job.batches():
        for event in batch:
            if isinstance(event, Delta):
                text += event.text
            elif isinstance(event, Done):
                conversation.end_answer(event.finish_reason, asdict(event.usage))
        conversation.write(text)
        job.shown = len(text)
        if text and batch:
            place.markdown(readable(text) + CURSOR)
        elif status := _status(batch):
            place.caption(status)


def _status(batch: list[Event]) -> str:
    """What happens before the first word."""
    last = batch[-1] if batch else None
    if isinstance(last, Queued):
        return tr(f"In the queue: {last.ahead} ahead of you", f"排队中：前面还有 {last.ahead} 个请求")
    if isinstance(last, Prefill) and last.total:
        return tr("Reading the prompt", "读取提示") + f" {last.done / last.total:.0%}"
    return ""


# --- tools of the conversation -------------------------------------------------------------------


def _tools(choice: loading.Choice, conversation: Conversation) -> None:
    family = choice.family
    with st.expander(tr("System prompt and conversation", "系统提示词与会话")):
        number = st.session_state.setdefault(f"{family}.imports", 0)  # a new key empties the widgets
        conversation.system = st.text_area(
            tr("System prompt", "系统提示词"),
            key=remember(f"set.{family}.system.{number}", conversation.system),
            placeholder=choice.checkpoint.system_prompt if choice.checkpoint else "",
            help=tr("Stays when old turns no longer fit.", "旧对话超出上下文时仍会保留。"),
        )
        with st.container(horizontal=True):
            st.download_button(
                tr("Export", "导出"),
                conversation.to_json(),
                f"{family}.json",
                "application/json",
                on_click="ignore",
                disabled=not conversation.turns,
            )
            if st.button(tr("Undo", "撤销"), disabled=not conversation.can_undo, key=f"{family}.undo"):
                conversation.undo()
                _rerun(family)
            if st.button(tr("Clear", "清空"), disabled=not conversation.turns, key=f"{family}.clear"):
                conversation.clear()
                _rerun(family)
        _import(family, conversation, number)


def _import(family: str, conversation: Conversation, number: int) -> None:
    file = st.file_uploader(
        tr("Import a conversation (JSON)", "导入会话（JSON）"), type="json", key=f"{family}.import.{number}"
    )
    if file is None:
        return
    try:
        imported = Conversation.from_json(file.getvalue())
    except ValueError:
        st.error(
            tr(
                f"{file.name} is not a conversation: choose a file that was exported here, or a JSON list of messages "
                "with role and content.",
                f"{file.name} 不是会话文件：请选择从这里导出的文件，或由 role 与 content 组成的 JSON 消息列表。",
            )
        )
        return
    st.session_state[f"{family}.imports"] = number + 1
    conversation.take_over(imported)
    _rerun(family)


def _rerun(family: str) -> None:
    """Draw another conversation: what was asked for in the one before, or failed there, is past."""
    loading.withdraw(family)
    loading.forget_failure(family)
    st.rerun()
