"""int8 and int4 weights, made while a checkpoint is read: no more than one tensor is ever whole.

On CUDA bitsandbytes does it. On a CPU torch's own operators on packed weights read a quarter of the
bytes per token: decoding is 2 to 3 times faster than bfloat16, where bitsandbytes' and torchao's int8
fall short. Both ways go through transformers' quantizer hooks.
"""

from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import BitsAndBytesConfig, PreTrainedModel
from transformers.core_model_loading import ConversionOps
from transformers.quantizers import HfQuantizer, register_quantization_config, register_quantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from models.errors import UnsupportedPlacement
from models.schema import Text

Bits = Literal[4, 8]

# Weights that share a scale in int4, in the order of preference; the operator knows these.
GROUPS = (128, 64, 32)
# Rows (tokens) from which unpacking the weights for an ordinary matrix product is faster than the
# packed operators, which are made for decoding; measured on two cores with AVX-512: see `_unpacked`.
MANY_ROWS = 64
# Rows of a weight that are unpacked at once: some megabytes.
BLOCK = 512


def quantization(precision: str, device: str) -> QuantizationConfigMixin | None:
    """What `from_pretrained` is to be told. None for a precision that is not quantised.

    Raises UnsupportedPlacement for a device that has no operators for it.
    """
    if precision not in ("int8", "int4"):
        return None
    if device.startswith("cuda"):
        return BitsAndBytesConfig(
            load_in_8bit=precision == "int8",
            load_in_4bit=precision == "int4",
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    if device != "cpu":
        raise UnsupportedPlacement(
            f"{device} has no operators for {precision} weights here: choose fp16 or bf16, or the CPU.",
            f"{device} 不支持 {precision} 权重：请选择 fp16 或 bf16，或改用 CPU。",
        )
    return PackedConfig(bits=8 if precision == "int8" else 4)


# --- packed weights ----------------------------------------------------------------------------


def pack_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round to symmetric int8 with one scale per row.

    Args:
        weight: (out, in), floating point.

    Returns:
        int8 (out, in) and bfloat16 scales (out,).
    """
    weight = weight.float()
    # The operator takes bfloat16 scales, so round with the scale that it will see.
    scale = (weight.abs().amax(1) / 127).clamp_min(1e-8).bfloat16()
    return (weight / scale.float()[:, None]).round_().clamp_(-128, 127).to(torch.int8), scale


def round_int4(weight: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """Round to 16 levels between the smallest and the largest weight of each group.

    Args:
        weight: (out, in), floating point; `in` is a multiple of `group`.

    Returns:
        levels 0 … 15 as int32 (out, in), and bfloat16 (in / group, out, 2): weight ≈ (level - 8) *
        [..., 0] + [..., 1].
    """
    grouped = weight.float().unflatten(1, (-1, group))
    low, high = grouped.aminmax(dim=-1, keepdim=True)
    scale = ((high - low) / 15).clamp_min(1e-8).bfloat16()
    middle = (low + 8 * scale.float()).bfloat16()
    levels = ((grouped - middle.float()) / scale.float() + 8).round_().clamp_(0, 15)
    return levels.flatten(1).int(), torch.cat([scale, middle], -1).transpose(0, 1).contiguous()


def pack_levels(levels: Tensor) -> Tensor:
    """Levels 0 … 15, int32 (out, in), as uint8 (out, in / 2) in the operator's own order."""
    return torch.ops.aten._convert_weight_to_int4pack_for_cpu(levels, 1)


@lru_cache
def _int4_order() -> Tensor:
    """Which row each nibble of a block of rows belongs to, first the low ones, then the high ones.

    The order is the operator's secret and differs between processors (64 rows to a block with
    AVX-512, 32 with AVX2), so pack known numbers and look where they went.
    """

    def packed(numbers: Tensor) -> Tensor:
        flat = pack_levels(numbers.int().contiguous()).flatten()
        return torch.stack([flat & 15, flat >> 4]).int()

    rows = torch.arange(64)[:, None].expand(64, 32)
    # Column 1 begins where the first block of rows has all its nibbles of column 0.
    half = int(packed(torch.arange(32).expand(64, 32))[0].nonzero()[0])
    return (packed(rows % 16) + 16 * packed(rows // 16))[:, :half].flatten()


def unpack_levels(packed: Tensor) -> Tensor:
    """The inverse of `pack_levels`, as uint8 (out, in); `out` is a multiple of 64."""
    order = _int4_order()
    blocks = packed.view(-1, packed.shape[1] * 2, len(order) // 2)
    levels = torch.cat([blocks & 15, blocks >> 4], -1)
    return levels.transpose(1, 2)[:, order.argsort()].flatten(0, 1)


@lru_cache
def _product_dtype() -> torch.dtype:
    """bfloat16 where the processor multiplies it; elsewhere float32 is three times faster."""
    able = torch.cpu.get_capabilities()
    return (
        torch.bfloat16
        if any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
        else torch.float32
    )


class PackedLinear(nn.Module):
    """A linear layer on int8 or int4 weights and bfloat16 activations.

    Buffers: `weight` and `weight_scale` as `pack_int8` gives them, or as `pack_levels` and
    `round_int4` do.

    Args:
        bits: 8, or 4.
        group: weights that share a scale in int4; see `packable`.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool, bits: Bits, group: int = 0) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bits, self.group = in_features, out_features, bits, group
        if bits == 8:
            weight = torch.empty(out_features, in_features, dtype=torch.int8)
            scale = torch.empty(out_features, dtype=torch.bfloat16)
        else:
            weight = torch.empty(out_features, in_features // 2, dtype=torch.uint8)
            scale = torch.empty(in_features // group, out_features, 2, dtype=torch.bfloat16)
        self.register_buffer("weight", weight)
        self.register_buffer("weight_scale", scale)
        self.bias = nn.Parameter(torch.empty(out_features, dtype=torch.bfloat16)) if bias else None

    def pack(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """`weight` (out, in) as the two buffers. Raises ValueError for another shape."""
        if weight.shape != (self.out_features, self.in_features):
            raise ValueError(f"{tuple(weight.shape)} is not {(self.out_features, self.in_features)}")
        if self.bits == 8:
            return pack_int8(weight)
        levels, scale = round_int4(weight, self.group)
        return pack_levels(levels), scale

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        rows = x.reshape(-1, self.in_features)
        if len(rows) >= MANY_ROWS:
            y = self._unpacked(rows)
        elif self.bits == 8:
            y = torch._weight_int8pack_mm(rows, self.weight, self.weight_scale)
        else:
            y = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.weight, self.group, self.weight_scale)
        y = y if self.bias is None else y + self.bias
        return y.view(*x.shape[:-1], self.out_features)

    def _unpacked(self, rows: Tensor) -> Tensor:
        """The product with the weights made whole, a block at a time.

        256 rows times 4096², milliseconds: packed operators 165 (int8) and 144 (int4), this 72 and 100.
        """
        wide = rows.to(_product_dtype())
        out = rows.new_empty(len(rows), self.out_features)
        for start in range(0, self.out_features, BLOCK):
            out[:, start : start + BLOCK] = wide @ self.block(start, start + BLOCK).to(wide.dtype).T
        return out

    def block(self, start: int, stop: int) -> Tensor:
        """Rows `start` to `stop` of the weights as float32 (stop - start, in)."""
        if self.bits == 8:
            return self.weight[start:stop] * self.weight_scale[start:stop, None].float()
        levels = unpack_levels(self.weight[start:stop]).unflatten(1, (-1, self.group))
        scale, middle = self.weight_scale[:, start:stop].float().transpose(0, 1).unbind(-1)
        return ((levels.float() - 8) * scale[..., None] + middle[..., None]).flatten(1)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bits={self.bits}"


def packable(linear: nn.Linear, bits: Bits) -> int | None:
    """The group size for this layer's int4 (0 for int8), or None: sizes the operators cannot take.

    The int8 operator reads past the end of a row whose length is no multiple of 16, and crashes.
    """
    if bits == 8:
        return 0 if linear.in_features % 16 == 0 else None
    if linear.out_features % 64:
        return None
    return next((group for group in GROUPS if linear.in_features % group == 0), None)


# --- transformers' hooks -----------------------------------------------------------------------

_METHOD = "quintet-packed"


@register_quantization_config(_METHOD)
class PackedConfig(QuantizationConfigMixin):
    def __init__(self, bits: Bits) -> None:
        self.quant_method = _METHOD
        self.bits = bits


@register_quantizer(_METHOD)
class PackedQuantizer(HfQuantizer):
    """Puts PackedLinear where a linear layer was, and packs its weight when it is read."""

    quantization_config: PackedConfig

    @property
    def quantized_element_size(self) -> float:
        return self.quantization_config.bits / 8

    def _process_model_before_weight_loading(self, model: PreTrainedModel, **kwargs: Any) -> None:
        bits = self.quantization_config.bits
        for name, linear in own_linears(model):
            group = packable(linear, bits)
            if group is not None:
                with torch.device("meta"):
                    packed = PackedLinear(
                        linear.in_features, linear.out_features, linear.bias is not None, bits, group
                    )
                model.set_submodule(name, packed)

    def param_needs_quantization(self, model: PreTrainedModel, param_name: str, **kwargs: Any) -> bool:
        module, _, tensor = param_name.rpartition(".")
        return tensor == "weight" and isinstance(model.get_submodule(module), PackedLinear)

    def get_quantize_ops(self) -> ConversionOps:
        return _Pack()

    def is_serializable(self) -> bool:
        return False

    @property
    def is_trainable(self) -> bool:
        return False


class _Pack(ConversionOps):
    """One tensor that was read becomes the two buffers of its layer."""

    def convert(
        self, input_dict: dict[str, Any], *args: Any, model: PreTrainedModel, **kwargs: Any
    ) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, tensor in input_dict.items():
            module = model.get_submodule(name.rpartition(".")[0])
            tensor = tensor[0] if isinstance(tensor, list) else tensor
            if isinstance(module, PackedLinear):
                result[name], result[f"{name}_scale"] = module.pack(tensor)
            else:
                result[name] = tensor
        return result


def own_linears(model: PreTrainedModel) -> list[tuple[str, nn.Linear]]:
    """Linear layers whose weight is not also the embedding."""
    tied = {*model.all_tied_weights_keys, *model.all_tied_weights_keys.values()}
    return [
        (name, module)
        for name, module in model.named_modules()
        if type(module) is nn.Linear and f"{name}.weight" not in tied
    ]


def notes(model: PreTrainedModel, precision: str) -> tuple[bool, tuple[Text, ...]]:
    """Whether `precision` had an effect on `model`, and what a person should know about it."""
    whole = len(own_linears(model))
    quantised = sum(
        type(m).__name__ in ("PackedLinear", "Linear8bitLt", "Linear4bit") for m in model.modules()
    )
    dtype = str(model.dtype).removeprefix("torch.")
    if not quantised:
        note = Text(
            f"{precision} had no effect: no layer has sizes that can be packed; it runs in {dtype}.",
            f"{precision} 未生效：没有任何层的尺寸可以打包，实际以 {dtype} 运行。",
        )
    elif whole:
        note = Text(
            f"{whole} of {whole + quantised} linear layers stay in {dtype}.",
            f"{whole + quantised} 个线性层中有 {whole} 个仍为 {dtype}。",
        )
    else:
        return True, ()
    return bool(quantised), (note,)
