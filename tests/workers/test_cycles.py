"""Loading and unloading, and answers that are stopped, again and again: the server is afterwards what it was before.

CYCLES=300 in the environment makes the long run of it.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from models import ChatOptions, Delta, Done, Loader, SpeechOptions
from models.engines.base import ChatEngine, Engine, SpeechEngine
from tests.fakes import tiny_models, tiny_whisper
from tests.fakes.waiting import until

CYCLES = int(os.environ.get("CYCLES", "2"))
MiB = 1024 * 1024
pytestmark = pytest.mark.timeout(4 * 3600 if CYCLES > 2 else 300)


class State(NamedTuple):
    memory: int
    threads: int
    files: int
    children: int


def state() -> State:
    """Of this process, as the server would be."""
    own = psutil.Process()
    return State(own.memory_info().rss, own.num_threads(), own.num_fds(), len(own.children(recursive=True)))


def assert_nothing_is_left(before: State) -> None:
    """A listening thread may be about to end, here or of an earlier test; memory may waver a little."""
    allowed = before._replace(memory=before.memory + 24 * MiB)
    try:
        until(lambda: all(now <= most for now, most in zip(state(), allowed, strict=True)))
    except AssertionError:
        pytest.fail(f"{before} became {state()}")


def tiny_llama(folder: Path) -> str:
    return str(tiny_models.save_llama(folder / "tiny-llama"))


def tiny_hearing(folder: Path) -> str:
    tiny_whisper.save_pt(folder / "tiny.pt")
    return str(folder / "tiny.pt")


def use(engine: Engine) -> None:
    if isinstance(engine, SpeechEngine):
        import numpy as np

        list(
            engine.transcribe(
                np.zeros(16000, np.float32),
                SpeechOptions(language="en", vad=False, beam_size=1, fallback=False),
            )
        )
    else:
        assert isinstance(engine, ChatEngine)
        question = [{"role": "user", "content": "hello"}]
        assert isinstance(list(engine.stream(question, ChatOptions(max_new_tokens=2)))[-1], Done)


def named(name: str) -> Callable[[Path], str]:
    return lambda folder: name


KINDS = (
    pytest.param(tiny_llama, id="transformers"),
    pytest.param(named("chatglm3-tiny"), id="chatglm"),
    pytest.param(named("qwen-vl-tiny"), id="qwen-vl"),
    pytest.param(tiny_hearing, id="whisper"),
    pytest.param(named("smollm2-135m-instruct"), id="llama.cpp", marks=pytest.mark.weights),
)


@pytest.mark.parametrize("kind", KINDS)
def test_loads_leave_nothing(
    kind: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUINTET_MODEL_DIRS", str(tmp_path))
    name, loader = kind(tmp_path), Loader(isolated=True)

    def cycle() -> None:
        with loader.using(name, context=512) as engine:
            use(engine)
        assert loader.unload()

    cycle()  # what is imported for the first time stays
    before = state()
    for _ in range(CYCLES):
        cycle()
    assert_nothing_is_left(before)


@pytest.mark.weights
def test_stopped_answers_leave_nothing() -> None:
    loader = Loader(isolated=True)
    with loader.using("smollm2-135m-instruct", context=512) as engine:
        assert isinstance(engine, ChatEngine)

        def stop_early() -> None:
            cancel = threading.Event()
            for event in engine.stream([{"role": "user", "content": "Tell me a story."}], cancel=cancel):
                if isinstance(event, Delta):
                    cancel.set()
            assert isinstance(event, Done) and event.finish_reason == "cancelled"

        stop_early()
        before, worker = state(), psutil.Process(engine.process.pid)  # type: ignore[attr-defined]
        handles = worker.num_fds()
        for _ in range(CYCLES):
            stop_early()
        assert_nothing_is_left(before)
        until(lambda: worker.num_fds() <= handles)
    assert loader.unload()
