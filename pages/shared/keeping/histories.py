"""The things of a page in one session: which one is shown, and what is done with them.

What a click does is done before the page is drawn (`on_click=attempt`).
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import streamlit as st

from models.errors import NotKept
from models.store.things import Entry, Kind, Thing
from pages.shared.arrival import leave_sidebar
from pages.shared.keeping.keeper import Kept, keeper
from pages.shared.settings import Settings, forget_settings, get_settings
from pages.shared.visitor import open_shelf

if TYPE_CHECKING:
    from models.store.store import Shelf

ADDRESS = "c"  # of the page's address: the id of what is shown
MOST = 20  # things in the list, until more are asked for
PATIENCE = 10.0  # seconds after which a store is tried again that has failed


class History:
    """A page's things of one kind in one session: the one that is shown, and all that were opened.

    What was opened stays, since somebody may still be at work on it.
    """

    def __init__(self, key: str, shown: Kept) -> None:
        self.key = key
        self.form = shown.form
        self.shown = shown
        self.deleted: Thing | None = None  # which can be had back
        self.renaming = ""
        self.most = MOST
        self._opened = [shown]

    @property
    def opened(self) -> list[Kept]:
        return self._opened

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing yet from which one could go on to another one."""
        return self.shown.state is None

    @property
    def failure(self) -> NotKept | None:
        """Why something here is not kept at the moment."""
        return self.shown.failure

    def entries(self, shelf: "Shelf", query: str = "", most: int = MOST) -> list[Entry]:
        """The newest first, of those that a search finds."""
        return shelf.entries(self.form.kind, self.key, query, most)

    def find(self, id: str) -> Kept | None:
        return next((kept for kept in self.opened if kept.id == id and not kept.deleted), None)

    def show(self, kept: Kept) -> None:
        self.shown = kept
        self.renaming = ""
        if kept not in self._opened:
            self._opened.append(kept)

    def begin(self) -> None:
        """Show another one, with nothing in it."""
        self.shown.save()
        self.show(self.shown.fresh())

    def rename(self, id: str, title: str) -> None:
        """Raises NotKept."""
        get_shelf().rename(id, title)

    def delete(self, id: str) -> None:
        """As long as nothing else is deleted, it can be had back. Raises NotKept."""
        shelf, opened = get_shelf(), self.find(id)
        if opened:
            opened.settle()
            opened.save()
        self.deleted = self.take_out(shelf, id)
        shelf.delete(id)
        if opened:
            self.forget(opened)

    def take_out(self, shelf: "Shelf", id: str) -> Thing | None:
        """What is going to be deleted, with all that it takes to put it again. Raises NotKept."""
        return shelf.get(id)

    def forget(self, kept: Kept) -> None:
        """It was deleted."""
        kept.settle()
        kept.drop()
        self._opened.remove(kept)
        if kept is self.shown:
            self.show(type(kept)(kept.shelf, kept.page))

    def clear(self) -> None:
        """All of it is going to be deleted."""
        for kept in self.opened:
            kept.settle()
            kept.drop()

    def bring_up_to_date(self) -> None:
        """Keep what this session wrote, and take what another one did. Raises NotKept."""
        self.shown.save()
        other = keeper().find_at_work(self.shown.id)
        if other is None:
            self.shown.look()
        elif other is not self.shown:  # another session is at work on it
            self._opened.remove(self.shown)
            self.show(other)
        if self.shown.deleted:  # in another tab
            self.forget(self.shown)


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


def recall_settings() -> None:
    """Begin with what the visitor set in earlier sessions, and have kept what is set in this one."""
    settings = get_settings()
    settings.open(_shelf_with_all_settings)
    if settings.is_open:
        keeper().add(settings)


def _shelf_with_all_settings() -> "Shelf":
    """The session before, of a page that was reloaded, may have set something just now."""
    shelf = get_shelf()
    for other in keeper().held():
        if isinstance(other, Settings):
            other.save()
    return shelf


def refuse(key: str, error: NotKept) -> None:
    """Have the list say why something could not be done."""
    st.session_state[f"{key}.refused"] = error, time.monotonic() + PATIENCE


