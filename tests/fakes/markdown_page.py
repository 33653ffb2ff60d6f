"""A page that shows every string of a JSON file as an answer, as a question and as a name."""

import json
import os
from pathlib import Path

import streamlit as st

from pages.shared.markdown import STYLE, literal, readable, typed

st.html(STYLE)
for number, text in enumerate(json.loads(Path(os.environ["TEXTS"]).read_text("utf-8"))):
    with st.container(key=f"answer-{number}"):
        st.markdown(readable(text))
    with st.container(key=f"typed-{number}"):
        st.markdown(typed(text))
    with st.container(key=f"name-{number}"):
        st.caption(literal(text))
st.write("All are shown.")
