"""Conversations that are kept: after a refresh, in every tab, by nobody else; and the list of them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from models import loader
from models.store.opening import open_store
from models.store.store import Limits
from models.store.things import Thing
from pages.shared.conversation.conversation import Conversation
from pages.shared.keeping import histories
from pages.shared.keeping.keeper import keeper
from tests.fakes.engines import Stage
from tests.fakes.visitor import (
    ADA,
    BOB,
    Browser,
    again,
    alive,
    ask,
    captions,
    choose_from_menu,
    click,
    conversation,
    imported,
    in_mode,
    kept,
    keys,
    listed,
    named_in_address,
    open_listed,
    said,
    settle,
    shown,
    sidebar,
    texts,
    to,
    untranslated,
    visit,
    works,
)
from tests.fakes.waiting import WAIT

pytestmark = pytest.mark.usefixtures("browser")


# --- found again ---------------------------------------------------------------------------------


def test_a_conversation_is_back_in_every_tab_and_in_no_other_browser(browser: type[Browser]) -> None:
    first = again(ask(visit(), "What is a heron?"))
    for tab in (visit(), visit()):
        assert said(tab) == said(first) and shown(tab) == shown(first)
        assert listed(tab) == ["What is a heron?"]
    browser.secret = BOB
    other = visit()
    assert said(other) == [] and listed(other) == [] and kept() == []


def test_each_page_has_its_own(glm: Stage) -> None:
    at = again(ask(visit(), "on the first page"))
    at.query_params.clear()  # as a browser does on the way to another page
    again(ask(to(at, "chatglm"), "on another"))
    new = visit()
    new.query_params.clear()
    assert listed(to(new, "chatglm"), "chatglm") == ["on another"]
    assert said(visit())[0][0] == "on the first page"


def test_regenerated_edited_and_cleared() -> None:
    at = click(ask(visit(), "first"), "llama2.again")
    at = click(at, "llama2.choose.0.-1")
    again(at)
    assert said(visit()) == said(at) and len(said(at)[0][1]) == 2
    assert conversation(visit()).turns[0].chosen == 0
    again(click(at, "llama2.clear"))
    assert kept() == [] and said(visit()) == []
    again(click(at, "llama2.undo"))
    assert said(visit()) == said(at) != []


def test_an_answer_is_kept_while_it_comes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kill would leave: nothing is done at the end."""
    found: list[Any] = []

    def look(self: Any, text: str) -> None:
        write(self, text)
        keeper().save()  # as the thread does every second
        found.append(kept()[0].content["turns"][-1]["answers"][-1])

    write = Conversation.write
    monkeypatch.setattr(Conversation, "write", look)
    at = ask(visit(), "What is a heron?")
    assert len(found) > 1 and found[0]["text"] and found[0]["reason"] == ""
    assert said(at)[0][1][0].startswith(found[0]["text"])


def test_what_was_never_ended_broke_off(stage: Stage) -> None:
    ask(visit(), "What is a heron?")
    (thing,) = kept()
    thing.content["turns"][-1]["answers"][-1] |= {"text": "A heron is", "reason": ""}
    open_store().shelf(ADA).put(thing)
    at = visit()
    assert "broke off" in "\n".join(caption.value for caption in at.caption)
    assert said(at) == [("What is a heron?", ["A heron is"])]
    assert kept()[0].revision == thing.revision + 1  # looking at it changes nothing


# --- two tabs ------------------------------------------------------------------------------------


def test_what_another_tab_wrote_is_seen() -> None:
    one = ask(visit(), "first")
    two = visit()
    again(ask(two, "second"))
    assert said(again(one)) == said(two) and len(said(one)) == 2


