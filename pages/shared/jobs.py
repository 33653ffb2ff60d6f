"""What a script hears from work in another thread. Knows nothing of models, but knows Streamlit.

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

INTERVAL = 0.1  # seconds between two batches of a short text
CHARACTERS_PER_SECOND = 60_000  # Streamlit re-sends the whole text each time: bound the bytes


def batches(
    items: Callable[[threading.Event], Iterator[Item]], shown: Callable[[], int] = lambda: 0
) -> Iterator[list[Item]]:
    """What has come, every INTERVAL seconds and less often as the shown text grows.

    An error of the work is raised after everything that came before it. Whoever leaves the loop early,
    for whatever reason, cancels the work.

    Args:
        items: the work, which looks at its event to see whether it is cancelled.
        shown: how many characters of what came are on the page by now.
    """
    with Stream.of(items) as stream:
        ended = False
        while not ended:
            ended = stream.wait(max(INTERVAL, shown() / CHARACTERS_PER_SECOND))
            touch()
            yield stream.drain()
        stream.result()


def when_stopped(key: str, action: Callable[[], None] = lambda: None) -> None:
    """Do `action`, if any, and draw the page again when Stop ends the script from here on.

    Streamlit ends a stopped script without a new run, so the page would keep what it showed. A
    fragment's timer stands still while the script runs; the first tick after that means Stop.
    """
    st.session_state[key] = False
    _tick(key, action)


@st.fragment(run_every=0.5)
def _tick(key: str, action: Callable[[], None]) -> None:
    if not st.session_state[key]:  # this first run is part of the script itself
        st.session_state[key] = True
        return
    action()
    st.rerun()


def touch() -> None:
    """Give Streamlit the chance to interrupt the script; sends nothing."""
    st.session_state.get("touch")
