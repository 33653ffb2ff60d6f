"""Recordings of any shape, written with PyAV."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

INTEGERS = {"s16": np.int16, "s32": np.int32}  # how samples are kept, as FFmpeg calls it


def sine(seconds: float, rate: int = 16_000, hertz: float = 440.0) -> np.ndarray:
    """Half of full scale, float32, shape (seconds * rate,)."""
    times = np.arange(int(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def write_sound(
    path: Path,
    samples: np.ndarray,
    rate: int = 16_000,
    layout: str = "mono",
    video: bool = False,
    codec: str = "pcm_s16le",
) -> Path:
    """The same samples in every channel; the container follows the file's name."""
    with av.open(str(path), "w") as container:
        picture = _add_picture(container) if video else None
        stream = container.add_stream(codec, rate=rate, layout=layout)
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


def write_film(path: Path, seconds: float, codec: str, sound: str, form: str = "yuv420p") -> Path:
    """A black film with a beep, in these codecs; `form` is how its pixels are kept."""
    with av.open(str(path), "w") as container:
        picture = _add_picture(container, codec, form)
        stream = container.add_stream(sound, rate=48_000, layout="mono")
        _show(container, picture, round(10 * seconds))
        frame = av.AudioFrame.from_ndarray(sine(seconds, 48_000)[None], format="flt", layout="mono")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _add_picture(
    container: av.container.OutputContainer, codec: str = "mpeg4", form: str = "yuv420p"
) -> av.VideoStream:
    stream = container.add_stream(codec, rate=10)
    stream.width = stream.height = 64
    stream.pix_fmt = form
    return stream


def _show(container: av.container.OutputContainer, stream: av.VideoStream, pictures: int = 10) -> None:
    for _ in range(pictures):
        black = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
        container.mux(stream.encode(black))
    container.mux(stream.encode())


def write_at(
    path: Path,
    parts: Sequence[tuple[float, np.ndarray]],
    codec: str = "pcm_s16le",
    rate: int = 16_000,
    film: float = 0.0,
) -> Path:
    """Sounds, mono, whose packets say these times in seconds; and a black film of so many seconds.

    A whole number of frames of the codec is written of each sound.
    """
    with av.open(str(path), "w") as container:
        picture = _add_picture(container) if film else None
        stream = container.add_stream(codec, rate=rate, layout="mono")
        if picture is not None:
            _show(container, picture, round(film * 10))
        form = stream.codec_context.format.name
        stream.codec_context.open(strict=False)  # before that it does not know its frames
        size = stream.codec_context.frame_size or rate // 10
        for begins, samples in parts:
            for start in range(0, len(samples) - size + 1, size):
                row = samples[None, start : start + size]
                if kind := INTEGERS.get(form[:3]):
                    row = (row * np.iinfo(kind).max).astype(kind)
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(row), format=form, layout="mono")
                frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = round(begins * rate) + start
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_tracks(path: Path, tracks: Sequence[tuple[np.ndarray, dict[str, str], int]]) -> Path:
    """Sound tracks beside each other, mono PCM at 16 kHz: samples, metadata, and flags (`Disposition`)."""
    with av.open(str(path), "w") as container:
        streams = []
        for _, metadata, flags in tracks:
            stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
            stream.metadata.update(metadata)
            stream.disposition = Disposition(flags)
            streams.append(stream)
        for start in range(0, max(len(samples) for samples, *_ in tracks), 1600):
            for stream, (samples, *_) in zip(streams, tracks, strict=True):
                part = (samples[start : start + 1600] * 32767).astype(np.int16)[None]
                if part.size:
                    frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
                    frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
                    container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
    return path


def write_channels(path: Path, channels: np.ndarray, mask: int | None = None, rate: int = 16_000) -> Path:
    """A WAV file, of shape (channels, samples); `mask` says where they are: none if it is 0 or None."""
    count = len(channels)
    data = (channels.T * 32767).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", 1 if mask is None else 0xFFFE, count, rate, rate * count * 2, count * 2, 16)
    if mask is not None:
        form += struct.pack("<HHI", 22, 16, mask) + bytes.fromhex("0100000000001000800000aa00389b71")
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def cut(path: Path, kept: Sequence[tuple[float, int]]) -> Path:
    """Give an MP4 of one track another edit list: seconds that are shown, from which of its samples on."""
    data = bytearray(path.read_bytes())
    movie = _box(data, b"moov", 0, len(data))
    track = _box(data, b"trak", movie + 8, len(data))
    old = _box(data, b"edts", track + 8, len(data))
    entries = b"".join(struct.pack(">IiI", round(seconds * 1000), first, 1 << 16) for seconds, first in kept)
    edits = struct.pack(">I4sII", 16 + len(entries), b"elst", 0, len(kept)) + entries
    new = struct.pack(">I4s", 8 + len(edits), b"edts") + edits
    size = struct.unpack_from(">I", data, old)[0]
    data[old : old + size] = new
    for box in (movie, track):  # behind the sound, so that nothing else moves
        struct.pack_into(">I", data, box, struct.unpack_from(">I", data, box)[0] + len(new) - size)
    path.write_bytes(data)
    return path


def _box(data: bytearray, name: bytes, start: int, end: int) -> int:
    """Where a box of this name begins."""
    while start < end:
        size, kind = struct.unpack_from(">I4s", data, start)
        if kind == name:
            return start
        start += size
    raise AssertionError(f"no {name.decode()}")
