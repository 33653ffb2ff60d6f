"""What the system allows a worker: memory as planned, the last turn on a busy processor, the first to be ended."""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

MiB = 1024 * 1024
# Beside what is planned: libraries, threads' stacks, and what a load needs for a moment.
ALLOWANCE, ALLOWANCE_PER_CORE = 2048 * MiB, 32 * MiB
NICENESS = 5
FIRST_TO_BE_ENDED = "500"  # of 1000, added to a process's own score
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def limit_memory(planned: int, path: Path) -> None:
    """Let this process take `planned` bytes, half of them more, what its libraries need, and the files at `path`.

    Those are mapped so that they could be written to, which counts as if they were. Linux only; elsewhere
    nothing is limited.
    """
    files = sum(
        file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()
    )
    limit_data(planned * 3 // 2 + files + ALLOWANCE + ALLOWANCE_PER_CORE * (os.cpu_count() or 1))


def limit_data(most: int) -> None:
    """Let this process take so many bytes for what it writes. Linux only."""
    if sys.platform != "linux":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def take_second_place() -> None:
    """Pages come before answers on a busy processor, and the server outlives its workers when memory runs out."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_BE_ENDED)


def end_with_parent() -> None:
    """Be ended with the thread that started this process, even while the interpreter stands still. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
