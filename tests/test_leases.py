"""Engines that somebody holds stay; what was counted on and is held after all is planned anew."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models import placement
from models.engines.base import Engine
from models.errors import Cancelled, CheckpointCorrupt, DoesNotFit, UnsupportedPlacement
from models.loader import Loader
from models.schema import Device, GiB, Progress
from tests.fakes.engines import FakeEngine, Stage, graphics_card
from tests.fakes.tiny_checkpoints import write_folder
from tests.fakes.waiting import WAIT, in_thread, until


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    monkeypatch.setenv("QUINTET_CACHE", str(tmp_path / "cache"))
    return graphics_card(monkeypatch)


@pytest.fixture
def shop(stage: Stage) -> Loader:
    return Loader()


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str], str]:
    """Folders of tiny checkpoints, by name."""
    return lambda name: str(write_folder(tmp_path / name))


def before_lease(monkeypatch: pytest.MonkeyPatch, happens: Callable[[Engine], Any]) -> None:
    """Let something happen once, when an engine was found or loaded and nobody holds it yet."""
    left = [happens]

    def lease(self: Engine) -> Any:
        if left:
            left.pop()(self)
        return Engine.lease(self)

    monkeypatch.setattr(FakeEngine, "lease", lease, raising=False)


# --- held ----------------------------------------------------------------------------------------


def test_a_held_engine_is_not_closed_for_another(shop: Loader, stage: Stage, folder: Any) -> None:
    with shop.using(folder("a")) as a:
        b = shop.load(folder("b"))
        shop.load(folder("c"))
        assert b.closed and not a.closed and a.active == 0  # although b was used later
    shop.load(folder("d")), shop.load(folder("e"))
    assert stage.diary[-4:] == ["close c", "load d", "close a", "load e"]


def test_what_is_held_cannot_be_reclaimed(shop: Loader, folder: Any) -> None:
    with shop.using(folder("a")):
        assert shop.plan(folder("b")).reclaimable == 0
        with shop.using(folder("b")), pytest.raises(DoesNotFit):
            shop.load(folder("c"))
    assert shop.plan(folder("b")).reclaimable >= 2 * GiB


def test_a_held_engine_is_not_unloaded(shop: Loader, folder: Any) -> None:
    other = shop.load(folder("b"))
    with shop.using(folder("a")) as engine:
        assert not shop.unload(folder("a")) and not shop.unload()
        assert shop.loaded() == [engine] and other.closed
    assert shop.unload() and engine.closed


def test_a_held_engine_is_not_replaced(shop: Loader, folder: Any) -> None:
    with shop.using(folder("a"), context=128) as engine:
        with pytest.raises(UnsupportedPlacement, match="128 tokens"):
            shop.load(folder("a"), context=512)
        assert not engine.closed
    assert shop.load(folder("a"), context=512).placement.context == 512 and engine.closed


def test_all_who_hold_an_engine_hold_the_same(shop: Loader, stage: Stage, folder: Any) -> None:
    with shop.using(folder("a")) as one:
        with shop.using(folder("a")) as two:
            assert one is two
        assert not shop.unload()
    assert shop.unload() and stage.diary == ["load a", "close a"]


def test_an_error_in_the_block_is_the_callers_and_ends_the_lease(shop: Loader, folder: Any) -> None:
    with pytest.raises(CheckpointCorrupt, match="Mine"), shop.using(folder("a")):
        raise CheckpointCorrupt("Mine.", "我的。")
    assert shop.unload()


@pytest.mark.parametrize("error", [CheckpointCorrupt("Broken.", "已损坏。"), ZeroDivisionError()])
def test_a_load_that_fails_leaves_nothing_held(
    shop: Loader, stage: Stage, folder: Any, error: Exception
) -> None:
    stage.failure = error
    with pytest.raises(type(error)), shop.using(folder("a")):
        pytest.fail("there is nothing to hold")
    stage.failure = None
    shop.load(folder("a"))
    assert shop.unload()


def test_who_gives_up_waiting_holds_nothing(shop: Loader, stage: Stage, folder: Any) -> None:
    name, gives_up = folder("a"), threading.Event()
    stage.go.clear()

    def use() -> None:
        with shop.using(name, cancel=gives_up):
            pytest.fail("given up")

    thread, outcome = in_thread(use)
    assert stage.begun.acquire(timeout=WAIT)
    gives_up.set()
    thread.join(WAIT)
    assert isinstance(outcome[0], Cancelled)
    stage.go.set()
    shop.load(name)
    assert shop.unload()


# --- between being found and being held ----------------------------------------------------------


def test_a_fresh_engine_cannot_be_closed_before_it_is_held(
    shop: Loader, stage: Stage, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.load(folder("b"))
    unloaded: list[bool] = []

    def others(_: Engine) -> None:
        unloaded.append(shop.unload(folder("a")))
        with pytest.raises(DoesNotFit), shop.using(folder("b")):  # which cannot go either
            shop.load(folder("c"))

    before_lease(monkeypatch, others)
    with shop.using(folder("a")) as engine:
        assert unloaded == [False] and not engine.closed
    assert stage.diary == ["load b", "load a"]


def test_an_engine_that_was_being_closed_is_loaded_again(
    shop: Loader, stage: Stage, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By somebody who had decided so before it was asked for."""
    first = shop.load(folder("a"))
    before_lease(monkeypatch, lambda engine: engine.close_if_idle())
    with shop.using(folder("a")) as engine:
        assert engine is not first and first.closed and not engine.closed
    assert stage.diary == ["load a", "close a", "load a"] and shop.loaded() == [engine]


