"""The recordings of one visitor: added, recognised one after another, chosen, taken away."""

import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import IO, Any
from uuid import uuid4

import streamlit as st

from models import BadInput, ModelError, SpeechEngine, SpeechOptions
from models.errors import short
from models.jobs import Job
from models.sound.playback import Sound, prepare
from models.sound.tracks import Track, tracks
from models.temporary import temporary_folder
from models.transcripts.recordings import Recording, hear_again, transcribe_all
from pages.shared import loading
from pages.shared.language import sentence, tr
from pages.shared.markdown import literal, readable
from pages.shared.session import hold
from pages.shared.speech.editing import apply_edit, check_version
from pages.shared.speech.live import Finished

PEAKS = 8000  # parts of a waveform, which can be zoomed
MANY, HEIGHT = 8, 480  # more recordings than that scroll, in so many pixels
LONGEST_NAME = 50  # characters of a file's name on disk, each of up to four bytes of the 255 that there are
STATES = {
    "waiting": ("waiting", "等待中", ":material/schedule:"),
    "running": ("running", "转写中", ":material/graphic_eq:"),
    "done": ("done", "已完成", ":material/check_circle:"),
    "stopped": (
        "stopped: what was recognised is kept",
        "已停止：保留已识别的部分",
        ":material/pause_circle:",
    ),
    "failed": ("failed", "失败", ":material/error:"),
}


class Workspace:
    """The recordings, the work on them, and which one is shown. Their files last as long as this does."""

    def __init__(self) -> None:
        self.recordings: list[Recording] = []
        self.shown: Recording | None = None
        self.asked = False  # to begin with what waits
        # A line that is to be recognised again, as the browser asked for it, and when it begins while it is.
        self.pending_edit: tuple[Recording, Mapping[str, Any]] | None = None
        self.listening: float | None = None
        self.error: BadInput | None = None  # with the last change of a transcript
        self.no_translation = ""  # why the model that is chosen cannot translate
        self.uploads = 0  # a new number empties the widgets
        self.job: loading.Work | None = None
        self._spoken: Finished | None = None  # live, and taken over
        self._folder = tempfile.TemporaryDirectory(dir=temporary_folder())
        self._sounds: dict[Recording, Job[Any, Sound]] = {}
        self._tracks: dict[Recording, tuple[Track, ...]] = {}

    @property
    def running(self) -> bool:
        return self.job is not None and self.job.running

    @property
    def waiting(self) -> bool:
        return any(recording.state == "waiting" for recording in self._all())

    def _all(self) -> list[Recording]:
        translations = [recording.translation for recording in self.recordings]
        return [*self.recordings, *filter(None, translations)]

    def add(self, name: str, data: IO[bytes]) -> None:
        folder = Path(self._folder.name) / uuid4().hex  # a part of the view's key: no "__", as mkdtemp's
        folder.mkdir()
        plain = Path(Path(name).name.strip(".") or "recording")  # ".." is a folder
        path = folder / (plain.stem[:LONGEST_NAME] + plain.suffix[:10])
        with path.open("wb") as file:
            shutil.copyfileobj(data, file)
        self.recordings.append(Recording(name, path))
        if self.shown is None or self.shown.state != "running":
            self.shown = self.recordings[-1]

    def add_live(self, finished: Finished) -> None:
        """What was said live, once, as a recording that is done."""
        if finished is self._spoken:
            return
        self._spoken = finished
        self.add(finished.name, finished.sound.wav())
        recording = self.shown = self.recordings[-1]
        recording.state, recording.language = "done", finished.language
        recording.duration = recording.position = finished.duration
        recording.lines = tuple(finished.segments)

    def remove(self, recording: Recording) -> None:
        at = self.recordings.index(recording)
        self.recordings.remove(recording)
        self._forget_sound(recording)
        self._tracks.pop(recording, None)
        shutil.rmtree(recording.path.parent, ignore_errors=True)
        if self.shown is recording:
            self.shown = self.recordings[min(at, len(self.recordings) - 1)] if self.recordings else None

    def start(self, choice: loading.Choice, options: SpeechOptions) -> None:
        """Recognise all that waits. Work that is under way already sees to it by itself."""
        if self.running:
            return
        recordings, (pending, self.pending_edit) = self.recordings, (self.pending_edit, None)

        def use(engine: SpeechEngine, send: Callable[[Any], None], cancel: Event) -> None:
            if pending is not None:
                self.hear_again(engine, *pending, options, cancel)
            for recording in transcribe_all(engine, recordings, options, cancel):
                if recording.trouble is not None and not isinstance(recording.trouble, ModelError):
                    logging.getLogger(__name__).error("with a recording", exc_info=recording.trouble)

        self.job = loading.Work(choice, SpeechEngine, use)

    def hear_again(
        self,
        engine: SpeechEngine,
        recording: Recording,
        edit: Mapping[str, Any],
        options: SpeechOptions,
        cancel: Event,
    ) -> None:
        """Replace one line by what is recognised in its time with the options as they are now."""
        try:
            check_version(recording, edit)  # the engine may have been loaded first
            line = recording.lines[edit["line"]]
            self.listening = line.start
            heard = list(hear_again(engine, recording, line, options, cancel))
            if not cancel.is_set():
                apply_edit(recording, {**edit, "heard": heard})
        except BadInput as error:
            self.error = error
        finally:
            self.listening = None

    def stop(self) -> None:
        if self.job is not None:
            self.job.cancel.set()

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
        for sound in self._sounds.values():
            sound.cancel.set()
        self._folder.cleanup()


