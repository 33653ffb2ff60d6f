"""The recordings of one visitor, in whichever of their tabs: their files, what is heard of them, and the work on them."""

import shutil
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

from models import BadInput
from models.cache.temporary import temporary_folder
from models.errors import NotKept
from models.jobs import Job
from models.sound.playback import Sound, prepare
from models.sound.tracks import Track, tracks
from models.store.folder import link_or_copy
from models.transcripts.recordings import Recording
from pages.shared.loading import Work
from pages.shared.speech.kept_recording import AWAY, QUEUED, KeptRecording
from pages.shared.speech.live import LiveRecording

if TYPE_CHECKING:
    from models.store.store import Shelf

PEAKS = 8000  # parts of a waveform, which can be zoomed
LONGEST_NAME = 50  # characters of a file's name on disk, each of up to four bytes of the 255 that there are
MOST = 50  # recordings that are back in a new queue, the newest


class Queue:
    """Recordings one after another, and the work on them. Their files last as long as this does, or are kept."""

    def __init__(self) -> None:
        self.recordings: list[Recording] = []
        self.kept: dict[Recording, KeptRecording] = {}  # where something is
        self.job: Work | None = None
        self.listening: float | None = None  # where a line begins that is recognised again
        self.latest: Recording | None = None  # of what is back
        self.refused: NotKept | None = None  # why one of them is not back
        self._shelf: Shelf | None = None
        self._live: dict[LiveRecording, tuple[Recording, KeptRecording | None]] = {}  # somebody still speaks
        self._folder = tempfile.TemporaryDirectory(dir=temporary_folder())
        self._sounds: dict[Recording, Job[Any, Sound]] = {}
        self._tracks: dict[Recording, tuple[Track, ...]] = {}
        self._lock = threading.Lock()

    @property
    def running(self) -> bool:
        return self.job is not None and self.job.running

    @property
    def waiting(self) -> bool:
        return any(part.state == "waiting" for recording in self.recordings for part in recording.parts)

    def stop(self) -> None:
        if self.job is not None:
            self.job.cancel.set()

    # --- which there are ----------------------------------------------------------------------------

    def add(self, name: str, data: IO[bytes]) -> Recording:
        path = self._new_path(name)
        with path.open("wb") as file:
            shutil.copyfileobj(data, file)
        return self._append(Recording(name, path))

    def _append(self, recording: Recording) -> Recording:
        if self._shelf and recording not in self.kept:
            self._keep(recording, self._shelf)
        self.recordings.append(recording)
        return recording

    def _new_path(self, name: str) -> Path:
        folder = Path(self._folder.name) / uuid4().hex  # a part of the view's key: no "__", as mkdtemp's
        folder.mkdir()
        plain = Path(Path(name).name.strip(".") or "recording")  # ".." is a folder
        return folder / (plain.stem[:LONGEST_NAME] + plain.suffix[:10])

    def remove(self, recording: Recording) -> None:
        """It is deleted, or put away."""
        self.recordings.remove(recording)
        self.kept.pop(recording, None)
        self._forget_sound(recording)
        self._tracks.pop(recording, None)
        if (folder := recording.path.parent).parent == Path(self._folder.name):
            shutil.rmtree(folder, ignore_errors=True)

    # --- what is said live ------------------------------------------------------------------------------

    def follow(self, live: LiveRecording) -> None:
        """Keep what is said while it is said."""
        if live.taken or live in self._live:
            return
        recording = Recording(live.name, Path("gone"), state="running")
        kept = KeptRecording(self._shelf, QUEUED, recording) if self._shelf else None
        if kept:
            kept.update = partial(_write_down, live, recording)
        self._live[live] = recording, kept

    def take_over(self) -> list[Recording]:
        """What has ended, as recordings that are done."""
        with self._lock:
            ended = {live: self._live.pop(live) for live in list(self._live) if not live.open}
        return [self._finish(live, *followed) for live, followed in ended.items()]

    def _finish(self, live: LiveRecording, recording: Recording, kept: KeptRecording | None) -> Recording:
        live.taken, finished = True, live.finish()
        recording.path = self._new_path(recording.name)
        with recording.path.open("wb") as file:
            shutil.copyfileobj(finished.sound.wav(), file)
        recording.lines, recording.language = finished.segments, finished.language
        recording.duration = recording.position = finished.duration
        recording.state = "done"
        if kept and not kept.deleted:
            kept.update = lambda: None
            self.kept[recording], kept.stop = kept, self.stop
        return self._append(recording)

    # --- what is kept of them -------------------------------------------------------------------------

    def keep(self, shelf: "Shelf") -> None:
        """From now on; what was in the queue last is back in it. Raises NotKept."""
        with self._lock:
            if self._shelf:
                return
            entries = shelf.entries("recording", QUEUED, limit=MOST)
            self._shelf = shelf
        for recording in self.recordings:
            self._keep(recording, shelf)
        for entry in sorted(entries, key=lambda entry: entry.created):
            try:
                if kept := KeptRecording.load(shelf, entry.id):
                    recording = self.take_in(kept)
                    self.latest = recording if entry is entries[0] else self.latest
            except NotKept as error:  # the others are back all the same
                self.refused = error

    def _keep(self, recording: Recording, shelf: "Shelf") -> None:
        kept = self.kept[recording] = KeptRecording(shelf, QUEUED, recording)
        kept.stop = self.stop

    def take_in(self, kept: KeptRecording) -> Recording:
        """Put one that was kept into the queue, unless it is there."""
        recording = kept.recording
        if recording is None:
            raise ValueError("there is nothing in it")
        if recording not in self.kept:
            path = self._new_path(recording.name)
            with suppress(OSError):  # of a sound that is gone it is said where it is heard
                _stand_for(recording.path, path)
            for part in recording.parts:
                part.path = path
            self.kept[recording], kept.stop, kept.page = kept, self.stop, QUEUED
            self.recordings.append(recording)
        return recording

    def put_away(self) -> None:
        """All but what is under way leave the queue, and stay kept."""
        for recording, kept in list(self.kept.items()):
            if any(part.busy for part in recording.parts):
                continue
            kept.page = AWAY
            kept.save()
            if kept.is_saved:
                self.remove(recording)
            else:
                kept.page = QUEUED

    def set_aside(self, files: Mapping[str, "bytes | Path"]) -> dict[str, "bytes | Path"]:
        """The files of what is going to be deleted, in a folder from which they can be put again. Raises OSError."""
        folder = Path(self._folder.name) / uuid4().hex
        folder.mkdir()
        for name, file in files.items():
            if isinstance(file, Path):
                link_or_copy(file, folder / name)
        return {name: folder / name for name in files}

    @property
    def live(self) -> list[KeptRecording]:
        """What is kept of what is being said."""
        return [kept for _, kept in self._live.values() if kept]

    def save(self) -> None:
        for kept in list(self.kept.values()):
            kept.save()

    # --- what is heard of them ------------------------------------------------------------------------

    def get_sound(self, recording: Recording) -> Job[Any, Sound]:
        """What is heard and seen of a recording, prepared in the background when it is first asked for."""
        if recording not in self._sounds:
            path, track = recording.path, recording.track

            self._sounds[recording] = Job(lambda _, cancel: prepare(path, path.parent, PEAKS, cancel, track))
        return self._sounds[recording]

    def tracks(self, recording: Recording) -> tuple[Track, ...]:
        """The sound tracks of a recording; none if it cannot be read."""
        if recording not in self._tracks:
            self._tracks[recording] = ()
            with suppress(BadInput):  # said where it is transcribed
                self._tracks[recording] = tracks(recording.path)
        return self._tracks[recording]

    def choose(self, recording: Recording, track: int | None) -> None:
        """Listen to another sound track of a recording."""
        recording.choose(track)
        self._forget_sound(recording)

    def _forget_sound(self, recording: Recording) -> None:
        sound = self._sounds.pop(recording, None)
        if sound is not None:
            sound.cancel.set()

    def close(self) -> None:
        self.stop()
        for live, followed in self._live.items():
            live.job.cancel.set()
            live.job.wait()
            self._finish(live, *followed)
        self.save()
        for sound in self._sounds.values():
            sound.cancel.set()
        self._folder.cleanup()


