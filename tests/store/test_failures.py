"""Whatever happens to disk or database is one sentence, nothing is half-written, and the next thing is kept."""

import errno
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from models.errors import NotKept
from models.store import opening, tables
from models.store.failures import sentences
from models.store.opening import open_store
from models.store.store import Limits, Store
from models.store.things import Changed, Thing, digest, new_id
from tests.fakes.waiting import WAIT, at_once

ROOMY = Limits(10**8, 10**8)


def thing(title: str = "A title", content: Any = "said", **values: Any) -> Thing:
    return replace(Thing(new_id(), "conversation", "llama2", title, content), **values)


def titles(store: Store) -> list[str]:
    return [entry.title for entry in store.shelf("secret").entries("conversation", limit=1000)]


def said(work: Callable[[], Any]) -> str:
    """The one sentence that it fails with, which is there in both languages and tells no folder."""
    with pytest.raises(NotKept) as caught:
        work()
    sentence = str(caught.value)
    assert caught.value.zh and ". " not in sentence and "/tmp" not in sentence
    return sentence


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (sqlite3.SQLITE_FULL, "full"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "in use"),
        (sqlite3.SQLITE_LOCKED_SHAREDCACHE, "in use"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "damaged"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "cannot write"),
        (sqlite3.SQLITE_CANTOPEN_ISDIR, "cannot write"),
        (sqlite3.SQLITE_IOERR_READ, "does not answer"),
    ],
)
def test_sqlites_own_reasons_are_told_apart(code: int, sentence: str) -> None:
    """However much more they say of where it happened."""
    cause = sqlite3.OperationalError("somewhere in /tmp")
    cause.sqlite_errorcode = code

    def work() -> None:
        with sentences():
            raise sqlalchemy.exc.OperationalError("SELECT", {}, cause)

    assert sentence in said(work)


# --- settings ----------------------------------------------------------------------------------------


