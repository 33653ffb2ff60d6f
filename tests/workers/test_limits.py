"""What the system allows a worker: how much memory, whose turn comes first, and when it is over."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from models.schema import Checkpoint, Placement
from models.workers import limits
from models.workers.host import isolated
from tests.fakes.paths import ROOT
from tests.fakes.waiting import until
from tests.fakes.worker_engines import ObedientEngine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system limits nothing")

PLANNED = 1 << 30
# A server that is killed while its worker holds the interpreter's lock, and cannot hear that the line is closed.
SERVER = """
import os, signal, threading
from models.schema import Checkpoint, Placement
from models.workers.host import isolated
from tests.fakes.worker_engines import ObedientEngine
checkpoint, placement = Checkpoint("obedient", "other", "chat", "transformers"), Placement("cpu", "fp32", 64)
engine = isolated(ObedientEngine, 0)("model", checkpoint, placement)
events = engine.stream([{"role": "user", "content": "answer freeze"}])
next(events), next(events)
print(engine.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def start(path: Path, device: str) -> Any:
    checkpoint = Checkpoint("obedient", "other", "chat", "transformers")
    return isolated(ObedientEngine, PLANNED)(path, checkpoint, Placement(device, "fp32", 64))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("files") / "model"
    (made / "inside").mkdir(parents=True)
    (made / "one").write_bytes(bytes(5000))
    (made / "inside/two").write_bytes(bytes(3000))
    return made


@pytest.fixture(scope="module")
def worker(folder: Path) -> Iterator[psutil.Process]:
    engine = start(folder, "cpu")
    yield psutil.Process(engine.process.pid)
    engine.close_if_idle()


def allowed(planned: int, files: int) -> int:
    cores = os.cpu_count() or 1
    return planned * 3 // 2 + files + limits.ALLOWANCE + limits.ALLOWANCE_PER_CORE * cores


def test_its_memory_is_what_was_planned_and_its_files(worker: psutil.Process) -> None:
    import resource

    soft, hard = worker.rlimit(resource.RLIMIT_DATA)
    assert soft == allowed(PLANNED, 8000)
    assert hard == resource.getrlimit(resource.RLIMIT_DATA)[1]


def test_a_card_has_its_own_memory(folder: Path) -> None:
    import resource

    engine = start(folder, "cuda:0")
    limit = psutil.Process(engine.process.pid).rlimit(resource.RLIMIT_DATA)
    assert engine.close_if_idle()
    assert limit == resource.getrlimit(resource.RLIMIT_DATA)


@pytest.mark.parametrize(("hard", "soft"), [(10**15, None), (1000, 1000), (-1, None)])
def test_the_limit_stays_below_the_systems_own(
    hard: int, soft: int | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    assert resource.RLIM_INFINITY == -1
    made: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (7, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, both: made.append(both))
    limits.limit_memory(4, folder / "one")
    assert made == [(allowed(4, 5000) if soft is None else soft, hard)]


def test_pages_come_before_it_and_it_goes_before_them(worker: psutil.Process) -> None:
    assert worker.nice() == min(os.nice(0) + limits.NICENESS, 19)
    assert Path(f"/proc/{worker.pid}/oom_score_adj").read_text().strip() == limits.FIRST_TO_BE_ENDED


def test_it_has_a_name_in_lists_and_hears_no_terminal(worker: psutil.Process) -> None:
    assert worker.cmdline()[-1] == "obedient"
    assert os.getsid(worker.pid) == worker.pid  # Ctrl-C is for the server


def test_it_ends_with_its_server_even_in_the_middle_of_a_calculation() -> None:
    server = subprocess.run([sys.executable, "-c", SERVER], cwd=ROOT, capture_output=True, text=True)
    assert server.returncode == -signal.SIGKILL, server.stderr
    until(is_gone(int(server.stdout)))


def is_gone(pid: int) -> Callable[[], bool]:
    """Whoever takes over orphans need not have noticed its end."""

    def gone() -> bool:
        return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    return gone
