"""The list of a visitor's recordings: which of them are in the queue, and what is done with the others."""

import shutil
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import NotKept
from models.store.things import Entry, Thing
from pages.shared.keeping.histories import MOST, History, attempt, get_histories, get_shelf, refuse, reopen
from pages.shared.keeping.history import show_history
from pages.shared.keeping.keeper import Kept
from pages.shared.speech.kept_recording import QUEUED, KeptRecording
from pages.shared.speech.workspace import Workspace

if TYPE_CHECKING:
    from models.store.store import Shelf


class RecordingHistory(History):
    """Open is what is in the queue; another queue begins empty."""

    def __init__(self, key: str, workspace: Workspace, blank: KeptRecording) -> None:
        self._workspace, self._blank = workspace, blank
        super().__init__(key, self.shown)

    @property
    def shown(self) -> Kept:
        shown = self._workspace.shown
        return self._workspace.queue.kept.get(shown, self._blank) if shown else self._blank

    @shown.setter
    def shown(self, kept: Kept) -> None:
        if isinstance(kept, KeptRecording):
            self._workspace.shown = kept.recording

    @property
    def opened(self) -> list[Kept]:
        return [*self._workspace.queue.kept.values(), *self._workspace.queue.live]

    @property
    def is_blank(self) -> bool:
        return not self._workspace.recordings

    @property
    def failure(self) -> NotKept | None:
        return next((kept.failure for kept in self.opened if kept.failure), None)

    def entries(self, shelf: "Shelf", query: str = "", most: int = MOST) -> list[Entry]:
        return shelf.entries(self.form.kind, "", query, most)

    def show(self, kept: Kept) -> None:
        if isinstance(kept, KeptRecording) and kept not in self._workspace.queue.live:
            self._workspace.shown = self._workspace.queue.take_in(kept)
            self.renaming = ""

    def begin(self) -> None:
        self._workspace.queue.put_away()
        self._workspace.show_another()

    def rename(self, id: str, title: str) -> None:
        super().rename(id, title)
        kept = self.find(id)
        if isinstance(kept, KeptRecording) and kept.recording:
            for part in kept.recording.parts:
                part.name = title

    def take_out(self, shelf: "Shelf", id: str) -> Thing | None:
        for file in self.deleted.files.values() if self.deleted else ():
            if isinstance(file, Path):
                shutil.rmtree(file.parent, ignore_errors=True)
        thing = shelf.get(id, read_files=False)
        with suppress(OSError):  # what is gone, or has no room beside, cannot be had back
            return replace(thing, files=self._workspace.queue.set_aside(thing.files)) if thing else None
        return None

    def forget(self, kept: Kept) -> None:
        kept.settle()
        kept.drop()
        if isinstance(kept, KeptRecording) and kept.recording in self._workspace.recordings:
            self._workspace.remove(kept.recording)

    def clear(self) -> None:
        for kept in self.opened:
            self.forget(kept)

    def bring_up_to_date(self) -> None:
        self._workspace.queue.save()
        queued = self._blank.shelf.entries("recording", QUEUED, limit=len(self.opened) + MOST)
        known = {entry.id for entry in queued}
        for kept in self.opened:
            if kept is self.shown or kept.id not in known:
                kept.look()
            if kept.deleted:
                self.forget(kept)
        self._workspace.show_another()


def open_recording(key: str, workspace: Workspace, thing: Thing) -> None:
    """That the page's address names: it comes into the queue."""
    with suppress(NotKept):  # said where the list would be
        histories = get_histories()
        if key not in histories:
            histories[key] = _begin(key, workspace, get_shelf())
        attempt(key, reopen, thing.id, KeptRecording)


def show_recordings(key: str, workspace: Workspace, place: Any) -> None:
    """Draw their list into `place`; what is added to the queue is kept from then on."""
    show_history(key, key, place, partial(_begin, key, workspace))


def _begin(key: str, workspace: Workspace, shelf: "Shelf") -> History:
    workspace.keep(shelf)
    if workspace.queue.refused:
        refuse(key, workspace.queue.refused)
        workspace.queue.refused = None
    return RecordingHistory(key, workspace, KeptRecording(shelf, QUEUED))
