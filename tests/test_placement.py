"""Devices, precisions and the memory plan, for machines that are made up and for this one."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from models import placement
from models.catalog import CHECKPOINTS, find
from models.errors import UnsupportedPlacement
from models.placement import (
    devices_and,
    gigabytes,
    kv_bytes,
    plan,
    precisions,
    refuse,
    weight_bytes,
)
from models.schema import Checkpoint, Device, GiB, Precision, Shape

GLM, LLAMA, WHISPER = (CHECKPOINTS[n] for n in ("chatglm3-6b", "llama-2-7b-chat", "whisper-base"))
SMOLLM, GEMMA = CHECKPOINTS["smollm2-135m-instruct"], CHECKPOINTS["gemma-3-270m-it"]
BF16: tuple[Precision, ...] = ("bf16", "fp16", "fp32", "int8", "int4")
FP16: tuple[Precision, ...] = ("fp16", "fp32", "int8", "int4")


def cuda(number: int, free: float, ways: tuple[Precision, ...] = BF16) -> Device:
    return Device(f"cuda:{number}", "GPU", int((free + 1) * GiB), int(free * GiB), ways)


def cpu(free: float, ways: tuple[Precision, ...] = ("fp32", "bf16", "int8", "int4")) -> Device:
    return Device("cpu", "CPU", int(free * 2 * GiB), int(free * GiB), ways)


def where(found: Sequence[Device], checkpoint: Checkpoint = GLM, **asked: Any) -> tuple[str, str]:
    made = plan(checkpoint, found=found, **asked)
    assert made.fits, made.reason.en
    return made.placement.device, made.placement.precision


# --- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "precision", "gigabytes_"),
    [
        ("chatglm3-6b", "fp16", 12.5),
        ("chatglm3-6b", "int8", 6.8),
        ("chatglm3-6b", "int4", 3.9),
        ("chatglm-6b", "fp16", 13.4),
        ("llama-2-7b-chat", "bf16", 13.5),
        ("llama-2-7b-chat", "fp32", 27.0),
        ("llama-2-7b-chat", "int8", 7.0),
        ("llama-2-7b-chat", "int4", 3.87),
        ("gemma-2b", "bf16", 5.01),
        ("qwen-vl-chat", "bf16", 19.3),
    ],
)
def test_weights_of_the_models_that_people_know(name: str, precision: str, gigabytes_: float) -> None:
    for device in ("cpu", "cuda:0"):
        planned = weight_bytes(CHECKPOINTS[name], precision, device)
        assert planned / 1e9 == pytest.approx(gigabytes_, rel=0.03)


@pytest.mark.parametrize("checkpoint", CHECKPOINTS.values(), ids=lambda row: row.name)
def test_narrower_weights_are_smaller(checkpoint: Checkpoint) -> None:
    sizes = [weight_bytes(checkpoint, way) for way in ("fp32", "bf16", "int8", "int4")]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] > 0
    assert weight_bytes(checkpoint, "file", "cuda:0") == checkpoint.bytes


def test_chatglm3s_own_packed_files_fit_where_the_makers_said() -> None:
    """5 GB in 4 bits, 9 GB in 8, with a full context; a processor's int4 takes a bit more than the file."""
    layers, others = 5_710_544_896, 533_039_104
    for share, most in ((0.5, 5e9), (1, 9e9)):
        size = int(share * layers) + 2 * others
        row = replace(GLM, format="chatglm-packed", bytes=size)
        made = plan(row, device="cpu", found=[cpu(64)])
        assert size <= made.weights <= made.total < most
        assert plan(row, device="cuda:0", found=[cuda(0, 64)]).weights == size
        assert (made.weights - size) == pytest.approx(layers / 32 if share == 0.5 else 0, rel=1e-3)


def test_the_cache_of_a_full_context() -> None:
    # 2 (keys, values) * 2 heads * 128 * 2 bytes * 28 layers * 8192 tokens
    assert kv_bytes(GLM, "bf16", 8192) == 2 * 2 * 128 * 2 * 28 * 8192
    assert kv_bytes(GLM, "fp32", 8192) == 2 * kv_bytes(GLM, "bf16", 8192)
    assert kv_bytes(GLM, "int4", 8192, slots=3) == 3 * kv_bytes(GLM, "bf16", 8192)
    assert kv_bytes(LLAMA, "fp16", 4096) == 2 * GiB


