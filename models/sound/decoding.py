"""Recordings to samples: any audio or video file that FFmpeg reads, through PyAV, with no ffmpeg program.

Samples pass through 16-bit integers at 16 kHz, as in openai-whisper's and faster-whisper's own
decoders, so that a file gives every engine exactly what the bare library would have made of it. Only
what those lose is kept here: silence where a track begins late or has holes, so that what is heard is
at the time that a player shows, and channels that cancel each other.
"""

import threading
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

from models.errors import BadInput, Cancelled
from models.sound.mixing import audible
from models.sound.timing import Clock
from models.sound.tracks import demuxed, opened, undecodable

SAMPLE_RATE = 16_000

Hole = tuple[float, float]  # seconds: from when to when a file has no sound
_JOINED_SAMPLES = 500_000  # per channel, before resampling
_SILENCE = 60 * SAMPLE_RATE  # samples of a hole that are made at a time


def load(source: str | Path | Any, cancel: threading.Event | None = None, track: int | None = None) -> Any:
    """Read a recording, or check one that is in memory.

    Args:
        source: a path, or samples at 16 kHz as an array of shape (samples,).
        cancel: ends the reading within one block.
        track: which sound track of the file, from 1; None: the one that `tracks.opened` chooses.

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
    for part in _decoded(Path(source), cancel, track):
        samples += memoryview(part.view(np.uint8))
    return np.frombuffer(samples, np.float32)


def blocks(
    source: str | Path | Any,
    seconds: int,
    cancel: threading.Event | None = None,
    track: int | None = None,
    holes: list[Hole] | None = None,
) -> Iterator[tuple[Any, bool]]:
    """The samples that `load` returns, block by block: a file's length costs no memory.

    Args:
        source, cancel, track: as for `load`.
        seconds: of each block.
        holes: is given where the file had nothing, each before the block that ends in or behind it.

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
    for part in _decoded(Path(source), cancel, track, holes):
        parts.append(part)
        length += len(part)
        while length > size:
            joined = np.concatenate(parts)
            yield joined[:size], False
            parts, length = [joined[size:].copy()], length - size
    yield np.concatenate(parts), True


def duration(source: str | Path | Any, track: int | None = None) -> float:
    """Seconds up to the end of the sound: from a file's header where that says so, else from its packets.

    Raises:
        BadInput: as for `load`.
    """
    if not isinstance(source, (str, Path)):
        return len(_checked(source)) / SAMPLE_RATE
    with opened(Path(source), track) as (container, stream):
        return _header_seconds(container, stream) or _packet_seconds(container, stream)


def _decoded(
    path: Path, cancel: threading.Event | None, track: int | None, holes: list[Hole] | None = None
) -> Iterator[Any]:
    """Parts of some seconds as float32 of shape (samples,); at least one that is not empty."""
    import numpy as np

    empty = True
    with opened(path, track) as (container, stream):
        for block in _blocks(container, stream, [] if holes is None else holes):
            if cancel is not None and cancel.is_set():
                raise Cancelled
            empty = empty and not len(block)
            yield block.astype(np.float32) / 32768.0
    if empty:
        raise undecodable(path)


def _checked(samples: Any) -> Any:
    import numpy as np

    array = np.asarray(samples)
    if array.ndim != 1 or array.size == 0 or not np.issubdtype(array.dtype, np.floating):
        raise BadInput(
            "Samples have to be one row of floating-point numbers at 16 kHz: mix the channels down first.",
            "采样数据必须是 16 kHz 的一维浮点数组：请先混合为单声道。",
        )
    return array.astype(np.float32, copy=False)


def _header_seconds(container: Any, stream: Any) -> float:
    if stream.duration is None or stream.time_base is None:
        return float(container.duration or 0) / 1e6  # microseconds
    clock = Clock(container)
    if stream.start_time is not None:
        clock.jump(float(stream.start_time * stream.time_base))
    return clock.now + float(stream.duration * stream.time_base)


