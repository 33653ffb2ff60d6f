"""What the Whisper page says of each recording: how far it is, what is known of it, what can be done."""

import io
import json
import threading
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from models.errors import BadInput
from models.jobs import Job
from models.schema import Segment, SpeechOptions
from models.transcripts.recordings import Recording
from pages.shared import loading
from pages.shared.speech.downloads import Form, _zip
from pages.shared.speech.workspace import HEIGHT, MANY, Workspace, _actions, show_queue
from tests.fakes.sounds import sine, write_sound
from tests.fakes.visitor import alive, keys, sentences, visit
from tests.fakes.waiting import WAIT

LINE = Segment(0.0, 7.25, " Hello.")
BEGUN = SpeechOptions()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Recording]:
    """All recordings that there are, in order."""
    found: list[Recording] = []
    begin = Recording.__init__

    def remember(self: Recording, *arguments: Any, **named: Any) -> None:
        begin(self, *arguments, **named)
        found.append(self)

    monkeypatch.setattr(Recording, "__init__", remember)
    return found


@pytest.fixture
def page(stage: Any, made: list[Recording], tmp_path: Any) -> AppTest:
    """With one recording that waits."""
    wav = write_sound(tmp_path / "talk.wav", sine(0.2)).read_bytes()
    return alive(visit("whisper").file_uploader[0].upload("talk.wav", wav, "audio/wav").run())


def now(page: AppTest, recording: Recording, **facts: Any) -> AppTest:
    """The page once these facts hold."""
    for name, value in facts.items():
        setattr(recording, name, value)
    return alive(page.run())


def row(page: AppTest) -> str:
    """What is said behind the name."""
    (found,) = (text.value for text in page.markdown if text.value.startswith(":small[:gray["))
    return str(found).removeprefix(":small[:gray[").removesuffix("]]")


def bar(page: AppTest) -> tuple[int, str]:
    (found,) = (node.proto for node in page.main if node.type == "progress")  # type: ignore[attr-defined]
    return found.value, found.text


def test_what_is_known_of_a_recording(page: AppTest, made: list[Recording]) -> None:
    assert row(page) == "waiting"
    facts = {"state": "done", "options": BEGUN, "duration": 3725.9, "lines": (LINE,)}
    assert row(now(page, made[0], **facts)) == "done · 1:02:05"
    assert row(now(page, made[0], language="en", seconds=1000.0)) == (
        "done · 1:02:05 · language: en · 3.7× real time"
    )
    assert "language: en (88%) · " in row(now(page, made[0], probability=0.876))
    assert row(now(page, made[0], state="stopped", duration=59.0)) == (
        "stopped: what was recognised is kept · 0:59 · language: en (88%)"
    )


def test_how_far_a_recording_is(page: AppTest, made: list[Recording]) -> None:
    running = {"state": "running", "options": BEGUN}
    assert bar(now(page, made[0], **running)) == (0, "Listening…")
    assert bar(now(page, made[0], ahead=2)) == (0, "In the queue: 2 ahead of you")
    assert bar(now(page, made[0], duration=100.0, position=25.0)) == (25, "0:25 / 1:40")
    assert bar(now(page, made[0], left=41.6)) == (25, "0:25 / 1:40 · 42 s left")
    far = (LINE, Segment(20.0, 60.5, " more"))
    assert bar(now(page, made[0], lines=far)) == (60, "1:00 / 1:40 · 42 s left")
    assert bar(now(page, made[0], position=150.0))[0] == 100


def test_a_translation_has_its_own_bar_and_trouble(page: AppTest, made: list[Recording]) -> None:
    now(page, made[0], state="done", options=BEGUN, lines=(LINE,), duration=10.0)
    made[0].translate()
    assert bar(now(page, made[1], state="running", options=BEGUN, duration=10.0, position=5.0))[0] == 50
    failed = now(page, made[1], state="failed", trouble=BadInput("No English.", "无英语。"))
    assert sentences(failed) == ["No English."]
    odd = now(page, made[0], state="failed", trouble=RuntimeError("bits"))
    assert sentences(odd)[0].endswith("RuntimeError: bits") and sentences(odd)[1] == "No English."