def _write_down(live: LiveRecording, recording: Recording) -> None:
    now = live.transcript.now
    recording.lines, recording.language = now.segments, now.language
    recording.duration = live.transcript.received


def _stand_for(source: Path, target: Path) -> None:
    """Make `target` stand for a kept file, which is gone with it when it is deleted. Raises OSError."""
    try:
        target.symlink_to(source)
    except OSError:  # Windows wants a right for it
        shutil.copyfile(source, target)


# --- in several tabs -------------------------------------------------------------------------------


class Queues:
    """Those of the visitors who are here: the tabs of a visitor share one, and so does a page with itself before a
    refresh, whose work goes on."""

    def __init__(self) -> None:
        self._queues: dict[Shelf, Queue] = {}
        self._sessions: dict[Queue, int] = {}
        self._lock = threading.Lock()

    def enter(self, shelf: "Shelf", own: Queue) -> Queue:
        """The queue of a session from now on: the visitor's, if there is one and nothing in its own. Raises NotKept."""
        with self._lock:
            found = self._queues.setdefault(shelf, own)
            if found is not own and own.recordings:
                found = own
            self._sessions[found] = self._sessions.get(found, 0) + 1
        try:
            found.keep(shelf)
        except NotKept:
            self.leave(found, close=found is not own)
            raise
        if found is not own:
            own.close()
        return found

    def leave(self, queue: Queue, close: bool = True) -> None:
        """A session has ended; with the last one the queue is closed."""
        with self._lock:
            left = self._sessions.pop(queue, 1) - 1
            if left:
                self._sessions[queue] = left
                return
            self._queues = {shelf: other for shelf, other in self._queues.items() if other is not queue}
        if close:
            queue.close()


@cache
def queues() -> Queues:
    """Those of this process."""
    return Queues()
