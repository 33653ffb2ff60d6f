"""The devices of machines that are made up, and of this one."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from models import machine
from models.machine import _visible, devices
from models.schema import GiB


class FakeNvml:
    """As much of pynvml as is asked for. A handle is its number."""

    class NVMLError(Exception):
        pass

    def __init__(self, *cards: dict[str, Any], broken: str = "") -> None:
        self.cards, self.broken, self.open = cards, broken, 0

    def __getattr__(self, name: str) -> Any:
        fact = {
            "nvmlDeviceGetName": "name",
            "nvmlDeviceGetUUID": "uuid",
            "nvmlDeviceGetMemoryInfo": "memory",
            "nvmlDeviceGetCudaComputeCapability": "capability",
        }.get(name)
        if fact is None:
            raise AttributeError(name)
        if name == self.broken:
            return self.refuse
        return lambda handle: self.cards[handle][fact]

    def refuse(self, *_: Any) -> None:
        raise self.NVMLError("no")

    def nvmlInit(self) -> None:
        if self.broken == "nvmlInit":
            self.refuse()
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
        return number


def card(uuid: str, capability: tuple[int, int] = (8, 6), free: int = 20) -> dict[str, Any]:
    memory = SimpleNamespace(total=24 * GiB, free=free * GiB)
    return {"name": f"Card {uuid}", "uuid": uuid, "memory": memory, "capability": capability}


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(*cards: dict[str, Any], broken: str = "") -> FakeNvml:
        fake = FakeNvml(*cards, broken=broken)
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        monkeypatch.setattr(machine, "_torch_has_cuda", lambda: True)
        return fake

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return put


def test_the_processor_is_always_there_and_last() -> None:
    found = devices()
    assert found[-1].name == "cpu" and found[-1].precisions[-2:] == ("int8", "int4")
    assert 0 < found[-1].free <= found[-1].total <= psutil.virtual_memory().total


def test_cuda_devices_are_read_from_nvml(nvml: Any) -> None:
    fake = nvml(card("GPU-a"), card("GPU-b", (7, 5), free=3))
    new, old, processor = devices()
    assert (new.name, new.precisions[0], new.free) == ("cuda:0", "bf16", 20 * GiB)
    assert (old.name, old.precisions[0], old.free) == ("cuda:1", "fp16", 3 * GiB)
    assert new.title == "Card GPU-a (24 GB)" and processor.name == "cpu"
    assert fake.open == 0  # what was opened was closed


@pytest.mark.parametrize("broken", ["nvmlInit", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetName"])
def test_a_driver_that_does_not_answer_leaves_the_processor(nvml: Any, broken: str) -> None:
    fake = nvml(card("GPU-a"), broken=broken)
    assert [device.name for device in devices()] == ["cpu"]
    assert fake.open == 0


def test_without_a_cuda_build_of_torch_there_is_no_cuda_device(
    nvml: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml(card("GPU-a"))
    monkeypatch.setattr(machine, "_torch_has_cuda", lambda: False)
    assert [device.name for device in devices()] == ["cpu"]


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("1", [1]),
        ("2,0", [2, 0]),
        (" 2 , 1 ", [2, 1]),
        ("0,7,1", [0]),
        ("-1", []),
        ("GPU-b", [1]),
        ("GPU-c,GPU-a", [2, 0]),
        ("nonsense,0", []),
    ],
)
def test_visible_devices_as_cuda_reads_them(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, expected: list[int]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert list(_visible([0, 1, 2], FakeNvml(card("GPU-a1"), card("GPU-b2"), card("GPU-c3")))) == expected


def cgroup(monkeypatch: pytest.MonkeyPatch, folder: Path, **files: str) -> tuple[int, int]:
    """Total and free as read in a container with these files."""
    for name, text in files.items():
        (folder / f"memory.{name}").write_text(text)
    monkeypatch.setattr(machine, "CGROUP", folder)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64 * GiB, available=50 * GiB))
    return machine._memory()


def test_a_containers_limit_is_the_memory_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    total, free = cgroup(monkeypatch, tmp_path, max=f"{8 * GiB}\n", current=f"{3 * GiB}\n")
    assert (total, free) == (8 * GiB, 5 * GiB)


def test_a_container_has_no_more_free_than_its_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert cgroup(monkeypatch, tmp_path, max=str(60 * GiB), current=str(GiB)) == (60 * GiB, 50 * GiB)


def test_files_that_a_container_has_read_are_no_loss(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The kernel gives the page cache back; a model that was just fetched or mapped lies in it."""
    stat = f"anon {GiB}\nfile {4 * GiB}\nshmem {GiB}\ninactive_file {2 * GiB}\nactive_file {GiB}\n"
    total, free = cgroup(monkeypatch, tmp_path, max=str(8 * GiB), current=str(5 * GiB), stat=stat)
    assert (total, free) == (8 * GiB, 6 * GiB)


