"""A recording as somebody listens to it: its waveform, and a file that every browser plays."""

import threading
from pathlib import Path
from typing import Any, NamedTuple

from models.sound.decoding import SAMPLE_RATE, blocks, is_seamless
from models.sound.tracks import opened

LARGEST = 32 * 1024**2  # bytes of a file that is played as it is; larger ones are made smaller
LARGEST_FILM = 128 * 1024**2
BIT_RATE = 32_000  # of speech in MP3; an hour takes 14 MB
BUCKET = 160  # samples, 10 ms: what a waveform is first gathered in
READ = 60  # seconds at a time

# What every browser plays, by PyAV's name of the container: the media type, and the codecs.
PLAYABLE = {
    "wav": ("audio/wav", ("pcm_s16le", "pcm_u8", "pcm_s24le", "pcm_f32le")),
    "mp3": ("audio/mpeg", ("mp3", "mp3float")),
    "flac": ("audio/flac", ("flac",)),
    "mov,mp4,m4a,3gp,3g2,mj2": ("audio/mp4", ("aac", "mp3", "mp3float")),
}
# With their pictures, by the names of codecs; H.264 only in the common form.
FILMS = {
    "mov,mp4,m4a,3gp,3g2,mj2": ("video/mp4", ("h264", "vp9", "av1"), ("aac", "mp3", "opus", "flac")),
    "matroska,webm": ("video/webm", ("vp8", "vp9", "av1"), ("opus", "vorbis")),
}


class Sound(NamedTuple):
    """What is heard and seen of a recording.

    ``path`` is a file that browsers play, of type ``mime``; ``peaks`` are the lowest and the highest
    sample of equal parts of the recording, in percent of full scale. ``film`` is the media type of the recording
    itself, where it has a picture that they play; else "".
    """

    path: Path
    mime: str
    peaks: list[tuple[int, int]]
    seconds: float
    film: str = ""


def prepare(
    path: str | Path,
    folder: str | Path,
    count: int,
    cancel: threading.Event | None = None,
    track: int | None = None,
) -> Sound:
    """The sound of a recording, with a waveform of `count` parts: see `playable` and `peaks`.

    Raises:
        BadInput, Cancelled: as `models.sound.decoding.blocks`.
    """
    low, high, seconds = _edges(path, cancel, track)
    return Sound(*playable(path, folder, cancel, track), _peaks(low, high, count), seconds, film(path))


def peaks(path: str | Path, count: int, cancel: threading.Event | None = None) -> list[tuple[int, int]]:
    """The waveform: lowest and highest sample of `count` equal parts, in percent of full scale.

    The file's length costs no memory. Of a recording with fewer than `count` parts of 10 ms, so many.

    Raises:
        BadInput, Cancelled: as `models.sound.decoding.blocks`.
    """
    low, high, _ = _edges(path, cancel, None)
    return _peaks(low, high, count)


def _edges(path: str | Path, cancel: threading.Event | None, track: int | None) -> tuple[Any, Any, float]:
    """Lowest and highest sample of every 10 ms, float32 of shape (buckets,), and the seconds."""
    import numpy as np

    lows, highs, length = [], [], 0
    for samples, _ in blocks(path, READ, cancel, track):  # whole buckets each, but for the last
        starts = np.arange(0, len(samples), BUCKET)
        lows.append(np.minimum.reduceat(samples, starts))
        highs.append(np.maximum.reduceat(samples, starts))
        length += len(samples)
    return np.concatenate(lows), np.concatenate(highs), length / SAMPLE_RATE


def _peaks(low: Any, high: Any, count: int) -> list[tuple[int, int]]:
    import numpy as np

    parts = np.linspace(0, len(low), min(count, len(low)), endpoint=False).astype(int)
    drawn = (np.minimum.reduceat(low, parts), np.maximum.reduceat(high, parts))
    return list(zip(*((edge * 100).round().astype(int).tolist() for edge in drawn), strict=True))


def playable(
    path: str | Path,
    folder: str | Path,
    cancel: threading.Event | None = None,
    track: int | None = None,
) -> tuple[Path, str]:
    """The file itself if a browser plays it, else a small MP3 of its sound in `folder`; and the media type.

    A video too is heard from such an MP3, and a large file, since what is played is held in memory; so
    are files with several sound tracks, or with holes or cuts, which browsers play each in its own way.

    Raises:
        BadInput, Cancelled: as `models.sound.decoding.blocks`.
    """
    source = Path(path)
    with opened(source, track) as (container, stream):
        mime, codecs = PLAYABLE.get(container.format.name, ("", ()))
        plain = len(container.streams.audio) == 1 and not container.streams.video
        fits = plain and source.stat().st_size <= LARGEST and stream.codec_context.name in codecs
        if fits and is_seamless(container, stream):
            return source, mime
    chosen = f".{track}" if track else ""
    target = Path(folder) / f"{source.name}{chosen}.mp3"
    _compress(source, target, cancel, track)
    return target, "audio/mpeg"


def film(path: str | Path) -> str:
    """The media type of a video with one sound track whose picture every browser plays; "" for anything else.

    Raises:
        BadInput: as `models.sound.decoding.blocks`.
    """
    source = Path(path)
    with opened(source) as (container, _):
        mime, pictures, sounds = FILMS.get(container.format.name, ("", (), ()))
        seen, heard = container.streams.video, container.streams.audio
        if not mime or len(seen) != 1 or len(heard) != 1:
            return ""
        known = _codec(seen[0]) in pictures and _codec(heard[0]) in sounds
        plays = known and seen[0].pix_fmt in ("yuv420p", "yuvj420p")
        return mime if plays and source.stat().st_size <= LARGEST_FILM else ""


def _codec(stream: Any) -> str:
    return str(stream.codec_context.codec.canonical_name) if stream.codec_context else ""


def _compress(source: Path, target: Path, cancel: threading.Event | None, track: int | None) -> None:
    import av

    with av.open(str(target), "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=SAMPLE_RATE, layout="mono")
        stream.bit_rate = BIT_RATE
        for samples, _ in blocks(source, READ, cancel, track):
            container.mux(stream.encode(_frame(samples)))
        container.mux(stream.encode())


def _frame(samples: Any) -> Any:
    import av
    import numpy as np

    row = (samples * 32767).clip(-32768, 32767).astype(np.int16)[None]
    frame = av.AudioFrame.from_ndarray(row, format="s16", layout="mono")
    frame.sample_rate = SAMPLE_RATE
    return frame
