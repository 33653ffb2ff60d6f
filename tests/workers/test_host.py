"""An engine in a worker answers as one in this process does, and what happens to the worker stays there."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from models.engines.base import ChatEngine
from models.engines.gguf import GgufEngine
from models.errors import BadInput, Cancelled, CheckpointCorrupt, DoesNotFit, EngineFailed, ModelError
from models.jobs import Stream
from models.schema import (
    ChatOptions,
    Checkpoint,
    Delta,
    Done,
    Event,
    Placement,
    Progress,
    Segment,
    SpeechOptions,
)
from models.workers import host, process
from models.workers.host import IsolatedChatEngine, IsolatedSpeechEngine, isolated
from tests.fakes.waiting import at_once, until
from tests.fakes.worker_engines import ObedientEngine, ObedientSpeechEngine, SpinningEngine

CHECKPOINT = Checkpoint("obedient", "other", "chat", "transformers")
PLACEMENT = Placement("cpu", "fp32", 4096)


def load(path: str | Path = "model", **more: Any) -> IsolatedChatEngine:
    engine = isolated(ObedientEngine, 0)(path, CHECKPOINT, PLACEMENT, **more)
    assert isinstance(engine, IsolatedChatEngine)
    return engine


@pytest.fixture
def engine() -> Iterator[IsolatedChatEngine]:
    engine = load()
    yield engine
    engine.close_if_idle()


@pytest.fixture
def speech() -> Iterator[IsolatedSpeechEngine]:
    made = isolated(ObedientSpeechEngine, 0)("model", CHECKPOINT, PLACEMENT)
    assert isinstance(made, IsolatedSpeechEngine)
    yield made
    made.close_if_idle()


def asked(*texts: str) -> list[dict[str, Any]]:
    """A conversation whose newest question is the last of `texts`."""
    answers = [{"role": "assistant", "content": "well"}] * len(texts)
    questions = [{"role": "user", "content": text} for text in texts]
    return [message for pair in zip(questions, answers, strict=True) for message in pair][:-1]


def answer(engine: ChatEngine, *texts: str, cancel: threading.Event | None = None) -> str:
    events = list(engine.stream(asked(*texts), cancel=cancel))
    assert isinstance(events[-1], Done)
    return "".join(event.text for event in events if isinstance(event, Delta)).strip()


def worker_of(engine: ChatEngine) -> int:
    done = list(engine.stream(asked("hello")))[-1]
    assert isinstance(done, Done)
    return done.usage.cached_tokens


def test_it_answers_from_another_process(engine: IsolatedChatEngine) -> None:
    assert answer(engine, "one two three") == "one two three"
    assert worker_of(engine) == engine.process.pid != os.getpid()


def test_what_there_is_to_know_is_known_here(engine: IsolatedChatEngine) -> None:
    assert (engine.context_length, engine.has_chat_template, engine.placement) == (4096, True, PLACEMENT)
    assert engine.report.weights == 0
    assert engine.response_formats == frozenset({"text"})
    assert engine.count_tokens(asked("one two")) == 2
    assert engine.dropped(asked("one two")) == 0


def test_threads_give_way_unless_their_engine_would_suffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    for kind, policy in ((ObedientEngine, "PASSIVE"), (SpinningEngine, "none")):
        made = isolated(kind, 0)("model", CHECKPOINT, PLACEMENT)
        assert made.report.dtype == policy
        made.close_if_idle()
    assert not GgufEngine.gives_way


def test_progress_of_the_load_comes() -> None:
    steps: list[Progress] = []
    engine = load(progress=steps.append)
    assert steps == [Progress("load", 1, 2)]
    assert engine.close_if_idle()


def test_errors_come_as_what_they_are(engine: IsolatedChatEngine) -> None:
    with pytest.raises(BadInput) as caught:
        answer(engine, "refuse")
    assert (caught.value.en, caught.value.zh) == ("not this.", "不行。")
    with pytest.raises(BadInput):
        list(engine.stream([]))


def test_what_cannot_be_sent_is_refused_in_a_sentence(engine: IsolatedChatEngine) -> None:
    endless: list[Any] = []
    endless.append(endless)
    for content in (object(), endless, {1, 2}):
        with pytest.raises(BadInput, match="cannot be sent"):
            engine.count_tokens([{"role": "user", "content": content}])
    assert answer(engine, "still there") == "still there"


@pytest.mark.parametrize("word", ["crash", "abort", "leave", "killed"])
@pytest.mark.parametrize("when", ["read", "answer"])
def test_a_crash_is_a_sentence_and_the_next_question_is_answered(
    engine: IsolatedChatEngine, when: str, word: str
) -> None:
    before = engine.process.pid
    with pytest.raises(EngineFailed) as caught:
        answer(engine, f"{when} {word}")
    assert caught.value.en != caught.value.zh
    assert worker_of(engine) != before


def test_an_exit_of_a_library_is_a_sentence(engine: IsolatedChatEngine) -> None:
    for when in ("read", "answer"):
        with pytest.raises(EngineFailed, match="SystemExit"):
            answer(engine, f"{when} exit")


def test_a_worker_that_was_ended_while_idle_is_not_noticed(engine: IsolatedChatEngine) -> None:
    os.kill(engine.process.pid, signal.SIGKILL)
    until(lambda: not engine.process.alive)
    assert answer(engine, "hello") == "hello"


def test_others_are_told_that_it_ended(engine: IsolatedChatEngine) -> None:
    other: Stream[Event] = Stream.of(lambda cancel: engine.stream(asked("wait"), cancel=cancel))
    first = next(iter(other))
    assert first == Delta("wait ")
    with pytest.raises(EngineFailed):
        answer(engine, "read crash")
    with pytest.raises(EngineFailed):
        other.result(60)
    assert answer(engine, "hello") == "hello"


def test_what_ended_it_twice_is_not_sent_again(engine: IsolatedChatEngine) -> None:
    for _ in range(2):
        with pytest.raises(EngineFailed):
            answer(engine, "read crash")
    worker = worker_of(engine)
    with pytest.raises(BadInput, match="not sent again"):
        answer(engine, "read crash")
    with pytest.raises(BadInput, match="not sent again"):
        engine.count_tokens(asked("read crash", "and then?"))
    assert worker_of(engine) == worker


def test_two_that_are_being_read_share_the_blame(engine: IsolatedChatEngine) -> None:
    other: Stream[Event] = Stream.of(lambda cancel: engine.stream(asked("read loop"), cancel=cancel))
    until(lambda: engine.active == 1 and bool(engine.process._requests))
    with pytest.raises(EngineFailed) as caught:
        answer(engine, "read crash")
    with pytest.raises(EngineFailed) as other_caught:
        other.result(60)
    died = [error.value.__cause__ for error in (caught, other_caught)]
    assert [each.share for each in died if isinstance(each, process.Died)] == [0.5, 0.5]


def test_one_that_could_not_be_sent_any_more_takes_no_share_and_is_answered(
    engine: IsolatedChatEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came when the worker was gone and nobody had noticed yet."""

    def send(message: Any) -> None:
        raise BrokenPipeError

    first: Stream[Event] = Stream.of(lambda cancel: engine.stream(asked("read loop"), cancel=cancel))
    until(lambda: bool(engine.process._requests))
    dying = engine.process
    monkeypatch.setattr(dying._channel, "send", send)
    second: Stream[Event] = Stream.of(lambda cancel: engine.stream(asked("hello"), cancel=cancel))
    until(lambda: any(not request.sent for request in list(dying._requests.values())))
    os.kill(dying.pid, signal.SIGKILL)
    with pytest.raises(EngineFailed) as caught:
        first.result(60)
    died = caught.value.__cause__
    assert isinstance(died, process.Died) and died.share == 1.0
    assert next(iter(second)) == Delta("hello ")


