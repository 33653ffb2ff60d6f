"""Runs one command that may not be trusted: with limits and, on Linux, cut off from the machine.

    python confined.py SPEC      # SPEC: the fields of `Spec` as JSON

A script for a process of its own, standard library only, because nothing here can be undone. Three
processes: this one supervises and outlives the command; process 1 of new namespaces only collects
orphans, and takes the whole namespace along when it is killed; the command is its child.

Cut off means (namespaces(7)): a root of its own in memory, with the system and Python read-only and
no home folders; a network without interfaces; no sight of other processes; a user who may nothing.

Memory is that of all processes, what they share counted once, and of what waits in their sockets. Other
memory, which belongs to no process, is refused by a filter of system calls (seccomp(2)). Where the command has a
control group, the system holds all of it.

Standard input is the line to whoever started this: bytes say that the command has made its sockets, or
that all of it has to stand still or may go on; the end of file that nobody is left who wants it.
"""

import ctypes
import errno
import json
import os
import resource
import select
import shutil
import signal
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

NOT_CONFINED = 125  # exit code: this system does not allow it; the reason is on standard error
OUT_OF_MEMORY = 124  # exit code: all processes together took more than `Spec.memory`
# Address space that libraries reserve and do not use: OpenBLAS waits forever for what it cannot get.
_RESERVED = 2 * 2**30
_LOOK = 0.2  # seconds between two looks at the memory in use
SOCKETS, PAUSE, RESUME = b"+", b"-", b"="  # on standard input

# linux/sched.h, linux/mount.h, linux/prctl.h
_NEWNS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_NOSUID, _NODEV, _BIND, _REC, _PRIVATE, _DETACH = 2, 4, 4096, 16384, 1 << 18, 2
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442, -100, 0x8000
_ATTR_READONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_SET_PDEATHSIG, _SET_SECCOMP, _SET_CHILD_SUBREAPER, _SET_NO_NEW_PRIVS = 1, 22, 36, 38

# linux/filter.h, linux/seccomp.h: instructions, the answers, and where a call's number and arguments are.
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_CALL, _ARCHITECTURE, _ARGUMENTS, _X32 = 0, 4, 16, 0x40000000
_MAP_SHARED, _MAP_ANONYMOUS, _SOL_SOCKET, _SO_SNDBUF, _SO_RCVBUF = 1, 32, 1, 7, 8


class _Calls(NamedTuple):
    """The numbers of system calls on an architecture (linux/audit.h, asm/unistd.h)."""

    architecture: int
    memory: tuple[
        int, ...
    ]  # memfd_create, memfd_secret, shmget, msgget, io_uring_setup: memory of no process
    mmap: int
    setsockopt: int


CALLS = {
    "x86_64": _Calls(0xC000003E, (319, 447, 29, 68, 425), 9, 54),
    "aarch64": _Calls(0xC00000B7, (279, 447, 194, 186, 425), 222, 208),
}


@dataclass(frozen=True)
class Spec:
    """What to run, and within what. Sizes in bytes; paths of the machine unless said otherwise."""

    command: list[str]
    home: str  # working folder, as the command sees it; made here when confined
    memory: int  # of all processes together
    file: int  # largest file
    disk: int  # all files together, kept in memory when confined
    processes: int  # and threads, when confined
    confined: bool = True
    folder: str = ""  # removed once whoever started this is gone
    root: str = ""  # an empty folder, where the new root is put together
    readable: tuple[str, ...] = ()  # seen at the same path, read-only
    hidden: tuple[str, ...] = ()  # files among them that are not
    sockets: tuple[str, str] | None = None  # a folder to share, and where the command sees it
    settings: tuple[str, str] | None = None  # a folder to copy, and where the command sees it
    group: str = ""  # the folder of a control group (cgroups(7)) of its own, removed at the end


def main() -> int:
    spec = Spec(**json.loads(sys.argv[1]))
    try:
        return _run(spec)
    finally:
        if spec.group:
            with suppress(OSError):
                Path(spec.group).rmdir()


def _run(spec: Spec) -> int:
    user = 40000 + os.getpid() % 20000  # one per command, so that processes are counted apart
    if sys.platform == "linux":
        Path("/proc/self/oom_score_adj").write_text("1000")  # the first to go, never the server
        _prctl(_SET_CHILD_SUBREAPER, 1)
    if spec.confined:
        _unshare()
        _build_root(spec, user)
    elif spec.settings:
        shutil.copytree(*spec.settings)
    child = os.fork()
    if child == 0:
        _start(spec, user)
    return _supervise(child, spec)


# --- the processes -----------------------------------------------------------------------------


