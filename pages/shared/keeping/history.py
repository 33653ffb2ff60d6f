"""The list of a page's things of one kind, in the sidebar."""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import streamlit as st

from models.errors import NotKept
from models.store.things import Entry
from pages.shared.keeping import histories
from pages.shared.keeping.histories import History, attempt
from pages.shared.keeping.keeper import Kept
from pages.shared.language import say, sentence, tr
from pages.shared.markdown import literal, readable
from pages.shared.settings import get_settings

if TYPE_CHECKING:
    from models.store.store import Shelf

FEW, HEIGHT = 6, 260  # entries that need no scrolling, and pixels of a longer list

# Titles begin at the left, and the names of the menus beside them are for screen readers alone.
STYLE = """<style>
[class*="st-key-history-"] [data-testid="stButton"] button, [class*="st-key-history-"] button div { justify-content: flex-start; }
[class*="st-key-history-"] [data-testid="stMenuButton"] p {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap;
}
</style>"""


def show_history(key: str, family: str, place: Any, begin: Callable[["Shelf"], History]) -> History | None:
    """Draw the list into `place`, and return the history that the page shows a thing of.

    `key` tells apart the lists of a family's modes, and `begin` makes the history of a new session. Where nothing
    can be kept, the reason is said: None, unless something could be before.
    """
    with place:
        try:
            shelf = histories.get_shelf()
            known = histories.get_histories()
            history = known[key] if key in known else known.setdefault(key, begin(shelf))
            history.bring_up_to_date()
            if not history.is_blank:
                get_settings().note(f"{key}.blank", False, False)
            histories.name_in_address(family, history.shown)
            _show(key, family, history, shelf)
        except NotKept as error:
            histories.note_failure(error)
            st.caption(f":material/info: {readable(sentence(error))}")
    return histories.get_histories().get(key)


def _show(key: str, family: str, history: History, shelf: "Shelf") -> None:
    st.button(
        say(history.form.new),
        icon=":material/edit_square:",
        key=f"{key}.new",
        width="stretch",
        shortcut="Ctrl+Shift+O",
        disabled=history.is_blank,
        on_click=attempt,
        args=(key, histories.begin),
    )
    query = st.text_input(
        say(history.form.search),
        key=f"{key}.search",
        placeholder=say(history.form.search),
        icon=":material/search:",
        label_visibility="collapsed",
    )
    _show_failures(key, family, history)
    _show_deleted(key, history)
    entries = history.entries(shelf, query or "", history.most + 1)
    st.html(STYLE)
    scrolls = len(entries) > FEW
    with st.container(height=HEIGHT if scrolls else "content", gap=None, border=False, key=f"history-{key}"):
        for entry in entries[: history.most]:
            _show_entry(key, history, entry)
        if len(entries) > history.most:
            st.button(
                tr("More", "更多"),
                key=f"{key}.more",
                type="tertiary",
                on_click=histories.show_more,
                args=(key,),
            )
    if query and not entries:
        st.caption(say(history.form.none))
    _show_deletion_of_all(key, shelf)
    if history.shown.looks:
        st.fragment(watch, run_every=1.0)(history.shown)


def watch(shown: Kept) -> None:
    """Draw the page again when another session has written more of what this one shows."""
    shown.looks -= 1
    with suppress(NotKept):
        if shown.looks == 0 or shown.is_behind():
            st.rerun()


def _show_failures(key: str, family: str, history: History) -> None:
    errors = (histories.get_refusal(key), history.failure, get_settings().failure)
    for text in dict.fromkeys(sentence(error) for error in errors if error is not None):
        st.warning(readable(text), icon=":material/warning:")
    if st.session_state.get(f"{family}.unknown") and history.shown.state is None:
        st.info(say(history.form.unknown))


def _show_deleted(key: str, history: History) -> None:
    if history.deleted is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        title = literal(history.deleted.title)
        st.caption(tr(f"Deleted: {title}", f"已删除：{title}"), width="stretch")
        st.button(tr("Undo", "撤销"), key=f"{key}.undelete", on_click=attempt, args=(key, histories.undo))


def _show_entry(key: str, history: History, entry: Entry) -> None:
    if history.renaming == entry.id:
        st.text_input(
            tr("Title", "标题"),
            entry.title,
            key=f"{key}.name.{entry.id}",
            on_change=attempt,
            args=(key, histories.rename, entry.id),
            label_visibility="collapsed",
        )
        return
    title = literal(entry.title)
    with st.container(horizontal=True, vertical_alignment="center", gap=None, wrap=False):
        st.button(
            title,
            key=f"{key}.open.{entry.id}",
            type="secondary" if entry.id == history.shown.id else "tertiary",
            width="stretch",
            wrap=False,
            on_click=attempt,
            args=(key, histories.open_entry, entry.id, type(history.shown)),
        )
        names = {"rename": tr("Rename", "重命名"), "delete": tr("Delete", "删除")}
        st.menu_button(
            tr(f"Rename or delete {title}", f"重命名或删除 {title}"),
            list(names),
            format_func=names.__getitem__,
            icon=":material/more_vert:",
            type="tertiary",
            key=f"{key}.menu.{entry.id}",
            on_click=attempt,
            args=(key, histories.choose, entry.id),
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
            on_click=attempt,
            args=(key, histories.delete_all),
        )
