"""Delete is delete: neither the database nor the folder tells afterwards what was there."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy

from models.store.store import Limits, Shelf, Store
from models.store.things import Thing, digest, new_id

MARK = "the heron stands in the reeds"


@pytest.fixture
def sqlite(tmp_path: Path) -> Store:
    url = sqlalchemy.URL.create("sqlite", database=str(tmp_path / "quintet.db"))
    return Store(url, tmp_path / "files", Limits(10**8, 10**8), patience=0.05)


@pytest.fixture
def shelf(sqlite: Store) -> Shelf:
    return sqlite.shelf("a secret")


def marked(length: int) -> Thing:
    """A thing with the mark in all its parts, in rows of that length."""
    text = (MARK + " ") * length
    return Thing(
        new_id(), "conversation", "llama2", MARK, {"text": text}, text, {digest(text.encode()): text.encode()}
    )


def traces(folder: Path) -> list[str]:
    """The files in which the mark can be read."""
    return [path.name for path in folder.rglob("*") if path.is_file() and MARK.encode() in path.read_bytes()]


@pytest.mark.parametrize("length", [1, 1000])
def test_nothing_is_left_of_what_is_deleted(shelf: Shelf, tmp_path: Path, length: int) -> None:
    others = [Thing(new_id(), "conversation", "llama2", f"other {number}", "x" * 500) for number in range(40)]
    put = marked(length)
    for each in (*others[:20], put, *others[20:]):
        shelf.put(each)
    assert traces(tmp_path)
    shelf.delete(put.id)
    assert traces(tmp_path) == []
    assert len(shelf.entries("conversation", limit=100)) == 40


def test_nothing_is_left_of_what_was_there_before_a_change(shelf: Shelf, tmp_path: Path) -> None:
    put = marked(100)
    shelf.put(put)
    shelf.rename(put.id, MARK + " too")
    shelf.rename(put.id, "renamed")
    shelf.put(replace(put, title="", content={}, words="", files={}, revision=1))
    assert traces(tmp_path) == []


def test_nothing_is_left_after_deleting_all(shelf: Shelf, sqlite: Store, tmp_path: Path) -> None:
    for length in (1, 10, 1000):
        shelf.put(marked(length))
    sqlite.shelf("another secret").put(Thing(new_id(), "album", "qwen_vl", "theirs", []))
    shelf.clear()
    assert traces(tmp_path) == []


def test_whoever_reads_meanwhile_delays_it(sqlite: Store, shelf: Shelf, tmp_path: Path) -> None:
    put = marked(10)
    shelf.put(put)
    with closing(sqlite3.connect(tmp_path / "quintet.db")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM things").fetchone()
        shelf.delete(put.id)
        assert traces(tmp_path) == ["quintet.db-wal"]
    shelf.put(Thing(new_id(), "conversation", "llama2", "another", []))
    assert traces(tmp_path) == []


def test_a_picture_that_a_kill_left_is_gone_after_the_next_start(
    shelf: Shelf, sqlite: Store, tmp_path: Path
) -> None:
    put = marked(10)
    shelf.put(put)
    (name,) = put.files
    (owner,) = (tmp_path / "files").iterdir()
    sqlite.close()
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'quintet.db'}")
    with engine.begin() as connection:  # the rows went, and then the power
        connection.execute(sqlalchemy.text("PRAGMA secure_delete = ON"))
        for table in ("files", "things", "visitors"):
            connection.execute(sqlalchemy.text(f"DELETE FROM {table}"))
    engine.dispose()
    (owner / "half.part").write_text(MARK)
    assert (owner / name).is_file()
    url = sqlalchemy.URL.create("sqlite", database=str(tmp_path / "quintet.db"))
    Store(url, tmp_path / "files", Limits(1, 1)).close()
    assert traces(tmp_path) == [] and not owner.exists()
