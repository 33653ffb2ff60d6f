"""ChatGLM models: the original files compute what the original code computed."""

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM, DynamicCache, GlmConfig, GlmForCausalLM  # noqa: E402

from models.chatglm import packed, weights  # noqa: E402
from models.chatglm.weights import ChatGLMConfig, load_model  # noqa: E402
from models.errors import (  # noqa: E402
    CheckpointCorrupt,
    CheckpointNotFound,
    UnsupportedCheckpoint,
    UnsupportedPlacement,
)
from models.pretrained.quantize import Int4Linear, Int8Linear, PackedLinear, quantization  # noqa: E402
from tests.fakes import glm_checkpoints as tiny  # noqa: E402
from tests.fakes.paths import SHARED  # noqa: E402
from tests.fakes.waiting import LONG_WAIT, at_once  # noqa: E402

TOLERANCE = 5e-5
needs_fixtures = pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared with the reference outputs")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Any:
    """These matrices are too small to share."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def load(folder: Path, dtype: Any = torch.float32, **kwargs: Any) -> Any:
    return load_model(folder, dtype, **kwargs)


def logits(model: Any, ids: Any, **kwargs: Any) -> Any:
    with torch.no_grad():
        return model(input_ids=ids, **kwargs).logits


def greedy(model: Any, ids: Any, count: int = 24, **kwargs: Any) -> list[list[int]]:
    made = model.generate(ids, max_new_tokens=count, min_new_tokens=count, do_sample=False, **kwargs)
    return made.tolist()


# --- the original code's outputs ---------------------------------------------------------------


@needs_fixtures
@pytest.mark.parametrize("name", ["glm3-a", "glm3-32k", "glm3-int4", "glm3-int8"])
def test_chatglm3_computes_what_the_original_did(name: str) -> None:
    folder = SHARED / "fixtures" / name
    model, reference = load(folder), load_file(folder / "reference.safetensors")
    assert (logits(model, reference["input_ids"]) - reference["logits"]).abs().max() <= TOLERANCE
    everything = torch.ones_like(reference["prompt"])
    for use_cache in (True, False):
        made = greedy(model, reference["prompt"], attention_mask=everything, use_cache=use_cache)
        assert made == reference["greedy"].tolist()


@needs_fixtures
@pytest.mark.parametrize("name", ["glm3-32k", "glm3-int4", "glm3-int8"])
def test_chatglm3_with_left_padding(name: str) -> None:
    folder = SHARED / "fixtures" / name
    model, reference = load(folder), load_file(folder / "reference.safetensors")
    ids, mask = reference["pad_input_ids"], reference["pad_attention_mask"]
    made = logits(model, ids, attention_mask=mask, position_ids=reference["pad_position_ids"])
    assert ((made - reference["pad_logits"]).abs() * mask[..., None]).max() <= TOLERANCE
    assert greedy(model, ids, attention_mask=mask) == reference["pad_greedy"].tolist()


@needs_fixtures
def test_chatglm3_32k_far_into_its_context() -> None:
    folder = SHARED / "fixtures/glm3-32k"
    reference = load_file(folder / "reference.safetensors")
    made = logits(load(folder), reference["long_input_ids"])[:, -4:]
    assert (made - reference["long_logits_last4"]).abs().max() <= TOLERANCE


@needs_fixtures
@pytest.mark.parametrize("name", ["glm1-a", "glm1-28", "glm1-int4", "glm1-int8", "glm1-int4-qe"])
def test_chatglm_6b_computes_what_the_original_did(name: str) -> None:
    folder = SHARED / "fixtures" / name
    model, reference = load(folder), load_file(folder / "reference.safetensors")
    assert sum(key.endswith(".greedy") for key in reference) == 4
    for case in sorted({key.split(".")[0] for key in reference if key.endswith(".input_ids")}):
        ids, expected = reference[f"{case}.input_ids"], reference[f"{case}.logits"]
        valid = (ids != tiny.PAD).long()
        given = {
            "attention_mask": reference[f"{case}.attention_mask"],
            "position_ids": reference[f"{case}.position_ids"],
        }
        error = ((logits(model, ids, **given) - expected).abs() * valid[..., None]).max()
        assert error <= TOLERANCE, case
        # What the model works out from the ids alone is what the original model did with one row.
        expected = reference.get(f"{case}.model_logits", expected)
        error = ((logits(model, ids, attention_mask=valid) - expected).abs() * valid[..., None]).max()
        assert error <= TOLERANCE, case
        if f"{case}.greedy" in reference:
            for use_cache in (True, False):
                made = greedy(model, ids, attention_mask=valid, use_cache=use_cache)
                assert made == reference[f"{case}.greedy"].tolist(), case


# --- the real checkpoints' names ---------------------------------------------------------------


@needs_fixtures
@pytest.mark.parametrize("name", ["chatglm3-6b", "chatglm-6b"])
def test_every_name_of_the_real_files_has_its_place_and_the_reverse(name: str) -> None:
    folder = SHARED / "real" / name
    config = ChatGLMConfig.from_dict(json.loads((folder / "config.json").read_text()))
    names = json.loads((folder / "pytorch_model.bin.index.json").read_text())["weight_map"]
    weights.register()
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float16)
    from transformers.core_model_loading import revert_weight_conversion

    written = revert_weight_conversion(model, model.state_dict())
    assert set(written) == {key for key in names if not key.endswith("inv_freq")}
    read, unknown = _placed(model, names)
    assert read == set(model.state_dict())
    assert unknown == {key for key in names if key.endswith("inv_freq")}
    listed = json.loads((folder / "pytorch_model.bin.index.json").read_text())["metadata"]["total_size"]
    stored = sum(tensor.numel() * 2 for tensor in written.values())
    assert abs(stored / listed - 1) < 1e-4  # the norms are stored in float32


def _placed(model: Any, names: Any) -> tuple[set[str], set[str]]:
    """Parameters that the names of a file fill, and names that fill none."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    mapping = get_model_conversion_mapping(model, add_legacy=False)
    renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in mapping if isinstance(entry, WeightConverter)]
    state, read, unknown = model.state_dict(), set(), set()
    for name in names:
        target, pattern = rename_source_key(name, renamings, converters, model.base_model_prefix, state)
        converter = next((c for c in converters if pattern in c.source_patterns), None)
        targets = [target]
        if converter is not None:
            targets = [
                target.replace(converter.target_patterns[0], part) for part in converter.target_patterns
            ]
        read |= {name for name in targets if name in state}
        unknown |= {name for name in [name] if not any(target in state for target in targets)}
    return read, unknown


