"""The conversations of a page that are kept: which one is shown, and the list of all in the sidebar."""

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
from pages.shared.language import sentence, tr
from pages.shared.markdown import literal, readable
from pages.shared.tools import CHAT, MODES
from pages.shared.visitor import open_shelf

if TYPE_CHECKING:
    from models.store.store import Shelf

ADDRESS = "c"  # of the page's address: the id of the conversation
MOST = 20  # conversations in the list, until more are asked for
FEW, HEIGHT = 6, 260  # entries that need no scrolling, and pixels of a longer list
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
        if kept not in self.opened:
            self.opened.append(kept)

    def find(self, id: str) -> Kept | None:
        return next((kept for kept in self.opened if kept.id == id and not kept.deleted), None)


def show_history(key: str, family: str, place: Any) -> Conversation:
    """Draw the list into `place`, and return the conversation that the page shows.

    `key` tells apart the conversations of a family's modes. Where nothing can be kept, the reason is said, and the
    conversation is the session's alone.
    """
    with place:
        try:
            shelf = _get_shelf()
            history = _get_history(key, family, shelf)
            _bring_up_to_date(key, history, shelf)
            _name_in_address(family, history.shown)
            _show(key, family, history, shelf)
        except NotKept as error:
            st.session_state["not_kept"] = error, time.monotonic() + PATIENCE
            st.caption(f":material/info: {readable(sentence(error))}")
    known = _histories().get(key)
    return _adopt(key, family, known.shown.conversation if known else _of_session(key))


def follow_address(family: str) -> None:
    """Show the conversation that the page's address names, if it is the visitor's, in the mode that it is of."""
    state = st.session_state
    wanted = st.query_params.get(ADDRESS, "")
    if not wanted or wanted == state.get(f"{family}.address"):
        return
    state[f"{family}.address"] = wanted
    with suppress(NotKept):  # said where the list would be
        shelf = _get_shelf()
        thing = shelf.get(wanted)
        page, _, mode = thing.page.partition(".") if thing and thing.kind == "conversation" else ("", "", "")
        state[f"{family}.unknown"] = page != family
        if thing is None or page != family:
            return
        if mode or state.get(f"set.{family}.mode") in MODES:
            state[f"set.{family}.mode"] = mode or CHAT.name
        _open(thing.page, thing.id)


# --- which one is shown --------------------------------------------------------------------------


def _get_shelf() -> "Shelf":
    """The visitor's. Raises NotKept, for a while without another try."""
    error, again = st.session_state.get("not_kept", (None, 0.0))
    if error is not None and time.monotonic() < again:
        raise error
    return open_shelf()


def _histories() -> dict[str, History]:
    found: dict[str, History] = st.session_state.setdefault("histories", {})
    return found


def _get_history(key: str, family: str, shelf: "Shelf") -> History:
    """In a new session it begins with what was talked in last."""
    histories = _histories()
    if key not in histories:
        own = _of_session(key)
        newest = [] if own.turns or st.session_state.get(f"{family}.unknown") else _list(key, shelf, most=1)
        thing = shelf.get(newest[0].id) if newest else None
        histories[key] = History(Kept.read(shelf, thing) if thing else Kept(shelf, key, own))
    return histories[key]


def _of_session(key: str) -> Conversation:
    """The one that a session has where nothing is kept."""
    found: Conversation = st.session_state.setdefault(f"{key}.conversation", Conversation())
    return found


def _adopt(key: str, family: str, conversation: Conversation) -> Conversation:
    """Make it the page's; what was asked for, typed or failed in the one before is past."""
    state = st.session_state
    if state.get(f"{key}.conversation") is not conversation:
        state[f"{key}.conversation"] = conversation
        state[f"{key}.imports"] = state.get(f"{key}.imports", 0) + 1
        loading.withdraw_request(family)
        loading.forget_failure(family)
    return conversation


def _bring_up_to_date(key: str, history: History, shelf: "Shelf") -> None:
    """Keep what this session wrote, and take what another one did."""
    history.shown.save()
    history.shown.look()
    if history.shown.deleted:  # in another tab
        history.show(Kept(shelf, key, Conversation()))


def _name_in_address(family: str, shown: Kept) -> None:
    if not shown.is_kept:
        st.query_params.pop(ADDRESS, None)
    elif st.query_params.get(ADDRESS) != shown.id:
        st.query_params[ADDRESS] = st.session_state[f"{family}.address"] = shown.id


# --- what is clicked, before the page is drawn ---------------------------------------------------


def _attempt(key: str, action: Callable[..., None], *arguments: Any) -> None:
    """Do what a click asks for; the page says why it cannot be done."""
    try:
        action(key, *arguments)
    except NotKept as error:
        st.session_state[f"{key}.refused"] = error


def _begin(key: str) -> None:
    """A new conversation, under the same system prompt."""
    history = _histories()[key]
    history.shown.save()
    history.show(Kept(_get_shelf(), key, Conversation(system=history.shown.conversation.system)))


def _open(key: str, id: str) -> None:
    history = _histories().get(key)
    kept = history.find(id) if history else None
    if kept is None:
        shelf = _get_shelf()
        thing = shelf.get(id)
        if thing is None:  # deleted in another tab
            return
        kept = Kept.read(shelf, thing)
    if history:
        history.show(kept)
    else:
        _histories()[key] = History(kept)


def _choose(key: str, id: str) -> None:
    """What was chosen of an entry's menu."""
    history = _histories()[key]
    if st.session_state[f"{key}.menu.{id}"] == "rename":
        history.renaming = id
    else:
        _delete(key, id)


