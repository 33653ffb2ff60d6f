"""What the table says of published checkpoints, against what their makers publish.

A new row need not be here: `test_names` holds every row to what has to agree within it.
"""

from typing import Any

import pytest

from models.catalog import CHECKPOINTS
from models.languages import LANGUAGES

# Intermediate size, and attention heads where they are not hidden / head_dim.
LLAMA = {"llama-2-7b-chat": (11008, 32), "llama-2-13b-chat": (13824, 40)}
GEMMA = {
    "gemma-2b": (16384, 8),
    "gemma-2b-it": (16384, 8),
    "gemma-7b-it": (24576, 16),
    "gemma-2-2b-it": (9216, 8),
    "gemma-3-270m": (2048, 4),
    "gemma-3-270m-it": (2048, 4),
    "gemma-3-1b-it": (6912, 4),
}
# Tokens that a conversation may hold.
CONTEXT = {
    1024: {"chatglm3-tiny"},
    2048: {"chatglm-6b", "chatglm-6b-int4", "chatglm-6b-int8", "qwen-vl-tiny"},
    4096: {"llama-2-7b-chat", "llama-2-13b-chat"},
    8192: {
        "chatglm3-6b", "chatglm3-6b-base", "qwen-vl-chat", "qwen-vl-chat-int4", "qwen-vl", "qwen-7b-chat",
        "qwen-7b-chat-int4", "smollm2-135m-instruct", "gemma-2b", "gemma-2b-it", "gemma-2-2b-it", "gemma-7b-it",
    },
    32768: {
        "chatglm3-6b-32k", "qwen2.5-coder-1.5b-instruct", "gemma-3-270m", "gemma-3-270m-it", "gemma-3-1b-it",
    },
}  # fmt: skip
GATED = {
    "llama-2-7b-chat", "llama-2-13b-chat", "gemma-2b", "gemma-2b-it", "gemma-2-2b-it", "gemma-7b-it",
    "gemma-3-270m-it", "gemma-3-1b-it",
}  # fmt: skip
COMPLETION = {"chatglm3-6b-base", "gemma-3-270m", "gemma-2b"}
# Temperature, top p, top k, longest answer.
SAMPLING: dict[str, tuple[Any, ...]] = {
    "chatglm3-6b": (0.8, 0.8, None, 2048),
    "chatglm3-6b-base": (0.8, 0.8, None, 2048),
    "chatglm3-6b-32k": (0.8, 0.8, None, 2048),
    "chatglm3-tiny": (0.1, 0.8, None, 256),
    "chatglm-6b": (0.95, 0.7, None, 1024),
    "chatglm-6b-int4": (0.95, 0.7, None, 1024),
    "chatglm-6b-int8": (0.95, 0.7, None, 1024),
    "qwen-vl-tiny": (0.0, None, None, 512),
    "qwen-vl-chat": (1.0, 0.3, 0, 512),
    "qwen-vl": (1.0, 0.3, 0, 512),
    "qwen-vl-chat-int4": (1.0, 0.5, 0, 512),
    "qwen-7b-chat": (1.0, 0.8, 0, 512),
    "qwen-7b-chat-int4": (1.0, 0.8, 0, 512),
    "smollm2-135m-instruct": (0.1, 0.9, None, None),
    "qwen2.5-coder-1.5b-instruct": (0.7, 0.8, 20, None),
    **dict.fromkeys(LLAMA, (0.6, 0.9, None, 1024)),
    **dict.fromkeys(GEMMA, (1.0, 0.95, 64, 1024)),
}


WHISPERS = ("base", "tiny.en", "tiny.en-pt", "tiny", "base.en", "small", "small.en", "medium", "medium.en",
            "large-v1", "large-v2", "large-v3", "turbo")  # fmt: skip
# The rows that this file knows about.
PUBLISHED = [
    CHECKPOINTS[name]
    for name in (
        *(name for names in CONTEXT.values() for name in names),
        *(f"whisper-{size}" for size in WHISPERS),
    )
]


def shape(name: str) -> Any:
    return CHECKPOINTS[name].shape


@pytest.mark.parametrize("name", LLAMA)
def test_parameters_of_a_llama(name: str) -> None:
    its, (inner, heads) = shape(name), LLAMA[name]
    assert its.kv_heads == heads and its.head_dim * heads == its.hidden and not its.tied
    layer = 4 * its.hidden**2 + 3 * its.hidden * inner + 2 * its.hidden
    assert CHECKPOINTS[name].parameters == 2 * its.vocab * its.hidden + its.layers * layer + its.hidden


@pytest.mark.parametrize("name", GEMMA)
def test_parameters_of_a_gemma(name: str) -> None:
    its, (inner, heads) = shape(name), GEMMA[name]
    attention = its.hidden * its.head_dim * 2 * (heads + its.kv_heads)
    newer = name.startswith(("gemma-2-", "gemma-3"))
    norms = (4 if newer else 2) * its.hidden + (2 * its.head_dim if name.startswith("gemma-3") else 0)
    layer = attention + 3 * its.hidden * inner + norms
    assert its.tied
    assert CHECKPOINTS[name].parameters == its.vocab * its.hidden + its.layers * layer + its.hidden


