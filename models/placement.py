"""Where a checkpoint can run, in which precision, and what memory that takes.

Everything here works before torch is imported. Sizes are in bytes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

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
SLOTS = (4, 2, 1)  # conversations that llama.cpp answers at the same time, as many as fit
BITS: Mapping[str, float] = {"fp32": 32, "bf16": 16, "fp16": 16, "int8": 8, "int4": 4}

# Bytes of an int4 weight with its share of the scales: 2 * bfloat16 for 128 weights, or bitsandbytes' 8 bits
# for 64 and float32 for 256 of those.
INT4_ON_CPU, INT4_ON_CUDA = 0.5 + 4 / 128, 0.5 + (1 + 4 / 256) / 64

# Formats whose own quantisation is kept: asking for another precision is refused.
AS_STORED = ("gguf", "gptq", "qwen-vl-gptq", "chatglm-packed")
# What a loaded library takes before the first weight: torch's or CUDA's own memory, buffers.
RUNTIME = {"cpu": int(0.3 * GiB), "mps": int(0.5 * GiB), "cuda": int(0.7 * GiB)}
_ACCELERATOR = re.compile(r"cuda(:\d+)?|mps")
WHISPER_FRAMES, WHISPER_BEAMS = 1500, 5


# --- what a checkpoint may be asked for ----------------------------------------------------------


def precisions(checkpoint: Checkpoint, device: Device) -> tuple[str, ...]:
    """Precisions this checkpoint can have there, in the order in which `auto` tries them."""
    kind = device.name.split(":")[0]
    if checkpoint.format in AS_STORED:
        return ("file",) if checkpoint.format != "gguf" or _llama_cpp_has(kind) else ()
    if checkpoint.format == "openai-api":
        return ("remote",)
    if checkpoint.format == "ctranslate2":
        # int8 is what CTranslate2 does best on a processor, at the same word error rate.
        return {"cpu": ("int8", "fp32"), "cuda": ("fp16", "int8", "fp32")}.get(kind, ())
    if checkpoint.format in ("whisper-pt", "whisper-hf"):
        # On a processor int8 is a copy in CTranslate2's format, fp32 the reference in torch.
        return {"cpu": ("int8", "fp32"), "cuda": ("fp16", "fp32"), "mps": ("fp32",)}[kind]
    return device.precisions


def _llama_cpp_has(kind: str) -> bool:
    """Whether the installed llama.cpp was built for this kind of device."""
    if kind == "cpu":
        return True
    import xllamacpp

    backend = {"cuda": "CUDA", "mps": "M"}[kind]  # Metal's devices are called MTL0 or Metal
    return any(str(device["name"]).startswith(backend) for device in xllamacpp.get_device_info())


def _automatic(checkpoint: Checkpoint, device: Device) -> tuple[str, ...]:
    """What `auto` may choose, best first: nothing wider than needed, nothing slower than needed."""
    ways = precisions(checkpoint, device)
    if device.name != "cpu":
        return tuple(way for way in ways if way != "fp32") or ways
    return ways


# --- memory ------------------------------------------------------------------------------------


def weight_bytes(checkpoint: Checkpoint, precision: str, device: str = "cpu") -> int:
    """Memory that the weights take once loaded.

    int8 and int4 are for the linear layers (see `models.pretrained.quantize`): the embedding, a vision tower and an
    output head of its own stay 16 bits wide, but for int4 on a processor, where the head has 8. The scales
    of int8, one per row, are too small to count.
    """
    if precision == "file":
        return checkpoint.bytes + _unfolded(checkpoint, device)
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


def _unfolded(checkpoint: Checkpoint, device: str) -> int:
    """What ChatGLM's own int4 files grow by on a processor, whose operator takes a scale for each group
    where the files have one for each row."""
    packed_int4 = checkpoint.format == "chatglm-packed" and checkpoint.bytes < checkpoint.parameters
    if device != "cpu" or not packed_int4:
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
    """Working memory: the runtime itself, and the activations of a prompt read in one go."""
    runtime = RUNTIME[device.split(":")[0]]
    shape = checkpoint.shape or Shape(0, 0, 0, 1024, 32000)
    tokens = WHISPER_FRAMES if checkpoint.kind == "speech" else min(context, 2048)
    if checkpoint.format == "gguf":
        tokens = min(context, 512)
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
    if checkpoint.format == "openai-api":
        return _elsewhere(checkpoint, device, precision, context)
    found = list(found) if found is not None else devices()
    context = _context(checkpoint, context)
    places = _by_speed(found) if device == "auto" else [_named(found, device)]
    tries = [
        (place, way)
        for place in places
        for way in (_automatic(checkpoint, place) if precision == "auto" else precisions(checkpoint, place))
        if precision in ("auto", way)
    ]
    if not tries:
        raise _unsupported(checkpoint, places, precision)
    if device == "auto":
        tries = _with_spread(tries)
    plans = [_price(checkpoint, place, way, context, reclaimable or {}) for place, way in tries]
    for candidate in plans:
        if candidate.fits:
            return candidate
    closest = min(plans, key=lambda candidate: candidate.total - candidate.free - candidate.reclaimable)
    return replace(closest, alternatives=_alternatives(checkpoint, found, context, reclaimable or {}))


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


def _elsewhere(checkpoint: Checkpoint, device: str, precision: str, context: int | None) -> Plan:
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


def _named(found: Sequence[Device], name: str) -> Device:
    for device in found:
        if name in (device.name, device.name.removesuffix(":0")):
            return device
    there = ", ".join(device.name for device in found)
    raise UnsupportedPlacement(
        f"There is no device {name!r} here: choose auto or one of {there}.",
        f"此机器没有设备 {name!r}：请选择 auto 或以下之一：{there}。",
    )


def _with_spread(tries: Sequence[tuple[Device, str]]) -> list[tuple[Device, str]]:
    """Before the processor, all CUDA devices as one, for checkpoints too large for any of them."""
    alone = [(device, way) for device, way in tries if device.name.startswith("cuda")]
    cuda = list(dict.fromkeys(device for device, _ in alone))
    if len(cuda) < 2:
        return list(tries)
    names = ",".join(sorted(device.name for device in cuda))
    total, free = sum(device.total for device in cuda), sum(device.free for device in cuda)
    together = Device(names, " + ".join(device.title for device in cuda), total, free, cuda[0].precisions)
    spread = [(together, way) for way in dict.fromkeys(way for _, way in alone)]
    return [*alone, *spread, *(pair for pair in tries if pair not in alone)]


def _context(checkpoint: Checkpoint, context: int | None) -> int:
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
    """What one placement costs; llama.cpp gets as many slots as fit."""
    names = tuple(device.name.split(","))
    spare = sum(reclaimable.get(name, 0) for name in names)
    weights = weight_bytes(checkpoint, precision, names[0])
    overhead = overhead_bytes(checkpoint, device.name, context) * len(names)
    choices = SLOTS if checkpoint.format == "gguf" else (1,)
    room = device.free + spare - weights - overhead
    slots = next((n for n in choices if kv_bytes(checkpoint, precision, context, n) <= room), 1)
    cache = kv_bytes(checkpoint, precision, context, slots)
    return Plan(
        checkpoint=checkpoint,
        placement=Placement(names[0], precision, context, slots, names),
        weights=weights,
        kv_cache=cache,
        overhead=overhead,
        free=device.free,
        reclaimable=spare,
        fits=cache <= room,
        reason=_reason(
            checkpoint, device, precision, context, weights + cache + overhead, device.free + spare
        ),
    )


def _reason(
    checkpoint: Checkpoint, device: Device, precision: str, context: int, needed: int, free: int
) -> Text:
    tokens = "" if checkpoint.kind == "speech" else f" · {context} tokens"
    how, room = f"{checkpoint.name} · {precision}{tokens}", gigabytes(free)
    if checkpoint.format == "unknown":
        return Text(
            f"what {how} needs is known once it is fetched, {room} can be had on {device.name}",
            f"下载后才能知道 {how} 所需的内存，{device.name} 可用 {room}",
        )
    return Text(
        f"{how} needs {gigabytes(needed)}, {room} can be had on {device.name}",
        f"{how} 需要 {gigabytes(needed)}，{device.name} 可用 {room}",
    )


def _alternatives(
    checkpoint: Checkpoint, found: Sequence[Device], context: int, reclaimable: Mapping[str, int]
) -> tuple[Alternative, ...]:
    """Other precisions, devices and contexts that fit, the least change first."""
    fitting = []
    for tokens in (context, context // 2, context // 4):
        for device in _by_speed(found):
            for way in precisions(checkpoint, device):
                priced = _price(checkpoint, device, way, tokens, reclaimable) if tokens else None
                if priced and priced.fits:
                    fitting.append(Alternative(checkpoint.name, device.name, way, tokens, priced.total))
    return tuple(fitting)


def _unsupported(checkpoint: Checkpoint, places: Sequence[Device], precision: str) -> UnsupportedPlacement:
    device = places[0].name
    ways = [way for place in places for way in precisions(checkpoint, place)]
    if not ways:
        return UnsupportedPlacement(
            f"{checkpoint.name} ({checkpoint.format}) cannot run on {device} with what is installed here: "
            "choose auto or cpu.",
            f"以当前安装的组件，{checkpoint.name}（{checkpoint.format}）无法在 {device} 上运行："
            "请选择 auto 或 cpu。",
        )
    if "file" in ways:
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
    listed = ", ".join(dict.fromkeys(ways))
    return UnsupportedPlacement(
        f"{checkpoint.name} cannot run in {known}precision {precision!r} on {device}: choose auto or {listed}.",
        f"{checkpoint.name} 无法以精度 {precision!r} 在 {device} 上运行：请选择 auto 或 {listed}。",
    )
