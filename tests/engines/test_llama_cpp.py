"""What the llama.cpp engine asks of llama.cpp, and what it makes of the answers."""

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from models.engines.gguf import GgufEngine
from models.errors import BadInput, CheckpointCorrupt, EngineFailed
from models.schema import (
    ChatOptions,
    Checkpoint,
    Delta,
    Done,
    Placement,
    Prefill,
    Progress,
    Queued,
    ToolCall,
    Usage,
)
from tests.fakes.llama_cpp import Llama, called, ended, said
from tests.fakes.waiting import WAIT, until

FOX = [{"role": "user", "content": "the quick fox"}]
Open = Callable[..., GgufEngine]


@pytest.fixture
def llama() -> Iterator[Llama]:
    with Llama().listening() as llama:
        yield llama
        llama.go.set()


@pytest.fixture
def open_(llama: Llama, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Open:
    """An engine on the fake llama.cpp."""
    monkeypatch.setattr("xllamacpp.Server", llama)
    file = tmp_path / "tiny-Q4_0.gguf"
    file.write_bytes(b"0123456789")

    def engine(kind: Any = "chat", progress: Any = None, **placement: Any) -> GgufEngine:
        where = {"device": "cpu", "precision": "file", "context": 64} | placement
        return GgufEngine(file, Checkpoint("tiny", "other", kind, "gguf"), Placement(**where), progress)

    return engine


def in_thread(events: Iterator[Any]) -> tuple[threading.Thread, list[Any]]:
    heard: list[Any] = []
    thread = threading.Thread(
        target=lambda: heard.extend(iter(lambda: next(events, None), None)), daemon=True
    )
    thread.start()
    return thread, heard


# --- what is asked -------------------------------------------------------------------------------


def test_a_chat_is_asked_as_messages_and_a_text_as_a_prompt(llama: Llama, open_: Open) -> None:
    chat = open_()
    list(chat.stream(FOX))
    list(chat.stream("once upon"))
    assert [kind for kind, _ in llama.asked] == ["chat", "completions"]
    assert llama.asked[0][1]["messages"] == FOX and "prompt" not in llama.asked[0][1]
    assert llama.asked[1][1]["prompt"] == "once upon" and "messages" not in llama.asked[1][1]


def test_a_base_model_continues_the_texts_alone(llama: Llama, open_: Open) -> None:
    list(open_("completion").stream([*FOX, {"role": "assistant", "content": "jumps"}, *FOX]))
    kind, asked = llama.asked[0]
    assert (kind, asked["prompt"]) == ("completions", "the quick fox\njumps\nthe quick fox")


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (ChatOptions(seed=0), {"seed": 0}),
        (ChatOptions(seed=7), {"seed": 7}),
        (ChatOptions(top_k=0, top_p=0.0), {"top_k": -1, "top_p": 1e-6}),
        (ChatOptions(top_k=5, top_p=0.5, min_p=0.25), {"top_k": 5, "top_p": 0.5, "min_p": 0.25}),
        (ChatOptions(temperature=0.0, max_new_tokens=9), {"temperature": 0.0, "max_tokens": 9}),
        (ChatOptions(repetition_penalty=1.5), {"repeat_penalty": 1.5, "repetition_penalty": 1.5}),
        (ChatOptions(stop=("a", "b")), {"stop": ["a", "b"]}),
        (ChatOptions(), {"stream": True, "stream_options": {"include_usage": True}, "return_progress": True}),
    ],
)
def test_options_are_sent(options: ChatOptions, sent: dict[str, Any], llama: Llama, open_: Open) -> None:
    list(open_().stream("a", options))
    asked = llama.asked[0][1]
    assert {name: asked[name] for name in sent} == sent
    assert type(asked.get("seed")) is type(options.seed)
    assert ("seed" in asked) == (options.seed is not None)


def test_tokens_are_counted_as_llama_cpp_counts_them(llama: Llama, open_: Open) -> None:
    engine = open_()
    assert engine.count_tokens(FOX) == 4  # the role is one
    assert engine.count_tokens("two words") == 2
    paths = [path for path, *_ in llama.posted]
    assert paths == ["/apply-template", "/tokenize", "/tokenize"]
    assert llama.posted[0][1]["messages"] == FOX
    assert llama.posted[1][1] == {"content": "user the quick fox", "add_special": True, "parse_special": True}
    (key,) = llama.params.api_keys
    assert len(key) == 32 and {sent for *_, sent in llama.posted} == {f"Bearer {key}"}
    assert open_("completion").count_tokens(FOX) == 3


