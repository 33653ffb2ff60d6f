"""The conversations of a page in one session: which one is shown, and what is done with them.

What a click does is done before the page is drawn (`on_click=attempt`).
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from models.errors import NotKept
from models.store.things import Entry, Thing
from pages.shared import loading
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.keeping import Kept
from pages.shared.tools import CHAT, MODES
from pages.shared.visitor import open_shelf

if TYPE_CHECKING:
    from models.store.store import Shelf

ADDRESS = "c"  # of the page's address: the id of the conversation
MOST = 20  # conversations in the list, until more are asked for
PATIENCE = 10.0  # seconds after which a store is tried again that has failed


class History:
    """A page's conversations in one session: the one that is shown, and all that were opened.

    What was opened stays, since an answer may still be written into it.
    """

    def __init__(self, shown: Kept) -> None:
        self.shown = shown
        self.opened = [shown]
        self.deleted: Thing | None = None  # which can be had back
        self.renaming = ""
        self.most = MOST

    def show(self, kept: Kept) -> None:
        self.shown = kept
        self.renaming = ""
        if kept not in self.opened:
            self.opened.append(kept)

    def find(self, id: str) -> Kept | None:
        return next((kept for kept in self.opened if kept.id == id and not kept.deleted), None)


# --- which one is shown --------------------------------------------------------------------------


def get_shelf() -> "Shelf":
    """The visitor's. Raises NotKept, for a while without another try."""
    error, again = st.session_state.get("not_kept", (None, 0.0))
    if error is not None and time.monotonic() < again:
        raise error
    return open_shelf()


def note_failure(error: NotKept) -> None:
    """Leave the store alone for a while."""
    _, again = st.session_state.get("not_kept", (None, 0.0))
    if time.monotonic() >= again:
        st.session_state["not_kept"] = error, time.monotonic() + PATIENCE


def list_entries(key: str, shelf: "Shelf", query: str = "", most: int = MOST) -> list[Entry]:
    """The newest first, of those that a search finds."""
    return shelf.entries("conversation", key, query, most)


def get_histories() -> dict[str, History]:
    """Those of this session, by the keys of their conversations."""
    found: dict[str, History] = st.session_state.setdefault("histories", {})
    return found


def get_history(key: str, family: str, shelf: "Shelf") -> History:
    """In a new session it begins with what was talked in last."""
    histories = get_histories()
    if key not in histories:
        own = of_session(key)
        newest = (
            [] if own.turns or st.session_state.get(f"{family}.unknown") else list_entries(key, shelf, most=1)
        )
        found = None
        try:
            thing = shelf.get(newest[0].id) if newest else None
            found = Kept.read(shelf, thing) if thing else None
        except NotKept as error:  # the others can be opened all the same
            st.session_state[f"{key}.refused"] = error
        histories[key] = History(found or Kept(shelf, key, own))
    return histories[key]


def of_session(key: str) -> Conversation:
    """The one that a session has where nothing is kept."""
    found: Conversation = st.session_state.setdefault(f"{key}.conversation", Conversation())
    return found


def adopt(key: str, family: str, conversation: Conversation) -> Conversation:
    """Make it the page's; what was asked for, typed or failed in the one before is past."""
    state = st.session_state
    if state.get(f"{key}.conversation") is not conversation:
        state[f"{key}.conversation"] = conversation
        state[f"{key}.imports"] = state.get(f"{key}.imports", 0) + 1
        loading.forget_failure(family)
    return conversation


def bring_up_to_date(key: str, history: History, shelf: "Shelf") -> None:
    """Keep what this session wrote, and take what another one did."""
    history.shown.save()
    history.shown.look()
    if history.shown.deleted:  # in another tab
        history.shown.conversation.settle()
        history.show(Kept(shelf, key, Conversation()))


# --- by their address ------------------------------------------------------------------------------


def follow_address(family: str) -> None:
    """Show the conversation that the page's address names, if it is the visitor's: on its page, and in its mode."""
    state = st.session_state
    wanted = st.query_params.get(ADDRESS, "")
    if not wanted or wanted == state.get(f"{family}.address"):
        return
    state[f"{family}.address"] = wanted
    with suppress(NotKept):  # said where the list would be
        thing = get_shelf().get(wanted)
        if thing is None or thing.kind != "conversation":
            state[f"{family}.unknown"] = True
            return
        home, _, mode = thing.page.partition(".")
        if home != family:
            st.switch_page(f"pages/{home}.py", query_params={ADDRESS: wanted})
        if mode or state.get(f"set.{family}.mode") in MODES:
            state[f"set.{family}.mode"] = mode or CHAT.name
        attempt(thing.page, reopen, thing.id)


def name_in_address(family: str, shown: Kept) -> None:
    """Have the page's address name what is shown, once it is kept."""
    if not shown.is_kept:
        st.query_params.pop(ADDRESS, None)
    elif st.query_params.get(ADDRESS) != shown.id:
        st.query_params[ADDRESS] = st.session_state[f"{family}.address"] = shown.id


# --- what is clicked, before the page is drawn ---------------------------------------------------


def attempt(key: str, action: Callable[..., None], *arguments: Any) -> None:
    """Do what a click asks for; the page says why it cannot be done."""
    try:
        action(key, *arguments)
    except NotKept as error:
        st.session_state[f"{key}.refused"] = error


def begin(key: str) -> None:
    """A new conversation, under the same system prompt."""
    history = get_histories()[key]
    history.shown.save()
    history.show(Kept(get_shelf(), key, Conversation(system=history.shown.conversation.system)))


def reopen(key: str, id: str) -> None:
    history = get_histories().get(key)
    kept = history.find(id) if history else None
    if kept is None:
        shelf = get_shelf()
        thing = shelf.get(id)
        if thing is None:  # deleted in another tab
            return
        kept = Kept.read(shelf, thing)
    if history:
        history.show(kept)
    else:
        get_histories()[key] = History(kept)


def choose(key: str, id: str) -> None:
    """What was chosen of an entry's menu."""
    history = get_histories()[key]
    if st.session_state[f"{key}.menu.{id}"] == "rename":
        history.renaming = id
    else:
        _delete(key, id)


def _delete(key: str, id: str) -> None:
    history, shelf = get_histories()[key], get_shelf()
    opened = history.find(id)
    if opened:
        opened.conversation.settle()
        opened.save()
    history.deleted = shelf.get(id)
    if opened:
        opened.drop()
    shelf.delete(id)
    if opened is history.shown:
        history.show(Kept(shelf, key, Conversation()))


def undo(key: str) -> None:
    history = get_histories()[key]
    if history.deleted:
        get_shelf().put(replace(history.deleted, revision=0))
        reopen(key, history.deleted.id)
        history.deleted = None


def rename(key: str, id: str) -> None:
    history = get_histories()[key]
    history.renaming = ""
    if title := st.session_state[f"{key}.name.{id}"].strip():
        get_shelf().rename(id, title)


def show_more(key: str) -> None:
    get_histories()[key].most += MOST


def delete_all(key: str) -> None:
    """Whatever is kept of this visitor, on every page."""
    for history in get_histories().values():
        for kept in history.opened:
            kept.conversation.settle()
            kept.drop()
    get_shelf().clear()
    st.session_state["histories"] = {}
    for name in [name for name in st.session_state if str(name).endswith(".conversation")]:
        del st.session_state[name]
