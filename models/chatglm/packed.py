"""ChatGLM's own int4 and int8 files: weights stay packed in memory as they are on disk.

One symmetric scale per output row, no zero point. Eight bits: int8 (rows, columns). Four bits: int8
(rows, columns / 2), the even column in the high half of a byte, the odd one in the low half, both in
two's complement. The format is that of ``quantization.py`` in THUDM/chatglm-6b-int4.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AUTO_QUANTIZER_MAPPING
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from models.pretrained.quantize import Int4Linear, PackedLinear, pack_levels, packed_like

Bits = Literal[4, 8]
METHOD = "chatglm"
# Rows of a weight that are unpacked at once: some megabytes.
BLOCK = 1024


def unpack(weight: Tensor, bits: Bits) -> Tensor:
    """The integers of a packed weight, int8 (rows, columns)."""
    if bits == 8:
        return weight
    return torch.stack((weight >> 4, (weight << 4) >> 4), dim=-1).flatten(1)


class Stored(nn.Module):
    """Buffers named and shaped as in the files: `weight`, and `weight_scale` (rows,)."""

    weight: Tensor
    weight_scale: Tensor

    def __init__(self, rows: int, columns: int, bits: Bits, dtype: torch.dtype) -> None:
        super().__init__()
        self.rows, self.columns, self.bits = rows, columns, bits
        self.register_buffer("weight", torch.empty(rows, columns * bits // 8, dtype=torch.int8))
        self.register_buffer("weight_scale", torch.empty(rows, dtype=dtype))

    def extra_repr(self) -> str:
        return f"rows={self.rows}, columns={self.columns}, bits={self.bits}"


class StoredLinear(Stored):
    """A linear layer on the file's own integers; exact in the dtype of its scales."""

    def __init__(self, linear: nn.Linear, bits: Bits, dtype: torch.dtype) -> None:
        super().__init__(linear.out_features, linear.in_features, bits, dtype)
        has_bias = linear.bias is not None
        self.bias = nn.Parameter(torch.empty(self.rows, dtype=dtype)) if has_bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) to (…, out), some rows of the weight at a time."""
        parts = []
        for weight, scale in zip(
            torch.split(self.weight, BLOCK), torch.split(self.weight_scale, BLOCK), strict=True
        ):
            parts.append(F.linear(x, unpack(weight, self.bits).to(x.dtype) * scale[:, None].to(x.dtype)))
        y = torch.cat(parts, dim=-1)
        return y if self.bias is None else y + self.bias


class StoredEmbedding(Stored):
    def forward(self, ids: Tensor) -> Tensor:
        """(…,) to (…, columns)."""
        flat = ids.flatten()
        rows = unpack(self.weight[flat], self.bits) * self.weight_scale[flat, None]
        return rows.view(*ids.shape, self.columns)


def fast(stored: StoredLinear) -> PackedLinear | None:
    """The same layer for the processor's packed operators; None for sizes that they cannot take."""
    with torch.device("meta"):
        like = nn.Linear(stored.columns, stored.rows, bias=stored.bias is not None)
        layer = packed_like(like, stored.bits)
    if layer is None:
        return None
    layer.bias, layer.weight, layer.weight_scale = stored.bias, stored.weight, stored.weight_scale
    if isinstance(layer, Int4Linear):
        layer.weight = pack_levels(unpack(stored.weight, 4) + 8)
        scale = torch.stack((stored.weight_scale, torch.zeros_like(stored.weight_scale)), dim=-1)
        layer.weight_scale = scale.expand(stored.columns // layer.group, -1, -1).contiguous()
    return layer


# --- recognising, and transformers' hooks ------------------------------------------------------


def packing(tensors: Mapping[str, Tensor]) -> "StoredConfig | None":
    """How a checkpoint is packed, by the tensors in it; None for ordinary weights.

    Args:
        tensors: of the whole checkpoint; only dtypes and shapes are looked at.
    """
    packed = [n for n in tensors if tensors[n].dtype == torch.int8 and f"{n}_scale" in tensors]
    if not packed:
        return None
    # The layer norm of the same model tells how many columns an unpacked row has.
    dense = next(name for name in packed if name.endswith("query_key_value.weight"))
    norm = next(name for name in tensors if name.endswith("input_layernorm.weight"))
    bits: Bits = 8 if tensors[dense].shape[1] == tensors[norm].shape[0] else 4
    return StoredConfig(bits, any("embedding" in name for name in packed))


class StoredConfig(QuantizationConfigMixin):
    """What `from_pretrained` is told about a packed checkpoint.

    Args:
        bits: 4 or 8.
        embeddings: the embedding and the output head are packed too.
    """

    def __init__(self, bits: Bits, embeddings: bool = False, **kwargs: Any) -> None:
        self.quant_method = METHOD  # type: ignore[assignment]  # the library's enum knows its own only
        self.bits = bits
        self.embeddings = embeddings


class StoredQuantizer(HfQuantizer):
    """Puts packed layers where the checkpoint has them."""

    quantization_config: StoredConfig

    def _process_model_before_weight_loading(self, model: PreTrainedModel, **kwargs: Any) -> None:
        dtype = model.dtype
        bits, embeddings = self.quantization_config.bits, self.quantization_config.embeddings
        head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        for name, module in list(model.named_modules()):
            with torch.device("meta"):
                if type(module) is nn.Linear and (embeddings or module is not head):
                    model.set_submodule(name, StoredLinear(module, bits, dtype))
                elif type(module) is nn.Embedding and embeddings:
                    sizes = module.num_embeddings, module.embedding_dim
                    model.set_submodule(name, StoredEmbedding(*sizes, bits, dtype))

    def _process_model_after_weight_loading(self, model: PreTrainedModel, **kwargs: Any) -> None:
        head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        embedding = model.get_input_embeddings()
        packed_both = isinstance(head, StoredLinear) and isinstance(embedding, StoredEmbedding)
        if packed_both and torch.equal(head.weight, embedding.get_buffer("weight")):
            head.weight = embedding.get_buffer("weight")  # both are stored; one copy is enough
        for name, module in list(model.named_modules()):
            if isinstance(module, StoredLinear) and _has_operators(module.weight_scale):
                packed = fast(module)
                if packed is not None:
                    model.set_submodule(name, packed)

    def is_serializable(self) -> bool:
        return False

    @property
    def is_trainable(self) -> bool:
        return False


def _has_operators(scale: Tensor) -> bool:
    return scale.device.type == "cpu" and scale.dtype == torch.bfloat16


def register() -> None:
    """Make the format known to transformers; again does nothing."""
    AUTO_QUANTIZATION_CONFIG_MAPPING[METHOD] = StoredConfig
    AUTO_QUANTIZER_MAPPING[METHOD] = StoredQuantizer
