"""What a visitor set: written and read back, and what several sessions of one visitor make of it."""

from pathlib import Path
from typing import Any

import pytest

from models.errors import NotKept
from models.schema import ChatOptions, SpeechOptions
from models.store.opening import open_store
from models.store.store import Limits, Shelf
from models.store.things import Thing
from pages.shared import options, settings
from pages.shared.language import remember
from pages.shared.settings import ID, Settings


@pytest.fixture
def shelf(keeping: Path) -> Shelf:
    return open_store().shelf("a secret")


def opened(shelf: Shelf) -> Settings:
    found = Settings()
    found.open(lambda: shelf)
    return found


def kept(shelf: Shelf) -> Any:
    thing = shelf.get(ID)
    return thing.content["settings"] if thing else None


def put(shelf: Shelf, content: Any) -> None:
    shelf.put(Thing(ID, "settings", "", "", content, revision=shelf.revision(ID)))


VALUES = {"set.a": "text", "set.b": 0.35, "set.c": 7, "set.d": True, "set.e": ["x", "y"], "set.f": None}


def test_what_was_set_comes_back_and_defaults_are_not_kept(shelf: Shelf) -> None:
    mine = opened(shelf)
    for key, value in VALUES.items():
        mine.note(key, value, "a default")
    mine.note("set.usual", 1, 1)
    mine.save()
    assert kept(shelf) == VALUES
    back = opened(shelf)
    assert {key: back.get(key, "?") for key in (*VALUES, "set.usual")} == {**VALUES, "set.usual": "?"}
    back.note("set.a", "a default", "a default")  # set back
    back.save()
    assert "set.a" not in kept(shelf) and opened(shelf).get("set.a", "a default") == "a default"


def test_nothing_is_written_where_nothing_changed(shelf: Shelf) -> None:
    mine = opened(shelf)
    mine.save()
    assert shelf.revision(ID) == 0
    for _ in range(3):
        mine.note("set.a", 1, 0)
        mine.save()
    again = opened(shelf)
    again.note("set.a", 1, 0)
    again.save()
    assert shelf.revision(ID) == 1


def test_sessions_write_only_what_they_changed(shelf: Shelf) -> None:
    one = opened(shelf)
    one.note("set.a", 1, 0)
    one.note("set.b", 1, 0)
    one.save()
    two = opened(shelf)
    one.note("set.a", 2, 0)
    one.save()
    two.note("set.b", 0, 0)
    two.note("set.c", 3, 0)
    two.save()
    assert kept(shelf) == {"set.a": 2, "set.c": 3}