# --- small checkpoints of our own --------------------------------------------------------------

GLM3_VARIANTS = {
    "plain": {},
    "long": {"rope_ratio": 50, "seq_length": 32768, "num_layers": 3},
    "no groups": {"multi_query_attention": False, "num_layers": 1},
    "one group": {"multi_query_group_num": 1, "num_attention_heads": 4, "kv_channels": 20},
    "no bias": {"add_qkv_bias": False, "padded_vocab_size": 131, "ffn_hidden_size": 33},
}


@pytest.mark.parametrize("variant", GLM3_VARIANTS)
@pytest.mark.parametrize(("shards", "suffix"), [(1, "bin"), (3, "safetensors")])
def test_small_chatglm3(tmp_path: Path, variant: str, shards: int, suffix: str) -> None:
    config = tiny.GLM3 | GLM3_VARIANTS[variant]
    tensors = tiny.glm3_tensors(config, seed=len(variant))
    model = load(tiny.write(tmp_path, config, tensors, shards, suffix))
    ids = torch.randint(3, config["padded_vocab_size"], (21,), generator=torch.Generator().manual_seed(1))
    assert (logits(model, ids[None])[0] - tiny.glm3_logits(config, tensors, ids)).abs().max() <= TOLERANCE


def test_float16_shards_are_read_in_another_precision(tmp_path: Path) -> None:
    tensors = {name: tensor.half() for name, tensor in tiny.glm3_tensors(tiny.GLM3).items()}
    folder = tiny.write(tmp_path, tiny.GLM3, tensors, shards=4)
    model = load(folder)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    ids = torch.arange(5, 25)
    expected = tiny.glm3_logits(tiny.GLM3, {k: v.float() for k, v in tensors.items()}, ids)
    assert (logits(model, ids[None])[0] - expected).abs().max() <= TOLERANCE
    assert {p.dtype for p in load(folder, torch.bfloat16).parameters()} == {torch.bfloat16}