def test_layers_with_a_window_keep_no_more_than_it() -> None:
    shape = Shape(layers=18, kv_heads=1, head_dim=256, hidden=640, vocab=1, window=512, global_layers=3)
    row = replace(GEMMA, shape=shape)
    per_token = 2 * 256 * 2
    assert kv_bytes(row, "bf16", 256) == per_token * 18 * 256
    assert kv_bytes(row, "bf16", 8192) == per_token * (3 * 8192 + 15 * 512)


def test_what_has_no_known_shape_has_no_cache() -> None:
    assert kv_bytes(replace(GLM, shape=None), "bf16", 8192) == 0


def test_files_that_do_not_tell_how_many_weights_they_hold_are_taken_for_16_bits() -> None:
    """A pickle of before PyTorch 1.6, of which nothing is unpickled."""
    row = replace(LLAMA, parameters=0, bytes=2 * GiB)
    assert weight_bytes(row, "bf16") == 2 * GiB and weight_bytes(row, "fp32") == 4 * GiB


# --- choosing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "expected"),
    [(16, ("cuda:0", "bf16")), (9, ("cuda:0", "int8")), (6, ("cuda:0", "int4")), (2, ("cpu", "fp32"))],
)
def test_auto_takes_the_best_precision_that_fits_the_accelerator(free: int, expected: object) -> None:
    assert where([cuda(0, free), cpu(64)]) == expected


def test_a_gpu_without_bfloat16_gets_half_precision() -> None:
    assert where([cuda(0, 16, FP16), cpu(64)]) == ("cuda:0", "fp16")


def test_auto_never_wastes_an_accelerator_on_single_precision() -> None:
    assert where([cuda(0, 80, FP16), cpu(64)])[1] == "fp16"
    assert where([cuda(0, 80), cpu(64)], device="cuda:0", precision="fp32") == ("cuda:0", "fp32")


@pytest.mark.parametrize(
    ("ways", "free", "expected"),
    [
        (("fp32", "bf16", "int8", "int4"), 32, "fp32"),
        (("fp32", "bf16", "int8", "int4"), 16, "bf16"),
        (("bf16", "fp32", "int8", "int4"), 32, "bf16"),
        (("bf16", "fp32", "int8", "int4"), 9, "int8"),
        (("fp32", "bf16", "int8", "int4"), 6, "int4"),
    ],
)
def test_a_processor_takes_what_it_multiplies_fastest(
    ways: tuple[Precision, ...], free: int, expected: str
) -> None:
    assert where([cpu(free, ways)]) == ("cpu", expected)


def test_half_precision_is_refused_on_a_processor_with_the_reason() -> None:
    with pytest.raises(UnsupportedPlacement, match="hundreds of times slower") as refused:
        plan(GLM, device="cpu", precision="fp16", found=[cpu(64)])
    assert "CPU" in refused.value.zh


def test_half_precision_never_lands_on_the_processor() -> None:
    """Not even where the accelerator that could do it is full."""
    made = plan(GLM, precision="fp16", found=[cuda(0, 4), cpu(64)])
    assert not made.fits and made.placement.device == "cuda:0"
    assert made.alternatives
    assert all((other.device, other.precision) != ("cpu", "fp16") for other in made.alternatives)


def test_the_accelerator_with_the_most_free_memory_is_taken() -> None:
    assert where([cuda(0, 14), cuda(1, 60), cpu(64)]) == ("cuda:1", "bf16")


def test_a_model_too_large_for_one_gpu_is_spread_before_the_processor_is_taken() -> None:
    large = CHECKPOINTS["llama-2-13b-chat"]
    made = plan(large, found=[cuda(0, 7), cuda(1, 7), cuda(2, 7), cpu(64)])
    assert made.fits and made.placement.devices == ("cuda:0", "cuda:1", "cuda:2")
    assert made.placement.precision == "int8"
    assert made.free == 3 * 7 * GiB


def test_every_card_that_a_model_is_spread_over_has_its_own_overhead() -> None:
    large = replace(LLAMA, parameters=9_000_000_000)
    made = plan(large, precision="bf16", found=[cuda(0, 12), cuda(1, 11), cpu(64)])
    assert made.placement.devices == ("cuda:0", "cuda:1")
    assert made.overhead == 2 * placement.overhead_bytes(large, "cuda:0", 4096)
    assert made.free == 23 * GiB
    assert made.total == made.weights + made.kv_cache + made.overhead


