"""requirements*.txt are what people write, requirements*.lock what is installed: both say the same."""

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.fakes.paths import ROOT

# Which build of torch is taken is for whoever installs to say (pyproject.toml, [tool.uv.pip]).
UNLOCKED = {"torch"}
MACHINES = [
    {"sys_platform": platform, "python_version": f"3.{minor}", "python_full_version": f"3.{minor}.0"}
    for platform in ("linux", "darwin", "win32")
    for minor in (11, 12, 13)
]


@pytest.fixture(params=["requirements", "requirements-dev"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def listed(name: str) -> list[Requirement]:
    lines = (ROOT / f"{name}.txt").read_text("utf-8").splitlines()
    return [Requirement(said) for line in lines if (said := line.split("#")[0].strip())]


def entries(name: str) -> list[str]:
    """Of the lock file: each project with its version, its hashes and who asked for it."""
    text, *_ = (ROOT / f"{name}.lock").read_text("utf-8").split("\n\n# The following packages were excluded")
    return re.split(r"(?m)^(?=\w)", text)[1:]


def project(entry: str) -> Requirement:
    return Requirement(entry.split("\\\n")[0])


def on(machine: dict[str, str], asked: list[Requirement]) -> dict[str, str]:
    """Project: version, of what such a machine installs."""
    return {
        canonicalize_name(one.name): str(one.specifier)
        for one in asked
        if one.marker is None or one.marker.evaluate(machine)
    }


def test_a_list_pins_everything(name: str) -> None:
    assert all(re.fullmatch(r"==[\w.]+", str(one.specifier)) for one in listed(name))


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: "-".join([*machine.values()][:2]))
def test_list_and_lock_agree(name: str, machine: dict[str, str]) -> None:
    """`make lock` writes the lock anew. Older pins that nothing asks for any more are a disagreement, too."""
    asked_for = re.compile(rf"(?m)^    #( via|  ) -r {name}\.txt$")
    direct = [project(entry) for entry in entries(name) if asked_for.search(entry)]
    assert on(machine, direct) == {
        each: version for each, version in on(machine, listed(name)).items() if each not in UNLOCKED
    }


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: "-".join([*machine.values()][:2]))
def test_the_two_locks_agree(machine: dict[str, str]) -> None:
    run, dev = (on(machine, [*map(project, entries(name))]) for name in ("requirements", "requirements-dev"))
    assert (both := run.keys() & dev.keys())
    assert {each: run[each] for each in both} == {each: dev[each] for each in both}


def test_everything_locked_has_hashes_and_no_address(name: str) -> None:
    for entry in entries(name):
        assert re.search(r"(?m)^    --hash=sha256:[0-9a-f]{64}", entry), entry
        assert "://" not in entry and " @ " not in entry and "--index" not in entry, entry


def test_the_lock_fits_a_build_of_torch_without_cuda(name: str) -> None:
    """What a CUDA build brings along would be gigabytes of nothing beside one for processors."""
    locked = {canonicalize_name(project(entry).name) for entry in entries(name)}
    assert {each for each in locked if re.match("torch$|nvidia-|cuda-", each)} <= {"nvidia-ml-py"}