def _delete(key: str, id: str) -> None:
    history, shelf = _histories()[key], _get_shelf()
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


def _undo(key: str) -> None:
    history = _histories()[key]
    if history.deleted:
        _get_shelf().put(replace(history.deleted, revision=0))
        _open(key, history.deleted.id)
        history.deleted = None


def _rename(key: str, id: str) -> None:
    history = _histories()[key]
    history.renaming = ""
    if title := st.session_state[f"{key}.name.{id}"].strip():
        _get_shelf().rename(id, title)


def _show_more(key: str) -> None:
    _histories()[key].most += MOST


def _delete_all(key: str) -> None:
    """Whatever is kept of this visitor, on every page."""
    for history in _histories().values():
        for kept in history.opened:
            kept.conversation.settle()
            kept.drop()
    _get_shelf().clear()
    st.session_state["histories"] = {}
    for name in [name for name in st.session_state if str(name).endswith(".conversation")]:
        del st.session_state[name]


# --- the list ------------------------------------------------------------------------------------


def _list(key: str, shelf: "Shelf", query: str = "", most: int = MOST) -> list[Entry]:
    return shelf.entries("conversation", key, query, most)


def _show(key: str, family: str, history: History, shelf: "Shelf") -> None:
    shown = history.shown
    st.button(
        tr("New chat", "新对话"),
        icon=":material/edit_square:",
        key=f"{key}.new",
        width="stretch",
        shortcut="Ctrl+Shift+O",
        disabled=not shown.conversation.turns,
        on_click=_attempt,
        args=(key, _begin),
    )
    query = st.text_input(
        tr("Search conversations", "搜索会话"),
        key=f"{key}.search",
        placeholder=tr("Search conversations", "搜索会话"),
        icon=":material/search:",
        label_visibility="collapsed",
    )
    _show_failures(key, family, shown)
    _show_deleted(key, history)
    entries = _list(key, shelf, query or "", history.most + 1)
    with st.container(height=HEIGHT if len(entries) > FEW else "content", gap=None, border=False):
        for entry in entries[: history.most]:
            _show_entry(key, history, entry)
        if len(entries) > history.most:
            st.button(
                tr("More", "更多"), key=f"{key}.more", type="tertiary", on_click=_show_more, args=(key,)
            )
    if query and not entries:
        st.caption(tr("No conversation has all these words.", "没有包含这些词的会话。"))
    _show_deletion_of_all(key, shelf)
    if shown.looks:
        st.fragment(_watch, run_every=1.0)(shown)


def _watch(shown: Kept) -> None:
    """Draw the page again when another session has written more of the answer that this one shows."""
    shown.looks -= 1
    with suppress(NotKept):
        if shown.looks == 0 or shown.is_behind():
            st.rerun()


def _show_failures(key: str, family: str, shown: Kept) -> None:
    for error in (st.session_state.pop(f"{key}.refused", None), shown.failure):
        if error is not None:
            st.warning(readable(sentence(error)), icon=":material/warning:")
    if st.session_state.get(f"{family}.unknown") and not shown.conversation.turns:
        st.info(
            tr(
                "The address names a conversation that is not kept for this browser: it was deleted, or is "
                "somebody else's.",
                "网址中的会话不属于此浏览器：它已被删除，或属于他人。",
            )
        )


def _show_deleted(key: str, history: History) -> None:
    if history.deleted is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        title = literal(history.deleted.title)
        st.caption(tr(f"Deleted: {title}", f"已删除：{title}"), width="stretch")
        st.button(tr("Undo", "撤销"), key=f"{key}.undelete", on_click=_attempt, args=(key, _undo))


def _show_entry(key: str, history: History, entry: Entry) -> None:
    if history.renaming == entry.id:
        st.text_input(
            tr("Title", "标题"),
            entry.title,
            key=f"{key}.name.{entry.id}",
            on_change=_attempt,
            args=(key, _rename, entry.id),
            label_visibility="collapsed",
        )
        return
    with st.container(horizontal=True, vertical_alignment="center", gap=None):
        st.button(
            literal(entry.title) or "…",
            key=f"{key}.open.{entry.id}",
            type="secondary" if entry.id == history.shown.id else "tertiary",
            width="stretch",
            wrap=False,
            on_click=_attempt,
            args=(key, _open, entry.id),
        )
        names = {"rename": tr("Rename", "重命名"), "delete": tr("Delete", "删除")}
        st.menu_button(
            "",
            list(names),
            format_func=names.__getitem__,
            icon=":material/more_vert:",
            type="tertiary",
            key=f"{key}.menu.{entry.id}",
            help=tr("Rename or delete", "重命名或删除"),
            on_click=_attempt,
            args=(key, _choose, entry.id),
        )


def _show_deletion_of_all(key: str, shelf: "Shelf") -> None:
    with st.popover(tr("What is kept", "已保存的内容"), type="tertiary", icon=":material/database:"):
        size = f"{shelf.size() / 1e6:.1f} MB"
        st.caption(
            tr(
                f"The server keeps what you make for this browser, which has a cookie: {size} by now. Nobody else's "
                "browser sees it.",
                f"服务器按浏览器（Cookie）保存您的内容，目前 {size}。其他浏览器看不到。",
            )
        )
        sure = st.checkbox(
            tr("All of it, on every page, for good", "所有页面的全部内容，不可恢复"), key=f"{key}.sure"
        )
        st.button(
            tr("Delete all", "全部删除"),
            key=f"{key}.delete_all",
            disabled=not sure,
            on_click=_attempt,
            args=(key, _delete_all),
        )
