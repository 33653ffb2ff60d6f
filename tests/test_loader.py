"""The loader: sharing, room, failure. Engines are fake, checkpoints are tiny, everything between is real."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models import catalog, placement
from models.engines.base import Engine
from models.errors import (
    BadInput,
    Cancelled,
    CheckpointCorrupt,
    CheckpointNotFound,
    DoesNotFit,
    EngineClosed,
    HubUnreachable,
    ModelError,
    UnsupportedCheckpoint,
    UnsupportedPlacement,
)
from models.loader import Loader
from models.schema import Device, GiB, LoadReport, Progress
from tests.fakes.engines import FakeEngine, Stage, graphics_card, use_engines
from tests.fakes.tiny_checkpoints import cut, write_folder, write_gguf
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


# --- one load for all ----------------------------------------------------------------------------


def test_what_is_loaded_is_handed_out_again(shop: Loader, stage: Stage, folder: Any) -> None:
    engine = shop.load(folder("a"))
    assert shop.load(folder("a")) is engine
    assert shop.load(folder("a"), "cuda:0", "bf16") is engine
    assert shop.find_loaded(folder("a"), "cuda") is engine
    assert shop.find_loaded(folder("a"), "cpu") is None
    assert shop.find_loaded(folder("b")) is None
    assert shop.loaded() == [engine]
    assert stage.diary == ["load a"]


def test_many_who_ask_at_once_get_one_load_and_all_its_progress(
    shop: Loader, stage: Stage, folder: Any
) -> None:
    name, told = folder("a"), [list[Progress]() for _ in range(6)]
    stage.go.clear()
    asked = [in_thread(lambda steps=steps: shop.load(name, progress=steps.append)) for steps in told]
    until(lambda: all(told))
    stage.go.set()
    for thread, _ in asked:
        thread.join(WAIT)
    engines = {id(outcome) for _, outcomes in asked for outcome in outcomes}
    assert len(engines) == 1 and stage.diary == ["load a"]
    assert all(Progress("load", 1, 2) in steps for steps in told)


def test_who_asks_in_other_words_gets_the_same_engine(shop: Loader, stage: Stage, folder: Any) -> None:
    name = folder("a")
    stage.go.clear()
    one, first = in_thread(lambda: shop.load(name))
    assert stage.begun.acquire(timeout=WAIT)
    two, second = in_thread(lambda: shop.load(name, "cuda:0", "bf16"))
    stage.go.set()
    one.join(WAIT), two.join(WAIT)
    assert first == second and stage.diary == ["load a"]


def test_who_waits_for_the_device_takes_what_is_loaded_meanwhile(
    shop: Loader, stage: Stage, folder: Any
) -> None:
    name, told = folder("a"), list[Progress]()
    stage.go.clear()
    one, first = in_thread(lambda: shop.load(name))
    assert stage.begun.acquire(timeout=WAIT)
    two, second = in_thread(lambda: shop.load(name, "cuda:0", progress=told.append))
    until(lambda: Progress("queue", detail="cuda:0") in told)
    stage.go.set()
    one.join(WAIT), two.join(WAIT)
    assert first == second and stage.diary == ["load a"] and len(shop.loaded()) == 1


def test_one_who_gives_up_does_not_disturb_the_others(shop: Loader, stage: Stage, folder: Any) -> None:
    name, gives_up = folder("a"), threading.Event()
    stage.go.clear()
    stays, kept = in_thread(lambda: shop.load(name))
    leaves, left = in_thread(lambda: shop.load(name, cancel=gives_up))
    assert stage.begun.acquire(timeout=WAIT)
    gives_up.set()
    leaves.join(WAIT)
    assert isinstance(left[0], Cancelled)
    stage.go.set()
    stays.join(WAIT)
    assert isinstance(kept[0], Engine) and shop.loaded() == kept


def test_the_last_to_give_up_stops_the_load_and_nothing_stays(
    shop: Loader, stage: Stage, folder: Any
) -> None:
    name, gives_up = folder("a"), threading.Event()
    stage.go.clear()
    thread, outcome = in_thread(lambda: shop.load(name, cancel=gives_up))
    assert stage.begun.acquire(timeout=WAIT)
    gives_up.set()
    thread.join(WAIT)
    assert isinstance(outcome[0], Cancelled)
    until(lambda: stage.loading == 0 and stage.open == 0)
    assert shop.loaded() == []
    stage.go.set()
    assert shop.load(name) in shop.loaded()


def test_an_engine_that_nobody_waits_for_any_more_is_closed(
    shop: Loader, stage: Stage, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given up at the very end, when the engine itself has looked for the last time."""
    gives_up = threading.Event()

    def report(engine: FakeEngine, seconds: float) -> LoadReport:
        until(lambda: bool(shop._loads._jobs))
        gives_up.set()
        until(lambda: not shop._loads._jobs)
        return LoadReport("fake", GiB, {}, seconds)

    monkeypatch.setattr(FakeEngine, "_report", report)
    with pytest.raises(Cancelled):
        shop.load(folder("a"), cancel=gives_up)
    until(lambda: stage.diary == ["load a", "close a"])
    assert shop.loaded() == [] and stage.open == 0


