"""What stands around every page: the list of pages, and a page's own setup."""

from contextlib import suppress
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

import streamlit as st
from streamlit.errors import StreamlitAPIException

from pages.shared.arrival import arrive
from pages.shared.keeping.histories import recall_settings
from pages.shared.language import keep_settings, remember_language
from pages.shared.markdown import STYLE
from pages.shared.widgets_style import show_style


class Page(NamedTuple):
    """One entry of the page list."""

    file: str
    title: str
    icon: str

    @property
    def family(self) -> str:
        return PurePosixPath(self.file).stem


PAGES = (
    Page("pages/llama2.py", "LLaMA 2", ":material/chat:"),
    Page("pages/gemma.py", "Gemma", ":material/diamond:"),
    Page("pages/chatglm.py", "ChatGLM", ":material/forum:"),
    Page("pages/qwen_vl.py", "Qwen-VL", ":material/image_search:"),
    Page("pages/whisper.py", "Whisper", ":material/mic:"),
)

# The kind of checkpoint that a family's page is for, where that is not chat.
KINDS = {"whisper": "speech", "qwen_vl": "vision"}


def set_up_page(family: str, intro: str, layout: Literal["centered", "wide"] = "centered") -> None:
    """Page setup; every page calls it first, since any page may be the first to run."""
    this = next(page for page in PAGES if page.file == f"pages/{family}.py")
    # Without an icon: browsers would fetch Streamlit's from elsewhere.
    st.set_page_config(page_title=f"{this.title} · Quintet", layout=layout)
    keep_settings()
    recall_settings()
    remember_language()
    st.html(STYLE)
    show_style()
    with st.sidebar:
        for other in PAGES:
            with suppress(StreamlitAPIException):  # a page that is itself the main script has no others
                st.page_link(other.file, label=other.title, icon=other.icon)
    arrive(family)
    st.title(this.title)
    st.caption(intro)
