"""What a machine can do at most, measured where and when a benchmark runs."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def read_speed(device: str) -> float:
    """Bytes per second of a matrix-vector product over 1 GiB, which reads each number once."""
    import torch

    matrix, vector = torch.ones(1 << 16, 1 << 12, device=device), torch.ones(1 << 12, device=device)
    return matrix.nbytes / _best(lambda: matrix @ vector)


def multiply_speed(device: str, dtype: "torch.dtype") -> float:
    """Floating point operations per second of a product of two 4096 x 4096 matrices."""
    import torch

    side = 1 << 12
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    return 2 * side**3 / _best(lambda: matrix @ matrix)


def _best(product: "Callable[[], torch.Tensor]") -> float:
    """Seconds of the quickest of eight runs."""
    times = []
    for _ in range(8):
        began = time.perf_counter()
        product().flatten()[0].item()  # waits for a GPU
        times.append(time.perf_counter() - began)
    return min(times)


def held(device: str) -> int:
    """Bytes of memory that are this process's alone, or allocated on a GPU."""
    import psutil
    import torch

    if device != "cpu":
        return int(torch.cuda.memory_allocated())
    return int(psutil.Process().memory_full_info().uss)