@pytest.mark.parametrize(
    ("state", "heard", "offered"),
    [
        ("waiting", [], {"remove"}),
        ("done", [LINE], {"again", "remove"}),
        ("stopped", [LINE], {"resume", "again", "remove"}),
        ("failed", [LINE], {"resume", "again", "remove"}),
        ("failed", [], {"again", "remove"}),
    ],
)
def test_what_can_be_done(
    state: str, heard: list[Segment], offered: set[str], page: AppTest, made: list[Recording]
) -> None:
    options = None if state == "waiting" else BEGUN
    at = now(page, made[0], state=state, options=options, heard=heard)
    found = {
        key.split(".")[1] for key in keys(at) if key and key.endswith(".0") and key.startswith("whisper.")
    }
    assert found - {"show"} == offered


def test_anew_and_on(page: AppTest, made: list[Recording]) -> None:
    begun = {"state": "stopped", "options": BEGUN, "heard": [LINE], "lines": (LINE,), "position": 7.0}
    now(page, made[0], **begun)
    version = made[0].version
    made[0].resume()
    assert (made[0].state, made[0].heard, made[0].lines, made[0].options) == (
        "waiting",
        [LINE],
        (LINE,),
        BEGUN,
    )
    assert made[0].busy and made[0].version > version
    now(page, made[0], **begun)
    made[0].again()
    assert (made[0].state, made[0].heard, made[0].lines, made[0].options) == ("waiting", [], (), None)
    assert (made[0].busy, made[0].position, made[0].seconds) == (False, 0.0, 0.0)


def test_what_a_finished_recording_without_speech_says(page: AppTest, made: list[Recording]) -> None:
    at = now(page, made[0], state="done", options=BEGUN, duration=5.0)
    assert "No speech was found in this recording." in [info.value for info in at.info]
    made[0].change((LINE,))
    made[0].change(())
    assert "No speech was found in this recording." not in [info.value for info in alive(at.run()).info]


@pytest.mark.parametrize(
    ("facts", "offered"),
    [
        ({"language": "de"}, True),
        ({"language": "en"}, False),
        ({"language": "de", "options": SpeechOptions(task="translate")}, False),
    ],
)
def test_a_translation_is_offered_where_there_is_something_to_translate(
    facts: dict[str, Any], offered: bool, page: AppTest, made: list[Recording]
) -> None:
    given = {"state": "done", "options": BEGUN, "lines": (LINE,)} | facts
    assert ("whisper.translate" in keys(now(page, made[0], **given))) is offered
    if offered:
        made[0].translate()
        assert "whisper.translate" in keys(alive(page.run()))  # not begun
        assert "whisper.translate" not in keys(now(page, made[1], state="done", options=BEGUN))


def test_a_long_name_keeps_its_ending_on_disk(stage: Any, made: list[Recording], tmp_path: Any) -> None:
    wav = write_sound(tmp_path / "talk.wav", sine(0.2)).read_bytes()
    name = "n" * 200 + ".wav"
    alive(visit("whisper").file_uploader[0].upload(name, wav, "audio/wav").run())
    assert made[0].name == name and made[0].path.name == "n" * 50 + ".wav"
    assert made[0].path.read_bytes() == wav and "__" not in made[0].path.parent.name


def test_the_next_recording_is_shown_when_one_is_removed() -> None:
    workspace = Workspace()
    for name in "abcd":
        workspace.add(name, io.BytesIO())
    second = workspace.recordings[1]
    workspace.shown = second
    workspace.remove(second)
    assert workspace.shown is not None and workspace.shown.name == "c"
    workspace.shown = workspace.recordings[-1]
    workspace.remove(workspace.recordings[-1])
    assert workspace.shown.name == "c"
    workspace.remove(workspace.recordings[0])
    assert workspace.shown.name == "c"
    workspace.remove(workspace.recordings[0])
    assert workspace.shown is None
    workspace.close()


def test_what_is_taken_away_leaves_nothing_on_the_disk() -> None:
    workspace = Workspace()
    for name in "ab":
        workspace.add(f"{name}.wav", io.BytesIO(b"sound"))
    first, second = (recording.path for recording in workspace.recordings)
    workspace.remove(workspace.recordings[0])
    assert not first.parent.exists() and second.read_bytes() == b"sound"
    workspace.close()
    assert not second.parent.parent.exists()


