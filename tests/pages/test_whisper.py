"""The Whisper page as a visitor uses it, with an engine that hears what it is told to."""

import io
import json
import threading
import zipfile
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from models import BadInput, SpeechOptions, loader
from models.catalog.whisper import whisper_shape
from models.jobs import Job
from models.schema import Segment, Word
from models.transcripts.documents import DOCUMENTS
from models.transcripts.formats import FORMATS
from models.transcripts.recordings import Recording
from pages.shared.speech.editing import apply_edit
from tests.fakes.engines import Stage
from tests.fakes.sounds import sine, write_film, write_sound, write_tracks
from tests.fakes.visitor import alive, click, keys, sentences, texts, to, untranslated, visit
from tests.fakes.waiting import until

HEARD = [
    Segment(0.0, 1.5, " Hello & <b>", (Word(0.0, 1.0, " Hello"), Word(1.0, 1.5, " & <b>"))),
    Segment(1.5, 3723.25, " 世界"),
]


@pytest.fixture
def wav(tmp_path: Path) -> bytes:
    return write_sound(tmp_path / "sound.wav", sine(0.5)).read_bytes()


def add(at: AppTest, *files: tuple[str, bytes]) -> AppTest:
    for name, data in files:
        alive(at.file_uploader[0].upload(name, data, "audio/wav").run())
    return at


def transcribe(at: AppTest, workspaces: list[Any]) -> AppTest:
    return settled(click(at, "whisper.go"), workspaces)


def settled(at: AppTest, workspaces: list[Any]) -> AppTest:
    until(lambda: not workspaces[-1].queue.running)
    return alive(at.run())


def states(workspaces: list[Any]) -> list[str]:
    return [recording.state for recording in workspaces[-1].recordings]


def lines(workspaces: list[Any]) -> list[str]:
    return [line.text for line in workspaces[-1].shown.lines]


# --- the queue -------------------------------------------------------------------------------------


def test_a_recording_becomes_lines_and_files(
    stage: Stage, downloads: dict[str, Any], workspaces: list[Any], wav: bytes
) -> None:
    stage.heard = HEARD
    at = transcribe(add(visit("whisper"), ("talk.wav", wav)), workspaces)
    assert at.subheader[0].value == "talk.wav" and "language: en" in facts(at)
    assert lines(workspaces) == [" Hello & <b>", " 世界"]
    assert {name for name in downloads if "talk" in name} == {
        f"talk.{format}" for format in (*FORMATS, *DOCUMENTS)
    }
    assert downloads["talk.txt"].splitlines() == ["Hello & <b>", "世界"]
    assert "00:00:01,500 --> 01:02:03,250" in downloads["talk.srt"]
    assert downloads["talk.vtt"].startswith("WEBVTT\n\n00:00.000 --> 00:01.500\n")
    assert StringIO(downloads["talk.tsv"]).readlines()[2] == "1500\t3723250\t世界\n"
    assert [line["start"] for line in json.loads(downloads["talk.json"])["segments"]] == [0.0, 1.5]


def facts(at: AppTest) -> str:
    return "\n".join(element.value for element in at.markdown)


def test_options_reach_the_engine(stage: Stage, workspaces: list[Any], wav: bytes) -> None:
    stage.heard = HEARD
    at = visit("whisper")
    next(box for box in at.selectbox if box.label == "Spoken language").set_value("zh")
    next(box for box in at.selectbox if box.label == "Task").set_value("translate")
    transcribe(add(alive(at.run()), ("talk.wav", wav)), workspaces)
    (options,) = stage.options
    assert isinstance(options, SpeechOptions)
    assert (options.language, options.task) == ("zh", "translate")