def get_refusal(key: str) -> NotKept | None:
    """For a while: what follows may draw the page again at once."""
    error, until = st.session_state.get(f"{key}.refused", (None, 0.0))
    return error if time.monotonic() < until else None


def get_histories() -> dict[str, History]:
    """Those of this session, by their keys."""
    found: dict[str, History] = st.session_state.setdefault("histories", {})
    return found


def begin_history(key: str, family: str, own: Kept) -> History:
    """In a new session it begins with what was worked on last, unless there is something in its `own`."""
    blank = get_settings().get(f"{key}.blank", False)  # a new one was begun, and nothing put into it
    if own.state is not None or blank or st.session_state.get(f"{family}.unknown"):
        return History(key, own)
    newest = own.shelf.entries(own.form.kind, key, limit=1)
    try:
        last = type(own).load(own.shelf, newest[0].id) if newest else None
    except NotKept as error:  # the others can be opened all the same
        refuse(key, error)
        last = None
    return History(key, last or own)


# --- by their address ------------------------------------------------------------------------------


def follow_address(family: str, openers: Mapping[Kind, Callable[[Thing], None]]) -> None:
    """Show what the page's address names, if it is the visitor's: on its page, by the opener of its kind."""
    state = st.session_state
    wanted = st.query_params.get(ADDRESS, "")
    if not wanted or wanted == state.get(f"{family}.followed"):
        return
    state[f"{family}.followed"] = wanted
    with suppress(NotKept):  # said where the list would be
        thing = get_shelf().get(wanted, read_files=False)
        home = thing.page.partition(".")[0] if thing else family
        if home != family:
            st.switch_page(f"pages/{home}.py", query_params={ADDRESS: wanted})
        if thing is None or thing.kind not in openers:
            state[f"{family}.unknown"] = True
        else:
            openers[thing.kind](thing)


def name_in_address(family: str, shown: Kept) -> None:
    """Have the page's address name what is shown, once it is kept."""
    if not shown.is_kept:
        st.query_params.pop(ADDRESS, None)
    elif st.query_params.get(ADDRESS) != shown.id:
        st.query_params[ADDRESS] = st.session_state[f"{family}.followed"] = shown.id


# --- what is clicked, before the page is drawn ---------------------------------------------------


def attempt(key: str, action: Callable[..., None], *arguments: Any) -> None:
    """Do what a click asks for; the page says why it cannot be done."""
    try:
        action(key, *arguments)
    except NotKept as error:
        refuse(key, error)


def begin(key: str) -> None:
    leave_sidebar()
    get_histories()[key].begin()
    get_settings().note(f"{key}.blank", True, False)


def open_entry(key: str, id: str, kind: type[Kept]) -> None:
    """That was chosen in the list."""
    leave_sidebar()
    reopen(key, id, kind)


def reopen(key: str, id: str, kind: type[Kept]) -> None:
    history = get_histories().get(key)
    kept = history.find(id) if history else None
    kept = kept or kind.load(get_shelf(), id)
    if kept is None:  # deleted in another tab
        return
    if history:
        history.show(kept)
    else:
        get_histories()[key] = History(key, kept)


def choose(key: str, id: str) -> None:
    """What was chosen of an entry's menu."""
    history = get_histories()[key]
    if st.session_state[f"{key}.menu.{id}"] == "rename":
        history.renaming = id
    else:
        delete(key, id)


def delete(key: str, id: str) -> None:
    get_histories()[key].delete(id)


def undo(key: str) -> None:
    history = get_histories()[key]
    if history.deleted:
        get_shelf().put(replace(history.deleted, revision=0))
        reopen(key, history.deleted.id, type(history.shown))
        history.deleted = None


def rename(key: str, id: str) -> None:
    history = get_histories()[key]
    history.renaming = ""
    if title := st.session_state[f"{key}.name.{id}"].strip():
        history.rename(id, title)


def show_more(key: str) -> None:
    get_histories()[key].most += MOST


def delete_all(key: str) -> None:
    """Whatever is kept of this visitor, on every page."""
    for history in get_histories().values():
        history.clear()
    forget_settings()
    get_shelf().clear()
    st.session_state["histories"] = {}
    for name in [name for name in st.session_state if str(name).rpartition(".")[2] in get_args(Kind)]:
        del st.session_state[name]
