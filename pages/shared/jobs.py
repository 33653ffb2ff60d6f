"""What a script hears from short work that it waits for. Knows nothing of models, but knows Streamlit.

Streamlit interrupts a script (Stop, a click, another page, a closed tab) at its next call into
Streamlit. So the work itself never runs in the script: a thread does it, and the script hears what came
and touches Streamlit at least ten times a second.
"""

import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import streamlit as st

from models.jobs import Stream

Item = TypeVar("Item")

INTERVAL = 0.1  # seconds between two batches


def batches(items: Callable[[threading.Event], Iterator[Item]]) -> Iterator[list[Item]]:
    """What has come, every INTERVAL seconds.

    An error of the work is raised after everything that came before it. Whoever leaves the loop early,
    for whatever reason, cancels the work, `items`, which looks at its event to see that.
    """
    with Stream.of(items) as stream:
        ended = False
        while not ended:
            ended = stream.wait(INTERVAL)
            touch()
            yield stream.drain()
        stream.result()


def when_stopped(key: str) -> None:
    """Draw the page again when Stop ends the script from here on.

    Streamlit ends a stopped script without a new run, so the page would keep what it showed. A
    fragment's timer stands still while the script runs; the first tick after that means Stop.
    """
    st.session_state[key] = False
    _tick(key)


@st.fragment(run_every=0.5)
def _tick(key: str) -> None:
    if not st.session_state[key]:  # this first run is part of the script itself
        st.session_state[key] = True
        return
    st.rerun()


def touch() -> None:
    """Give Streamlit the chance to interrupt the script; sends nothing."""
    st.session_state.get("touch")
