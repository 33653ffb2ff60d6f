"""Sound that is still coming, kept on disk until somebody has time for it."""

import struct
import tempfile
import threading
import weakref
from typing import IO, Any

from models.errors import DoesNotFit
from models.sound.decoding import SAMPLE_RATE

_HEADER = 44  # bytes


class Spool:
    """A WAV file that grows: 16-bit samples, mono at 16 kHz. It has no name, and is gone with this object.

    Any thread may append while others read.
    """

    def __init__(self) -> None:
        self.length = 0  # samples
        # Without a buffer: what a full disk refuses must not be tried again at the next reading.
        self._file: IO[bytes] = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (it lives as long as this)
        self._lock = threading.Lock()
        weakref.finalize(self, self._file.close)

    def append(self, pcm: bytes) -> None:
        """Keep 16-bit little-endian samples.

        Raises:
            DoesNotFit: they could not be written; what came before them is kept.
        """
        left = memoryview(pcm)
        try:
            with self._lock:
                self._file.seek(_HEADER + 2 * self.length)
                while left:
                    left = left[self._file.write(left) :]
                self.length += len(pcm) // 2
        except OSError as error:
            raise DoesNotFit(
                "The sound cannot be written to the disk: make room there; what was said before is kept.",
                "声音无法写入磁盘：请清理磁盘空间；此前的内容已保留。",
            ) from error

    def read(self, start: int, end: int) -> Any:
        """The samples from one to another, as float32 in [-1, 1), shape (samples,)."""
        import numpy as np

        with self._lock:
            self._file.seek(_HEADER + 2 * start)
            pcm = self._file.read(2 * (end - start))
        return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768.0

    def wav(self) -> IO[bytes]:
        """The file at its beginning, to be copied once nothing is appended any more."""
        size, rate = 2 * self.length, SAMPLE_RATE
        parts = (b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", size)
        with self._lock:
            self._file.seek(0)
            self._file.write(struct.pack("<4sI4s4sIHHIIHH4sI", *parts))
            self._file.seek(0)
        return self._file
