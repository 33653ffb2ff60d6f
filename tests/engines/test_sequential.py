"""What stands between a transformers model and its answers: ends, calls, figures, and what is kept."""

import gc
import json
import weakref
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from threading import Event as Flag
from types import SimpleNamespace
from typing import Any

import pytest

from models.chat.request import ChatRequest
from models.engines.hf import HfEngine
from models.errors import BadInput
from models.pretrained.generation import PrefixCache, TextStream
from models.schema import ChatOptions, Checkpoint, Done, Event, Placement, ToolCall
from tests.fakes.dictated import dictate
from tests.fakes.hf_engine import GREEDY, HELLO, answer, load
from tests.fakes.tiny_models import save_llama

CALLS = (ToolCall("first", {"a": 1}, "…"), ToolCall("second", {"b": 2}, "…"))


class CallingEngine(HfEngine):
    """Whatever its model writes, two tools are called in it."""

    def _text(self, prompt: list[int], request: ChatRequest, continues: bool) -> TextStream:
        class Calling(TextStream):
            calls = CALLS

        return Calling(self.tokenizer.backend_tokenizer, request.options.stop)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def calling(folder: Path) -> CallingEngine:
    checkpoint = Checkpoint("tiny", "llama2", "chat", "transformers")
    return CallingEngine(folder, checkpoint, Placement("cpu", "fp32"))


@pytest.fixture
def engine(folder: Path) -> HfEngine:
    return load(folder)


def ended(events: list[Event]) -> tuple[list[ToolCall], Done]:
    done = events[-1]
    assert isinstance(done, Done)
    return [event for event in events if isinstance(event, ToolCall)], done


# --- calls -----------------------------------------------------------------------------------------


def test_calls_of_a_stopped_answer_do_not_run(calling: CallingEngine) -> None:
    cancel, events = Flag(), []
    for event in calling.stream(HELLO, ChatOptions(max_new_tokens=200, temperature=0.0), cancel):
        events.append(event)
        cancel.set()
    calls, done = ended(events)
    assert (calls, done.finish_reason) == ([], "cancelled")


def test_calls_of_a_whole_answer_do(calling: CallingEngine) -> None:
    text = answer(calling)[0]
    events = list(calling.stream(HELLO, ChatOptions(temperature=0.0, stop=(text[3:6],))))
    calls, done = ended(events)
    assert (calls, done.finish_reason) == (list(CALLS), "tool_calls")
    assert done.usage.completion_tokens > 0


def test_the_last_call_of_an_answer_that_was_cut_must_not_run(calling: CallingEngine) -> None:
    (first, last), done = ended(list(calling.stream(HELLO, GREEDY)))
    assert (first, done.finish_reason) == (CALLS[0], "length")
    assert last.name == "second" and last.error is not None and dict(last.arguments) == {}


# --- ends ------------------------------------------------------------------------------------------