def _packet_seconds(container: Any, stream: Any) -> float:
    """What a file without a length in its header lasts (a browser's recording, a raw stream)."""
    clock = Clock(container)
    for packet in demuxed(container, stream):
        if packet.size:
            clock.jump(_time(packet))
            clock.advance(float((packet.duration or 0) * packet.time_base))
    return clock.now


def is_seamless(container: Any, stream: Any) -> bool:
    """Whether the packets of a track follow each other from the beginning on, so that every player, also one
    that knows neither holes nor cuts, is at the same time as `blocks`."""
    clock, begun, cut = Clock(container), False, False
    codec = stream.codec_context
    longest = codec.frame_size / codec.sample_rate if codec.frame_size else inf  # MP4 adds the hole behind it
    for packet in demuxed(container, stream):
        cut = cut or (begun and packet.is_discard)
        if packet.size and not packet.is_discard:
            if cut or clock.jump(_time(packet)):
                return False
            clock.advance(min(float((packet.duration or 0) * packet.time_base), longest))
            begun = True
    return True


def _time(part: Any) -> float | None:
    """Seconds, of a packet or a frame."""
    return None if part.pts is None else float(part.pts * part.time_base)


# --- from packets to samples -----------------------------------------------------------------------
# A number among frames or samples is the time at which the next of them are heard, which is not when
# the last ones ended.


def _blocks(container: Any, stream: Any, holes: list[Hole]) -> Iterator[Any]:
    """Decoded sound as int16 arrays of shape (samples,), mono at 16 kHz, with silence for holes."""
    length = surplus = 0
    for part in _resampled(_joined(_timed(container, stream))):
        if isinstance(part, float):
            missing = round(part * SAMPLE_RATE) - length
            surplus = max(-missing, 0)
            if missing > 0:
                holes.append((length / SAMPLE_RATE, (length + missing) / SAMPLE_RATE))
                length += missing
                yield from _silence(missing)
        else:
            part, surplus = part[surplus:], max(surplus - len(part), 0)
            length += len(part)
            yield part


def _silence(samples: int) -> Iterator[Any]:
    import numpy as np

    for start in range(0, samples, _SILENCE):
        yield np.zeros(min(samples - start, _SILENCE), np.int16)


def _resampled(frames: Iterator[Any]) -> Iterator[Any]:
    """Samples, mono at 16 kHz."""
    import av

    resampler, shape = None, None
    for frame in frames:
        jump = isinstance(frame, float)
        frame = frame if jump else audible(frame)
        if jump or shape != _shape(frame):
            # Some files change their channels or rate on the way, and a resampler cannot.
            yield from _through(resampler, None)
            resampler, shape = None, None
        if jump:
            yield frame
            continue
        if resampler is None:
            resampler, shape = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE), _shape(frame)
        yield from _through(resampler, frame)
    yield from _through(resampler, None)


def _through(resampler: Any, frame: Any) -> Iterator[Any]:
    """Give the resampler a frame, or None to empty it."""
    if resampler is not None:
        for part in resampler.resample(frame):
            if part is not None:
                yield part.to_ndarray()[0]


def _joined(frames: Iterator[Any]) -> Iterator[Any]:
    """Frames of equal shape joined to some seconds each: resampling frame by frame takes 3x the time."""
    import av

    fifo, shape = av.AudioFifo(), None
    for frame in frames:
        jump = isinstance(frame, float)
        if fifo.samples and (jump or shape != _shape(frame) or fifo.samples >= _JOINED_SAMPLES):
            yield fifo.read()
            fifo = av.AudioFifo()
        if jump:
            yield frame
        else:
            shape = _shape(frame)
            fifo.write(frame)
    if fifo.samples:
        yield fifo.read()


def _shape(frame: Any) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _timed(container: Any, stream: Any) -> Iterator[Any]:
    """Frames of a track without their own times; packets that cannot be decoded are left out."""
    import av

    clock, begun, cut = Clock(container), False, False
    for packet in demuxed(container, stream):
        cut = cut or (begun and packet.is_discard)
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        for frame in frames:
            if clock.jump(_time(frame), cut):
                yield clock.now
            clock.advance(frame.samples / frame.sample_rate)
            frame.pts = None
            begun, cut = True, False
            yield frame
