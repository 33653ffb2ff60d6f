"""Texts that are longer than any context: refused, or dropped, before a tokenizer or a template sees them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.chat.gguf_tokens import LONGEST_RUN, Vocabulary
from models.engines.base import LONGEST_TOKEN
from models.engines.gguf import GgufEngine
from models.errors import BadInput
from models.schema import ChatOptions, Checkpoint, Done, Placement
from tests.fakes.llama_cpp import Llama

CONTEXT = 64
LONG = "fox " * (CONTEXT * LONGEST_TOKEN // 3)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


@pytest.fixture
def llama() -> Iterator[Llama]:
    with Llama().listening() as llama:
        yield llama


@pytest.fixture
def engine(llama: Llama, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> GgufEngine:
    monkeypatch.setattr("xllamacpp.Server", llama)
    (tmp_path / "tiny.gguf").write_bytes(b"0123456789")
    where = Placement("cpu", "file", context=CONTEXT)
    return GgufEngine(tmp_path / "tiny.gguf", Checkpoint("tiny", "other", "chat", "gguf"), where)


@pytest.mark.parametrize(
    "messages, tools",
    [
        (LONG, ()),
        ([user(LONG)], ()),
        ([user("a"), {"role": "tool", "content": LONG}], ()),
        ([{"role": "system", "content": LONG}, user("a")], ()),
        ([user("a")], [{"name": "f", "description": LONG}]),
        ([user("a")], [{"name": "f", "parameters": {"type": "object", "properties": {LONG: {}}}}]),
        ([{"role": "user", "content": [{"type": "text", "text": LONG}]}], ()),
    ],
)
def test_what_cannot_fit_is_refused_unread(
    messages: Any, tools: Any, llama: Llama, engine: GgufEngine
) -> None:
    with pytest.raises(BadInput, match=r"takes \d+ tokens and the context holds 64"):
        list(engine.stream(messages, tools=tools))
    assert engine.count_tokens(messages, tools) > CONTEXT
    assert llama.posted == [] and llama.asked == []


def test_turns_that_cannot_fit_are_dropped_unread(llama: Llama, engine: GgufEngine) -> None:
    *_, done = engine.stream([user(LONG), {"role": "assistant", "content": "a"}, user("b")])
    assert isinstance(done, Done) and done.usage.dropped_messages == 2
    assert all(LONG not in str(body) for _, body, _ in llama.posted)


def test_the_bytes_of_a_picture_are_no_text(engine: GgufEngine) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": LONG}}]
    with pytest.raises(BadInput, match="text only"):
        engine.count_tokens([{"role": "user", "content": parts}])


# --- runs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("letter", ["a", "é", "是", "1", "!", "_", " ", "\n", "กิ", "😀"])
def test_long_runs_are_told_from_long_texts(letter: str) -> None:
    fragile = Vocabulary(reads_long_runs=False)
    assert fragile.reads(letter * 1000) and not fragile.reads(letter * (LONGEST_RUN + 1))
    assert fragile.reads(f"{letter * 100} a, 1\n" * 1000)
    assert Vocabulary().reads(letter * (LONGEST_RUN + 1))


RUN = "a" * (LONGEST_RUN + 1)  # fewer than the context could hold
CALL = {"type": "function", "id": "1", "function": {"name": "f", "arguments": {"a": RUN}}}


@pytest.mark.parametrize(
    "messages, tools",
    [
        (RUN, ()),
        ([user(RUN)], ()),
        ([user("a"), {"role": "assistant", "content": None, "tool_calls": [CALL]}], ()),
        ([user("a")], [{"name": "f", "description": RUN}]),
        ([user("a")], [{"name": "f", "parameters": {"type": "object", "properties": {RUN: {}}}}]),
    ],
    ids=["text", "message", "call", "tool", "parameter"],
)
def test_a_run_is_refused_wherever_it_stands(
    messages: Any, tools: Any, llama: Llama, engine: GgufEngine
) -> None:
    engine._vocabulary = Vocabulary(reads_long_runs=False)
    with pytest.raises(BadInput, match="in a row"):
        list(engine.stream(messages, tools=tools))
    assert llama.posted == [] and llama.asked == []


def write_bpe(path: Path, pre: str) -> Path:
    """A random LLaMA of one layer that llama.cpp loads, with a vocabulary of bytes and this pre-tokenizer."""
    from gguf import GGUFWriter
    from tokenizers import pre_tokenizers

    writer, size = GGUFWriter(path, "llama"), 32
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<|end|>"]
    writer.add_block_count(1)
    writer.add_context_length(512)
    writer.add_embedding_length(size)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_feed_forward_length(size)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(size // 2)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (len(tokens) - 1) + [3])
    writer.add_token_merges(["a a"])
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_add_bos_token(False)
    writer.add_chat_template("{% for m in messages %}<|end|>{{ m.content }}{% endfor %}")
    shapes = dict.fromkeys(
        ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"), (size, size)
    )
    matrices = {f"blk.0.{name}.weight": shape for name, shape in shapes.items()}
    matrices |= {"token_embd.weight": (len(tokens), size), "output.weight": (len(tokens), size)}
    random = np.random.default_rng(0)
    for name, shape in matrices.items():
        writer.add_tensor(name, random.standard_normal(shape).astype(np.float32))
    for name in ("blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"):
        writer.add_tensor(name, np.ones(size, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("pre", ["gpt-4o", "tekken", "deepseek-v3", "qwen2"])
def test_a_word_without_end_does_not_end_the_process(pre: str, tmp_path: Path) -> None:
    """24,000 letters overflow the stack in llama.cpp where std::regex reads them."""
    where = Placement("cpu", "file", context=512)
    engine = GgufEngine(
        write_bpe(tmp_path / "a.gguf", pre), Checkpoint("tiny", "other", "chat", "gguf"), where
    )
    options = ChatOptions(max_new_tokens=2, temperature=0.0)
    for given in ("a" * 24_000, [user("a" * 24_000)], [user("a"), {"role": "tool", "content": " " * 24_000}]):
        expected = "in a row" if pre != "qwen2" else r"takes \d+ tokens"
        with pytest.raises(BadInput, match=expected):
            list(engine.stream(given, options))
    assert isinstance(list(engine.stream([user("a <|end|>")], options))[-1], Done)
    assert engine.close_if_idle()
