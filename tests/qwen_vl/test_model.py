"""Qwen-VL's model: the original files compute what the original code computed."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from PIL import Image  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402
from transformers.core_model_loading import revert_weight_conversion  # noqa: E402

from models.errors import CheckpointCorrupt, UnsupportedCheckpoint, UnsupportedPlacement  # noqa: E402
from models.pretrained.quantize import Int4Linear, Int8Linear, quantization  # noqa: E402
from models.qwen_vl import gptq, weights  # noqa: E402
from models.qwen_vl.model import QwenVLConfig, QwenVLForCausalLM, ntk_alpha  # noqa: E402
from models.qwen_vl.pixels import pixels  # noqa: E402
from models.qwen_vl.vision import sine_positions  # noqa: E402
from models.qwen_vl.weights import NO_BIAS, QwenConfig, load_model  # noqa: E402
from tests.fakes import qwen_checkpoints as tiny  # noqa: E402
from tests.fakes.paths import SHARED  # noqa: E402

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
    kwargs.setdefault("attention_mask", torch.ones_like(ids))
    return model.generate(ids, max_new_tokens=count, do_sample=False, **kwargs).tolist()


# --- the original code's outputs ---------------------------------------------------------------


def reference(name: str) -> tuple[Any, dict[str, Any]]:
    folder = SHARED / "fixtures" / name
    return load(folder), load_file(folder / "reference.safetensors")


@needs_fixtures
@pytest.mark.parametrize("name", ["qwenvl-a", "qwenvl-int4"])
def test_texts_and_pictures_as_in_the_original(name: str) -> None:
    model, expected = reference(name)
    assert (logits(model, expected["text_input_ids"]) - expected["text_logits"]).abs().max() <= TOLERANCE
    assert greedy(model, expected["text_prompt"]) == expected["text_greedy"].tolist()
    size = model.model.sizes.image_size
    picture = pixels(Image.fromarray(expected["image_uint8"].numpy()), size)[None]
    assert ("image_pixels" in expected) == (name == "qwenvl-a")
    if "image_pixels" in expected:
        assert torch.equal(picture, expected["image_pixels"])
    with torch.no_grad():
        assert (model.model.visual(picture) - expected["image_visual"]).abs().max() <= 2e-5
    ids = expected["image_input_ids"]
    error = logits(model, ids, pixel_values=picture) - expected["image_logits"]
    assert error.abs().max() <= TOLERANCE
    assert greedy(model, ids, pixel_values=picture) == expected["image_greedy"].tolist()


@needs_fixtures
@pytest.mark.parametrize(("name", "last"), [("qwenvl-a", 4), ("qwenvl-long", 8)])
def test_left_padding_as_in_the_original(name: str, last: int) -> None:
    model, expected = reference(name)
    made = logits(model, expected["pad_input_ids"], attention_mask=expected["pad_attention_mask"])
    assert (made[:, -last:] - expected["pad_last_logits"]).abs().max() <= TOLERANCE


@needs_fixtures
def test_a_longer_training_text_needs_neither_rule(tmp_path: Path) -> None:
    folder = SHARED / "fixtures/qwenvl-a"
    config = json.loads((folder / "config.json").read_text()) | {"seq_length": 2048}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").symlink_to(folder / "model.safetensors")
    model, expected = load(tmp_path), load_file(folder / "reference.safetensors")
    ids, picture = expected["image_input_ids"], expected["image_pixels"]
    made = logits(model, ids, pixel_values=picture)[:, expected["image_seq2048_positions"]]
    assert (made - expected["image_seq2048_logits"]).abs().max() <= TOLERANCE
    assert greedy(model, ids, pixel_values=picture) == expected["image_seq2048_greedy"].tolist()


@needs_fixtures
def test_long_texts_as_in_the_original() -> None:
    model, expected = reference("qwenvl-long")
    ids = expected["long_input_ids"]
    assert (logits(model, ids) - expected["long_logits"]).abs().max() <= TOLERANCE
    for length, last in zip(expected["prefix_lengths"].tolist(), expected["prefix_last_logits"], strict=True):
        assert (logits(model, ids[:, :length])[0, -1] - last).abs().max() <= TOLERANCE, length
    for prompt in ("p56", "p120"):
        for use_cache, kind in ((True, "cached"), (False, "nocache")):
            made = greedy(model, expected[f"{prompt}_prompt"], use_cache=use_cache)
            assert made == expected[f"{prompt}_greedy_{kind}"].tolist()


@needs_fixtures
def test_two_conversations_do_not_disturb_each_other() -> None:
    """One begins beyond the first boundary, the other crosses it: each keeps the base of its prompt."""
    model, expected = reference("qwenvl-long")
    made, caches = {}, {}
    for name in ("p56", "p120"):
        with torch.no_grad():
            out = model(input_ids=expected[f"{name}_prompt"])
        made[name], caches[name] = [out.logits[:, -1]], out.past_key_values
    for step in range(24):
        for name, cache in caches.items():
            at = expected[f"{name}_prompt"].shape[1] + step
            token = expected[f"{name}_forced_ids"][:, at : at + 1]
            made[name].append(logits(model, token, past_key_values=cache)[:, -1])
    for name, steps in made.items():
        error = torch.stack(steps, 1) - expected[f"{name}_forced_cached_logits"]
        assert error.abs().max() <= TOLERANCE


# --- the real checkpoint's names ---------------------------------------------------------------


@needs_fixtures
def test_every_name_of_the_real_int4_files_has_its_place_and_the_reverse() -> None:
    folder = SHARED / "real/qwen-vl-chat-int4"
    stored = json.loads((folder / "config.json").read_text())
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    weights.register()
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(QwenConfig.from_dict(stored), dtype=torch.float16)
    assert sum(parameter.numel() for parameter in model.parameters()) == 9_656_935_168
    quantizer = gptq.StoredQuantizer(gptq.StoredConfig(**stored["quantization_config"]))
    quantizer._process_model_before_weight_loading(model)
    written = revert_weight_conversion(model, model.state_dict())
    left = set(index["weight_map"]) - set(written)
    assert set(written) < set(index["weight_map"]) and all(map(NO_BIAS.search, left))
    zeros = sum(2 * written[f"{name.removesuffix('.bias')}.qweight"].shape[1] for name in left)
    assert sum(tensor.nbytes for tensor in written.values()) + zeros == index["metadata"]["total_size"]


# --- small checkpoints of our own --------------------------------------------------------------

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "other sizes": {"visual": {"image_size": 30, "patch_size": 5, "width": 48, "layers": 1, "heads": 3}},
    "no projection": {"visual": {"width": 128, "heads": 4, "n_queries": 16}},
    "the table's grid": {"visual": {"image_size": 32, "patch_size": 2, "n_queries": 256}},
    "two heads see": {
        "hidden_size": 256,
        "num_attention_heads": 2,
        "kv_channels": 128,
        "visual": {"output_dim": 256},
    },
    "no rules": {"use_dynamic_ntk": False, "use_logn_attn": False, "num_hidden_layers": 1},
    "another base": {"rotary_emb_base": 500.0, "seq_length": 17, "intermediate_size": 64},
}


def prompt(config: Any, pictures: int, length: int = 12, seed: int = 0) -> Any:
    """Ids with so many pictures among them, (length of all,)."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 250, (length,), generator=random).tolist()
    start, queries = config["visual"]["image_start_id"], config["visual"]["n_queries"]
    for n in reversed(range(pictures)):
        ids[n * 5 : n * 5] = [start, *range(queries), start + 1]
    return torch.tensor(ids)


