"""ChatGLM's own packed files: what is shared in memory, and what has to stay apart."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from models.chatglm.packed import StoredConfig, StoredEmbedding, StoredLinear, packing, unpack  # noqa: E402
from models.chatglm.weights import load_model  # noqa: E402
from models.pretrained.quantize import Int4Linear, Int8Linear  # noqa: E402
from tests.fakes import glm_checkpoints as tiny  # noqa: E402

SIZES = {"hidden_size": 64, "num_attention_heads": 4, "inner_hidden_size": 128, "vocab_size": 192}
IDS = torch.tensor([5, 6, 7, tiny.GMASK, tiny.SOP, 8, 9])


def files(bits: int, own_head: bool) -> tuple[dict[str, Any], Any, Any]:
    """A config, its tensors with embedding and head packed, and the weights that these stand for."""
    config = tiny.GLM1 | SIZES
    tensors = tiny.glm1_tensors(config)
    stored, whole = tiny.pack(tensors, bits, embeddings=True)
    if own_head:
        own = {"transformer.word_embeddings.weight": tensors["lm_head.weight"]}
        packed, read = tiny.pack(own, bits, embeddings=True)
        stored["lm_head.weight"] = packed["transformer.word_embeddings.weight"]
        stored["lm_head.weight_scale"] = packed["transformer.word_embeddings.weight_scale"]
        whole["lm_head.weight"] = read["transformer.word_embeddings.weight"]
    return config, stored, whole


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("own_head", [True, False])
def test_a_packed_head_is_the_embedding_only_where_the_files_say_so(
    tmp_path: Path, own_head: bool, bits: int
) -> None:
    config, stored, whole = files(bits, own_head)
    model: Any = load_model(tiny.write(tmp_path, config, stored), torch.float32)
    head, embedding = model.lm_head, model.transformer.word_embeddings
    assert (head.weight.data_ptr() == embedding.weight.data_ptr()) != own_head
    with torch.no_grad():
        got = model(input_ids=IDS[None]).logits[0]
    assert (got - tiny.glm1_logits(config, whole, IDS)).abs().max() < 5e-5


@pytest.mark.parametrize("bits", [4, 8])
def test_a_head_on_the_processors_operators_is_its_own_too(tmp_path: Path, bits: int) -> None:
    config, stored, whole = files(bits, own_head=True)
    model: Any = load_model(tiny.write(tmp_path, config, stored), torch.bfloat16)
    assert type(model.lm_head) is (Int4Linear if bits == 4 else Int8Linear)
    with torch.no_grad():
        got = model(input_ids=IDS[None]).logits[0].float()
    expected = tiny.glm1_logits(config, whole, IDS)
    assert (got - expected).norm() / expected.norm() < 0.03


def test_how_files_are_packed_is_read_from_their_shapes() -> None:
    for bits in (4, 8):
        config, stored, _ = files(bits, own_head=False)
        found = packing(stored)
        assert found is not None and (found.bits, found.embeddings) == (bits, True)
        layers = {name: tensor for name, tensor in stored.items() if name != "lm_head.weight_scale"}
        del layers["transformer.word_embeddings.weight_scale"]
        found = packing(layers)
        assert found is not None and (found.bits, found.embeddings) == (bits, False)
    assert packing(tiny.glm1_tensors(config)) is None
    scaleless = {name: tensor for name, tensor in stored.items() if not name.endswith("_scale")}
    assert packing(scaleless) is None


def test_integers_of_both_widths() -> None:
    bytes_ = torch.tensor([[0x7F, -1, -128 + 0x71]], dtype=torch.int8)  # 7 -1, -1 -1, -1 1 … in halves
    assert unpack(bytes_, 8) is bytes_
    assert unpack(torch.tensor([[0x7F - 0, 0x01]], dtype=torch.int8), 4).tolist() == [[7, -1, 0, 1]]
    assert unpack(torch.tensor([[-8 << 4 | 7]], dtype=torch.int8), 4).tolist() == [[-8, 7]]


def stored_layer(bits: Any, rows: int, columns: int, bias: bool = False) -> StoredLinear:
    layer = StoredLinear(torch.nn.Linear(columns, rows, bias), bits, torch.float32)
    torch.manual_seed(0)
    layer.weight = torch.randint(-120, 120, layer.weight.shape).to(torch.int8)
    layer.weight_scale = torch.rand(rows) + 0.5
    if bias:
        layer.bias = torch.nn.Parameter(torch.randn(rows))
    return layer


@pytest.mark.parametrize("bits", [4, 8])
def test_a_layer_larger_than_a_block_multiplies_all_of_it(bits: int) -> None:
    layer = stored_layer(bits, rows=1030, columns=6, bias=True)
    x = torch.randn(2, 3, 6)
    weight = unpack(layer.weight, bits) * layer.weight_scale[:, None]  # type: ignore[arg-type]
    with torch.no_grad():
        expected = x @ weight.T + layer.bias
        assert layer(x).shape == (2, 3, 1030)
        assert torch.allclose(layer(x), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_packed_embedding_gives_the_rows_asked_for(bits: Any) -> None:
    embedding = StoredEmbedding(10, 4, bits, torch.float32)
    embedding.weight = torch.randint(-100, 100, embedding.weight.shape).to(torch.int8)
    embedding.weight_scale = torch.rand(10)
    whole = unpack(embedding.weight, bits) * embedding.weight_scale[:, None]
    ids = torch.tensor([[3, 3], [9, 0]])
    assert torch.equal(embedding(ids), whole[ids])


def test_a_config_says_what_is_packed() -> None:
    config = StoredConfig(8, embeddings=True)
    assert (config.bits, config.embeddings, config.quant_method) == (8, True, "chatglm")
