"""What a visitor keeps: found again, by nobody else, and gone when it is deleted."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.event import listen

from models.errors import BadInput, NotKept
from models.store.store import Limits, Shelf, Store
from models.store.things import Changed, Thing, digest, new_id

PICTURE = b"\x89PNG a picture"


@pytest.fixture
def shelf(store: Store) -> Shelf:
    return store.shelf("Ada’s secret")


def thing(title: str = "A title", words: str = "", files: tuple[bytes, ...] = (), **values: object) -> Thing:
    content = {"version": 1, "said": words}
    made = Thing(
        new_id(), "conversation", "llama2", title, content, words, {digest(each): each for each in files}
    )
    return replace(made, **values)


def titles(shelf: Shelf, *arguments: object, **named: object) -> list[str]:
    return [entry.title for entry in shelf.entries("conversation", *arguments, **named)]


def kept_files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "files").rglob("*") if path.is_file()}


# --- found again -----------------------------------------------------------------------------------


def test_what_is_put_is_there(shelf: Shelf) -> None:
    said = "naïve 你好 \U0001f600 \x00 \" ' % _"
    put = thing("What is 你好?", said, (PICTURE,))
    assert shelf.put(put) == 1
    assert (entry := shelf.entries("conversation")[0]).title == "What is 你好?"
    assert (entry.id, entry.kind, entry.page) == (put.id, "conversation", "llama2")
    assert entry.size > len(PICTURE) and entry.size == shelf.size()
    found = shelf.get(put.id)
    assert found is not None
    assert (found.content, found.files, found.revision) == (
        {"version": 1, "said": said},
        {digest(PICTURE): PICTURE},
        1,
    )


def test_a_thing_comes_with_its_own_files_alone(shelf: Shelf) -> None:
    one, other = thing(files=(PICTURE, b"both")), thing(files=(b"other", b"both"))
    shelf.put(one)
    shelf.put(other)
    found = shelf.get(one.id)
    assert found and found.files == one.files


def test_it_is_there_after_a_restart(store: Store, shelf: Shelf, url: object, tmp_path: Path) -> None:
    put = thing(files=(PICTURE,))
    shelf.put(put)
    store.close()
    again = Store(url, tmp_path / "files", Limits(10**6, 10**6))  # type: ignore[arg-type]
    found = again.shelf("Ada’s secret").get(put.id)
    again.close()
    assert found and found.files == put.files


def test_putting_again_replaces(shelf: Shelf) -> None:
    put = thing(words="first")
    revision = shelf.put(put)
    created = shelf.entries("conversation")[0].created
    assert shelf.put(replace(put, content=["second"], words="second", revision=revision)) == 2
    (entry,) = shelf.entries("conversation")
    assert entry.created == created <= entry.updated
    found = shelf.get(put.id)
    assert found and (found.content, found.revision) == (["second"], shelf.revision(put.id))
    assert titles(shelf, query="first") == [] and titles(shelf, query="second")


def test_nobody_writes_over_what_another_tab_has_put(shelf: Shelf) -> None:
    put = thing()
    shelf.put(put)
    shelf.put(replace(put, content=["theirs"], revision=1))
    for revision in (0, 1, 3):
        with pytest.raises(Changed):
            shelf.put(replace(put, content=["mine"], revision=revision))
    found = shelf.get(put.id)
    assert found and found.content == ["theirs"]
    shelf.delete(put.id)
    with pytest.raises(Changed):
        shelf.put(replace(put, revision=2))
    assert shelf.revision(put.id) == 0 and titles(shelf) == []


def test_a_list_is_the_newest_first_and_comes_in_pages(shelf: Shelf) -> None:
    made = [thing(f"number {number}") for number in range(5)]
    for each in made:
        shelf.put(each)
    shelf.put(thing("elsewhere", page="gemma"))
    shelf.put(thing("of another kind", kind="album"))
    shelf.put(replace(made[1], revision=1))
    newest = ["number 1", "number 4", "number 3", "number 2", "number 0"]
    assert titles(shelf, "llama2") == newest
    assert titles(shelf, "llama2", limit=2) == newest[:2]
    assert titles(shelf, "llama2", limit=2, offset=4) == newest[4:]
    assert titles(shelf, limit=1) == ["number 1"] and len(titles(shelf)) == 6


SEARCHES = {
    "dragon": True,
    "DRAGON story": True,
    "dragon  über": True,
    "ÜBER": True,
    "\uff24ragon": True,  # full width
    "龙": True,
    "dragon\x00": True,
    "dragon knight": False,
    "%": False,
    "_ragon": False,
    "x" * 100_000: False,
}


def test_a_search_finds_words_of_title_and_text(shelf: Shelf) -> None:
    shelf.put(thing("A Dragon", "a story über 龙"))
    shelf.put(thing("another", "one"))
    for query, found in SEARCHES.items():
        assert titles(shelf, query=query) == (["A Dragon"] if found else []), query[:20]


def test_a_name_of_the_visitors_own_stays(shelf: Shelf) -> None:
    put = thing("first question")
    shelf.put(put)
    shelf.rename(put.id, "  My\nname ")
    shelf.put(replace(put, revision=1))
    assert titles(shelf) == ["My name"]
    assert titles(shelf, query="my name") and not titles(shelf, query="question")


def test_a_list_reads_what_it_shows_and_nothing_else(store: Store, shelf: Shelf) -> None:
    """However much is kept: from an index, in its order."""
    shelf.put(thing())
    if store._engine.dialect.name == "sqlite":
        asked: list[str] = []
        listen(store._engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
        shelf.entries("conversation", "llama2")
        (query,) = [each for each in asked if "things" in each]
        with store.reading() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", ("", "", "", 1, 0)).all()
        (step,) = [row[3] for row in plan]  # no other one that sorts
        assert "USING INDEX things_by_time (owner=? AND kind=? AND page=?)" in step


def test_titles_are_cut(shelf: Shelf) -> None:
    shelf.put(thing("long " * 100))
    assert len(titles(shelf)[0]) <= 200


# --- by nobody else --------------------------------------------------------------------------------


def test_another_visitor_reaches_nothing(store: Store, shelf: Shelf, tmp_path: Path) -> None:
    put = thing("mine", "private", (PICTURE,))
    shelf.put(put)
    other = store.shelf("another secret")
    assert other.entries("conversation") == [] and other.size() == 0
    assert other.get(put.id) is None and other.revision(put.id) == 0
    other.delete(put.id)
    other.rename(put.id, "theirs")
    other.clear()
    assert titles(shelf) == ["mine"] and kept_files(tmp_path) == {digest(PICTURE)}


def test_the_same_id_of_another_visitor_is_another_thing(store: Store, shelf: Shelf) -> None:
    put = thing("mine", files=(PICTURE,))
    shelf.put(put)
    other = store.shelf("another secret")
    other.put(replace(put, title="theirs", content=[]))
    other.delete(put.id)
    found = shelf.get(put.id)
    assert found and found.title == "mine" and found.files == put.files


def test_nothing_tells_the_secret(store: Store, shelf: Shelf, tmp_path: Path) -> None:
    shelf.put(thing(files=(PICTURE,)))
    store.close()
    for path in tmp_path.rglob("*"):
        assert "secret" not in path.name
        assert not path.is_file() or "Ada’s secret".encode() not in path.read_bytes()


def test_files_are_called_by_digests_only(shelf: Shelf, tmp_path: Path) -> None:
    for name in ("../../escaped", "/etc/passwd", "a" * 63, "A" * 64, "0" * 64 + "\n", ""):
        with pytest.raises(BadInput):
            shelf.put(replace(thing(), files={name: b"data"}))
    assert titles(shelf) == [] and shelf.size() == 0 and kept_files(tmp_path) == set()


# --- gone when it is deleted -------------------------------------------------------------------------


def test_a_file_stays_while_something_needs_it(shelf: Shelf, tmp_path: Path) -> None:
    one, two = thing(files=(PICTURE, b"other")), thing(files=(PICTURE,))
    shelf.put(one)
    shelf.put(two)
    shelf.delete(one.id)
    assert kept_files(tmp_path) == {digest(PICTURE)}
    shelf.put(replace(two, files={}, revision=1))
    assert kept_files(tmp_path) == set()


def test_what_is_deleted_can_be_put_again(shelf: Shelf) -> None:
    put = thing(files=(PICTURE,))
    shelf.put(put)
    found = shelf.get(put.id)
    assert found
    shelf.delete(put.id)
    shelf.put(replace(found, revision=0))
    again = shelf.get(put.id)
    assert again and again == replace(found, revision=1)
    shelf.rename(put.id, "mine")
    named = shelf.get(put.id)
    assert named and named.named
    shelf.delete(put.id)
    shelf.put(replace(named, revision=0))
    shelf.put(replace(named, title="a question", revision=1))
    assert titles(shelf) == ["mine"]


def test_delete_all(store: Store, shelf: Shelf, tmp_path: Path) -> None:
    for number in range(3):
        shelf.put(thing(str(number), files=(PICTURE, str(number).encode())))
    store.shelf("another secret").put(thing("theirs", files=(PICTURE,)))
    shelf.clear()
    assert titles(shelf) == [] and shelf.size() == 0
    assert titles(store.shelf("another secret")) == ["theirs"] and kept_files(tmp_path) == {digest(PICTURE)}
    shelf.put(thing("again"))
    assert titles(shelf) == ["again"]


def test_sizes_come_and_go(shelf: Shelf) -> None:
    one, two = thing(words="a" * 1000, files=(PICTURE,)), thing()
    shelf.put(one)
    shelf.put(two)
    shelf.put(replace(one, content=[], files={}, revision=1))
    assert shelf.size() == sum(entry.size for entry in shelf.entries("conversation"))
    shelf.delete(one.id)
    shelf.delete(two.id)
    assert shelf.size() == 0


# --- limits ------------------------------------------------------------------------------------------


def test_a_visitor_may_keep_so_much(store: Store, shelf: Shelf, tmp_path: Path) -> None:
    small = thing("small")
    shelf.put(small)
    with pytest.raises(NotKept, match="as much as you may"):
        shelf.put(thing("large", files=(b"x" * 1_000_000,)))
    with pytest.raises(NotKept, match="as much as you may"):
        shelf.put(replace(small, content="x" * 1_000_000, revision=1))
    found = shelf.get(small.id)
    assert titles(shelf) == ["small"] and found and found.content == small.content
    assert kept_files(tmp_path) == set()
    store.shelf("another secret").put(thing("theirs", "x" * 900_000))


def test_all_may_keep_so_much(store: Store, shelf: Shelf) -> None:
    store.shelf("another secret").put(thing("theirs", "x" * 900_000))
    with pytest.raises(NotKept, match="for all its visitors"):
        shelf.put(thing("mine", "x" * 700_000))
    mine = thing("mine", "x" * 500_000)
    shelf.put(mine)
    shelf.put(replace(mine, content=[], revision=1))  # less is always taken
    assert titles(shelf) == ["mine"]
