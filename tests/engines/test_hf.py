"""The transformers engine on tiny random checkpoints."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from models.engines.hf import HfEngine
from models.errors import (
    BadInput,
    Cancelled,
    CheckpointCorrupt,
    DoesNotFit,
    EngineClosed,
    EngineFailed,
    UnsupportedCheckpoint,
)
from models.schema import ChatOptions, Delta, Done, Progress, Queued
from tests.fakes.hf_engine import HELLO, answer, load
from tests.fakes.tiny_models import as_bin, save_gemma, save_llama
from tests.fakes.waiting import WAIT


def same_text(engine: HfEngine, ids: list[int], shown: str) -> bool:
    """`shown` is the text of `ids`, but for an unfinished character at the end."""
    whole = engine.tokenizer.decode(ids, skip_special_tokens=True)
    rest = whole.removeprefix(shown)
    return bool(shown) and whole.startswith(shown) and (not rest or (rest.endswith("�") and len(rest) < 8))


def bare(engine: HfEngine, prompt: list[int], **options: Any) -> list[int]:
    """New ids from transformers' own `generate`, without anything of ours."""
    import torch

    ids = torch.tensor([prompt])
    made = engine.model.generate(
        ids, attention_mask=torch.ones_like(ids), eos_token_id=1, pad_token_id=1, **options
    )
    return [int(token) for token in made[0, len(prompt) :]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def engine(folder: Path) -> HfEngine:
    return load(folder)


@pytest.fixture
def fresh(folder: Path) -> HfEngine:
    return load(folder)


def copy_of(folder: Path, to: Path) -> Path:
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


# --- loading -----------------------------------------------------------------------------------


@pytest.mark.parametrize("precision, size", [("fp32", 4), ("bf16", 2), ("fp16", 2)])
def test_report_is_measured(folder: Path, precision: str, size: int) -> None:
    engine = load(folder, precision)
    weights = sum(p.numel() for p in engine.model.parameters()) * size
    assert weights <= engine.report.weights < weights * 1.01  # rotary frequencies are buffers
    assert engine.report.dtype == {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[precision]
    assert engine.report.device_map == {"": "cpu"}
    assert engine.report.notes == ()


def test_bin_and_shards_answer_like_safetensors(engine: HfEngine, tmp_path: Path) -> None:
    expected = answer(engine)[0]
    assert answer(load(as_bin(save_llama(tmp_path / "bin"))))[0] == expected
    shards = save_llama(tmp_path / "shards", shard="300KB")
    assert len(list(shards.glob("*.safetensors"))) > 2
    assert answer(load(shards))[0] == expected


def test_progress_counts_tensors(folder: Path) -> None:
    seen: list[Progress] = []
    engine = load(folder, progress=seen.append)
    assert {step.stage for step in seen} == {"load"}
    assert seen[-1].done == seen[-1].total == len(engine.model.state_dict())
    assert [step.done for step in seen] == list(range(len(seen)))


def test_cancel_stops_a_load(folder: Path) -> None:
    cancel, seen = threading.Event(), []

    def progress(step: Progress) -> None:
        seen.append(step)
        cancel.set()

    with pytest.raises(Cancelled):
        load(folder, progress=progress, cancel=cancel)
    assert len(seen) == 1


def test_truncated_shard_is_named(tmp_path: Path) -> None:
    shards = sorted(save_llama(tmp_path, shard="300KB").glob("*.safetensors"))
    shards[1].write_bytes(shards[1].read_bytes()[:-1000])
    with pytest.raises(CheckpointCorrupt, match=shards[1].name):
        load(tmp_path)


def test_corrupt_header_is_named(folder: Path, tmp_path: Path) -> None:
    file = copy_of(folder, tmp_path) / "model.safetensors"
    file.write_bytes(b"\xff" * 8 + file.read_bytes()[8:])
    with pytest.raises(CheckpointCorrupt, match=r"model\.safetensors is damaged"):
        load(tmp_path)


def test_truncated_bin_is_named(tmp_path: Path) -> None:
    file = as_bin(save_llama(tmp_path)) / "pytorch_model.bin"
    file.write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(CheckpointCorrupt, match=r"pytorch_model\.bin"):
        load(tmp_path)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran-code-of-the-checkpoint"),)


def test_bin_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    torch.save({"model.norm.weight": Evil()}, as_bin(save_llama(tmp_path)) / "pytorch_model.bin")
    with pytest.raises(CheckpointCorrupt):
        load(tmp_path)
    assert not Path("ran-code-of-the-checkpoint").exists()


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("change", ["missing", "unexpected", "other shape"])
def test_wrong_weights_are_refused(folder: Path, tmp_path: Path, change: str, precision: str) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    file = copy_of(folder, tmp_path) / "model.safetensors"
    weights, name = load_file(file), "model.layers.1.mlp.up_proj.weight"
    if change == "missing":
        del weights[name]
    elif change == "unexpected":
        weights["model.layers.1.mlp.side_proj.weight"] = torch.ones(4, 4)
    else:
        weights[name] = torch.ones(128, 128)
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointCorrupt, match="up_proj|side_proj|cannot be loaded"):
        load(tmp_path, precision)


def test_unknown_architecture(folder: Path, tmp_path: Path) -> None:
    config = copy_of(folder, tmp_path) / "config.json"
    config.write_text(json.dumps({"model_type": "nobody-knows", "architectures": ["Nobody"]}))
    with pytest.raises(UnsupportedCheckpoint, match="nobody-knows"):
        load(tmp_path)


def test_remote_code_is_not_run(folder: Path, tmp_path: Path) -> None:
    config = copy_of(folder, tmp_path) / "config.json"
    remote = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    config.write_text(json.dumps({"model_type": "own", "auto_map": remote}))
    (tmp_path / "evil.py").write_text("raise SystemExit('code of the checkpoint ran')")
    with pytest.raises(UnsupportedCheckpoint):
        load(tmp_path)


def test_broken_config(folder: Path, tmp_path: Path) -> None:
    (copy_of(folder, tmp_path) / "config.json").write_text('{"model_type": ')
    with pytest.raises(CheckpointCorrupt, match=r"config\.json"):
        load(tmp_path)


def test_missing_tokenizer(folder: Path, tmp_path: Path) -> None:
    copy_of(folder, tmp_path)
    for file in tmp_path.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(CheckpointCorrupt, match="tokenizer"):
        load(tmp_path)


def test_out_of_memory_while_loading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import LlamaForCausalLM

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes")

    monkeypatch.setattr(LlamaForCausalLM, "from_pretrained", fail)
    with pytest.raises(DoesNotFit, match="int8 or int4, a shorter context, or a smaller checkpoint"):
        load(folder)


# --- text --------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [save_llama, save_gemma])
def test_greedy_equals_bare_generate(save: Any, tmp_path: Path) -> None:
    engine = load(save(tmp_path))
    prompt = engine._prompt(HELLO)
    ids = bare(engine, prompt, do_sample=False, max_new_tokens=24)
    text, done = answer(engine)
    assert same_text(engine, ids, text)
    assert done.usage.completion_tokens == len(ids)
    assert done.usage.prompt_tokens == len(prompt) == engine.count_tokens(HELLO)
    assert answer(engine)[0] == text


def test_stream_equals_decode_character_by_character(engine: HfEngine) -> None:
    from models.pretrained.generation import TextStream

    text = "Naïve 🚀 好的，今天去公园 😀 ok"
    ids = engine.tokenizer(text)["input_ids"]
    assert len(ids) > len(text)  # several tokens to a character
    stream = TextStream(engine.tokenizer.backend_tokenizer)
    pieces = [stream.push(token) for token in ids]
    assert "".join(pieces) == text
    assert "�" not in "".join(pieces)


def test_half_a_character_at_the_end_is_not_shown(engine: HfEngine) -> None:
    from models.pretrained.generation import TextStream

    ids = engine.tokenizer("ok🦜")["input_ids"]
    stream = TextStream(engine.tokenizer.backend_tokenizer)
    assert "".join(stream.push(token) for token in ids[:-1]) + stream.flush() == "ok"


@pytest.mark.parametrize(
    "stop, end",
    [(("brown fox",), "brown fox"), (("zzz", "fox"), "fox"), (("x ju", "brown fox jumps"), "x ju")],
)
def test_stop_text_never_shows(engine: HfEngine, stop: tuple[str, ...], end: str) -> None:
    from models.pretrained.generation import TextStream

    text = "The quick brown fix and brown fox jumps over"
    stream = TextStream(engine.tokenizer.backend_tokenizer, stop)
    shown = ""
    for letter in text:  # a token for every letter: what comes first in time decides
        shown += stream.push(engine.tokenizer(letter)["input_ids"][0])
        if stream.stopped:
            break
    assert shown + stream.flush() == text[: text.find(end)]


def test_held_back_text_is_shown_when_no_stop_comes(engine: HfEngine) -> None:
    from models.pretrained.generation import TextStream

    stream = TextStream(engine.tokenizer.backend_tokenizer, ("brown fox jumps",))
    shown = "".join(stream.push(token) for token in engine.tokenizer("The quick brown fox")["input_ids"])
    assert shown == "The quick "
    assert shown + stream.flush() == "The quick brown fox"


def test_answer_ends_before_a_stop_text(engine: HfEngine) -> None:
    text, _ = answer(engine)
    stop = text[6:9]
    short, done = answer(engine, options=ChatOptions(max_new_tokens=24, temperature=0.0, stop=(stop,)))
    assert short == text[: text.find(stop)]
    assert done.finish_reason == "stop"


# --- options -----------------------------------------------------------------------------------


def test_length_and_stop_reasons(engine: HfEngine) -> None:
    _, done = answer(engine, options=ChatOptions(max_new_tokens=5, temperature=0.0))
    assert (done.finish_reason, done.usage.completion_tokens) == ("length", 5)
    ids = bare(engine, engine._prompt(HELLO), do_sample=False, max_new_tokens=24)
    engine_ids, engine._end_ids = engine._end_ids, (ids[3],)
    try:
        _, done = answer(engine)
    finally:
        engine._end_ids = engine_ids
    assert (done.finish_reason, done.usage.completion_tokens) == ("stop", ids.index(ids[3]) + 1)


def test_near_zero_temperature_is_greedy(engine: HfEngine) -> None:
    assert answer(engine, options=ChatOptions(max_new_tokens=24, temperature=1e-6))[0] == answer(engine)[0]


def test_sampling_is_transformers_own(engine: HfEngine) -> None:
    """The same seed and options draw what `generate(do_sample=True)` draws."""
    import torch

    wanted = {"temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.02, "repetition_penalty": 1.1}
    torch.manual_seed(7)
    ids = bare(engine, engine._prompt(HELLO), do_sample=True, max_new_tokens=24, **wanted)
    text, done = answer(engine, options=ChatOptions(max_new_tokens=24, seed=7, **wanted))
    assert same_text(engine, ids, text)
    assert done.usage.completion_tokens == len(ids)


def test_seeds_reproduce_whatever_others_draw(engine: HfEngine) -> None:
    import torch

    options = ChatOptions(max_new_tokens=24, temperature=1.0, top_k=0, top_p=1.0, seed=3)
    first = answer(engine, options=options)[0]
    stream = engine.stream(HELLO, options)
    parts = []
    for event in stream:
        torch.rand(5)  # another session using the process-wide random state
        parts += [event.text] if isinstance(event, Delta) else []
    assert "".join(parts) == first
    other = ChatOptions(max_new_tokens=24, temperature=1.0, top_k=0, top_p=1.0, seed=4)
    assert answer(engine, options=other)[0] != first


def test_nothing_is_inherited_from_the_checkpoint(folder: Path, tmp_path: Path) -> None:
    file = copy_of(folder, tmp_path) / "generation_config.json"
    file.write_text(
        json.dumps({"do_sample": True, "temperature": 2.0, "repetition_penalty": 3.0, "eos_token_id": [1, 3]})
    )
    engine = load(tmp_path)
    assert engine._end_ids == (1, 3)
    assert answer(engine)[0] == answer(load(folder))[0]


# --- prompts -----------------------------------------------------------------------------------


def test_system_is_folded_where_the_template_has_none(tmp_path: Path, engine: HfEngine) -> None:
    messages = [{"role": "system", "content": "Be brief."}, *HELLO]
    gemma = load(save_gemma(tmp_path))
    assert gemma.tokenizer.decode(gemma._prompt(messages)).startswith(
        "<|im_start|>user\nBe brief.\n\nThe quick"
    )
    assert engine.tokenizer.decode(engine._prompt(messages)).startswith("<|im_start|>system\nBe brief.")


def test_a_template_that_knows_tools_gets_them(tmp_path: Path) -> None:
    template = "{{ tools | tojson }}{% for m in messages %}{% for c in m.tool_calls %}" + (
        "{{ c.function.arguments | tojson }}{% endfor %}{{ m.content }}{% endfor %}"
    )
    engine = load(save_llama(tmp_path, template=template))
    tools = [{"type": "function", "function": {"name": "f"}}]
    calls = [{"function": {"name": "f", "arguments": written}} for written in ('{"a": 1}', {"b": 2}, "{c")]
    said = [*HELLO, {"role": "assistant", "content": None, "tool_calls": calls}]
    shown = engine.tokenizer.decode(engine._prompt(said, tools))
    assert shown.startswith('[{"type": "function", "function": {"name": "f"}}]')
    assert shown.endswith('{"a": 1}{"b": 2}"{c"')
    assert engine.count_tokens(said, tools) == len(engine._prompt(said, tools)) > engine.count_tokens(said)


def test_template_refusal_is_bad_input(tmp_path: Path) -> None:
    gemma = load(save_gemma(tmp_path))
    with pytest.raises(BadInput, match="turns must alternate"):
        list(gemma.stream([*HELLO, {"role": "assistant", "content": "Hi"}, {"role": "tool", "content": "1"}]))


def test_base_model_continues_text(tmp_path: Path) -> None:
    base = load(save_llama(tmp_path, template=None))
    assert not base.has_chat_template
    prompt = base.tokenizer("The quick")["input_ids"]
    assert base._prompt("The quick") == base._prompt([{"role": "user", "content": "The quick"}]) == prompt
    ids = bare(base, prompt, do_sample=False, max_new_tokens=24)
    assert same_text(base, prompt + ids, "The quick" + answer(base, "The quick")[0])


def test_content_parts(engine: HfEngine) -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "The quick brown fox"}]}]
    assert engine._prompt(parts) == engine._prompt(HELLO)
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    with pytest.raises(BadInput, match="text only"):
        list(engine.stream([{"role": "user", "content": [image]}]))