def test_an_absent_output_head_is_the_embedding(tmp_path: Path) -> None:
    for name, config, tensors, head in (
        ("3", tiny.GLM3, tiny.glm3_tensors(tiny.GLM3), "transformer.output_layer.weight"),
        ("1", tiny.GLM1, tiny.glm1_tensors(tiny.GLM1), "lm_head.weight"),
    ):
        del tensors[head]
        model = load(tiny.write(tmp_path / name, config, tensors))
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_what_a_config_leaves_out_is_as_the_makers_code_has_it() -> None:
    """configuration_chatglm.py of huggingface.co/THUDM/chatglm3-6b."""
    config = ChatGLMConfig.from_dict({"padded_vocab_size": 65024})
    assert (config.hidden_size, config.intermediate_size, config.num_hidden_layers) == (4096, 13696, 28)
    assert (config.num_attention_heads, config.num_key_value_heads, config.head_dim) == (32, 32, 128)
    assert (config.attention_bias, config.tie_word_embeddings, config.use_cache) == (False, False, True)
    assert (config.max_position_embeddings, config.rms_norm_eps) == (2048, 1e-5)
    grouped = ChatGLMConfig.from_dict({"padded_vocab_size": 65024, "multi_query_attention": True})
    assert grouped.num_key_value_heads == 1


def test_chatglm2_32k_interpolates_positions() -> None:
    config = tiny.GLM3 | {"_name_or_path": "THUDM/chatglm2-6b-32k", "rope_ratio": 16}
    with torch.device("meta"):
        model = GlmForCausalLM(ChatGLMConfig.from_dict(config))
    rotary = type(model.model.rotary_emb)(model.config)
    plain = type(rotary)(ChatGLMConfig.from_dict(tiny.GLM3))
    assert torch.allclose(rotary.inv_freq * 16, plain.inv_freq)


GLM1_VARIANTS = {
    "plain": {},
    "deep": {"num_layers": 7, "hidden_size": 32, "num_attention_heads": 2, "inner_hidden_size": 40},
    "one head": {"num_layers": 1, "num_attention_heads": 1, "vocab_size": 201},
}


def prompts(vocab: int, seed: int = 0) -> list[Any]:
    """Rows of ids: context, mask, context, <sop>, some of an answer."""
    random = torch.Generator().manual_seed(seed)

    def draw(count: int) -> list[int]:
        return torch.randint(5, 160, (count,), generator=random).tolist()

    rows = [
        [*draw(9), tiny.GMASK, tiny.SOP],
        [*draw(5), tiny.GMASK, tiny.SOP, *draw(6)],
        [*draw(3), tiny.MASK, *draw(4), tiny.SOP],
        [*draw(2), tiny.MASK, *draw(2), tiny.GMASK, tiny.SOP, *draw(1)],
    ]
    return [torch.tensor(row) for row in rows]


@pytest.mark.parametrize("variant", GLM1_VARIANTS)
@pytest.mark.parametrize(("shards", "suffix"), [(2, "bin"), (1, "safetensors")])
def test_small_chatglm_6b(tmp_path: Path, variant: str, shards: int, suffix: str) -> None:
    config = tiny.GLM1 | GLM1_VARIANTS[variant]
    tensors = tiny.glm1_tensors(config, seed=len(variant))
    model = load(tiny.write(tmp_path, config, tensors, shards, suffix))
    rows = prompts(config["vocab_size"])
    for row in rows:
        assert (logits(model, row[None])[0] - tiny.glm1_logits(config, tensors, row)).abs().max() <= TOLERANCE
    ids, mask = left_padded(rows)
    together = logits(model, ids, attention_mask=mask)
    for made, row in zip(together, rows, strict=True):
        expected = tiny.glm1_logits(config, tensors, row)
        assert (made[-len(row) :] - expected).abs().max() <= TOLERANCE


