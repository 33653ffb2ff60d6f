"""The sound tracks of a file: which there are, and which one is heard."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from models.errors import BadInput

# FFmpeg gets an open file and no protocol: playlists and lists of files, whatever they are called, can name
# no other file and no address.
_OPEN_OPTIONS = {"protocol_whitelist": "none"}
_PROBED = 600.0  # seconds: a track that is silent for longer is not chosen where another one is heard


class Track(NamedTuple):
    """One sound track. `number` counts from 1; `codec` is empty where nothing here decodes it."""

    number: int
    language: str  # as the file writes it
    title: str
    codec: str

    def __str__(self) -> str:
        """What tells it from the others, in no language: "2 · eng · Commentary · aac"."""
        return " · ".join(filter(None, (str(self.number), self.language, self.title, self.codec or "?")))


def tracks(path: str | Path) -> tuple[Track, ...]:
    """The sound tracks of a file, in its own order.

    Raises:
        BadInput: there is no such file, or it has no sound.
    """
    with _container(Path(path)) as container:
        return _listed(container)


@contextmanager
def opened(path: Path, track: int | None = None) -> Iterator[tuple[Any, Any]]:
    """An open PyAV container and the sound track in it that is heard.

    Args:
        path: of any audio or video file.
        track: the number of one, from 1; None: the file's default one, or the first of the others where
            that cannot be decoded.

    Raises:
        BadInput: whatever FFmpeg finds wrong with the file, or there is no such track.
    """
    with _container(path) as container:
        streams = _candidates(path, container, track)
        if len(streams) == 1:
            yield container, streams[0]
            return
        index = container.streams.audio.index(_first_heard(container, streams))
    with _container(path) as container:  # anew, because of that one something was read
        yield container, container.streams.audio[index]


def _listed(container: Any) -> tuple[Track, ...]:
    return tuple(
        Track(number, _language(stream), _title(stream), _codec(stream))
        for number, stream in enumerate(container.streams.audio, 1)
    )


def _language(stream: Any) -> str:
    language = stream.metadata.get("language", "")
    return "" if language == "und" else language


def _title(stream: Any) -> str:
    """MP4 has it as its handler, where most programs write only what kind of track it is."""
    title = stream.metadata.get("title") or stream.metadata.get("handler_name", "")
    return "" if "handler" in title.lower() else title


def _codec(stream: Any) -> str:
    return "" if stream.codec_context is None else str(stream.codec_context.name)


def _candidates(path: Path, container: Any, track: int | None) -> list[Any]:
    """The track that was asked for, or else all that may be decoded, in the order in which players take them."""
    if track is not None:
        _check_track(path, _listed(container), track)
        return [container.streams.audio[track - 1]]
    streams = [stream for stream in sorted(container.streams.audio, key=_rank) if _codec(stream)]
    if not streams:
        raise undecodable(path)
    return streams


def _check_track(path: Path, listed: Sequence[Track], track: int) -> None:
    names = "; ".join(map(str, listed))
    if not 1 <= track <= len(listed):
        raise BadInput(
            f"{path.name} has no sound track {track}: choose one of {names}.",
            f"{path.name} 没有第 {track} 条音轨：请从 {names} 中选择。",
        )
    if not listed[track - 1].codec:
        raise BadInput(
            f"Nothing here can decode sound track {track} of {path.name}: choose another one of {names}.",
            f"无法解码 {path.name} 的第 {track} 条音轨：请从 {names} 中另选。",
        )


def _rank(stream: Any) -> tuple[bool, bool]:
    """What a player takes first is the least: the default track, and none with remarks or descriptions."""
    from av.stream import Disposition

    flags = stream.disposition
    beside = Disposition.comment | Disposition.visual_impaired | Disposition.descriptions
    return not flags & Disposition.default, bool(flags & beside)


def _first_heard(container: Any, streams: Sequence[Any]) -> Any:
    """The first track, in the order given, of which something can be decoded near its beginning."""
    import av

    heard = set()
    for packet in demuxed(container, streams):
        if (
            packet.pts is not None
            and packet.pts * packet.time_base - (container.start_time or 0) / 1e6 > _PROBED
        ):
            break
        with suppress(av.FFmpegError):
            if packet.stream.index not in heard and packet.decode():
                heard.add(packet.stream.index)
        if streams[0].index in heard:
            break
    return next((stream for stream in streams if stream.index in heard), streams[0])


def demuxed(container: Any, streams: Any) -> Iterator[Any]:
    """Packets of a track, or of several, up to where the file is cut."""
    import av

    packets = container.demux(streams)
    while True:
        try:
            yield next(packets)
        except (StopIteration, av.FFmpegError):
            return


@contextmanager
def _container(path: Path) -> Iterator[Any]:
    import av

    _check_file(path)
    try:
        with (
            path.open("rb") as file,
            av.open(file, metadata_errors="ignore", container_options=_OPEN_OPTIONS) as container,
        ):
            if not container.streams.audio:
                raise BadInput(
                    f"{path.name} has no sound in it: choose an audio file or a video with sound.",
                    f"{path.name} 中没有声音：请选择音频文件或带声音的视频。",
                )
            yield container
    except (av.FFmpegError, OSError) as error:
        raise undecodable(path) from error


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise BadInput(
            f"{path.name} is a folder: choose a recording inside it.",
            f"{path.name} 是文件夹：请选择其中的录音文件。",
        )
    if not path.is_file():
        raise BadInput(
            f"There is no file {path.name}: check the path.", f"没有文件 {path.name}：请检查路径。"
        )
    if path.stat().st_size == 0:
        raise BadInput(
            f"{path.name} is empty (0 bytes): record or upload it again.",
            f"{path.name} 是空文件（0 字节）：请重新录制或上传。",
        )


def undecodable(path: Path) -> BadInput:
    return BadInput(
        f"No sound can be decoded from {path.name}: it is damaged or not a recording; "
        "try another file, such as WAV, MP3 or MP4.",
        f"无法从 {path.name} 解码出声音：文件已损坏或不是录音；请换一个文件，例如 WAV、MP3 或 MP4。",
    )
