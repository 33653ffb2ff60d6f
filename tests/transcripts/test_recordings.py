"""Several recordings in turn: what goes wrong with one, stopping, going on, translating."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.errors import BadInput, EngineClosed
from models.schema import Checkpoint, Placement, Segment, SpeechOptions
from models.transcripts.edit import remove, rewrite
from models.transcripts.recordings import Recording, hear_again, transcribe_all
from tests.fakes.engines import FakeSpeechEngine, Stage
from tests.fakes.waiting import WAIT, until

HEARD = [Segment(float(at), at + 1.0, f" line {at}", seek=at // 2 * 200) for at in range(6)]


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage()
    stage.heard = list(HEARD)
    monkeypatch.setattr(FakeSpeechEngine, "stage", stage)
    return stage


@pytest.fixture
def engine(own: Stage) -> FakeSpeechEngine:
    checkpoint = Checkpoint("fake", "whisper", "speech", "ctranslate2")
    return FakeSpeechEngine(Path("fake"), checkpoint, Placement("cpu", "int8"))


def recordings(*names: str) -> list[Recording]:
    return [Recording(name, Path(name)) for name in names]


def run(engine: Any, these: list[Recording], options: SpeechOptions | None = None) -> list[str]:
    done = transcribe_all(engine, these, options or SpeechOptions(), threading.Event())
    return [f"{recording.name} {recording.state}" for recording in done]


def stopped_before(engine: Any, own: Stage, line: int) -> Recording:
    """A recording of which so many lines were recognised."""
    own.hold = line, threading.Event()
    (recording,) = these = recordings("a.wav")
    cancel = threading.Event()
    work = threading.Thread(
        target=lambda: list(transcribe_all(engine, these, SpeechOptions(), cancel)), daemon=True
    )
    work.start()
    until(lambda: len(recording.lines) == line)
    assert recording.state == "running" and recording.position == float(line)
    cancel.set()
    work.join(WAIT)
    own.hold = None
    assert recording.state == "stopped" and list(recording.lines) == HEARD[:line]
    return recording


def test_one_bad_file_does_not_stop_the_rest(engine: Any, own: Stage) -> None:
    own.refused = {"b.wav": BadInput("It is empty.", "空。"), "c.wav": RuntimeError("odd")}
    these = recordings("a.wav", "b.wav", "c.wav", "d.wav")
    assert run(engine, these) == ["a.wav done", "b.wav failed", "c.wav failed", "d.wav done"]
    assert [str(these[1].trouble), str(these[2].trouble)] == ["It is empty.", "odd"]
    assert these[3].lines == tuple(HEARD) and (these[3].duration, these[3].language) == (6.0, "en")


def test_each_recording_is_heard_by_its_own_track(engine: Any, own: Stage) -> None:
    these = recordings("a.wav", "b.wav")
    these[1].choose(2)
    run(engine, these)
    these[1].translate()
    run(engine, these)
    list(hear_again(engine, these[1], HEARD[0], SpeechOptions(), threading.Event()))
    assert [options.track for options in own.options if isinstance(options, SpeechOptions)] == [None, 2, 2, 2]


def test_where_each_passage_may_be_in_another_language_none_is_taken_for_all(engine: Any, own: Stage) -> None:
    (recording,) = recordings("a.wav")
    each = SpeechOptions(detect_each=True)
    run(engine, [recording], each)
    recording.translate()
    run(engine, [recording])
    list(hear_again(engine, recording, HEARD[0], each, threading.Event()))
    list(hear_again(engine, recording, HEARD[0], SpeechOptions(), threading.Event()))
    asked = [options.language for options in own.options if isinstance(options, SpeechOptions)]
    assert recording.language == "en" and asked == [None, None, None, "en"]


def test_another_track_is_not_gone_on_with(engine: Any, own: Stage) -> None:
    recording = stopped_before(engine, own, 4)
    recording.choose(2)
    assert list(recording.lines) == HEARD[:4]  # until it is recognised anew
    assert recording.heard == [] and recording.resumed == 0.0  # so that nobody is offered to go on
    recording.again()
    run(engine, [recording])
    assert own.resumed[-1] == 0 and list(recording.lines) == HEARD


def test_what_is_added_meanwhile_is_recognised_too(engine: Any, own: Stage) -> None:
    these = recordings("a.wav")
    for recording in transcribe_all(engine, these, SpeechOptions(), threading.Event()):
        if recording.name == "a.wav":
            these += recordings("b.wav")
    assert [recording.state for recording in these] == ["done", "done"]


def test_a_stopped_one_goes_on_with_its_own_options_and_keeps_corrections(engine: Any, own: Stage) -> None:
    recording = stopped_before(engine, own, 3)  # the passage of the third line is recognised anew
    recording.change(rewrite(recording.lines, 0, "corrected", 0.0, 1.0))
    recording.change(remove(recording.lines, 1))
    recording.resume()
    assert recording.busy and not recording.changed
    assert run(engine, [recording], SpeechOptions(beam_size=1)) == ["a.wav done"]
    assert own.resumed == [0, 3] and {options.beam_size for options in own.options} == {5}
    assert [line.text for line in recording.lines] == [" corrected", *(line.text for line in HEARD[2:])]
    assert recording.heard == HEARD


def test_stopped_again_before_it_caught_up_it_loses_nothing(engine: Any, own: Stage) -> None:
    recording = stopped_before(engine, own, 4)
    recording.resume()
    cancel = threading.Event()
    own.hold = 1, threading.Event()
    work = threading.Thread(
        target=lambda: list(transcribe_all(engine, [recording], SpeechOptions(), cancel)), daemon=True
    )
    work.start()
    until(lambda: recording.state == "running" and len(recording.heard) == 1)
    cancel.set()
    work.join(WAIT)
    assert list(recording.lines) == recording.heard == HEARD[:4]


def test_anew_takes_the_options_of_now(engine: Any, own: Stage) -> None:
    recording = stopped_before(engine, own, 3)
    recording.again()
    run(engine, [recording], SpeechOptions(beam_size=1))
    assert own.resumed == [0, 0] and own.options[-1].beam_size == 1 and recording.lines == tuple(HEARD)


def test_a_translation_follows_in_the_language_that_was_found(engine: Any, own: Stage) -> None:
    (recording,) = these = recordings("a.wav")
    run(engine, these, SpeechOptions(beam_size=2))
    recording.language = "zh"
    translation = recording.translate()
    assert run(engine, these) == ["a.wav done"]
    asked = own.options[-1]
    assert (asked.task, asked.language, asked.beam_size) == ("translate", "zh", 2)
    assert [line.text for line in translation.lines] == [line.text.upper() for line in HEARD]
    assert recording.lines == tuple(HEARD)


def test_an_unloaded_engine_leaves_it_waiting(engine: Any, own: Stage) -> None:
    own.breaks = 2, EngineClosed("It is gone.", "没了。")
    (recording,) = these = recordings("a.wav")
    with pytest.raises(EngineClosed):
        run(engine, these)
    assert recording.state == "waiting" and list(recording.lines) == HEARD[:2]
    own.breaks = None
    run(engine, these)
    assert recording.lines == tuple(HEARD)


def test_changes_are_taken_back_one_by_one(engine: Any) -> None:
    (recording,) = these = recordings("a.wav")
    run(engine, these)
    version = recording.version
    recording.change(remove(recording.lines, 0))
    recording.change(remove(recording.lines, 0))
    recording.undo()
    assert recording.lines == tuple(HEARD[1:]) and recording.changed
    recording.undo()
    assert recording.lines == tuple(HEARD) and not recording.changed and recording.version == version + 4


def test_one_line_is_heard_again_in_its_time_and_language(engine: Any, own: Stage) -> None:
    (recording,) = these = recordings("a.wav")
    run(engine, these)
    recording.language = "zh"
    heard: Iterator[Segment] = hear_again(
        engine, recording, HEARD[2], SpeechOptions(beam_size=9), threading.Event()
    )
    assert list(heard) == HEARD
    asked = own.options[-1]
    assert (asked.clips, asked.language, asked.beam_size) == ("2.000-3.000", "zh", 9)


def test_nobody_listens_outside_the_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of a long recording is heard again without looking for speech in all of it."""
    import numpy as np

    from models.speech import voice

    looked: list[int] = []

    def stretches(samples: Any) -> list[dict[str, int]]:
        looked.append(int(samples[0]))
        return [{"start": 0, "end": len(samples)}]

    monkeypatch.setattr(voice, "stretches", stretches)
    blocks = [(np.full(16_000, number, np.float32), number == 3) for number in range(4)]
    parts = list(voice.speech(blocks, voice.Timeline(), [(1.5, 2.5)]))
    assert looked == [1, 2] and [len(samples) for samples, _ in parts] == [0, 8_000, 8_000, 0]
    assert [last for _, last in parts] == [False, False, False, True]