def test_context_bounds_prompt_and_answer(folder: Path) -> None:
    engine = load(folder, context=40)
    assert engine.context_length == 40
    room = 40 - engine.count_tokens(HELLO)
    text, done = answer(engine, options=ChatOptions(max_new_tokens=100, temperature=0.0))
    assert done.usage.completion_tokens == room
    with pytest.raises(BadInput, match="holds 40"):
        list(engine.stream("fox " * 40))


# --- sessions ----------------------------------------------------------------------------------

LONG = ChatOptions(max_new_tokens=150, temperature=0.0)


def steps(engine: HfEngine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of tokens in every forward call from now on."""
    calls: list[int] = []
    forward = engine.model.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(kwargs["input_ids"].shape[1])
        return forward(*args, **kwargs)

    monkeypatch.setattr(engine.model, "forward", counted)
    return calls


def test_cancel_frees_the_slot_within_a_token(fresh: HfEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = steps(fresh, monkeypatch)
    cancel = threading.Event()
    events = fresh.stream(HELLO, LONG, cancel)
    next(events)
    cancel.set()
    made = len(calls)
    rest = list(events)
    assert rest[-1].finish_reason == "cancelled"
    assert len(calls) <= made + 2  # the token at hand, and one that began before the event was seen
    assert fresh.active == 0
    assert answer(fresh)[1].finish_reason == "length"


def test_abandoned_stream_frees_the_slot(fresh: HfEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = steps(fresh, monkeypatch)
    events = fresh.stream(HELLO, LONG)
    next(events)
    events.close()
    made = len(calls)
    assert fresh.active == 0
    assert answer(fresh)[1].finish_reason == "length"
    assert made < 150


def test_cancel_stops_reading_a_long_prompt(fresh: HfEngine) -> None:
    cancel = threading.Event()
    layers = fresh.model.model.layers
    layers[0].register_forward_hook(lambda *_: cancel.set())
    layers[-1].register_forward_pre_hook(lambda *_: pytest.fail("the last layer was reached"), prepend=True)
    events = fresh.stream([{"role": "user", "content": "fox " * 60}], LONG, cancel)
    (done,) = list(events)
    assert done.finish_reason == "cancelled"


def test_sessions_wait_in_line_and_never_mix(fresh: HfEngine) -> None:
    other = [{"role": "user", "content": "今天天气很好"}]
    expected = {"a": answer(fresh, HELLO, LONG)[0], "b": answer(fresh, other, LONG)[0]}
    got: dict[str, list[Any]] = {}
    events = fresh.stream(HELLO, LONG)
    first = next(events)
    waiting = threading.Event()

    def second() -> None:
        got["b"] = []
        for event in fresh.stream(other, LONG):
            got["b"].append(event)
            waiting.set()

    thread = threading.Thread(target=second, daemon=True)
    thread.start()
    assert waiting.wait(WAIT)
    assert got["b"] == [Queued(1)]
    got["a"] = [first, *events]
    thread.join(WAIT)
    for name, text in expected.items():
        assert "".join(e.text for e in got[name] if isinstance(e, Delta)) == text


def test_failure_in_the_model_reaches_the_caller(fresh: HfEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, left = fresh.model.forward, iter(range(4))

    def fails(*args: Any, **kwargs: Any) -> Any:
        if next(left, None) is None:
            raise ArithmeticError("a layer broke")
        return forward(*args, **kwargs)

    monkeypatch.setattr(fresh.model, "forward", fails)
    with pytest.raises(EngineFailed, match="a layer broke") as caught:
        list(fresh.stream(HELLO, LONG))
    assert isinstance(caught.value.__cause__, ArithmeticError)
    monkeypatch.undo()
    assert fresh.active == 0
    assert answer(fresh)[1].usage.cached_tokens == 0


def test_out_of_memory_while_answering(fresh: HfEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def fails(*args: Any, **kwargs: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(fresh.model, "forward", fails)
    with pytest.raises(DoesNotFit):
        list(fresh.stream(HELLO))


def test_closed_engine_refuses(fresh: HfEngine) -> None:
    assert fresh.close_if_idle()
    assert fresh.model is None
    with pytest.raises(EngineClosed):
        list(fresh.stream(HELLO))


# --- prefix cache ------------------------------------------------------------------------------


def conversation(engine: HfEngine, turns: int, forget: bool = False) -> tuple[list[str], list[Done]]:
    messages: list[dict[str, str]] = []
    answers, dones = [], []
    for turn in range(turns):
        messages.append({"role": "user", "content": f"fox number {turn}"})
        if forget:
            engine._prefix.clear()
        text, done = answer(engine, messages, ChatOptions(max_new_tokens=12, temperature=0.0))
        messages.append({"role": "assistant", "content": text})
        answers.append(text)
        dones.append(done)
    return answers, dones


@pytest.mark.parametrize("save", [save_llama, save_gemma])
def test_cached_prefix_changes_nothing(save: Any, tmp_path: Path) -> None:
    engine = load(save(tmp_path))
    plain, _ = conversation(engine, 5, forget=True)
    engine._prefix.clear()
    cached, dones = conversation(engine, 5)
    assert cached == plain
    assert dones[0].usage.cached_tokens == 0
    assert dones[1].usage.cached_tokens > 0


def test_later_turns_read_only_what_is_new(fresh: HfEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = steps(fresh, monkeypatch)
    _, dones = conversation(fresh, 6)
    usage = dones[-1].usage
    read = max(calls[-usage.completion_tokens :])
    assert read == usage.prompt_tokens - usage.cached_tokens
    assert read < usage.prompt_tokens / 3


def test_a_full_window_is_not_reused(tmp_path: Path) -> None:
    engine = load(save_gemma(tmp_path))
    long = [{"role": "user", "content": "fox " * 60}]  # beyond the window of 64
    first, _ = answer(engine, long)
    again, done = answer(engine, long)
    assert again == first
    assert done.usage.cached_tokens == 0


def test_a_stopped_answer_keeps_its_prefix(fresh: HfEngine) -> None:
    cancel = threading.Event()
    for _ in fresh.stream(HELLO, LONG, cancel):
        cancel.set()
    _, done = answer(fresh)
    assert done.usage.cached_tokens == done.usage.prompt_tokens - 1
