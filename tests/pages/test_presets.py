"""System prompts that are kept under a name."""

from pathlib import Path
from typing import Any

import pytest
from streamlit.runtime.context import ContextProxy
from streamlit.testing.v1 import AppTest

from models.store.opening import open_store
from models.store.store import Limits, Shelf
from models.store.things import Thing
from pages.shared.visitor import COOKIE
from tests.fakes.engines import Stage
from tests.fakes.visitor import (
    alive,
    ask,
    captions,
    click,
    conversation,
    engine,
    texts,
    to,
    untranslated,
    visit,
)

SECRET = "a" * 43


@pytest.fixture
def kept(keeping: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContextProxy, "cookies", property(lambda self: {COOKIE: SECRET}))


def system(at: AppTest) -> Any:
    return next(area for area in at.text_area if area.label == "System prompt")


def keep(at: AppTest, name: str, text: str, page: str = "llama2") -> AppTest:
    alive(system(at).set_value(text).run())
    at.text_input(key=f"{page}.preset_name").set_value(name)
    return alive(at.button(key=f"{page}.preset_keep").click().run())


def chips(at: AppTest, page: str = "llama2") -> Any:
    return next((found for found in at.pills if found.key == f"{page}.preset"), None)


def listed(at: AppTest, page: str = "llama2") -> list[str]:
    found = chips(at, page)
    return [str(option) for option in found.options] if found else []


def take(at: AppTest, name: str, page: str = "llama2") -> AppTest:
    return alive(chips(at, page).set_value(name).run())


def test_kept_chosen_replaced_and_deleted(kept: None) -> None:
    at = keep(keep(visit(), "Pirate", "Talk like a pirate."), "  Poet ", "Answer in verse.")
    assert listed(at) == ["Poet", "Pirate"] and chips(at).value == "Poet"
    new = take(visit(), "Pirate")
    assert system(new).value == "Talk like a pirate."
    ask(new, "Hello")
    assert engine(new).sent[-1][0] == {"role": "system", "content": "Talk like a pirate."}
    keep(new, "Pirate", "Talk like Long John Silver.")
    other = visit()
    other.query_params.clear()  # as a browser does on the way to another page
    again = take(to(other, "qwen_vl"), "Pirate", "qwen_vl")
    assert conversation(again, "qwen_vl").system == "Talk like Long John Silver."
    click(again, "qwen_vl.preset_delete")
    assert listed(again, "qwen_vl") == ["Poet"] == listed(visit())
    assert system(again).value == "Talk like Long John Silver."  # the text stays


def test_nothing_is_kept_without_a_name_or_a_text(kept: None) -> None:
    at = keep(keep(visit(), " ", "Talk."), "Empty", " ")
    assert listed(at) == [] and not open_store().shelf(SECRET).entries("settings")


def test_two_tabs_keep_both(kept: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them had read before the other put."""
    at = visit()
    put, others = Shelf.put, [Thing("other", "settings", "presets", "Poet", {"system": "Answer in verse."})]

    def late(self: Shelf, thing: Thing) -> int:
        if others:
            put(self, others.pop())
        return put(self, thing)

    monkeypatch.setattr(Shelf, "put", late)
    assert listed(keep(at, "Pirate", "Talk like a pirate.")) == ["Pirate", "Poet"]


def test_one_that_another_tab_deleted_is_gone(kept: None) -> None:
    at = keep(keep(visit(), "Poet", "Answer in verse."), "Pirate", "Talk like a pirate.")
    click(take(visit(), "Pirate"), "llama2.preset_delete")
    assert listed(alive(at.run())) == ["Poet"] and chips(at).value is None
    open_store().shelf(SECRET).clear()
    at = alive(at.run())
    assert listed(at) == [] and system(at).value == "Talk like a pirate."


def test_where_nothing_is_kept_they_last_for_the_session_and_the_page_says_so(stage: Stage) -> None:
    at = keep(visit(), "Pirate", "Talk like a pirate.")
    assert listed(at) == ["Pirate"] and "last until this page is closed" in captions(at)
    assert listed(to(at, "qwen_vl"), "qwen_vl") == ["Pirate"]
    click(take(at, "Pirate", "qwen_vl"), "qwen_vl.preset_delete")
    assert listed(at, "qwen_vl") == [] and listed(visit()) == []


def test_a_store_that_is_full_keeps_them_for_the_session(kept: None) -> None:
    open_store().limits = Limits(10, 10)
    assert listed(keep(visit(), "Pirate", "Talk like a pirate.")) == ["Pirate"]


def test_deleting_all_deletes_them(kept: None) -> None:
    keep(visit(), "Pirate", "Talk like a pirate.")
    open_store().shelf(SECRET).clear()
    assert listed(visit()) == []


def test_everything_is_said_in_both_languages(stage: Stage) -> None:
    def page(locale: str) -> list[str]:
        at = visit(locale=locale)
        area = next(found for found in at.text_area if found.label in ("System prompt", "系统提示词"))
        alive(area.set_value("1").run())
        at.text_input(key="llama2.preset_name").set_value("2")
        return list(texts(alive(at.button(key="llama2.preset_keep").click().run())))

    assert untranslated(page("en-US"), page("zh-CN")) == []