def _start(spec: Spec, user: int) -> NoReturn:
    """The command, or process 1 with the command below it."""
    try:
        os.close(0)
        os.open(os.devnull, os.O_RDONLY)
        if spec.group:
            Path(spec.group, "cgroup.procs").write_text("0")  # this process, and what it starts
        if spec.confined:
            _enter(spec, user)
        if sys.platform == "linux":
            _prctl(_SET_PDEATHSIG, signal.SIGKILL)  # a change of user would have cleared it
        if spec.confined:
            child = os.fork()
            if child:
                _reap(child)
        os.setsid()  # a group of its own: interrupts reach what the command starts as well
        os.chdir(spec.home)
        _limit(spec)
        os.execv(spec.command[0], spec.command)
    except OSError as error:
        os.write(2, f"{error}\n".encode())
    finally:
        os._exit(NOT_CONFINED)


def _reap(child: int) -> NoReturn:
    while True:
        ended, status = os.wait()
        if ended == child:
            os._exit(_code(status))


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _supervise(child: int, spec: Spec) -> int:
    """Wait for the end of the command, of its memory, or of whoever started it."""
    while True:
        readable, _, _ = select.select([0], [], [], _LOOK)
        word = os.read(0, 1) if readable else None
        if word == b"":
            _kill(child)
            _tidy(spec)
            return 0
        if word == SOCKETS and spec.confined and spec.sockets:
            _read_only(spec.root + spec.sockets[1])  # else files there would fill the disk
        elif word in (PAUSE, RESUME):
            _send(signal.SIGSTOP if word == PAUSE else signal.SIGCONT)
        ended, status = os.waitpid(-1, os.WNOHANG)  # orphans of the command come here as well
        if ended == child:
            _kill(0)
            return OUT_OF_MEMORY if _ran_out(spec) else _code(status)
        if _memory(spec) > spec.memory:
            _kill(child)
            return OUT_OF_MEMORY


def _tidy(spec: Spec) -> None:
    if spec.confined:
        _libc("umount2", spec.root.encode(), _DETACH)  # or the machine's own files would be below it
    if spec.folder:
        shutil.rmtree(spec.folder, ignore_errors=True)


def _kill(child: int) -> None:
    """End everything below this process; `child` is 0 once it is gone."""
    if child:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    while below := _descendants(os.getpid()):
        for process in below:
            _signal(process)


def _send(what: signal.Signals) -> None:
    """To everything below this process, and to what it starts meanwhile."""
    told: set[int] = set()
    while new := set(_descendants(os.getpid())) - told:
        for process in new:
            try:
                os.kill(process, what)
            except ProcessLookupError:
                continue
        told |= new


def _signal(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, os.WNOHANG)
    except (ProcessLookupError, ChildProcessError):
        return  # gone, or its own parent waits for it


def _descendants(process: int) -> list[int]:
    """Everything that a process has started, where the system tells."""
    try:
        threads = list(Path(f"/proc/{process}/task").iterdir())
        children = [int(child) for task in threads for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return children + [below for child in children for below in _descendants(child)]


def _memory(spec: Spec) -> int:
    """Bytes that everything below this process occupies."""
    below, queued = _descendants(os.getpid()), _queued() if spec.confined else 0
    resident = queued + sum(map(_resident, below))
    if resident <= spec.memory:
        return resident
    return queued + sum(map(_share, below))  # takes a moment, and only matters here


def _ran_out(spec: Spec) -> bool:
    """Whether the system has ended the command's group for its memory."""
    try:
        events = Path(spec.group, "memory.events").read_text().split() if spec.group else []
    except OSError:
        return False
    return "oom_kill" in events and events[events.index("oom_kill") + 1] != "0"


def _resident(process: int) -> int:
    """Bytes of memory that a process sees, others as well or not."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def _share(process: int) -> int:
    """Bytes of memory that a process occupies: of what several see, each its part."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):  # this system does not tell
        return _resident(process)


def _queued() -> int:
    """Bytes that may wait in the sockets of this network, at most; there are no others than these kinds."""
    try:
        size = int(Path("/proc/sys/net/core/wmem_default").read_text())
        messages = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text()) + 1
        sockets = [line.split()[4] for line in Path("/proc/self/net/unix").read_text().splitlines()[1:]]
        others = len(Path("/proc/self/net/netlink").read_text().splitlines()) - 1
    except OSError:
        return 0
    streams = sockets.count("0001")
    return size * (streams + others + messages * (len(sockets) - streams))


def _limit(spec: Spec) -> None:
    limits = {
        resource.RLIMIT_AS: spec.memory + _RESERVED,
        resource.RLIMIT_FSIZE: spec.file,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 512,
    }
    if spec.confined:  # elsewhere it would count all processes of whoever runs the server
        limits[resource.RLIMIT_NPROC] = spec.processes
    for what, limit in limits.items():
        try:
            resource.setrlimit(what, (limit, limit))
        except ValueError:  # macOS knows RLIMIT_AS and refuses it
            if spec.confined:
                raise OSError(f"the limit {what} cannot be set") from None
    os.nice(5)  # the server answers first


# --- namespaces --------------------------------------------------------------------------------


def _unshare() -> None:
    """Leave the machine's network, processes and mounts; who is not root needs a user namespace."""
    spaces = _NEWNS | _NEWIPC | _NEWPID | _NEWNET
    user, group = os.geteuid(), os.getegid()
    _libc("unshare", spaces | (_NEWUSER if user else 0))
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _mount("none", "/", "", _REC | _PRIVATE)