def test_tabs_that_go_their_own_ways_both_stay() -> None:
    one = ask(visit(), "first")
    two = visit()
    conversation(two).ask("from the second tab")  # both before either is drawn again
    again(ask(one, "from the first tab"))
    again(two)
    assert [question for question, _ in said(one)] == ["first", "from the first tab"]
    assert [question for question, _ in said(two)] == ["first", "from the second tab"]
    assert len(kept()) == 2 and len(listed(again(one))) == 2


def test_what_another_tab_deleted_is_gone() -> None:
    one = ask(visit(), "first")
    two = visit()
    choose_from_menu(again(one), "first", "delete")
    assert said(again(two)) == [] and kept() == []


# --- the list ------------------------------------------------------------------------------------


def test_a_new_chat_at_one_click() -> None:
    at = again(ask(visit(), "first"))
    at = click(at, "llama2.new")
    assert said(at) == [] and listed(at) == ["first"]
    at = again(ask(at, "second"))
    assert listed(at) == ["second", "first"]
    assert [question for question, _ in said(open_listed(at, "first"))] == ["first"]
    assert [question for question, _ in said(open_listed(at, "second"))] == ["second"]


def test_a_new_chat_keeps_the_system_prompt() -> None:
    at = visit()
    next(area for area in at.text_area if area.label == "System prompt").set_value("Be brief.")
    at = click(again(ask(at, "first")), "llama2.new")
    assert conversation(at).system == "Be brief."
    next(area for area in at.text_area if area.label == "System prompt").set_value("Be long.").run()
    at = open_listed(ask(at, "second"), "first")
    assert next(area for area in at.text_area if area.label == "System prompt").value == "Be brief."


def test_titles_are_found_and_given() -> None:
    at = again(ask(visit(), "What is a heron? " * 20))
    assert listed(at)[0].endswith("…") and len(listed(at)[0]) < 90
    at = choose_from_menu(at, listed(at)[0], "rename")
    box = next(box for box in at.text_input if box.label == "Title")
    at = alive(box.set_value("*Birds*").run())
    assert listed(at) == ["\\*Birds\\*"]
    assert listed(again(ask(at, "more"))) == ["\\*Birds\\*"]


def test_a_search() -> None:
    at = click(again(ask(visit(), "What is a Heron?")), "llama2.new")
    at = again(ask(at, "Tell me of dragons"))
    box = at.text_input(key="llama2.search")
    assert listed(alive(box.set_value("heron").run())) == ["What is a Heron?"]
    at = alive(at.text_input(key="llama2.search").set_value("griffin").run())
    assert listed(at) == [] and "No conversation has all these words" in sidebar(at)


def test_a_long_list_comes_in_pages() -> None:
    shelf = open_store().shelf(ADA)
    for number in range(histories.MOST + 3):
        content = {"quintet": 1, "system": "", "turns": [{"question": f"number {number}", "pictures": []}]}
        shelf.put(Thing(f"id{number}", "conversation", "llama2", f"number {number}", content))
    at = visit()
    assert len(listed(at)) == histories.MOST and listed(at)[0] == said(at)[0][0]
    assert len(listed(click(at, "llama2.more"))) == histories.MOST + 3
    assert "llama2.more" not in keys(at)


def test_deleting_and_undo(keeping: Path) -> None:
    at = again(ask(visit(), "About the heron"))
    at = choose_from_menu(at, "About the heron", "delete")
    assert listed(at) == [] and said(at) == [] and kept() == []
    assert not [path for path in keeping.rglob("*") if path.is_file() and b"heron" in path.read_bytes()]
    at = click(at, "llama2.undelete")
    assert listed(at) == ["About the heron"] and said(at)[0][0] == "About the heron"
    assert "llama2.undelete" not in keys(at)


def test_deleting_another_than_the_one_shown() -> None:
    at = click(again(ask(visit(), "first")), "llama2.new")
    at = choose_from_menu(again(ask(at, "second")), "first", "delete")
    assert listed(at) == ["second"] and said(at)[0][0] == "second"