def test_a_refused_count_is_a_sentence(llama: Llama, open_: Open) -> None:
    engine = open_()
    llama.refusal = {"message": "no template", "type": "server_error"}
    with pytest.raises(EngineFailed, match=r"llama\.cpp refused the request: no template"):
        engine.count_tokens(FOX)


# --- what it is set up with ------------------------------------------------------------------------


def test_slots_share_the_context_and_placement_has_decided(llama: Llama, open_: Open) -> None:
    engine = open_(context=128, slots=3)
    params = llama.params
    assert (params.n_parallel, params.n_ctx, params.n_batch) == (3, 384, 128)
    assert (params.n_gpu_layers, params.fit_params, params.warmup) == (0, False, False)
    assert params.check_tensors and not params.endpoint_slots and not params.endpoint_metrics
    assert params.cache_ram_mib == 256
    assert engine.context_length == 128
    assert Path(params.model.path).name == "tiny-Q4_0.gguf"


@pytest.mark.parametrize(("physical", "threads"), [(6, 6), (None, 1)])
def test_a_thread_for_every_core(
    physical: int | None, threads: int, llama: Llama, open_: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 12 if logical else physical)
    open_()
    assert llama.params.cpuparams.n_threads == threads


def test_one_card_is_used_alone_and_several_together(llama: Llama, open_: Open) -> None:
    import xllamacpp

    alone = xllamacpp.llama_split_mode.LLAMA_SPLIT_MODE_NONE
    open_(device="cuda:1", devices=("cuda:1",))
    assert (llama.params.split_mode, llama.params.main_gpu) == (alone, 1)
    assert llama.params.n_gpu_layers > 100 and llama.params.n_batch == 512
    open_(device="cuda", devices=("cuda",))
    assert (llama.params.split_mode, llama.params.main_gpu) == (alone, 0)
    open_(device="cuda:0", devices=("cuda:0", "cuda:1"))
    assert llama.params.split_mode != alone


def test_the_report_says_what_was_loaded(open_: Open) -> None:
    report = open_().report
    assert (report.dtype, report.weights, dict(report.device_map)) == ("Q4_0", 10, {"model": "cpu"})
    assert report.seconds >= 0 and [note.en for note in report.notes] == ["memory-mapped, not copied"]


def test_it_has_answered_once_before_it_is_there(llama: Llama, open_: Open) -> None:
    told: list[Progress] = []
    open_(progress=told.append)
    assert told == [Progress("load", 0, 10)]
    (warm_up,) = llama.warmed_up
    assert warm_up["cache_prompt"] is False


def test_a_file_that_llama_cpp_refuses_is_a_sentence(open_: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(params: Any) -> None:
        raise RuntimeError("Failed to load the model")

    monkeypatch.setattr("xllamacpp.Server", refuse)
    with pytest.raises(CheckpointCorrupt, match=r"llama\.cpp cannot read tiny-Q4_0\.gguf"):
        open_()


# --- what comes back -------------------------------------------------------------------------------


def answer(llama: Llama, engine: GgufEngine, chunks: Sequence[Any], messages: Any = FOX) -> list[Any]:
    llama.chunks = chunks
    return list(engine.stream(messages, ChatOptions()))


def test_text_progress_and_figures(llama: Llama, open_: Open) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 5}}
    chunks = [
        {"prompt_progress": {"processed": 5, "total": 9}},
        said("the "), said(""), said("fox"),
        ended(usage=usage, timings={"predicted_per_second": 12.5}),
    ]  # fmt: skip
    prefill, first, second, done = answer(llama, open_(), chunks)
    assert (prefill, first, second) == (Prefill(5, 9), Delta("the "), Delta("fox"))
    assert done.finish_reason == "stop"
    assert (done.usage.prompt_tokens, done.usage.cached_tokens, done.usage.completion_tokens) == (9, 5, 2)
    assert done.usage.tokens_per_second == 12.5 and done.usage.dropped_messages == 0
    assert 0 <= done.usage.seconds_to_first_token < WAIT


