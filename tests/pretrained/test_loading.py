"""What loading with transformers shares: devices, steps, and failures as sentences."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from models.errors import (
    BadInput,
    Cancelled,
    CheckpointCorrupt,
    CheckpointNotFound,
    DoesNotFit,
    UnsupportedCheckpoint,
)
from models.pretrained.built_tokenizers import kept
from models.pretrained.loading import (
    DTYPES,
    check_loaded,
    damaged,
    damaged_file,
    does_not_fit,
    load_config,
    loading,
    out_of_memory,
    placed,
    read_config,
    watched,
    weight_bytes,
)
from models.schema import PRECISIONS, Placement, Progress

torch = pytest.importorskip("torch")
HERE = Placement("cpu", "bf16")


# --- places --------------------------------------------------------------------------------------


def test_one_device_takes_all_and_several_take_what_they_have_free(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {0: (1000, 9000), 2: (2000, 9000)}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: free[number])
    for placement in (Placement("cuda:1", "bf16"), Placement("cuda:1", "bf16", devices=("cuda:1",))):
        assert placed(placement) == {"device_map": {"": "cuda:1"}}
    spread = Placement("cuda", "bf16", devices=("cuda", "cuda:2"))
    assert placed(spread) == {"device_map": "auto", "max_memory": {0: 850, 2: 1700}}


def test_every_precision_has_a_type_of_torch() -> None:
    assert set(DTYPES) == {*PRECISIONS, "file"}
    assert all(isinstance(getattr(torch, name), torch.dtype) for name in DTYPES.values() if name != "auto")
    assert (DTYPES["fp32"], DTYPES["fp16"], DTYPES["bf16"], DTYPES["int4"]) == (
        "float32", "float16", "bfloat16", "bfloat16",
    )  # fmt: skip


def test_tied_weights_and_buffers_are_counted_once() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4, bias=False), torch.nn.Linear(4, 4, bias=False))
    assert weight_bytes(model) == 2 * 64
    model[1].weight = model[0].weight
    model.register_buffer("sizes", torch.zeros(3, dtype=torch.int8))
    model.register_buffer("none", torch.zeros(0))
    assert weight_bytes(model) == 64 + 3
    model.register_buffer("same", model[0].weight.detach())  # other names for the same bytes
    assert weight_bytes(model) == 64 + 3


# --- steps ---------------------------------------------------------------------------------------


def steps(count: int) -> list[Any]:
    """What transformers does with each tensor, through its progress bar."""
    from transformers.utils import logging

    return list(logging.tqdm(range(count), desc="Loading weights"))


def test_every_tensor_is_a_step() -> None:
    told: list[Progress] = []
    with watched(told.append, None):
        assert steps(3) == [0, 1, 2]
    assert told == [Progress("load", n, 3) for n in range(4)]
    assert steps(2) == [0, 1] and len(told) == 4  # and afterwards the bar is the library's own


def test_a_load_ends_between_two_tensors() -> None:
    cancel, told = threading.Event(), list[Progress]()

    def tell(step: Progress) -> None:
        told.append(step)
        if step.done == 1:
            cancel.set()

    with pytest.raises(Cancelled), watched(tell, cancel):
        steps(5)
    assert [step.done for step in told] == [0, 1]


def test_loads_at_the_same_time_are_told_apart() -> None:
    told: dict[str, list[Progress]] = {"a": [], "b": []}
    meeting = threading.Barrier(2)

    def load(name: str, count: int) -> None:
        with watched(told[name].append, None):
            meeting.wait(10)
            steps(count)
            meeting.wait(10)

    threads = [threading.Thread(target=load, args=pair) for pair in (("a", 2), ("b", 5))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert {step.total for step in told["a"]} == {2} and {step.total for step in told["b"]} == {5}


# --- failures ------------------------------------------------------------------------------------


def test_a_config_is_read_or_its_file_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match=r"has no config\.json"):
        read_config(tmp_path)
    for content in ("{", "[]", '"x"'):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(CheckpointCorrupt, match=r"config\.json is damaged"):
            read_config(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "字"}', encoding="utf-8")
    assert read_config(tmp_path) == {"model_type": "字"}
    assert "a.bin is damaged" in damaged(tmp_path / "a.bin").en


def test_how_older_tools_quantised_counts_where_the_config_says_nothing(tmp_path: Path) -> None:
    config, own = {"model_type": "llama"}, {"quant_method": "gptq", "bits": 4}
    (tmp_path / "quantize_config.json").write_text('{"bits": 8}')
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_config(tmp_path).quantization_config == {"quant_method": "gptq", "bits": 8}
    (tmp_path / "config.json").write_text(json.dumps(config | {"quantization_config": own}))
    assert load_config(tmp_path).quantization_config == own


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing_keys", "lacks"),
        ("mismatched_keys", "has another shape for"),
        ("unexpected_keys", "has an unknown"),
    ],
)
def test_tensors_that_are_not_as_they_should_be(kind: str, words: str) -> None:
    whole: dict[str, Any] = {"missing_keys": [], "mismatched_keys": set(), "unexpected_keys": []}
    check_loaded(whole)
    with pytest.raises(CheckpointCorrupt, match=rf"The checkpoint {words} a\.weight \(2 such tensors\)"):
        check_loaded(whole | {kind: ["b.weight", "a.weight"]})


def failed(error: Exception, folder: Path) -> Any:
    with pytest.raises(Exception) as caught, loading(folder, HERE):  # noqa: PT011, B017
        raise error
    return caught.value


def test_what_goes_wrong_is_named_by_its_cause(tmp_path: Path) -> None:
    mine = BadInput("Mine.", "我的。")
    assert failed(mine, tmp_path) is mine
    for error in (MemoryError(), torch.OutOfMemoryError("x"), RuntimeError("not enough memory: you tried")):
        assert type(failed(error, tmp_path)) is DoesNotFit
    for error in (OSError("x"), RuntimeError("y")):
        found = failed(error, tmp_path)
        assert type(found) is CheckpointCorrupt and tmp_path.name in found.en
    for other in (ValueError("z"), KeyError("k"), AttributeError("a")):
        assert type(failed(other, tmp_path)) is UnsupportedCheckpoint
    (tmp_path / "generation_config.json").write_text("{")
    found = failed(ValueError("z"), tmp_path)
    assert type(found) is CheckpointCorrupt and found.en.startswith("generation_config.json is damaged")


def test_the_damaged_file_is_found(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    assert damaged_file(tmp_path) is None
    (tmp_path / "config.json").write_text("{}")
    save_file({"a": torch.zeros(2)}, tmp_path / "model-1.safetensors")
    torch.save({"a": torch.zeros(2)}, tmp_path / "pytorch_model-1.bin")
    (tmp_path / "notes.bin").write_bytes(b"of no interest")
    assert damaged_file(tmp_path) is None
    (tmp_path / "pytorch_model-2.bin").write_bytes(b"x")
    assert damaged_file(tmp_path) == "pytorch_model-2.bin"
    (tmp_path / "model-2.safetensors").write_bytes(b"x" * 20)
    assert damaged_file(tmp_path) == "model-2.safetensors"
    (tmp_path / "vocab.json").write_text("[")
    assert damaged_file(tmp_path) == "vocab.json"


def test_memory_that_ran_out() -> None:
    assert not out_of_memory(ValueError("x")) and out_of_memory(MemoryError())
    error = does_not_fit("tiny", Placement("cuda:1", "fp16"))
    assert "cuda:1 ran out of memory with tiny in fp16" in error.en and "cuda:1" in error.zh


# --- tokenizers ------------------------------------------------------------------------------------


def test_a_built_tokenizer_is_kept_for_this_file_and_layout(tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    built: list[Path] = []

    def build(path: Path) -> Tokenizer:
        built.append(path)
        return Tokenizer(WordLevel({path.read_text(): 0}, unk_token="x"))

    file, cache = tmp_path / "a.model", tmp_path / "cache" / "new"
    file.write_text("one")
    for _ in range(2):
        assert kept(file, build, 1, cache).get_vocab() == {"one": 0}
    assert built == [file]
    kept(file, build, 2, cache)
    assert len(built) == 2
    file.write_text("two")
    assert kept(file, build, 1, cache).get_vocab() == {"two": 0} and len(built) == 3
    assert len(list(cache.iterdir())) == 3 and not list(cache.glob("*.part"))
    for path in cache.iterdir():
        json.loads(path.read_text())
        path.write_text("{")
    assert kept(file, build, 1, cache).get_vocab() == {"two": 0} and len(built) == 4
    for path in cache.iterdir():
        path.write_text(path.read_text().replace("two", "own"))  # still a tokenizer, and another one
    assert kept(file, build, 1, cache).get_vocab() == {"two": 0} and len(built) == 5
    built.pop()
    kept(file, build, 1, cache)
    assert len(built) == 4
    kept(file, build, 1, None)
    assert len(built) == 5


def test_a_cache_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    file, taken = tmp_path / "a.model", tmp_path / "taken"
    file.touch(), taken.touch()
    assert kept(file, lambda path: Tokenizer(WordLevel({"x": 0}, unk_token="x")), 1, taken).get_vocab()