@pytest.mark.parametrize(
    ("name", "window", "whole"),
    [
        ("gemma-2-2b-it", 4096, 13), ("gemma-3-270m", 512, 3), ("gemma-3-270m-it", 512, 3),
        ("gemma-3-1b-it", 512, 4), ("gemma-2b", None, None), ("llama-2-7b-chat", None, None),
        ("qwen2.5-coder-1.5b-instruct", None, None),
    ],
)  # fmt: skip
def test_layers_with_a_window(name: str, window: int | None, whole: int | None) -> None:
    assert (shape(name).window, shape(name).global_layers) == (window, whole)


def test_the_context_of_every_text_model() -> None:
    for length, names in CONTEXT.items():
        assert {name: CHECKPOINTS[name].context_length for name in names} == dict.fromkeys(names, length)


def test_what_has_to_be_asked_for_and_what_only_continues() -> None:
    assert {row.name for row in PUBLISHED if row.gated} == GATED
    assert {row.name for row in PUBLISHED if row.kind == "completion"} == COMPLETION


def test_how_each_is_sampled() -> None:
    wanted = ("temperature", "top_p", "top_k", "max_new_tokens")
    told = {row.name: tuple(map(row.options.get, wanted)) for row in PUBLISHED if row.options}
    assert told == SAMPLING
    penalties = [row.name for row in PUBLISHED if "repetition_penalty" in row.options]
    assert penalties == ["qwen2.5-coder-1.5b-instruct"]


def test_who_is_told_what_it_is() -> None:
    helpful = "You are a helpful assistant."
    told = {row.name: row.system_prompt for row in PUBLISHED if row.system_prompt}
    assert told == {
        **dict.fromkeys(
            (
                "qwen-vl-tiny", "qwen-vl-chat", "qwen-vl-chat-int4", "qwen-7b-chat", "qwen-7b-chat-int4",
                "smollm2-135m-instruct",
            ),
            helpful,
        ),
        "qwen2.5-coder-1.5b-instruct": f"You are Qwen, created by Alibaba Cloud. {helpful}",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        (("chatglm3-6b", "chatglm3-6b-base", "chatglm3-6b-32k"), (28, 2, 128, 4096, 65024, False, 0)),
        (("chatglm-6b",), (28, 32, 128, 4096, 130528, False, 0)),
        (("chatglm-6b-int4", "chatglm-6b-int8"), (28, 32, 128, 4096, 130528, True, 0)),
        (
            ("qwen-vl", "qwen-vl-chat", "qwen-vl-chat-int4"),
            (32, 32, 128, 4096, 151936, False, 1_935_610_624),
        ),
        (("qwen-7b-chat", "qwen-7b-chat-int4"), (32, 32, 128, 4096, 151936, False, 0)),
        (("smollm2-135m-instruct",), (30, 3, 64, 576, 49152, True, 0)),
        (("qwen2.5-coder-1.5b-instruct",), (28, 2, 128, 1536, 151936, False, 0)),
    ],
)
def test_sizes_that_follow_from_no_formula(names: tuple[str, ...], sizes: tuple[Any, ...]) -> None:
    for name in names:
        its = shape(name)
        told = (its.layers, its.kv_heads, its.head_dim, its.hidden, its.vocab, its.tied, its.vision)
        assert told == sizes


def test_repositories_are_the_makers_own() -> None:
    makers = {
        "chatglm": ("THUDM/",), "qwen_vl": ("Qwen/",), "gemma": ("google/",),
        "llama2": ("meta-llama/", "QuantFactory/", "Qwen/"), "whisper": ("Systran/", "mobiuslabsgmbh/"),
    }  # fmt: skip
    ids = [row.hub_id for row in CHECKPOINTS.values() if row.hub_id]
    assert len(set(ids)) == len(ids)
    for row in PUBLISHED:
        assert row.hub_id is None or row.hub_id.startswith(makers[row.family])
    assert {row.name for row in PUBLISHED if row.hub_id is None} == {
        "chatglm3-tiny", "qwen-vl-tiny", "gemma-3-270m", "whisper-tiny.en-pt",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("size", "layers", "hidden", "vocab", "known"),
    [
        ("tiny", 4, 384, 51865, 99), ("tiny.en", 4, 384, 51864, 1), ("base", 6, 512, 51865, 99),
        ("base.en", 6, 512, 51864, 1), ("small", 12, 768, 51865, 99), ("small.en", 12, 768, 51864, 1),
        ("medium", 24, 1024, 51865, 99), ("medium.en", 24, 1024, 51864, 1), ("large-v1", 32, 1280, 51865, 99),
        ("large-v2", 32, 1280, 51865, 99), ("large-v3", 32, 1280, 51866, 100), ("turbo", 4, 1280, 51866, 100),
    ],
)  # fmt: skip
def test_whispers(size: str, layers: int, hidden: int, vocab: int, known: int) -> None:
    row = CHECKPOINTS[f"whisper-{size}"]
    its: Any = row.shape
    assert (its.layers, its.hidden, its.vocab, its.kv_heads, its.head_dim) == (
        layers,
        hidden,
        vocab,
        hidden // 64,
        64,
    )
    assert row.languages == (tuple(LANGUAGES)[:known] if known > 1 else ("en",))
    assert its.tied and row.format == "ctranslate2" and row.licence == "MIT"
