"""The language of the page: the browser's, unless the visitor chose one; and settings that last."""

import streamlit as st

from models import ModelError, Text

LANGUAGES = {"en": "English", "zh": "中文"}


def language() -> str:
    """ "en" or "zh"."""
    chosen = st.session_state.get("set.language")
    if chosen in LANGUAGES:
        return str(chosen)
    return "zh" if (st.context.locale or "").lower().startswith("zh") else "en"


def tr(en: str, zh: str) -> str:
    return zh if language() == "zh" else en


def say(text: Text) -> str:
    return tr(text.en, text.zh)


def sentence(error: ModelError) -> str:
    """What an error says to the visitor."""
    return tr(error.en, error.zh)


def remember(key: str, default: object) -> str:
    """A widget key (beginning with "set.") whose value lasts while other pages are visited."""
    st.session_state.setdefault(key, default)
    return key


def keep_settings() -> None:
    """Streamlit forgets a widget's value when another page is shown; writing it again keeps it."""
    for key in list(st.session_state):
        if str(key).startswith("set."):
            st.session_state[key] = st.session_state[key]