def pictures(config: Any, count: int, seed: int = 5) -> Any:
    size = config["visual"]["image_size"]
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("shards", "suffix"), [(1, "bin"), (3, "safetensors")])
def test_small_qwen_vl(tmp_path: Path, variant: str, shards: int, suffix: str) -> None:
    config = tiny.config(**VARIANTS[variant])
    tensors = tiny.tensors(config, seed=len(variant))
    model = load(tiny.write(tmp_path, config, tensors, shards, suffix))
    ids, values = prompt(config, 2), pictures(config, 2)
    with torch.no_grad():
        seen = model.model.visual(values)
    expected = torch.stack([tiny.see(config, tensors, picture) for picture in values])
    assert (seen - expected).abs().max() <= 2e-5
    made = logits(model, ids[None], pixel_values=values)[0]
    assert (made - tiny.logits(config, tensors, ids, values)).abs().max() <= TOLERANCE


def test_the_first_qwen_reads_texts(tmp_path: Path) -> None:
    config = tiny.config() | {"visual": None}
    del config["visual"]
    tensors = tiny.tensors(config)
    model = load(tiny.write(tmp_path, config, tensors))
    ids = torch.arange(40)
    assert (logits(model, ids[None])[0] - tiny.logits(config, tensors, ids)).abs().max() <= TOLERANCE
    assert not hasattr(model.model, "visual")