def test_memory_that_is_being_given_back_counts(
    shop: Loader, stage: Stage, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine under way out is nobody's, even while somebody asks for its like."""
    closing, go, close = threading.Event(), threading.Event(), FakeEngine._close

    def slow_close(self: FakeEngine) -> None:
        closing.set()
        go.wait(WAIT)
        close(self)

    stage.memory = 1.5  # for one engine
    name = folder("a")
    shop.load(name)
    monkeypatch.setattr(FakeEngine, "_close", slow_close)
    thread, _ = in_thread(lambda: shop.unload(name))
    assert closing.wait(WAIT)
    with shop.using(name) as engine:
        assert not engine.closed
    go.set()
    thread.join(WAIT)


# --- room is made, or the load is refused ----------------------------------------------------------


def ask_when_closing(monkeypatch: pytest.MonkeyPatch, names: str) -> list[Any]:
    """Engines of these names get a question at the moment in which they were to be closed."""
    answers: list[Any] = []
    close = Engine.close_if_idle

    def asked(self: FakeEngine) -> bool:
        if self.name in names and not self.leased:
            answers.append(self.stream([{"role": "user", "content": "one two"}]))
            next(answers[-1])
        return close(self)

    monkeypatch.setattr(FakeEngine, "close_if_idle", asked, raising=False)
    return answers


def test_a_load_for_which_no_room_was_made_is_refused(
    shop: Loader, stage: Stage, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = shop.load(folder("a")), shop.load(folder("b"))
    answers = ask_when_closing(monkeypatch, "ab")
    with pytest.raises(DoesNotFit) as refused:
        shop.load(folder("c"))
    assert refused.value.en.endswith(".") and refused.value.zh.endswith("。")
    assert stage.diary == ["load a", "load b"] and stage.open == 2
    assert [type(event).__name__ for answer in answers for event in answer] == ["Delta", "Done"] * 2
    assert shop.loaded() == [b, a]


def test_another_makes_room_when_the_first_got_a_question(
    shop: Loader, stage: Stage, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = shop.load(folder("a")), shop.load(folder("b"))
    ask_when_closing(monkeypatch, "a")
    c = shop.load(folder("c"))
    assert stage.diary[-2:] == ["close b", "load c"] and not a.closed and b.closed
    assert shop.loaded() == [c, a]


def test_a_plan_is_made_again_with_what_is_left(
    shop: Loader, stage: Stage, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card is taken after all, and the processor has room."""
    card = placement.devices

    def devices() -> list[Device]:
        return [card()[0], Device("cpu", "CPU", 8 * GiB, 8 * GiB, ("fp32",))]

    monkeypatch.setattr(placement, "devices", devices)
    stage.memory = 1.5
    shop.load(folder("a"))
    ask_when_closing(monkeypatch, "a")
    assert shop.load(folder("b")).placement.device == "cpu"


# --- one load for whoever it serves ----------------------------------------------------------------


@pytest.fixture
def processor(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A machine without a graphics card, on which "auto" and "cpu" are the same."""

    def devices() -> list[Device]:
        total = int(stage.memory * GiB)
        return [Device("cpu", "CPU", total, total - stage.open * GiB, ("fp32", "int8"))]

    monkeypatch.setattr(placement, "devices", devices)
    return stage


@pytest.mark.parametrize("memory", [1.2, 8])  # for one engine, and for many
@pytest.mark.parametrize("asked", [("auto", "cpu"), ("cpu", "auto")])
def test_auto_and_the_device_that_it_means_are_one_load(
    shop: Loader, processor: Stage, folder: Any, asked: tuple[str, str], memory: float
) -> None:
    """Even where there is room for one alone, and the first who asked holds it at once."""
    processor.memory = memory
    name, told, done = folder("a"), list[Progress](), threading.Event()
    processor.go.clear()

    def hold(device: str) -> Engine:
        with shop.using(name, device, progress=told.append) as engine:
            assert done.wait(WAIT)
            return engine

    one, first = in_thread(lambda: hold(asked[0]))
    assert processor.begun.acquire(timeout=WAIT)
    two, second = in_thread(lambda: shop.load(name, asked[1], progress=told.append))
    until(lambda: Progress("queue", detail="cpu") in told)  # the second has planned a load of its own
    processor.go.set()
    two.join(WAIT)
    done.set()
    one.join(WAIT)
    assert first == second == shop.loaded() and processor.diary == ["load a"]
