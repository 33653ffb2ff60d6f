"""Recordings to samples: any audio or video file that FFmpeg reads, through PyAV, with no ffmpeg program.

Samples pass through 16-bit integers at 16 kHz, as in openai-whisper's and faster-whisper's own
decoders, so that a file gives every engine exactly what the bare library would have made of it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.errors import BadInput, Cancelled

SAMPLE_RATE = 16_000

# A playlist with the name of a recording must not make FFmpeg open addresses.
_OPEN_OPTIONS = {"protocol_whitelist": "file"}
_JOINED_SAMPLES = 500_000  # per channel, before resampling


def load(source: str | Path | Any, cancel: threading.Event | None = None) -> Any:
    """Read a recording, or check one that is in memory.

    Args:
        source: a path (of a video, the first sound track is read), or samples at 16 kHz as an array
            of shape (samples,).
        cancel: ends the reading within one block.

    Returns:
        Mono samples at 16 kHz, float32 in [-1, 1], shape (samples,). Needs four bytes a sample,
        460 MB for two hours, and no second copy of it.

    Raises:
        BadInput: there is no such file, or no sound can be decoded from it. Of a damaged or cut file
            what can be decoded is returned.
        Cancelled: `cancel` was set.
    """
    import numpy as np

    if not isinstance(source, (str, Path)):
        return _checked(source)
    # Grows in place, where joining a list of blocks would need the memory twice.
    samples = bytearray()
    for part in _decoded(Path(source), cancel):
        samples += memoryview(part.view(np.uint8))
    return np.frombuffer(samples, np.float32)


def blocks(
    source: str | Path | Any, seconds: int, cancel: threading.Event | None = None
) -> Iterator[tuple[Any, bool]]:
    """The samples that `load` returns, block by block: a file's length costs no memory.

    Yields:
        `seconds` of samples (the last time fewer), and whether they are the last.

    Raises:
        BadInput, Cancelled: as for `load`.
    """
    import numpy as np

    size = seconds * SAMPLE_RATE
    if not isinstance(source, (str, Path)):
        samples = _checked(source)
        for start in range(0, len(samples), size):
            yield samples[start : start + size], start + size >= len(samples)
        return
    parts, length = [], 0
    for part in _decoded(Path(source), cancel):
        parts.append(part)
        length += len(part)
        while length > size:
            joined = np.concatenate(parts)
            yield joined[:size], False
            parts, length = [joined[size:].copy()], length - size
    yield np.concatenate(parts), True


def duration(source: str | Path | Any) -> float:
    """Seconds of sound, of a file from its header where that says so, else from its packets' times.

    Raises:
        BadInput: as for `load`.
    """
    if not isinstance(source, (str, Path)):
        return len(_checked(source)) / SAMPLE_RATE
    with opened(Path(source)) as container:
        return _header_seconds(container) or _packet_seconds(container)


def _decoded(path: Path, cancel: threading.Event | None) -> Iterator[Any]:
    """Parts of some seconds as float32 of shape (samples,); at least one that is not empty."""
    import numpy as np

    empty = True
    with opened(path) as container:
        for block in _blocks(container):
            if cancel is not None and cancel.is_set():
                raise Cancelled
            empty = empty and not len(block)
            yield block.astype(np.float32) / 32768.0
    if empty:
        raise _undecodable(path)


def _checked(samples: Any) -> Any:
    import numpy as np

    array = np.asarray(samples)
    if array.ndim != 1 or array.size == 0 or not np.issubdtype(array.dtype, np.floating):
        raise BadInput(
            "Samples have to be one row of floating-point numbers at 16 kHz: mix the channels down first.",
            "采样数据必须是 16 kHz 的一维浮点数组：请先混合为单声道。",
        )
    return array.astype(np.float32, copy=False)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An open PyAV container that has sound; whatever FFmpeg finds wrong with it is a BadInput."""
    import av

    _check_file(path)
    try:
        with av.open(str(path), metadata_errors="ignore", container_options=_OPEN_OPTIONS) as container:
            if not container.streams.audio:
                raise BadInput(
                    f"{path.name} has no sound in it: choose an audio file or a video with sound.",
                    f"{path.name} 中没有声音：请选择音频文件或带声音的视频。",
                )
            yield container
    except av.FFmpegError as error:
        raise _undecodable(path) from error


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise BadInput(
            f"{path} is a folder: choose a recording inside it.",
            f"{path} 是文件夹：请选择其中的录音文件。",
        )
    if not path.is_file():
        raise BadInput(f"There is no file {path}: check the path.", f"没有文件 {path}：请检查路径。")
    if path.stat().st_size == 0:
        raise BadInput(
            f"{path.name} is empty (0 bytes): record or upload it again.",
            f"{path.name} 是空文件（0 字节）：请重新录制或上传。",
        )


def _undecodable(path: Path) -> BadInput:
    return BadInput(
        f"No sound can be decoded from {path.name}: it is damaged or not a recording; "
        "try another file, such as WAV, MP3 or MP4.",
        f"无法从 {path.name} 解码出声音：文件已损坏或不是录音；请换一个文件，例如 WAV、MP3 或 MP4。",
    )


def _header_seconds(container: Any) -> float:
    stream = container.streams.audio[0]
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return float(container.duration or 0) / 1e6  # microseconds


def _packet_seconds(container: Any) -> float:
    """What a file without a length in its header lasts (a browser's recording, a raw stream)."""
    end = 0.0
    for packet in _packets(container):
        if packet.pts is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return end


def _blocks(container: Any) -> Iterator[Any]:
    """Decoded sound as int16 arrays of shape (samples,), mono at 16 kHz."""
    import av

    resampler, shape = None, None
    for frame in _joined(_frames(container)):
        if shape != _shape(frame):
            # Some files change their channels or rate on the way, and a resampler cannot.
            yield from _resampled(resampler, None)
            resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
            shape = _shape(frame)
        yield from _resampled(resampler, frame)
    yield from _resampled(resampler, None)


def _joined(frames: Iterator[Any]) -> Iterator[Any]:
    """Frames of equal shape joined to some seconds each: resampling frame by frame takes 3x the time."""
    import av

    fifo, shape = av.AudioFifo(), None
    for frame in frames:
        frame.pts = None  # gaps in the times are no reason to refuse what was said
        if fifo.samples and (shape != _shape(frame) or fifo.samples >= _JOINED_SAMPLES):
            yield fifo.read()
            fifo = av.AudioFifo()
        shape = _shape(frame)
        fifo.write(frame)
    if fifo.samples:
        yield fifo.read()


def _shape(frame: Any) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _resampled(resampler: Any, frame: Any) -> Iterator[Any]:
    """Give the resampler a frame, or None to empty it."""
    if resampler is not None:
        for part in resampler.resample(frame):
            if part is not None:
                yield part.to_ndarray()[0]


def _frames(container: Any) -> Iterator[Any]:
    """Frames of the first sound track; packets that cannot be decoded are left out."""
    import av

    for packet in _packets(container):
        try:
            yield from packet.decode()
        except av.FFmpegError:
            continue


def _packets(container: Any) -> Iterator[Any]:
    """Packets of the first sound track, up to where the file is cut."""
    import av

    packets = container.demux(container.streams.audio[0])
    while True:
        try:
            yield next(packets)
        except (StopIteration, av.FFmpegError):
            return