@pytest.fixture
def small(tmp_path: Path) -> Any:
    config = tiny.config(seq_length=512)
    return load(tiny.write(tmp_path, config, tiny.tensors(config)))


def test_a_batch_of_rows_with_other_numbers_of_pictures(small: Any) -> None:
    config, values = tiny.config(), pictures(tiny.config(), 3)
    rows = [prompt(config, count, 20 - 3 * count, seed=count) for count in (0, 2, 1)]
    longest = max(map(len, rows))
    ids = torch.stack([torch.nn.functional.pad(row, (longest - len(row), 0), value=255) for row in rows])
    mask = torch.stack([torch.arange(longest) >= longest - len(row) for row in rows]).long()
    together = logits(small, ids, attention_mask=mask, pixel_values=values)
    made = greedy(small, ids, 8, attention_mask=mask, pixel_values=values)
    for row, own, tokens, seen in zip(rows, together, made, (None, values[:2], values[2:]), strict=True):
        alone = logits(small, row[None], pixel_values=seen)[0]
        assert (own[-len(row) :] - alone).abs().max() <= TOLERANCE
        assert tokens[-8:] == greedy(small, row[None], 8, pixel_values=seen)[0][-8:]
        assert tokens[-8:] == greedy(small, row[None], 8, pixel_values=seen, use_cache=False)[0][-8:]


def test_pictures_may_come_in_a_later_step_and_as_features(small: Any) -> None:
    config, values = tiny.config(), pictures(tiny.config(), 2)
    ids = prompt(config, 2)[None]
    expected = logits(small, ids, pixel_values=values)
    with torch.no_grad():
        features = small.model.visual(values)
        first = small(input_ids=ids[:, :5], use_cache=True)
        kept = small(input_ids=ids[:, :13], mm_encoder_outputs=features[:1], use_cache=True)
    assert first.past_key_values.get_seq_length() == 5
    rest = logits(small, ids[:, 13:], past_key_values=kept.past_key_values, pixel_values=values[1:])
    assert (torch.cat([kept.logits, rest], 1) - expected).abs().max() <= TOLERANCE


def test_several_answers_to_a_row_see_all_of_its_pictures(small: Any) -> None:
    config, values = tiny.config(), pictures(tiny.config(), 3)
    rows = [prompt(config, 2, 12, seed=1), prompt(config, 1, 12 + config["visual"]["n_queries"] + 2, seed=2)]
    longest = max(map(len, rows))
    ids = torch.stack([torch.nn.functional.pad(row, (longest - len(row), 0), value=255) for row in rows])
    mask = torch.stack([torch.arange(longest) >= longest - len(row) for row in rows]).long()
    kwargs = {
        "attention_mask": mask,
        "max_new_tokens": 1,
        "output_logits": True,
        "return_dict_in_generate": True,
    }
    features = small.model.visual(values)
    for shown in ({"pixel_values": values}, {"mm_encoder_outputs": features}):
        once = small.generate(ids, do_sample=False, **shown, **kwargs).logits[0]
        twice = small.generate(ids, do_sample=True, num_return_sequences=2, **shown, **kwargs).logits[0]
        assert (twice - once.repeat_interleave(2, 0)).abs().max() <= TOLERANCE


def test_more_pictures_than_places_are_refused(small: Any) -> None:
    config = tiny.config()
    with pytest.raises(ValueError, match="2 pictures, but places for 1"):
        logits(small, prompt(config, 1)[None], pixel_values=pictures(config, 2))


def test_tokens_after_the_prompt_keep_its_base(tmp_path: Path) -> None:
    config = tiny.config(seq_length=16)
    tensors = tiny.tensors(config)
    model = load(tiny.write(tmp_path, config, tensors))
    ids = torch.arange(3, 60)
    for length in (15, 16, 17, 32, 33):
        out = model(input_ids=ids[None, :length], use_cache=True)
        made = [out.logits]
        for part in ids[None, length:].split((1, 2, 4, len(ids) - length - 7), 1):
            made.append(logits(model, part, past_key_values=out.past_key_values))
        expected = tiny.logits(config, tensors, ids, prompt=length)
        assert (torch.cat(made, 1)[0] - expected).abs().max() <= TOLERANCE, length


