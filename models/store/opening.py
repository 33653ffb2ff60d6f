"""Which store this server has, as its settings say. SQLAlchemy is imported when it is opened."""

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from models.cache import data_dir
from models.errors import NotKept
from models.permissions import keeps, kept_in_all, kept_per_visitor

if TYPE_CHECKING:
    from sqlalchemy import URL

    from models.store.store import Store


def open_store() -> "Store":
    """The one store of this process.

    Raises:
        NotKept: QUINTET_KEEP says to keep nothing, or the store cannot be opened.
    """
    if not keeps():
        raise NotKept(
            "This server keeps nothing: what is not exported is gone when the page is closed.",
            "此服务器不保存任何内容：未导出的内容会在页面关闭后消失。",
        )
    return _open(os.environ.get("QUINTET_DATABASE", ""), data_dir(), kept_per_visitor(), kept_in_all())


@lru_cache  # failures are not kept in it: the next one who asks tries again
def _open(address: str, folder: Path, visitor: int, total: int) -> "Store":
    from sqlalchemy.exc import ArgumentError

    from models.store.failures import sentences
    from models.store.store import Limits, Store

    try:
        url = _url(address, folder)
        with sentences():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if (
                url.get_backend_name() == "sqlite"
            ):  # only this user can read it, and its log gets the same rights
                os.close(os.open(str(url.database), os.O_RDWR | os.O_CREAT, 0o600))
        return Store(url, folder / "files", Limits(visitor, total))
    except (ArgumentError, ModuleNotFoundError) as error:
        raise NotKept(
            "Nothing is kept, since QUINTET_DATABASE is no database that this server can use: it takes "
            "postgresql://user:password@host/name, and pip install 'psycopg[binary]'.",
            "无法保存内容：QUINTET_DATABASE 不是可用的数据库；请使用 postgresql://用户:密码@主机/名称，"
            "并安装 psycopg[binary]。",
        ) from error


def _url(address: str, folder: Path) -> "URL":
    """Of PostgreSQL, or of a SQLite file. Raises ArgumentError for what is neither."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    url = make_url(address or "sqlite://")
    if url.get_backend_name() in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite":
        raise ArgumentError(f"{url.get_backend_name()} is neither SQLite nor PostgreSQL")
    return url.set(database=url.database or str(folder / "quintet.db"))
