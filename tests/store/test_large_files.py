"""Large files: given and got by their paths, copied once, and read by nobody who keeps or lists what they belong to."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy

from models.errors import NotKept
from models.store.store import Limits, Shelf, Store
from models.store.things import Thing, digest, digest_of, new_id

SOUND = b"a large recording" * 1000
NAME = digest(SOUND)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "talk.wav"
    path.write_bytes(SOUND)
    return path


@pytest.fixture
def shelf(store: Store) -> Shelf:
    return store.shelf("a secret")


def recording(sound: Path, revision: int = 0, id: str = "") -> Thing:
    return Thing(
        id or new_id(), "recording", "whisper", "talk.wav", {}, files={NAME: sound}, revision=revision
    )


def on_disk(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "files").rglob("*") if path.is_file()]


def test_it_comes_by_its_path_and_is_got_so(shelf: Shelf, sound: Path, tmp_path: Path) -> None:
    assert digest_of(sound) == NAME
    put = recording(sound)
    shelf.put(put)
    sound.unlink()
    found = shelf.get(put.id, read_files=False)
    assert found and isinstance(found.files[NAME], Path) and on_disk(tmp_path) == [found.files[NAME]]
    again = shelf.get(put.id)
    assert again and again.files == {NAME: SOUND} and shelf.size() > len(SOUND)


def test_on_another_disk_it_is_copied(
    shelf: Shelf, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "another disk")

    monkeypatch.setattr(os, "link", refuse)
    shelf.put(recording(sound))
    (kept,) = on_disk(tmp_path)
    assert kept.read_bytes() == SOUND and kept.stat().st_mode & 0o077 == 0


def test_it_is_not_touched_again(
    shelf: Shelf, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at a correction, and not even when it is gone where it came from."""
    put = recording(sound)
    shelf.put(put)
    sound.unlink()
    monkeypatch.setattr(os, "link", lambda *_: pytest.fail("linked again"))
    monkeypatch.setattr(shutil, "copyfile", lambda *_: pytest.fail("copied again"))
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("read"))
    shelf.put(replace(put, content={"corrected": True}, revision=1))
    assert len(on_disk(tmp_path)) == 1 and shelf.size() > len(SOUND)


@pytest.mark.parametrize("limits", [Limits(1000, 10**9), Limits(10**9, 1000)])
def test_without_room_not_a_byte_of_it_is_written(
    limits: Limits, store: Store, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.limits = limits
    monkeypatch.setattr(os, "link", lambda *_: pytest.fail("linked"))
    shelf = store.shelf("a secret")
    with pytest.raises(NotKept, match="keep as much|keeps as much"):
        shelf.put(recording(sound))
    assert on_disk(tmp_path) == [] and shelf.entries("recording") == []


def test_a_full_disk_leaves_nothing_half_written(
    shelf: Shelf, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_: Path, target: Path) -> None:
        target.write_bytes(SOUND[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("models.store.folder.link_or_copy", fill)
    with pytest.raises(NotKept, match="disk of this server is full"):
        shelf.put(recording(sound))
    assert on_disk(tmp_path) == [] and shelf.entries("recording") == [] and shelf.size() == 0


def test_one_that_is_gone_is_a_sentence(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(NotKept):
        shelf.put(recording(tmp_path / "nothing.wav"))
    assert shelf.entries("recording") == []


def test_what_was_swept_meanwhile_is_not_taken_for_kept(
    shelf: Shelf, sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another tab deletes the last thing that needs the file, between the look whether it is there and the lock."""
    before, put = recording(sound), recording(sound)
    shelf.put(before)
    stage = Shelf._stage

    def look(*arguments: object) -> None:
        stage(*arguments)  # type: ignore[arg-type]
        shelf.delete(before.id)

    monkeypatch.setattr(Shelf, "_stage", look)
    with pytest.raises(NotKept):
        shelf.put(put)
    monkeypatch.setattr(Shelf, "_stage", stage)
    shelf.put(put)
    found = shelf.get(put.id)
    assert found and found.files == {NAME: SOUND}


def test_what_a_killed_process_has_staged_is_tidied_up(
    url: sqlalchemy.URL, store: Store, sound: Path, tmp_path: Path
) -> None:
    store.shelf("a secret").put(recording(sound))
    staged = store.folder.stage(sound)
    assert staged.exists()
    Store(url, tmp_path / "files", Limits(10**9, 10**9)).close()
    assert not staged.exists() and len(on_disk(tmp_path)) == 1


def test_deleting_leaves_no_byte_of_it(shelf: Shelf, sound: Path, tmp_path: Path) -> None:
    put = recording(sound)
    shelf.put(put)
    shelf.delete(put.id)
    assert on_disk(tmp_path) == [] and sound.read_bytes() == SOUND
