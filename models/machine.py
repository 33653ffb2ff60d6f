"""The devices of this machine and what is free on them, known before torch is imported.

CUDA devices are read through NVML, the processor's abilities from the operating system.
"""

import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.schema import Device, GiB, Precision

CGROUP = Path("/sys/fs/cgroup")  # version 2, as a container sees its own


def devices() -> list[Device]:
    """What this machine has now, best first; the processor is always there and last."""
    return [*_cuda_devices(), *_mps_device(), _cpu()]


def _cuda_devices() -> list[Device]:
    """NVIDIA devices that torch here can use, in bus order; none where the driver does not answer."""
    if not _torch_has_cuda():
        return []
    import pynvml

    # NVML numbers by bus; CUDA does so only when told, and puts the fastest first otherwise.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [_cuda_device(f"cuda:{n}", h, pynvml) for n, h in enumerate(_visible(handles, pynvml))]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _cuda_device(name: str, handle: object, pynvml: Any) -> Device:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    major, _ = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    precisions: tuple[Precision, ...] = ("fp16", "fp32", "int8", "int4")
    if major >= 8:
        precisions = ("bf16", *precisions)
    title = f"{pynvml.nvmlDeviceGetName(handle)} ({memory.total / GiB:.0f} GB)"
    return Device(name, title, memory.total, memory.free, precisions)


def _visible(handles: Sequence[object], pynvml: Any) -> Sequence[object]:
    """Apply CUDA_VISIBLE_DEVICES, which NVML ignores (indices, or UUIDs by their beginning)."""
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return handles
    chosen = []
    for item in filter(None, (part.strip() for part in wanted.split(","))):
        if item.isdigit():
            match = handles[int(item) : int(item) + 1]
        else:
            match = [h for h in handles if pynvml.nvmlDeviceGetUUID(h).startswith(item)][:1]
        if not match:  # CUDA, too, stops at the first one that is not there
            break
        chosen.append(match[0])
    return chosen


def _torch_has_cuda() -> bool:
    """Whether the installed torch was built for CUDA, from its version file: importing it takes seconds."""
    from importlib.util import find_spec

    spec = find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return False
    version = Path(next(iter(spec.submodule_search_locations))) / "version.py"
    lines = version.read_text(encoding="utf-8").splitlines() if version.is_file() else []
    return any(line.startswith("cuda") and not line.rstrip().endswith("None") for line in lines)


def _mps_device() -> list[Device]:
    if sys.platform != "darwin" or platform.machine() != "arm64":
        return []
    total, free = _memory()
    return [Device("mps", "Apple GPU", total, free, ("fp16", "bf16", "fp32"), unified=True)]


def _cpu() -> Device:
    total, free = _memory()
    precisions: tuple[Precision, ...] = ("fp32", "bf16", "int8", "int4")
    if _cpu_has_bf16():
        precisions = ("bf16", "fp32", "int8", "int4")
    return Device("cpu", f"CPU ({total / GiB:.0f} GB)", total, free, precisions)


def _cpu_has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 itself; emulated, it is three times slower than float32."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        flags = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
        return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})
    return False


def _memory() -> tuple[int, int]:
    """Total and available main memory, within the container's limit where there is one."""
    import psutil

    memory = psutil.virtual_memory()
    total, free = int(memory.total), int(memory.available)
    limit = _cgroup("memory.max").get("", total)
    if limit < total:
        # Pages of files that were read count as used there, and are given back when they are needed.
        files = _cgroup("memory.stat")
        used = _cgroup("memory.current").get("", 0)
        used -= files.get("inactive_file", 0) + files.get("active_file", 0)
        total, free = limit, min(free, limit - used)
    return total, max(free, 0)


def _cgroup(name: str) -> dict[str, int]:
    """The numbers in a file of the container's control group by their names; a lone one has none."""
    path = CGROUP / name
    lines = path.read_text(encoding="ascii").splitlines() if path.is_file() else []
    pairs = [line.rpartition(" ") for line in lines]
    return {key: int(value) for key, _, value in pairs if value.isdigit()}
