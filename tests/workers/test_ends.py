"""What an engine makes of the ends of its worker: who is told what, who is blamed, and when it is over."""

from collections.abc import Generator
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from models.errors import BadInput, CheckpointCorrupt, DoesNotFit, EngineFailed
from models.schema import Checkpoint, Done, LoadReport, Placement, Usage
from models.workers import host
from models.workers.host import LATELY, MOST_ENDS, IsolatedChatEngine, isolated
from models.workers.process import Died, Unheard
from tests.fakes.worker_engines import ObedientEngine

PLACEMENT = Placement("cpu", "fp32", 64)
CRASHED, KILLED = -11, -9


class Process:
    """A worker that answers, unless it comes to the next of `ends`."""

    def __init__(self, ends: list[Exception]) -> None:
        self.alive = True
        self._ends = ends

    def ask(self, call: str, *arguments: Any, cancel: Event | None = None) -> Generator[Any, None, Any]:
        if call == "load":
            return {"context_length": 64, "has_chat_template": True, "report": LoadReport("none", 0, {}, 0.0)}
        if self._ends:
            raise self._ends.pop(0)
        yield Done("stop", Usage())

    def end(self) -> None:
        self.alive = False


@pytest.fixture
def ends() -> list[Exception]:
    return []


@pytest.fixture
def started() -> list[Process]:
    return []


@pytest.fixture
def engine(
    ends: list[Exception], started: list[Process], monkeypatch: pytest.MonkeyPatch
) -> IsolatedChatEngine:
    def start(title: str) -> Process:
        started.append(Process(ends))
        return started[-1]

    monkeypatch.setattr(host, "WorkerProcess", start)
    made = isolated(ObedientEngine, 0)("model", Checkpoint("tiny", "other", "chat", "gguf"), PLACEMENT)
    assert isinstance(made, IsolatedChatEngine)
    return made


def ask(engine: IsolatedChatEngine, text: str = "hello", cancel: Event | None = None) -> str:
    (done,) = engine.stream([{"role": "user", "content": text}], cancel=cancel)
    assert isinstance(done, Done)
    return done.finish_reason


@pytest.mark.parametrize(
    ("share", "sent"),
    [(1.0, 2), (0.5, 4), (0.25, 8)],
)
def test_a_question_is_blamed_for_its_share_of_what_was_being_read(
    engine: IsolatedChatEngine, ends: list[Exception], share: float, sent: int
) -> None:
    for _ in range(sent):
        ends.append(Died(CRASHED, share))
        with pytest.raises(EngineFailed):
            ask(engine, "bad")
    with pytest.raises(BadInput, match="not sent again"):
        ask(engine, "bad")
    assert ask(engine, "good") == "stop"


def test_what_was_not_being_read_is_never_to_blame(engine: IsolatedChatEngine, ends: list[Exception]) -> None:
    for _ in range(5):
        ends.append(Died(CRASHED, 0.0))
        with pytest.raises(EngineFailed):
            ask(engine)
    assert ask(engine) == "stop"


def test_what_is_never_read_to_its_end_is_blamed_unless_it_was_stopped(
    engine: IsolatedChatEngine, ends: list[Exception]
) -> None:
    stopped = Event()
    stopped.set()
    for _ in range(3):
        ends.append(Unheard())
        assert ask(engine, cancel=stopped) == "cancelled"
    for _ in range(2):
        ends.append(Unheard())
        with pytest.raises(EngineFailed, match="no end"):
            ask(engine)
    with pytest.raises(BadInput, match="not sent again"):
        ask(engine)


def test_who_came_after_the_end_is_sent_again_and_hears_nothing_of_it(
    engine: IsolatedChatEngine, ends: list[Exception]
) -> None:
    ends += [Died(CRASHED, 0.0, asked=False)] * 2
    assert ask(engine) == "stop"


@pytest.mark.parametrize(
    ("status", "said"),
    [(KILLED, "memory ran out"), (CRASHED, r"\(SIGSEGV\)"), (-6, r"\(SIGABRT\)"), (3, r"\(status 3\)")],
)
def test_an_end_is_explained(
    engine: IsolatedChatEngine, ends: list[Exception], status: int, said: str
) -> None:
    ends.append(Died(status, 1.0))
    with pytest.raises(EngineFailed, match=said):
        ask(engine)


@pytest.mark.parametrize(("status", "kind"), [(KILLED, DoesNotFit), (CRASHED, CheckpointCorrupt)])
def test_an_end_while_it_is_started_again_is_that_of_a_load(
    engine: IsolatedChatEngine,
    started: list[Process],
    status: int,
    kind: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ask_to_load(self: Process, *arguments: Any, cancel: Any) -> Generator[Any, None, Any]:
        raise Died(status, 1.0)
        yield

    started[-1].alive = False
    monkeypatch.setattr(Process, "ask", ask_to_load)
    with pytest.raises(kind):
        ask(engine)
    assert not started[-1].alive  # nothing is left of it


def test_so_many_ends_in_ten_minutes_and_no_more(
    engine: IsolatedChatEngine, started: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(host, "time", SimpleNamespace(monotonic=lambda: now))

    def end_and_ask() -> str:
        started[-1].alive = False
        return ask(engine)

    for _ in range(MOST_ENDS):
        assert end_and_ask() == "stop"
        now += 60.0
    with pytest.raises(EngineFailed, match="not started again"):
        end_and_ask()
    now = LATELY  # since the first of them
    assert end_and_ask() == "stop"
    with pytest.raises(EngineFailed, match="not started again"):
        end_and_ask()
    assert len(started) == MOST_ENDS + 2
