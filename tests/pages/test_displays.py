"""What the pages say in numbers: memory, progress, figures, choices."""

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import models
from models.interpreter import Output
from models.loader import shared
from models.schema import Device, Done, Event, GiB, Progress
from pages.shared.conversation.steps import _columns
from pages.shared.conversation.turns import Answer, Turn
from tests.fakes.engines import FakeEngine
from tests.fakes.tiny_checkpoints import write_folder, write_gguf
from tests.fakes.visitor import (
    alive,
    ask,
    captions,
    choose,
    click,
    conversation,
    sentences,
    settle,
    visit,
    works,
)
from tests.fakes.waiting import WAIT, until

CPU = Device("cpu", "Our processor", 100 * GiB, 60 * GiB, ("bf16", "fp32", "int8", "int4"))
GPU = Device("cuda:0", "Our card", 10 * GiB, 8 * GiB, ("fp16", "fp32"))


@pytest.fixture
def machine(stage: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Device]]:
    """A machine that is made up."""
    found = [CPU]
    for name in ("models.placement.devices", "models.devices", "pages.shared.memory.devices"):
        monkeypatch.setattr(name, lambda: list(found))
    yield found


def shares(at: AppTest) -> list[float]:
    """Of others, Quintet, what is needed, and what is free, in percent."""
    (html,) = (node.proto.body for node in at.sidebar if node.type == "html")
    return [float(share) for share in re.findall(r"width:([\d.]+)%", html)]


def legend(at: AppTest) -> list[str]:
    """What the parts of the bar are."""
    (html,) = (node.proto.body for node in at.sidebar if node.type == "html")
    return re.findall(r"■</span> ([^<]*)", html)


def test_the_legend_has_the_colours_of_the_bar(machine: list[Device]) -> None:
    (html,) = (node.proto.body for node in visit().sidebar if node.type == "html")
    drawn = re.findall(r"background:([^;]+);height:100%", html)
    assert len(set(drawn)) == 4 and set(re.findall(r'color:([^"]+)">■', html)) == set(drawn)


# --- memory --------------------------------------------------------------------------------------


def test_the_memory_bar_shows_what_a_load_needs_and_then_what_it_took(machine: list[Device]) -> None:
    at = visit()
    need = models.plan(at.selectbox(key="set.llama2.checkpoint").value).total
    percent = 100 * need / CPU.total
    assert shares(at) == pytest.approx([40, 0, percent, 60 - percent], abs=0.01)
    needed = f"needed {models.gigabytes(need)}"
    assert legend(at) == [needed, "Quintet 0 MB", "other programs 40.0 GB", "free 60.0 GB"]
    assert "Our processor · the file's own precision" in captions(at)
    at = click(at, "llama2.load_button")
    assert shares(at) == pytest.approx([39, 1, 0, 60], abs=0.01)
    assert legend(at) == ["Quintet 1.0 GB", "other programs 39.0 GB", "free 60.0 GB"]


@pytest.mark.parametrize(
    ("locale", "says"), [("en-US", "needed known once fetched"), ("zh-CN", "需要 下载后可知")]
)
def test_what_a_checkpoint_needs_that_is_not_here_is_not_guessed(
    locale: str, says: str, machine: list[Device]
) -> None:
    at = choose(visit(locale=locale), "somebody/something")
    assert legend(at)[0] == says and len(legend(at)) == 4
    assert shares(at) == pytest.approx([40, 0, 0, 60], abs=0.01)


def test_the_memory_of_another_device_is_not_counted(machine: list[Device], tmp_path: Any) -> None:
    click(visit(), "llama2.load_button")
    machine.insert(0, GPU)
    name = str(write_folder(tmp_path / "folder"))
    at = choose(visit(), name)
    need = models.plan(name).total
    assert models.plan(name).placement.device == "cuda:0"
    percent = 100 * need / GPU.total
    assert shares(at) == pytest.approx([20, 0, percent, 80 - percent], abs=0.01)
    assert "Our card · fp16" in captions(at)


