"""What files and folders say they are, whole and damaged."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGUFWriter

from models.catalog import CHECKPOINTS, describe, find, headers
from models.catalog.whisper import whisper_parameters
from models.errors import CheckpointCorrupt, ModelError, UnsupportedCheckpoint
from tests.fakes.paths import SHARED
from tests.fakes.tiny_checkpoints import (
    LLAMA,
    cut,
    whisper_dims,
    write_ctranslate2,
    write_folder,
    write_gguf,
    write_safetensors,
    write_torch,
)

needs_fixtures = pytest.mark.skipif(not (SHARED / "fixtures").is_dir(), reason="no fixtures here")


# --- GGUF --------------------------------------------------------------------------------------


def test_a_gguf_file(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf")
    found = find(str(path))
    assert (found.format, found.family, found.kind, found.context_length) == ("gguf", "llama2", "chat", 512)
    assert found.parameters == 96 * 64 + 64 * 64
    assert found.bytes == path.stat().st_size
    shape = found.shape
    assert shape is not None
    assert (shape.layers, shape.kv_heads, shape.head_dim, shape.hidden, shape.vocab) == (2, 2, 16, 64, 96)
    assert shape.tied and shape.window is None


def test_a_gguf_file_without_template_is_for_completion(tmp_path: Path) -> None:
    found = describe(
        write_gguf(tmp_path / "a.gguf", "gemma3", None, attention__sliding_window=32, attention__key_length=8)
    )
    assert (found.family, found.kind) == ("gemma", "completion")
    assert found.shape is not None
    assert (found.shape.window, found.shape.global_layers, found.shape.head_dim) == (32, 0, 8)


def test_kv_heads_may_be_listed_by_layer(tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "a.gguf", "openelm")
    writer.add_block_count(2)
    writer.add_embedding_length(64)
    writer.add_head_count([4, 8])
    writer.add_head_count_kv([1, 4])
    writer.add_key_length(16)
    writer.add_tensor("token_embd.weight", np.zeros((8, 64), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    shape = describe(tmp_path / "a.gguf").shape
    assert shape is not None and shape.kv_heads == 3  # on average, and no less


@pytest.mark.parametrize("lost", [1, 5000, 30000])
def test_half_a_gguf_file(tmp_path: Path, lost: int) -> None:
    path = cut(write_gguf(tmp_path / "a.gguf"), lost)
    with pytest.raises(CheckpointCorrupt, match="half a download"):
        describe(path)


def test_every_shorter_gguf_header_is_refused(tmp_path: Path) -> None:
    whole = write_gguf(tmp_path / "a.gguf").read_bytes()
    path = tmp_path / "b.gguf"
    for length in range(4, 2000, 61):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointCorrupt):
            describe(path)


def test_a_gguf_file_that_is_no_text_model(tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "a.gguf", "clip")
    writer.add_tensor("v.patch_embd.weight", np.zeros((8, 64), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UnsupportedCheckpoint, match="clip"):
        describe(tmp_path / "a.gguf")


def test_a_gguf_model_in_parts(tmp_path: Path) -> None:
    write_gguf(tmp_path / "a-00001-of-00002.gguf")
    with pytest.raises(CheckpointCorrupt, match="a-00002-of-00002.gguf"):
        describe(tmp_path / "a-00001-of-00002.gguf")
    second = GGUFWriter(tmp_path / "a-00002-of-00002.gguf", "llama")
    second.add_tensor("output.weight", np.zeros((96, 64), np.float32))
    second.write_header_to_file()
    second.write_kv_data_to_file()
    second.write_tensors_to_file()
    second.close()
    found = describe(tmp_path)
    assert found.path == str(tmp_path / "a-00001-of-00002.gguf")
    assert found.note is None  # the other part is no other file
    assert found.parameters == 2 * 96 * 64 + 64 * 64
    assert found.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert found.shape is not None and not found.shape.tied


def test_block_sizes_are_those_of_the_gguf_package() -> None:
    assert {int(kind): size for kind, size in GGML_QUANT_SIZES.items()} == headers.GGML_BLOCKS


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("text.gguf", b"I am a text file.", UnsupportedCheckpoint),
        ("paper.gguf", b"%PDF-1.7 ...", UnsupportedCheckpoint),
        ("paper.pdf", b"%PDF-1.7 ...", UnsupportedCheckpoint),
        ("empty.gguf", b"", CheckpointCorrupt),
        ("empty.pt", b"", CheckpointCorrupt),
        ("short.gguf", b"GGUF", CheckpointCorrupt),
        ("old.gguf", b"GGUF\1\0\0\0" + bytes(64), UnsupportedCheckpoint),
        ("half.pt", b"PK\3\4" + bytes(100), CheckpointCorrupt),
    ],
)
def test_files_that_are_not_what_they_are_called(
    tmp_path: Path, name: str, content: bytes, error: type[ModelError]
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(error, match=name) as caught:
        describe(path)
    assert caught.value.zh.endswith("。")


# --- Whisper -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_whisper_pt_file(tmp_path: Path) -> None:
    import torch

    dims = whisper_dims()
    torch.save({"dims": dims, "model_state_dict": {"x": torch.zeros(4)}}, tmp_path / "tiny.pt")
    found = describe(tmp_path)  # the folder holds nothing else
    assert (found.format, found.kind, found.path) == ("whisper-pt", "speech", str(tmp_path / "tiny.pt"))
    assert found.parameters == whisper_parameters(dims)
    assert found.shape is not None and (found.shape.layers, found.shape.vocab) == (3, 300)
    cut(tmp_path / "tiny.pt", 30)
    with pytest.raises(CheckpointCorrupt):
        describe(tmp_path)


@pytest.mark.slow
def test_a_pt_file_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCheckpoint):
        describe(write_torch(tmp_path / "other.pt", {"layer.weight": 1}))


def test_a_pickle_in_a_pt_file_is_never_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    command = f"cos\nsystem\n(S'touch {ran}'\ntR.".encode()
    with zipfile.ZipFile(tmp_path / "evil.pt", "w") as archive:
        archive.writestr("archive/data.pkl", command)
    with pytest.raises(UnsupportedCheckpoint):
        describe(tmp_path / "evil.pt")
    assert not ran.exists()


def test_a_ctranslate2_folder(tmp_path: Path) -> None:
    found = describe(write_ctranslate2(tmp_path / "ct2"))
    assert (found.format, found.family, found.kind) == ("ctranslate2", "whisper", "speech")
    assert found.shape is not None
    assert (found.shape.layers, found.shape.hidden, found.shape.vocab) == (2, 128, 100)
    assert found.parameters == 100 * 128 + 2 * 64 + 8


@pytest.mark.parametrize("name", ["model.bin", "vocabulary.json", "tokenizer.json"])
def test_a_ctranslate2_folder_that_lacks_a_file(tmp_path: Path, name: str) -> None:
    folder = write_ctranslate2(tmp_path / "ct2")
    (folder / name).unlink()
    with pytest.raises(CheckpointCorrupt, match=name.split(".")[0]):
        describe(folder)


def test_other_ctranslate2_folders(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCheckpoint, match="TransformerSpec"):
        describe(write_ctranslate2(tmp_path / "translation", "TransformerSpec"))
    half = write_ctranslate2(tmp_path / "half")
    cut(half / "model.bin", 10)
    with pytest.raises(CheckpointCorrupt, match=r"model\.bin"):
        describe(half)


def test_a_transformers_whisper_folder(tmp_path: Path) -> None:
    config = {"model_type": "whisper", "decoder_layers": 2, "d_model": 64, "vocab_size": 96}
    found = describe(write_folder(tmp_path / "w", config))
    assert (found.format, found.kind, found.family) == ("whisper-hf", "speech", "whisper")


# --- transformers folders ------------------------------------------------------------------------


def test_a_llama_folder(tmp_path: Path) -> None:
    found = find(str(write_folder(tmp_path / "mine")))
    assert (found.format, found.family, found.kind) == ("transformers", "llama2", "chat")
    assert (found.context_length, found.parameters) == (512, 2 * 96 * 64)
    assert found.shape is not None
    assert (found.shape.kv_heads, found.shape.head_dim, found.shape.tied) == (2, 16, False)
    assert describe(write_folder(tmp_path / "base", template=False)).kind == "completion"


@pytest.mark.parametrize(
    ("more", "family_name", "window", "global_layers"),
    [
        ({"model_type": "gemma", "head_dim": 32}, "gemma", None, None),
        ({"model_type": "gemma2", "sliding_window": 8}, "gemma", 8, 1),
        ({"model_type": "gemma3_text", "sliding_window": 8, "layer_types": ["full_attention", "sliding_attention"]}, "gemma", 8, 1),
        ({"model_type": "mistral", "sliding_window": 8}, "llama2", 8, 0),
        ({"model_type": "qwen2", "sliding_window": 8, "use_sliding_window": False}, "llama2", None, None),
        ({"model_type": "glm"}, "llama2", None, None),
    ],
)  # fmt: skip
def test_other_decoders(
    tmp_path: Path, more: dict[str, Any], family_name: str, window: int | None, global_layers: int | None
) -> None:
    found = describe(write_folder(tmp_path / "mine", {**LLAMA, **more}))
    assert (found.format, found.family) == ("transformers", family_name)
    assert found.shape is not None
    assert (found.shape.window, found.shape.global_layers) == (window, global_layers)


def test_a_decoder_that_is_part_of_a_model_is_described_by_its_own_config(tmp_path: Path) -> None:
    own = {**LLAMA, "model_type": "gemma3_text", "head_dim": 24, "sliding_window": 8}
    whole = {"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"], "text_config": own}
    found = describe(write_folder(tmp_path / "mine", whole))
    assert (found.family, found.context_length) == ("gemma", 512)
    assert found.shape is not None
    sizes = (
        found.shape.layers,
        found.shape.kv_heads,
        found.shape.head_dim,
        found.shape.hidden,
        found.shape.vocab,
    )
    assert sizes == (2, 2, 24, 64, 96) and found.shape.window == 8


def test_gptq_and_other_quantisations(tmp_path: Path) -> None:
    gptq = {**LLAMA, "quantization_config": {"quant_method": "gptq", "bits": 4}}
    folder = write_folder(tmp_path / "gptq", gptq)
    packed = {"layer.qweight": (8, 64), "layer.qzeros": (1, 8), "layer.g_idx": (64,)}
    write_safetensors(folder / "model.safetensors", packed, "I32")
    found = describe(folder)
    assert (found.format, found.parameters) == ("gptq", 64 * 64)
    with pytest.raises(UnsupportedCheckpoint, match="awq"):
        describe(write_folder(tmp_path / "awq", {**LLAMA, "quantization_config": {"quant_method": "awq"}}))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "bert", "architectures": ["BertModel"]}, "bert"),
        ({"model_type": "gpt2", "architectures": ["GPT2ForCausalLM"]}, "gpt2"),
        ({"model_type": "qwen", "architectures": ["QWenLMHeadModel"]}, "Qwen"),
        ({}, "model_type"),
    ],
)
def test_configs_that_nothing_reads(tmp_path: Path, config: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=said):
        describe(write_folder(tmp_path / "mine", config))


@pytest.mark.parametrize("content", ["", "{", "[]", "\udcff"])
def test_a_damaged_config(tmp_path: Path, content: str) -> None:
    folder = write_folder(tmp_path / "mine")
    (folder / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(CheckpointCorrupt, match=r"config\.json"):
        describe(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_folder_that_lacks_a_file(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path / "mine")
    (folder / name).unlink()
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(CheckpointCorrupt, match=name):
        describe(folder)


def test_a_folder_without_config(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=r"config\.json"):
        describe(tmp_path)
    write_gguf(tmp_path / "a.gguf")
    assert describe(tmp_path).path == str(tmp_path / "a.gguf")
    write_gguf(tmp_path / "b.gguf")
    with pytest.raises(UnsupportedCheckpoint, match=r"a\.gguf, b\.gguf"):
        describe(tmp_path)


@pytest.mark.parametrize("lost", [1, 24_000])
def test_short_safetensors(tmp_path: Path, lost: int) -> None:
    folder = write_folder(tmp_path / "mine")
    cut(folder / "model.safetensors", lost)
    with pytest.raises(CheckpointCorrupt, match=r"model\.safetensors"):
        describe(folder)


def test_a_download_under_way(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine")
    (folder / "model.safetensors.incomplete").write_bytes(b"...")
    with pytest.raises(CheckpointCorrupt, match=r"lacks model\.safetensors"):
        describe(folder)


def test_shards_are_all_looked_at(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine")
    (folder / "model.safetensors").unlink()
    weight_map = {"model.embed_tokens.weight": "one.safetensors", "lm_head.weight": "two.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    write_safetensors(folder / "one.safetensors", {"model.embed_tokens.weight": (96, 64)})
    with pytest.raises(CheckpointCorrupt, match=r"two\.safetensors"):
        describe(folder)
    write_safetensors(folder / "two.safetensors", {"lm_head.weight": (96, 64)})
    assert describe(folder).parameters == 2 * 96 * 64
    (folder / "two.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointCorrupt, match=r"two\.safetensors"):
        describe(folder)


@pytest.mark.slow
def test_bin_weights(tmp_path: Path) -> None:
    import torch

    folder = write_folder(tmp_path / "mine")
    (folder / "model.safetensors").unlink()
    embedding = torch.zeros(96, 64)
    both = {"model.embed_tokens.weight": embedding, "lm_head.weight": torch.nn.Parameter(embedding.clone())}
    weights = write_torch(folder / "pytorch_model.bin", both)
    found = describe(folder)
    assert found.shape is not None and not found.shape.tied
    assert (found.parameters, found.bytes) == (2 * 96 * 64, weights.stat().st_size)
    for tied in ({**both, "lm_head.weight": embedding}, {"model.embed_tokens.weight": embedding}):
        write_torch(weights, tied)
        found = describe(folder)
        assert found.shape is not None and found.shape.tied
        assert found.parameters == 96 * 64
    cut(weights, 10)
    with pytest.raises(CheckpointCorrupt, match=r"pytorch_model\.bin"):
        describe(folder)
    weights.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointCorrupt, match=r"pytorch_model\.bin"):
        describe(folder)


def test_a_catalog_entry_keeps_what_files_do_not_say(tmp_path: Path) -> None:
    base = CHECKPOINTS["llama-2-7b-chat"]
    found = describe(write_folder(tmp_path / "mine", template=False), base)
    assert (found.name, found.licence, found.options, found.kind) == (
        base.name,
        base.licence,
        base.options,
        "chat",
    )
    assert (found.path, found.context_length) == (str(tmp_path / "mine"), 512)
    assert found.shape is not None and found.shape.layers == 2


def test_files_decide_what_an_unknown_hub_id_is(tmp_path: Path) -> None:
    found = describe(
        write_folder(tmp_path / "mine", {**LLAMA, "model_type": "gemma"}), find("someone/something")
    )
    assert (found.name, found.hub_id) == ("someone/something", "someone/something")
    assert (found.format, found.family) == ("transformers", "gemma")


# --- the original formats ------------------------------------------------------------------------


@needs_fixtures
@pytest.mark.parametrize(
    ("folder", "format", "kv_heads", "context_length"),
    [
        ("glm3-a", "chatglm", 2, 256),
        ("glm3-32k", "chatglm", 2, 32768),
        ("glm3-int4", "chatglm-packed", 2, 256),
        ("glm3-int8", "chatglm-packed", 2, 256),
        ("glm1-a", "chatglm", 4, 256),
        ("glm1-28", "chatglm", 2, 256),
        ("glm1-int4", "chatglm-packed", 4, 256),
        ("glm1-int4-qe", "chatglm-packed", 4, 256),
        ("qwenvl-a", "qwen-vl", 4, 1024),
        ("qwenvl-int4", "qwen-vl-gptq", 4, 1024),
    ],
)
def test_the_fixtures(folder: str, format: str, kv_heads: int, context_length: int) -> None:
    found = describe(SHARED / "fixtures" / folder)
    assert (found.format, found.context_length) == (format, context_length)
    assert found.family == ("qwen_vl" if folder.startswith("qwen") else "chatglm")
    assert found.kind == ("vision" if folder.startswith("qwen") else "chat")
    assert found.shape is not None and found.shape.kv_heads == kv_heads


@needs_fixtures
@pytest.mark.parametrize("generation", ["glm1", "glm3"])
def test_packed_weights_are_counted_unpacked(generation: str) -> None:
    plain = describe(SHARED / "fixtures" / f"{generation}-a").parameters
    for bits in ("int4", "int8"):
        assert describe(SHARED / "fixtures" / f"{generation}-{bits}").parameters == plain


@pytest.mark.slow
@needs_fixtures
@pytest.mark.parametrize("name", ["chatglm3-6b", "chatglm-6b", "qwen-vl-chat-int4"])
def test_the_real_configs_agree_with_the_table(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for file in (SHARED / "real" / name).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    with pytest.raises(CheckpointCorrupt, match="00001-of"):
        describe(folder)
    index = json.loads(next(folder.glob("*.index.json")).read_text())
    for shard in set(index["weight_map"].values()):
        if shard.endswith(".bin"):
            write_torch(folder / shard, {})
        else:
            write_safetensors(folder / shard, {})
    row, found = CHECKPOINTS[name], describe(folder)
    assert (found.family, found.kind, found.format) == (row.family, row.kind, row.format)
    assert found.context_length == row.context_length
    assert found.shape is not None and row.shape is not None
    # The first ChatGLM-6B files have 20,000 more rows, for images.
    assert found.shape.vocab - row.shape.vocab == (20_000 if name == "chatglm-6b" else 0)
    assert (found.shape.layers, found.shape.kv_heads, found.shape.head_dim, found.shape.tied) == (
        row.shape.layers,
        row.shape.kv_heads,
        row.shape.head_dim,
        row.shape.tied,
    )


def test_a_base_chatglm_is_for_completion(tmp_path: Path) -> None:
    config = {
        "model_type": "chatglm",
        "_name_or_path": "THUDM/chatglm3-6b-base",
        "num_attention_heads": 4,
        "hidden_size": 64,
        "num_layers": 2,
        "kv_channels": 16,
        "padded_vocab_size": 96,
        "seq_length": 512,
    }
    assert describe(write_folder(tmp_path / "mine", config)).kind == "completion"


@pytest.mark.parametrize("value", ["many", -1, 2.5, [1], {"a": 1}, 1e999], ids=str)
@pytest.mark.parametrize("key", [key for key, usual in LLAMA.items() if isinstance(usual, int)])
def test_a_config_of_other_types_is_a_sentence(key: str, value: Any, tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", {**LLAMA, key: value})
    with pytest.raises(ModelError):
        describe(path)


@pytest.mark.parametrize(
    "part",
    [
        {"text_config": "x"},
        {"hidden_size": 10**400},
        {"num_hidden_layers": None},
        {"vocab_size": None},
        {"sliding_window": "x"},
        {"quantization_config": [1]},
        {"architectures": 1},
    ],
)
def test_parts_of_a_config_of_other_types_are_a_sentence(part: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        describe(write_folder(tmp_path / "a", {**LLAMA, **part}))