@pytest.mark.parametrize("limit", ["max\n", str(128 * GiB), ""])
def test_no_limit_leaves_the_machines_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str
) -> None:
    assert cgroup(monkeypatch, tmp_path, max=limit, current=str(GiB)) == (64 * GiB, 50 * GiB)


def test_a_full_container_has_nothing_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cgroup(monkeypatch, tmp_path, max=str(GiB), current=str(2 * GiB)) == (GiB, 0)


# --- other machines ------------------------------------------------------------------------------


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No CUDA, and 32 of 64 GB free."""
    memory = SimpleNamespace(total=64 * GiB, available=32 * GiB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(machine, "_torch_has_cuda", lambda: False)
    monkeypatch.setattr(machine, "CGROUP", Path("/nowhere"))


@pytest.mark.parametrize(
    ("system", "processor", "found"),
    [("darwin", "arm64", ["mps", "cpu"]), ("darwin", "x86_64", ["cpu"]), ("linux", "arm64", ["cpu"])],
)
def test_only_apples_own_processors_have_a_gpu(
    system: str, processor: str, found: list[str], bare: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(machine.platform, "machine", lambda: processor)
    made = devices()
    assert [device.name for device in made] == found
    if found[0] == "mps":
        assert (made[0].total, made[0].free, made[0].unified) == (64 * GiB, 32 * GiB, True)
        assert made[0].precisions == ("fp16", "bf16", "fp32")
    assert (made[-1].total, made[-1].free, made[-1].unified) == (64 * GiB, 32 * GiB, False)
    assert made[-1].title == "CPU (64 GB)"


@pytest.mark.parametrize(
    ("flags", "first"),
    [
        ("avx512_bf16", "bf16"),
        ("amx_bf16", "bf16"),
        ("bf16", "bf16"),
        ("avx512f avx512_bf16x", "fp32"),
        ("", "fp32"),
    ],
)
def test_bfloat16_comes_first_where_the_processor_multiplies_it(
    flags: str, first: str, bare: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : fpu {flags} sse\n")
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / Path(path).name)
    ways = devices()[-1].precisions
    assert (
        ways[0] == first and sorted(ways) == ["bf16", "fp32", "int4", "int8"] and ways[2:] == ("int8", "int4")
    )
    (tmp_path / "cpuinfo").unlink()
    assert devices()[-1].precisions[0] == "fp32"


@pytest.mark.parametrize(
    ("version", "cuda"),
    [
        ("cuda: Optional[str] = '12.4'\n", True),
        ("__version__ = '2'\ncuda = '12.4'\n", True),
        ("cuda: Optional[str] = None\n", False),
        ("hip = '6'\n", False),
    ],
)
def test_a_cuda_build_is_known_by_its_version_file(
    version: str, cuda: bool, nvml: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = machine._torch_has_cuda
    nvml(card("a"))
    monkeypatch.setattr(machine, "_torch_has_cuda", real)
    (tmp_path / "version.py").write_text(version)
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    assert [device.name for device in devices()] == (["cuda:0", "cpu"] if cuda else ["cpu"])
    (tmp_path / "version.py").unlink()
    assert [device.name for device in devices()] == ["cpu"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert [device.name for device in devices()] == ["cpu"]


def test_cards_are_numbered_as_nvml_does_unless_told_otherwise(
    nvml: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml(card("a"), card("b"))
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    devices()
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    devices()
    assert os.environ["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"
