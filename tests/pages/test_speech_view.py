"""What the Whisper page does besides showing recordings: what it says before, while and after it works."""

import io
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import streamlit as st

from models import BadInput, SpeechOptions
from models.jobs import Job
from models.schema import Checkpoint, Placement, Segment, Text
from models.sound.tracks import Track
from models.transcripts.files import SOUND, VIDEO
from pages.shared.loading import Choice
from pages.shared.speech import view
from pages.shared.speech import workspace as desk
from pages.shared.speech.workspace import Workspace
from tests.fakes.engines import FakeSpeechEngine
from tests.fakes.script import Rerun, lend
from tests.fakes.waiting import WAIT

LINE = Segment(0.0, 1.0, " Hallo")
OPTIONS = SpeechOptions()
CHECKPOINT = Checkpoint("x", "whisper", "speech", "ctranslate2")


class Drawn(NamedTuple):
    """One element, by what drew it."""

    kind: str
    label: Any
    named: dict[str, Any]


@pytest.fixture
def drawn(session: Any, monkeypatch: pytest.MonkeyPatch) -> list[Drawn]:
    """What was drawn. Nothing of it is clicked."""
    found: list[Drawn] = []
    answers: dict[str, Any] = {"button": False, "warning": None, "info": None, "error": None, "caption": None}
    for kind, answer in answers.items():

        def draw(label: Any, *_: Any, kind: str = kind, answer: Any = answer, **named: Any) -> Any:
            found.append(Drawn(kind, label, named))
            return answer

        monkeypatch.setattr(st, kind, draw)
    return found


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    made = Workspace()
    yield made
    made.close()


@pytest.fixture
def recording(workspace: Workspace) -> Any:
    """One that is shown, in German, with a line."""
    workspace.add("a.wav", io.BytesIO())
    made = workspace.recordings[0]
    made.state, made.options, made.lines, made.language = "done", OPTIONS, (LINE,), "de"
    return made


@pytest.fixture
def work(workspace: Workspace) -> Iterator[Job[Any, None]]:
    """The workspace is busy until the test ends."""
    with Job[Any, None](lambda _, cancel: cancel.wait(WAIT) and None) as job:
        workspace.queue.job = job
        yield job


def choice(engine: Any = None, checkpoint: Checkpoint | None = CHECKPOINT, accepted: bool = True) -> Choice:
    return Choice("whisper", "x", "cpu", "fp32", None, checkpoint, engine, accepted, True)


# --- before ----------------------------------------------------------------------------------------


class Noting(FakeSpeechEngine):
    """Has something to say about names, once it is asked."""

    def notes(self, options: SpeechOptions) -> tuple[Text, ...]:
        with self.request():
            return (Text("Too many names.", "人名太多。"),) if options.initial_prompt else ()


@pytest.mark.parametrize(
    ("options", "closed", "said"),
    [
        (OPTIONS, False, []),
        (SpeechOptions(initial_prompt="Ada"), False, ["Too many names."]),
        (SpeechOptions(initial_prompt="Ada"), True, []),
        (SpeechOptions(language="zh"), False, ["x does not know the language 'zh'"]),
        (SpeechOptions(language="zh", initial_prompt="Ada"), False, ["x does not know", "Too many names."]),
    ],
)
def test_what_is_known_before_it_starts_is_said(
    options: SpeechOptions, closed: bool, said: list[str], drawn: list[Drawn], workspace: Workspace
) -> None:
    english = Checkpoint("x", "whisper", "speech", "ctranslate2", languages=("en", "de"))
    engine = Noting("x", english, Placement("cpu", "fp32"))
    if closed:
        assert engine.close_if_idle()
    view._warn(workspace, choice(engine, english), options)
    warnings = [found.label for found in drawn if found.kind == "warning"]
    assert len(warnings) == len(said)
    assert all(warning.startswith(start) for warning, start in zip(warnings, said, strict=True))
    assert workspace.no_translation == ""