def test_states_of_a_short_text_do_not_begin_a_long_one() -> None:
    """Their positions were turned with another base."""
    from transformers import DynamicCache

    from models.qwen_vl.prefix import QwenPrefixCache

    config = QwenVLConfig(seq_length=16, num_hidden_layers=1)
    kept, model = QwenPrefixCache(100, config), SimpleNamespace(config=config)
    for length, cached in ((16, 8), (17, 0)):
        states = DynamicCache(config=config)
        states.update(torch.zeros(1, 1, 8, 4), torch.zeros(1, 1, 8, 4), 0)
        states.ntk_alpha = ntk_alpha(config, 8)
        kept.keep(states, list(range(8)))
        assert kept.take(model, list(range(length)), 20)[1] == cached


def test_alpha_changes_behind_the_multiples() -> None:
    lengths = {1: 1, 2048: 1, 2049: 3, 4096: 3, 4097: 7, 8192: 7, 8193: 15, 32768: 31, 32769: 63}
    assert {length: ntk_alpha(QwenVLConfig(), length) for length in lengths} == lengths
    assert ntk_alpha(QwenVLConfig(use_dynamic_ntk=False), 5000) == 1


def test_a_new_model_can_be_trained_and_written_in_the_original_format(tmp_path: Path) -> None:
    config = tiny.config(seq_length=512)
    weights.register()
    model = QwenVLForCausalLM(QwenConfig.from_dict(config))
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    ids, values = prompt(config, 1)[None], pictures(config, 1)
    loss = model(input_ids=ids, pixel_values=values, labels=ids).loss
    loss.backward()
    still = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert still == {"model.visual.attn_pool.pos_embed"}
    written = revert_weight_conversion(model, model.state_dict())
    assert {name: t.shape for name, t in written.items()} == {
        name: t.shape for name, t in tiny.tensors(config).items()
    }
    again = load(tiny.write(tmp_path, config, written))
    assert torch.equal(logits(again, ids, pixel_values=values), logits(model, ids, pixel_values=values))


def test_the_makers_table_of_positions() -> None:
    """First the column's sines and cosines, then the row's: get_2d_sincos_pos_embed of visual.py."""
    table = sine_positions(8, 3)
    expected = torch.tensor([2.0, 0.02]).sin().tolist() + torch.tensor([2.0, 0.02]).cos().tolist()
    assert torch.allclose(table[3 + 2, :4], torch.tensor(expected))
    assert torch.allclose(table[3 + 2, 4:], torch.tensor([1.0, 0.01, 1.0, 0.01]).sin() * torch.tensor([1, 1, 0, 0])
                          + torch.tensor([1.0, 0.01, 1.0, 0.01]).cos() * torch.tensor([0, 0, 1, 1]))  # fmt: skip


# --- int4 and int8 -----------------------------------------------------------------------------


@pytest.mark.parametrize(("group", "second"), [(32, False), (64, True), (128, False), (16, True)])
@pytest.mark.parametrize("act_order", [False, True])
def test_autogptq_files_are_exact_in_float32(
    tmp_path: Path, group: int, second: bool, act_order: bool
) -> None:
    packing = tiny.GPTQ | {"group_size": group, "desc_act": act_order}
    packing |= {"checkpoint_format": "gptq_v2"} if second else {}
    config = tiny.config(intermediate_size=256, quantization_config=packing)
    stored, whole = tiny.pack(tiny.tensors(config), group, second, act_order)
    model = load(tiny.write(tmp_path, config, stored, 2, "safetensors"))
    fast = group != 16 and (not act_order or group == 128)  # there all inputs are one group
    kinds = {type(model.get_submodule(f"model.layers.0.self_attn.{part}_proj")) for part in "qkvo"}
    assert kinds == {Int4Linear if fast else gptq.GptqLinear}
    ids, values = prompt(config, 1, 120), pictures(config, 1)
    made = logits(model, ids[None], pixel_values=values)[0]
    expected = tiny.logits(config, whole, ids, values)
    assert (made - expected).abs().max() <= TOLERANCE
    with torch.no_grad():
        out = model(input_ids=ids[None, :-1], pixel_values=values)
    last = logits(model, ids[None, -1:], past_key_values=out.past_key_values)
    assert (last[0, -1] - expected[-1]).abs().max() <= TOLERANCE


