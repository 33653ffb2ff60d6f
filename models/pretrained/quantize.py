"""int8 and int4 weights, made while a checkpoint is read: no more than one tensor is ever whole.

On CUDA bitsandbytes does it. On a CPU torch's own operators on packed weights read a quarter of the
bytes per token: decoding is 2 to 3 times faster than bfloat16, where bitsandbytes' and torchao's int8
fall short. Both ways go through transformers' quantizer hooks. Embeddings stay 16 bits wide. So does the
output head, whose errors are those of the logits; with int4 on a CPU it has 8.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from transformers import BitsAndBytesConfig, PreTrainedModel
from transformers.core_model_loading import ConversionOps
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from models.errors import UnsupportedPlacement
from models.schema import Text

Bits = Literal[4, 8]

# Weights that share a scale in int4, in the order of preference; the operator knows these.
GROUPS = (128, 64, 32)
# From this many rows on unpacking pays. 256 rows times 4096², two cores with AVX-512, milliseconds:
# packed operators 165 (int8) and 125 (int4), unpacked 72 and 90, float32 weights 62, bfloat16 190.
MANY_ROWS = 96
BLOCK = 512  # rows of a weight that are unpacked together: some megabytes
TINY = 1e-8  # scale of a row or group of zeros


def quantization(precision: str, device: str, whole: Sequence[str] = ()) -> QuantizationConfigMixin | None:
    """What `from_pretrained` is to be told. None for a precision that is not quantised.

    Args:
        whole: modules whose layers are left as they are.

    Raises UnsupportedPlacement for a device that has no operators for it.
    """
    if precision not in ("int8", "int4"):
        return None
    if device.startswith("cuda"):
        return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_8bit=precision == "int8",
            load_in_4bit=precision == "int4",
            llm_int8_skip_modules=["lm_head", *whole] if whole else None,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,  # the scales have 8 bits too: 4.13 bits a weight, not 4.5
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    if device != "cpu":
        raise UnsupportedPlacement(
            f"{device} has no operators for {precision} weights here: choose fp16 or bf16, or the CPU.",
            f"{device} 不支持 {precision} 权重：请选择 fp16 或 bf16，或改用 CPU。",
        )
    return PackedConfig(8 if precision == "int8" else 4, tuple(whole))


# --- packed weights ----------------------------------------------------------------------------


class PackedLinear(nn.Module):
    """A linear layer on packed weights and bfloat16 activations.

    A few rows (decoding) go through torch's packed operators, which read each weight once and as it
    lies. For many rows (a prompt) those are slower than an ordinary matrix product, so the weights
    are unpacked for it, a block at a time.
    """

    weight: Tensor
    weight_scale: Tensor
    scale_rows = 0  # which dimension of `weight_scale` is the rows of the weight

    def __init__(
        self, in_features: int, out_features: int, bias: bool, weight: Tensor, scale: Tensor
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.register_buffer("weight", weight)
        self.register_buffer("weight_scale", scale)
        self.bias = nn.Parameter(torch.empty(out_features, dtype=torch.bfloat16)) if bias else None

    def pack(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of a floating-point weight (rows, in) as what `weight` and `weight_scale` hold."""
        raise NotImplementedError

    def _few(self, rows: Tensor) -> Tensor:
        """(rows, in) to (rows, out)."""
        raise NotImplementedError

    def _many(self, rows: Tensor) -> Tensor:
        """The same product for rows in `product_dtype`; the result is in it too."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        rows = x.reshape(-1, self.in_features)
        if len(rows) < MANY_ROWS:
            y = self._few(rows)
        else:
            y = self._many(rows.to(product_dtype(x.dtype))).to(x.dtype)
        y = y if self.bias is None else y + self.bias
        return y.view(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


class Int8Linear(PackedLinear):
    """`weight` is int8 (out, in), `weight_scale` bfloat16 (out,): one for each row, symmetric."""

    def __init__(self, in_features: int, out_features: int, bias: bool) -> None:
        weight = torch.empty(out_features, in_features, dtype=torch.int8)
        super().__init__(
            in_features, out_features, bias, weight, weight.new_empty(len(weight), dtype=torch.bfloat16)
        )

    def pack(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        weight = weight.float()
        # The operator takes bfloat16 scales, so round with the scale that it will see.
        scale = (weight.abs().amax(1) / 127).clamp_min(TINY).bfloat16()
        return (weight / scale.float()[:, None]).round_().clamp_(-128, 127).to(torch.int8), scale

    def _few(self, rows: Tensor) -> Tensor:
        return torch._weight_int8pack_mm(rows, self.weight, self.weight_scale)

    def _many(self, rows: Tensor) -> Tensor:
        out = rows.new_empty(len(rows), self.out_features)
        for i in range(0, self.out_features, BLOCK):
            out[:, i : i + BLOCK] = rows @ self.weight[i : i + BLOCK].to(rows.dtype).T
        return out.mul_(self.weight_scale)


class Int4Linear(PackedLinear):
    """`weight` is uint8 (out, in / 2) in the operator's own order (`pack_levels`); `weight_scale` is
    bfloat16 (in / group, out, 2): a weight is (level - 8) * [..., 0] + [..., 1], level 0 … 15.

    A symmetric scale has zeros in [..., 1].
    """

    scale_rows = 1

    def __init__(self, in_features: int, out_features: int, bias: bool, group: int) -> None:
        self.group = group
        weight = torch.empty(out_features, in_features // 2, dtype=torch.uint8)
        scale = weight.new_empty(in_features // group, out_features, 2, dtype=torch.bfloat16)
        super().__init__(in_features, out_features, bias, weight, scale)

    def pack(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """16 levels from the smallest to the largest weight of a group: the error is 19 % less than with
        a symmetric scale, and the operator reads the second number anyway."""
        groups = weight.float().reshape(len(weight), -1, self.group)
        low, high = groups.aminmax(dim=-1, keepdim=True)
        scale = ((high - low) / 15).clamp_min(TINY).bfloat16()
        middle = (low + 8 * scale.float()).bfloat16()
        levels = ((groups - middle.float()) / scale.float() + 8).round_().clamp_(0, 15)
        return pack_levels(levels.flatten(1)), torch.cat([scale, middle], -1).transpose(0, 1).contiguous()

    def _few(self, rows: Tensor) -> Tensor:
        product = torch.ops.aten._weight_int4pack_mm_for_cpu
        return cast(Tensor, product(rows, self.weight, self.group, self.weight_scale))

    def _many(self, rows: Tensor) -> Tensor:
        order = _int4_order()
        width = len(order)  # rows of the weight that are packed together
        packed = self.weight.view(-1, self.in_features, width // 2)
        # (blocks, groups, 1, width), the rows of the weight in packed order
        scales = (
            self.weight_scale.float()
            .view(-1, len(packed), width, 2)[:, :, order]
            .transpose(0, 1)
            .unsqueeze(2)
        )
        scale, zero = scales[..., 0], scales[..., 1] - 8 * scales[..., 0]
        out = rows.new_empty(len(packed), len(rows), width)
        step = BLOCK // width
        for i in range(0, len(packed), step):
            nibbles = packed[i : i + step]
            levels = torch.empty(*nibbles.shape[:2], width)
            levels[..., : width // 2] = nibbles & 15
            levels[..., width // 2 :] = nibbles >> 4
            levels.view(len(nibbles), -1, self.group, width).mul_(scale[i : i + step]).add_(
                zero[i : i + step]
            )
            out[i : i + step] = rows @ levels.to(rows.dtype)
        return out.permute(1, 0, 2)[..., order.argsort()].flatten(1)


def pack_levels(levels: Tensor) -> Tensor:
    """Levels 0 … 15 (out, in) as uint8 (out, in / 2), two to a byte in the operator's own order."""
    return cast(Tensor, torch.ops.aten._convert_weight_to_int4pack_for_cpu(levels.int().contiguous(), 1))