def get_workspace() -> Workspace:
    """The visitor's own, as long as the session lasts."""
    return hold("workspace", Workspace, Workspace.close)


def show_queue(family: str, workspace: Workspace) -> None:
    """Every recording with its state, and what can be done with it; drawn again while they are recognised."""
    if workspace.job is not None and workspace.running and not workspace.job.loaded:
        loading.show_progress(workspace.job.name, workspace.job.latest)
    if workspace.recordings:
        many = len(workspace.recordings) > MANY
        with st.container(border=True, gap="xsmall", height=HEIGHT if many else "content"):
            for number, recording in enumerate(workspace.recordings):
                _show_row(family, workspace, number, recording)


def _show_row(family: str, workspace: Workspace, number: int, recording: Recording) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        en, zh, icon = STATES[recording.state]
        if st.button(
            literal(recording.name),
            icon=icon,
            type="primary" if recording is workspace.shown else "secondary",
            key=f"{family}.show.{number}",
            help=tr("Show this recording", "显示此录音"),
        ):
            workspace.shown, workspace.error = recording, None
            st.rerun()
        for action in _actions(
            workspace, recording
        ):  # before the facts, which are the first to go to a new line
            _show_action(family, workspace, number, recording, action)
        st.markdown(f":small[:gray[{_facts(recording, tr(en, zh))}]]", width="content")
    for part in filter(None, (recording, recording.translation)):
        if part.state == "running":
            _show_progress(part)
        if part.trouble is not None:
            st.error(_describe_error(part.trouble), icon=":material/error:")


def _facts(recording: Recording, state: str) -> str:
    parts = [state]
    if recording.duration:
        parts.append(clock(recording.duration))
    if recording.language:
        sure = f" ({recording.probability:.0%})" if recording.probability is not None else ""
        parts.append(tr(f"language: {recording.language}{sure}", f"语言：{recording.language}{sure}"))
    if recording.seconds and recording.state == "done":
        speed = recording.duration / recording.seconds
        parts.append(tr(f"{speed:.1f}× real time", f"{speed:.1f} 倍实时"))
    return " · ".join(parts)


def _show_progress(recording: Recording) -> None:
    if not recording.duration:
        queued = tr(
            f"In the queue: {recording.ahead} ahead of you", f"排队中：前面还有 {recording.ahead} 个请求"
        )
        st.progress(0.0, text=queued if recording.ahead else tr("Listening…", "正在聆听……"))
        return
    done = max(recording.position, recording.lines[-1].end if recording.lines else 0.0)
    text = f"{clock(done)} / {clock(recording.duration)}"
    if recording.left is not None:
        text += tr(f" · {recording.left:.0f} s left", f" · 剩余 {recording.left:.0f} 秒")
    st.progress(min(done / recording.duration, 1.0), text=text)


ACTIONS = {
    "resume": (":material/play_arrow:", "Continue", "继续"),
    "again": (":material/refresh:", "Transcribe anew", "重新转写"),
    "remove": (":material/delete:", "Remove", "移除"),
}


def _actions(workspace: Workspace, recording: Recording) -> Sequence[str]:
    if recording.busy and workspace.running:
        return ()
    begun = recording.state in ("stopped", "failed", "done")
    resumable = recording.state in ("stopped", "failed") and recording.heard
    return [
        *(["resume"] if resumable else []),
        *(["again"] if begun else []),
        *(["remove"] if not _is_translating(workspace, recording) else []),
    ]


def _is_translating(workspace: Workspace, recording: Recording) -> bool:
    return workspace.running and recording.translation is not None and recording.translation.busy


def _show_action(family: str, workspace: Workspace, number: int, recording: Recording, action: str) -> None:
    icon, en, zh = ACTIONS[action]
    if not st.button("", icon=icon, help=tr(en, zh), type="tertiary", key=f"{family}.{action}.{number}"):
        return
    if action == "remove":
        workspace.remove(recording)
    else:
        getattr(recording, action)()
        workspace.shown = recording
        workspace.asked = True
    st.rerun()


def _describe_error(error: Exception) -> str:
    if isinstance(error, ModelError):
        return readable(sentence(error))
    return tr(
        "Something went wrong that Quintet did not foresee: try again, and if it stays, report this: ",
        "发生了未预料的错误：请重试；若仍出现，请反馈：",
    ) + readable(short(error))


def clock(seconds: float) -> str:
    """12.3 → "0:12"; an hour and more with its hours."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