def test_an_answer_under_way_is_not_what_ended_it(engine: IsolatedChatEngine) -> None:
    for _ in range(2):
        other: Stream[Event] = Stream.of(lambda cancel: engine.stream(asked("wait"), cancel=cancel))
        next(iter(other))
        with pytest.raises(EngineFailed):
            answer(engine, "read abort")
        with pytest.raises(EngineFailed):
            other.result(60)
    assert answer(engine, "wait", "hello") == "hello"


def test_whoever_waits_for_an_answer_does_not_go_round_in_circles(
    engine: IsolatedChatEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processor is the engine's."""
    cancel, looks = threading.Event(), 0

    def look(self: process._Request, seconds: float) -> Any:
        nonlocal looks
        looks += 1
        return wait(self, seconds)

    wait = process._Request.next
    monkeypatch.setattr(process._Request, "next", look)
    monkeypatch.setattr(process, "LOOK", 60.0)
    stream: Stream[Event] = Stream.of(lambda _: engine.stream(asked("one two three"), cancel=cancel))
    assert [type(event) for event in stream] == [Delta, Delta, Delta, Done]
    assert looks <= 5  # one for each thing that comes


def test_it_is_not_started_again_for_ever(
    engine: IsolatedChatEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(host.MOST_ENDS + 1):
        with pytest.raises(EngineFailed, match="in the middle"):
            answer(engine, f"{number}", "answer crash")
    with pytest.raises(EngineFailed, match="is not started again"):
        answer(engine, "hello")
    monkeypatch.setattr(host, "LATELY", 0.0)
    assert answer(engine, "hello") == "hello"


@pytest.mark.parametrize("kind", ["chat", "speech"])
def test_what_was_read_may_take_as_long_as_it_takes(
    kind: str, engine: IsolatedChatEngine, speech: IsolatedSpeechEngine, tmp_path: Path, monkeypatch: Any
) -> None:
    now, looks = 0.0, 0

    def look() -> float:
        nonlocal looks
        looks += 1
        return now

    monkeypatch.setattr(process, "time", SimpleNamespace(monotonic=look, sleep=time.sleep))
    monkeypatch.setattr(process, "LOOK", 0.001)
    (tmp_path / "sound").write_text("wait")
    cancel = threading.Event()
    works: dict[str, Callable[[], Iterator[Any]]] = {
        "chat": lambda: engine.stream(asked("wait"), cancel=cancel),
        "speech": lambda: speech.transcribe(tmp_path / "sound", cancel=cancel),
    }
    stream: Stream[Any] = Stream.of(lambda _: works[kind]())
    assert next(iter(stream)) in (Delta("wait "), Segment(0.0, 1.0, "wait"))
    now, before = 10 * process.READING, looks
    until(lambda: looks > before + 20 or not stream.running)
    cancel.set()
    stream.result(60)


@pytest.mark.parametrize("word", ["loop", "freeze"])
def test_stop_ends_what_does_not_listen(
    engine: IsolatedChatEngine, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE", 3600.0)  # which is for answers, whose worker others need
    cancel = threading.Event()
    stream: Stream[Event] = Stream.of(lambda _: engine.stream(asked(f"read {word}"), cancel=cancel))
    cancel.set()
    assert [event for event in stream if isinstance(event, Done)][-1].finish_reason == "cancelled"
    until(lambda: not engine.process.alive)
    assert answer(engine, "hello") == "hello"


def test_stop_gives_control_back_while_a_calculation_goes_on(
    engine: IsolatedChatEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE", 0.0)
    cancel = threading.Event()
    events = engine.stream(asked("answer freeze"), cancel=cancel)
    assert next(events) == Delta("answer ")
    assert next(events) == Delta("freeze ")
    cancel.set()
    (done,) = events
    assert isinstance(done, Done) and done.finish_reason == "cancelled"
    until(lambda: not engine.process.alive)


def test_stop_leaves_the_worker_to_the_others(engine: IsolatedChatEngine) -> None:
    before = engine.process.pid

    def stop_early(_: int) -> str:
        cancel = threading.Event()
        events = engine.stream(asked("wait"), cancel=cancel)
        first = next(events)
        cancel.set()
        (done,) = events
        assert isinstance(first, Delta) and isinstance(done, Done)
        return done.finish_reason

    assert at_once(stop_early, range(8)) == ["cancelled"] * 8
    assert worker_of(engine) == before


def test_an_answer_that_nobody_reads_on_is_cancelled(engine: IsolatedChatEngine) -> None:
    events = engine.stream(asked("wait"))
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert engine.active == 0
    assert worker_of(engine) == engine.process.pid


def test_a_template_without_end_is_ended(engine: IsolatedChatEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "READING", 0.1)
    with pytest.raises(EngineFailed, match="no end"):
        engine.count_tokens(asked("read loop"))
    until(lambda: not engine.process.alive)


def test_a_load_that_crashes_is_the_files_fault() -> None:
    before = workers()
    for word in ("crash", "abort"):
        with pytest.raises(CheckpointCorrupt):
            load(f"load-{word}")
    with pytest.raises(DoesNotFit):
        load("load-killed")
    with pytest.raises(ModelError):
        load("load-exit")
    assert workers() == before


@pytest.mark.parametrize("word", ["loop", "freeze"])
def test_a_load_is_cancelled_whatever_it_does(word: str) -> None:
    before, cancel = workers(), threading.Event()
    with pytest.raises(Cancelled):
        load(f"load-{word}", progress=lambda _: cancel.set(), cancel=cancel)
    assert workers() == before


def test_memory_has_a_limit(engine: IsolatedChatEngine) -> None:
    with pytest.raises(EngineFailed, match="MemoryError"):
        answer(engine, "answer memory")
    assert answer(engine, "hello") == "hello"


def test_closing_ends_the_process(engine: IsolatedChatEngine) -> None:
    worker = psutil.Process(engine.process.pid)
    assert engine.close_if_idle()
    assert not worker.is_running()


def test_what_libraries_print_is_not_taken_for_an_answer(engine: IsolatedChatEngine) -> None:
    assert answer(engine, "answer print") == "answer print"


def test_options_and_results_keep_their_kinds(engine: IsolatedChatEngine) -> None:
    options = ChatOptions(stop=("a", "b"), seed=3)
    assert isinstance(list(engine.stream("text", options))[-1], Done)


def test_samples_are_heard_as_they_are(speech: IsolatedSpeechEngine) -> None:
    import numpy as np

    samples = np.array([0.5, 0.25], np.float32)
    steps: list[Progress] = []
    transcript = speech.transcribe(samples, SpeechOptions(language="en"), progress=steps.append)
    assert [segment.text for segment in transcript] == ["float32 0.75", "end"]
    assert (transcript.language, transcript.duration, transcript.position) == ("en", 2.0, 1.0)
    assert [(step.stage, step.done) for step in steps] == [("transcribe", 1)]


def test_a_recording_goes_on_after_what_was_done(speech: IsolatedSpeechEngine, tmp_path: Path) -> None:
    (file := tmp_path / "sound").write_text("hum")
    done = [Segment(0.0, 0.5, "before", tokens=(1, 2), doubts=("silence",))]
    assert list(speech.transcribe(file, done=done))[:2] == [*done, Segment(0.0, 1.0, "hum")]


def test_a_transcription_is_stopped(speech: IsolatedSpeechEngine, tmp_path: Path) -> None:
    (file := tmp_path / "sound").write_text("wait")
    cancel = threading.Event()
    transcript = speech.transcribe(file, cancel=cancel)
    assert next(transcript).text == "wait"
    cancel.set()
    assert list(transcript) == []
    assert speech.active == 0


def test_a_recording_that_crashes_the_decoder_is_a_sentence(
    speech: IsolatedSpeechEngine, tmp_path: Path
) -> None:
    (tmp_path / "hear-crash").write_text("")
    with pytest.raises(EngineFailed):
        list(speech.transcribe(tmp_path / "hear-crash"))
    assert speech.notes(SpeechOptions()) == ()


def workers() -> list[int]:
    """The processes of this one's engines. One that has just ended has no command line."""
    running = psutil.process_iter(["pid", "ppid", "cmdline"])
    return sorted(
        process.info["pid"]
        for process in running
        if process.info["ppid"] == os.getpid() and "models.workers.worker" in (process.info["cmdline"] or ())
    )