def test_deleting_all(keeping: Path) -> None:
    at = again(ask(visit(), "first"))
    assert at.button(key="llama2.delete_all").disabled
    at = alive(at.checkbox(key="llama2.sure").check().run())
    at = click(at, "llama2.delete_all")
    assert listed(at) == [] and said(at) == [] and open_store().shelf(ADA).size() == 0
    assert at.button(key="llama2.new").disabled  # it is one
    at = again(ask(at, "afterwards"))
    assert listed(at) == ["afterwards"] and not at.button(key="llama2.new").disabled


def test_an_import_is_kept() -> None:
    at = imported(visit(), json.dumps([{"role": "user", "content": "From elsewhere"}]))
    again(at)
    assert listed(visit()) == ["From elsewhere"]


def test_an_import_leaves_the_conversation_that_was_shown() -> None:
    at = again(ask(visit(), "mine"))
    at = imported(at, json.dumps([{"role": "user", "content": "From elsewhere"}]))
    assert sorted(listed(again(at))) == ["From elsewhere", "mine"]
    assert conversation(at).turns[0].question == "From elsewhere"


def test_a_new_chat_is_still_one_after_a_refresh() -> None:
    at = click(again(ask(visit(), "first")), "llama2.new")
    at = visit()
    assert conversation(at).turns == () and listed(at) == ["first"]
    again(ask(at, "second"))
    assert [turn.question for turn in conversation(visit()).turns] == ["second"]


def test_what_was_removed_can_be_had_back_where_it_was_removed() -> None:
    at = again(ask(visit(), "first"))
    assert "llama2.undo_removal" not in keys(at)
    at = click(at, "llama2.clear")
    at = click(at, "llama2.undo_removal")
    assert [turn.question for turn in conversation(at).turns] == ["first"]
    assert "llama2.undo_removal" not in keys(at)


# --- its address ---------------------------------------------------------------------------------


def test_the_address_brings_a_conversation_back_to_its_owner_only(browser: type[Browser]) -> None:
    at = again(ask(visit(), "first"))
    name = named_in_address(at)
    at = click(at, "llama2.new")
    assert "c" not in at.query_params
    again(ask(at, "second"))
    back = AppTest.from_file(at._script_path, default_timeout=60)
    back.query_params["c"] = name
    assert said(alive(back.run()))[0][0] == "first"
    browser.secret = BOB
    other = AppTest.from_file(at._script_path, default_timeout=60)
    other.query_params["c"] = name
    assert said(alive(other.run())) == [] and "somebody else's" in sidebar(other)
    assert "c" not in other.query_params


def test_the_address_brings_the_mode_with_it(glm: Stage) -> None:
    at = in_mode("tool")
    at = again(alive(at.chat_input[0].set_value("hello").run()))
    name = named_in_address(at)
    back = visit("chatglm")
    back.query_params["c"] = name
    again(back)
    assert back.segmented_control(key="set.chatglm.mode").value == "tool"
    assert conversation(back, "chatglm.tool").turns[0].question == "hello"


# --- what does not work --------------------------------------------------------------------------


def test_one_that_cannot_be_read_does_not_hide_the_others() -> None:
    at = click(again(ask(visit(), "first")), "llama2.new")
    again(ask(at, "second"))
    newest = kept()[0]
    open_store().shelf(ADA).put(replace(newest, content={"quintet": 99}))
    new = visit()
    assert said(new) == [] and "cannot be read" in sidebar(new) and listed(new) == ["second", "first"]
    assert said(open_listed(new, "first"))[0][0] == "first"
    assert "cannot be read" in sidebar(open_listed(new, "second")) and said(new)[0][0] == "first"
    by_address = AppTest.from_file(new._script_path, default_timeout=60)
    by_address.query_params["c"] = newest.id
    assert "cannot be read" in sidebar(alive(by_address.run()))


