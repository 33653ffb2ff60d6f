"""The recordings of a page: added, recognised one after another, chosen, taken away."""

import logging
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import IO, TYPE_CHECKING, Any

import streamlit as st

from models import BadInput, ModelError, SpeechEngine, SpeechOptions
from models.transcripts.recordings import Recording, hear_again, transcribe_all
from pages.shared import loading
from pages.shared.keeping.histories import attempt, delete
from pages.shared.language import tr
from pages.shared.markdown import literal, readable
from pages.shared.session import hold
from pages.shared.speech.editing import apply_edit, check_version
from pages.shared.speech.kept import sentences
from pages.shared.speech.live import LiveRecording
from pages.shared.speech.queue import Queue, queues

if TYPE_CHECKING:
    from models.store.store import Shelf

MANY, HEIGHT = 8, 480  # more recordings than that scroll, in so many pixels
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
    """The queue as one session sees it: which recording is shown, and what is asked of it."""

    def __init__(self) -> None:
        self.queue = Queue()
        self.shown: Recording | None = None
        self.asked = False  # to begin with what waits
        # A line that is to be recognised again, as the browser asked for it.
        self.pending_edit: tuple[Recording, Mapping[str, Any]] | None = None
        self.error: BadInput | None = None  # with the last change of a transcript
        self.no_translation = ""  # why the model that is chosen cannot translate
        self.uploads = 0  # a new number empties the widgets
        self._is_shared = False

    @property
    def recordings(self) -> list[Recording]:
        return self.queue.recordings

    def keep(self, shelf: "Shelf") -> None:
        """Share the visitor's queue, and keep it from now on. Raises NotKept."""
        if not self._is_shared:
            self.queue = queues().enter(shelf, self.queue)
            self._is_shared = True
            self.show_another()

    def show_another(self) -> None:
        """Unless what is shown is there: what is under way, or was worked on last."""
        if self.shown not in self.recordings:
            running = (recording for recording in self.recordings if recording.state == "running")
            last = self.queue.latest if self.queue.latest in self.recordings else None
            self.shown = next(running, last or (self.recordings[-1] if self.recordings else None))

    def add(self, name: str, data: IO[bytes]) -> Recording:
        recording = self.queue.add(name, data)
        if self.shown is None or self.shown.state != "running":
            self.shown = recording
        return recording

    def follow(self, live: LiveRecording | None) -> None:
        """Have what is said live in the queue, once it has ended."""
        if live is not None:
            self.queue.follow(live)
        for recording in self.queue.take_over():
            self.shown = recording

    def remove(self, recording: Recording) -> None:
        at = self.recordings.index(recording)
        self.queue.remove(recording)
        if self.shown is recording:
            self.shown = self.recordings[min(at, len(self.recordings) - 1)] if self.recordings else None

    def start(self, choice: loading.Choice, options: SpeechOptions) -> None:
        """Recognise all that waits. Work that is under way already sees to it by itself."""
        queue = self.queue
        if queue.running:
            return
        pending, self.pending_edit = self.pending_edit, None

        def use(engine: SpeechEngine, send: Callable[[Any], None], cancel: Event) -> None:
            try:
                if pending is not None:
                    self.hear_again(engine, *pending, options, cancel)
                for recording in transcribe_all(engine, queue.recordings, options, cancel):
                    if recording.trouble is not None and not isinstance(recording.trouble, ModelError):
                        logging.getLogger(__name__).error("with a recording", exc_info=recording.trouble)
            finally:  # the sessions may have ended
                queue.save()

        queue.job = loading.Work(choice, SpeechEngine, use)

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
            self.queue.listening = line.start
            heard = list(hear_again(engine, recording, line, options, cancel))
            if not cancel.is_set():
                apply_edit(recording, {**edit, "heard": heard})
        except BadInput as error:
            self.error = error
        finally:
            self.queue.listening = None

    def close(self) -> None:
        queues().leave(self.queue)


def get_workspace() -> Workspace:
    """The session's own, as long as it lasts."""
    return hold("workspace", Workspace, Workspace.close)


def show_queue(family: str, workspace: Workspace) -> None:
    """Every recording with its state, and what can be done with it; drawn again while they are recognised."""
    job = workspace.queue.job
    if job is not None and job.running and not job.loaded:
        loading.show_progress(job.name, job.latest)
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
    for part in recording.parts:
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
    if recording.busy and workspace.queue.running:
        return ()
    begun = recording.state in ("stopped", "failed", "done")
    resumable = recording.state in ("stopped", "failed") and recording.heard
    return [
        *(["resume"] if resumable else []),
        *(["again"] if begun and recording.path.exists() else []),
        *(["remove"] if not _is_translating(workspace, recording) else []),
    ]


def _is_translating(workspace: Workspace, recording: Recording) -> bool:
    return workspace.queue.running and recording.translation is not None and recording.translation.busy


def _show_action(family: str, workspace: Workspace, number: int, recording: Recording, action: str) -> None:
    icon, en, zh = ACTIONS[action]
    if not st.button("", icon=icon, help=tr(en, zh), type="tertiary", key=f"{family}.{action}.{number}"):
        return
    if action == "remove":
        _remove(family, workspace, recording)
    else:
        getattr(recording, action)()
        workspace.shown = recording
        workspace.asked = True
    st.rerun()


def _remove(family: str, workspace: Workspace, recording: Recording) -> None:
    """Where it is kept, it is deleted there, and can be had back from the list."""
    kept = workspace.queue.kept.get(recording)
    if kept is not None:
        attempt(family, delete, kept.id)
    if recording in workspace.recordings and not (kept and kept.is_kept):
        workspace.remove(recording)


def _describe_error(error: Exception) -> str:
    return readable(tr(*sentences(error)))


def clock(seconds: float) -> str:
    """12.3 → "0:12"; an hour and more with its hours."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