def test_loads_to_one_device_wait_for_each_other(shop: Loader, stage: Stage, folder: Any) -> None:
    names, told = [folder("a"), folder("b"), folder("c")], list[Progress]()
    stage.memory = 10
    stage.go.clear()
    first, _ = in_thread(lambda: shop.load(names[0]))
    assert stage.begun.acquire(timeout=WAIT)
    others = [in_thread(lambda name=name: shop.load(name, progress=told.append)) for name in names[1:]]
    until(lambda: Progress("queue", detail="cuda:0") in told)
    stage.go.set()
    for thread in (first, *(thread for thread, _ in others)):
        thread.join(WAIT)
    assert stage.most_loading == 1 and stage.open == 3


def test_who_waits_for_a_device_can_give_up(shop: Loader, stage: Stage, folder: Any) -> None:
    names, gives_up = [folder("a"), folder("b")], threading.Event()
    stage.go.clear()
    first, _ = in_thread(lambda: shop.load(names[0]))
    assert stage.begun.acquire(timeout=WAIT)
    second, outcome = in_thread(lambda: shop.load(names[1], cancel=gives_up))
    gives_up.set()
    second.join(WAIT)
    assert isinstance(outcome[0], Cancelled)
    stage.go.set()
    first.join(WAIT)
    assert stage.diary == ["load a"]


# --- room ----------------------------------------------------------------------------------------


def test_the_least_recently_used_makes_room_before_the_new_one_is_read(
    shop: Loader, stage: Stage, folder: Any
) -> None:
    a, b = shop.load(folder("a")), shop.load(folder("b"))
    list(a.stream([{"role": "user", "content": "used again"}]))  # type: ignore[attr-defined]
    c = shop.load(folder("c"))
    assert stage.diary == ["load a", "load b", "close b", "load c"]
    assert shop.loaded() == [c, a] and b.closed


def test_asking_for_an_engine_again_counts_as_use(shop: Loader, stage: Stage, folder: Any) -> None:
    shop.load(folder("a")), shop.load(folder("b")), shop.load(folder("a")), shop.load(folder("c"))
    assert stage.diary[-2:] == ["close b", "load c"]


def test_no_more_is_closed_than_needed(shop: Loader, stage: Stage, folder: Any) -> None:
    stage.memory = 3.5
    for name in "abcd":
        shop.load(folder(name))
    assert [entry for entry in stage.diary if entry.startswith("close")] == ["close a"]


