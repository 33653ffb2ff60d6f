"""The page of a family of language models: which of its views is shown, and with which options."""

from collections.abc import Callable
from dataclasses import fields

import streamlit as st

import models
from models import BadInput, ChatOptions, Checkpoint
from models.store.things import Kind, Thing
from models.tools import Toolbox
from pages.shared import frame, tools
from pages.shared.asking import Chat
from pages.shared.chat import show_chat
from pages.shared.conversation import sources
from pages.shared.conversation.completion import show_completion
from pages.shared.conversation.keeping import open_conversation, show_conversations
from pages.shared.keeping.histories import follow_address
from pages.shared.language import language, sentence, tr
from pages.shared.markdown import readable
from pages.shared.sidebar import show_sidebar
from pages.shared.vision import questions
from pages.shared.vision.captions import show_captions
from pages.shared.vision.kept_album import open_album


def chat_page(
    family: str,
    intro: str,
    explain: Callable[[Checkpoint], None] | None = None,
    calls_tools: Callable[[Checkpoint], bool] = lambda checkpoint: False,
    sees: bool = False,
    draw_example: Callable[[], bytes] | None = None,
) -> None:
    """A page of one family: a chat, or for a base model a text to be continued.

    `explain` draws what there is to say of the chosen checkpoint; one that `calls_tools` is offered some;
    a family that `sees` is asked about pictures, its starter about those that `draw_example` draws.
    """
    frame.set_up_page(family, intro)
    place = st.sidebar.container()  # above what the page is answered with
    openers: dict[Kind, Callable[[Thing], None]] = {"conversation": open_conversation}
    follow_address(family, openers | {"album": open_album} if sees else openers)
    choice, values = show_sidebar(
        family, fields(ChatOptions), lambda row: tools.chosen_mode(family).options if calls_tools(row) else {}
    )
    try:
        options = ChatOptions(**values)
    except BadInput as error:
        st.error(readable(sentence(error)))
        return
    if choice.checkpoint and explain:
        explain(choice.checkpoint)
    if choice.checkpoint:
        _explain_language(choice.checkpoint)
    if choice.checkpoint and choice.checkpoint.kind == "completion":
        sources.explain_waiting(family)
        show_completion(choice, options, place)
    elif choice.checkpoint and calls_tools(choice.checkpoint):
        tools.choose_mode(family)
        mode = tools.chosen_mode(family)
        key = family if mode is tools.CHAT else f"{family}.{mode.name}"
        show_chat(
            Chat(key, choice, options, show_conversations(key, family, place), tools.choose_toolbox(family))
        )
    else:
        drawn = draw_example if choice.checkpoint and choice.checkpoint.starter else None
        if sees and questions.choose_mode(family) == questions.MANY:
            show_captions(choice, options, place, drawn)
        else:
            show_chat(
                Chat(
                    family, choice, options, show_conversations(family, family, place), Toolbox(), sees, drawn
                )
            )


def _explain_language(checkpoint: Checkpoint) -> None:
    """Say of a starter that it does not write the page's language, and which one does."""
    if not checkpoint.starter or language() in checkpoint.languages:
        return
    first = models.catalog.family(checkpoint.family, language())[0]
    title = checkpoint.title or checkpoint.name
    if language() in first.languages:
        better = tr(
            f"{first.title} does: choose it in the sidebar.", f"会中文的是 {first.title}，可在侧边栏选择。"
        )
    else:
        better = tr("The ChatGLM page's starter does.", "会中文的入门模型在 ChatGLM 页面。")
    st.info(
        tr(
            f"{title} does not write English. {better}", f"{title} 只会写英文，用中文提问会答非所问。{better}"
        ),
        icon=":material/translate:",
    )
