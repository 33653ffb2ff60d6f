"""Control groups for interpreters: on folders that look like those of the system, and on its own where it has some.

The files of a folder that looks like one appear with its name, as the system lets them.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.interpreter import cgroups, confined, confinement
from models.interpreter.kernel import Limits, launch
from models.schema import GiB

FILES = ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cgroup.procs")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The server's own group, with itself and another process in it, below the root of a tree of groups."""
    (own := tmp_path / "system.slice/quintet.service").mkdir(parents=True)
    (own / "cgroup.controllers").write_text("cpu memory pids\n")
    (own / "cgroup.subtree_control").write_text("\n")
    (own / "cgroup.procs").write_text("40\n41\n")
    (where := tmp_path / "self").write_text("4:memory:/elsewhere\n0::/system.slice/quintet.service\n")
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    monkeypatch.setattr(cgroups, "OWN", where)
    make, remove = Path.mkdir, Path.rmdir

    def with_files(self: Path, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **named)
        for name in FILES:
            (self / name).touch()

    def without_files(self: Path) -> None:
        for file in self.iterdir():
            file.unlink()
        remove(self)

    monkeypatch.setattr(Path, "mkdir", with_files)
    monkeypatch.setattr(Path, "rmdir", without_files)
    cgroups.find_parent.cache_clear()
    yield own
    cgroups.find_parent.cache_clear()


def groups(own: Path) -> list[Path]:
    return sorted(own.glob("quintet-*"))


def test_a_group_holds_memory_swap_and_processes(own: Path) -> None:
    group = Path(cgroups.make_group(2 * GiB, 64))
    assert groups(own) == [group]  # what was tried is gone
    limits = {name: (group / name).read_text() for name in FILES}
    assert limits == {
        "memory.max": str(2 * GiB), "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "64",
        "cgroup.procs": "",
    }  # fmt: skip


def test_the_server_makes_room_for_groups_with_limits(own: Path) -> None:
    assert cgroups.find_parent() == own
    assert (own / "cgroup.subtree_control").read_text() == "+memory +pids"
    assert (own / "quintet/cgroup.procs").read_text() in ("40", "41")  # each is written by itself


def test_where_there_is_room_nobody_is_moved(own: Path) -> None:
    (own / "cgroup.subtree_control").write_text("memory pids\n")
    assert cgroups.find_parent() == own
    assert not (own / "quintet").exists()


@pytest.mark.parametrize("missing", ["memory", "pids"])
def test_without_a_controller_there_is_no_group(own: Path, missing: str) -> None:
    (own / "cgroup.controllers").write_text("cpu memory pids".replace(missing, ""))
    assert cgroups.make_group(GiB, 64) == ""
    assert not (own / "quintet").exists()


@pytest.mark.parametrize("written", ["4:memory:/elsewhere\n", "0::/of.another\n", ""])
def test_without_a_group_of_its_own_there_is_none(own: Path, written: str) -> None:
    cgroups.OWN.write_text(written)
    assert cgroups.make_group(GiB, 64) == ""


def test_a_group_that_takes_no_limit_is_none(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_text

    def refuse(self: Path, text: str, *more: Any) -> int:
        if self.name == "memory.max":
            raise PermissionError
        return write(self, text, *more)

    monkeypatch.setattr(Path, "write_text", refuse)
    assert cgroups.make_group(GiB, 64) == ""
    assert groups(own) == []


@pytest.mark.parametrize("there, said", [(True, "the system itself holds"), (False, "counted several times")])
def test_the_page_says_which_holds(there: bool, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUINTET_CODE_INTERPRETER", "1")
    module = sys.modules["models.interpreter.confinement"]
    monkeypatch.setattr(module, "_unconfinable", lambda: None)
    monkeypatch.setattr(cgroups, "find_parent", lambda: Path("/group") if there else None)
    (sentence,) = [each.en for each in confinement().enforced if "GB of memory" in each.en]
    assert "At most 2.0 GB" in sentence and said in sentence


def test_nobody_is_moved_where_the_interpreter_is_off(own: Path) -> None:
    assert confinement().refused
    assert not (own / "quintet").exists()


@pytest.mark.parametrize("killed, code", [(1, confined.OUT_OF_MEMORY), (0, 137)])
def test_a_group_that_the_system_ended_ran_out_of_memory(tmp_path: Path, killed: int, code: int) -> None:
    (tmp_path / "memory.events").write_text(f"low 0\nhigh 0\nmax 9\noom 1\noom_kill {killed}\n")
    assert run("import os; os.kill(os.getpid(), 9)", tmp_path) == code
    joined = (tmp_path / "cgroup.procs").read_text()
    assert joined == "0"  # whoever writes it


def test_the_command_is_in_its_group_and_the_group_ends_with_it() -> None:
    root = next(
        (at for at in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified") if Path(at, "cgroup.procs").exists()), ""
    )
    group = Path(root, f"quintet-test-{os.getpid()}")
    try:
        group.mkdir()
    except OSError:
        pytest.skip("this system gives no control group (version 2)")
    code = (
        f"import sys; sys.exit(any(line.strip() == '0::/{group.name}' for line in open('/proc/self/cgroup')))"
    )
    assert run(code, group) == 1
    assert not group.exists()


def run(code: str, group: Path) -> int:
    """How a command ends that is put into a group, unconfined."""
    limits = Limits()
    spec = confined.Spec(
        [sys.executable, "-I", "-c", code], tempfile.gettempdir(), limits.memory, limits.file,
        limits.disk, limits.processes, confined=False, group=str(group),
    )  # fmt: skip
    with tempfile.TemporaryFile() as log, launch(spec, log) as process:
        return process.wait()