def left_padded(rows: list[Any]) -> tuple[Any, Any]:
    longest = max(map(len, rows))
    ids = torch.stack([torch.nn.functional.pad(row, (longest - len(row), 0), value=tiny.PAD) for row in rows])
    return ids, (ids != tiny.PAD).long()


@pytest.fixture
def small(tmp_path: Path) -> Any:
    return load(tiny.write(tmp_path, tiny.GLM1, tiny.glm1_tensors(tiny.GLM1)))


def test_one_token_after_the_other_gives_the_same(small: Any) -> None:
    ids, mask = left_padded(prompts(170))
    answer = torch.randint(5, 160, (len(ids), 6), generator=torch.Generator().manual_seed(4))
    whole = torch.cat([ids, answer], 1)
    expected = logits(small, whole, attention_mask=torch.cat([mask, torch.ones_like(answer)], 1))
    for cache in (None, DynamicCache()):
        with torch.no_grad():
            out = small(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True)
            steps = [out.logits]
            for token in answer.split((1, 2, 3), 1):
                out = small(input_ids=token, past_key_values=out.past_key_values)
                steps.append(out.logits)
        assert ((torch.cat(steps, 1) - expected).abs()[:, ids.shape[1] :]).max() <= TOLERANCE


def test_a_batch_generates_what_its_rows_do(small: Any) -> None:
    rows = prompts(170)
    ids, mask = left_padded(rows)
    together = greedy(small, ids, 8, attention_mask=mask)
    beams = greedy(small, ids, 8, attention_mask=mask, num_beams=3)
    for row, made, searched in zip(rows, together, beams, strict=True):
        assert made[-8:] == greedy(small, row[None], 8, use_cache=False)[0][-8:]
        assert searched[-8:] == greedy(small, row[None], 8, num_beams=3)[0][-8:]


def test_a_shortened_cache_is_refused(small: Any) -> None:
    ids = prompts(170)[1][None]
    cache = small(input_ids=ids, use_cache=True).past_key_values
    cache.crop(-4)
    with pytest.raises(ValueError, match="part of a cache"):
        small(input_ids=ids[:, -4:], past_key_values=cache)


def test_only_the_wanted_logits_and_a_loss(small: Any) -> None:
    ids = prompts(170)[0][None]
    whole = small(input_ids=ids, labels=ids)
    assert torch.allclose(small(input_ids=ids, logits_to_keep=2).logits, whole.logits[:, -2:], atol=1e-5)
    assert whole.loss.isfinite()


def test_the_first_vocabulary_has_its_ids() -> None:
    old = ChatGLMConfig.from_dict(tiny.GLM1 | {"vocab_size": 150528, "bos_token_id": 150004} | NO_IDS)
    assert (old.mask_token_id, old.gmask_token_id, old.eos_token_id) == (150000, 150001, 150005)
    assert old.pad_token_id == 20003
    slim = ChatGLMConfig.from_dict(tiny.GLM1 | {"vocab_size": 130528, "bos_token_id": 130004} | NO_IDS)
    assert (slim.mask_token_id, slim.gmask_token_id, slim.eos_token_id) == (130000, 130001, 130005)
    assert slim.pad_token_id == 3


NO_IDS = {"eos_token_id": None, "pad_token_id": None}

# --- packed files ------------------------------------------------------------------------------

WIDE3 = {"hidden_size": 64, "ffn_hidden_size": 96, "num_attention_heads": 4, "kv_channels": 32}
WIDE3 |= {"multi_query_group_num": 2, "padded_vocab_size": 192}
WIDE1 = {"hidden_size": 64, "num_attention_heads": 4, "inner_hidden_size": 128, "vocab_size": 192}


