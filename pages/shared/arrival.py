"""What a browser does when somebody has come from another page: a phone's sidebar closes, and the page is at its top.

Choosing in the sidebar closes it too (`leave_sidebar`).
"""

import streamlit as st

HTML = "<span></span>"
CSS = "span { display: none; }"
# The list of pages covers a phone's whole screen.
JS = """
const PHONE = 768;  // pixels, as Streamlit decides it

export default function ({ data }) {
  const find = (...names) => document.querySelector(names.map((name) => `[data-testid="${name}"]`).join());
  const grew = (name) => {
    const known = Number(document.body.dataset[name] ?? 0);
    document.body.dataset[name] = data[name];
    return data[name] > known;
  };
  const moved = grew("moves"), chose = grew("choices");
  if (moved) find("stAppScrollToBottomContainer", "stMain")?.scrollTo(0, 0);
  if ((moved || chose) && window.innerWidth <= PHONE) find("stSidebarCollapseButton")?.querySelector("button")?.click();
}
"""
STYLE = '<style>:has(> [class*="st-key-arrival"]) { position: absolute; }</style>'


def arrive(page: str) -> None:
    """Mount it. How often the visitor has come to another page is counted here: the first page may be left before its
    browser's half is there."""
    state = st.session_state
    state["moves"] = state.get("moves", 0) + (state.get("page", page) != page)
    state["page"] = page
    mount = st.components.v2.component("quintet_arrival", html=HTML, css=CSS, js=JS)
    with st.container(key="arrival"):
        st.html(STYLE)
        mount(key="arrived", data={"moves": state["moves"], "choices": state.get("choices", 0)})


def leave_sidebar() -> None:
    """What was wanted there has been chosen: a phone shows the page."""
    st.session_state["choices"] = st.session_state.get("choices", 0) + 1
