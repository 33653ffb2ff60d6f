"""The public interface hands on what it is given, to the loader that the process shares."""

import threading
from typing import Any

import pytest

import models


class Recorder:
    """Writes down how a loader was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> str:
            self.calls.append((name, *arguments))
            return f"what {name} gives"

        return call


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(models, "shared", lambda: recorder)
    return recorder


def test_every_argument_arrives_in_its_place(loader: Recorder) -> None:
    cancel, told = threading.Event(), list[Any]()
    assert models.load("a", "cpu", "int8", 512, told.append, cancel) == "what load gives"
    assert models.load("a", cancel=cancel, context=7, precision="bf16", isolated=True) == "what load gives"
    assert models.plan("b", "cuda:0", "fp16", 1024) == "what plan gives"
    assert models.plan("b") == "what plan gives"
    assert models.loaded() == "what loaded gives"
    assert models.unload("c") == "what unload gives"
    assert models.unload() == "what unload gives"
    assert loader.calls == [
        ("load", "a", "cpu", "int8", 512, told.append, cancel, None),
        ("load", "a", "auto", "bf16", 7, None, cancel, True),
        ("plan", "b", "cuda:0", "fp16", 1024),
        ("plan", "b", "auto", "auto", None),
        ("loaded",),
        ("unload", "c"),
        ("unload", None),
    ]
