"""The view of a base model, which does not answer but continues: one text that grows."""

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from models import ChatEngine, ChatOptions, Delta, Done
from pages.shared import loading
from pages.shared.conversation.streaming import show_growing
from pages.shared.conversation.turns import Answer
from pages.shared.conversation.usage import CURSOR, figures_of, show_usage
from pages.shared.language import sentence, tr
from pages.shared.markdown import readable
from pages.shared.session import hold
from pages.shared.settings import get_settings


class Draft:
    """A text, what it was before it was continued, and the work that continues it, whichever page is looked at."""

    def __init__(self, text: str = "", keep: Callable[[str], Any] = lambda text: None) -> None:
        self._text = text
        self._keep = keep  # is told of every change
        self.before: str | None = None
        self.continued: Answer | None = None  # its figures
        self.number = 0  # a text written by us needs a new widget
        self.work: loading.Work | None = None

    @property
    def text(self) -> str:
        return self._text

    @text.setter
    def text(self, text: str) -> None:
        self._text = text
        self._keep(text)

    def go_on(self, choice: loading.Choice, options: ChatOptions) -> None:
        """Write what follows the text."""

        def use(engine: ChatEngine, send: Callable[[Any], None], stop: threading.Event) -> None:
            self.write(engine, options, stop)

        self.before, self.continued = self.text, None
        self.work = loading.Work(choice, ChatEngine, use)

    def write(self, engine: ChatEngine, options: ChatOptions, stop: threading.Event) -> None:
        """In another thread: write piece by piece what follows the text, until `stop`."""
        self.continued = answer = Answer(reason="cancelled", checkpoint=engine.checkpoint.name)
        try:
            for event in engine.stream(self.text, options, stop):
                if stop.is_set():  # from now on the text is the visitor's again
                    return
                if isinstance(event, Delta):
                    self.text += event.text
                elif isinstance(event, Done):
                    self.continued = replace(
                        answer, reason=event.finish_reason, figures=figures_of(event.usage)
                    )
        except BaseException:  # a panic in a library is none of the ordinary ones
            self.continued = replace(answer, reason="failed")
            raise

    def stop(self) -> None:
        """What was written stays."""
        if self.work is not None:
            self.work.cancel.set()
            self.work = None
            self.number += 1

    def undo(self) -> None:
        """The text as it was before the last continuation."""
        self.stop()
        if self.before is not None:
            self.text, self.before, self.continued = self.before, None, None
            self.number += 1


def show_completion(choice: loading.Choice, options: ChatOptions, place: Any) -> None:
    """A base model does not answer, it continues: one text that grows. If it is not kept, `place` says why."""
    family = choice.family
    if failure := get_settings().failure:
        place.caption(f":material/info: {readable(sentence(failure))}")
    draft = hold(f"{family}.draft", partial(_begin_draft, family), Draft.stop)
    _hear_of_the_end(family, draft)
    st.info(
        tr(
            "This is a base model: it continues a text and does not answer questions.",
            "这是基座模型：它会续写文本，而不是回答问题。",
        )
        + " "
        + loading.describe_first_use(choice)
    )
    if draft.work is not None:
        show_growing(draft.work, lambda: len(draft.text), partial(_show_text, draft))
    else:
        _edit_text(family, draft)
    wanted = _show_buttons(family, draft)
    if draft.work is None:
        loading.show_load(choice)
    loading.show_failure(family)
    if draft.continued:
        show_usage(draft.continued)
    if wanted and not draft.text.strip():
        st.info(tr("Write the beginning of a text first.", "请先写下文本的开头。"))
    elif wanted:
        if loading.may_begin(choice):
            draft.go_on(choice, options)
        st.rerun()


def _begin_draft(family: str) -> Draft:
    """With the text as it was left."""
    settings, key = get_settings(), f"{family}.draft"
    return Draft(settings.get_text(key), lambda text: settings.note(key, text, ""))


def _hear_of_the_end(family: str, draft: Draft) -> None:
    if draft.work is None or draft.work.running:
        return
    failure = draft.work.failure
    draft.stop()
    if failure is not None:
        loading.fail(family, failure)


def _show_text(draft: Draft) -> None:
    st.code(draft.text + CURSOR, language=None, wrap_lines=True)


def _edit_text(family: str, draft: Draft) -> None:
    draft.text = st.text_area(
        tr("Text to continue", "要续写的文本"),
        draft.text,
        key=f"{family}.text.{draft.number}",
        height=280,
        placeholder=tr("Once upon a time", "很久很久以前"),
    )


def _show_buttons(family: str, draft: Draft) -> bool:
    """Whether a continuation is wanted."""
    with st.container(horizontal=True):
        if draft.work is not None:
            st.button(tr("Stop", "停止"), icon=":material/stop:", key=f"{family}.stop", on_click=draft.stop)
            return False
        wanted = st.button(tr("Continue", "续写"), type="primary", key=f"{family}.go")
        st.button(
            tr("Undo", "撤销"),
            disabled=draft.before is None,
            key=f"{family}.undo_text",
            on_click=draft.undo,
        )
    return wanted
