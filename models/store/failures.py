"""What a database or a disk refuses, as sentences for a person; the log has the rest for the operator."""

import errno
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from models.errors import NotKept, short

_FULL = (
    "The disk of this server is full, so nothing more is kept: what is on the page works on, but export it.",
    "服务器磁盘已满，无法继续保存：页面仍可使用，但请导出内容。",
)
_LOCKED = (
    "What is kept here is in use by another program at the moment, so the last change is not kept; try again soon.",
    "保存内容的数据库正被其他程序占用，最近的更改未保存；请稍后重试。",
)
_DAMAGED = (
    "The database of what is kept here is damaged, so nothing is kept: the page works on, but export what matters.",
    "保存内容的数据库已损坏，无法保存：页面仍可使用，但请导出重要内容。",
)
_CLOSED = (
    "What is made here cannot be kept, since the server cannot write where it should be: the page works on, "
    "but export what matters.",
    "服务器无法写入保存位置，内容无法保存：页面仍可使用，但请导出重要内容。",
)
_OTHER = (
    "The database of what is kept here does not answer as it should, so nothing is kept: the page works on, "
    "but export what matters.",
    "保存内容的数据库没有正常响应，无法保存：页面仍可使用，但请导出重要内容。",
)

_BY_CODE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_CANTOPEN: _CLOSED,
    sqlite3.SQLITE_READONLY: _CLOSED,
    sqlite3.SQLITE_PERM: _CLOSED,
}
_BY_STATE = {"53100": _FULL, "55P03": _LOCKED, "57014": _LOCKED, "XX001": _DAMAGED, "XX002": _DAMAGED}


@contextmanager
def sentences() -> Iterator[None]:
    """Whatever SQLAlchemy or the file system raises leaves as NotKept."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        logging.getLogger(__name__).warning("nothing is kept: %s", short(cause))
        raise NotKept(*_sentence(cause)) from error


def _sentence(cause: BaseException) -> tuple[str, str]:
    if isinstance(cause, OSError):
        return _FULL if cause.errno in (errno.ENOSPC, errno.EDQUOT) else _CLOSED
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None:
        return _BY_CODE.get(code & 0xFF, _OTHER)  # the rest of an extended code says where it happened
    return _BY_STATE.get(getattr(cause, "sqlstate", None) or "", _OTHER)
