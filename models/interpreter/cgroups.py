"""Groups of processes whose memory the system itself counts and holds: control groups, version 2.

They can be had where the server's own group was given to it: systemd's `Delegate=yes`, or a container in which
/sys/fs/cgroup can be written. What is asked of the system: docs.kernel.org/admin-guide/cgroup-v2.html.
"""

import secrets
from contextlib import suppress
from functools import cache
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")  # which group this process is in
_CONTROLLERS = frozenset({"memory", "pids"})
_ROUNDS = 5  # of moving processes away, while they start others


def make_group(memory: int, processes: int) -> str:
    """The folder of a new group; "" where none can be had.

    Args:
        memory: bytes, with files in memory and what the kernel keeps for it; what takes more is ended whole.
        processes: and threads.
    """
    parent = find_parent()
    with suppress(OSError):
        return str(_make(parent, memory, processes)) if parent else ""
    return ""


@cache
def find_parent() -> Path | None:
    """The group below which others with limits can be made, tried and not assumed; None: there is none."""
    try:
        path = next(line for line in OWN.read_text().splitlines() if line.startswith("0::"))
        own = ROOT / path.removeprefix("0::").lstrip("/")
        if not _words(own / "cgroup.controllers") >= _CONTROLLERS:
            return None
        if not _words(own / "cgroup.subtree_control") >= _CONTROLLERS:
            _move_down(own)
            (own / "cgroup.subtree_control").write_text("+memory +pids")
        _make(own, 1 << 20, 1).rmdir()
    except (OSError, StopIteration):
        return None
    return own


def _move_down(own: Path) -> None:
    """All processes of a group into one below it: only then may there be limits below it."""
    (below := own / "quintet").mkdir(exist_ok=True)
    for _ in range(_ROUNDS):
        for process in _words(own / "cgroup.procs"):
            with suppress(ProcessLookupError):  # it has ended
                (below / "cgroup.procs").write_text(process)


def _make(parent: Path, memory: int, processes: int) -> Path:
    (group := parent / f"quintet-{secrets.token_hex(8)}").mkdir()
    limits = {"memory.max": memory, "memory.oom.group": 1, "pids.max": processes}
    try:
        for name, value in limits.items():
            (group / name).write_text(str(value))
        with suppress(OSError):  # where there is no swap to be held
            (group / "memory.swap.max").write_text("0")
    except OSError:
        group.rmdir()
        raise
    return group


def _words(file: Path) -> set[str]:
    return set(file.read_text().split())
