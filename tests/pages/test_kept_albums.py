"""Albums that are kept: their form, who works on them, and what is done with them on the page."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from models.errors import BadInput, NotKept
from models.jobs import Job
from models.schema import Text
from models.store.opening import open_store
from models.store.store import Shelf
from pages.shared.keeping.keeper import keeper
from pages.shared.vision.album import Album
from pages.shared.vision.kept_album import KeptAlbum, read_album
from pages.shared.vision.questions import MANY
from tests.fakes.engines import Stage
from tests.fakes.visitor import (
    ADA,
    APP,
    BOB,
    Browser,
    alive,
    choose_from_menu,
    click,
    kept,
    listed,
    named_in_address,
    open_listed,
    settle,
    texts,
    to,
    untranslated,
    visit,
)
from tests.fakes.waiting import WAIT, until

PROMPT = "Describe this picture in one sentence."
LIST = "qwen_vl.many"


def png(width: int = 8, height: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(file, "PNG")
    return file.getvalue()


def full_album() -> Album:
    """With all that an album can have."""
    album = Album()
    album.prompt, album.prefix = "Only colours.", "ohwx, "
    album.add("a.png", png()).text = "white"
    album.captions[0].remark = Text("Do not believe it.", "不可信。")
    album.add("b.png", b"no picture").trouble = BadInput("It is none.", "不是图片。")
    album.add("again.png", png())
    return album


def plain(album: Album) -> Any:
    rows = [
        (caption.name, caption.picture, caption.text, caption.note("en"), caption.note("zh"))
        for caption in album.captions
    ]
    return rows, album.prompt, album.prefix


# --- their form ------------------------------------------------------------------------------------


@pytest.fixture
def shelf(keeping: Path) -> Shelf:
    return open_store().shelf("a secret")


def test_all_of_an_album_comes_back(shelf: Shelf, keeping: Path) -> None:
    kept = KeptAlbum(shelf, LIST, full_album())
    kept.save()
    thing = shelf.get(kept.id)
    assert thing and (thing.kind, thing.page, thing.title) == ("album", LIST, "a.png (+2)")
    assert len(thing.files) == 2  # each picture once
    assert plain(read_album(json.loads(json.dumps(thing.content)), thing.files)) == plain(kept.album)
    for query in ("again", "white"):
        assert [entry.id for entry in shelf.entries("album", LIST, query)] == [kept.id]


@pytest.mark.parametrize(
    "content",
    [None, {}, [], {"quintet": 2, "prompt": "", "prefix": "", "captions": []}, {"quintet": 1, "prompt": 5},
     {"quintet": 1, "prompt": "", "prefix": "", "captions": [{"name": "a"}]},
     {"quintet": 1, "prompt": "", "prefix": "", "captions": "abc"}],
)  # fmt: skip
def test_what_cannot_be_read_is_a_sentence(content: Any) -> None:
    with pytest.raises(NotKept, match="cannot be read"):
        read_album(content, {})


def test_a_picture_whose_file_is_gone_leaves_its_caption(shelf: Shelf) -> None:
    kept = KeptAlbum(shelf, LIST, full_album())
    kept.save()
    thing = shelf.get(kept.id)
    assert thing
    back = read_album(thing.content, {})
    assert [caption.text for caption in back.captions] == ["white", "", ""]
    back.thumbnails()
    assert len(back.failed) == 2


def test_nothing_is_written_where_nothing_has_changed(shelf: Shelf) -> None:
    kept = KeptAlbum(shelf, LIST)
    kept.save()
    assert shelf.entries("album") == []
    kept.album.add("a.png", png())
    kept.save()
    kept.album.thumbnails()
    kept.save()
    assert shelf.revision(kept.id) == 1
    kept.album.captions[0].text = "white"
    kept.save()
    assert shelf.revision(kept.id) == 2
    kept.album.clear()
    kept.save()
    assert shelf.entries("album") == []


def test_captions_that_are_being_made_are_seen_in_the_next_session_and_can_be_stopped_there(
    shelf: Shelf,
) -> None:
    kept = KeptAlbum(shelf, LIST, full_album())
    kept.save()
    with Job[Any, Any](lambda _, cancel: cancel.wait(WAIT)) as job:
        kept.album.job = job
        assert KeptAlbum.load(shelf, kept.id) is kept
        kept.settle()
        assert job.wait(WAIT)
    other = KeptAlbum.load(shelf, kept.id)
    assert other and other is not kept and plain(other.album) == plain(kept.album)


def test_work_ends_with_the_last_session_that_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    album, stopped = Album(), []
    monkeypatch.setattr(album, "stop", lambda: stopped.append(True))
    album.join()
    album.join().leave()
    assert not stopped
    album.leave()
    assert stopped == [True]


# --- on the page -----------------------------------------------------------------------------------


def many(at: AppTest) -> AppTest:
    return alive(at.segmented_control(key="set.qwen_vl.mode").set_value(MANY).run())


def upload(at: AppTest, *pictures: tuple[str, bytes]) -> AppTest:
    uploader = next(found for found in at.main.file_uploader if found.label == "Pictures to caption")
    return alive(uploader.set_value([(name, data, "image/png") for name, data in pictures]).run())


def finished(at: AppTest) -> AppTest:
    """After the work of "Caption all"."""
    click(at, "qwen_vl.caption")
    until(lambda: not album(at).running)
    return alive(at.run())


def album(at: AppTest) -> Album:
    found: Album = at.session_state["qwen_vl.album"]
    return found


def rows(at: AppTest) -> list[tuple[str, str]]:
    return [(caption.name, caption.text) for caption in album(at).captions]


def later(page: str = "qwen_vl", **address: str) -> AppTest:
    """A new session, of a server that was started again: nothing is in its memory."""
    keeper().save()
    keeper()._kept.clear()
    at = AppTest.from_file(APP, default_timeout=60)
    at.query_params.update(address)
    return to(alive(at.run()), page)


def test_captions_corrections_failures_and_wording_are_back(
    stage: Stage, browser: type[Browser], downloads: dict[str, Any]
) -> None:
    at = upload(many(visit("qwen_vl")), ("a.png", png(4, 4)), ("b.png", b"bad"), ("c.png", png(5, 5)))
    at.text_area[0].set_value("Only colours.")
    at.text_input(key="set.qwen_vl.prefix").set_value("ohwx, ")
    finished(alive(at.run()))
    album(at).captions[2].text = "mine"
    alive(at.run())
    exported = {name: downloads[name] for name in ("captions.csv", "captions.json")}
    downloads.clear()
    new = later()
    assert rows(new) == [("a.png", "Only colours. 4x4"), ("b.png", ""), ("c.png", "mine")]
    assert "damaged" in album(new).failed[0].note("en") and listed(new, LIST) == ["a.png (+2)"]
    assert exported.items() <= downloads.items()
    assert new.button(key="qwen_vl.caption").disabled and len(kept("album")) == 1
    browser.secret = BOB
    assert rows(many(later())) == [] and not listed(many(later()), LIST)


def test_what_was_captioned_before_a_kill_is_there_and_the_rest_is_gone_on_with(
    stage: Stage, browser: type[Browser]
) -> None:
    at = upload(many(visit("qwen_vl")), ("a.png", png(4, 4)), ("b.png", png(5, 5)))
    album(at).captions[0].text = "from before"
    new = later()
    assert new.button(key="qwen_vl.caption").label == "Continue"
    finished(new)
    assert rows(new) == [("a.png", "from before"), ("b.png", f"{PROMPT} 5x5")]


def test_several_albums_in_a_list_each_with_its_wording(stage: Stage, browser: type[Browser]) -> None:
    at = upload(many(visit("qwen_vl")), ("a.png", png()))
    alive(at.text_input(key="set.qwen_vl.prefix").set_value("one, ").run())
    at = click(at, f"{LIST}.new")
    assert rows(at) == [] and at.text_input(key="set.qwen_vl.prefix").value == "one, "
    at = upload(at, ("b.png", png()))
    alive(at.text_input(key="set.qwen_vl.prefix").set_value("two, ").run())
    assert listed(at, LIST) == ["b.png", "a.png"]
    at = open_listed(at, "a.png", LIST)
    assert rows(at) == [("a.png", "")] and at.text_input(key="set.qwen_vl.prefix").value == "one, "
    assert open_listed(at, "b.png", LIST).text_input(key="set.qwen_vl.prefix").value == "two, "
    assert {thing.title: thing.content["prefix"] for thing in kept("album")} == {
        "a.png": "one, ",
        "b.png": "two, ",
    }


def test_the_address_of_an_album_and_that_of_a_conversation(stage: Stage, browser: type[Browser]) -> None:
    at = alive(visit("qwen_vl").chat_input[0].set_value("hello").run())
    at = alive(settle(at).run())
    talk = named_in_address(at)
    assert at.text_input(key="qwen_vl.address").value == ""  # the address of a picture is another
    at = upload(many(at), ("a.png", png()))
    at = alive(at.run())
    assert named_in_address(at) == kept("album")[0].id
    back = later(c=named_in_address(at))
    assert back.segmented_control(key="set.qwen_vl.mode").value == "many" and rows(back) == [("a.png", "")]
    back = later(c=talk)
    assert back.segmented_control(key="set.qwen_vl.mode").value == "ask"
    assert back.session_state["qwen_vl.conversation"].turns[0].question == "hello"


@pytest.mark.parametrize("button", ["remove all", "the list"])
def test_deleting_is_real_and_can_be_undone(
    button: str, stage: Stage, browser: type[Browser], keeping: Path
) -> None:
    at = upload(many(visit("qwen_vl")), ("heron.png", png(7, 7)))
    album(at).captions[0].text = "a heron"
    alive(at.run())
    if button == "remove all":
        at = click(at, "qwen_vl.caption_clear")
    else:
        at = choose_from_menu(at, "heron.png", "delete", LIST)
    assert rows(at) == [] and listed(at, LIST) == [] and kept("album") == []
    files = [path for path in keeping.rglob("*") if path.is_file()]
    assert not [path for path in files if b"heron" in path.read_bytes() or path.read_bytes() == png(7, 7)]
    at = click(at, f"{LIST}.undelete")
    assert rows(at) == [("heron.png", "a heron")] and listed(at, LIST) == ["heron.png"]


def test_both_languages(stage: Stage, browser: type[Browser]) -> None:
    pages = []
    for locale in ("en-US", "zh-CN"):
        at = visit(locale=locale)
        at.session_state["set.qwen_vl.mode"] = MANY  # the control takes English words only, here
        to(at, "qwen_vl")
        uploader = at.main.file_uploader[0]
        at = alive(uploader.set_value([("1.png", png(), "image/png"), ("2.png", b"bad", "image/png")]).run())
        pages.append(list(texts(alive(at.text_input(key=f"{LIST}.search").set_value("3").run()))))
        keeper().save()
        open_store().shelf(ADA).clear()
    assert untranslated(*pages) == []
