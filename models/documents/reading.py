"""From a file that somebody attached to its text: what it is is seen from its first bytes, whatever it is called.

PDF and docx are read in a process of their own (`worker.py`), within `budgets.py`; what does not fit them is left out,
and `CUT` stands in its place.
"""

import json
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import PurePath
from typing import IO, Any

from models.documents.budgets import CUT, MOST_BYTES, MOST_CHARACTERS, SECONDS, MiB
from models.documents.plain import clean, decode
from models.errors import BadInput, Cancelled
from models.schema import Text
from models.workers.process import start_python

LOOK = 0.1  # seconds between two looks at `cancel`
GRACE = 5.0  # seconds longer than it may take, in which a reader comes to an end by itself
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")  # how Word's files began, and how those with a password begin

REFUSALS: Mapping[str, Text] = {
    "empty": Text("is empty: choose another file", "是空文件：请选择其他文件"),
    "size": Text(
        f"is larger than {MOST_BYTES // MiB} MB: attach a part of it",
        f"超过 {MOST_BYTES // MiB} MB：请只附上其中一部分",
    ),
    "large": Text("is too large once it is unpacked: attach a part of it", "解包后过大：请只附上其中一部分"),
    "slow": Text("takes too long to read: attach a part of it", "读取时间过长：请只附上其中一部分"),
    "locked": Text(
        "is protected with a password: save it without one, and attach that",
        "有密码保护：请另存为无密码的文件后再附上",
    ),
    "old": Text(
        "has a password, or is of a Word before 2007: save it as docx without one, and attach that",
        "有密码保护，或是 Word 2007 之前的格式：请另存为无密码的 docx 后再附上",
    ),
    "scanned": Text(
        "has pictures of pages and no text: recognise its text (OCR) first, or ask a model that sees pictures",
        "只有页面图像而没有文字：请先做文字识别（OCR），或改用能看图的模型",
    ),
    "damaged": Text("is damaged: get it again, or save it anew", "已损坏：请重新获取或另存一份"),
    "unknown": Text(
        "is no text: attach a text of any kind, a PDF or a docx",
        "不是文本：请附上文本文件（任意类型）、PDF 或 docx",
    ),
}


def read_document(name: str, data: bytes, cancel: threading.Event | None = None) -> str:
    """The text of a file; PDFs and docx take a while.

    Args:
        name: of the file, as sentences call it.
        cancel: when it is set, the reading ends.

    Raises:
        BadInput: there is no text in it that can be read.
        Cancelled: `cancel` was set.
    """
    name = PurePath(name).name or "file"
    if not data.strip():
        raise refuse(name, "empty")
    if len(data) > MOST_BYTES:
        raise refuse(name, "size")
    kind = _kind(name, data)
    if kind in REFUSALS:
        raise refuse(name, kind)
    if kind == "text":
        return _plain(name, data)
    return _unpacked(name, kind, data, cancel or threading.Event())


def refuse(name: str, why: str) -> BadInput:
    said = REFUSALS[why]
    return BadInput(f"The document {name} {said.en}.", f"文档 {name} {said.zh}。")


def _kind(name: str, data: bytes) -> str:
    """ "text", what the worker reads, or why it is not read."""
    suffix = PurePath(name).suffix.lower()
    if b"%PDF-" in data[:1024]:
        return "pdf"
    if data.startswith(b"PK\x03\x04"):
        return "docx"
    if data.startswith(_OLE):
        return "old" if suffix in (".doc", ".docx") else "unknown"
    return "damaged" if suffix in (".pdf", ".docx") else "text"


def _plain(name: str, data: bytes) -> str:
    try:
        text = decode(data[: 4 * MOST_CHARACTERS])
    except ValueError as error:
        raise refuse(name, "unknown") from error
    if not text.strip():
        raise refuse(name, "empty")
    return _within(text, cut=len(data) > 4 * MOST_CHARACTERS)


def _unpacked(name: str, kind: str, data: bytes, cancel: threading.Event) -> str:
    texts: list[str] = []
    missing, refused, ended = False, "", False
    for said in _hear(kind, data, cancel):
        missing = missing or said.get("text", "") is None
        texts.append(CUT if said.get("text", "") is None else said.get("text", ""))
        refused, ended = said.get("refused", refused), "end" in said
    text = clean("".join(texts)).strip("\n")
    if not text.replace(CUT, "").strip():
        unread = "damaged" if missing else "scanned" if kind == "pdf" else "empty"
        raise refuse(name, refused or (unread if ended else "slow"))
    return _within(text, cut=not ended)


def _within(text: str, cut: bool) -> str:
    cut = cut or len(text) > MOST_CHARACTERS
    return f"{text[:MOST_CHARACTERS].rstrip()}\n{CUT}" if cut else text


def _hear(kind: str, data: bytes, cancel: threading.Event) -> Iterator[dict[str, Any]]:
    """What a worker says of the file, the last line only if it is whole."""
    for line in _output(kind, data, cancel).splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return


def _output(kind: str, data: bytes, cancel: threading.Event) -> bytes:
    """What a worker writes until it ends, or is ended."""
    until = time.monotonic() + SECONDS + GRACE
    with start_python("-m", "models.documents.worker", kind) as process:
        # `communicate` gives nothing more once it was interrupted.
        threading.Thread(target=_give, args=(process.stdin, data), daemon=True).start()
        process.stdin = None
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return process.communicate(timeout=LOOK)[0]
                if cancel.is_set():
                    raise Cancelled
                if time.monotonic() > until:
                    process.kill()
        finally:
            process.kill()


def _give(pipe: IO[bytes], data: bytes) -> None:
    with suppress(OSError), pipe:  # it may have ended before it has read all
        pipe.write(data)
