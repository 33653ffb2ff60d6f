"""What a session holds as long as it lasts: a dropped connection is not its end.

Streamlit lets go of what `st.cache_resource(scope="session")` holds as soon as the connection drops, while the
session itself waits `server.disconnectedSessionTTL` seconds for its browser to come back, and tells nobody when it
waits no longer. So the end is found out here: nobody has been connected for longer than that.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from threading import Lock
from typing import Any, TypeVar

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from models.jobs import Job

Held = TypeVar("Held")

INTERVAL = 5.0  # seconds between two looks at who is connected


def hold(key: str, make: Callable[[], Held], close: Callable[[Held], Any]) -> Held:
    """What this session holds under `key`: made when it is first asked for, closed when the session has ended."""
    name = f"held.{key}"
    if name not in st.session_state:
        held = st.session_state[name] = make()
        context = get_script_run_ctx()
        if context is not None:
            sessions().add(context.session_id, partial(close, held))
    found: Held = st.session_state[name]
    return found


@dataclass
class _Session:
    """`seen`: when somebody was connected last, by time.monotonic()."""

    seen: float
    closes: list[Callable[[], Any]] = field(default_factory=list)


class Sessions:
    """What the sessions of this process hold, and who of them may still come back.

    `is_connected` tells by its id whether a session has a browser, `patience` how many seconds it waits for one.
    """

    def __init__(self, is_connected: Callable[[str], bool], patience: float) -> None:
        self._is_connected = is_connected
        self._patience = patience
        self._sessions: dict[str, _Session] = {}
        self._lock = Lock()

    def add(self, session: str, close: Callable[[], Any]) -> None:
        with self._lock:
            self._sessions.setdefault(session, _Session(time.monotonic())).closes.append(close)

    def sweep(self, now: float) -> None:
        """Close what the sessions held that have ended by `now`."""
        with self._lock:
            for name, session in self._sessions.items():
                if self._is_connected(name):
                    session.seen = now
            # It may have been connected until just before the next look.
            patience = self._patience + INTERVAL
            ended = [name for name, session in self._sessions.items() if now - session.seen > patience]
            closes = [close for name in ended for close in self._sessions.pop(name).closes]
        for close in closes:
            try:
                close()
            except Exception:
                logging.getLogger(__name__).exception("at the end of a session")

    def watch(self) -> Job[None, None]:
        """Sweep from now on."""

        def work(send: Callable[[None], None], cancel: Any) -> None:
            while not cancel.wait(INTERVAL):
                self.sweep(time.monotonic())

        return Job(work)


@cache
def sessions() -> Sessions:
    """Those of this process."""
    found = Sessions(_is_connected, st.get_option("server.disconnectedSessionTTL"))
    found.watch()
    return found


def _is_connected(session: str) -> bool:
    return runtime.exists() and runtime.get_instance().is_active_session(session)
