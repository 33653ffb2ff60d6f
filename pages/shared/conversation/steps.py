"""The calls on the way to an answer, each with what came of it."""

from itertools import islice, zip_longest

import streamlit as st

from models.interpreter import Output
from models.tools import written_arguments
from pages.shared.conversation.turns import Answer, Step
from pages.shared.language import tr
from pages.shared.markdown import readable

LONGEST = 60  # characters of a call in its heading
ROWS, COLUMNS = 1000, 100  # of a table: a browser would not survive all that code can make


def show_steps(answer: Answer) -> None:
    for step in answer.steps:
        if step.text:
            st.markdown(readable(step.text))
        code = find_code(step)
        with st.expander(_heading(step, code), expanded=code is not None, icon=_icon(step)):
            st.code(code or step.arguments, language="python" if code else "json", wrap_lines=True)
            if code is None and step.observation is not None:
                st.code(step.observation, language=None, wrap_lines=True)
            _show_text(step)
        for output in step.shown:
            if output.image:
                st.image(output.image)
            elif output.rows:
                st.dataframe(_columns(output), hide_index=True)


def find_code(step: Step) -> str | None:
    """The Python of a code interpreter's call."""
    if step.name != "interpreter":
        return None
    arguments = written_arguments({"arguments": step.arguments})
    return arguments if isinstance(arguments, str) else str(arguments.get("code", ""))


def _heading(step: Step, code: str | None) -> str:
    if code is not None:
        return "Python"
    result = "" if step.observation is None else f" → {step.observation}"
    line = " ".join(f"{step.name} {step.arguments}{result}".split()).replace("`", "'")
    return f"`{line if len(line) <= LONGEST else line[:LONGEST] + '…'}`"


def _icon(step: Step) -> str:
    if step.failed:
        return ":material/error:"
    return ":material/hourglass_empty:" if step.observation is None else ":material/build:"


def _show_text(step: Step) -> None:
    text = "".join(output.text for output in step.shown if output.kind in ("text", "error"))
    if text.strip():
        st.code(text, language=None, wrap_lines=True)
    if step.failed and step.name == "interpreter" and step.observation:
        st.caption(readable(step.observation.splitlines()[-1]))  # before it stands what was shown


def _columns(output: Output) -> dict[str, list[str]]:
    """The cells by heading; invisible characters tell apart those that have the same."""
    columns = islice(zip_longest(*output.rows[:ROWS], fillvalue=""), COLUMNS)
    return {heading + "\u200b" * number: cells for number, (heading, *cells) in enumerate(columns)}


def ask_for_result(key: str, number: int, step: Step) -> str | None:
    """A form for the result of a tool that only a person can run; what was typed, once it is sent.

    The `number` of the step keeps what was typed for the one before out of it.
    """
    name = readable(step.name)
    with st.form(f"{key}.result"):
        typed = st.text_area(
            tr(f"What does {name} return?", f"{name} 返回什么？"), key=f"{key}.typed.{number}"
        )
        sent = st.form_submit_button(tr("Send", "发送"), type="primary")
    return typed if sent else None
