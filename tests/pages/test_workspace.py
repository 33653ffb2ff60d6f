"""The recordings of a visitor, without a page: their files, the work on them, and what is prepared of them."""

import io
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.errors import BadInput
from models.jobs import Job
from models.schema import Checkpoint, Placement, Segment, SpeechOptions
from models.transcripts.live import LiveText, LiveTranscript
from models.transcripts.recordings import Recording
from pages.shared.speech import queue
from pages.shared.speech import workspace as module
from pages.shared.speech.live import Finished, LiveRecording
from pages.shared.speech.workspace import Workspace, _actions, _describe_error
from tests.fakes.engines import FakeSpeechEngine, Stage
from tests.fakes.script import lend
from tests.fakes.sounds import sine, write_sound, write_tracks
from tests.fakes.waiting import WAIT

LINE = Segment(0.0, 1.0, " Hello.")


@pytest.fixture
def workspace() -> Any:
    made = Workspace()
    yield made
    made.close()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    own = Stage()
    monkeypatch.setattr(FakeSpeechEngine, "stage", own)
    return own


@pytest.fixture
def engine(stage: Stage) -> FakeSpeechEngine:
    return FakeSpeechEngine(
        "x", Checkpoint("x", "whisper", "speech", "ctranslate2"), Placement("cpu", "fp32")
    )


def added(workspace: Workspace, *names: str) -> list[Recording]:
    for name in names:
        workspace.add(name, io.BytesIO())
    return workspace.recordings


@pytest.mark.parametrize("state", ["waiting", "running", "done", "stopped", "failed"])
def test_a_new_recording_is_shown_unless_one_is_watched(workspace: Workspace, state: Any) -> None:
    (first,) = added(workspace, "a.wav")
    first.state = state
    added(workspace, "b.wav")
    assert workspace.shown is workspace.recordings[0 if state == "running" else 1]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("", "recording"),
        ("/", "recording"),
        ("..", "recording"),
        ("a/b.wav", "b.wav"),
        ("a.0123456789abc", "a.012345678"),
        (".wav", "wav"),
        ("😀" * 300 + ".😀😀😀😀😀😀😀😀😀😀😀", "😀" * 50 + ".😀😀😀😀😀😀😀😀😀"),
    ],
)
def test_any_name_is_one_on_disk(workspace: Workspace, name: str, kept: str) -> None:
    workspace.add(name, io.BytesIO(b"sound"))
    (recording,) = workspace.recordings
    assert (recording.name, recording.path.name) == (name, kept)
    assert recording.path.read_bytes() == b"sound"


def test_what_was_said_live_is_taken_over_once(workspace: Workspace, engine: FakeSpeechEngine) -> None:
    said = []
    for text in (" Hello.", " Goodbye."):
        transcript = LiveTranscript(engine)
        transcript.feed(bytes(64_000))
        live = LiveRecording("a", transcript, Job(lambda _, cancel: LiveText()), over=True)
        live.job.wait(WAIT)
        live.finished = Finished(transcript.sound, (replace(LINE, text=text),), "de", 2.0)
        said.append(live)
    workspace.follow(said[0])
    workspace.recordings[0].state = "running"  # by now something else is watched
    for live in (said[0], said[1], said[1]):
        workspace.follow(live)
    assert [recording.lines[0].text for recording in workspace.recordings] == [" Hello.", " Goodbye."]
    last = workspace.recordings[1]
    assert workspace.shown is last and (last.state, last.language) == ("done", "de")
    assert (last.duration, last.position, last.path.stat().st_size) == (2.0, 2.0, 64_044)


def test_a_translation_is_waited_for(workspace: Workspace) -> None:
    (recording,) = added(workspace, "a.wav")
    recording.state = "done"
    assert not workspace.queue.waiting
    recording.translate()
    assert workspace.queue.waiting