def test_room_on_one_card_is_made_on_that_card(
    shop: Loader, stage: Stage, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def card(name: str) -> Device:
        held = sum(engine.placement.device == name for engine in shop.loaded())
        return Device(name, "GPU", 2 * GiB, int((1.5 - held) * GiB), ("bf16",))

    monkeypatch.setattr(placement, "devices", lambda: [card("cuda:0"), card("cuda:1")])
    shop.load(folder("other"), "cuda:1")
    for name in ("a", "b"):
        shop.load(folder(name), "cuda:0")
    assert stage.diary == ["load other", "load a", "close a", "load b"]


def test_who_is_answering_is_never_closed(shop: Loader, stage: Stage, folder: Any) -> None:
    a, b = shop.load(folder("a")), shop.load(folder("b"))
    answer = a.stream([{"role": "user", "content": "one two"}])  # type: ignore[attr-defined]
    next(answer)
    shop.load(folder("c"))
    assert not a.closed and b.closed
    assert [type(event).__name__ for event in answer] == ["Delta", "Done"]


def test_when_all_are_answering_the_newcomer_is_refused_and_may_come_back(
    shop: Loader, stage: Stage, folder: Any
) -> None:
    answers = []
    for name in "ab":
        answer = shop.load(folder(name)).stream([{"role": "user", "content": "one two"}])  # type: ignore[attr-defined]
        next(answer)
        answers.append(answer)
    with pytest.raises(DoesNotFit):
        shop.load(folder("c"))
    assert stage.diary == ["load a", "load b"]
    answers[0].close()
    assert shop.load(folder("c")) and stage.diary[-2:] == ["close a", "load c"]


def test_a_plan_says_what_idle_engines_would_give_back(shop: Loader, stage: Stage, folder: Any) -> None:
    engine = shop.load(folder("a"))
    made = shop.plan(folder("b"))
    assert made.fits and made.reclaimable >= GiB
    answer = engine.stream([{"role": "user", "content": "one two"}])  # type: ignore[attr-defined]
    next(answer)
    assert shop.plan(folder("b")).reclaimable == 0
    assert stage.diary == ["load a"]


def test_what_is_spread_over_cards_gives_each_its_share_back(shop: Loader, stage: Stage, folder: Any) -> None:
    engine = shop.load(folder("a"))
    (loaded,) = shop._engines
    spread = replace(loaded.plan.placement, devices=("cuda:0", "cuda:1"))
    shop._engines = [replace(loaded, plan=replace(loaded.plan, placement=spread))]
    half = (engine.report.weights + loaded.plan.kv_cache) // 2
    assert shop._count_reclaimable() == {"cuda:0": half, "cuda:1": half}


def test_an_engine_that_is_being_closed_is_not_handed_out(
    shop: Loader, stage: Stage, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, closing, go = folder("a"), threading.Event(), threading.Event()
    engine = shop.load(name)

    def slow_close(self: FakeEngine) -> None:
        closing.set()
        go.wait(WAIT)
        self.stage.open -= 1

    monkeypatch.setattr(FakeEngine, "_close", slow_close)
    thread, _ = in_thread(lambda: shop.unload(name))
    assert closing.wait(WAIT)
    assert shop.find_loaded(name) is None and shop.loaded() == []
    go.set()
    thread.join(WAIT)
    again = shop.load(name)
    assert again is not engine and not again.closed


# --- contexts ------------------------------------------------------------------------------------


def test_a_smaller_context_is_met_and_a_larger_one_loads_anew(
    shop: Loader, stage: Stage, folder: Any
) -> None:
    name = folder("a")
    engine = shop.load(name, context=128)
    assert engine.placement.context == 128
    assert shop.load(name, context=64) is engine and shop.load(name) is engine
    larger = shop.load(name, context=512)
    assert larger.placement.context == 512 and engine.closed and shop.loaded() == [larger]
    assert stage.diary == ["load a", "close a", "load a"]


def test_another_precision_replaces_nothing(shop: Loader, stage: Stage, folder: Any) -> None:
    both = [shop.load(folder("a"), precision=precision) for precision in ("bf16", "fp16")]
    assert not any(engine.closed for engine in both) and stage.diary == ["load a", "load a"]


def test_the_one_that_is_replaced_is_room_enough(shop: Loader, stage: Stage, folder: Any) -> None:
    """Others need not go when the same model only grows its context."""
    other, name = shop.load(folder("other")), folder("a")
    shop.load(name, context=128)
    shop.load(name, context=512)
    assert not other.closed


def test_a_larger_context_is_refused_while_somebody_is_answered(
    shop: Loader, stage: Stage, folder: Any
) -> None:
    stage.memory = 10
    engine = shop.load(folder("a"), context=128)
    answer = engine.stream([{"role": "user", "content": "one two"}])  # type: ignore[attr-defined]
    next(answer)
    with pytest.raises(UnsupportedPlacement, match="128 tokens"):
        shop.load(folder("a"), context=512)
    assert not engine.closed and len(list(answer)) == 2


# --- processes ----------------------------------------------------------------------------------


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> list[type[Engine]]:
    """Which engines were to get a process of their own. They are made in this one all the same."""
    found: list[type[Engine]] = []
    monkeypatch.setattr("models.loader.workers.isolated", lambda kind, planned: (found.append(kind), kind)[1])
    return found


def test_an_engine_here_and_one_in_a_process_of_its_own_are_two(
    shop: Loader, folder: Any, apart: list[type[Engine]]
) -> None:
    """Neither is handed out for the other, nor closed for it."""
    name = folder("a")
    here = shop.load(name, context=128)
    there = shop.load(name, context=512, isolated=True)
    assert there is not here and not here.closed and apart == [FakeEngine]
    assert shop.load(name, context=128) is here and shop.load(name, isolated=True) is there


def test_an_engine_at_a_server_is_in_no_process(
    shop: Loader, stage: Stage, apart: list[type[Engine]], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_engines(monkeypatch, openai_api="FakeEngine")
    address = "http://localhost:8000/v1"
    engine = shop.load(address, isolated=True)
    assert shop.load(address, isolated=False) is engine and apart == []


# --- unloading -----------------------------------------------------------------------------------


def test_unloading(shop: Loader, stage: Stage, folder: Any) -> None:
    a, b = shop.load(folder("a")), shop.load(folder("b"))
    answer = a.stream([{"role": "user", "content": "one two"}])  # type: ignore[attr-defined]
    next(answer)
    assert not shop.unload(folder("a")) and not a.closed
    assert not shop.unload() and b.closed and shop.loaded() == [a]
    answer.close()
    assert shop.unload() and shop.loaded() == [] and stage.open == 0
    assert shop.unload(folder("a"))  # nothing left to close
    with pytest.raises(EngineClosed):
        next(a.stream([{"role": "user", "content": "hello"}]))  # type: ignore[attr-defined]


def test_a_model_whose_files_are_gone_can_be_unloaded(shop: Loader, folder: Any) -> None:
    name = folder("a")
    engine = shop.load(name)
    for file in Path(name).iterdir():
        file.unlink()
    assert shop.unload(engine.checkpoint.name) and engine.closed


def test_a_model_is_unloaded_by_whatever_name_it_was_asked_for(shop: Loader, folder: Any) -> None:
    engine = shop.load(folder("a"))
    assert shop.unload(f'"{folder("a")}"') and engine.closed


# --- failure -------------------------------------------------------------------------------------


def test_a_failed_load_leaves_everything_as_it_was(shop: Loader, stage: Stage, folder: Any) -> None:
    engine = shop.load(folder("a"))
    stage.failure = CheckpointCorrupt("Broken.", "已损坏。")
    with pytest.raises(CheckpointCorrupt):
        shop.load(folder("b"))
    assert shop.loaded() == [engine] and stage.open == 1 and not engine.closed
    stage.failure = None
    assert shop.load(folder("b")) in shop.loaded()


def test_a_format_that_nothing_reads_closes_and_fetches_nothing(
    shop: Loader, stage: Stage, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.load(folder("a")), shop.load(folder("b"))
    monkeypatch.setattr(shop.hub, "fetch", lambda *_: pytest.fail("fetched for nothing"))
    use_engines(monkeypatch)
    with pytest.raises(UnsupportedCheckpoint, match="cannot run yet"):
        shop.load("chatglm3-6b")
    assert stage.diary == ["load a", "load b"]


def test_where_no_hub_is_the_familys_starter_is_offered(
    shop: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    use_engines(monkeypatch, transformers="FakeEngine")
    with pytest.raises(HubUnreachable, match="or load smollm2-135m-instruct") as error:
        shop.fetch("someone/My-Llama-3B")
    assert "smollm2-135m-instruct" in error.value.zh
    assert error.value.zh.count("。") == 1 and ". " not in error.value.en  # still one sentence
    with pytest.raises(HubUnreachable) as error:
        shop.fetch("someone/thing")  # of no family, and so without a starter
    assert "or load" not in error.value.en


def half(path: Path) -> str:
    return str(cut(write_gguf(path), 4000))


def without_config(path: Path) -> str:
    (write_folder(path) / "config.json").unlink()
    return str(path)


def half_download(path: Path) -> str:
    write_folder(path)
    (path / "model.safetensors").rename(path / "model.safetensors.incomplete")
    return str(path)


def text_named_gguf(path: Path) -> str:
    path.write_text("Once upon a time")
    return str(path)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda path: str(path / "nothing"), CheckpointNotFound),
        (lambda path: "no-such-name", CheckpointNotFound),
        (lambda path: "", CheckpointNotFound),
        (lambda path: without_config(path / "a"), UnsupportedCheckpoint),
        (lambda path: half_download(path / "a"), CheckpointCorrupt),
        (lambda path: half(path / "half.gguf"), CheckpointCorrupt),
        (lambda path: text_named_gguf(path / "text.gguf"), UnsupportedCheckpoint),
    ],
)
def test_what_cannot_be_loaded_says_so_before_anything_is_closed(
    shop: Loader, stage: Stage, tmp_path: Path, make: Callable[[Path], str], error: type[ModelError]
) -> None:
    name = make(tmp_path)
    for ask in (shop.load, shop.plan):
        with pytest.raises(error) as raised:
            ask(name)
        assert raised.value.en.endswith(".") and raised.value.zh.endswith("。")
    assert stage.diary == []


def test_a_flipped_byte_is_noticed(
    shop: Loader, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    file = write_gguf(tmp_path / "a.gguf")
    row = replace(catalog.describe(file), sha256={"a.gguf": hashlib.sha256(file.read_bytes()).hexdigest()})
    monkeypatch.setattr(catalog, "find", lambda name: row)
    monkeypatch.setattr(placement, "devices", lambda: [Device("cpu", "CPU", 8 * GiB, 8 * GiB, ("fp32",))])
    shop.load("a")
    assert shop.unload()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    os.utime(file)
    with pytest.raises(CheckpointCorrupt, match="a.gguf is damaged"):
        shop.load("a")
    assert file.is_file() and shop.loaded() == []  # the user chose this file: it is not ours to delete


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"device": "cuda:9"}, UnsupportedPlacement),
        ({"device": "toaster"}, UnsupportedPlacement),
        ({"precision": "int3"}, UnsupportedPlacement),
        ({"device": "cpu", "precision": "int4"}, UnsupportedPlacement),
        ({"context": 513}, UnsupportedPlacement),
        ({"context": 0}, UnsupportedPlacement),
        ({"device": "cpu"}, DoesNotFit),
    ],
)
def test_placements_that_cannot_be(
    shop: Loader, stage: Stage, folder: Any, asked: dict[str, Any], error: type[ModelError]
) -> None:
    with pytest.raises(error):
        shop.load(folder("a"), **asked)
    assert stage.diary == [] and shop.loaded() == []


