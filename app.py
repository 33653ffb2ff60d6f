"""Quintet's entry: `streamlit run app.py`.

Streamlit loads this file twice: once as the server's module, where `app` is what it serves, and then
for every session as the script, where the page list is drawn. `st.runtime.exists()` tells which.
"""

import streamlit as st


def navigate() -> None:
    """The page list. Pages set themselves up, because a deep link may run one without this file."""
    from pages.shared.words import tr

    st.navigation(
        [
            st.Page("pages/llama2.py", title="LLaMA 2", icon=":material/chat:", default=True),
            st.Page("pages/gemma.py", title="Gemma", icon=":material/diamond:"),
            st.Page(
                "pages/whisper.py",
                title=tr("Whisper: speech to text", "Whisper：语音转文字"),
                icon=":material/mic:",
            ),
        ]
    ).run()


if st.runtime.exists():
    navigate()
else:
    app = st.App(__file__)