def test_keeping_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUINTET_KEEP", "0")
    at = again(ask(visit(), "first"))
    assert "This server keeps nothing" in sidebar(at) and "llama2.new" not in keys(at)
    assert len(said(at)) == 1 and said(visit()) == []


def test_a_browser_without_cookies(browser: type[Browser]) -> None:
    browser.secret = ""
    at = again(ask(visit(), "first"))
    assert "takes no cookie" in sidebar(at) and len(said(at)) == 1


def test_a_damaged_database_stops_nobody(keeping: Path) -> None:
    keeping.mkdir()
    (keeping / "quintet.db").write_bytes(b"nothing like a database" * 500)
    at = again(ask(visit(), "first"))
    assert "damaged" in sidebar(at) and len(said(at)) == 1


def test_what_was_not_kept_for_a_while_is_kept_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no word of it is lost."""
    monkeypatch.setattr("pages.shared.keeping.keeper.PATIENCE", 0.0)
    at = again(ask(visit(), "first"))
    monkeypatch.setattr(open_store(), "limits", Limits(0, 0))
    at = again(ask(at, "second"))
    assert "as much as you may" in sidebar(at) and len(said(at)) == 2
    assert len(kept()[0].content["turns"]) == 1
    monkeypatch.setattr(open_store(), "limits", Limits(10**9, 10**9))
    at = again(at)
    assert "as much as you may" not in sidebar(at) and said(visit()) == said(at)


def test_both_languages() -> None:
    """Of the list, of a deletion, and of what goes wrong."""
    pages = []
    for locale in ("en-US", "zh-CN"):
        at = click(again(ask(visit(locale=locale), "1")), "llama2.new")
        at = again(ask(at, "2"))
        at = choose_from_menu(at, "1", "delete")
        pages.append(list(texts(alive(at.text_input(key="llama2.search").set_value("3").run()))))
        open_store().shelf(ADA).clear()
    assert untranslated(*pages) == []


# --- an answer that is being written -------------------------------------------------------------


def asking(stage: Stage, text: str) -> AppTest:
    """A tab whose question waits for its model, and is kept."""
    stage.go.clear()
    at = alive(visit().chat_input[0].set_value(text).run())
    keeper().save()
    return at


def test_another_tab_follows_the_answer_and_sees_its_end(stage: Stage) -> None:
    first = asking(stage, "one two")
    other = visit()
    assert conversation(other) is conversation(first) and works(other) == works(first) != []
    assert "Being written" in captions(other) and "Being written" not in captions(first)
    assert "broke off" not in captions(other) and "llama2.stop" in keys(other)
    stage.go.set()
    settle(first)
    assert said(settle(other)) == said(first) == [("one two", ["one two "])]
    assert "Being written" not in captions(other)


def test_a_tab_that_was_open_before_follows_it_too(stage: Stage) -> None:
    at = again(ask(visit(), "first"))
    other = visit()
    assert conversation(other) is not conversation(at)
    stage.go.clear()
    loader.shared().unload()
    alive(at.chat_input[0].set_value("second").run())
    keeper().save()
    again(other)
    assert conversation(other) is conversation(at) and "Being written" in captions(other)
    stage.go.set()
    settle(at)


def test_stop_after_a_refresh_reaches_the_answer(stage: Stage) -> None:
    first = asking(stage, "one two")
    (work,) = works(first)
    click(visit(), "llama2.stop")
    assert work.cancel.is_set()
    stage.go.set()
    assert work.wait(WAIT)
    again(first)
    assert said(first) == [("one two", [])] and "llama2.stop" not in keys(first)


def test_nobody_else_follows_it(stage: Stage, browser: type[Browser]) -> None:
    first = asking(stage, "one two")
    (id,) = [thing.id for thing in kept()]
    browser.secret = BOB
    other = visit()
    other.query_params["c"] = id
    assert again(other) and not works(other) and conversation(other) is not conversation(first)
    stage.go.set()
    settle(first)
