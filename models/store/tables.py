"""The tables of the database, and the steps by which an older one becomes today's.

The steps are plain SQL that SQLite and PostgreSQL both read. (Alembic would bring a folder of scripts that are found
by path and run, a template language and a configuration of its own, to do what `migrate` does in ten lines.)
"""

from sqlalchemy import BigInteger, Column, Connection, Double, Integer, MetaData, Table, Text, inspect, text

from models.errors import NotKept

metadata = MetaData()

# `id` is a hash of the visitor's secret: who reads the database can be nobody in it.
visitors = Table(
    "visitors",
    metadata,
    Column("id", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),  # bytes of all that is theirs
)

things = Table(
    "things",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("page", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("named", Integer, nullable=False),  # 1: the visitor gave the title
    Column("revision", Integer, nullable=False),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("searched", Text, nullable=False),  # the title as `fold` writes it
    Column("words", Text, nullable=False),  # so are these; the long columns are last: lists read none of them
    Column("content", Text, nullable=False),
)

# Which files a thing needs: they lie in the visitor's own folder.
files = Table(
    "files",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("thing", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
)

_FIRST = (
    "CREATE TABLE visitors (id TEXT PRIMARY KEY, size BIGINT NOT NULL)",
    """CREATE TABLE things (
        owner TEXT NOT NULL REFERENCES visitors (id) ON DELETE CASCADE, id TEXT NOT NULL, kind TEXT NOT NULL,
        page TEXT NOT NULL, title TEXT NOT NULL, named INTEGER NOT NULL, revision INTEGER NOT NULL,
        created DOUBLE PRECISION NOT NULL, updated DOUBLE PRECISION NOT NULL, size BIGINT NOT NULL,
        searched TEXT NOT NULL, words TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (owner, id))""",
    "CREATE INDEX things_by_time ON things (owner, kind, page, updated, id)",
    """CREATE TABLE files (
        owner TEXT NOT NULL, thing TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (owner, thing, digest),
        FOREIGN KEY (owner, thing) REFERENCES things (owner, id) ON DELETE CASCADE)""",
    "CREATE INDEX files_by_digest ON files (owner, digest)",
)

STEPS = (_FIRST,)


def version(connection: Connection) -> int:
    """How many of the steps a database has behind it. Raises NotKept where it knows more than there are here."""
    if not inspect(connection).has_table("quintet"):
        return 0
    done = int(connection.scalar(text("SELECT version FROM quintet")) or 0)
    if done > len(STEPS):
        raise NotKept(
            "What is kept here was written by a newer Quintet: update this one, or give it another QUINTET_DATA.",
            "此处保存的内容由更新版本的 Quintet 写入：请升级，或为其指定另一个 QUINTET_DATA。",
        )
    return done


def migrate(connection: Connection) -> None:
    """Take the steps that are missing, all of them or none: the connection is in a transaction that writes."""
    if (
        connection.dialect.name == "postgresql"
    ):  # SQLite's writing transactions wait for one another by themselves
        connection.execute(text("SELECT pg_advisory_xact_lock(7195814)"))
    done = version(connection)
    if done == 0:
        connection.execute(text("CREATE TABLE quintet (version INTEGER NOT NULL)"))
        connection.execute(text("INSERT INTO quintet VALUES (0)"))
    for step in STEPS[done:]:
        for statement in step:
            connection.execute(text(statement))
    connection.execute(text("UPDATE quintet SET version = :number"), {"number": len(STEPS)})
