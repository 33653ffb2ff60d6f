"""Folders for a while: nothing of a process stays behind, and nothing of one that lives is removed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.cache.temporary import folder_in, sweep

MAKES_ONE = """
import sys
from pathlib import Path
from models.cache.temporary import folder_in
(folder_in(Path(sys.argv[1])) / "file").write_text("something")
print("made", flush=True)
sys.stdin.read()
"""


@contextmanager
def other_process(parent: Path) -> Iterator["subprocess.Popen[str]"]:
    """One that has made its folder, and lives until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAKES_ONE, str(parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None and process.stdout.readline() == "made\n"
        yield process


def folders(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if path.is_dir()]


def test_what_a_killed_process_left_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    with other_process(tmp_path) as living:
        with other_process(tmp_path) as killed:
            assert len(folders(tmp_path)) == 2
            killed.send_signal(signal.SIGKILL)
        assert len(folders(tmp_path)) == 2
        sweep(tmp_path)
        (left,) = folders(tmp_path)
        assert (left / "file").read_text() == "something"
        living.communicate()
    assert list(tmp_path.iterdir()) == []  # it ended by itself


def test_the_next_process_tidies_up(tmp_path: Path) -> None:
    with other_process(tmp_path) as killed:
        killed.send_signal(signal.SIGKILL)
    with other_process(tmp_path) as next_one:
        assert len(folders(tmp_path)) == 1
        next_one.communicate()


def test_a_process_has_one_folder_and_another_when_somebody_removed_it(tmp_path: Path) -> None:
    first = folder_in(tmp_path)
    assert folder_in(tmp_path) == first and os.stat(first).st_mode & 0o077 == 0  # noqa: PTH116
    first.rmdir()
    assert folder_in(tmp_path) != first and folder_in(tmp_path).is_dir()
    sweep(tmp_path)
    assert folder_in(tmp_path).is_dir()


def test_where_nothing_can_be_made_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        folder_in(tmp_path / "file")
