"""One Jupyter kernel in a process that `confined.py` starts, and the messages to and from it."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, cast

from models.cache.temporary import temporary_folder
from models.errors import DoesNotFit, EngineFailed, ModelError, UnsupportedPlacement
from models.interpreter import cgroups, confined, plots
from models.schema import GiB

HOME = "/mnt/data"  # the folder that ChatGLM3's own prompt speaks of
_MiB = 2**20
_SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/nix/store")
_SYSTEM_SETTINGS = ("/etc/fonts", "/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime")
_PORTS = {"shell": 1, "iopub": 2, "stdin": 3, "control": 4, "hb": 5}  # ends of the sockets' names
_START = 90.0  # seconds that a kernel may take until it answers
_AGAIN = 3  # ticks between two questions whether it is there
_END = 5.0  # seconds that all of its processes may take to die
_TICK = 100  # milliseconds that a wait for a message lasts at most
_REST = 1.0  # seconds that output may come after the reply, which travels on another socket
_LARGEST = 32 * _MiB  # bytes of one message; a larger one is not received
_READ = 12 * _MiB  # bytes of a message that is read: a picture as large as may be shown, and some more
_MOST_VALUES = 200_000  # in it: to read JSON of millions takes seconds, in which no other thread goes on
_WAITING = 8  # messages that wait to be read; the kernel drops what comes after

Received = Mapping[str, Any]
# Stands for a message that is too large to be read.
TOO_LARGE: Received = MappingProxyType({"header": {"msg_type": "too_large"}, "content": {}})


@dataclass(frozen=True)
class Limits:
    """How much one interpreter may take. Sizes in bytes."""

    seconds: float = 60.0  # one run
    memory: int = 2 * GiB
    file: int = 128 * _MiB  # the largest
    disk: int = 256 * _MiB  # all files; on disk only where nothing is confined
    processes: int = 64  # and threads
    text: int = 100_000  # characters that one run may show
    pictures: int = 8 * _MiB  # of one run


class Kernel:
    """A running kernel. `close` it; a dropped one and those of an ended process close themselves.

    Args:
        limits: held by the operating system, but for `seconds` and `output`.
        confine: whether it is cut off from the machine's files, network and processes.
    """

    def __init__(self, limits: Limits, confine: bool) -> None:
        import zmq
        from jupyter_client.session import Session

        self.limits = limits
        self.folder = folder = tempfile.mkdtemp(dir=temporary_folder())
        self._context = zmq.Context()
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the kernel)
        key = secrets.token_bytes(32).hex()
        self._process = _start(folder, key, limits, confine, self._log)
        self.close = weakref.finalize(self, _end, self._process, self._context, self._log, folder)
        self._session = Session(key=key.encode(), username="")
        sockets = f"ipc://{folder}/sockets/s"
        self._shell, self._iopub, self._control = (
            _connected(self._context, kind, f"{sockets}-{_PORTS[channel]}")
            for channel, kind in (("shell", zmq.DEALER), ("iopub", zmq.SUB), ("control", zmq.DEALER))
        )
        self._poller = zmq.Poller()
        self._poller.register(self._iopub, zmq.POLLIN)
        self._poller.register(self._shell, zmq.POLLIN)

    def wait(self) -> Iterator[None]:
        """Returns once the kernel answers; yields often until then. Raises as `messages`."""
        until = time.monotonic() + _START
        while time.monotonic() < until:
            # A kernel's first words are lost until the subscription has arrived: ask again.
            self._session.send(self._shell, "kernel_info_request", {})
            for _ in range(_AGAIN):
                message = self._receive()
                if message and message["header"]["msg_type"] == "status":
                    self._tell(confined.SOCKETS)
                    return
                self._alive()
                yield
        raise EngineFailed(
            f"The Python process did not answer within {_START:.0f} seconds: try again when the machine is "
            "less busy.",
            f"Python 进程在 {_START:.0f} 秒内没有响应：请在机器较空闲时重试。",
        )

    def execute(self, code: str) -> str:
        """Send code to run. Returns the request's id, for `messages`."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        request = self._session.msg("execute_request", content)
        self._session.send(self._shell, request)
        return str(request["header"]["msg_id"])

    def pause(self) -> None:
        """Let nothing of it go on until `resume`: neither threads nor processes that a run has left."""
        self._tell(confined.PAUSE)

    def resume(self) -> None:
        self._tell(confined.RESUME)

    def interrupt(self) -> None:
        """As Ctrl-C, for the code and the processes that it has started."""
        self._session.send(self._control, "interrupt_request", {})

    def interrupted(self) -> Iterator[None]:
        """Returns once an interrupt was delivered; yields until then. Raises as `messages`.

        Code may end by itself in the meantime, and the interrupt would hit what runs next.
        """
        while not self._control.poll(_TICK):
            self._alive()
            yield
        self._control.recv_multipart()

    def kill(self) -> None:
        """End all processes, from any thread. Whoever waits for messages then learns that they are gone."""
        _input(self._process).close()

    def messages(self, request: str) -> Iterator[Received | None]:
        """What the kernel publishes about a request until it is done; None while nothing comes, and TOO_LARGE
        for what nobody should read.

        Raises:
            DoesNotFit: all its processes together took too much memory, and it is gone.
            EngineFailed: it is gone for another reason.
            UnsupportedPlacement: it never was, because this system does not allow it.
        """
        replied = float("inf")
        while time.monotonic() < replied + _REST:
            message = self._receive()
            if message is None:
                self._alive()
            if message is TOO_LARGE:
                yield message
            elif message is None or message["parent_header"].get("msg_id") != request:
                yield None
            elif message["header"]["msg_type"] == "execute_reply":
                replied = time.monotonic()
            elif message["content"].get("execution_state") == "idle":
                return
            else:
                yield message

    def _receive(self) -> Received | None:
        for socket, _ in self._poller.poll(_TICK):
            frames = socket.recv_multipart()
            if _too_large(frames):
                return TOO_LARGE
            try:
                _, parts = self._session.feed_identities(frames)
                message: Received | None = self._session.deserialize(parts)
            except (ValueError, TypeError, KeyError, RecursionError):  # not of the kernel's own making
                return None
            return message
        return None

    def _tell(self, word: bytes) -> None:
        with suppress(OSError, ValueError):  # it is gone, or was closed: whoever waits for it learns that
            _input(self._process).write(word)

    def _alive(self) -> None:
        code = self._process.poll()
        if code is not None:
            self._log.seek(0)
            raise _ended(code, self._log.read(4000).decode(errors="replace"), self.limits)