def test_another_model_needs_its_memory_beside_the_one_that_is_loaded(
    machine: list[Device], tmp_path: Any
) -> None:
    at = click(visit(), "llama2.load_button")
    assert not legend(at)[0].startswith("needed")
    at = choose(at, str(write_folder(tmp_path / "folder")))
    assert legend(at)[0].startswith("needed") and legend(at)[1] == "Quintet 1.0 GB"


def test_a_mapped_file_takes_no_more_of_the_bar_than_is_in_use(machine: list[Device]) -> None:
    machine[:] = [Device("cpu", "Large", 100 * GiB, 100 * GiB - GiB // 4, ("fp32",))]
    at = click(visit(), "llama2.load_button")
    assert "Quintet 1.0 GB" in legend(at)  # of which pages may have been given back
    assert shares(at) == pytest.approx([0, 0.25, 0, 99.75], abs=0.01)


def test_what_does_not_fit_fills_the_bar_and_is_refused(machine: list[Device], tmp_path: Any) -> None:
    machine[:] = [Device("cpu", "Small", 100 * GiB, GiB // 100, ("fp32",))]
    at = choose(visit(), str(write_folder(tmp_path / "folder")))
    assert shares(at) == pytest.approx([99.99, 0, 0.01, 0], abs=0.01)
    (html,) = (node.proto.body for node in at.sidebar if node.type == "html")
    assert "outline:2px solid" in html
    assert "needs" in sentences(at)[0] and at.button(key="llama2.load_button").disabled


# --- choices -------------------------------------------------------------------------------------


def test_devices_and_their_precisions_are_offered(
    machine: list[Device], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.insert(0, GPU)
    monkeypatch.setenv("LLAMA2_MODEL_PATH", str(write_folder(tmp_path / "folder")))
    at = visit()
    device, precision = at.selectbox[1], at.selectbox[2]
    assert device.options == ["auto", "Our card", "Our processor"]
    assert precision.options == ["auto", "fp16", "fp32", "bf16", "int8", "int4"]
    at = alive(device.set_value("cuda:0").run())
    assert at.selectbox[2].options == ["auto", "fp16", "fp32"]
    at = alive(at.selectbox[2].set_value("fp32").run())
    assert "Our card · fp32" in captions(at)


@pytest.mark.parametrize(
    ("length", "options", "value"),
    [
        (512, None, None),
        (3000, [1024, 2048, 3000], 3000),
        (8192, [1024, 2048, 4096, 8192], 8192),
        (40_000, [1024, 2048, 4096, 8192, 16384, 32768, 40_000], 8192),
    ],
)
def test_context_lengths_up_to_the_models_own(
    length: int,
    options: list[int] | None,
    value: int | None,
    machine: list[Device],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LLAMA2_MODEL_PATH", str(write_gguf(tmp_path / "long.gguf", length=length)))
    at = visit()
    found = [slider for slider in at.select_slider if "Context length" in slider.label]
    if options is None:  # nothing to slide
        assert found == []
        click(at, "llama2.load_button")
        assert shared().loaded()[0].placement.context == length
        return
    (slider,) = found
    assert (list(map(int, slider.options)), slider.value) == (options, value)
    click(alive(slider.set_value(1024).run()), "llama2.load_button")
    assert shared().loaded()[0].placement.context == 1024


def test_what_was_loaded_is_said(machine: list[Device]) -> None:
    at = click(visit(), "llama2.load_button")
    assert ":material/check_circle: fake · 1.0 GB · cpu · 0.0 s" in captions(at)


# --- progress ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("progress", "share", "text"),
    [
        (Progress("queue", 1, 3), 33, "Waiting for another load"),
        (Progress("find"), 0, "Looking for the files"),
        (
            Progress("download", 3 * GiB, 4 * GiB, 5 * 1024**2, 200.4),
            75,
            "Downloading · 3.0 GB / 4.0 GB · 5 MB/s · 200 s left",
        ),
        (Progress("verify", 1024**2, 2 * 1024**2), 50, "Checking the files · 1 MB / 2 MB"),
        (Progress("load", 5, 4), 100, "Reading into memory · 0 MB / 0 MB"),
        (Progress("convert"), 0, "convert"),
    ],
)
def test_how_far_a_load_is(
    progress: Progress, share: int, text: str, machine: list[Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, reported = FakeEngine.__init__, threading.Event()

    def slow(
        self: Any, path: Any, checkpoint: Any, placement: Any, report: Any = None, cancel: Any = None
    ) -> None:
        report(progress)
        reported.set()
        assert self.stage.go.wait(WAIT)
        begin(self, path, checkpoint, placement, None, cancel)

    FakeEngine.stage.go.clear()
    monkeypatch.setattr(FakeEngine, "__init__", slow)
    at = visit()
    alive(at.button(key="llama2.load_button").click().run())
    assert reported.wait(WAIT)
    until(lambda: works(at)[0].latest == progress)
    bar = alive(at.run()).main.get("progress")[0].proto
    FakeEngine.stage.go.set()
    assert bar.value == share and bar.text.partition(": ")[2] == text
    assert not settle(at).main.get("progress")


# --- answers -------------------------------------------------------------------------------------


def show(answer: Answer) -> str:
    at = visit()
    conversation(at).turns = (Turn("?", (answer,)),)
    return captions(alive(at.run()))


def test_the_line_under_an_answer_has_its_figures() -> None:
    figures = {
        "completion_tokens": 12, "tokens_per_second": 3.456, "seconds_to_first_token": 0.789, "cached_tokens": 7,
    }  # fmt: skip
    line = show(Answer("text", "length", figures, "tiny"))
    assert "cut at the max. answer length · 12 tokens · 3.5 tokens/s · first after 0.79 s · tiny" in line
    assert "stopped · " in show(Answer("text", "cancelled", figures))
    assert "broke off" in show(Answer("text", "failed", {}))
    line = show(Answer("text", "stop", {"completion_tokens": 0, "cached_tokens": 5}, "tiny"))
    assert "tokens" not in line.splitlines()[-1]


def test_nothing_tells_whether_another_visitor_asked_the_same(
    machine: list[Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an engine still knew of a prompt is no figure of the answer: not on the page, not in its export."""
    stream = FakeEngine._stream

    def cached(*asked: Any) -> Iterator[Event]:
        for event in stream(*asked):
            if isinstance(event, Done):
                event = replace(event, usage=replace(event.usage, cached_tokens=7531))
            yield event

    monkeypatch.setattr(FakeEngine, "_stream", cached)
    at = ask(click(visit(), "llama2.load_button"), "one two three")
    (turn,) = conversation(at).turns
    assert turn.answer is not None
    assert "completion_tokens" in turn.answer.figures and "cached_tokens" not in turn.answer.figures
    assert "7531" not in captions(at) + conversation(at).to_json()


def test_the_context_meter_counts_against_the_context(machine: list[Device]) -> None:
    at = ask(click(visit(), "llama2.load_button"), "one two three")
    (meter,) = [node for node in at.main if node.type == "progress"]
    engine = shared().loaded()[0]
    assert meter.proto.text == f"Context: 8 of {engine.context_length} tokens"  # type: ignore[attr-defined]
    assert meter.proto.value == int(100 * 8 / engine.context_length)  # type: ignore[attr-defined]


def test_a_conversation_that_no_longer_fits_fills_the_meter(machine: list[Device]) -> None:
    at = click(visit(), "llama2.load_button")
    length = shared().loaded()[0].context_length  # type: ignore[attr-defined]
    for _ in range(2):
        at = ask(at, "word " * (length // 3))
    (meter,) = [node for node in at.main if node.type == "progress"]
    used = int(re.findall(r"\d+", meter.proto.text)[0])  # type: ignore[attr-defined]
    assert used > length and meter.proto.value == 100  # type: ignore[attr-defined]


def test_columns_of_the_same_name_are_all_shown() -> None:
    shown = _columns(Output("table", rows=(("a", "a", "b"), ("1", "2", "3"))))
    assert list(shown.values()) == [["1"], ["2"], ["3"]]
    assert [heading.rstrip("\u200b") for heading in shown] == ["a", "a", "b"]