def test_every_end_that_a_file_names_is_one(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    for name, ends in (("generation_config.json", [70, 71]), ("config.json", 72)):
        found = json.loads((tmp_path / name).read_text())
        (tmp_path / name).write_text(json.dumps(found | {"eos_token_id": ends}))
    engine = load(tmp_path)
    for end in (70, 71, 72, engine.tokenizer.eos_token_id):
        dictate(engine.model, [80, end, 81])
        text, done = answer(engine)
        assert (done.finish_reason, done.usage.completion_tokens) == ("stop", 2)
        assert text == engine.tokenizer.decode([80])
    dictate(engine.model, [80, 81])
    assert answer(engine)[1].finish_reason == "length"


def test_an_answer_takes_no_more_than_the_context_has_left(folder: Path) -> None:
    engine = load(folder, context=20)
    prompt = engine.count_tokens("fox")
    done = answer(engine, "fox", ChatOptions(max_new_tokens=500, temperature=0.0))[1]
    assert (done.finish_reason, done.usage.completion_tokens) == ("length", 20 - prompt)
    full = "fox" * 200
    tokens = engine.count_tokens(full)
    for context, fits in ((tokens, False), (tokens + 1, True)):
        engine.context_length = context
        if fits:
            assert answer(engine, full, GREEDY)[1].usage.completion_tokens == 1
        else:
            with pytest.raises(BadInput, match=f"takes {tokens} tokens and the context holds {context}"):
                answer(engine, full, GREEDY)


@pytest.mark.parametrize(("placed", "trained", "length"), [(0, 512, 512), (100, 512, 100), (900, 512, 512)])
def test_the_context_is_the_shorter_of_what_was_asked_and_trained(
    placed: int, trained: int, length: int, folder: Path
) -> None:
    assert load(folder, context=placed).context_length == length


def test_an_answer_stopped_before_it_began_costs_nothing(engine: HfEngine) -> None:
    cancel = Flag()
    cancel.set()
    (done,) = engine.stream(HELLO, GREEDY, cancel)
    assert isinstance(done, Done) and done.finish_reason == "cancelled"
    assert (done.usage.completion_tokens, done.usage.cached_tokens) == (0, 0)
    assert done.usage.prompt_tokens == engine.count_tokens(HELLO)


# --- figures ---------------------------------------------------------------------------------------


def test_figures_count_the_steps_between_the_tokens(
    engine: HfEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock that goes on by half a second whenever it is looked at: at the start, and at each token."""
    ticks = count()
    clock = SimpleNamespace(monotonic=lambda: next(ticks) / 2)
    monkeypatch.setattr("models.engines.sequential.time", clock)
    usage = answer(engine, HELLO, ChatOptions(max_new_tokens=5, temperature=0.0))[1].usage
    assert (usage.completion_tokens, usage.seconds_to_first_token) == (5, 0.5)
    assert usage.tokens_per_second == 2.0
    usage = answer(engine, HELLO, ChatOptions(max_new_tokens=1, temperature=0.0))[1].usage
    assert (usage.completion_tokens, usage.tokens_per_second) == (1, 0.0)


# --- what is kept ------------------------------------------------------------------------------------


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Weak references to all states that were kept."""
    found: list[Any] = []
    keep = PrefixCache.keep

    def watched(own: PrefixCache, cache: Any, ids: Any) -> None:
        found.append(weakref.ref(cache))
        keep(own, cache, ids)

    monkeypatch.setattr(PrefixCache, "keep", watched)
    yield found


def test_an_unloaded_engine_keeps_neither_weights_nor_states(engine: HfEngine, kept: list[Any]) -> None:
    answer(engine)
    model = weakref.ref(engine.model)
    gc.collect()
    assert model() is not None and kept[-1]() is not None
    assert engine.close_if_idle()
    gc.collect()
    assert model() is None and kept[-1]() is None


def test_states_that_cannot_be_continued_are_not_kept(engine: HfEngine, kept: list[Any]) -> None:
    engine.reuses_prefix = False
    answer(engine)
    assert kept == []
    assert answer(engine)[1].usage.cached_tokens == 0


def test_states_of_an_answer_that_failed_are_not_kept(
    engine: HfEngine, kept: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = engine.model.forward

    def broken(*arguments: Any, **named: Any) -> Any:
        if named["input_ids"].shape[1] == 1:
            raise RuntimeError("no more")
        return forward(*arguments, **named)

    monkeypatch.setattr(engine.model, "forward", broken)
    with pytest.raises(Exception, match="failed while answering"):
        answer(engine)
    assert kept == []


def test_the_report_names_the_cards_that_layers_are_spread_over(engine: HfEngine) -> None:
    assert engine.report.device_map == {"": "cpu"}
    engine.model.hf_device_map = {"model.embed_tokens": 0, "model.layers.1": 1, "lm_head": "cpu"}
    spread = {"model.embed_tokens": "cuda:0", "model.layers.1": "cuda:1", "lm_head": "cpu"}
    assert engine._report(1.0).device_map == spread