def _too_large(frames: Sequence[bytes]) -> bool:
    values = sum(frame.count(sign) for frame in frames for sign in (b",", b"[", b"{"))
    return values > _MOST_VALUES or sum(map(len, frames)) > _READ


def _connected(context: Any, kind: int, address: str) -> Any:
    import zmq

    socket = context.socket(kind)
    socket.linger = 0
    socket.maxmsgsize = _LARGEST
    socket.rcvhwm = _WAITING
    if kind == zmq.SUB:
        socket.subscribe(b"")
    socket.connect(address)
    return socket


# --- the process -------------------------------------------------------------------------------


def _start(folder: str, key: str, limits: Limits, confine: bool, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    Path(folder, "sockets").mkdir()
    Path(folder, "root").mkdir()
    Path(folder, "data").mkdir()
    inside = "/run/quintet" if confine else folder
    connection = {f"{channel}_port": port for channel, port in _PORTS.items()} | {
        "transport": "ipc", "ip": f"{inside}/sockets/s", "key": key, "signature_scheme": "hmac-sha256",
    }  # fmt: skip
    Path(folder, "sockets/connection.json").write_text(json.dumps(connection))
    spec = confined.Spec(
        command=_command(inside),
        home=HOME if confine else f"{folder}/data",
        memory=limits.memory,
        file=limits.file,
        disk=limits.disk,
        processes=limits.processes,
        confined=confine,
        folder=folder,
        root=f"{folder}/root",
        readable=readable(),
        hidden=_hidden(),
        sockets=(f"{folder}/sockets", f"{inside}/sockets"),
        settings=(plots.settings(), f"{inside}/settings"),
        group=cgroups.make_group(limits.memory, limits.processes) if confine else "",
    )
    return launch(spec, log, {"MPLCONFIGDIR": f"{inside}/settings", "IPYTHONDIR": f"{inside}/settings"})


def launch(
    spec: confined.Spec, log: IO[bytes], environment: Mapping[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    """Start a command by `confined.py`, with an environment that holds nothing of this process's."""
    clean = {
        "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
        "HOME": spec.home,
        "LANG": "C.UTF-8",
        # Threads count as processes, and each would reserve address space for its own heap.
        "OMP_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
        "MALLOC_ARENA_MAX": "2",
    }
    return subprocess.Popen(
        [sys.executable, "-I", confined.__file__, json.dumps(asdict(spec))],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=log,
        env={**clean, **(environment or {})},
        start_new_session=True,
        bufsize=0,
    )


def _input(process: "subprocess.Popen[bytes]") -> IO[bytes]:
    return cast(IO[bytes], process.stdin)  # a pipe, as it was started with one


def _command(inside: str) -> list[str]:
    return [
        sys.executable,
        "-I",
        "-m",
        "ipykernel_launcher",
        "-f",
        f"{inside}/sockets/connection.json",
        "--HistoryManager.enabled=False",
        "--InteractiveShell.colors=NoColor",
        "--InteractiveShell.xmode=Plain",
    ]


def readable() -> tuple[str, ...]:
    """Folders and files of this machine that Python needs."""
    wanted = (*_SYSTEM, *_SYSTEM_SETTINGS, sys.prefix, sys.base_prefix)
    return tuple(path for path in dict.fromkeys(wanted) if Path(path).exists())


def _hidden() -> tuple[str, ...]:
    """Settings in Python's folders that may hold passwords: of package indexes."""
    return tuple(
        f"{prefix}/{name}"
        for prefix in dict.fromkeys((sys.prefix, sys.base_prefix))
        for name in ("pip.conf", ".condarc", "condarc")
    )


def _end(process: "subprocess.Popen[bytes]", context: Any, log: IO[bytes], folder: str) -> None:
    context.destroy(linger=0)
    _input(process).close()  # on which the supervisor kills everything below it
    try:
        process.wait(_END)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    log.close()
    shutil.rmtree(folder, ignore_errors=True)


def _ended(code: int, log: str, limits: Limits) -> ModelError:
    if code == confined.NOT_CONFINED:
        return refusal(log)
    if code == confined.OUT_OF_MEMORY:
        held = f"{limits.memory / GiB:.1f} GB"
        return DoesNotFit(
            f"The code took more than {held} of memory and was stopped, and its variables and files are "
            "gone: work on less data at a time.",
            f"代码占用的内存超过 {held}，已被终止，变量和文件均已丢失：请减少一次处理的数据量。",
        )
    return EngineFailed(
        f"The Python process of this conversation ended (exit code {code}), and its variables and files are "
        "gone: the next run starts a new one.",
        f"本对话的 Python 进程已退出（退出码 {code}），变量和文件均已丢失：再次运行时会启动新的进程。",
    )


def refusal(log: str) -> UnsupportedPlacement:
    """Why this system starts no confined process, from what `confined.py` said."""
    said = log.strip().splitlines()
    reason = said[-1] if said else "no reason given"
    return UnsupportedPlacement(
        f"This system does not let code be cut off from its files and network ({reason}): run Quintet on "
        "Linux with user namespaces, or accept the risk with QUINTET_CODE_INTERPRETER=unconfined.",
        f"此系统无法将代码与文件和网络隔离（{reason}）：请在允许用户命名空间的 Linux 上运行 Quintet，"
        "或设置 QUINTET_CODE_INTERPRETER=unconfined 以接受风险。",
    )
