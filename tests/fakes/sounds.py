"""Recordings of any shape, written with PyAV."""

from pathlib import Path

import av
import numpy as np


def sine(seconds: float, rate: int = 16_000, hertz: float = 440.0) -> np.ndarray:
    """Half of full scale, float32, shape (seconds * rate,)."""
    times = np.arange(int(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def write_sound(
    path: Path, samples: np.ndarray, rate: int = 16_000, layout: str = "mono", video: bool = False
) -> Path:
    """The same samples in every channel, as 16-bit PCM; the container follows the file's name."""
    with av.open(str(path), "w") as container:
        picture = _add_picture(container) if video else None
        stream = container.add_stream("pcm_s16le", rate=rate, layout=layout)
        if picture is not None:
            _show(container, picture)
        channels = len(stream.layout.channels)
        row = np.repeat((samples * 32767).astype(np.int16), channels)[None]
        step = rate // 10 * channels  # a tenth of a second in each packet, as recorders write them
        for start in range(0, row.shape[1], step):
            frame = av.AudioFrame.from_ndarray(row[:, start : start + step], format="s16", layout=layout)
            frame.sample_rate = rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_mp3(path: Path, samples: np.ndarray, rate: int, layout: str) -> Path:
    """Frames alone, without a header for the whole: such files can be put one behind another."""
    bare = {"write_xing": "0", "id3v2_version": "0"}
    with av.open(str(path), "w", format="mp3", options=bare) as container:
        stream = container.add_stream("libmp3lame", rate=rate, layout=layout)
        row = np.repeat((samples * 32767).astype(np.int16), len(stream.layout.channels))[None]
        frame = av.AudioFrame.from_ndarray(row, format="s16", layout=layout)
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_silent_film(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        _show(container, _add_picture(container))
    return path


def _add_picture(container: av.container.OutputContainer) -> av.VideoStream:
    stream = container.add_stream("mpeg4", rate=10)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    return stream


def _show(container: av.container.OutputContainer, stream: av.VideoStream) -> None:
    for _ in range(10):
        black = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
        container.mux(stream.encode(black))
    container.mux(stream.encode())
