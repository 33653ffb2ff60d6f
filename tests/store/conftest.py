"""Stores to test: one in a SQLite file, and one on a real PostgreSQL."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from models.store.store import Limits, Store
from tests.fakes.waiting import until

LIMITS = Limits(visitor=1_000_000, total=1_500_000)
NOBODY = 65534  # PostgreSQL refuses to be started by root


def _binaries() -> Path | None:
    """Debian has them in a folder for each version, beside the path."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if on_path := shutil.which("initdb"):
        found.append(Path(on_path).resolve().parent)
    return found[0] if found else None


@pytest.fixture(scope="session")
def postgresql() -> Iterator[sqlalchemy.URL]:
    """The address of a server with an empty database, gone with the tests."""
    if (binaries := _binaries()) is None:
        pytest.skip("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory(
        prefix="quintet-postgresql-"
    ) as folder:  # pytest's own are for root alone
        yield from _serve(binaries, Path(folder))


def _serve(binaries: Path, folder: Path) -> Iterator[sqlalchemy.URL]:
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    if user:
        os.chown(folder, NOBODY, NOBODY)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    quick = [
        "-c",
        "fsync=off",
        "-c",
        "max_connections=40",
        "-k",
        str(folder),
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    settings: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, **user}
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "quintet", "-A", "trust", "--no-sync", "-E", "UTF8"],
        check=True,
        **settings,
    )
    server = subprocess.Popen(
        [binaries / "postgres", "-D", data, *quick], stderr=subprocess.DEVNULL, **settings
    )
    ready = [binaries / "pg_isready", "-h", "127.0.0.1", "-p", str(port)]
    try:
        until(lambda: server.poll() is not None or subprocess.run(ready, **settings).returncode == 0)
        assert server.poll() is None, "PostgreSQL ended"
        yield sqlalchemy.make_url(f"postgresql+psycopg://quintet@127.0.0.1:{port}/postgres")
    finally:
        server.terminate()
        server.wait(60)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> sqlalchemy.URL:
    """Of an empty database."""
    if request.param == "sqlite":
        return sqlalchemy.URL.create("sqlite", database=str(tmp_path / "quintet.db"))
    server: sqlalchemy.URL = request.getfixturevalue("postgresql")
    engine = sqlalchemy.create_engine(server)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("DROP SCHEMA public CASCADE"))
        connection.execute(sqlalchemy.text("CREATE SCHEMA public"))
    engine.dispose()
    return server


@pytest.fixture
def store(url: sqlalchemy.URL, tmp_path: Path) -> Iterator[Store]:
    opened = Store(url, tmp_path / "files", LIMITS, patience=0.1)
    yield opened
    opened.close()