@lru_cache
def _int4_order() -> Tensor:
    """Which of the rows packed together each nibble belongs to: first the low nibbles, then the high.

    The order is the operator's secret and differs between processors (64 rows together with AVX-512,
    32 with AVX2), so pack known numbers and look where they went.
    """

    def nibbles(levels: Tensor) -> Tensor:
        packed = pack_levels(levels).flatten()
        return torch.stack([packed & 15, packed >> 4]).int()

    rows = torch.arange(64)[:, None].expand(64, 32)
    columns = torch.arange(32).expand(64, 32) % 16
    together = int(nibbles(columns)[0].nonzero()[0])  # bytes before the second column begins
    return (nibbles(rows % 16) + 16 * nibbles(rows // 16))[:, :together].flatten()


def product_dtype(dtype: torch.dtype) -> torch.dtype:
    """What to multiply large matrices of `dtype` in: float32 is three times faster than bfloat16 on a
    processor that does not multiply that."""
    return dtype if dtype != torch.bfloat16 or _multiplies_bfloat16() else torch.float32


@lru_cache
def _multiplies_bfloat16() -> bool:
    able = torch.cpu.get_capabilities()
    return any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def packed_like(linear: nn.Linear, bits: int) -> PackedLinear | None:
    """An empty layer to take this one's place, or None: it stays as it is, because it is to have 16 bits or
    its sizes are none that the operators take.

    The int8 operator reads past the end of a row whose length is no multiple of 16, and crashes.
    """
    inside, outside, bias = linear.in_features, linear.out_features, linear.bias is not None
    if bits == 8:
        return Int8Linear(inside, outside, bias) if inside % 16 == 0 else None
    group = next((group for group in GROUPS if inside % group == 0), None)
    packs = bits == 4 and outside % 64 == 0
    return Int4Linear(inside, outside, bias, group) if packs and group else None


# --- transformers' hooks -----------------------------------------------------------------------

_METHOD = "quintet-packed"


@register_quantization_config(_METHOD)
class PackedConfig(QuantizationConfigMixin):
    def __init__(self, bits: Bits, whole: tuple[str, ...] = ()) -> None:
        self.quant_method = _METHOD  # type: ignore[assignment]  # the library's enum knows its own only
        self.bits = bits
        self.whole = whole


@register_quantizer(_METHOD)
class PackedQuantizer(HfQuantizer):
    """Puts PackedLinear where a linear layer was, and packs its weight when it is read."""

    quantization_config: PackedConfig

    @property
    def quantized_element_size(self) -> float:
        return self.quantization_config.bits / 8

    def _process_model_before_weight_loading(self, model: PreTrainedModel, **kwargs: Any) -> None:
        config = self.quantization_config
        head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        for name, linear in own_linears(model):
            if name.startswith(config.whole):
                continue
            with torch.device("meta"):
                packed = packed_like(linear, 2 * config.bits if linear is head else config.bits)
            if packed is not None:
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
        self,
        input_dict: dict[str, Any],
        source_patterns: list[str],
        target_patterns: list[str],
        **kwargs: Any,
    ) -> dict[str, Any]:
        model: PreTrainedModel = kwargs["model"]
        result: dict[str, Any] = {}
        for name, tensor in input_dict.items():
            module = model.get_submodule(name.rpartition(".")[0])
            tensor = tensor[0] if isinstance(tensor, list) else tensor
            if isinstance(module, PackedLinear):
                if tensor.shape != (module.out_features, module.in_features):
                    raise ValueError(f"{name} has the shape {tuple(tensor.shape)}")
                result[name], result[f"{name}_scale"] = _pack_in_blocks(module, tensor)
            else:
                result[name] = tensor
        return result


def _pack_in_blocks(module: PackedLinear, weight: Tensor) -> tuple[Tensor, Tensor]:
    """A block of rows at a time, because rounding needs the weights as float32 several times over."""
    weights, scales = zip(*(module.pack(block) for block in torch.split(weight, BLOCK)), strict=True)
    return torch.cat(weights), torch.cat(scales, module.scale_rows)


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
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    whole = sum(linear is not head for _, linear in own_linears(model))
    quantised = sum(
        type(m).__name__ in ("Int8Linear", "Int4Linear", "Linear8bitLt", "Linear4bit")
        for m in model.modules()
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