def test_each_bad_file_has_its_sentence_and_the_others_are_done(
    stage: Stage, downloads: dict[str, Any], workspaces: list[Any], wav: bytes
) -> None:
    stage.heard = HEARD
    stage.refused = {
        "cut.mp3": BadInput("There is no sound in it.", "没有声音。"),
        "odd.wav": RuntimeError("out of something"),
    }
    files = [("talk.wav", wav), ("cut.mp3", b""), ("odd.wav", wav), ("talk.mp3", wav)]
    at = transcribe(add(visit("whisper"), *files), workspaces)
    assert states(workspaces) == ["done", "failed", "failed", "done"]
    first, second = sentences(at)
    assert first == "There is no sound in it." and "did not foresee" in second
    with zipfile.ZipFile(io.BytesIO(downloads["transcripts.zip"])) as archive:
        names = {f"{stem}.{format}" for stem in ("talk", "talk-2") for format in (*FORMATS, *DOCUMENTS)}
        assert set(archive.namelist()) == names
        assert archive.read("talk-2.txt").decode() == "Hello & <b>\n世界\n"
    click(at, "whisper.remove.1")
    assert [recording.name for recording in workspaces[-1].recordings] == ["talk.wav", "odd.wav", "talk.mp3"]
    assert len(sentences(at)) == 1


def test_stop_keeps_what_is_there_and_continue_goes_on(
    stage: Stage, workspaces: list[Any], wav: bytes
) -> None:
    stage.heard, stage.hold = HEARD, (1, threading.Event())
    at = click(add(visit("whisper"), ("talk.wav", wav), ("next.wav", wav)), "whisper.go")
    until(lambda: len(workspaces[-1].recordings[0].lines) == 1)
    at = alive(at.run())
    assert states(workspaces) == ["running", "waiting"] and "running" in facts(at)
    assert not keys(at) & {"whisper.remove.0", "whisper.again.0"} and "whisper.remove.1" in keys(at)
    settled(click(at, "whisper.stop"), workspaces)
    assert states(workspaces) == ["stopped", "waiting"] and "what was recognised is kept" in facts(at)
    stage.hold = None
    settled(click(at, "whisper.resume.0"), workspaces)
    assert states(workspaces) == ["done", "done"] and stage.resumed == [0, 1, 0]
    assert lines(workspaces) == [line.text for line in HEARD]
    settled(click(at, "whisper.again.1"), workspaces)
    assert stage.resumed == [0, 1, 0, 0] and at.subheader[0].value == "next.wav"


def test_a_recording_that_breaks_off_keeps_its_lines(stage: Stage, workspaces: list[Any], wav: bytes) -> None:
    stage.heard, stage.breaks = HEARD, (1, RuntimeError("out of something"))
    at = transcribe(add(visit("whisper"), ("talk.wav", wav)), workspaces)
    assert states(workspaces) == ["failed"] and lines(workspaces) == [" Hello & <b>"]
    assert {"whisper.resume.0", "whisper.again.0"} <= keys(at) and "did not foresee" in sentences(at)[0]


def test_silence_is_said_to_be_silence(stage: Stage, workspaces: list[Any], wav: bytes) -> None:
    at = transcribe(add(visit("whisper"), ("talk.wav", wav)), workspaces)
    assert "No speech was found" in at.info[0].value and sentences(at) == []


def test_nothing_is_loaded_for_nothing(stage: Stage, workspaces: list[Any]) -> None:
    at = visit("whisper")
    workspaces[-1].asked = True
    alive(at.run())
    assert not workspaces[-1].asked and stage.diary == []


def test_what_is_recorded_joins_the_queue(stage: Stage, workspaces: list[Any], wav: bytes) -> None:
    stage.heard = HEARD
    at = visit("whisper")
    at.get("audio_input")[0].upload("spoken.wav", wav, "audio/wav")
    at = transcribe(add(alive(at.run()), ("talk.wav", wav)), workspaces)
    assert [recording.name for recording in workspaces[-1].recordings] == ["recording 1.wav", "talk.wav"]
    assert states(workspaces) == ["done", "done"]


def test_hostile_names_stay_names(stage: Stage, workspaces: list[Any], wav: bytes) -> None:
    name = "../../" + "é" * 300 + "![x](http:__e)*.wav"
    at = add(visit("whisper"), (name, wav))
    (recording,) = workspaces[-1].recordings
    assert (
        recording.path.parent.parent == Path(workspaces[-1].queue._folder.name) and recording.path.is_file()
    )
    assert r"!\[x\](http\:\_\_e)\*.wav" in at.subheader[0].value