def _build_root(spec: Spec, user: int) -> None:
    """A root folder in memory: empty but for what is readable, the sockets and a few devices."""
    root = spec.root
    _mount("tmpfs", root, "tmpfs", _NOSUID | _NODEV, f"size={spec.disk},nr_inodes=50000,mode=755")
    for folder in ("/proc", "/dev", "/tmp", spec.home):
        Path(root + folder).mkdir(parents=True)
    _show(root, spec.readable, spec.hidden)
    for device in ("/dev/null", "/dev/random", "/dev/urandom"):  # shared, /dev/zero is memory of no process
        _bind(device, root + device)
    Path(root + "/dev/shm").symlink_to("/tmp")
    Path(root + "/dev/fd").symlink_to("/proc/self/fd")
    Path(root + "/tmp").chmod(0o1777)
    own = [root + spec.home]
    if spec.sockets:
        _bind(spec.sockets[0], root + spec.sockets[1])
        own.append(root + spec.sockets[1])
    if spec.settings:
        target = Path(root + spec.settings[1])
        shutil.copytree(spec.settings[0], target)
        own += [str(target), *map(str, target.rglob("*"))]
    if os.geteuid() == 0:
        for path in own:
            os.chown(path, user, user)


def _show(root: str, paths: tuple[str, ...], hidden: tuple[str, ...]) -> None:
    real = {path: os.path.realpath(path) for path in paths}
    for path in sorted(set(real.values()), key=len):  # a folder before what lies in it
        if not os.path.lexists(root + path):
            _bind(path, root + path)
            _read_only(root + path)
    for path in map(os.path.realpath, hidden):
        if Path(root + path).is_file():
            _mount("/dev/null", root + path, "", _BIND)  # of a mount without devices: nobody can open it
    for link, path in real.items():
        if not os.path.lexists(root + link):
            Path(root + link).parent.mkdir(parents=True, exist_ok=True)
            Path(root + link).symlink_to(path)


def _bind(source: str, target: str) -> None:
    if Path(source).is_dir():
        Path(target).mkdir(parents=True, exist_ok=True)
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    _mount(source, target, "", _BIND | _REC)


def _enter(spec: Spec, user: int) -> None:
    """Into the new root, as a user without rights. In the new process namespace, or /proc is wrong."""
    _mount("proc", spec.root + "/proc", "proc", _NOSUID | _NODEV)
    os.chroot(spec.root)
    os.chdir("/")
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    _prctl(_SET_NO_NEW_PRIVS, 1)
    if calls := CALLS.get(os.uname().machine):
        _filter(calls)


def _filter(calls: _Calls) -> None:
    """Refuse the system calls that take memory which no process has, from now on."""
    kind, size = _ARGUMENTS + 3 * 8, _ARGUMENTS + 2 * 8  # mmap's flags, setsockopt's option
    level = _ARGUMENTS + 8
    shared = _MAP_SHARED | _MAP_ANONYMOUS
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, calls.architecture), (_RETURN, 0, 0, _REFUSE),
        (_LOAD, 0, 0, _CALL), (_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _REFUSE),
    ]  # fmt: skip
    for call in calls.memory:
        steps += [(_EQUAL, 0, 1, call), (_RETURN, 0, 0, _REFUSE)]
    steps += [
        (_EQUAL, 0, 5, calls.mmap),
        (_LOAD, 0, 0, kind), (_AND, 0, 0, shared), (_EQUAL, 0, 1, shared),
        (_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW),
        (_EQUAL, 0, 5, calls.setsockopt),  # larger buffers than `_queued` counts
        (_LOAD, 0, 0, level), (_EQUAL, 0, 3, _SOL_SOCKET),
        (_LOAD, 0, 0, size), (_EQUAL, 2, 0, _SO_SNDBUF), (_EQUAL, 1, 0, _SO_RCVBUF),
        (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE),
    ]  # fmt: skip
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    program = struct.pack("@HP", len(steps), ctypes.addressof(held := ctypes.create_string_buffer(code)))
    _libc("prctl", _SET_SECCOMP, ctypes.c_ulong(2), program, *[ctypes.c_ulong(0)] * 2)
    del held  # until here it has to stay where it is


def _read_only(path: str) -> None:
    attributes = (ctypes.c_uint64 * 4)(_ATTR_READONLY | _ATTR_NOSUID | _ATTR_NODEV)
    arguments = _AT_FDCWD, path.encode(), _AT_RECURSIVE, ctypes.byref(attributes), ctypes.sizeof(attributes)
    _libc("syscall", _MOUNT_SETATTR, *arguments)


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    _libc("mount", source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())


def _prctl(what: int, value: int) -> None:
    _libc("prctl", what, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3)


def _libc(function: str, *arguments: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments) == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{function}: {os.strerror(code)}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as refused:
        sys.stderr.write(f"{refused}\n")
        sys.exit(NOT_CONFINED)
