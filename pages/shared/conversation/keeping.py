"""Conversations that are kept while they are talked in: by the page when it is drawn, and every second by a thread."""

import atexit
import logging
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING
from weakref import WeakSet

from models.errors import NotKept
from models.jobs import Job
from models.store.things import Changed, Thing, new_id
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.kept import is_open, read_content, title_of, words_of, write_content
from pages.shared.conversation.turns import Turn

if TYPE_CHECKING:
    from models.store.store import Shelf

INTERVAL = 1.0  # seconds between two looks at what has changed
PATIENCE = 10.0  # seconds after which keeping is tried again that has failed
LOOKS = 120  # seconds in vain, as of a model that is being loaded, after which nobody writes the rest of an answer any more


class Kept:
    """A conversation of a session, and what the store has of it.

    Whoever changes the conversation need not know: its turns are never changed but replaced, so that what was kept
    last can be told from what there is now.
    """

    def __init__(self, shelf: "Shelf", page: str, conversation: Conversation) -> None:
        self.shelf = shelf
        self.page = page
        self.id = new_id()
        self.conversation = conversation
        self.failure: NotKept | None = None  # why it is not kept at the moment
        self.deleted = False  # whatever is still written into it
        self.looks = 0  # that are left at an answer which another session writes
        self._revision = 0
        self._saved: tuple[tuple[Turn, ...], str] = (), ""
        self._again = 0.0
        self._lock = threading.Lock()
        keeper().add(self)

    @classmethod
    def read(cls, shelf: "Shelf", thing: Thing) -> "Kept":
        """As the store has it. Raises NotKept where it cannot be read."""
        kept = cls(shelf, thing.page, Conversation())
        kept.id = thing.id
        kept._take(thing)
        return kept

    @property
    def is_kept(self) -> bool:
        return self._revision > 0

    @property
    def _changed(self) -> bool:
        turns, system = self._saved
        now = self.conversation
        return now.turns is not turns or (now.system != system and bool(now.turns))

    def save(self) -> None:
        """Keep what has changed; for any thread. A failure is noted, and tried again after a while."""
        with self._lock:
            if self.deleted or not self._changed or time.monotonic() < self._again:
                return
            turns, system = self.conversation.turns, self.conversation.system
            try:
                self._write(turns, system)
            except NotKept as error:
                self.failure, self._again = error, time.monotonic() + PATIENCE
                return
            self.failure, self._saved = None, (turns, system)

    def _write(self, turns: tuple[Turn, ...], system: str) -> None:
        if not turns:  # cleared
            self.shelf.delete(self.id)
            self._revision = 0
            return
        content, files = write_content(turns, system)
        thing = Thing(
            self.id,
            "conversation",
            self.page,
            title_of(turns),
            content,
            words_of(turns),
            files,
            self._revision,
        )
        try:
            self._revision = self.shelf.put(thing)
        except Changed:
            if self.shelf.revision(self.id) == 0:
                self.deleted = True
                return
            self._revision = 0  # another tab went its own way: this is another conversation from here on
            self.id = new_id()
            self._write(turns, system)

    def look(self) -> bool:
        """Take what another session has written since; whether it has. Raises NotKept."""
        with self._lock:
            if not self.is_kept or self._changed or self.deleted:
                return False
            if (revision := self.shelf.revision(self.id)) == self._revision:
                return False
            thing = self.shelf.get(self.id) if revision else None
            if thing is None:
                self.deleted = True
            else:
                self._take(thing)
            return True

    def is_behind(self) -> bool:
        """Whether another session has written more, or deleted it. Raises NotKept."""
        return self.shelf.revision(self.id) != self._revision

    def drop(self) -> None:
        """From now on nothing of it is kept: it was deleted."""
        with self._lock:
            self.deleted = True

    def _take(self, thing: Thing) -> None:
        self.conversation = read_content(thing.content, thing.files)
        self._revision = thing.revision
        self._saved = self.conversation.turns, self.conversation.system
        self.looks = LOOKS if is_open(thing.content) else 0


class Keeper:
    """Saves every conversation that somebody still holds, again and again."""

    def __init__(self) -> None:
        self._kept: WeakSet[Kept] = WeakSet()
        self._lock = threading.Lock()

    def add(self, kept: Kept) -> None:
        with self._lock:
            self._kept.add(kept)

    def save(self) -> None:
        with self._lock:
            held = list(self._kept)
        for kept in held:
            try:
                kept.save()
            except Exception:  # one that cannot be written is no reason to lose the others
                logging.getLogger(__name__).exception("a conversation is not kept")

    def work(self, send: Callable[[None], None], cancel: threading.Event) -> None:
        """Until it is cancelled; of a Job."""
        while not cancel.wait(INTERVAL):
            self.save()


@cache
def keeper() -> Keeper:
    """The one of this process, at work from now on, and once more when it ends."""
    found = Keeper()
    Job(found.work)
    atexit.register(found.save)
    return found
