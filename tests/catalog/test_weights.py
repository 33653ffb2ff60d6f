"""Weights under names of their own, in formats that nothing reads, and what lies in a folder instead of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.catalog import describe, find
from models.catalog.selection import missing, select
from models.errors import CheckpointCorrupt, ModelError, UnsupportedCheckpoint
from models.schema import Checkpoint
from tests.fakes.tiny_checkpoints import LLAMA, write_folder, write_safetensors

WHOLE: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (96, 64), "lm_head.weight": (96, 64)}
PACKED: dict[str, tuple[int, ...]] = {"layer.qweight": (8, 64), "layer.qzeros": (1, 8), "layer.g_idx": (64,)}
REPOSITORY = Checkpoint("o/n", "other", "chat", "unknown", hub_id="o/n")


def folder(path: Path, *weights: str, shapes: Any = WHOLE, config: Any = LLAMA, **beside: Any) -> Path:
    """A folder whose weights have these names; `beside` are JSON files without their ending."""
    write_folder(path, config)
    (path / "model.safetensors").unlink()
    for name in weights:
        write_safetensors(path / name, shapes, "I32" if shapes is PACKED else "F16")
    for name, content in beside.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return path


def refusal(path: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        describe(path)
    assert "half a download" not in caught.value.en and "只下载了一部分" not in caught.value.zh
    return caught.value


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "model.fp16.safetensors",
        "gptq_model-4bit-128g.safetensors",
        "llama-7b.safetensors",
        "weights.safetensors",
    ],
)
def test_the_only_weights_are_the_models_whatever_they_are_called(tmp_path: Path, name: str) -> None:
    path = folder(tmp_path / "mine", name)
    write_safetensors(path / "adapter_model.safetensors", {"a": (1,)})
    (path / "training_args.bin").write_bytes(b"...")
    found = describe(path)
    assert (found.format, found.weights, found.parameters) == ("transformers", name, 2 * 96 * 64)
    assert missing(path, REPOSITORY) == []


def test_an_engine_that_takes_one_name_alone_has_the_file_renamed(tmp_path: Path) -> None:
    whisper = {"model_type": "whisper", "decoder_layers": 2, "d_model": 64, "vocab_size": 96}
    error = refusal(folder(tmp_path / "mine", "model.fp16.safetensors", config=whisper))
    assert "rename" in error.en and "model.safetensors" in error.zh


def test_the_usual_names_come_first(tmp_path: Path) -> None:
    found = describe(
        folder(tmp_path / "mine", "model.safetensors", "consolidated.safetensors", "x.safetensors")
    )
    assert (found.format, found.weights) == ("transformers", "")


def test_of_several_names_none_is_guessed(tmp_path: Path) -> None:
    error = refusal(folder(tmp_path / "mine", "model.fp16.safetensors", "model.fp32.safetensors"))
    assert "model.fp16.safetensors, model.fp32.safetensors" in error.en and "rename" in error.en


@pytest.mark.parametrize("ending", [".safetensors", ".bin"])
def test_shards_without_their_index(tmp_path: Path, ending: str) -> None:
    stem = "model" if ending == ".safetensors" else "pytorch_model"
    path = folder(tmp_path / "mine", *(f"{stem}-0000{n}-of-00002{ending}" for n in (1, 2)))
    error = refusal(path)
    assert isinstance(error, CheckpointCorrupt) and f"{stem}{ending}.index.json" in error.en
    assert missing(path, REPOSITORY) == [f"{stem}{ending}.index.json"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("consolidated.safetensors", "maker"),
        ("consolidated.00.pth", "maker"),
        ("tf_model.h5", "TensorFlow"),
        ("flax_model.msgpack", "Flax"),
        ("model.onnx", "ONNX"),
        ("weights.npz", "MLX"),
        ("model.nemo", "NeMo"),
        ("ggml-model-q4_0.bin", "before GGUF"),
        ("model.Q4_K_M.gguf-split-a", "piece"),
        ("last.ckpt", "PyTorch"),
        ("openvino_model.xml", "OpenVINO"),
        ("gptq_model-4bit-128g.bin", "pytorch_model.bin"),
    ],
)
def test_what_nothing_reads_is_said_for_what_it_is(tmp_path: Path, name: str, said: str) -> None:
    path = folder(tmp_path / "mine")
    (path / name).write_bytes(b"...")
    error = refusal(path)
    assert name in error.en and said in error.en and name in error.zh
    (path / "config.json").unlink()
    assert isinstance(refusal(path), UnsupportedCheckpoint)


def test_a_folder_that_really_lacks_its_weights_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointCorrupt, match="lacks model.safetensors, perhaps half a download"):
        describe(folder(tmp_path / "mine"))


# --- quantised ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "gptq_model-4bit-128g.safetensors"])
def test_gptq_that_only_a_file_beside_the_config_tells_of(tmp_path: Path, name: str) -> None:
    path = folder(tmp_path / "mine", name, shapes=PACKED, quantize_config={"bits": 4, "group_size": 128})
    found = describe(path)
    assert (found.format, found.parameters) == ("gptq", 64 * 64)
    assert missing(path, REPOSITORY) == []


def test_a_file_about_quantisation_beside_whole_weights_tells_nothing(tmp_path: Path) -> None:
    found = describe(folder(tmp_path / "mine", "model.safetensors", quantize_config={"bits": 4}))
    assert found.format == "transformers"


@pytest.mark.parametrize(
    ("config", "beside", "said"),
    [
        ({}, {"quant_config": {"w_bit": 4}}, "awq"),
        ({}, {}, "quantize_config.json"),
        ({"quantization": {"bits": 4, "group_size": 64}}, {}, "mlx"),
        ({"quantization_config": {"load_in_4bit": True}}, {}, "bitsandbytes"),
        ({"quantization_config": {"load_in_8bit": True, "load_in_4bit": False}}, {}, "bitsandbytes"),
    ],
)
def test_other_quantisations_are_named(tmp_path: Path, config: Any, beside: Any, said: str) -> None:
    path = folder(tmp_path / "mine", "model.safetensors", shapes=PACKED, config={**LLAMA, **config}, **beside)
    error = refusal(path)
    assert isinstance(error, UnsupportedCheckpoint) and said in error.en and said in error.zh


def test_a_config_older_than_the_methods_name_is_gptq(tmp_path: Path) -> None:
    config = {**LLAMA, "quantization_config": {"bits": 4, "group_size": 128}}
    assert (
        describe(folder(tmp_path / "mine", "model.safetensors", shapes=PACKED, config=config)).format
        == "gptq"
    )


# --- adapters ----------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [True, False])
@pytest.mark.parametrize(
    ("weights", "about", "said"),
    [
        ("adapter_model.safetensors", {"peft_type": "LORA", "base_model_name_or_path": "owner/base"}, "LORA"),
        ("adapters.safetensors", {"fine_tune_type": "dora", "model": "owner/base"}, "dora"),
        ("adapter_model.bin", {"base_model_name_or_path": "owner/base"}, "LoRA"),
    ],
)
def test_an_adapter_says_of_which_model_it_is(
    tmp_path: Path, weights: str, about: Any, said: str, config: bool
) -> None:
    path = folder(tmp_path / "mine", weights, adapter_config=about)
    (path / "optimizer.pt").write_bytes(b"...")
    if not config:
        (path / "config.json").unlink()
    for text in (path, path / weights):
        with pytest.raises(UnsupportedCheckpoint, match=f"adapter .{said}. of owner/base") as caught:
            find(str(text))
        assert "owner/base" in caught.value.zh and "适配器" in caught.value.zh


def test_an_adapter_whose_config_is_lost(tmp_path: Path) -> None:
    assert "adapter" in refusal(folder(tmp_path / "mine", "adapter_model.safetensors")).en


def test_an_adapter_beside_a_whole_model_does_not_matter(tmp_path: Path) -> None:
    path = folder(tmp_path / "mine", "model.safetensors", "adapter_model.safetensors", adapter_config={})
    assert describe(path).format == "transformers"


# --- templates ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "beside", "kind"),
    [
        ("{{ x }}", None, "chat"),
        ([{"name": "default", "template": "{{ x }}"}], None, "chat"),
        (None, None, "completion"),
        ("", None, "completion"),
        ([], None, "completion"),
        (None, {"chat_template": "{{ x }}"}, "chat"),
        (None, {}, "completion"),
    ],
)
def test_a_template_is_one_that_says_something(tmp_path: Path, template: Any, beside: Any, kind: str) -> None:
    path = folder(tmp_path / "mine", "model.safetensors", tokenizer_config={"chat_template": template})
    if beside is not None:
        (path / "chat_template.json").write_text(json.dumps(beside))
    assert describe(path).kind == kind


def test_named_templates_are_fetched() -> None:
    named = "additional_chat_templates/tool_use.jinja"
    names = ["config.json", "model.safetensors", named, "onnx/model.onnx"]
    assert select(names, REPOSITORY) == ["config.json", named, "model.safetensors"]