def test_a_spread_that_just_fits_and_one_that_just_does_not() -> None:
    large = replace(LLAMA, parameters=9_000_000_000)
    needed = plan(large, precision="bf16", found=[cuda(0, 50), cuda(1, 50)]).total
    overhead = placement.overhead_bytes(large, "cuda:0", 4096)
    half = (needed + overhead) / 2 / GiB
    for more, fits in ((1e-6, True), (-1e-6, False)):
        made = plan(large, precision="bf16", found=[cuda(0, half + more), cuda(1, half + more)])
        assert (made.placement.devices, made.fits) == (("cuda:0", "cuda:1"), fits)


def test_a_named_device_is_the_only_one_tried() -> None:
    found = [cuda(0, 80), cuda(1, 1), cpu(64)]
    assert not plan(GLM, device="cuda:1", found=found).fits
    assert where(found, device="cpu")[0] == "cpu"
    assert where(found, device="cuda")[0] == "cuda:0"


def test_an_accelerator_that_is_not_here_can_be_planned_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would need is told, and that nothing fits there."""
    here = [cuda(1, 8), cpu(8)]
    monkeypatch.setattr(placement, "devices", lambda: list(here))
    for name, called in (("cuda", "cuda:0"), ("cuda:0", "cuda:0"), ("mps", "mps")):
        made = plan(GLM, device=name, found=devices_and(name))
        assert made.placement.device == called and not made.fits and made.weights
        assert {other.device for other in made.alternatives} == {"cuda:1", "cpu"}
    assert devices_and("cuda:1") == here and devices_and("cpu") is None


def test_slots_shrink_with_memory_and_context_does_not() -> None:
    one = kv_bytes(SMOLLM, "file", 8192)
    base = plan(SMOLLM, found=[cpu(64)])
    assert base.placement.slots == 4 and base.kv_cache == 4 * one
    for slots, spare in ((4, 4.1), (2, 3.9), (2, 2.1), (1, 1.9)):
        free = (base.weights + base.overhead + one * spare) / GiB
        made = plan(SMOLLM, found=[cpu(free)])
        assert made.fits and made.placement.slots == slots and made.placement.context == 8192


def test_only_llama_cpp_has_slots() -> None:
    assert plan(GLM, found=[cuda(0, 80)]).placement.slots == 1


def test_what_idle_engines_hold_counts_as_free() -> None:
    found = [cuda(0, 2), cpu(1)]
    assert not plan(GLM, found=found).fits
    made = plan(GLM, found=found, reclaimable={"cuda:0": 14 * GiB})
    assert made.fits and made.placement.precision == "bf16"
    assert (made.free, made.reclaimable) == (2 * GiB, 14 * GiB)


# --- what each format may be asked for -----------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "kind", "expected"),
    [
        ("transformers", "cpu", ("fp32", "bf16", "int8", "int4")),
        ("transformers", "cuda", BF16),
        ("chatglm", "cuda", BF16),
        ("gguf", "cpu", ("file",)),
        ("gptq", "cuda", ("file",)),
        ("chatglm-packed", "cpu", ("file",)),
        ("ctranslate2", "cpu", ("int8", "fp32")),
        ("ctranslate2", "cuda", ("fp16", "int8", "fp32")),
        ("ctranslate2", "mps", ()),
        ("whisper-pt", "cpu", ("int8", "fp32")),
        ("whisper-hf", "mps", ("fp32",)),
        ("whisper-hf", "cuda", ("fp16", "fp32")),
        ("openai-api", "cpu", ("remote",)),
    ],
)
def test_precisions_of_a_format(format: Any, kind: str, expected: tuple[str, ...]) -> None:
    device = {"cpu": cpu(8), "cuda": cuda(0, 8)}.get(kind) or Device("mps", "GPU", GiB, GiB, ("fp16",))
    assert precisions(replace(GLM, format=format), device) == expected


@pytest.mark.parametrize(
    ("checkpoint", "asked", "sentence"),
    [
        (SMOLLM, {"precision": "int4"}, "already quantised"),
        (CHECKPOINTS["chatglm-6b-int4"], {"precision": "int8"}, "already quantised"),
        (WHISPER, {"precision": "int4"}, "choose auto or int8, fp32"),
        (GLM, {"precision": "int3"}, "unknown precision 'int3'"),
        (GLM, {"device": "cuda:7"}, "no device 'cuda:7'"),
        (GLM, {"device": "tpu"}, "one of cpu"),
        (GLM, {"context": 8193}, "at most 8192 tokens, not 8193"),
        (GLM, {"context": 0}, "not 0"),
        (GLM, {"context": -1}, "not -1"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    checkpoint: Checkpoint, asked: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UnsupportedPlacement, match=sentence):
        plan(checkpoint, found=[cpu(64)], **asked)


def test_a_context_that_is_no_context_is_not_called_too_long() -> None:
    with pytest.raises(UnsupportedPlacement) as refused:
        plan(GLM, context=0, found=[cpu(64)])
    assert "shorter" not in refused.value.en and "更短" not in refused.value.zh


def test_the_context_is_the_checkpoints_own_within_reason() -> None:
    for name, expected in (
        ("chatglm3-6b", 8192),
        ("chatglm-6b", 2048),
        ("chatglm3-6b-32k", 8192),
        ("llama-2-7b-chat", 4096),
    ):
        assert plan(CHECKPOINTS[name], found=[cpu(999)]).placement.context == expected
    assert plan(CHECKPOINTS["chatglm3-6b-32k"], context=32768, found=[cpu(99)]).placement.context == 32768
    assert plan(GLM, context=1, found=[cpu(99)]).placement.context == 1


# --- refusals ------------------------------------------------------------------------------------


def test_a_refusal_names_something_that_really_fits() -> None:
    found = [cuda(0, 6), cpu(1)]
    made = plan(GLM, device="cuda:0", precision="bf16", found=found)
    assert not made.fits and made.alternatives
    for other in made.alternatives:
        asked = {"device": other.device, "precision": other.precision, "context": other.context}
        again = plan(GLM, found=found, **asked)  # type: ignore[arg-type]
        assert again.fits and again.total == other.total
    error = refuse(made)
    nearest = made.alternatives[0]
    assert (nearest.device, nearest.precision, nearest.context) == ("cuda:0", "int4", 8192)
    for sentence in (error.en, error.zh):
        assert "int4" in sentence and "8192" in sentence and gigabytes(nearest.total) in sentence


def test_a_refusal_offers_a_shorter_context_where_that_is_what_fits() -> None:
    need = weight_bytes(LLAMA, "int4", "cuda:0") + placement.overhead_bytes(LLAMA, "cuda:0", 2048)
    free = (need + kv_bytes(LLAMA, "int4", 2048)) / GiB + 0.01
    made = plan(LLAMA, device="cuda:0", precision="int4", found=[cuda(0, free)])
    assert not made.fits and made.alternatives[0].context == 2048


def test_a_refusal_without_an_alternative_is_still_one_sentence() -> None:
    made = plan(LLAMA, found=[cpu(0.1)])
    assert not made.fits and made.alternatives == ()
    error = refuse(made)
    assert error.en.count(". ") == 0 and error.en.endswith(".")
    assert error.zh.count("。") == 1 and error.zh.endswith("。")
    assert "smaller checkpoint" in error.en


def test_the_closest_plan_counts_what_could_be_reclaimed() -> None:
    found = [cuda(0, 1), cuda(1, 2)]
    made = plan(GLM, precision="bf16", found=found, reclaimable={"cuda:0": 9 * GiB})
    assert not made.fits and made.placement.device in ("cuda:0", "cuda:0,cuda:1")


def test_the_plan_of_a_hub_id_that_is_not_here_admits_that_its_size_is_unknown() -> None:
    made = plan(find("some/model"), found=[cpu(64)])
    assert made.fits and "known once it is fetched" in made.reason.en and "GB," not in made.reason.en


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 MB"),
        (98 * 1024**2, "98 MB"),
        (GiB // 2, "0.5 GB"),
        (GiB, "1.0 GB"),
        (int(12.48 * GiB), "12.5 GB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert gigabytes(size) == text


# --- against what is measured --------------------------------------------------------------------

MEASURE = """
import json, os, sys, psutil, models
made = models.plan(sys.argv[1], device="cpu", context=4096)
engine = models.load(sys.argv[1], device="cpu", context=4096)
list(engine.stream("The capital of France is", models.ChatOptions(max_new_tokens=8)))
memory = psutil.Process().memory_full_info()
print(json.dumps({"plan": made.total, "weights": made.weights, "uss": memory.uss, "rss": memory.rss}))
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.weights
@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "gemma-3-270m"])
def test_the_plan_against_the_memory_that_a_loaded_model_takes(name: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, name], capture_output=True, text=True, check=True, timeout=600
    )
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["weights"] < found["rss"] < found["plan"] * 1.1
    assert found["plan"] < found["rss"] * 2.0
