"""Conversations as things that are kept, and which of them a page shows."""

from functools import partial
from typing import TYPE_CHECKING, Any, Self

import streamlit as st

from models.schema import Text
from models.store.things import Thing
from pages.shared import loading
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.kept import is_open, read_content, title_of, words_of, write_content
from pages.shared.keeping.histories import History, attempt, begin_history, get_histories, reopen
from pages.shared.keeping.history import show_history
from pages.shared.keeping.keeper import Form, Kept, Written
from pages.shared.language import forget
from pages.shared.settings import get_settings

if TYPE_CHECKING:
    from models.store.store import Shelf


class KeptConversation(Kept):
    """A conversation: its turns are never changed but replaced. A system prompt alone is nothing to keep."""

    form = Form(
        "conversation",
        Text("New chat", "新对话"),
        Text("Search conversations", "搜索会话"),
        Text("No conversation has all these words.", "没有包含这些词的会话。"),
        Text(
            "The address names a conversation that is not kept for this browser: it was deleted, or is somebody "
            "else's.",
            "网址中的会话不属于此浏览器：它已被删除，或属于他人。",
        ),
    )

    def __init__(self, shelf: "Shelf", page: str, conversation: Conversation | None = None) -> None:
        self.conversation = conversation or Conversation()
        super().__init__(shelf, page)

    @property
    def state(self) -> Any:
        turns = self.conversation.turns
        return (turns, self.conversation.system) if turns else None

    def write(self, state: Any) -> Written:
        turns, system = state
        content, files = write_content(turns, system)
        return Written(title_of(turns), content, words_of(turns), files)

    def take(self, thing: Thing) -> bool:
        files = {name: file for name, file in thing.files.items() if isinstance(file, bytes)}
        self.conversation = read_content(thing.content, files)
        return is_open(thing.content)

    @property
    def is_at_work(self) -> bool:
        writer = self.conversation.writer
        return writer is not None and writer.running

    def fresh(self) -> Self:
        system = get_settings().get_text(f"{self.page}.system", self.conversation.system)
        return type(self)(self.shelf, self.page, Conversation(system=system))

    def settle(self) -> None:
        self.conversation.settle()


def open_conversation(thing: Thing) -> None:
    """That the page's address names: in its mode."""
    family, _, mode = thing.page.partition(".")
    if mode:
        st.session_state[f"set.{family}.mode"] = mode
    else:
        forget(f"set.{family}.mode")
    attempt(thing.page, reopen, thing.id, KeptConversation)


def show_conversations(key: str, family: str, place: Any) -> Conversation:
    """Draw their list into `place`, and return the one that the page shows, which else is the session's alone.

    `key` tells apart the conversations of a family's modes.
    """
    history = show_history(key, family, place, partial(_begin, key, family))
    if history is not None and isinstance(history.shown, KeptConversation):
        return _adopt(key, family, history.shown.conversation)
    return _of_session(key)


def begin_beside(key: str, conversation: Conversation) -> Conversation:
    """Another one for what is brought along, so that this one stays in the list; itself where there is nothing in it,
    or no list."""
    history = get_histories().get(key)
    if not conversation.turns or history is None or not history.shown.is_kept:
        return conversation
    history.begin()
    shown = history.shown
    return shown.conversation if isinstance(shown, KeptConversation) else conversation


def _begin(key: str, family: str, shelf: "Shelf") -> History:
    return begin_history(key, family, KeptConversation(shelf, key, _of_session(key)))


def _of_session(key: str) -> Conversation:
    """The one that a session has where nothing is kept."""
    system = get_settings().get_text(f"{key}.system")
    found: Conversation = st.session_state.setdefault(f"{key}.conversation", Conversation(system=system))
    return found


def _adopt(key: str, family: str, conversation: Conversation) -> Conversation:
    """Make it the page's; what was asked for, typed or failed in the one before is past."""
    state = st.session_state
    if state.get(f"{key}.conversation") is not conversation:
        state[f"{key}.conversation"] = conversation
        state[f"{key}.imports"] = state.get(f"{key}.imports", 0) + 1
        loading.forget_failure(family)
    return conversation