@pytest.mark.parametrize(("bits", "suffix"), [(4, "bin"), (8, "bin"), (4, "safetensors")])
@pytest.mark.parametrize("kind", ["glm3", "glm1", "glm1 with embeddings"])
def test_packed_files_are_exact_in_float32(tmp_path: Path, kind: str, bits: int, suffix: str) -> None:
    config, tensors, reference = _wide(kind)
    stored, whole = tiny.pack(tensors, bits, "embeddings" in kind)
    # The key is wrong on purpose: some published copies have it wrong.
    config = config | {"quantization_bit": 12 - bits}
    model = load(tiny.write(tmp_path, config, stored, suffix=suffix))
    ids = prompts(192)[1]
    assert (logits(model, ids[None])[0] - reference(config, whole, ids)).abs().max() <= TOLERANCE
    in_memory = sum(t.numel() for t in model.state_dict().values() if t.dtype == torch.int8)
    assert in_memory == sum(t.numel() for t in stored.values() if t.dtype == torch.int8)
    assert all(type(layer) is not torch.nn.Linear or layer is model.lm_head for layer in model.modules())


def _wide(kind: str) -> tuple[Any, Any, Any]:
    if kind == "glm3":
        config = tiny.GLM3 | WIDE3
        return config, tiny.glm3_tensors(config), tiny.glm3_logits
    config = tiny.GLM1 | WIDE1
    return config, tiny.glm1_tensors(config), tiny.glm1_logits


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("kind", ["glm3", "glm1", "glm1 with embeddings"])
def test_packed_files_use_the_processors_operators_in_bfloat16(tmp_path: Path, kind: str, bits: int) -> None:
    config, tensors, reference = _wide(kind)
    stored, whole = tiny.pack(tensors, bits, "embeddings" in kind)
    model = load(tiny.write(tmp_path, config, stored), torch.bfloat16)
    layers = [layer for layer in model.modules() if isinstance(layer, PackedLinear)]
    assert {type(layer) for layer in layers} == {Int4Linear if bits == 4 else Int8Linear}
    assert len(layers) == {"glm3": 12, "glm1": 12, "glm1 with embeddings": 13}[kind]
    ids = prompts(192)[1]
    expected = reference(config, whole, ids)
    error = (logits(model, ids[None])[0].float() - expected).norm() / expected.norm()
    assert error < 0.03


def test_packed_files_in_no_other_precision(tmp_path: Path) -> None:
    stored, _ = tiny.pack(tiny.glm3_tensors(tiny.GLM3), 8)
    folder = tiny.write(tmp_path, tiny.GLM3, stored)
    with pytest.raises(UnsupportedPlacement, match="already packed as int8"):
        load(folder, torch.bfloat16, quantization_config=quantization("int4", "cpu"))


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize("kind", ["glm3", "glm1"])
def test_ordinary_files_are_quantised_while_they_are_read(tmp_path: Path, kind: str, precision: str) -> None:
    config, tensors, reference = _wide(kind)
    folder = tiny.write(tmp_path, config, tensors, shards=2)
    model = load(folder, torch.bfloat16, quantization_config=quantization(precision, "cpu"))
    layers = [layer for layer in model.modules() if isinstance(layer, PackedLinear)]
    assert len(layers) >= 12
    ids = prompts(192)[1]
    expected = reference(config, tensors, ids)
    error = (logits(model, ids[None])[0].float() - expected).norm() / expected.norm()
    assert error < (0.03 if precision == "int8" else 0.3)


def test_every_byte_of_a_packed_weight() -> None:
    numbers = torch.arange(-7, 8, dtype=torch.int8).repeat(16).view(15, 16)
    bytes_ = (numbers[:, ::2] << 4) | (numbers[:, 1::2] & 15)
    assert torch.equal(packed.unpack(bytes_, 4), numbers)


# --- within the library ------------------------------------------------------------------------


def test_the_library_loads_the_folder_by_itself_and_runs_no_code_from_it(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "3", tiny.GLM3, tiny.glm3_tensors(tiny.GLM3))
    (folder / "configuration_chatglm.py").write_text("raise SystemExit('remote code ran')")
    weights.register()
    assert isinstance(AutoModelForCausalLM.from_pretrained(folder), GlmForCausalLM)
    folder = tiny.write(tmp_path / "1", tiny.GLM1, tiny.glm1_tensors(tiny.GLM1))
    assert type(AutoModelForCausalLM.from_pretrained(folder)).__name__ == "ChatGLM6BForCausalLM"


