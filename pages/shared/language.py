"""The language of the page: the browser's, unless the visitor chose one; and settings that last."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from models import ModelError, Text
from pages.shared.settings import get_settings

LANGUAGES = {"en": "English", "zh": "中文"}


def language() -> str:
    """ "en" or "zh"."""
    return str(st.session_state.get("set.language") or _browsers_language())


def _browsers_language() -> str:
    return "zh" if (st.context.locale or "").lower().startswith("zh") else "en"


def remember_language() -> str:
    """The key of the widget that it is chosen with; from now on a choice of an earlier session counts."""
    return remember("set.language", _browsers_language(), list(LANGUAGES).__contains__)


def tr(en: str, zh: str) -> str:
    return zh if language() == "zh" else en


def say(text: Text) -> str:
    return tr(text.en, text.zh)


def sentence(error: ModelError) -> str:
    """What an error says to the visitor."""
    return tr(error.en, error.zh)


def remember(key: str, default: Any, allows: Callable[[Any], bool] | None = None) -> str:
    """A widget key (beginning with "set.") whose value lasts while other pages are visited, and is kept.

    What an earlier session kept counts if it `allows` that, or else if it is of the default's type.
    """
    state, settings = st.session_state, get_settings()
    if key not in state:
        state[key] = kept = settings.get(key, default)
        if kept is not default and not (allows(kept) if allows else type(kept) is type(default)):
            state[key] = default
    settings.note(key, state[key], default)
    return key


def forget(key: str) -> None:
    """Have the widget of a remembered key begin with its default."""
    st.session_state.pop(key, None)
    get_settings().note(key, None, None)


def keep_settings() -> None:
    """Streamlit forgets a widget's value when another page is shown; writing it again keeps it."""
    for key in list(st.session_state):
        if str(key).startswith("set."):
            st.session_state[key] = st.session_state[key]
