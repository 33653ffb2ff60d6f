"""Where things are kept."""

import sys
from pathlib import Path

import pytest

from models.cache import cache_dir, data_dir

VARIABLES = ("QUINTET_CACHE", "QUINTET_DATA", "XDG_CACHE_HOME", "LOCALAPPDATA")


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("platform", "set_", "folder"),
    [
        ("linux", {}, "~/.cache/quintet"),
        ("darwin", {}, "~/Library/Caches/quintet"),
        ("win32", {"LOCALAPPDATA": "~/Local"}, "~/Local/quintet/cache"),
        ("win32", {}, "~/quintet/cache"),
        ("linux", {"XDG_CACHE_HOME": "~/x"}, "~/x/quintet"),
        ("win32", {"XDG_CACHE_HOME": "/x"}, "/x/quintet"),
        ("darwin", {"XDG_CACHE_HOME": "/x", "QUINTET_CACHE": "~/own"}, "~/own"),
        ("linux", {"QUINTET_CACHE": "/own"}, "/own"),
        ("linux", {"QUINTET_CACHE": "", "XDG_CACHE_HOME": ""}, "~/.cache/quintet"),
    ],
)
def test_the_cache_is_where_it_was_put_or_where_the_system_has_its_own(
    platform: str, set_: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in set_.items():
        monkeypatch.setenv(name, value)
    assert cache_dir() == Path(folder).expanduser()


def test_what_visitors_made_is_beside_the_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUINTET_CACHE", "~/own")
    assert data_dir() == home / "own-data"
    monkeypatch.setenv("QUINTET_DATA", "~/data")
    assert data_dir() == home / "data"
