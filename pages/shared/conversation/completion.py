"""The view of a base model, which does not answer but continues: one text that grows."""

from dataclasses import replace
from functools import partial

import streamlit as st

from models import ChatEngine, ChatOptions, Delta, Done
from pages.shared import loading
from pages.shared.conversation.turns import Answer
from pages.shared.conversation.usage import CURSOR, figures_of, show_usage
from pages.shared.jobs import batches, when_stopped
from pages.shared.language import tr


def show_completion(choice: loading.Choice, options: ChatOptions) -> None:
    """A base model does not answer, it continues: one text that grows."""
    family = choice.family
    loading.switch_conversation(family, f"{family}.text")
    st.info(
        tr(
            "This is a base model: it continues a text and does not answer questions.",
            "这是基座模型：它会续写文本，而不是回答问题。",
        )
        + " "
        + loading.describe_first_use(choice)
    )
    text = _edit_text(family)
    container = st.container()
    wanted = _show_buttons(family)
    loading.show_failure(family)
    if answer := st.session_state.get(f"{family}.continued"):
        show_usage(answer)
    if wanted and text.strip():
        loading.request_answer(family)
    elif wanted:
        st.info(tr("Write the beginning of a text first.", "请先写下文本的开头。"))
    with container, loading.engine_to_answer(choice, ChatEngine) as engine:
        if engine:
            _continue(family, engine, text, options)


def _edit_text(family: str) -> str:
    key = f"{family}.text"
    number = st.session_state.setdefault(f"{family}.texts", 0)  # a text written by us needs a new widget
    text: str = st.text_area(
        tr("Text to continue", "要续写的文本"),
        st.session_state.get(key, ""),
        key=f"{key}.{number}",
        height=280,
        placeholder=tr("Once upon a time", "很久很久以前"),
    )
    st.session_state[key] = text
    return text


def _show_buttons(family: str) -> bool:
    """Whether a continuation is wanted."""
    with st.container(horizontal=True):
        wanted = st.button(tr("Continue", "续写"), type="primary", key=f"{family}.go")
        before = st.session_state.get(f"{family}.before")
        if st.button(tr("Undo", "撤销"), disabled=before is None, key=f"{family}.undo_text"):
            _take_back(family)
    return wanted


def _continue(family: str, engine: ChatEngine, text: str, options: ChatOptions) -> None:
    """Stream what follows `text` into the session, piece by piece: an interruption keeps it."""
    state = st.session_state
    state[f"{family}.before"] = text
    state[f"{family}.texts"] += 1  # at once: the run that interrupts this one shows what was written
    answer = Answer(reason="cancelled", checkpoint=engine.checkpoint.name)
    state[f"{family}.continued"] = answer
    when_stopped(f"{family}.watched")
    placeholder = st.empty()
    # Any click interrupts the script.
    st.button(tr("Stop", "停止"), icon=":material/stop:", key=f"{family}.stop")
    try:
        for batch in batches(partial(engine.stream, text, options), lambda: len(state[f"{family}.text"])):
            text += "".join(event.text for event in batch if isinstance(event, Delta))
            state[f"{family}.text"] = text
            if batch:
                placeholder.code(text + CURSOR, language=None, wrap_lines=True)
                if isinstance(done := batch[-1], Done):
                    state[f"{family}.continued"] = _finished(answer, done)
    except Exception as error:  # the page stays alive, whatever a library throws
        state[f"{family}.continued"] = replace(answer, reason="failed")
        loading.fail(family, error)
    st.rerun()


def _finished(answer: Answer, done: Done) -> Answer:
    return replace(answer, reason=done.finish_reason, figures=figures_of(done.usage))


def _take_back(family: str) -> None:
    """The text as it was before the last continuation."""
    st.session_state[f"{family}.text"] = st.session_state.pop(f"{family}.before")
    st.session_state[f"{family}.texts"] += 1
    st.session_state.pop(f"{family}.continued", None)
    st.rerun()
