"""System prompts that are kept under a name, for every chat page of the visitor's."""

from contextlib import suppress
from typing import TYPE_CHECKING

import streamlit as st

from models.errors import NotKept
from models.store.things import Changed, Entry, Thing, new_id
from pages.shared.keeping.histories import get_shelf, note_failure
from pages.shared.language import sentence, tr
from pages.shared.markdown import literal, readable

if TYPE_CHECKING:
    from models.store.store import Shelf

PAGE = "presets"  # of the things in the visitor's store that hold one each, whose title is its name
MOST = 100  # of them in the list
LONGEST = 80  # characters of a name


def list_presets() -> tuple[list[str], NotKept | None]:
    """The names of the visitor's, the newest first, those too that could not be kept; and why nothing can be, where
    that is so."""
    own = list(_of_session())[::-1]
    try:
        kept = [entry.title for entry in _entries(get_shelf())]
    except NotKept as error:
        note_failure(error)
        return own, error
    return [*own, *(name for name in kept if name not in own)], None


def read_preset(name: str) -> str | None:
    """The system prompt of that name; None where it was deleted in another tab."""
    if (own := _of_session().get(name)) is not None:
        return own
    with suppress(NotKept):
        thing = _find(get_shelf(), name)
        return str(thing.content["system"]) if thing else None
    return None


def keep_preset(name: str, system: str) -> None:
    """In place of another one of that name; as long as the session lasts, if nothing else can be."""
    _of_session().pop(name, None)
    try:
        with suppress(Changed):  # another tab has put one of that name meanwhile
            return _put(get_shelf(), name, system)
        _put(get_shelf(), name, system)
    except NotKept as error:
        note_failure(error)
        _of_session()[name] = system


def delete_preset(name: str) -> None:
    _of_session().pop(name, None)
    try:
        shelf = get_shelf()
        if thing := _find(shelf, name):
            shelf.delete(thing.id)
    except NotKept as error:
        note_failure(error)


def _put(shelf: "Shelf", name: str, system: str) -> None:
    before = _find(shelf, name)
    id, revision = (before.id, before.revision) if before else (new_id(), 0)
    shelf.put(Thing(id, "settings", PAGE, name, {"system": system}, revision=revision))


def _find(shelf: "Shelf", name: str) -> Thing | None:
    found = next((entry for entry in _entries(shelf) if entry.title == name), None)
    return shelf.get(found.id) if found else None


def _entries(shelf: "Shelf") -> list[Entry]:
    return shelf.entries("settings", PAGE, limit=MOST)


def _of_session() -> dict[str, str]:
    """Those that could not be kept."""
    presets: dict[str, str] = st.session_state.setdefault("presets", {})
    return presets


# --- on the page ---------------------------------------------------------------------------------


def show_presets(key: str, field: str) -> None:
    """Draw them; `field` is the key of the text that one is taken into, and kept from."""
    names, why = list_presets()
    chosen, name = f"{key}.preset", f"{key}.preset_name"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if names:
            _choose(key, chosen, field, names)
        with st.popover(tr("Keep as preset", "存为预设"), icon=":material/bookmark_add:"):
            st.text_input(tr("Name of the preset", "预设名称"), key=name, max_chars=LONGEST)
            st.button(
                tr("Keep", "保存"),
                key=f"{key}.preset_keep",
                type="primary",
                help=tr(
                    "Under a name that there is already, it takes the place of the other.",
                    "若名称已存在，则替换原有预设。",
                ),
                on_click=_keep,
                args=(name, field, chosen),
            )
    if names and why:
        gone = tr(
            "Presets last until this page is closed or loaded anew.", "预设只保留到关闭或刷新本页为止。"
        )
        st.caption(f":material/info: {gone} {readable(sentence(why))}")


def _choose(key: str, chosen: str, field: str, names: list[str]) -> None:
    if st.session_state.get(chosen) not in names:  # deleted in another tab
        st.session_state[chosen] = None
    st.pills(
        tr("Presets", "预设"),
        names,
        format_func=literal,
        key=chosen,
        on_change=_take,
        args=(chosen, field),
    )
    st.button(
        "",
        icon=":material/delete:",
        key=f"{key}.preset_delete",
        type="tertiary",
        help=tr("Delete the chosen preset", "删除所选预设"),
        disabled=st.session_state[chosen] is None,
        on_click=_delete,
        args=(chosen,),
    )


def _take(chosen: str, field: str) -> None:
    name = st.session_state[chosen]
    if name and (system := read_preset(name)) is not None:
        st.session_state[field] = system


def _keep(typed: str, field: str, chosen: str) -> None:
    name, system = " ".join(st.session_state[typed].split()), st.session_state[field]
    if name and system.strip():
        keep_preset(name, system)
        st.session_state[typed], st.session_state[chosen] = "", name


def _delete(chosen: str) -> None:
    delete_preset(st.session_state[chosen])
    st.session_state[chosen] = None