def test_work_is_begun_once_and_holds_its_engine(
    workspace: Workspace, stage: Stage, engine: FakeSpeechEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = lend(monkeypatch, engine)
    stage.heard, stage.hold = [LINE], (0, threading.Event())
    added(workspace, "a.wav")
    workspace.start(choice, SpeechOptions())
    job = workspace.queue.job
    workspace.start(choice, SpeechOptions())
    assert job is not None and workspace.queue.job is job and workspace.queue.running
    stage.hold[1].set()
    assert job.wait(WAIT) and workspace.recordings[0].state == "done"
    workspace.recordings[0].again()
    workspace.start(choice, SpeechOptions())
    assert (
        workspace.queue.job is not job and workspace.queue.job is not None and workspace.queue.job.wait(WAIT)
    )
    assert len(stage.options) == 2


def test_an_engine_is_held_between_two_recordings(
    workspace: Workspace, stage: Stage, engine: FakeSpeechEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []

    def look(asked: Any, *_: Any) -> Any:
        held.append(asked.leased)
        return iter(())

    monkeypatch.setattr(module, "transcribe_all", look)
    workspace.start(lend(monkeypatch, engine), SpeechOptions())
    assert workspace.queue.job is not None and workspace.queue.job.wait(WAIT)
    assert held == [True] and not engine.leased


def test_only_what_nobody_foresaw_is_logged(
    workspace: Workspace, stage: Stage, engine: FakeSpeechEngine, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    stage.refused = {"a.wav": BadInput("No sound.", "没有声音。"), "b.wav": ZeroDivisionError("odd")}
    added(workspace, "a.wav", "b.wav")
    workspace.start(lend(monkeypatch, engine), SpeechOptions())
    assert workspace.queue.job is not None and workspace.queue.job.wait(WAIT)
    (record,) = caplog.records
    assert record.exc_info is not None and isinstance(record.exc_info[1], ZeroDivisionError)


def test_sound_and_tracks_are_looked_at_once(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = write_tracks(tmp_path / "film.mkv", [(sine(0.2), {}, 1), (sine(0.2), {}, 0)])
    workspace.add("film.mkv", io.BytesIO(film.read_bytes()))
    workspace.add("letter.wav", io.BytesIO(b"Dear reader"))
    recording, letter = workspace.recordings
    assert [track.number for track in workspace.queue.tracks(recording)] == [1, 2]
    assert workspace.queue.tracks(letter) == ()  # why is said where it is transcribed
    monkeypatch.setattr(queue, "tracks", lambda _: pytest.fail("read again"))
    assert len(workspace.queue.tracks(recording)) == 2 and workspace.queue.tracks(letter) == ()
    sound = workspace.queue.get_sound(recording)
    assert workspace.queue.get_sound(recording) is sound
    workspace.queue.choose(recording, 2)
    assert recording.track == 2 and sound.cancel.is_set()
    assert workspace.queue.get_sound(recording) is not sound


def test_what_is_removed_is_prepared_no_longer(workspace: Workspace, tmp_path: Path) -> None:
    wav = write_sound(tmp_path / "a.wav", sine(0.2)).read_bytes()
    for name in "ab":
        workspace.add(f"{name}.wav", io.BytesIO(wav))
    first, second = workspace.recordings
    sounds = [workspace.queue.get_sound(recording) for recording in (first, second)]
    workspace.queue.tracks(first)
    workspace.remove(first)
    assert [sound.cancel.is_set() for sound in sounds] == [True, False]
    assert first not in workspace.queue._tracks and first not in workspace.queue._sounds
    workspace.queue.job = Job[Any, None](lambda _, cancel: cancel.wait(WAIT) and None)
    workspace.close()
    assert sounds[1].cancel.is_set() and workspace.queue.job.cancel.is_set()
    assert workspace.queue.job.wait(WAIT)


@pytest.mark.parametrize("working", [True, False])
@pytest.mark.parametrize(
    ("state", "begun", "while_working"),
    [
        ("waiting", False, ["remove"]),
        ("waiting", True, []),
        ("running", True, []),
        ("done", True, ["again", "remove"]),
        ("stopped", True, ["resume", "again", "remove"]),
    ],
)
def test_what_is_under_way_is_left_alone(
    workspace: Workspace, working: bool, state: Any, begun: bool, while_working: list[str]
) -> None:
    (recording,) = added(workspace, "a.wav")
    recording.state, recording.options = state, SpeechOptions() if begun else None
    recording.heard = [LINE]
    with Job[Any, None](lambda _, cancel: cancel.wait(WAIT) and None) as job:
        workspace.queue.job = job if working else None
        # Where an engine was closed under it, what was begun waits, and nobody works on it.
        expected = while_working if working or while_working else ["remove"]
        assert list(_actions(workspace, recording)) == expected


def test_what_went_wrong_is_shown_as_text() -> None:
    for error in (BadInput("![a](http://b/c.png)", ""), RuntimeError("![a](http://b/c.png)")):
        assert "![" not in _describe_error(error)
