"""Sound that is kept on disk while it still comes."""

import errno
import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import DoesNotFit
from models.jobs import Job
from models.sound import decoding
from models.sound.spool import Spool

PCM = np.array([0, 16384, -32768, 32767], "<i2").tobytes() * 4000


def test_what_was_appended_is_read_and_is_a_wav_file(tmp_path: Path) -> None:
    spool = Spool()
    for start in range(0, len(PCM), 3000):
        spool.append(PCM[start : start + 3000])
    assert spool.length == len(PCM) // 2
    np.testing.assert_array_equal(spool.read(1, 5), np.float32([0.5, -1, 32767 / 32768, 0]))
    path = tmp_path / "said.wav"
    path.write_bytes(spool.wav().read())
    np.testing.assert_array_equal(decoding.load(path), spool.read(0, spool.length))
    spool.append(PCM)  # the file can still grow
    with wave.open(io.BytesIO(spool.wav().read())) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
        assert file.readframes(file.getnframes()) == PCM + PCM


def test_one_reads_while_another_appends() -> None:
    spool = Spool()
    counted = np.arange(30_000, dtype="<i2")
    writing: Job[Any, None] = Job(
        lambda *_: [spool.append(part.tobytes()) for part in np.split(counted, 300)] and None
    )
    read = 0
    while not (writing.wait(0) and read == spool.length):
        now = spool.length
        np.testing.assert_array_equal(spool.read(read, now) * 32768, counted[read:now])
        read = now
    writing.result()
    assert read == len(counted)


def test_a_full_disk_is_a_sentence_and_keeps_what_came_before() -> None:
    class Disk:
        """Takes half of what is written, and then nothing."""

        def __init__(self, file: Any) -> None:
            self._file, self.free = file, 3

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def write(self, data: bytes) -> int:
            self.free -= 1
            if self.free == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return int(self._file.write(data[: len(data) // 2 + 1]))

    spool = Spool()
    spool.append(PCM)
    spool._file = disk = Disk(spool._file)
    with pytest.raises(DoesNotFit, match="make room"):
        spool.append(PCM)
    assert spool.length == len(PCM) // 2
    disk.free = 1000
    assert spool.wav().read()[44 : 44 + len(PCM)] == PCM