def test_the_default_is_a_file_in_a_folder_that_only_this_user_reads(keeping: Path) -> None:
    shelf = open_store().shelf("secret")
    shelf.put(thing(files={digest(b"a"): b"a"}))
    assert open_store() is open_store()
    kept = [keeping, *keeping.rglob("*")]
    assert {"quintet.db", "quintet.db-wal", digest(b"a")} <= {path.name for path in kept}
    for path in kept:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_it_lies_beside_the_cache_by_default(
    keeping: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QUINTET_DATA")
    monkeypatch.setenv("QUINTET_CACHE", str(tmp_path / "cache"))
    open_store()
    assert (tmp_path / "cache-data" / "quintet.db").is_file()


def test_keeping_nothing(keeping: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUINTET_KEEP", "0")
    assert "keeps nothing" in said(open_store)
    assert not keeping.exists()


def test_limits_are_settings(keeping: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUINTET_KEEP_VISITOR", "0.000001")
    assert "as much as you may here (1e-06 GB)" in said(
        lambda: open_store().shelf("secret").put(thing(content="x" * 2000))
    )
    monkeypatch.setenv("QUINTET_KEEP_VISITOR", "a lot")
    open_store().shelf("secret").put(thing(content="x" * 2000))
    monkeypatch.setenv("QUINTET_KEEP_ALL", "0")
    assert "for all its visitors" in said(lambda: open_store().shelf("secret").put(thing()))


@pytest.mark.parametrize("address", ["mysql://host/name", "no address", "oracle://x"])
def test_another_database_is_refused(keeping: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("QUINTET_DATABASE", address)
    assert "QUINTET_DATABASE" in said(open_store)


def test_postgresql_is_named_as_people_name_it(
    keeping: Path, postgresql: sqlalchemy.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUINTET_DATABASE", postgresql.set(drivername="postgresql").render_as_string())
    shelf = open_store().shelf("secret of this test")
    shelf.put(thing("kept there"))
    assert [entry.title for entry in shelf.entries("conversation")] == ["kept there"]
    assert not (keeping / "quintet.db").exists()
    open_store().close()


def test_a_server_that_does_not_answer(keeping: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUINTET_DATABASE", "postgresql://quintet:hidden@127.0.0.1:1/name")
    sentence = said(open_store)
    assert "does not answer" in sentence and "hidden" not in sentence


# --- what happens to a database ------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # a server's disk is its own
def test_a_full_disk(store: Store, tmp_path: Path) -> None:
    store.shelf("secret").put(thing("before"))
    with closing(store._engine.raw_connection()) as raw:
        raw.cursor().execute("PRAGMA max_page_count = 1")
        large = thing("large", "x" * 500_000, files={digest(b"a"): b"a"})
    assert "full" in said(lambda: store.shelf("secret").put(large))
    assert titles(store) == ["before"] and not list((tmp_path / "files").rglob("*/*"))


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "full"), (errno.EACCES, "cannot write")])
def test_a_file_that_cannot_be_written(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(os, "fsync", refuse)
    assert words in said(lambda: store.shelf("secret").put(thing(files={digest(b"a"): b"a"})))
    monkeypatch.undo()
    assert titles(store) == [] and not list((tmp_path / "files").rglob("*/*"))
    store.shelf("secret").put(thing("after", files={digest(b"a"): b"a"}))
    assert titles(store) == ["after"]


def test_a_locked_database(store: Store, url: sqlalchemy.URL) -> None:
    store.shelf("secret").put(thing("before"))
    other = Store(url, Path(url.database or "") / "none", ROOMY)
    lock = "BEGIN IMMEDIATE" if url.get_backend_name() == "sqlite" else "LOCK TABLE things"
    with other._engine.connect() as connection:
        if url.get_backend_name() == "sqlite":
            connection = connection.execution_options(writes=True)
            connection.begin()
        else:
            connection.exec_driver_sql(lock)
        assert "in use by another program" in said(lambda: store.shelf("secret").put(thing("meanwhile")))
    store.shelf("secret").put(thing("after"))
    assert titles(store) == ["after", "before"]
    other.close()


@pytest.mark.parametrize(
    "damage", [b"this is no database at all" * 200, b"SQLite format 3\0" + b"\xff" * 8000]
)
def test_a_damaged_database(keeping: Path, damage: bytes) -> None:
    keeping.mkdir()
    (keeping / "quintet.db").write_bytes(damage)
    assert "damaged" in said(open_store)
    assert (keeping / "quintet.db").read_bytes() == damage  # somebody may still save what is in it


def test_a_database_damaged_in_its_middle(keeping: Path) -> None:
    shelf = open_store().shelf("secret")
    made = [thing(str(number), "x" * 5000) for number in range(50)]
    for each in made:
        shelf.put(each)
    open_store().close()
    file = keeping / "quintet.db"
    data = bytearray(file.read_bytes())
    data[4096 * 2 :] = b"\xa5" * len(data[4096 * 2 :])
    file.write_bytes(data)
    opening._open.cache_clear()
    assert "damaged" in said(lambda: [open_store().shelf("secret").get(each.id) for each in made])


@pytest.mark.parametrize("content", ["{", "no JSON", "[" * 100_000])
def test_one_thing_that_is_damaged(store: Store, url: sqlalchemy.URL, content: str) -> None:
    good, bad = thing("good"), thing("bad")
    for each in (good, bad):
        store.shelf("secret").put(each)
    with store._engine.begin() as connection:
        where = {"content": content, "id": bad.id}
        connection.execute(sqlalchemy.text("UPDATE things SET content = :content WHERE id = :id"), where)
    assert "damaged" in said(lambda: store.shelf("secret").get(bad.id))
    found = store.shelf("secret").get(good.id)
    assert found is not None and found.title == "good"


def test_a_database_of_a_newer_version(store: Store, url: sqlalchemy.URL, tmp_path: Path) -> None:
    with store.writing() as connection:
        connection.execute(sqlalchemy.text("UPDATE quintet SET version = 99"))
    assert "newer Quintet" in said(lambda: Store(url, tmp_path / "files", ROOMY))


def test_a_folder_that_cannot_be_made(keeping: Path) -> None:
    keeping.write_text("a file is there")
    assert "cannot write" in said(open_store)


def test_the_log_tells_the_operator_and_nothing_of_what_was_said(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with store.writing() as connection:
        connection.execute(sqlalchemy.text("DROP TABLE files"))
    assert "does not answer as it should" in said(lambda: store.shelf("secret").put(thing("private")))
    assert "files" in caplog.text and "private" not in caplog.text


# --- several at once -----------------------------------------------------------------------------------


def test_many_at_once(url: sqlalchemy.URL, tmp_path: Path) -> None:
    """Of those who put the same thing, one does; others' things are all there."""
    store = Store(url, tmp_path / "files", ROOMY, patience=WAIT)
    shelf, one = store.shelf("secret"), thing("contended")

    def put(number: int) -> bool:
        shelf.put(thing(str(number)))
        try:
            shelf.put(replace(one, content=number))
        except Changed:
            return False
        return True

    assert sorted(at_once(put, range(8))) == [False] * 7 + [True]
    assert sorted(titles(store)) == sorted(["contended", *map(str, range(8))])
    assert shelf.size() == sum(entry.size for entry in shelf.entries("conversation"))
    store.close()


def test_two_that_open_a_new_database_at_once(url: sqlalchemy.URL, tmp_path: Path) -> None:
    opened = at_once(lambda _: Store(url, tmp_path / "files", ROOMY), range(4))
    opened[0].shelf("secret").put(thing("seen"))
    assert all(titles(store) == ["seen"] for store in opened)
    for store in opened:
        store.close()


WRITER = """
import sys
from pathlib import Path
from models.store.opening import open_store
from models.store.things import Thing, digest
shelf = open_store().shelf("secret")
number = 0
while True:
    picture = str(number).encode() * 1000
    text = f"{number} " * 2000
    shelf.put(Thing("one", "conversation", "llama2", "t", text, text, {digest(picture): picture}, number))
    number += 1
    print(number, flush=True)
"""


def test_a_kill_in_the_middle_leaves_what_was_put_last(keeping: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        for _ in range(8):
            put = int(writer.stdout.readline())
        writer.kill()
        put = int((writer.stdout.read().split() or [put])[-1])
    found = open_store().shelf("secret").get("one")
    assert found and found.revision in (put, put + 1)
    assert found.content == f"{found.revision - 1} " * 2000
    picture = str(found.revision - 1).encode() * 1000
    assert found.files == {digest(picture): picture}
    on_disk = [path.name for path in (keeping / "files").rglob("*") if path.is_file()]
    assert on_disk == [digest(picture)]


# --- the tables --------------------------------------------------------------------------------------


def test_the_steps_make_the_tables(store: Store) -> None:
    found = sqlalchemy.inspect(store._engine)
    for table in tables.metadata.sorted_tables:
        made = {column["name"]: column for column in found.get_columns(table.name)}
        assert [*made] == [column.name for column in table.columns]
        assert set(found.get_pk_constraint(table.name)["constrained_columns"]) == set(
            table.primary_key.columns.keys()
        )


def test_an_older_database_is_brought_up_to_date(
    url: sqlalchemy.URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Store(url, tmp_path / "files", ROOMY)
    first.shelf("secret").put(thing("old"))
    first.close()
    broken = ("ALTER TABLE things ADD COLUMN extra TEXT", "this is no SQL")
    monkeypatch.setattr("models.store.store.STEPS", (*tables.STEPS, broken))
    monkeypatch.setattr(tables, "STEPS", (*tables.STEPS, broken))
    said(lambda: Store(url, tmp_path / "files", ROOMY))  # all of a step, or none
    monkeypatch.undo()
    again = Store(url, tmp_path / "files", ROOMY)
    assert "extra" not in {
        column["name"] for column in sqlalchemy.inspect(again._engine).get_columns("things")
    }
    assert titles(again) == ["old"]
    again.close()
    added = ("ALTER TABLE things ADD COLUMN extra TEXT",)
    monkeypatch.setattr("models.store.store.STEPS", (*tables.STEPS, added))
    monkeypatch.setattr(tables, "STEPS", (*tables.STEPS, added))
    newer = Store(url, tmp_path / "files", ROOMY)
    assert "extra" in {column["name"] for column in sqlalchemy.inspect(newer._engine).get_columns("things")}
    assert titles(newer) == ["old"]
    newer.close()


def test_sqlite_lets_readers_read_while_somebody_writes(keeping: Path) -> None:
    open_store().shelf("secret").put(thing("seen"))
    with closing(sqlite3.connect(keeping / "quintet.db")) as raw:
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with open_store().writing():
        assert titles(open_store()) == ["seen"]