def test_a_model_is_written_under_its_original_names(tmp_path: Path) -> None:
    for name, config, tensors in (
        ("3", tiny.GLM3, tiny.glm3_tensors(tiny.GLM3)),
        ("1", tiny.GLM1, tiny.glm1_tensors(tiny.GLM1)),
    ):
        model = load(tiny.write(tmp_path / name, config, tensors))
        model.save_pretrained(tmp_path / name / "copy")
        written = load_file(tmp_path / name / "copy/model.safetensors")
        kept = {key: tensor for key, tensor in tensors.items() if not key.endswith("inv_freq")}
        assert written.keys() == kept.keys()
        assert all(torch.equal(written[key], kept[key]) for key in kept)
        again = load(tmp_path / name / "copy")
        ids = prompts(160)[1][None] % 160 if name == "3" else prompts(160)[1][None]
        assert torch.equal(logits(again, ids), logits(model, ids))


def test_a_device_map_is_followed(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path, tiny.GLM1, tiny.glm1_tensors(tiny.GLM1))
    ids = prompts(160)[1][None]
    mapped = load(folder, device_map={"": "cpu"})
    assert torch.equal(logits(mapped, ids), logits(load(folder), ids))


def test_registering_from_many_threads_and_again() -> None:
    at_once(lambda _: weights.register(), range(8), LONG_WAIT)


def test_glm_4_in_the_librarys_own_format_is_untouched(tmp_path: Path) -> None:
    weights.register()
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    model = GlmForCausalLM(
        GlmConfig(**sizes, num_attention_heads=2, num_key_value_heads=1, head_dim=16, pad_token_id=0)
    )
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert type(again) is GlmForCausalLM
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)


# --- what is wrong with a folder ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"padded_vocab_size": 151552}, "GLM-4"),
        ({"rmsnorm": False}, "rmsnorm"),
        ({"add_bias_linear": True}, "add_bias_linear"),
        ({"post_layer_norm": False}, "post_layer_norm"),
        ({"apply_residual_connection_post_layernorm": True}, "apply_residual_connection"),
    ],
)
def test_another_architecture_is_named(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    folder = tiny.write(tmp_path, tiny.GLM3 | change, {"x": torch.zeros(1)})
    with pytest.raises(UnsupportedCheckpoint, match=named):
        load(folder)


def test_one_dimensional_positions_are_refused(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path, tiny.GLM1 | {"position_encoding_2d": False}, {"x": torch.zeros(1)})
    with pytest.raises(UnsupportedCheckpoint, match="one-dimensional"):
        load(folder)


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match=r"config\.json"):
        load(tmp_path)
    tensors = tiny.glm3_tensors(tiny.GLM3)
    folder = tiny.write(tmp_path / "cut", tiny.GLM3, tensors)
    whole = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointCorrupt, match=r"pytorch_model\.bin"):
        load(folder)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(CheckpointNotFound, match="weights"):
        load(folder)
    del tensors["transformer.encoder.layers.1.self_attention.dense.weight"]
    with pytest.raises(CheckpointCorrupt, match=r"layers\.1\.self_attn\.o_proj\.weight"):
        load(tiny.write(tmp_path / "lacking", tiny.GLM3, tensors))
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointCorrupt, match=r"config\.json"):
        load(folder)


@pytest.mark.parametrize("change", [{"ffn_hidden_size": 81}, {"kv_channels": 16}, {"padded_vocab_size": 161}])
def test_a_config_that_does_not_fit_its_weights(tmp_path: Path, change: dict[str, int]) -> None:
    folder = tiny.write(tmp_path, tiny.GLM3 | change, tiny.glm3_tensors(tiny.GLM3))
    with pytest.raises(CheckpointCorrupt, match="shape"):
        load(folder)