def test_a_model_for_english_alone_offers_no_translation(drawn: list[Drawn], workspace: Workspace) -> None:
    english = Checkpoint("x", "whisper", "speech", "ctranslate2", languages=("en",))
    view._warn(workspace, choice(None, english), OPTIONS)
    assert "cannot translate" in workspace.no_translation and not drawn
    view._warn(workspace, choice(None, None), OPTIONS)  # none is chosen: nothing is known
    assert "cannot translate" in workspace.no_translation and not drawn


@pytest.mark.parametrize("state", ["waiting", "done"])
@pytest.mark.parametrize("running", [True, False])
def test_which_buttons_can_be_clicked(
    state: Any, running: bool, drawn: list[Drawn], workspace: Workspace, recording: Any, work: Any
) -> None:
    recording.state = state
    workspace.queue.job = work if running else None
    view._show_buttons(workspace)
    disabled = {found.named["key"]: found.named["disabled"] for found in drawn}
    assert disabled == {"whisper.go": running or state == "done", "whisper.stop": not running}


def test_only_sound_and_films_are_taken(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> None:
    """And what is spoken into the page is called by its number; each time the widgets are new ones."""
    monkeypatch.setattr(st, "session_state", {"set.whisper.language": "zh"})
    asked: list[Any] = []
    live: list[SpeechOptions] = []

    class Tab:
        def file_uploader(self, *_: Any, **named: Any) -> list[Any]:
            asked.append(named)
            return [SimpleNamespace(name=name, read=io.BytesIO(b"film").read) for name in ("a.mp4", "b.mp4")]

        def audio_input(self, *_: Any, **named: Any) -> Any:
            asked.append(named)
            return io.BytesIO(b"sound")

        def __enter__(self) -> None: ...

        def __exit__(self, *_: Any) -> None: ...

    monkeypatch.setattr(st, "tabs", lambda _: [Tab()] * 3)
    monkeypatch.setattr(st, "rerun", lambda: None)
    monkeypatch.setattr(view, "show_live_text", lambda key, choice, options: live.append(options))
    for _ in range(2):
        view._add_recordings(workspace, choice())
    assert asked[0]["type"] == [*SOUND, *VIDEO] and asked[0]["accept_multiple_files"]
    assert len({named["key"] for named in asked}) == 4
    assert [recording.name for recording in workspace.recordings] == [
        "recording 1.wav", "a.mp4", "b.mp4", "recording 2.wav", "a.mp4", "b.mp4",
    ]  # fmt: skip
    assert live == [SpeechOptions("zh")] * 2


# --- while it works --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("busy", "lines", "expected"),
    [
        ("", 1, [None, None]),
        ("sound", 1, [None, view.REFRESH]),
        ("work", 1, [view.REFRESH, view.REFRESH]),
        ("work", 2000, [view.REFRESH, 2000 / view.LINES_PER_SECOND]),
        ("", 2000, [None, None]),
    ],
)
def test_how_often_each_part_is_drawn(
    busy: str, lines: int, expected: list[Any], workspace: Workspace, recording: Any, work: Job[Any, None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    parts: list[tuple[Any, Any, bool]] = []

    def fragment(function: Any, run_every: Any = None) -> Any:
        return lambda workspace, draw, busy: parts.append((draw, run_every, busy()))

    monkeypatch.setattr(st, "fragment", fragment)
    recording.lines = (LINE,) * lines
    still: Job[Any, Any] = Job(lambda *_: None)
    assert still.wait(WAIT)
    workspace.queue.job = work if busy == "work" else None
    workspace.queue._sounds[recording] = work if busy == "sound" else still  # type: ignore[assignment]
    view._show_results(workspace)
    assert parts == [
        (view._show_queue, expected[0], busy == "work"),
        (view._show_recording, expected[1], bool(busy)),
    ]
    workspace.shown = None
    parts.clear()
    view._show_results(workspace)
    assert [part[0] for part in parts] == [view._show_queue]


@pytest.mark.parametrize(
    ("was_busy", "busy", "asked", "again"),
    [
        (None, False, False, False),
        (False, False, False, False),
        (False, True, False, False),
        (True, True, False, False),
        (True, False, False, True),  # it stands still
        (False, False, True, True),
        (True, True, True, True),
    ],
)
def test_the_whole_page_is_drawn_once_a_part_stands_still(
    was_busy: bool | None, busy: bool, asked: bool, again: bool, session: dict[str, Any], workspace: Workspace
) -> None:
    def part(_: Workspace) -> None:
        shown.append(1)

    shown: list[int] = []
    if was_busy is not None:
        session["whisper.watching.part"] = was_busy
    workspace.asked = asked
    try:
        view._show_part(workspace, part, lambda: busy)
    except Rerun:
        assert again and not shown
    else:
        assert not again and shown
    assert session["whisper.watching.part"] is busy


# --- and after -------------------------------------------------------------------------------------


@pytest.fixture
def shown(drawn: list[Drawn], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the transcript and the parts under it were given."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(
        view,
        "show_transcript",
        lambda key, recording, sound, **named: given.update(named, key=key, sound=sound),
    )
    monkeypatch.setattr(view, "show_downloads", lambda *these: given.update(downloads=these))
    monkeypatch.setattr(view, "show_send_to_chat", lambda *these: given.update(sent=these))
    monkeypatch.setattr(st, "subheader", lambda text: given.update(title=text))
    return given


def test_what_is_done_can_be_changed_translated_taken_and_sent(
    shown: dict[str, Any], drawn: list[Drawn], workspace: Workspace, recording: Any
) -> None:
    workspace.error = BadInput("Not so.", "不行。")
    view._show_recording(workspace)
    assert (shown["editable"], shown["again"], shown["error"]) == (True, True, "Not so.")
    assert shown["downloads"] == ("whisper", recording, workspace.recordings)
    assert shown["sent"] == ("a.wav", "Hallo\n")
    assert "whisper.translate" in [found.named.get("key") for found in drawn]
    assert recording.path.parent.name in shown["key"]


def test_what_grows_is_only_looked_at(
    shown: dict[str, Any], drawn: list[Drawn], workspace: Workspace, recording: Any, work: Job[Any, None]
) -> None:
    recording.state = "running"
    workspace.queue._sounds[recording] = work  # type: ignore[assignment]
    view._show_recording(workspace)
    assert (shown["editable"], shown["again"], shown["error"], shown["sound"]) == (False, False, "", None)
    assert "downloads" not in shown and "sent" not in shown
    assert [found.kind for found in drawn] == ["caption"]  # that the waveform is being drawn


@pytest.mark.parametrize(
    ("state", "begun", "offered"),
    [("waiting", False, True), ("waiting", True, False), ("running", True, False), ("done", True, False),
     ("failed", True, True), ("stopped", True, True)],
)  # fmt: skip
def test_a_translation_is_offered_until_there_is_one(
    state: Any, begun: bool, offered: bool, drawn: list[Drawn], workspace: Workspace, recording: Any
) -> None:
    translation = recording.translate()
    translation.state, translation.options = state, OPTIONS if begun else None
    workspace.no_translation = "It cannot."
    view._offer_translation(workspace, recording)
    assert [(found.named["disabled"], found.named["help"]) for found in drawn] == [
        (True, "It cannot.")
    ] * offered


@pytest.mark.parametrize(
    ("codecs", "busy", "offered"),
    [(["aac", "aac"], False, True), (["aac", "aac"], True, True), (["aac"], False, False), (["", ""], False, False),
     (["aac", ""], False, True), ([], False, False)],
)  # fmt: skip
def test_a_track_is_chosen_where_there_are_several(
    codecs: list[str], busy: bool, offered: bool, session: Any, workspace: Workspace, recording: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked: list[Any] = []

    def selectbox(label: str, options: list[Any], index: int, **named: Any) -> Any:
        asked.append((options, index, named["disabled"]))
        return options[index]

    monkeypatch.setattr(st, "selectbox", selectbox)
    tracks = tuple(Track(number, "", "", codec) for number, codec in enumerate(codecs, 1))
    workspace.queue._tracks[recording] = tracks
    recording.state = "running" if busy else "done"
    recording.track = 1
    view._choose_track(workspace, recording)
    numbers = [track.number for track in tracks if track.codec]
    assert asked == ([([None, *numbers], 1, busy)] if offered else [])


def test_work_that_broke_off_is_explained_once(
    session: dict[str, Any], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.start(lend(monkeypatch, ZeroDivisionError("odd")), OPTIONS)
    assert workspace.queue.job is not None and workspace.queue.job.wait(WAIT)
    with pytest.raises(Rerun):
        view._recognise(workspace, choice(), OPTIONS)
    assert isinstance(session["whisper.failure"], ZeroDivisionError) and workspace.queue.job is None
    view._recognise(workspace, choice(), OPTIONS)


@pytest.mark.parametrize(
    ("waits", "accepted", "begins"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_what_is_asked_for_begins_where_it_can(
    waits: bool, accepted: bool, begins: bool, session: Any, workspace: Workspace, recording: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    lend(monkeypatch, BadInput("Not so.", "不行。"))
    recording.state = "waiting" if waits else "done"
    workspace.asked = True
    with pytest.raises(Rerun):
        view._recognise(workspace, choice(accepted=accepted), OPTIONS)
    assert (workspace.queue.job is not None) is begins and not workspace.asked
    assert ("whisper.failure" in session) is not accepted


@pytest.mark.parametrize("version", [0, 7])
def test_a_line_again_waits_for_an_engine_and_forgets_the_last_error(
    version: int, session: Any, workspace: Workspace, recording: Any
) -> None:
    workspace.error = BadInput("Not so.", "不行。")
    edit = {"action": "again", "line": 0, "version": version}
    view._take_edit(workspace, recording, edit)
    if version == recording.version:
        assert workspace.pending_edit == (recording, edit) and workspace.error is None
        assert workspace.asked
    else:
        assert workspace.pending_edit is None and "changed meanwhile" in str(workspace.error)
        assert not workspace.asked


def test_a_line_that_no_library_hears_again_is_explained(
    session: dict[str, Any], workspace: Workspace, recording: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(*_: Any) -> Any:
        assert workspace.queue.listening == LINE.start
        raise ZeroDivisionError("odd")

    monkeypatch.setattr(desk, "hear_again", break_off)
    engine = FakeSpeechEngine("x", CHECKPOINT, Placement("cpu", "fp32"))
    edit = {"action": "again", "line": 0, "version": recording.version}
    workspace.pending_edit = recording, edit
    workspace.start(lend(monkeypatch, engine), OPTIONS)
    assert workspace.queue.job is not None and workspace.queue.job.wait(WAIT)
    assert isinstance(workspace.queue.job.failure, ZeroDivisionError)
    assert recording.lines == (LINE,) and workspace.pending_edit is None and workspace.queue.listening is None


@pytest.mark.parametrize(
    ("version", "stopped", "text"), [(0, False, " Guten Tag"), (7, False, " Hallo"), (0, True, " Hallo")]
)
def test_a_line_is_heard_again_where_it_still_is(
    version: int,
    stopped: bool,
    text: str,
    workspace: Workspace,
    recording: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hear(engine: Any, recording: Any, line: Any, options: Any, cancel: Any) -> Any:
        if stopped:
            cancel.set()
        yield Segment(0.0, 1.0, " Guten Tag")

    monkeypatch.setattr(desk, "hear_again", hear)
    engine = FakeSpeechEngine("x", CHECKPOINT, Placement("cpu", "fp32"))
    edit = {"action": "again", "line": 0, "version": version}
    workspace.hear_again(engine, recording, edit, OPTIONS, threading.Event())
    assert [line.text for line in recording.lines] == [text]
    assert (workspace.error is not None) is (version != 0)
