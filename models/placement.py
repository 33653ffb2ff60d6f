"""Where a checkpoint can run, in which precision, and what memory that takes.

Everything here works before torch is imported. Sizes are in bytes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from models.catalog.formats import format_of
from models.errors import DoesNotFit, UnsupportedPlacement
from models.machine import devices
from models.schema import (
    PRECISIONS,
    Alternative,
    Checkpoint,
    Device,
    GiB,
    Placement,
    Plan,
    Shape,
    Text,
)

DEFAULT_CONTEXT = 8192
BITS: Mapping[str, float] = {"fp32": 32, "bf16": 16, "fp16": 16, "int8": 8, "int4": 4}

# Bytes of an int4 weight with its share of the scales: 2 * bfloat16 for 128 weights, or bitsandbytes' 8 bits
# for 64 and float32 for 256 of those.
INT4_ON_CPU, INT4_ON_CUDA = 0.5 + 4 / 128, 0.5 + (1 + 4 / 256) / 64

# What a loaded library takes before the first weight: torch's or CUDA's own memory, buffers.
RUNTIME = {"cpu": int(0.3 * GiB), "mps": int(0.5 * GiB), "cuda": int(0.7 * GiB)}
_ACCELERATOR = re.compile(r"cuda(:\d+)?|mps")
WHISPER_FRAMES, WHISPER_BEAMS = 1500, 5


# --- what a checkpoint may be asked for ----------------------------------------------------------


def precisions(checkpoint: Checkpoint, device: Device) -> tuple[str, ...]:
    """Precisions this checkpoint can have there, in the order in which `auto` tries them."""
    return format_of(checkpoint).precisions(device)


def _choose_precisions(checkpoint: Checkpoint, device: Device, precision: str) -> tuple[str, ...]:
    """Those to try there, best first; `auto` takes nothing wider than needed, nothing slower than needed."""
    possible = precisions(checkpoint, device)
    if precision != "auto":
        return tuple(each for each in possible if each == precision)
    if device.kind == "cpu":
        return possible
    return tuple(each for each in possible if each != "fp32") or possible


# --- memory ------------------------------------------------------------------------------------


def weight_bytes(checkpoint: Checkpoint, precision: str, device: str = "cpu") -> int:
    """Memory that the weights take once loaded.

    int8 and int4 are for the linear layers (see `models.pretrained.quantize`): the embedding, a vision tower and an
    output head of its own stay 16 bits wide, but for int4 on a processor, where the head has 8. The scales
    of int8, one per row, are too small to count.
    """
    if precision == "file":
        return checkpoint.bytes + _regrouped_bytes(checkpoint, device)
    parameters = checkpoint.parameters or checkpoint.bytes // 2
    if precision not in ("int8", "int4") or checkpoint.shape is None or checkpoint.kind == "speech":
        return int(parameters * BITS[precision] / 8)
    shape = checkpoint.shape
    embedding = shape.vocab * shape.hidden
    head = 0 if shape.tied else embedding
    wide = embedding + shape.vision
    layers = parameters - wide - head
    if precision == "int8":
        return layers + 2 * (wide + head)
    if device == "cpu":
        return int(layers * INT4_ON_CPU) + head + 2 * wide
    return int(layers * INT4_ON_CUDA) + 2 * (wide + head)


def _regrouped_bytes(checkpoint: Checkpoint, device: str) -> int:
    """What int4 files with a scale for each row grow by on a processor, whose operator takes one for each group."""
    int4 = checkpoint.bytes < checkpoint.parameters
    if device != "cpu" or not int4 or not format_of(checkpoint).scale_per_row:
        return 0
    # bytes = layers / 2 + 2 * others, parameters = layers + others
    layers = (2 * checkpoint.parameters - checkpoint.bytes) / 1.5
    return int(layers * (INT4_ON_CPU - 0.5))


def kv_bytes(checkpoint: Checkpoint, precision: str, context: int, slots: int = 1) -> int:
    """Memory of the KV cache when every slot's context is full."""
    shape = checkpoint.shape
    if shape is None:
        return 0
    width = 4 if precision == "fp32" else 2
    per_token = 2 * shape.kv_heads * shape.head_dim * width
    if checkpoint.kind == "speech":
        return per_token * shape.layers * (WHISPER_FRAMES + checkpoint.context_length) * WHISPER_BEAMS
    whole = shape.layers if shape.global_layers is None else shape.global_layers
    windowed = (shape.layers - whole) * min(context, shape.window or context)
    return per_token * slots * (whole * context + windowed)


def overhead_bytes(checkpoint: Checkpoint, device: str, context: int) -> int:
    """Working memory: the runtime itself, and the activations of what is read of a prompt at once."""
    runtime = RUNTIME[device.split(":")[0]]
    shape = checkpoint.shape or Shape(0, 0, 0, 1024, 32000)
    step = min(context, format_of(checkpoint).prompt_step)
    tokens = WHISPER_FRAMES if checkpoint.kind == "speech" else step
    return runtime + tokens * shape.hidden * 4 * 8 + shape.vocab * 4 * 8