def test_a_change_between_reading_and_writing_loses_neither(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = opened(shelf), opened(shelf)
    one.note("set.a", 1, 0)
    two.note("set.b", 2, 0)
    read = Shelf.get

    def interrupted(self: Shelf, id: str) -> Thing | None:
        monkeypatch.setattr(Shelf, "get", read)
        found = read(self, id)
        two.save()
        return found

    monkeypatch.setattr(Shelf, "get", interrupted)
    one.save()
    assert kept(shelf) == {"set.b": 2} and one.failure is None
    one.save()
    assert kept(shelf) == {"set.a": 1, "set.b": 2}


@pytest.mark.parametrize("content", [None, [], {}, {"quintet": "?"}, {"quintet": 1, "settings": [1]}])
def test_damaged_settings_are_begun_anew(content: Any, shelf: Shelf) -> None:
    put(shelf, content)
    mine = opened(shelf)
    assert mine.get("set.a", 5) == 5 and mine.failure is None
    mine.note("set.a", 6, 5)
    mine.save()
    assert kept(shelf) == {"set.a": 6}


def test_those_of_a_newer_version_are_left_alone(shelf: Shelf) -> None:
    newer = {"quintet": settings.VERSION + 1, "settings": {"set.a": 6}}
    put(shelf, newer)
    mine = opened(shelf)
    assert mine.get("set.a", 5) == 5 and "newer" in str(mine.failure)
    mine.note("set.a", 7, 5)
    mine.save()
    thing = shelf.get(ID)
    assert thing is not None and thing.content == newer


def test_what_is_refused_for_a_while_is_kept_then(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = opened(shelf)
    monkeypatch.setattr(settings, "PATIENCE", 0.0)
    monkeypatch.setattr(open_store(), "limits", Limits(0, 0))
    mine.note("set.a", 1, 0)
    mine.save()
    assert "as much as you may" in str(mine.failure) and kept(shelf) is None
    monkeypatch.setattr(open_store(), "limits", Limits(10**9, 10**9))
    mine.save()
    assert mine.failure is None and kept(shelf) == {"set.a": 1}


def test_a_store_that_cannot_be_opened_is_asked_again(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    put(shelf, {"quintet": 1, "settings": {"set.a": 1, "set.b": 1}})

    def refuse() -> Shelf:
        raise NotKept("No.", "否。")

    mine = Settings()
    mine.open(refuse)
    assert str(mine.failure) == "No."
    mine.note("set.b", 2, 0)
    mine.save()
    mine.open(lambda: shelf)  # too soon
    assert mine.get("set.a", 0) == 0
    mine._again = 0.0
    mine.open(lambda: shelf)
    assert (mine.get("set.a", 0), mine.get("set.b", 0), mine.failure) == (1, 2, None)


def test_what_was_deleted_does_not_come_back(shelf: Shelf) -> None:
    mine, other = opened(shelf), opened(shelf)
    mine.note("set.a", "a secret", "")
    mine.save()
    other.open(lambda: shelf)
    mine.drop()
    shelf.clear()
    mine.note("set.a", "more of it", "")
    mine.save()
    other.note("set.b", 1, 0)
    other.save()
    assert kept(shelf) == {"set.b": 1}


# --- as widgets remember them ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kept", "default", "allows", "value"),
    [
        ("b", "a", None, "b"),
        (5, "a", None, "a"),
        (None, "a", None, "a"),
        (True, False, None, True),
        (1, False, None, False),
        ("b", "a", ["a", "b"].__contains__, "b"),
        ("gone", "a", ["a", "b"].__contains__, "a"),
        ([], "a", ["a", "b"].__contains__, "a"),
    ],
)
def test_what_a_widget_cannot_hold_is_its_default(
    kept: Any, default: Any, allows: Any, value: Any, session: dict[str, Any]
) -> None:
    session["settings"] = mine = Settings()
    mine.note("set.x", kept, object())
    assert remember("set.x", default, allows) == "set.x" and session["set.x"] == value
    assert mine.get("set.x", default) == value


SPECS = {
    name: spec for kind in (ChatOptions, SpeechOptions) for name, spec in kind.__dataclass_fields__.items()
}


@pytest.mark.parametrize(
    ("name", "value", "held"),
    [
        ("max_new_tokens", 7, True),
        ("max_new_tokens", None, True),  # a field can be emptied
        ("max_new_tokens", 10**9, False),
        ("max_new_tokens", 7.0, False),
        ("max_new_tokens", True, False),
        ("top_p", 0.5, True),
        ("top_p", 1, False),
        ("top_p", None, False),
        ("top_p", float("nan"), False),
        ("seed", None, True),
        ("seed", "1", False),
        ("stop", "END\n", True),
        ("stop", ["END"], False),
        ("task", "translate", True),
        ("task", "sing", False),
        ("task", [], False),
        ("vad", False, True),
        ("vad", 0, False),
        ("hotwords", "Otto", True),
        ("hotwords", None, False),
    ],
)
def test_what_the_widget_of_an_option_can_hold(name: str, value: Any, held: bool) -> None:
    spec = SPECS[name]
    assert options._holds(spec, options._widget_value(spec, spec.default), value) is held