def test_all_inputs_may_be_one_group() -> None:
    layer = gptq.GptqLinear(torch.nn.Linear(64, 16), gptq.StoredConfig(group_size=-1), torch.float32)
    assert layer.group == 64 and layer.scales.shape == (1, 16) and layer.qzeros.shape == (1, 2)


def test_autogptq_files_in_bfloat16_are_near(tmp_path: Path) -> None:
    config = tiny.config(intermediate_size=256, quantization_config=tiny.GPTQ)
    stored, whole = tiny.pack(tiny.tensors(config), 32)
    model = load(tiny.write(tmp_path, config, stored, 1, "safetensors"), torch.bfloat16)
    assert {p.dtype for p in model.model.visual.parameters()} == {torch.bfloat16}
    ids = torch.arange(30)
    expected = tiny.logits(config, whole, ids)
    assert (logits(model, ids[None])[0] - expected).abs().mean() <= 0.05 * expected.abs().mean()


@pytest.mark.parametrize("changes", [{"bits": 8}, {"checkpoint_format": "marlin"}])
def test_other_packings_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = tiny.config(quantization_config=tiny.GPTQ | changes)
    with pytest.raises(UnsupportedCheckpoint, match="only gptq with 4"):
        load(tiny.write(tmp_path, config, tiny.pack(tiny.tensors(config), 32)[0], 1, "safetensors"))


def test_packed_files_take_no_further_precision(tmp_path: Path) -> None:
    config = tiny.config(quantization_config=tiny.GPTQ)
    folder = tiny.write(tmp_path, config, tiny.pack(tiny.tensors(config), 32)[0], 1, "safetensors")
    with pytest.raises(UnsupportedPlacement):
        load(folder, quantization_config=quantization("int8", "cpu"))


def test_a_bias_that_is_no_zero_is_refused(tmp_path: Path) -> None:
    config = tiny.config(quantization_config=tiny.GPTQ)
    stored = tiny.pack(tiny.tensors(config), 32)[0]
    stored["transformer.h.1.mlp.w1.bias"][3] = 0.5
    with pytest.raises(UnsupportedCheckpoint, match=r"h\.1\.mlp\.w1\.bias"):
        load(tiny.write(tmp_path, config, stored, 2, "safetensors"))


@pytest.mark.parametrize("bits", [8, 4])
def test_quantised_while_loading_the_tower_stays_whole(tmp_path: Path, bits: int) -> None:
    config = tiny.config(intermediate_size=256)
    folder = tiny.write(tmp_path, config, tiny.tensors(config))
    wanted = quantization(f"int{bits}", "cpu", whole=("model.visual",))
    model = load(folder, torch.bfloat16, quantization_config=wanted)
    packed = [name for name, m in model.named_modules() if isinstance(m, (Int8Linear, Int4Linear))]
    assert any("layers" in name for name in packed) and not any("visual" in name for name in packed)
    assert logits(model, prompt(config, 1)[None], pixel_values=pictures(config, 1)).isfinite().all()


# --- files that are not as they should be ------------------------------------------------------


def test_tensors_that_lack_or_do_not_fit(tmp_path: Path) -> None:
    config = tiny.config()
    tensors = tiny.tensors(config)
    for name, change, said in (
        ("transformer.visual.proj", None, "lacks"),
        ("transformer.h.0.attn.c_attn.weight", None, "lacks"),
        ("transformer.h.1.mlp.w1.weight", torch.zeros(7, 7), "another shape"),
        ("transformer.h.1.mlp.w3.weight", torch.zeros(7, 7), "unknown"),
    ):
        changed = {**tensors, name: change}
        folder = tmp_path / name
        tiny.write(folder, config, {k: v for k, v in changed.items() if v is not None})
        with pytest.raises(CheckpointCorrupt, match=said):
            load(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"no_bias": False},
        {"rotary_pct": 0.5},
        {"kv_channels": 16},
        {"visual": {"output_dim": 64}},
    ],
)
def test_what_no_released_weights_have(changes: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedCheckpoint):
        QwenConfig.from_dict(tiny.config(**changes))