def test_int4_of_a_file_that_is_already_quantised(shop: Loader, stage: Stage, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "a.gguf")
    with pytest.raises(UnsupportedPlacement, match="already quantised"):
        shop.load(str(file), device="cpu", precision="int4")


def test_a_failure_inside_an_engine_is_not_swallowed(shop: Loader, stage: Stage, folder: Any) -> None:
    stage.failure = BadInput("No.", "不。")
    with pytest.raises(BadInput):
        shop.load(folder("a"))
    stage.failure = ZeroDivisionError()  # not one of ours: a bug must show
    with pytest.raises(ZeroDivisionError):
        shop.load(folder("a"))
    assert shop.loaded() == []


@pytest.mark.slow
def test_many_at_once_never_exceed_the_memory(shop: Loader, stage: Stage, folder: Any) -> None:
    """Six sessions, four models, room for two."""
    names = [folder(name) for name in "abcd"]
    peak = 0

    def session(number: int) -> int:
        nonlocal peak
        answered = 0
        while answered < 8:
            try:
                engine = shop.load(names[(number + answered) % 4])
                peak = max(peak, stage.open)
                *_, done = engine.stream([{"role": "user", "content": "a b"}])  # type: ignore[attr-defined]
                answered += done.finish_reason == "stop"
            except (DoesNotFit, EngineClosed):  # all were answering; or evicted before the question came
                continue
        return answered

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(session, range(6)))
    assert peak <= 2 and stage.most_loading == 1 and answers == [8] * 6
    assert len(shop.loaded()) == stage.open


@pytest.mark.parametrize("device", ["cuda:7", "cuda:9", "mps"])
def test_an_absent_accelerator_can_be_planned_for_but_not_loaded_to(
    shop: Loader, stage: Stage, folder: Any, device: str
) -> None:
    plan = shop.plan(folder("a"), device, "bf16")
    assert plan.placement.device == device and plan.total > 0 and plan.free == 0 and not plan.fits
    with pytest.raises(UnsupportedPlacement, match="no device"):
        shop.load(folder("a"), device, "bf16")
