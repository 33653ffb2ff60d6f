"""int8 and int4 weights on a CPU."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models import catalog
from models.errors import UnsupportedPlacement
from models.placement import weight_bytes
from tests.fakes.hf_engine import answer, load
from tests.fakes.tiny_models import as_bin, save_gemma, save_llama


def packed(bits: int, inside: int = 256, outside: int = 192, bias: bool = True) -> tuple[Any, Any]:
    """A float layer and its packed twin."""
    import torch
    from torch import nn

    from models.pretrained import quantize

    torch.manual_seed(0)
    layer = nn.Linear(inside, outside, bias)
    twin = quantize.packed_like(layer, bits)
    if twin is not None:
        twin.weight, twin.weight_scale = quantize._pack_in_blocks(twin, layer.weight.detach())
        if bias:
            twin.bias = nn.Parameter(layer.bias.detach().bfloat16())
    return layer, twin


@pytest.mark.parametrize("bits, bound", [(8, 0.006), (4, 0.08)])
@pytest.mark.parametrize("inside, outside", [(256, 192), (96, 64), (1024, 1088)])
def test_packed_layer_is_close(bits: int, bound: float, inside: int, outside: int) -> None:
    import torch

    layer, twin = packed(bits, inside, outside)
    x = torch.randn(2, 7, inside)
    with torch.no_grad():
        exact, got = layer(x), twin(x.bfloat16())
    assert got.dtype == torch.bfloat16
    assert got.shape == exact.shape
    assert (got - exact).norm() / exact.norm() < bound


@pytest.mark.parametrize("bits", [8, 4])
def test_few_and_many_rows_agree(bits: int) -> None:
    import torch

    from models.pretrained.quantize import BLOCK, MANY_ROWS

    _, twin = packed(bits, 128, BLOCK + 64)  # more than one block, the last one short
    x = torch.randn(MANY_ROWS + 1, 128).bfloat16()
    with torch.no_grad():
        many, few = twin(x).float(), torch.cat([twin(row[None]) for row in x]).float()
    assert (many - few).norm() / few.norm() < 0.005


def test_levels_are_unpacked_in_the_operators_order() -> None:
    """What the layer reads back is what was packed, for every row and column."""
    import torch

    from models.pretrained.quantize import Int4Linear, pack_levels

    levels = torch.randint(0, 16, (128, 128))
    layer = Int4Linear(128, 128, False, 32)
    layer.weight = pack_levels(levels)
    layer.weight_scale = torch.stack([torch.ones(4, 128), torch.zeros(4, 128)], -1).bfloat16()
    assert layer(torch.eye(128).bfloat16()).T.float().equal(levels.float() - 8)


@pytest.mark.parametrize("bits", [8, 4])
def test_zeros_and_outliers(bits: int) -> None:
    import torch

    from models.pretrained.quantize import packed_like

    layer = torch.nn.Linear(128, 64, False)
    with torch.no_grad():
        layer.weight[0] = 0
        layer.weight[1, 5] = 1000.0
    twin = packed_like(layer, bits)
    twin.weight, twin.weight_scale = twin.pack(layer.weight.detach())
    got = twin(torch.eye(128).bfloat16()).T
    assert got.isfinite().all()
    assert got[0].abs().max() < 1e-5
    assert abs(float(got[1, 5]) - 1000) < 10


@pytest.mark.parametrize(
    "bits, inside, outside",
    [
        (8, 100, 64), (8, 8, 64), (8, 24, 64), (8, 120, 64),  # the operator would read behind the rows
        (4, 80, 64), (4, 16, 64), (4, 128, 80), (4, 128, 96), (4, 128, 32), (16, 128, 128),
    ],
)  # fmt: skip
def test_sizes_that_cannot_be_packed(bits: int, inside: int, outside: int) -> None:
    assert packed(bits, inside, outside)[1] is None


@pytest.mark.parametrize("inside, outside", [(16, 1), (48, 3), (112, 5), (80, 64)])
def test_int8_rows_of_any_multiple_of_16_are_multiplied_right(inside: int, outside: int) -> None:
    import torch

    layer, twin = packed(8, inside, outside)
    x = torch.randn(3, inside)
    with torch.no_grad():
        exact, got = layer(x), twin(x.bfloat16())
    assert (got - exact).norm() / exact.norm() < 0.01


@pytest.mark.parametrize("inside, group", [(256, 128), (192, 64), (96, 32), (64, 64), (32, 32)])
def test_the_widest_group_that_divides_a_row_is_taken(inside: int, group: int) -> None:
    assert packed(4, inside, 64)[1].group == group


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_parts_that_stay_whole_are_not_packed(tmp_path: Path, precision: str) -> None:
    from torch import nn
    from transformers import AutoModelForCausalLM

    from models.pretrained.quantize import PackedLinear, quantization

    config = quantization(precision, "cpu", whole=("model.layers.1", "model.layers.2.mlp"))
    model = AutoModelForCausalLM.from_pretrained(
        save_llama(tmp_path), dtype="bfloat16", quantization_config=config
    )
    whole = {name for name, module in model.named_modules() if type(module) is nn.Linear}
    small = {name for name, module in model.named_modules() if isinstance(module, PackedLinear)}
    own = {name for name in whole | small if name.startswith(("model.layers.1.", "model.layers.2.mlp."))}
    assert len(own) == 10 and own <= whole
    assert whole - own <= {"lm_head"}
    assert any(name.startswith("model.layers.0.") for name in small)
    assert any(name.startswith("model.layers.2.self_attn.") for name in small)


def test_bitsandbytes_is_told_what_stays_whole() -> None:
    from models.pretrained.quantize import quantization

    told = quantization("int8", "cuda:1", whole=("model.visual",))
    assert told.llm_int8_skip_modules == ["lm_head", "model.visual"]
    assert quantization("int4", "cuda").llm_int8_skip_modules is None  # its own default: the head
    four = quantization("int4", "cuda:0")
    assert (four.load_in_8bit, four.bnb_4bit_quant_type, four.bnb_4bit_use_double_quant) == (
        False,
        "nf4",
        True,
    )


@pytest.mark.parametrize("precision, share, bound", [("int8", 0.6, 0.05), ("int4", 0.45, 0.5)])
@pytest.mark.parametrize("save", [save_llama, save_gemma])
def test_quantised_while_loading(
    save: Any, tmp_path: Path, precision: str, share: float, bound: float
) -> None:
    import torch

    wide = {"hidden_size": 256, "intermediate_size": 1024, "initializer_range": 0.02}
    folder = save(tmp_path, **wide)
    plain, small = load(folder, "bf16"), load(folder, precision)
    assert small.report.weights < plain.report.weights * share
    assert small.report.dtype == f"{precision} (bfloat16 activations)"
    assert small.report.notes == ()
    ids = torch.arange(40)[None]
    with torch.no_grad():
        exact, got = plain.model(ids).logits.float(), small.model(ids).logits.float()
    assert (got - exact).norm() / exact.norm() < bound
    assert answer(small)[1].usage.completion_tokens == 24


def test_bin_is_quantised_too(tmp_path: Path) -> None:
    expected = answer(load(save_llama(tmp_path), "int8"))[0]
    assert answer(load(as_bin(tmp_path), "int8"))[0] == expected


def test_the_head_has_more_bits_unless_it_is_the_embedding(tmp_path: Path) -> None:
    own, tied = save_llama(tmp_path / "own"), save_llama(tmp_path / "tied", tie_word_embeddings=True)
    heads = [type(load(own, precision).model.lm_head).__name__ for precision in ("int4", "int8")]
    assert heads == ["Int8Linear", "Linear"]
    model = load(tied, "int4").model
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize("precision", ["bf16", "int8", "int4"])
@pytest.mark.parametrize("tied", [False, True])
def test_weights_take_what_was_planned(tmp_path: Path, precision: str, tied: bool) -> None:
    sizes = {"hidden_size": 256, "intermediate_size": 1024, "vocab_size": 1024, "tie_word_embeddings": tied}
    folder = save_llama(tmp_path, **sizes)
    planned = weight_bytes(catalog.describe(folder, catalog.find(str(folder))), precision)
    assert load(folder, precision).report.weights == pytest.approx(planned, rel=0.01)


def test_no_effect_is_said(tmp_path: Path) -> None:
    odd = {"hidden_size": 60, "intermediate_size": 120, "num_attention_heads": 3, "num_key_value_heads": 3}
    engine = load(save_llama(tmp_path, **odd, head_dim=20, vocab_size=330), "int4")
    (note,) = engine.report.notes
    assert "had no effect" in note.en
    assert engine.report.dtype == "bfloat16"


def test_partial_effect_is_said(tmp_path: Path) -> None:
    (note,) = load(save_llama(tmp_path, head_dim=20), "int4").report.notes  # attention has odd sizes
    assert note.en == "12 of 22 linear layers stay in bfloat16."


def test_devices_without_operators() -> None:
    from models.pretrained.quantize import quantization

    with pytest.raises(UnsupportedPlacement):
        quantization("int4", "mps")
    assert quantization("bf16", "cpu") is None
    assert quantization("int4", "cuda:0").load_in_4bit
    assert quantization("int8", "cuda:0").load_in_8bit
    assert not quantization("int8", "cuda:0").load_in_4bit
    assert [quantization(precision, "cpu").bits for precision in ("int8", "int4")] == [8, 4]


MEASURE = """
import sys, threading
from pathlib import Path
from models.engines.hf import HfEngine
from models.schema import Checkpoint, Placement
import torch, transformers, models.pretrained.generation, models.pretrained.quantize
from transformers import LlamaForCausalLM

def own():  # bytes of memory that are no file's pages
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

def load(path, precision):
    return HfEngine(Path(path), Checkpoint("tiny", "llama2", "chat", "transformers"), Placement("cpu", precision))

load(sys.argv[1], "int4")  # whatever is allocated once
before, peak, done = own(), 0, threading.Event()

def watch():
    global peak
    while not done.wait(0.005):
        peak = max(peak, own())

thread = threading.Thread(target=watch, daemon=True)
thread.start()
engine = load(sys.argv[2], "int4")
done.set()
thread.join()
print(peak - before, engine.report.weights)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_load_never_holds_the_whole_model(tmp_path: Path) -> None:
    """The peak of an int4 load stays far below the bfloat16 model: near the packed one."""
    tiny = save_llama(tmp_path / "tiny")
    wide = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 4, "head_dim": 256}
    large = save_llama(tmp_path / "large", **wide, dtype="bfloat16")
    bf16 = (large / "model.safetensors").stat().st_size
    command = [sys.executable, "-c", MEASURE, str(tiny), str(large)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    peak, weights = map(int, done.stdout.split())
    assert weights < bf16 * 0.35
    assert peak < bf16 * 0.6