# --- the plan ----------------------------------------------------------------------------------


def plan(
    checkpoint: Checkpoint,
    device: str = "auto",
    precision: str = "auto",
    context: int | None = None,
    found: Sequence[Device] | None = None,
    reclaimable: Mapping[str, int] | None = None,
) -> Plan:
    """The best placement that fits, or the closest one that does not, with what would fit instead.

    Args:
        checkpoint: with sizes, from the catalog or read from its files.
        device: "auto", "cpu", "mps", "cuda", "cuda:1", …
        precision: "auto" or one of fp32, bf16, fp16, int8, int4.
        context: tokens one conversation may hold; default: the checkpoint's own, at most 8192.
        found: the devices to plan for; default: those of this machine, now.
        reclaimable: bytes per device that idle engines would give back.

    Raises:
        UnsupportedPlacement: an unknown device or precision, or two that cannot be combined.
    """
    if format_of(checkpoint).remote:
        return _leave_to_server(checkpoint, device, precision, context)
    found = list(found) if found is not None else devices()
    context = _choose_context(checkpoint, context)
    asked = _by_speed(found) if device == "auto" else [_find_device(found, device)]
    pairs = [
        (each, possible) for each in asked for possible in _choose_precisions(checkpoint, each, precision)
    ]
    if not pairs:
        raise _unsupported(checkpoint, asked, precision)
    if device == "auto":
        pairs = _with_spread(pairs)
    plans = [_price(checkpoint, *pair, context, reclaimable or {}) for pair in pairs]
    for candidate in plans:
        if candidate.fits:
            return candidate
    closest = min(plans, key=lambda candidate: candidate.total - candidate.free - candidate.reclaimable)
    return replace(closest, alternatives=_find_alternatives(checkpoint, found, context, reclaimable or {}))


def devices_and(name: str) -> list[Device] | None:
    """The devices here and the accelerator `name`, which need not be here: what it would need can be
    planned, although nothing fits there. None where `name` is no accelerator."""
    if not _ACCELERATOR.fullmatch(name):
        return None
    found = devices()
    if not any(name in (d.name, d.name.removesuffix(":0")) for d in found):
        found.append(Device("cuda:0" if name == "cuda" else name, name, 0, 0, PRECISIONS))
    return found


def refuse(refused: Plan) -> DoesNotFit:
    """The error for a plan that does not fit; the sentence names the closest thing that would."""
    instead = refused.alternatives[0] if refused.alternatives else None
    if instead is None:
        return DoesNotFit(
            f"{refused.reason.en}: close other programs, or choose a smaller checkpoint.",
            f"{refused.reason.zh}：请关闭其他程序，或选择更小的模型。",
        )
    what = f"{instead.precision}, {instead.context} tokens, {instead.device}"
    return DoesNotFit(
        f"{refused.reason.en}: choose {what} ({gigabytes(instead.total)}), or a smaller checkpoint.",
        f"{refused.reason.zh}：请改用 {what}（{gigabytes(instead.total)}），或选择更小的模型。",
    )


def gigabytes(size: int) -> str:
    """A size as people compare it with the label on their machine."""
    return f"{size / GiB:.1f} GB" if size >= GiB // 10 else f"{size / 1024**2:.0f} MB"


def _leave_to_server(checkpoint: Checkpoint, device: str, precision: str, context: int | None) -> Plan:
    """A server's model runs where and as the server decided. Context 0: the server's."""
    if device not in ("auto", "remote") or precision not in ("auto", "remote"):
        raise UnsupportedPlacement(
            f"{checkpoint.name} runs where its server runs: choose auto as device and precision.",
            f"{checkpoint.name} 在其服务器上运行：设备与精度请选择 auto。",
        )
    reason = Text(f"{checkpoint.name} takes no memory here", f"{checkpoint.name} 不占用本机内存")
    placement = Placement("remote", "remote", context or 0, devices=("remote",))
    return Plan(checkpoint, placement, 0, 0, 0, 0, 0, fits=True, reason=reason)


def _by_speed(found: Sequence[Device]) -> list[Device]:
    """Accelerators by free memory, then the processor."""
    return sorted(found, key=lambda device: (device.name == "cpu", -device.free))


def _find_device(found: Sequence[Device], name: str) -> Device:
    for device in found:
        if name in (device.name, device.name.removesuffix(":0")):
            return device
    there = ", ".join(device.name for device in found)
    raise UnsupportedPlacement(
        f"There is no device {name!r} here: choose auto or one of {there}.",
        f"此机器没有设备 {name!r}：请选择 auto 或以下之一：{there}。",
    )


