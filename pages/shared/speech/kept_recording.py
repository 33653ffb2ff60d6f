"""Recordings as things that are kept."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from models.schema import Text
from models.store.things import Thing, digest_of
from models.transcripts.recordings import Recording
from pages.shared.keeping.keeper import Form, Kept, Written
from pages.shared.speech.kept import is_open, read_content, words_of, write_content

if TYPE_CHECKING:
    from models.store.store import Shelf

# The pages of things: what is in the queue, and what is only in the list.
QUEUED, AWAY = "whisper.queue", "whisper"


class KeptRecording(Kept):
    """A recording: its file lies beside it, and is read by nobody who keeps or lists it."""

    form = Form(
        "recording",
        Text("New queue", "新队列"),
        Text("Search recordings", "搜索录音"),
        Text("No recording has all these words.", "没有包含这些词的录音。"),
        Text(
            "The address names a recording that is not kept for this browser: it was deleted, or is somebody else's.",
            "网址中的录音不属于此浏览器：它已被删除，或属于他人。",
        ),
        reads_files=False,
    )

    def __init__(self, shelf: "Shelf", page: str, recording: Recording | None = None) -> None:
        self.recording = recording
        self.stop: Callable[[], None] = lambda: None  # the work on it
        self.update: Callable[[], None] = lambda: None  # with what is said, as long as it is said live
        self._file = ""  # the digest of its sound, once it was kept
        super().__init__(shelf, page)

    @property
    def state(self) -> Any:
        self.update()
        return (self.page, *map(_state, self.recording.parts)) if self.recording else None

    def write(self, state: Any) -> Written:
        recording = self.recording
        if recording is None:
            raise ValueError("there is nothing in it")
        if not self._file and recording.path.is_file():
            self._file = digest_of(recording.path)
        files: dict[str, bytes | Path] = {self._file: recording.path} if self._file else {}
        title = recording.name.strip() or "recording"
        return Written(title, write_content(recording), words_of(recording), files)

    def take(self, thing: Thing) -> bool:
        paths = {name: file for name, file in thing.files.items() if isinstance(file, Path)}
        (self._file, path), *_ = (*paths.items(), ("", Path("gone")))
        read = read_content(thing.content, path)
        for part in read.parts:
            part.name = thing.title if thing.named else part.name
        if self.recording is None:
            self.recording = read
        else:
            path, version = self.recording.path, self.recording.version + 1
            vars(self.recording).update(vars(read))
            self.recording.version = version
            for part in self.recording.parts:
                part.path = path
        return is_open(thing.content)

    def fresh(self) -> Self:
        return type(self)(self.shelf, self.page)

    def settle(self) -> None:
        if self.recording and any(part.busy for part in self.recording.parts):
            self.stop()


def _state(part: Recording) -> tuple[Any, ...]:
    """Of a recording or its translation: what is replaced, or only grows."""
    facts = (part.name, part.track, part.options, part.state, part.duration, part.language, part.trouble)
    return (*facts, len(part.heard), part.lines, len(part.past), part.version)