def test_a_text_is_continued_from_chunks_of_its_own_form(llama: Llama, open_: Open) -> None:
    chunks = [{"choices": [{"text": "upon"}]}, {"choices": [{"text": "", "finish_reason": "length"}]}]
    text, done = answer(llama, open_(), chunks, "once")
    assert (text, done.finish_reason) == (Delta("upon"), "length")
    assert done.usage.completion_tokens == 1  # pieces, where nobody counts


def test_calls_come_whole_and_in_their_order(llama: Llama, open_: Open) -> None:
    chunks = [
        said("Let me see."), called(0, name="f", arguments='{"a"'), called(1, name="g"),
        called(0, arguments=": 1}"), called(1, arguments=""), ended("tool_calls"),
    ]  # fmt: skip
    text, first, second, done = answer(llama, open_(), chunks)
    assert (text, first) == (Delta("Let me see."), ToolCall("f", {"a": 1}, '{"a": 1}'))
    assert (second.name, dict(second.arguments), second.error) == ("g", {}, None)
    assert done.finish_reason == "tool_calls" and done.usage.completion_tokens == 5


def test_a_call_cut_off_by_the_limit_must_not_run(llama: Llama, open_: Open) -> None:
    chunks = [called(0, name="f", arguments="{}"), called(1, name="g", arguments="{}"), ended("length")]
    first, second, done = answer(llama, open_(), chunks)
    assert first.error is None and second.error is not None and done.finish_reason == "length"


def test_a_prompt_beyond_the_context_says_by_how_much(llama: Llama, open_: Open) -> None:
    error = {"type": "exceed_context_size_error", "n_prompt_tokens": 99, "n_ctx": 64, "message": "x"}
    with pytest.raises(BadInput, match="takes 99 tokens and the context holds 64"):
        answer(llama, open_(), [{"error": error}])
    with pytest.raises(EngineFailed, match=r"llama\.cpp refused the request: out of slots; change"):
        answer(llama, open_(), [said("a"), {"error": {"message": "out of slots.\nmore"}}])


@pytest.mark.parametrize("how", ["left", "stopped"])
def test_an_answer_that_nobody_wants_ends_in_llama_cpp_too(how: str, llama: Llama, open_: Open) -> None:
    llama.chunks = repeat(said("more "))
    engine, cancel = open_(), threading.Event()
    events = engine.stream(FOX, ChatOptions(), cancel)
    assert next(events) == Delta("more ") and llama.answering == 1
    if how == "left":
        events.close()  # type: ignore[attr-defined]
    else:
        cancel.set()
        *_, done = events
        assert isinstance(done, Done) and done.finish_reason == "cancelled"
    assert llama.answering == 0 and engine.active == 0


# --- the queue -------------------------------------------------------------------------------------


def test_who_finds_all_slots_taken_waits_for_one(llama: Llama, open_: Open) -> None:
    engine = open_(slots=2)
    llama.go.clear()
    busy = [in_thread(engine.stream(FOX)) for _ in range(2)]
    until(lambda: llama.answering == 2)
    waiting = engine.stream(FOX)
    assert next(waiting) == Queued(1)
    third, heard = in_thread(waiting)
    assert engine.active == 3 and len(llama.asked) == 2
    llama.go.set()
    for thread, _ in (*busy, (third, heard)):
        thread.join(WAIT)
    assert [type(event) for event in heard] == [Delta, Done] and len(llama.asked) == 3


def test_who_gives_up_in_the_queue_asks_nothing(llama: Llama, open_: Open) -> None:
    engine, cancel = open_(), threading.Event()
    llama.go.clear()
    thread, _ = in_thread(engine.stream(FOX))
    until(lambda: llama.answering == 1)
    waiting = engine.stream(FOX, cancel=cancel)
    assert next(waiting) == Queued(1)
    cancel.set()
    assert list(waiting) == [Done("cancelled", Usage())]
    assert len(llama.asked) == 1 and engine.active == 1
    llama.go.set()
    thread.join(WAIT)