def test_corrections_survive_another_page(stage: Stage, workspaces: list[Any], wav: bytes) -> None:
    stage.heard = HEARD
    at = transcribe(add(visit("whisper"), ("talk.wav", wav)), workspaces)
    edit(workspaces, "remove", line=0)
    at = to(to(at, "llama2"), "whisper")
    assert len(workspaces) == 1 and lines(workspaces) == [" 世界"] and at.subheader[0].value == "talk.wav"


# --- the transcript --------------------------------------------------------------------------------


def edit(workspaces: list[Any], action: str, **more: Any) -> None:
    shown = workspaces[-1].shown
    apply_edit(shown, {"action": action, "version": shown.version, **more})


def test_a_browsers_edits_are_carried_out() -> None:
    recording = Recording("a", Path("a"), state="done", lines=tuple(HEARD))

    def ask(action: str, **more: Any) -> list[str]:
        apply_edit(recording, {"action": action, "version": recording.version, **more})
        return [line.text for line in recording.lines]

    first = {"line": 0, "text": "Hello there", "start": 0.0, "end": 1.5}
    assert ask("save", **first) == [" Hello there", " 世界"]
    assert ask("split", **first, position=5) == [" Hello", " there", " 世界"]
    assert ask("merge", line=1, text="there", start=1.0, end=1.5) == [" Hello", " there 世界"]
    assert ask("replace", find="O", **{"with": "0"}) == [" Hell0", " there 世界"]
    assert ask("remove", line=0) == [" there 世界"]
    assert [ask("undo")[0], ask("undo")[0]] == [" Hell0", " Hello"]
    while recording.changed:
        ask("undo")
    before = recording.version
    assert ask("undo") == [line.text for line in HEARD] and not recording.changed
    assert recording.version == before
    with pytest.raises(BadInput, match="changed meanwhile"):
        apply_edit(recording, {"action": "remove", "line": 0, "version": -1})
    for broken in ({}, {"line": "x"}, {"line": None}, {"line": [0]}):
        with pytest.raises(BadInput, match="cannot be read"):
            ask("remove", **broken)
    recording.state, recording.options = "running", SpeechOptions()
    with pytest.raises(BadInput, match="changed meanwhile"):
        ask("remove", line=0)


def test_files_are_of_the_corrected_lines_with_their_limits(
    stage: Stage, downloads: dict[str, Any], workspaces: list[Any], wav: bytes
) -> None:
    stage.heard = [Segment(0.0, 4.0, " one two three four")]
    at = transcribe(add(visit("whisper"), ("talk.wav", wav)), workspaces)
    edit(workspaces, "replace", find="three", **{"with": "3"})
    at.number_input(key="set.whisper.max_line_width").set_value(7)
    alive(at.run())
    assert downloads["talk.srt"].splitlines()[2:4] == ["one two", "3 four"]
    assert downloads["talk.txt"] == "one two 3 four\n"


def test_a_translation_comes_beside_it(
    stage: Stage, downloads: dict[str, Any], workspaces: list[Any], wav: bytes
) -> None:
    stage.heard = [Segment(0.0, 1.0, " hallo")]
    at = visit("whisper")
    next(box for box in at.selectbox if box.label == "Spoken language").set_value("de")
    at = transcribe(add(alive(at.run()), ("talk.wav", wav)), workspaces)
    settled(click(at, "whisper.translate"), workspaces)
    assert "hallo\nHALLO\n" in downloads["talk.de-en.srt"] and downloads["talk.en.txt"] == "HALLO\n"
    assert "whisper.translate" not in keys(at)
    assert [options.task for options in stage.options] == ["transcribe", "translate"]


