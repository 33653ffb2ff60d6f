"""The store: a database and its folder of files, and what each visitor may reach of them."""

import hashlib
import json
import time
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from models.errors import NotKept
from models.store.connections import connect
from models.store.failures import sentences
from models.store.folder import Folder
from models.store.tables import STEPS, files, migrate, things, version, visitors
from models.store.things import Changed, Entry, Kind, Thing

LONGEST_TITLE = 200  # characters
LONGEST_QUERY = 200
PATIENCE = 2.0  # seconds to wait for another program's lock, or for a server to answer


@dataclass(frozen=True)
class Limits:
    """Bytes that one visitor may keep, and all together."""

    visitor: int
    total: int


class Store:
    """Opens or makes the database, and brings it up to date.

    Raises:
        NotKept: it cannot be reached, is damaged, or of a newer version.
    """

    def __init__(self, url: sqlalchemy.URL, folder: Path, limits: Limits, patience: float = PATIENCE) -> None:
        self.limits = limits
        self.folder = Folder(folder)
        self._engine = connect(url, patience)
        self._unscrubbed = False
        try:
            self._tidy_up()
        except NotKept:
            self.close()
            raise

    def _tidy_up(self) -> None:
        """Bring the tables up to date, and remove what a kill left between database and folder."""
        with self.reading() as connection:
            done = version(connection)
        if done < len(STEPS):
            with self.writing() as connection:
                migrate(connection)
        with sentences():
            self.folder.tidy()
        for owner in self.folder.owners():
            self.sweep(owner)
        self.scrub()

    def shelf(self, secret: str) -> "Shelf":
        """What the visitor has here who knows this secret; only its hash is kept."""
        return Shelf(self, hashlib.sha256(secret.encode()).hexdigest())

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with sentences(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self, owner: str = "") -> Iterator[Connection]:
        """A transaction that nobody else's for the same owner runs beside."""
        with sentences(), self._engine.execution_options(writes=True).begin() as connection:
            if owner and connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(int(owner[:15], 16))))
            yield connection
        if self._unscrubbed:
            self.scrub()

    def sweep(self, owner: str) -> None:
        """Remove the files that nothing of this owner's needs any more."""
        with self.writing(owner) as connection:
            needed = connection.scalars(select(files.c.digest).where(files.c.owner == owner))
            self.folder.sweep(owner, set(needed))

    def scrub(self) -> None:
        """Empty SQLite's log, where what was deleted is still written. (In the database itself secure_delete
        has written zeros over it.) Where somebody reads from the log just now, it is done after the next change."""
        if self._engine.dialect.name == "sqlite":
            with sentences(), closing(self._engine.raw_connection()) as connection:
                (busy, *_) = connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._unscrubbed = bool(busy)


