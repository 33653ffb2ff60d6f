"""System prompts that are kept under a name, for every chat page of the visitor's."""

from collections.abc import Callable
from contextlib import suppress

import streamlit as st

from models.errors import NotKept
from models.store.things import Changed, Thing
from pages.shared.keeping.histories import get_shelf, note_failure
from pages.shared.language import sentence, tr
from pages.shared.markdown import literal, readable

ID = "presets"  # of the one thing in the visitor's store that holds them
LONGEST = 80  # characters of a name

Presets = dict[str, str]  # name: system prompt, the oldest first


def read_presets() -> tuple[Presets, NotKept | None]:
    """The visitor's, those that could not be kept too; and why nothing can be, where that is so."""
    try:
        return _presets(get_shelf().get(ID)) | _of_session(), None
    except NotKept as error:
        note_failure(error)
        return _of_session(), error


def change_presets(change: Callable[[Presets], object]) -> None:
    """Let `change` have them, and keep what it makes of them: as long as the session lasts, if nothing else can be."""
    try:
        with suppress(Changed):  # another tab has put its own meanwhile
            return _put(change)
        _put(change)
    except NotKept as error:
        note_failure(error)
        change(_of_session())


def _put(change: Callable[[Presets], object]) -> None:
    shelf = get_shelf()
    thing = shelf.get(ID)
    presets = _presets(thing)
    change(presets)
    shelf.put(Thing(ID, "settings", "presets", "", presets, revision=thing.revision if thing else 0))


def _presets(thing: Thing | None) -> Presets:
    content = thing.content if thing else {}
    return {str(name): str(system) for name, system in content.items()} if isinstance(content, dict) else {}


def _of_session() -> Presets:
    presets: Presets = st.session_state.setdefault("presets", {})
    return presets


# --- on the page ---------------------------------------------------------------------------------


def show_presets(key: str, field: str) -> None:
    """Draw them; `field` is the key of the text that one is taken into, and kept from."""
    presets, why = read_presets()
    chosen, name = f"{key}.preset", f"{key}.preset_name"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if presets:
            _choose(key, chosen, field, presets)
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
    if presets and why:
        gone = tr(
            "Presets last until this page is closed or loaded anew.", "预设只保留到关闭或刷新本页为止。"
        )
        st.caption(f":material/info: {gone} {readable(sentence(why))}")


def _choose(key: str, chosen: str, field: str, presets: Presets) -> None:
    st.pills(
        tr("Presets", "预设"),
        list(presets)[::-1],
        format_func=literal,
        key=chosen,
        on_change=_take,
        args=(chosen, field, presets),
    )
    st.button(
        "",
        icon=":material/delete:",
        key=f"{key}.preset_delete",
        type="tertiary",
        help=tr("Delete the chosen preset", "删除所选预设"),
        disabled=st.session_state.get(chosen) not in presets,
        on_click=_delete,
        args=(chosen,),
    )


def _take(chosen: str, field: str, presets: Presets) -> None:
    if (name := st.session_state[chosen]) in presets:
        st.session_state[field] = presets[name]


def _keep(name: str, field: str, chosen: str) -> None:
    title, system = " ".join(st.session_state[name].split()), st.session_state[field]
    if not (title and system.strip()):
        return
    change_presets(lambda presets: (presets.pop(title, None), presets.update({title: system})))
    st.session_state[name], st.session_state[chosen] = "", title


def _delete(chosen: str) -> None:
    title = st.session_state[chosen]
    _of_session().pop(title, None)
    change_presets(lambda presets: presets.pop(title, None))
    st.session_state[chosen] = None