def test_a_video_shows_its_picture_with_the_subtitles_of_its_files(
    stage: Stage,
    downloads: dict[str, Any],
    workspaces: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[tuple[Any, ...]] = []
    monkeypatch.setattr(st, "video", lambda path, kind, subtitles, **_: shown.append((path, kind, subtitles)))
    stage.heard = [Segment(0.0, 4.0, " eins zwei drei vier")]
    film = write_film(tmp_path / "film.mp4", 0.5, "libx264", "aac").read_bytes()
    at = add(visit("whisper"), ("film.mp4", film))
    until(lambda: not workspaces[-1].queue.get_sound(workspaces[-1].shown).running)
    alive(at.run())
    path = str(workspaces[-1].shown.path)
    assert shown[-1] == (path, "video/mp4", None)
    next(box for box in at.selectbox if box.label == "Spoken language").set_value("de")
    transcribe(alive(at.run()), workspaces)
    at.number_input(key="set.whisper.max_line_width").set_value(9)
    alive(at.run())
    assert shown[-1] == (path, "video/mp4", {"Subtitles": downloads["film.vtt"]})
    assert "eins zwei\ndrei vier\n" in downloads["film.vtt"]
    settled(click(at, "whisper.translate"), workspaces)
    assert shown[-1][2] == {"Subtitles": downloads["film.vtt"], "Both languages": downloads["film.de-en.vtt"]}


def test_a_model_that_cannot_translate_says_so_and_the_transcript_stays(
    stage: Stage, workspaces: list[Any], wav: bytes
) -> None:
    stage.heard = [Segment(0.0, 1.0, " hallo")]
    at = visit("whisper")
    next(box for box in at.selectbox if box.label == "Spoken language").set_value("de")
    at = transcribe(add(alive(at.run()), ("talk.wav", wav)), workspaces)
    stage.refused = {"talk.wav": BadInput("It knows only English.", "只懂英语。")}
    settled(click(at, "whisper.translate"), workspaces)
    assert sentences(at) == ["It knows only English."] and lines(workspaces) == [" hallo"]
    assert "whisper.translate" in keys(at)


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What it asks of a transcript in the next run."""
    asked: list[dict[str, Any]] = []

    def component(name: str, **_: Any) -> Any:
        def mount(key: str, on_edit_change: Any = None, **_: Any) -> None:
            if name == "quintet_transcript" and asked:
                st.session_state[key] = {"edit": asked.pop()}
                on_edit_change()

        return mount

    monkeypatch.setattr(st.components.v2, "component", component)
    return asked


def again(workspaces: list[Any], line: int) -> dict[str, Any]:
    return {"action": "again", "line": line, "version": workspaces[-1].shown.version}


def test_of_several_sound_tracks_one_is_chosen(
    stage: Stage, workspaces: list[Any], wav: bytes, tmp_path: Path
) -> None:
    stage.heard = HEARD
    film = write_tracks(
        tmp_path / "film.mkv",
        [(sine(0.5), {"language": "eng", "title": "Film"}, 1), (sine(0.5, hertz=880), {}, 0)],
    )
    at = add(visit("whisper"), ("film.mkv", film.read_bytes()))
    (choice,) = (box for box in at.selectbox if box.label == "Sound track")
    assert choice.options == ["the file's default one", "1 · eng · Film · pcm_s16le", "2 · pcm_s16le"]
    alive(choice.set_value(2).run())
    recording = workspaces[-1].shown
    assert recording.track == 2
    transcribe(at, workspaces)
    assert stage.options[-1].track == 2  # type: ignore[union-attr]
    until(lambda: not workspaces[-1].queue.get_sound(recording).running)
    assert workspaces[-1].queue.get_sound(recording).value.path.name.endswith(".2.mp3")
    at = add(at, ("talk.wav", wav))
    click(at, "whisper.show.1")
    assert workspaces[-1].shown.name == "talk.wav"
    assert not [box for box in alive(at.run()).selectbox if box.label == "Sound track"]


def test_what_the_model_cannot_do_is_said_before_it_starts(
    stage: Stage, workspaces: list[Any], wav: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.heard = [Segment(0.0, 1.0, " hallo")]
    shape = whisper_shape(4, 1280, 51866)  # large-v3-turbo's
    describe = loader.Loader.describe
    monkeypatch.setattr(
        loader.Loader, "describe", lambda self, name: replace(describe(self, name), shape=shape)
    )
    at = visit("whisper")
    assert not at.warning
    next(box for box in at.selectbox if box.label == "Spoken language").set_value("de")
    at = transcribe(add(alive(at.run()), ("talk.wav", wav)), workspaces)
    button = at.button(key="whisper.translate")
    assert button.disabled and "was not trained to translate" in button.help
    next(box for box in at.selectbox if box.label == "Task").set_value("translate")
    assert "was not trained to translate" in alive(at.run()).warning[0].value


def test_a_doubt_goes_once_its_line_was_listened_to(
    stage: Stage, workspaces: list[Any], browser: list[dict[str, Any]], wav: bytes
) -> None:
    stage.heard = [replace(line, doubts=("unsure",)) for line in HEARD]
    at = transcribe(add(visit("whisper"), ("talk.wav", wav)), workspaces)
    shown = workspaces[-1].shown
    edit(workspaces, "replace", find="Hello", **{"with": "Hi"})
    workspaces[-1].error = error = BadInput("Not so.", "不行。")
    for version in (shown.version - 1, shown.version):  # of lines that have changed since, and of these
        assert [line.doubts for line in shown.lines] == [("unsure",)] * 2
        browser.append({"action": "listened", "lines": [1], "version": version})
        alive(at.run())
    assert [line.doubts for line in shown.lines] == [("unsure",), ()]
    assert shown.version == version and workspaces[-1].error is error
    shown.undo()
    assert shown.lines[0].text == HEARD[0].text and not shown.changed  # the only step


def test_one_line_is_recognised_again_with_the_options_of_now(
    stage: Stage, workspaces: list[Any], browser: list[dict[str, Any]], wav: bytes
) -> None:
    stage.heard = HEARD
    at = transcribe(add(visit("whisper"), ("talk.wav", wav)), workspaces)
    stage.heard = [Segment(0.2, 1.4, " Better.")]
    browser.append(again(workspaces, 0))
    alive(alive(at.run()).run())
    assert lines(workspaces) == [" Better.", " 世界"] and workspaces[-1].shown.changed
    assert stage.options[-1].clips == "0.000-1.500"  # type: ignore[union-attr]
    stage.heard = []
    browser.append(again(workspaces, 1))
    alive(alive(at.run()).run())
    assert "stays as it was" in str(workspaces[-1].error) and lines(workspaces) == [" Better.", " 世界"]


@pytest.mark.parametrize("changed", ["before", "while it waits for the engine", "while it is heard"])
def test_a_line_recognised_again_among_lines_that_changed_meanwhile_is_refused(
    changed: str, stage: Stage, workspaces: list[Any], browser: list[dict[str, Any]], wav: bytes
) -> None:
    stage.heard = [*HEARD, Segment(3723.25, 3724.0, " end")]
    at = transcribe(add(visit("whisper"), ("talk.wav", wav)), workspaces)
    stage.heard = [Segment(0.0, 1.0, " wrong")]
    browser.append(again(workspaces, 1))
    if changed == "before":
        edit(workspaces, "remove", line=0)
    alive(at.run())
    if changed == "while it waits for the engine":
        edit(workspaces, "remove", line=0)
    if changed == "while it is heard":
        stage.hold = 0, threading.Event()

    def somebody_else(*_: Any) -> None:
        until(lambda: len(stage.options) == 2)
        edit(workspaces, "remove", line=0)
        stage.hold[1].set()  # type: ignore[index]

    other: Job[Any, None] | None = Job(somebody_else) if changed == "while it is heard" else None
    alive(at.run())
    assert "changed meanwhile" in str(workspaces[-1].error)
    assert lines(workspaces) == [" 世界", " end"]
    assert len(stage.options) == (2 if other else 1)  # it was not even listened to, where that was known


def test_all_of_it_is_said_in_both_languages(stage: Stage, workspaces: list[Any], wav: bytes) -> None:
    stage.heard = HEARD
    shown = []
    for locale in ("en-US", "zh-CN"):
        at = transcribe(add(visit("whisper", locale), ("1.wav", wav), ("2.wav", wav)), workspaces)
        shown.append(list(texts(at)))
    assert untranslated(*shown) == []
