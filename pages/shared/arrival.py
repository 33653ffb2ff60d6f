"""What a browser does when somebody has come from another page: a phone's sidebar closes, and the page is at its top."""

import streamlit as st

HTML = "<span></span>"
CSS = "span { display: none; }"
# The list of pages covers a phone's whole screen.
JS = """
const PHONE = 768;  // pixels, as Streamlit decides it

export default function ({ data }) {
  const known = Number(document.body.dataset.moves ?? 0);
  document.body.dataset.moves = data.moves;
  if (data.moves <= known) return;
  const find = (...names) => document.querySelector(names.map((name) => `[data-testid="${name}"]`).join());
  find("stAppScrollToBottomContainer", "stMain")?.scrollTo(0, 0);
  if (window.innerWidth <= PHONE) find("stSidebarCollapseButton")?.querySelector("button")?.click();
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
        mount(key="arrived", data={"moves": state["moves"]})
