"""How the database is spoken to: SQLite or PostgreSQL, with patience for others who write."""

from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, event


def connect(url: sqlalchemy.URL, patience: float) -> Engine:
    """An engine that waits so many seconds for a lock or an answer.

    Its errors leave out what was to be written: they go to the log.
    """
    if url.get_backend_name() == "postgresql":
        wait = {
            "connect_timeout": max(1, round(patience)),
            "options": f"-c lock_timeout={round(patience * 1000)}",
        }
        return sqlalchemy.create_engine(url, hide_parameters=True, pool_pre_ping=True, connect_args=wait)
    engine = sqlalchemy.create_engine(url, hide_parameters=True, connect_args={"timeout": patience})
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions are begun below, and not by sqlite3's own guess
    for setting in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "secure_delete = ON"):
        connection.execute(f"PRAGMA {setting}")


def _begin_sqlite(connection: Connection) -> None:
    """Whoever is going to write waits for its turn before it reads."""
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
