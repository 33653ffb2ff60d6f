"""Albums that are kept, in which form, and which of them the page shows."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import streamlit as st

from models.errors import BadInput, NotKept
from models.schema import Text
from models.store.things import Thing
from pages.shared import loading
from pages.shared.conversation.turns import read_text
from pages.shared.keeping.histories import (
    History,
    attempt,
    begin_history,
    delete,
    get_histories,
    reopen,
)
from pages.shared.keeping.history import show_history
from pages.shared.keeping.keeper import Form, Kept, Written
from pages.shared.session import hold
from pages.shared.vision.album import Album
from pages.shared.vision.questions import MANY

if TYPE_CHECKING:
    from models.store.store import Shelf

VERSION = 1  # of the form in which they are kept
SAID = BadInput  # what is wrong with a picture, as it was kept: its sentences


class KeptAlbum(Kept):
    """An album."""

    form = Form(
        "album",
        Text("New album", "新图集"),
        Text("Search albums", "搜索图集"),
        Text("No album has all these words.", "没有包含这些词的图集。"),
        Text(
            "The address names an album that is not kept for this browser: it was deleted, or is somebody else's.",
            "网址中的图集不属于此浏览器：它已被删除，或属于他人。",
        ),
    )

    def __init__(self, shelf: "Shelf", page: str, album: Album | None = None) -> None:
        self.album = album or Album()
        super().__init__(shelf, page)

    @property
    def state(self) -> Any:
        album = self.album
        rows = tuple(
            (caption, caption.text, caption.trouble, caption.remark) for caption in tuple(album.captions)
        )
        return (rows, album.prompt, album.prefix) if rows else None

    def write(self, state: Any) -> Written:
        rows, prompt, prefix = state
        first, others = rows[0][0].name, len(rows) - 1
        return Written(
            f"{first} (+{others})" if others else first,
            {"quintet": VERSION, "prompt": prompt, "prefix": prefix, "captions": list(map(_write_row, rows))},
            "\n".join(word for caption, text, *_ in rows for word in (caption.name, text)),
            {caption.digest: caption.picture for caption, *_ in rows},
        )

    def take(self, thing: Thing) -> bool:
        self.album = read_album(thing.content, thing.files)
        return False

    @property
    def is_at_work(self) -> bool:
        return self.album.running

    def fresh(self) -> Self:
        album = Album()
        album.prompt, album.prefix = self.album.prompt, self.album.prefix
        return type(self)(self.shelf, self.page, album)

    def settle(self) -> None:
        self.album.stop()


def _write_row(row: Any) -> dict[str, Any]:
    caption, text, *notes = row
    trouble, remark = ({"en": said.en, "zh": said.zh} if said else None for said in notes)
    written = {"name": caption.name, "picture": caption.digest, "text": text, "trouble": trouble}
    return written | ({"remark": remark} if remark else {})


def read_album(content: Any, files: Mapping[str, bytes | Path]) -> Album:
    """What was kept. A picture whose file is gone leaves its caption.

    Raises:
        NotKept: it was written by a newer version, or is damaged.
    """
    album = Album()
    try:
        if content["quintet"] > VERSION:
            raise ValueError("of a newer version")
        album.prompt, album.prefix = read_text(content["prompt"]), read_text(content["prefix"])
        for row in content["captions"]:
            picture = files.get(row["picture"])
            caption = album.add(read_text(row["name"]), picture if isinstance(picture, bytes) else b"")
            caption.text = read_text(row["text"])
            if (said := row["trouble"]) is not None:
                caption.trouble = SAID(read_text(said["en"]), read_text(said["zh"]))
            if (said := row.get("remark")) is not None:
                caption.remark = Text(read_text(said["en"]), read_text(said["zh"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise NotKept(
            "This album cannot be read: it is damaged, or was kept by a newer Quintet.",
            "无法读取此图集：它已损坏，或由更新版本的 Quintet 保存。",
        ) from error
    return album


# --- on the page -----------------------------------------------------------------------------------


def show_albums(family: str, place: Any) -> Album:
    """Draw their list into `place`, and return the one that the page shows, which else is the session's alone."""
    key = f"{family}.{MANY}"
    history = show_history(key, family, place, partial(_begin, key, family))
    kept = history.shown if history else None
    return _adopt(family, kept.album if isinstance(kept, KeptAlbum) else get_album(family))


def open_album(thing: Thing) -> None:
    """That the page's address names: in its mode."""
    family, _, mode = thing.page.partition(".")
    st.session_state[f"set.{family}.mode"] = mode
    attempt(thing.page, reopen, thing.id, KeptAlbum)


def _begin(key: str, family: str, shelf: "Shelf") -> History:
    return begin_history(key, family, KeptAlbum(shelf, key, get_album(family)))


def get_album(family: str) -> Album:
    """The one that a session has where nothing is kept."""
    name = f"{family}.album"
    if name not in st.session_state:
        st.session_state[name] = Album()
    found: Album = st.session_state[name]
    return found


def _adopt(family: str, album: Album) -> Album:
    """Make it the page's; what failed in the one before is past."""
    hold(f"{family}.album.{album.number}", album.join, Album.leave)
    if get_album(family) is not album:
        st.session_state[f"{family}.album"] = album
        loading.forget_failure(family)
    return album


def remove_all(family: str, album: Album) -> None:
    """Take away all pictures; where they are kept, the list has a way to have them back."""
    key = f"{family}.{MANY}"
    history = get_histories().get(key)
    if history and history.shown.is_kept:
        attempt(key, delete, history.shown.id)
    else:
        album.clear()
