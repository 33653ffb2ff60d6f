"""Recordings by their paths, and where their transcripts go: to standard output or into files, as UTF-8."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import BinaryIO

from models.errors import BadInput
from models.file_names import file_names
from models.transcripts.documents import DOCUMENTS
from models.transcripts.formats import FORMATS

SOUND = ("wav", "mp3", "m4a", "flac", "ogg", "opus", "aac", "wma", "amr", "aiff")
VIDEO = ("mp4", "mkv", "mov", "webm", "avi", "m4v", "ts")


def recordings_in(paths: Sequence[str]) -> list[Path]:
    """The paths; of a folder, the audio and video files that are directly in it, by name. Patterns like *.mp3,
    which shells on Windows hand on as they are, name what they match.

    Raises:
        BadInput: a folder has none.
    """
    found: dict[Path, None] = {}
    for path in (path for given in paths for path in _matching(given)):
        inside = _inside(path) if path.is_dir() else [path]
        if not inside:
            raise BadInput(
                f"There is no audio or video file in {path}: name the files themselves.",
                f"{path} 中没有音频或视频文件：请直接给出文件。",
            )
        found |= dict.fromkeys(inside)
    return list(found)


def _matching(given: str) -> list[Path]:
    """The path itself where it is one, or nothing matches: its name is said then."""
    path = Path(given)
    if os.path.lexists(path) or not path.parent.is_dir():
        return [path]
    found = (each for each in path.parent.iterdir() if fnmatch(each.name, path.name))
    return sorted(each for each in found if path.name[0] == "." or each.name[0] != ".") or [path]


def _inside(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _is_recording(path) and path.is_file())


def _is_recording(path: Path) -> bool:
    return path.suffix[1:].lower() in SOUND + VIDEO


class Targets:
    """Where the transcript of each recording goes. `format` is one of FORMATS or DOCUMENTS."""

    def __init__(self, recordings: Sequence[Path], output: str | None, format: str | None) -> None:
        """
        Args:
            recordings: whose transcripts are written.
            output: a file, or a folder (of several recordings always); None: standard output.
            format: None: as the file's name ends, else txt.

        Raises:
            BadInput: these transcripts cannot be in one file or on a terminal, or the file is a recording.
        """
        path = Path(output) if output is not None else None
        ending = path.suffix[1:].lower() if path is not None else ""
        self.format = format or (ending if ending in (*FORMATS, *DOCUMENTS) else "txt")
        self._files: dict[Path, Path] = {}
        if path is None:
            if len(recordings) > 1 and self.format != "txt":
                raise BadInput(
                    f"Several transcripts in {self.format} do not go into one: name a folder with --output.",
                    f"多份 {self.format} 文稿不能合为一份：请用 --output 指定文件夹。",
                )
            if self.format == "docx" and sys.stdout.isatty():
                raise BadInput(
                    "A docx file is no text for a terminal: name a file with --output.",
                    "docx 文件无法在终端显示：请用 --output 指定文件。",
                )
        elif len(recordings) > 1 or path.is_dir() or str(output).endswith(("/", "\\")):
            names = file_names([recording.name for recording in recordings])
            self._files = {
                recording: path / f"{Path(name).with_suffix('')}.{self.format}"
                for recording, name in zip(recordings, names, strict=True)
            }
        else:
            if _is_recording(path):
                raise BadInput(
                    f"{path} is the name of a recording: let --output end in .{self.format}.",
                    f"{path} 是录音文件名：请让 --output 以 .{self.format} 结尾。",
                )
            self._files = {recordings[0]: path}

    @contextmanager
    def opened(self, recording: Path) -> Iterator[BinaryIO]:
        """What a transcript is written to: a file that is complete or, after an error, as it was.

        Raises:
            BadInput: it cannot be written; known before anything is recognised.
        """
        if recording not in self._files:
            sys.stdout.flush()
            yield sys.stdout.buffer
            return
        path = self._files[recording].resolve()
        part = path.with_name(f".{path.name}.part")
        try:
            if path.exists() and not path.is_file():  # a device, a pipe
                with path.open("wb") as device:
                    yield device
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                yield file
            part.replace(path)
        except OSError as error:
            raise BadInput(
                f"{path} cannot be written ({error.strerror}): choose another --output.",
                f"无法写入 {path}（{error.strerror}）：请为 --output 另选位置。",
            ) from error
        finally:
            with suppress(OSError):  # never begun
                part.unlink(missing_ok=True)
