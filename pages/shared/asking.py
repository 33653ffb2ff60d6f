"""What a page asks and what answers it: a conversation, and all that its answers are made with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import streamlit as st

import models
from models import ChatEngine, ChatOptions, Text
from models.pictures.boxes import without_tags
from models.schema import Tools
from models.tools import Toolbox
from pages.shared import loading
from pages.shared.conversation import sources
from pages.shared.conversation.answering import get_answers
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.turns import PictureFile
from pages.shared.markdown import readable
from pages.shared.tools import CHAT, MODES


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
    def examples(self) -> Sequence[Text]:
        """Questions to begin with."""
        _, _, mode = self.key.partition(".")
        return () if self.sees else MODES[mode or CHAT.name].examples

    @property
    def engine(self) -> ChatEngine | None:
        return self.choice.engine if isinstance(self.choice.engine, ChatEngine) else None

    @property
    def continues(self) -> bool:
        """Whether an answer that was cut can go on: of a server elsewhere that is known once it was asked."""
        if self.engine is not None:
            return self.engine.continues_answers
        checkpoint = self.choice.checkpoint
        return checkpoint is not None and not models.catalog.format_of(checkpoint).remote

    @property
    def schemas(self) -> Tools:
        """Of the tools that an answer may call."""
        return self.toolbox.schemas if self.toolbox else ()

    def readable(self, text: str) -> str:
        """What is shown of a text: boxes are drawn instead."""
        return readable(without_tags(text) if self.sees else text)


def ask(chat: Chat, text: str, pictures: Sequence[PictureFile] = ()) -> NoReturn:
    """Have it answered."""
    chat.conversation.ask(text, pictures, sources.take(chat.family))
    answer(chat)


def answer(chat: Chat, goes_on: bool = False) -> NoReturn:
    """Have the last question answered, or its answer continued where it was cut."""
    if chat.toolbox is not None and loading.may_begin(chat.choice):
        get_answers().start(chat.conversation, chat.choice, chat.toolbox, chat.options, goes_on)
    st.rerun()
