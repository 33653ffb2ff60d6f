"""What a model may call on a chat page: nothing, chosen tools, or Python of its own."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv6Address, ip_address
from typing import Any

import streamlit as st

import models.interpreter as sandbox
from models import ModelError, Text
from models.tools import Tool, Toolbox, available, from_schema
from pages.shared.language import remember, say, sentence, tr
from pages.shared.markdown import readable
from pages.shared.session import hold


@dataclass(frozen=True)
class Mode:
    """One way to talk to a model that calls tools. `options` override the checkpoint's own, `examples` are
    questions to begin with."""

    name: str
    title: Text
    examples: tuple[Text, ...]
    options: Mapping[str, float] = field(default_factory=dict)


# Calls and code want precision: the values of ChatGLM3's own demo.
PRECISE = {"temperature": 0.1, "top_p": 0.2}
CHAT = Mode(
    "chat",
    Text("Chat", "对话"),
    (
        Text("Who are you?", "你是谁？"),
        Text("What is the capital of Japan?", "日本的首都是哪里？"),
        Text("What can you do?", "你会做什么？"),
    ),
)
TOOL = Mode(
    "tool",
    Text("Tool", "工具"),
    (
        Text("What is 23 times 47?", "23乘以47是多少？"),
        Text("Which is warmer, Beijing or London?", "北京和伦敦哪个更热？"),
    ),
    PRECISE,
)
CODE = Mode(
    "code",
    Text("Code Interpreter", "代码解释器"),
    (Text("Plot the sine function.", "画一个正弦曲线。"), Text("What is 23 times 47?", "23乘以47是多少？")),
    PRECISE,
)
MODES = {mode.name: mode for mode in (CHAT, TOOL, CODE)}


def chosen_mode(family: str) -> Mode:
    """The one that the visitor chose."""
    return MODES[st.session_state[_remember_mode(family)]]


def _remember_mode(family: str) -> str:
    return remember(f"set.{family}.mode", CHAT.name, list(MODES).__contains__)


def choose_mode(family: str) -> None:
    st.segmented_control(
        tr("Mode", "模式"),
        list(MODES),
        format_func=lambda name: say(MODES[name].title),
        key=_remember_mode(family),
        label_visibility="collapsed",
        required=True,
    )


def choose_toolbox(family: str) -> Toolbox | None:
    """What the chosen mode lets the model call, chosen and explained on the page; None: not possible."""
    if chosen_mode(family) is TOOL:
        return _choose_tools(family)
    if chosen_mode(family) is CODE:
        return _offer_interpreter(family)
    return Toolbox()


# --- tools ---------------------------------------------------------------------------------------

EXAMPLE = """name: get_stock
description: How many pieces of an article are in stock.
parameters:
  type: object
  properties:
    article: {type: string}
  required: [article]"""


def _choose_tools(family: str) -> Toolbox | None:
    try:
        ready = {tool.name: tool for tool in available()}
        with st.expander(tr("Tools", "工具"), icon=":material/build:"):
            chosen = st.pills(
                tr("The model may call", "模型可以调用"),
                list(ready),
                selection_mode="multi",
                key=remember(f"set.{family}.tools", list(ready), partial(_are_among, ready)),
            )
            for tool in map(ready.__getitem__, chosen):
                st.caption(f"`{tool.name}` {tool.description}")
            pasted = _read_pasted(family)
        # A pasted tool takes the place of a ready one with its name.
        return Toolbox([*(ready[name] for name in chosen), *pasted])
    except ModelError as error:
        st.error(readable(sentence(error)))
        return None


def _are_among(ready: Collection[str], chosen: Any) -> bool:
    return isinstance(chosen, list) and all(name in list(ready) for name in chosen)


def _read_pasted(family: str) -> list[Tool]:
    text = st.text_area(
        tr("Further tools, as JSON or YAML", "其他工具（JSON 或 YAML）"),
        key=remember(f"set.{family}.pasted", ""),
        placeholder=EXAMPLE,
        height=190,
        help=tr(
            "A JSON schema per tool, in OpenAI's form or as in the example. You type what such a tool returns.",
            "每个工具一个 JSON Schema，可用 OpenAI 格式或如示例所示。这些工具的结果由您输入。",
        ),
    )
    return from_schema(text) if text.strip() else []


# --- code ----------------------------------------------------------------------------------------


def get_interpreter(family: str) -> sandbox.Interpreter:
    """The visitor's own, as long as the session lasts."""
    return hold(
        f"{family}.interpreter", lambda: sandbox.Interpreter(visitor=_visitor()), sandbox.Interpreter.close
    )


def _visitor() -> str | None:
    """From where the page is opened, so that many tabs of one are not taken for many visitors.

    Of IPv6 the network, whose addresses are all one household's. None for this machine, where a proxy may stand.
    """
    try:
        address = ip_address(st.context.ip_address or "")
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64)
    return None if address.is_loopback else str(address)


def _offer_interpreter(family: str) -> Toolbox | None:
    confinement = sandbox.confinement()
    if confinement.refused:
        st.info(
            tr(
                "In this mode the model writes Python, which runs on the server; what it prints and draws appears "
                "in the chat. ",
                "在此模式下，模型会编写 Python 代码并在服务器上运行，输出和图形显示在对话中。",
            )
            + readable(sentence(confinement.refused)),
            icon=":material/terminal:",
        )
        return None
    with st.expander(
        tr("What the model's code can do here", "模型的代码在此能做什么"), icon=":material/terminal:"
    ):
        st.markdown(
            tr(
                "The model writes Python, which runs on the server in a process of your own. Variables and files "
                "last until this tab is closed or loaded anew; a connection that drops for a while does no harm.",
                "模型编写的 Python 代码在服务器上您专属的进程中运行。变量和文件保留到关闭或刷新此标签页为止；"
                "连接短暂中断没有影响。",
            )
        )
        st.markdown("\n".join(f"- {say(text)}" for text in confinement.enforced))
        if confinement.missing:
            st.warning(
                tr("Not enforced here:", "此处未能限制：")
                + "\n\n"
                + "\n".join(f"- {say(text)}" for text in confinement.missing)
            )
        if st.button(tr("Start Python afresh", "重新启动 Python"), key=f"{family}.restart"):
            get_interpreter(family).close()
            st.toast(tr("All variables are gone.", "所有变量已清除。"))
    return Toolbox(interpreter=get_interpreter(family))