@dataclass(frozen=True)
class Shelf:
    """What one visitor keeps. Nothing of anybody else's can be reached from it. Every method raises NotKept."""

    _store: Store
    _owner: str

    def entries(
        self, kind: Kind, page: str = "", query: str = "", limit: int = 20, offset: int = 0
    ) -> list[Entry]:
        """The newest first; of one page, or of all; with a `query`, where all its words are in title or text."""
        table = things.c
        wanted = select(
            table.id, table.kind, table.page, table.title, table.created, table.updated, table.size
        ).where(table.owner == self._owner, table.kind == kind)
        if page:
            wanted = wanted.where(table.page == page)
        for word in fold(query[:LONGEST_QUERY]).split():
            wanted = wanted.where(
                or_(
                    table.searched.contains(word, autoescape=True),
                    table.words.contains(word, autoescape=True),
                )
            )
        wanted = wanted.order_by(table.updated.desc(), table.id.desc()).limit(limit).offset(offset)
        with self._store.reading() as connection:
            return [Entry(*row) for row in connection.execute(wanted)]

    def size(self) -> int:
        """Bytes of all that is kept here."""
        with self._store.reading() as connection:
            return int(connection.scalar(select(visitors.c.size).where(visitors.c.id == self._owner)) or 0)

    def revision(self, id: str) -> int:
        """How often this was put; 0 where it is not (any more)."""
        with self._store.reading() as connection:
            return int(connection.scalar(self._of(select(things.c.revision), id)) or 0)

    def get(self, id: str, read_files: bool = True) -> Thing | None:
        """With those of its files that are there.

        Args:
            read_files: else they are given by their paths, where they lie as long as they are kept.
        """
        with self._store.reading() as connection:
            row = connection.execute(self._of(select(things), id)).one_or_none()
            if row is None:
                return None
            named = select(files.c.digest).where(files.c.owner == self._owner, files.c.thing == id)
            digests = connection.scalars(named).all()
            find = self._store.folder.read if read_files else self._store.folder.path
            found = {name: find(self._owner, name) for name in digests}
        return Thing(
            id,
            row.kind,
            row.page,
            row.title,
            _read_content(row.content),
            row.words,
            {name: file for name, file in found.items() if file is not None},
            row.revision,
            row.created,
            bool(row.named),
        )

    def put(self, thing: Thing) -> int:
        """Keep it, in place of what was kept of it; returns its revision. A title that the visitor gave stays.

        Raises:
            Changed: somebody else put or deleted it since.
        """
        staged: dict[str, Path] = {}
        try:
            with sentences():
                values = _values(thing, self._sizes(thing.files))
                self._stage(thing, staged)
            with self._store.writing(self._owner) as connection:
                before = connection.execute(self._of(select(things), thing.id)).one_or_none()
                if thing.revision != (before.revision if before else 0):
                    raise Changed
                dropped = self._write(connection, thing, values, before, staged)
        except NotKept:
            if thing.files:
                with suppress(NotKept):
                    self._store.sweep(self._owner)
            raise
        finally:
            for path in staged.values():
                path.unlink(missing_ok=True)
        if dropped:
            self._store.sweep(self._owner)
        if before and values["size"] < before.size:
            self._store.scrub()
        return thing.revision + 1

    def _sizes(self, named: Mapping[str, bytes | Path]) -> int:
        """Bytes of these files: as they are kept, or as they come."""
        folder = self._store.folder
        return sum(
            len(file) if isinstance(file, bytes) else (folder.path(self._owner, name) or file).stat().st_size
            for name, file in named.items()
        )

    def _stage(self, thing: Thing, staged: dict[str, Path]) -> None:
        """Bring large files near before anybody has to wait: if there is room for them, and they are not there yet."""
        folder = self._store.folder
        new = {
            name: file
            for name, file in thing.files.items()
            if isinstance(file, Path) and not folder.path(self._owner, name)
        }
        if new:
            with self._store.reading() as connection:
                self._check_room(connection, self._sizes(new))
        for name, file in new.items():
            staged[name] = folder.stage(file)

    def _write(
        self,
        connection: Connection,
        thing: Thing,
        values: dict[str, Any],
        before: Row[Any] | None,
        staged: Mapping[str, Path],
    ) -> bool:
        """Rows and files of a thing; whether some files are no longer needed."""
        self._take(connection, values["size"] - (before.size if before else 0))
        for name, file in thing.files.items():
            if isinstance(file, bytes):
                self._store.folder.write(self._owner, name, file)
            else:
                self._store.folder.place(self._owner, name, staged.get(name))
        if before:
            if before.named:
                del values["title"], values["searched"]
            connection.execute(self._of(update(things), thing.id).values(values))
        else:
            created = time.time() if thing.created is None else thing.created
            connection.execute(
                insert(things).values(
                    values
                    | {"owner": self._owner, "id": thing.id, "named": int(thing.named), "created": created}
                )
            )
        of_thing = (files.c.owner == self._owner, files.c.thing == thing.id)
        had = set(connection.scalars(select(files.c.digest).where(*of_thing)))
        if dropped := had - thing.files.keys():
            connection.execute(delete(files).where(*of_thing, files.c.digest.in_(dropped)))
        if new := thing.files.keys() - had:
            rows = [{"owner": self._owner, "thing": thing.id, "digest": name} for name in new]
            connection.execute(insert(files), rows)
        return bool(dropped)

    def _take(self, connection: Connection, more: int) -> None:
        """Note that the visitor keeps so many bytes more (or less)."""
        taken = self._check_room(connection, more)
        if taken is None:
            connection.execute(insert(visitors).values(id=self._owner, size=more))
        else:
            connection.execute(update(visitors).where(visitors.c.id == self._owner).values(size=taken + more))

    def _check_room(self, connection: Connection, more: int) -> int | None:
        """What the visitor keeps already, if that is anything. Raises NotKept where there is no room for more."""
        limits = self._store.limits
        taken = connection.scalar(select(visitors.c.size).where(visitors.c.id == self._owner))
        if more > 0 and (taken or 0) + more > limits.visitor:
            most = f"{limits.visitor / 1e9:g} GB"
            raise NotKept(
                f"You keep as much as you may here ({most}): delete something, and what you make now is kept again.",
                f"您保存的内容已达上限（{most}）：删除一些内容后，新的内容才能继续保存。",
            )
        if more > 0 and int(connection.scalar(select(func.sum(visitors.c.size))) or 0) + more > limits.total:
            raise NotKept(
                "This server keeps as much as it may for all its visitors: export what matters to you.",
                "此服务器为所有访问者保存的内容已达上限：请导出重要内容。",
            )
        return taken

    def rename(self, id: str, title: str) -> None:
        """The visitor's own title, which later changes of the thing leave as it is."""
        named = _titles(title) | {"named": 1}
        with self._store.writing(self._owner) as connection:
            connection.execute(self._of(update(things), id).values(named))

    def delete(self, id: str) -> None:
        """Really: rows, files that nothing else of the visitor's needs, and their traces in the database."""
        with self._store.writing(self._owner) as connection:
            size = connection.scalar(self._of(select(things.c.size), id))
            if size is None:
                return
            connection.execute(self._of(delete(things), id))
            self._take(connection, -size)
        self._store.sweep(self._owner)
        self._store.scrub()

    def clear(self) -> None:
        """Delete all that the visitor keeps, and the visitor."""
        with self._store.writing(self._owner) as connection:
            connection.execute(delete(visitors).where(visitors.c.id == self._owner))
        self._store.sweep(self._owner)
        self._store.scrub()

    def _of(self, statement: Any, id: str) -> Any:
        return statement.where(things.c.owner == self._owner, things.c.id == id)


