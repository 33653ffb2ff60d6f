"""Things that are kept while somebody works on them: by the page when it is drawn, and every second by a thread."""

import atexit
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self
from weakref import WeakSet

from models.errors import NotKept
from models.jobs import Job
from models.schema import Text
from models.store.things import Changed, Kind, Thing, new_id

if TYPE_CHECKING:
    from models.store.store import Shelf

INTERVAL = 1.0  # seconds between two looks at what has changed
REST = 10.0  # times as long as such a look took: much text under way is kept less often
PATIENCE = 10.0  # seconds after which keeping is tried again that has failed
LOOKS = (
    120  # seconds in vain, as of a model that is being loaded, after which nobody goes on with it any more
)


@dataclass(frozen=True)
class Form:
    """A kind of things, and how a list speaks of them."""

    kind: Kind
    new: Text  # the button that begins another one
    search: Text
    none: Text  # nothing is found
    unknown: Text  # the address names none of this browser's
    reads_files: bool = True  # else they are large, and paths are enough


class Written(NamedTuple):
    """What is put of a thing: see `models.store.things.Thing`."""

    title: str
    content: Any
    words: str
    files: Mapping[str, bytes | Path]


class Kept(ABC):
    """Something that a session works on, and what the store has of it.

    Whoever changes it need not know: its `state` is made of parts that are never changed but replaced, so that what
    was kept last can be told from what there is now. Without anything in it, one can be made of a shelf and a page.
    """

    form: ClassVar[Form]

    def __init__(self, shelf: "Shelf", page: str) -> None:
        self.shelf = shelf
        self.page = page
        self.id = new_id()
        self.failure: NotKept | None = None  # why it is not kept at the moment
        self.deleted = False  # whatever is still written into it
        self.looks = 0  # that are left at what another session writes into it
        self._revision = 0
        self._saved: Any = None
        self._again = 0.0
        self._lock = threading.Lock()
        keeper().add(self)

    @classmethod
    def read(cls, shelf: "Shelf", thing: Thing) -> Self:
        """As the store has it. Raises NotKept where it cannot be read."""
        kept = cls(shelf, thing.page)
        with kept._lock:  # the thread has it already
            kept.id = thing.id
            kept._take(thing)
        return kept

    @classmethod
    def load(cls, shelf: "Shelf", id: str) -> Self | None:
        """None where it is not kept (any more); the same one that another session is at work on. Raises NotKept as
        `read`."""
        shared = keeper().find_at_work(id)
        if isinstance(shared, cls) and shelf.revision(id):  # of this visitor
            return shared
        thing = shelf.get(id, cls.form.reads_files)
        return cls.read(shelf, thing) if thing else None

    # --- what a kind of things is -----------------------------------------------------------------

    @property
    @abstractmethod
    def state(self) -> Any:
        """What there is to keep, to be compared with what was kept last; None where that is nothing."""

    @abstractmethod
    def write(self, state: Any) -> Written:
        """The form in which such a state is kept."""

    @abstractmethod
    def take(self, thing: Thing) -> bool:
        """Become what was kept; whether somebody was at work on it then. Raises NotKept where it cannot be read."""

    @abstractmethod
    def fresh(self) -> Self:
        """Another one, with nothing in it but what goes on from one to the next."""

    @abstractmethod
    def settle(self) -> None:
        """Stop whoever is at work on it: it is going to be deleted."""

    # --- kept ---------------------------------------------------------------------------------------

    @property
    def is_at_work(self) -> bool:
        """Whether something is being written into it, by this process: then other sessions of its visitor share it."""
        return False

    @property
    def is_kept(self) -> bool:
        return self._revision > 0

    @property
    def is_saved(self) -> bool:
        """Whether what is kept is what there is now."""
        return self.is_kept and self.state == self._saved

    def save(self) -> None:
        """Keep what has changed; for any thread. A failure is noted, and tried again after a while."""
        with self._lock:
            if self.deleted or time.monotonic() < self._again or (state := self.state) == self._saved:
                return
            try:
                self._write(state)
            except NotKept as error:
                self.failure, self._again = error, time.monotonic() + PATIENCE
                return
            self.failure, self._saved = None, state

    def _write(self, state: Any) -> None:
        if state is None:  # cleared
            self.shelf.delete(self.id)
            self._revision = 0
            return
        written = self.write(state)
        thing = Thing(
            self.id,
            self.form.kind,
            self.page,
            written.title,
            written.content,
            written.words,
            written.files,
            self._revision,
        )
        try:
            self._revision = self.shelf.put(thing)
        except Changed:
            if self.shelf.revision(self.id) == 0:
                self.deleted = True
                return
            self._revision = 0  # another tab went its own way: this is another thing from here on
            self.id = new_id()
            self._write(state)

    def look(self) -> bool:
        """Take what another session has written since; whether it has. Raises NotKept."""
        with self._lock:
            if not self.is_kept or self.deleted or self.state != self._saved:
                return False
            if (revision := self.shelf.revision(self.id)) == self._revision:
                return False
            thing = self.shelf.get(self.id, self.form.reads_files) if revision else None
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
        is_open = self.take(thing)
        self._revision, self._saved = thing.revision, self.state
        self.looks = LOOKS if is_open else 0


class Saved(Protocol):
    """Whatever can be kept by its `save`, in any thread."""

    def save(self) -> None: ...


class Keeper:
    """Saves everything that somebody still holds, again and again."""

    def __init__(self) -> None:
        self._kept: WeakSet[Saved] = WeakSet()
        self._lock = threading.Lock()

    def add(self, kept: Saved) -> None:
        with self._lock:
            self._kept.add(kept)

    def find_at_work(self, id: str) -> Kept | None:
        """That of this id into which something is being written."""
        return next(
            (
                kept
                for kept in self.held()
                if isinstance(kept, Kept) and kept.id == id and kept.is_at_work and not kept.deleted
            ),
            None,
        )

    def held(self) -> list[Saved]:
        """All of it, of every session of this process."""
        with self._lock:
            return list(self._kept)

    def save(self) -> None:
        for kept in self.held():
            try:
                kept.save()
            except Exception:  # one that cannot be written is no reason to lose the others
                logging.getLogger(__name__).exception("something is not kept")

    def work(self, send: Callable[[None], None], cancel: threading.Event) -> None:
        """Until it is cancelled; of a Job."""
        pause = INTERVAL
        while not cancel.wait(pause):
            began = time.monotonic()
            self.save()
            pause = max(INTERVAL, REST * (time.monotonic() - began))


@cache
def keeper() -> Keeper:
    """The one of this process, at work from now on, and once more when it ends."""
    found = Keeper()
    Job(found.work)
    atexit.register(found.save)
    return found
