"""What tests of hubs stand on: nothing of this machine's own settings, and a hub on it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.hub import NOWHERE, REPOSITORY, FakeHub


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Empty caches, no hub, no package index, nothing of this machine's own settings."""
    for name in list(os.environ):
        if name.startswith(("HF_", "PIP_", "MODELSCOPE_", "USE_MODELSCOPE", "TRANSFORMERS_OFF")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("QUINTET_CACHE", str(tmp_path / "quintet"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "modelscope"))
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", NOWHERE)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub({"org/tiny": dict(REPOSITORY)}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running
