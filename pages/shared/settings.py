"""What a visitor set on the pages: kept for their browser, and back in its next session."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import streamlit as st

from models.errors import NotKept
from models.store.things import Changed, Thing

if TYPE_CHECKING:
    from models.store.store import Shelf

ID = "settings"
VERSION = 1  # of the form in which they are kept
PATIENCE = 10.0  # seconds after which the store is tried again that has failed


class Settings:
    """Those of one session by their keys, as far as they are no defaults, and what the store has of them.

    Sessions of one visitor write what they changed, and leave the rest as another one may have written it.
    """

    def __init__(self) -> None:
        self.failure: NotKept | None = None  # why they are not kept at the moment
        self._values: dict[str, Any] = {}
        self._saved: dict[str, Any] = {}
        self._shelf: Shelf | None = None
        self._again = 0.0
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether they are kept, and those of earlier sessions are here."""
        return self._shelf is not None

    def open(self, get_shelf: Callable[[], "Shelf"]) -> None:
        """Take what was set in earlier sessions, unless that is done, or was tried just now."""
        if self._shelf is not None or time.monotonic() < self._again:
            return
        try:
            shelf = get_shelf()
            self._saved = _read(shelf.get(ID))
        except NotKept as error:
            self._fail(error)
            return
        self.failure, self._shelf = None, shelf
        self._values = self._saved | self._values

    def get(self, key: str, default: Any) -> Any:
        return self._values.get(key, default)

    def get_text(self, key: str, default: str = "") -> str:
        found = self._values.get(key)
        return found if isinstance(found, str) else default

    def note(self, key: str, value: Any, default: Any) -> None:
        """Have it kept, or forgotten where it is the default. Any thread may."""
        if value == default:
            self._values.pop(key, None)
        else:
            self._values[key] = value

    def drop(self) -> None:
        """From now on nothing of them is kept, whoever still notes something: all was deleted."""
        with self._lock:
            self._shelf = None

    def save(self) -> None:
        """Keep what has changed; for any thread. A failure is noted, and tried again after a while."""
        with self._lock:
            values = dict(self._values)
            if self._shelf is None or time.monotonic() < self._again:
                return
            if values == self._saved:
                self.failure = None
                return
            try:
                self._write(self._shelf, values)
            except Changed:  # by another session just now: the next look takes both
                return
            except NotKept as error:
                self._fail(error)
                return
            self.failure, self._saved = None, values

    def _write(self, shelf: "Shelf", values: dict[str, Any]) -> None:
        thing = shelf.get(ID)
        kept = _read(thing)
        others = {key: value for key, value in kept.items() if key in values or key not in self._saved}
        own = {key: value for key, value in values.items() if (key, value) not in self._saved.items()}
        if others | own != kept:
            content = {"quintet": VERSION, "settings": others | own}
            shelf.put(Thing(ID, "settings", "", "", content, revision=thing.revision if thing else 0))

    def _fail(self, error: NotKept) -> None:
        self.failure, self._again = error, time.monotonic() + PATIENCE


def _read(thing: Thing | None) -> dict[str, Any]:
    """By their keys; what is damaged is as if it had not been kept. Raises NotKept: a newer version wrote them."""
    content = thing.content if thing and isinstance(thing.content, dict) else {}
    version, settings = content.get("quintet"), content.get("settings")
    if isinstance(version, int) and version > VERSION:
        raise NotKept(
            "What you set is not kept, since a newer Quintet has kept settings of yours: update this one.",
            "您的设置未保存：已有由更新版本的 Quintet 保存的设置；请升级。",
        )
    return settings if isinstance(settings, dict) else {}


def get_settings() -> Settings:
    """Those of this session."""
    found: Settings = st.session_state.setdefault("settings", Settings())
    return found


def forget_settings() -> None:
    """Begin as somebody who never set anything."""
    state = st.session_state
    get_settings().drop()
    for name in list(map(str, state)):
        if name.startswith("set."):
            del state[name]
        elif name.endswith(".draft"):
            state.pop(name).stop()
    state["settings"] = Settings()