def test_a_recording_stays_while_it_is_translated() -> None:
    workspace, recording = Workspace(), Recording("a.wav", Path(), state="done", options=BEGUN, lines=(LINE,))
    translation = recording.translate()
    translation.state, translation.options = "running", BEGUN
    go = threading.Event()
    with Job[Any, None](lambda *_: go.wait(WAIT) and None) as job:
        workspace.queue.job = job
        assert _actions(workspace, recording) == ["again"]
        go.set()
        assert job.wait(WAIT)
    assert _actions(workspace, recording) == ["again", "remove"]
    workspace.close()


def test_a_line_is_not_heard_again_where_no_engine_can_be_had(
    workspaces: list[Any], page: AppTest, made: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "may_begin", lambda choice: False)
    workspaces[-1].pending_edit = made[0], {"action": "again", "line": 0, "version": made[0].version}
    workspaces[-1].asked = True
    alive(page.run())
    assert workspaces[-1].pending_edit is None and workspaces[-1].queue.job is None


def test_subtitles_in_two_languages_keep_to_the_width(
    page: AppTest, made: list[Recording], downloads: dict[str, Any]
) -> None:
    long = Segment(0.0, 7.25, " one two three four")
    now(page, made[0], state="done", options=BEGUN, language="de", lines=(long,))
    made[0].translate()
    now(page, made[1], state="done", options=BEGUN, lines=(replace(long, text=long.text.upper()),))
    alive(page.number_input(key="set.whisper.max_line_width").set_value(9).run())
    cues = downloads["talk.de-en.srt"].split("\n\n")
    assert [cue.splitlines()[2:] for cue in cues if cue.strip()] == [
        ["one two", "ONE TWO"],
        ["three", "THREE"],
        ["four", "FOUR"],
    ]


def test_only_recordings_with_lines_are_in_the_archive(
    page: AppTest, made: list[Recording], downloads: dict[str, Any], tmp_path: Any
) -> None:
    wav = write_sound(tmp_path / "b.wav", sine(0.2)).read_bytes()
    for name in ("b.wav", "c.wav"):
        alive(page.file_uploader[0].upload(name, wav, "audio/wav").run())
    for recording in (made[0], made[2]):
        recording.state, recording.options, recording.lines = "done", BEGUN, (LINE,)
    now(page, made[0])
    with zipfile.ZipFile(io.BytesIO(downloads["transcripts.zip"])) as files:
        assert {Path(name).stem for name in files.namelist()} == {"talk", "c"}


def test_an_archive_says_the_language_of_each_recording() -> None:
    several = [Recording(f"{code}.wav", Path(), language=code, lines=(LINE,)) for code in ("de", "zh")]
    with zipfile.ZipFile(io.BytesIO(_zip(several, Form(None, 2, True)))) as files:
        assert [json.loads(files.read(f"{code}.json"))["language"] for code in ("de", "zh")] == ["de", "zh"]


def test_the_row_that_is_shown_stands_out_and_another_click_forgets_the_error(
    workspaces: list[Any], page: AppTest, made: list[Recording], tmp_path: Any
) -> None:
    wav = write_sound(tmp_path / "b.wav", sine(0.2)).read_bytes()
    at = alive(page.file_uploader[0].upload("b.wav", wav, "audio/wav").run())

    def types() -> list[str]:
        return [at.button(key=f"whisper.show.{number}").proto.type for number in range(2)]

    assert types() == ["secondary", "primary"] and workspaces[-1].shown is made[1]
    workspaces[-1].error = BadInput("Not so.", "不行。")
    alive(at.button(key="whisper.show.0").click().run())
    assert types() == ["primary", "secondary"]
    assert workspaces[-1].shown is made[0] and workspaces[-1].error is None


@pytest.mark.parametrize(("count", "height"), [(MANY, "content"), (MANY + 1, HEIGHT)])
def test_many_recordings_scroll(count: int, height: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes: list[Any] = []
    draw = st.container

    def record(**named: Any) -> Any:
        boxes.append(named.get("height"))
        return draw(**named)

    monkeypatch.setattr(st, "container", record)
    workspace = Workspace()
    for number in range(count):
        workspace.add(f"{number}.wav", io.BytesIO())
    show_queue("whisper", workspace)
    assert boxes[0] == height and len(boxes) == 1 + count
    workspace.close()
