"""What is done with a conversation as a whole: its system prompt, undo, clear, export and import."""

from functools import partial

import streamlit as st

from models import Checkpoint
from pages.shared import loading
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.keeping import begin_beside
from pages.shared.conversation.markdown_file import write_markdown
from pages.shared.conversation.presets import show_presets
from pages.shared.language import language, say, tr
from pages.shared.markdown import literal, readable
from pages.shared.settings import get_settings


def show_menu(key: str, family: str, checkpoint: Checkpoint | None, conversation: Conversation) -> None:
    """Draw it. `key` tells apart the widgets of a page's conversations."""
    with st.expander(tr("System prompt and conversation", "系统提示词与会话")):
        number = st.session_state.setdefault(f"{key}.imports", 0)  # a new key empties the widgets
        field = f"set.{key}.system.{number}"
        st.session_state.setdefault(field, conversation.system)  # kept with the conversation
        system = st.text_area(
            tr("System prompt", "系统提示词"),
            key=field,
            placeholder=checkpoint.system_prompt if checkpoint else "",
            help=tr("Stays when old turns no longer fit.", "旧对话超出上下文时仍会保留。"),
        )
        _keep_system_prompt(key, conversation, system)
        conversation.system = system
        show_presets(key, field)
        with st.container(horizontal=True):
            st.download_button(
                tr("Export", "导出"),
                conversation.to_json,  # made when it is wanted: pictures are large
                f"{key}.json",
                "application/json",
                on_click="ignore",
                disabled=not conversation.turns,
            )
            st.download_button(
                tr("Export as Markdown", "导出为 Markdown"),
                partial(write_markdown, conversation, language()),
                f"{key}.md",
                "text/markdown",
                on_click="ignore",
                disabled=not conversation.turns,
            )
            if st.button(tr("Undo", "撤销"), disabled=not conversation.can_undo, key=f"{key}.undo"):
                conversation.undo()
                _rerun(family)
            if st.button(tr("Clear", "清空"), disabled=not conversation.turns, key=f"{key}.clear"):
                conversation.clear()
                _rerun(family)
        _import(key, family, conversation)
    if conversation.removed:  # where it is seen: the way back is in the expander else
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(tr("A part of this chat was removed.", "此对话的一部分已被删除。"), width="content")
            if st.button(tr("Undo", "撤销"), key=f"{key}.undo_removal", type="tertiary"):
                conversation.undo()
                _rerun(family)
    if conversation.notes:  # not in the expander, which closes with every import
        said = "\n\n".join(readable(say(note)) for note in conversation.notes)
        st.info(said, icon=":material/info:")


def _keep_system_prompt(key: str, conversation: Conversation, system: str) -> None:
    """It is kept with its conversation; before the first question, as a setting of the page."""
    settings, name = get_settings(), f"{key}.system"
    if not conversation.turns and system != conversation.system:
        settings.note(name, system, "")
    elif conversation.turns and settings.get_text(name) == system:
        settings.note(name, "", "")


def _import(key: str, family: str, conversation: Conversation) -> None:
    number = st.session_state[f"{key}.imports"]
    file = st.file_uploader(
        tr("Import a conversation (JSON)", "导入会话（JSON）"),
        type=["json", "jsonl", "zip"],
        key=f"{key}.import.{number}",
        help=tr(
            "Or the zip that ChatGPT or Claude gives you of all your data.",
            "也可选择从 ChatGPT 或 Claude 下载的全部数据（zip）。",
        ),
    )
    if file is None:
        return
    try:
        imported = Conversation.from_json(file.getvalue())
    except ValueError:
        name = literal(file.name)
        st.error(
            tr(
                f"{name} is not a conversation: choose a file that was exported here or by another chat program, "
                "or a JSON list of messages with role and content.",
                f"{name} 不是会话文件：请选择从这里或其他聊天程序导出的文件，或由 role 与 content 组成的 JSON 消息列表。",
            )
        )
        return
    st.session_state[f"{key}.imports"] = number + 1
    begin_beside(key, conversation).take_over(imported)
    _rerun(family)


def _rerun(family: str) -> None:
    """Draw another conversation: what failed in the one before is past."""
    loading.forget_failure(family)
    st.rerun()
