"""Whether code may run here, and what holds it back: asked of the operator, and tried on the system."""

import os
import platform
import sys
import tempfile
from functools import cache
from typing import NamedTuple

from models.errors import ModelError, UnsupportedPlacement
from models.interpreter import cgroups, confined
from models.interpreter.kernel import HOME, Limits, launch, readable, refusal
from models.schema import GiB, Text

SETTING = "QUINTET_CODE_INTERPRETER"


def enabled() -> bool:
    """Whether the operator wants a code interpreter. It may still be refused: see `confinement`."""
    return os.environ.get(SETTING, "").lower() in ("1", "on", "true", "yes", "unconfined")


class Confinement(NamedTuple):
    """What holds code back on this machine: sentences for the page."""

    enforced: tuple[Text, ...]
    missing: tuple[Text, ...]
    refused: ModelError | None  # why no interpreter starts here


def confinement(limits: Limits | None = None) -> Confinement:
    """What is enforced here, tried and not assumed. Takes a moment, the first time."""
    limits = limits or Limits()
    refused = _unavailable() or (None if _accepted() else _unconfinable())
    cut_off = confinable()
    walls = _WALLS if filtered() else _WALLS[:-1]
    grouped = cut_off and not refused and cgroups.find_parent()  # which moves the server: not where it is off
    memory = (_GROUP if grouped else _COUNTED, _STILL)
    held = _LIMITS + (memory if sys.platform == "linux" else ()) + (walls if cut_off else ())
    sizes = {
        "seconds": f"{limits.seconds:.0f}",
        "memory": f"{limits.memory / GiB:.1f}",
        "text": f"{limits.text:,}",
        "processes": str(limits.processes),
        "disk": f"{limits.disk // 2**20}",
    }
    filled = [
        tuple(Text(*(side.format(**sizes) for side in text)) for text in part)
        for part in (held, [wall for wall in _WALLS if wall not in held])
    ]
    return Confinement(filled[0], filled[1], refused)


def confinable() -> bool:
    """Whether this system can cut code off from its files, network and processes."""
    return _unconfinable() is None


def filtered() -> bool:
    """Whether the memory that belongs to no process can be refused to code that is cut off."""
    return platform.machine() in confined.CALLS


_LIMITS = (
    Text("A run is stopped after {seconds} seconds.", "每次运行最多 {seconds} 秒。"),
    Text("A run may show {text} characters.", "每次运行最多输出 {text} 个字符。"),
    Text(
        "Each conversation has a process of its own, which ends with it and sees none of the server's "
        "environment variables.",
        "每个对话使用独立的进程，随对话结束，且看不到服务器的环境变量。",
    ),
    Text(
        "Where all that this server allows are in use, it makes way for another conversation's: when it was not "
        "used for ten minutes, or, while no code runs, for a visitor who has fewer.",
        "解释器全部占用时，会让位给其他对话：超过十分钟未使用，或在没有代码运行时让位给占用更少的访客。",
    ),
)
_GROUP = Text(
    "At most {memory} GB of memory, files among it, which the system itself holds (cgroup v2).",
    "最多使用 {memory} GB 内存（含文件），由系统直接限制（cgroup v2）。",
)
_COUNTED = Text(
    "At most {memory} GB of memory, counted several times a second: the system gives this server no group of its "
    "own (cgroup v2) that would hold it.",
    "最多使用 {memory} GB 内存，每秒统计数次：系统没有为本服务器提供可直接限制内存的 cgroup v2 组。",
)
_STILL = Text(
    "Nothing goes on between two runs: threads and processes that one has left wait for the next.",
    "两次运行之间一切暂停：前一次留下的线程和进程等到下一次运行才继续。",
)
_WALLS = (
    Text("No network.", "不能联网。"),
    Text(
        "No files of this machine but the system's and Python's, read-only.",
        "只能读取系统和 Python 自身的文件，看不到本机的其他文件。",
    ),
    Text("No sight of other processes.", "看不到其他进程。"),
    Text("At most {processes} processes and threads.", "最多 {processes} 个进程和线程。"),
    Text(
        f"Files in {HOME} take at most {{disk}} MB and vanish with the process.",
        f"{HOME} 中的文件最多 {{disk}} MB，随进程结束而消失。",
    ),
    Text(
        "No memory beside that of its processes: no memfd, no shared segments, and what waits in sockets counts.",
        "不能占用进程之外的内存：禁止 memfd 和共享内存段，套接字中等待的数据计入内存。",
    ),
)


def _accepted() -> bool:
    return os.environ.get(SETTING, "").lower() == "unconfined"


def _unavailable() -> ModelError | None:
    if not enabled():
        return UnsupportedPlacement(
            f"The code interpreter is off: its operator can turn it on with {SETTING}=1.",
            f"代码解释器未启用：管理员可设置 {SETTING}=1 将其打开。",
        )
    if sys.platform == "win32":
        return UnsupportedPlacement(
            "The code interpreter needs Linux: on Windows, run Quintet in WSL 2.",
            "代码解释器需要 Linux：在 Windows 上请在 WSL 2 中运行 Quintet。",
        )
    return None


def _unconfinable() -> ModelError | None:
    """Why code cannot be cut off on this system; None where it can."""
    return _tried() if sys.platform == "linux" else refusal("it needs Linux")


@cache
def _tried() -> ModelError | None:
    with tempfile.TemporaryDirectory() as root, tempfile.TemporaryFile() as log:
        limits = Limits()
        spec = confined.Spec(
            [sys.executable, "-I", "-c", ""], HOME, limits.memory, limits.file, limits.disk,
            limits.processes, root=root, readable=readable(),
        )  # fmt: skip
        with launch(spec, log) as process:
            code = process.wait()
        log.seek(0)
        return refusal(log.read().decode(errors="replace")) if code else None
