"""What each key of a config means for a description: sizes, kinds, windows, quantisation; and what a row keeps."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.catalog import CHECKPOINTS, describe
from models.errors import CheckpointCorrupt, ModelError
from models.schema import Checkpoint, Shape
from tests.fakes.tiny_checkpoints import LLAMA, QWEN_VL, write_folder, write_gguf, write_safetensors

GLM = {
    "model_type": "chatglm", "num_attention_heads": 4, "hidden_size": 64, "num_layers": 2, "kv_channels": 24,
    "padded_vocab_size": 96, "vocab_size": 90, "seq_length": 512, "max_sequence_length": 256,
}  # fmt: skip
OLDER = {key: value for key, value in GLM.items() if key != "padded_vocab_size"}
UNTIED: dict[str, tuple[int, ...]] = {"embedding.weight": (96, 64), "output_layer.weight": (96, 64)}
TIED: dict[str, tuple[int, ...]] = {"embedding.weight": (96, 64)}


def described(path: Path, config: Any, shapes: Any = None, dtype: str = "F16", **beside: Any) -> Checkpoint:
    write_folder(path, config)
    if shapes is not None:
        write_safetensors(path / "model.safetensors", shapes, dtype)
    for name, content in beside.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return describe(path)


def shape_of(found: Checkpoint) -> Shape:
    assert found.shape is not None
    return found.shape


# --- the original formats ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "kv_heads", "head_dim", "vocab", "length", "row"),
    [
        (GLM, 4, 24, 96, 512, "chatglm3-6b"),
        ({**GLM, "multi_query_group_num": 2}, 2, 24, 96, 512, "chatglm3-6b"),
        (OLDER, 4, 16, 90, 256, "chatglm-6b"),
        ({**OLDER, "multi_query_group_num": 2}, 4, 16, 90, 256, "chatglm-6b"),  # it has none
    ],
)
def test_the_two_chatglms(
    config: Any, kv_heads: int, head_dim: int, vocab: int, length: int, row: str, tmp_path: Path
) -> None:
    found = described(tmp_path / "mine", config, UNTIED)
    shape = shape_of(found)
    assert (shape.kv_heads, shape.head_dim, shape.vocab, shape.layers) == (kv_heads, head_dim, vocab, 2)
    assert (found.context_length, found.options) == (length, CHECKPOINTS[row].options)


@pytest.mark.parametrize("config", [GLM, QWEN_VL, LLAMA], ids=lambda config: config["model_type"])
@pytest.mark.parametrize(("shapes", "tied"), [(UNTIED, False), (TIED, True)])
def test_whether_the_head_is_the_embedding(config: Any, shapes: Any, tied: bool, tmp_path: Path) -> None:
    assert shape_of(described(tmp_path / "mine", config, shapes)).tied is tied


@pytest.mark.parametrize(
    ("folder", "config", "kind"),
    [
        ("mine", GLM, "chat"),
        ("ChatGLM3-6B-Base", GLM, "completion"),
        ("mine", {**GLM, "_name_or_path": "THUDM/chatglm3-6b-BASE"}, "completion"),
        ("database", {**GLM, "_name_or_path": "base"}, "chat"),
    ],
)
def test_a_base_model_is_called_one(folder: str, config: Any, kind: str, tmp_path: Path) -> None:
    assert described(tmp_path / folder, config).kind == kind


@pytest.mark.parametrize(
    ("config", "names", "format"),
    [
        (
            {**GLM, "quantization_bit": 4},
            ("layer.weight",),
            "chatglm",
        ),  # a default that the files do not follow
        ({**GLM, "quantization_bit": 4}, ("layer.weight", "layer.weight_scale"), "chatglm-packed"),
        (GLM, ("layer.weight", "layer.weight_scale"), "chatglm-packed"),
    ],
)
def test_the_files_say_whether_they_are_packed(
    config: Any, names: tuple[str, ...], format: str, tmp_path: Path
) -> None:
    found = described(tmp_path / "mine", config, {name: (8, 4) for name in names})
    bits = int(config.get("quantization_bit", 8))
    assert (found.format, found.parameters) == (format, 32 * 8 // bits if len(names) > 1 else 32)


@pytest.mark.parametrize(
    ("sees", "family", "kind", "row"),
    [(True, "qwen_vl", "vision", "qwen-vl-chat"), (False, "llama2", "chat", "qwen-7b-chat")],
)
def test_a_qwen_that_sees_and_one_that_does_not(
    sees: bool, family: str, kind: str, row: str, tmp_path: Path
) -> None:
    config = QWEN_VL if sees else {key: value for key, value in QWEN_VL.items() if key != "visual"}
    shapes = {
        "lm_head.weight": (4, 8),
        "transformer.visual.conv1.weight": (3, 5),
        "transformer.visual.b": (7,),
    }
    found = described(tmp_path / "mine", config, shapes)
    assert (found.family, found.kind, found.format) == (family, kind, "qwen-vl")
    assert found.options == CHECKPOINTS[row].options and shape_of(found).vision == 3 * 5 + 7
    quantised = described(tmp_path / "packed", {**config, "quantization_config": {"bits": 4}}, shapes)
    assert quantised.format == "qwen-vl-gptq"


@pytest.mark.parametrize(("config", "format"), [(GLM, "chatglm"), (QWEN_VL, "qwen-vl")])
def test_an_original_format_is_not_taken_for_any_decoder(config: Any, format: str, tmp_path: Path) -> None:
    named = {**LLAMA, **config, "architectures": ["SomethingForCausalLM"]}
    assert described(tmp_path / "mine", named).format == format


# --- decoders ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "kv_heads", "head_dim", "length"),
    [
        ({}, 2, 16, 512),
        ({"num_key_value_heads": None}, 4, 16, 512),
        ({"head_dim": 24}, 2, 24, 512),
        ({"head_dim": None}, 2, 16, 512),
        ({"text_config": {"hidden_size": 128, "max_position_embeddings": 64}}, 2, 32, 64),
    ],
)
def test_the_sizes_of_a_decoder(more: Any, kv_heads: int, head_dim: int, length: int, tmp_path: Path) -> None:
    found = described(tmp_path / "mine", {**LLAMA, **more})
    shape = shape_of(found)
    assert (shape.kv_heads, shape.head_dim, found.context_length) == (kv_heads, head_dim, length)


@pytest.mark.parametrize(
    ("more", "window", "global_layers"),
    [
        ({}, None, None),
        ({"sliding_window": None}, None, None),
        ({"sliding_window": 8}, 8, 0),
        ({"sliding_window": 8, "use_sliding_window": True}, 8, 0),
        ({"sliding_window": 8, "use_sliding_window": False}, None, None),
        ({"sliding_window": 8, "sliding_window_pattern": 3}, 8, 2),
        ({"sliding_window": 8, "model_type": "gemma3_text"}, 8, 1),
        ({"sliding_window": 8, "model_type": "gemma3_text", "sliding_window_pattern": 3}, 8, 2),
        ({"sliding_window": 8, "layer_types": ["full_attention"] + 5 * ["sliding_attention"]}, 8, 1),
    ],
)
def test_how_far_each_layer_looks_back(more: Any, window: Any, global_layers: Any, tmp_path: Path) -> None:
    shape = shape_of(described(tmp_path / "mine", {**LLAMA, "num_hidden_layers": 6, **more}))
    assert (shape.window, shape.global_layers) == (window, global_layers)


def test_a_template_in_a_file_of_its_own(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", template=False)
    assert describe(folder).kind == "completion"
    (folder / "chat_template.jinja").write_text("{{ x }}")
    assert describe(folder).kind == "chat"


# --- quantised ---------------------------------------------------------------------------------

PACKED: dict[str, tuple[int, ...]] = {
    "layer.qweight": (8, 64),
    "layer.qzeros": (1, 8),
    "layer.scales": (1, 8),
}


@pytest.mark.parametrize(
    ("config", "beside", "format", "bits"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, {}, "gptq", 4),
        ({"quantization_config": {"quant_method": "gptq", "bits": 8}}, {}, "gptq", 8),
        ({"quantization_config": {"quant_method": "gptq"}}, {}, "gptq", 8),
        ({}, {"quantize_config": {"bits": 4, "quant_method": "other"}}, "gptq", 4),
        # The config's own word goes before files beside it, and before another library's.
        ({"quantization_config": {"bits": 4}}, {"quant_config": {"bits": 2}}, "gptq", 4),
        ({"quantization_config": {"bits": 4}, "quantization": {"bits": 2}}, {}, "gptq", 4),
    ],
)
def test_how_weights_are_packed(config: Any, beside: Any, format: str, bits: int, tmp_path: Path) -> None:
    found = described(tmp_path / "mine", {**LLAMA, **config}, PACKED, "I32", **beside)
    assert (found.format, found.parameters) == (format, 8 * 64 * 32 // bits)


# --- what is kept and what is refused ----------------------------------------------------------


def test_a_row_keeps_its_words_and_the_files_give_the_facts(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine")
    (folder / "model.safetensors").rename(folder / "own.safetensors")
    base = Checkpoint(
        "row", "gemma", "completion", "transformers", parameters=5, context_length=7, licence="MIT"
    )
    found = describe(folder, base)
    assert (found.name, found.family, found.kind, found.licence) == ("row", "gemma", "completion", "MIT")
    assert (found.parameters, found.context_length, found.weights) == (5, 512, "own.safetensors")
    assert (found.path, found.bytes) == (str(folder), (folder / "own.safetensors").stat().st_size)
    assert describe(folder, replace(base, parameters=0)).parameters == 2 * 96 * 64
    (folder / "config.json").write_text(json.dumps({**LLAMA, "max_position_embeddings": 0}))
    assert describe(folder, base).context_length == 7


def test_an_unknown_repository_keeps_its_names(tmp_path: Path) -> None:
    base = Checkpoint("o/n", "other", "chat", "unknown", title="N", hub_id="o/n", context_length=9)
    found = describe(write_folder(tmp_path / "mine"), base)
    assert (found.name, found.title, found.hub_id) == ("o/n", "N", "o/n")
    assert (found.family, found.format, found.context_length) == ("llama2", "transformers", 512)


@pytest.mark.parametrize("name", ["config.json", "MODEL.SAFETENSORS", "tokenizer.json", "notes.TXT"])
def test_a_file_of_a_folder_means_the_folder(name: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine")
    (folder / name).touch()
    assert describe(folder / name) == describe(folder)


def test_a_file_alone_is_itself_whatever_is_beside_it(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf")
    (tmp_path / "b.gguf.incomplete").touch()
    assert describe(path).path == str(path)
    with pytest.raises(CheckpointCorrupt, match=r"lacks b\.gguf"):
        describe(tmp_path)


@pytest.mark.parametrize("key", ["hidden_size", "vocab_size", "max_position_embeddings", "num_hidden_layers"])
@pytest.mark.parametrize("value", [1 << 60, 10**30, -1])
def test_numbers_that_nothing_has_are_refused(key: str, value: int, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        described(tmp_path / "mine", {**LLAMA, key: value})
