"""Parts of a page that are called by themselves, with no browser and no session around them."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st

from pages.shared import loading


class Rerun(BaseException):
    """The script ends here, and another run begins."""


def leave_browser(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """From now on `st.session_state` is this dictionary, and `st.rerun` raises."""

    def rerun() -> None:
        raise Rerun

    session: dict[str, Any] = {}
    monkeypatch.setattr(st, "session_state", session)
    monkeypatch.setattr(st, "rerun", rerun)
    return session


def lend(monkeypatch: pytest.MonkeyPatch, engine: Any) -> loading.Choice:
    """A choice of this engine, which is held while it works; an error is what its load ends with."""

    @contextmanager
    def using(*_: Any) -> Iterator[Any]:
        if isinstance(engine, Exception):
            raise engine
        with engine.lease():
            yield engine

    monkeypatch.setattr(loading, "loader", lambda: SimpleNamespace(using=using))
    return loading.Choice("llama2", "row", "cpu", "fp32", 128, None, None, True, True)


def record(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> list[tuple[str, Any]]:
    """What is drawn of these kinds of elements, each with its text. Nothing of it is clicked."""
    found: list[tuple[str, Any]] = []
    for kind in kinds:
        monkeypatch.setattr(st, kind, lambda text, *_, kind=kind, **__: found.append((kind, text)))
    return found