def fold(text: str) -> str:
    """How texts are compared in a search: without capitals, wide and narrow forms alike."""
    return unicodedata.normalize("NFKC", _plain(text)).casefold()


def _read_content(text: str) -> Any:
    """Raises NotKept where it is no JSON: somebody wrote into the database, or a disk did."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotKept(
            "This cannot be read: it is damaged in the database; delete it, or restore a backup.",
            "无法读取此内容：它在数据库中已损坏；请删除它，或恢复备份。",
        ) from error


def _plain(text: str) -> str:
    """Without what no database takes: NUL, and halves of characters."""
    return text.replace("\0", "").encode(errors="replace").decode()


def _titles(title: str) -> dict[str, str]:
    short = " ".join(_plain(title).split())[:LONGEST_TITLE]
    return {"title": short, "searched": fold(short)}


def _values(thing: Thing, files_size: int) -> dict[str, Any]:
    """The columns of a thing that change when it is put."""
    content = json.dumps(thing.content, ensure_ascii=False).encode(errors="replace")
    return {
        "kind": thing.kind,
        "page": thing.page,
        **_titles(thing.title),
        "revision": thing.revision + 1,
        "updated": time.time(),
        "size": len(content) + files_size,
        "words": fold(thing.words),
        "content": content.decode(),
    }