def _with_spread(pairs: Sequence[tuple[Device, str]]) -> list[tuple[Device, str]]:
    """Before the processor, all CUDA devices as one, for checkpoints too large for any of them."""
    single = [pair for pair in pairs if pair[0].kind == "cuda"]
    cuda = list(dict.fromkeys(device for device, _ in single))
    if len(cuda) < 2:
        return list(pairs)
    names = ",".join(sorted(device.name for device in cuda))
    total, free = sum(device.total for device in cuda), sum(device.free for device in cuda)
    together = Device(names, " + ".join(device.title for device in cuda), total, free, cuda[0].precisions)
    spread = [(together, precision) for precision in dict.fromkeys(precision for _, precision in single)]
    return [*single, *spread, *(pair for pair in pairs if pair not in single)]


def _choose_context(checkpoint: Checkpoint, context: int | None) -> int:
    most = checkpoint.context_length or DEFAULT_CONTEXT
    if checkpoint.kind == "speech":
        return most
    if context is None:
        return min(most, DEFAULT_CONTEXT)
    if 1 <= context <= most:
        return context
    raise UnsupportedPlacement(
        f"{checkpoint.name} holds at most {most} tokens, not {context}: choose a context from 1 to {most}.",
        f"{checkpoint.name} 的上下文最多为 {most} 个 token，不能是 {context}：请选择 1 到 {most} 之间的长度。",
    )


def _price(
    checkpoint: Checkpoint, device: Device, precision: str, context: int, reclaimable: Mapping[str, int]
) -> Plan:
    """What one placement costs, with as many slots as fit."""
    names = tuple(device.name.split(","))
    spare = sum(reclaimable.get(name, 0) for name in names)
    weights = weight_bytes(checkpoint, precision, names[0])
    overhead = overhead_bytes(checkpoint, device.name, context) * len(names)
    budget = device.free + spare - weights - overhead  # for the cache
    choices = format_of(checkpoint).slots
    slots = next((n for n in choices if kv_bytes(checkpoint, precision, context, n) <= budget), 1)
    cache = kv_bytes(checkpoint, precision, context, slots)
    return Plan(
        checkpoint=checkpoint,
        placement=Placement(names[0], precision, context, slots, names),
        weights=weights,
        kv_cache=cache,
        overhead=overhead,
        free=device.free,
        reclaimable=spare,
        fits=cache <= budget,
        reason=_explain(
            checkpoint, device, precision, context, weights + cache + overhead, device.free + spare
        ),
    )


def _explain(
    checkpoint: Checkpoint, device: Device, precision: str, context: int, needed: int, available: int
) -> Text:
    tokens = "" if checkpoint.kind == "speech" else f" · {context} tokens"
    how, there = f"{checkpoint.name} · {precision}{tokens}", gigabytes(available)
    if not format_of(checkpoint).known:
        return Text(
            f"what {how} needs is known once it is fetched, {there} can be had on {device.name}",
            f"下载后才能知道 {how} 所需的内存，{device.name} 可用 {there}",
        )
    return Text(
        f"{how} needs {gigabytes(needed)}, {there} can be had on {device.name}",
        f"{how} 需要 {gigabytes(needed)}，{device.name} 可用 {there}",
    )


def _find_alternatives(
    checkpoint: Checkpoint, found: Sequence[Device], context: int, reclaimable: Mapping[str, int]
) -> tuple[Alternative, ...]:
    """Other precisions, devices and contexts that fit, the least change first."""
    fitting = []
    for tokens in (context, context // 2, context // 4):
        for device in _by_speed(found):
            for precision in precisions(checkpoint, device):
                priced = _price(checkpoint, device, precision, tokens, reclaimable) if tokens else None
                if priced and priced.fits:
                    fitting.append(Alternative(checkpoint.name, device.name, precision, tokens, priced.total))
    return tuple(fitting)


def _unsupported(checkpoint: Checkpoint, asked: Sequence[Device], precision: str) -> UnsupportedPlacement:
    device = asked[0].name
    possible = [each for found in asked for each in precisions(checkpoint, found)]
    if not possible:
        return UnsupportedPlacement(
            f"{checkpoint.name} ({checkpoint.format}) cannot run on {device} with what is installed here: "
            "choose auto or cpu.",
            f"以当前安装的组件，{checkpoint.name}（{checkpoint.format}）无法在 {device} 上运行："
            "请选择 auto 或 cpu。",
        )
    if "file" in possible:
        return UnsupportedPlacement(
            f"{checkpoint.name} is already quantised and keeps its own precision: choose auto, not {precision}.",
            f"{checkpoint.name} 已量化，保持文件自身的精度：请选择 auto，而不是 {precision}。",
        )
    if precision == "fp16" and device == "cpu":
        return UnsupportedPlacement(
            "fp16 is hundreds of times slower than bf16 or fp32 on a processor: choose auto.",
            "在 CPU 上 fp16 比 bf16 或 fp32 慢数百倍：请选择 auto。",
        )
    known = "" if precision in PRECISIONS else "unknown "
    listed = ", ".join(dict.fromkeys(possible))
    return UnsupportedPlacement(
        f"{checkpoint.name} cannot run in {known}precision {precision!r} on {device}: choose auto or {listed}.",
        f"{checkpoint.name} 无法以精度 {precision!r} 在 {device} 上运行：请选择 auto 或 {listed}。",
    )
