"""AutoGPTQ's int4 files where there are no kernels of their own: on a processor, and anywhere else.

A weight is scale * (level - zero), levels 0 … 15. Eight levels lie in a word, the lowest nibble first:
`qweight` (in / 8, out) along the inputs, `qzeros` (groups, out / 8) along the outputs; `scales` is
(groups, out), `g_idx` (in,) the group of each input. The first version of the format stores zeros less
one (github.com/AutoGPTQ/AutoGPTQ, qlinear_cuda.py), "gptq_v2" as they are.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AUTO_QUANTIZER_MAPPING
from transformers.quantizers.base import HfQuantizer
from transformers.utils import logging
from transformers.utils.quantization_config import QuantizationConfigMixin

from models.errors import UnsupportedCheckpoint
from models.pretrained.quantize import GROUPS, Int4Linear, pack_levels

METHOD = "quintet-gptq"
PER_WORD = 8
BLOCK = 512  # rows of a weight that are unpacked together: some megabytes


class StoredConfig(QuantizationConfigMixin):
    """A config.json's "quantization_config", for this reader. Raises UnsupportedCheckpoint.

    Args:
        group_size: inputs that share a scale; -1: all of them.
    """

    def __init__(
        self,
        bits: int = 4,
        group_size: int = 128,
        checkpoint_format: str | None = None,
        format: str = "gptq",
        **kwargs: Any,
    ) -> None:
        self.quant_method = METHOD  # type: ignore[assignment]  # the library's enum knows its own only
        self.bits, self.group_size = bits, group_size
        self.format = checkpoint_format or format
        if bits != 4 or self.format not in ("gptq", "gptq_v2"):
            raise UnsupportedCheckpoint(
                f"These weights are {self.format} with {bits} bits, and only gptq with 4 can be read: use "
                "Qwen/Qwen-VL-Chat-Int4.",
                f"这些权重为 {bits} 位的 {self.format} 格式，只能读取 4 位的 gptq：请使用 Qwen/Qwen-VL-Chat-Int4。",
            )

    @property
    def zero_offset(self) -> int:
        return 1 if self.format == "gptq" else 0


def unpack(words: Tensor) -> Tensor:
    """The nibbles of int32 words (…, n), uint8 (…, 8 n)."""
    pairs = words.contiguous().view(torch.uint8)
    return torch.stack((pairs & 15, pairs >> 4), dim=-1).flatten(-2)


class GptqLinear(nn.Module):
    """A linear layer on the file's own tensors; exact in the dtype of its input."""

    qweight: Tensor
    qzeros: Tensor
    scales: Tensor
    g_idx: Tensor

    def __init__(self, linear: nn.Linear, config: StoredConfig, dtype: torch.dtype) -> None:
        super().__init__()
        self.in_features, self.out_features = inside, outside = linear.in_features, linear.out_features
        self.group = config.group_size if config.group_size > 0 else inside
        self.zero_offset = config.zero_offset
        groups = -(-inside // self.group)
        self.register_buffer("qweight", torch.empty(inside // PER_WORD, outside, dtype=torch.int32))
        self.register_buffer("qzeros", torch.empty(groups, outside // PER_WORD, dtype=torch.int32))
        self.register_buffer("scales", torch.empty(groups, outside, dtype=dtype))
        self.register_buffer("g_idx", torch.empty(inside, dtype=torch.int32))
        self.bias = nn.Parameter(torch.empty(outside, dtype=dtype)) if linear.bias is not None else None

    def levels(self) -> Iterator[Tensor]:
        """uint8 (out, in), some rows at a time."""
        return map(unpack, torch.split(self.qweight.T, BLOCK))

    def zeros(self) -> Tensor:
        """(groups, out), from 0 to 16."""
        return unpack(self.qzeros) + self.zero_offset

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) to (…, out), some outputs at a time."""
        groups = self.g_idx.long()
        tables = (torch.split(table.T.to(x.dtype), BLOCK) for table in (self.zeros(), self.scales))
        parts = [
            F.linear(x, (levels - zero[:, groups]) * scale[:, groups])
            for levels, zero, scale in zip(self.levels(), *tables, strict=True)
        ]
        y = torch.cat(parts, dim=-1)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, group={self.group}"


def fast(stored: GptqLinear) -> Int4Linear | None:
    """The same layer for the processor's packed operator; None where that cannot take it."""
    inside, outside, group = stored.in_features, stored.out_features, stored.group
    if stored.scales.device.type != "cpu":
        return None
    in_order = torch.equal(stored.g_idx, torch.arange(inside, dtype=torch.int32) // group)
    if group not in GROUPS or inside % group or outside % 64 or not in_order:
        return None
    with torch.device("meta"):
        layer = Int4Linear(inside, outside, stored.bias is not None, group)
    layer.bias = stored.bias
    layer.weight = torch.cat([pack_levels(levels) for levels in stored.levels()])
    # The operator's weights are (level - 8) * scale + middle.
    middle = stored.scales * (8 - stored.zeros().to(stored.scales.dtype))
    layer.weight_scale = torch.stack((stored.scales, middle), dim=-1)
    return layer


# --- transformers' hooks -----------------------------------------------------------------------


class StoredQuantizer(HfQuantizer):
    """Puts `GptqLinear` where the decoder has linear layers, then what is faster."""

    quantization_config: StoredConfig

    def _process_model_before_weight_loading(self, model: PreTrainedModel, **kwargs: Any) -> None:
        for name, module in list(model.named_modules()):
            if name.startswith("model.layers.") and type(module) is nn.Linear:
                with torch.device("meta"):
                    model.set_submodule(name, GptqLinear(module, self.quantization_config, model.dtype))

    def _process_model_after_weight_loading(self, model: PreTrainedModel, **kwargs: Any) -> None:
        stored = {name: m for name, m in model.named_modules() if isinstance(m, GptqLinear)}
        for name in logging.tqdm(list(stored), desc="Packing weights"):
            packed = fast(stored.pop(name))
            if packed is not None:
                model.set_submodule(name, packed)

    def is_serializable(self) -> bool:
        return False

    @property
    def is_trainable(self) -> bool:
        return False


def register() -> None:
    """Make the reader known to transformers; again does nothing."""
    AUTO_QUANTIZATION_CONFIG_MAPPING[METHOD] = StoredConfig
    AUTO_QUANTIZER_MAPPING[METHOD] = StoredQuantizer
