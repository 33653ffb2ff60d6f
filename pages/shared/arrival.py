"""What a browser does when somebody has come from another page: a phone's sidebar closes, and the page is at its top."""

import streamlit as st

HTML = "<span></span>"
CSS = "span { display: none; }"
# The list of pages covers a phone's whole screen.
JS = """
const PHONE = 768;  // pixels, as Streamlit decides it

export default function ({ data }) {
  const before = document.body.dataset.page;
  document.body.dataset.page = data.page;
  if (!before || before === data.page) return;
  const find = (...names) => document.querySelector(names.map((name) => `[data-testid="${name}"]`).join());
  find("stAppScrollToBottomContainer", "stMain")?.scrollTo(0, 0);
  if (window.innerWidth <= PHONE) find("stSidebarCollapseButton")?.querySelector("button")?.click();
}
"""
STYLE = '<style>:has(> [class*="st-key-arrival"]) { position: absolute; }</style>'


def arrive(page: str) -> None:
    """Mount it."""
    mount = st.components.v2.component("quintet_arrival", html=HTML, css=CSS, js=JS)
    with st.container(key="arrival"):
        st.html(STYLE)
        mount(key="arrived", data={"page": page})
