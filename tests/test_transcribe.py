"""`transcribe` on the command line: several recordings, files and folders, encodings, tracks; with a fake engine."""

import io
import os
import sys
from pathlib import Path
from typing import Any

import docx
import pytest

from models.__main__ import main
from models.errors import BadInput
from models.schema import Segment
from models.transcripts.files import recordings_in
from tests.fakes.engines import Stage
from tests.fakes.sounds import sine, write_sound, write_tracks

SAID = "你好，世界 café ♪"
SRT = f"1\n00:00:00,000 --> 00:00:01,500\n{SAID}\n\n"


@pytest.fixture(autouse=True)
def spoken(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    stage.heard = [Segment(0.0, 1.5, f" {SAID}")]
    return stage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recordings that differ in their ending alone, another, and a text."""
    made = tmp_path / "recordings"
    made.mkdir()
    for name in ("a.wav", "a.mp3", "b.wav"):
        write_sound(made / name, sine(0.2), codec="libmp3lame" if name.endswith("mp3") else "pcm_s16le")
    (made / "notes.txt").write_text("no recording")
    return made


def transcribe(*arguments: Any) -> int:
    return main(["transcribe", os.environ["WHISPER_MODEL_PATH"], *map(str, arguments)])


class Output(io.TextIOWrapper):
    def __init__(self, encoding: str, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def bytes(self) -> bytes:
        self.flush()
        return self.buffer.getvalue()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("encoding", ["cp1252", "gbk", "ascii", "utf-8"])
def test_what_is_redirected_is_utf_8(folder: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    monkeypatch.setattr(sys, "stdout", file := Output(encoding))
    assert transcribe(folder / "b.wav", "--format", "srt") == 0
    assert file.bytes() == SRT.encode()


def test_a_terminal_gets_what_it_can_show(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", terminal := Output("cp1252", terminal=True))
    assert transcribe(folder / "b.wav") == 0
    assert terminal.bytes().strip() == "????? café ?".encode("cp1252")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--output", "talk.srt"], "talk.srt"),
        (["--output", "new/talk.txt", "--format", "srt"], "new/talk.txt"),
        (["--output", "talk", "--format", "srt"], "talk"),
        (["--output", "folder/", "--format", "srt"], "folder/b.srt"),
        (["--output", ".", "--format", "srt"], "b.srt"),
    ],
)
def test_a_transcript_goes_into_a_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, arguments: list[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert transcribe(folder / "b.wav", *arguments) == 0
    assert (tmp_path / name).read_bytes() == SRT.encode() and capfd.readouterr().out == ""
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("times", [True, False])
def test_a_document_has_the_recordings_name_and_times_if_wanted(
    folder: Path, tmp_path: Path, times: bool
) -> None:
    given = () if times else ("--no-times",)
    assert transcribe(folder / "b.wav", "--output", tmp_path / "b.md", *given) == 0
    line = f"**00:00.000** {SAID}" if times else SAID
    assert (tmp_path / "b.md").read_text("utf-8") == f"# b.wav\n\n{line}\n"
    assert transcribe(folder / "b.wav", "--output", tmp_path / "b.docx", *given) == 0
    texts = [paragraph.text for paragraph in docx.Document(str(tmp_path / "b.docx")).paragraphs]
    assert texts == ["b.wav", line.replace("*", "")]


def test_a_word_document_is_redirected_and_not_shown(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", file := Output("ascii"))
        assert transcribe(folder / "b.wav", "--format", "docx") == 0
        assert file.bytes().startswith(b"PK")
        patched.setattr(sys, "stdout", terminal := Output("utf-8", terminal=True))
        assert transcribe(folder / "b.wav", "--format", "docx") == 1
        assert terminal.bytes() == b""
    assert "name a file with --output" in capsys.readouterr().err


@pytest.mark.parametrize("whole", [True, False])
def test_several_recordings_go_into_a_folder(folder: Path, tmp_path: Path, whole: bool) -> None:
    given = [folder] if whole else [folder / name for name in ("a.mp3", "a.wav", "b.wav")]
    assert transcribe(*given, "--output", tmp_path / "texts", "--format", "vtt") == 0
    assert sorted(path.name for path in (tmp_path / "texts").iterdir()) == ["a-2.vtt", "a.vtt", "b.vtt"]


def test_several_texts_follow_each_other_and_subtitles_do_not(folder: Path, capfd: Any) -> None:
    assert transcribe(folder) == 0
    assert capfd.readouterr().out == f"{SAID}\n" * 3
    assert transcribe(folder, "--format", "srt") == 1
    out, err = capfd.readouterr()
    assert out == "" and "name a folder with --output" in err


def test_a_bad_recording_alone_is_one_sentence(folder: Path, spoken: Stage, capfd: Any) -> None:
    spoken.refused = {"a.wav": BadInput("It is empty.", "空。")}
    assert transcribe(folder / "a.wav") == 1
    assert tuple(capfd.readouterr()) == ("", "It is empty.\n")


def test_one_bad_recording_does_not_stop_the_rest(
    folder: Path, tmp_path: Path, spoken: Stage, capfd: Any
) -> None:
    spoken.refused = {"a.wav": BadInput("It is empty.", "空。")}
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a-2.txt").write_text("what was there before")
    assert transcribe(folder, "--output", tmp_path / "texts") == 1
    written = {path.name: path.read_text("utf-8") for path in (tmp_path / "texts").iterdir()}
    assert written == {"a.txt": f"{SAID}\n", "a-2.txt": "what was there before", "b.txt": f"{SAID}\n"}
    error = capfd.readouterr().err
    assert f"{folder / 'a.wav'}: It is empty.\n" in error and "1 of 3 recordings" in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["b.wav", "--output", "b.wav"], "b.wav is the name of a recording"),
        (["b.wav", "--output", "b.wav/x.txt"], "cannot be written"),
        (["empty"], "There is no audio or video file in empty"),
        (["b.wav", "--language", "Englsh"], r"did you mean English (en)"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir()
    before = (folder / "b.wav").read_bytes()
    assert transcribe(*arguments) == 1
    out, err = capfd.readouterr()
    assert out == "" and said in err and (folder / "b.wav").read_bytes() == before


def test_a_model_that_cannot_translate_says_so_before_it_is_fetched(folder: Path, capfd: Any) -> None:
    assert main(["transcribe", "whisper-turbo", str(folder / "b.wav"), "--task", "translate"]) == 1
    assert "was not trained to translate" in capfd.readouterr().err


def test_tracks_are_listed_and_chosen(tmp_path: Path, spoken: Stage, capfd: Any) -> None:
    film = write_tracks(
        tmp_path / "film.mkv", [(sine(0.5), {"language": "eng", "title": "Film"}, 1), (sine(0.5), {}, 0)]
    )
    assert transcribe(film) == 0
    out, err = capfd.readouterr()
    assert (
        out == f"{SAID}\n" and "--track N" in err and "1 · eng · Film · pcm_s16le\n  2 · pcm_s16le\n" in err
    )
    assert transcribe(film, "--track", "2") == 0
    assert capfd.readouterr().err == "" and spoken.options[-1].track == 2  # type: ignore[union-attr]


def test_a_link_is_followed_and_not_replaced(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "talk.srt"
    link.symlink_to(tmp_path / "disk/talk.srt")
    assert transcribe(folder / "b.wav", "--output", link) == 0
    assert link.is_symlink() and (tmp_path / "disk/talk.srt").read_bytes() == SRT.encode()


def test_a_device_is_written_to_and_not_replaced(folder: Path) -> None:
    assert transcribe(folder / "b.wav", "--output", os.devnull) == 0
    assert not Path(os.devnull).is_file()


def test_what_is_a_recording_in_a_folder_is_told_by_its_ending_in_any_case(tmp_path: Path) -> None:
    for name in ("b.MP4", "a.Wav", "c.txt", "wav"):
        (tmp_path / name).touch()
    (tmp_path / "d.mp3").mkdir()
    assert [path.name for path in recordings_in([str(tmp_path)])] == ["a.Wav", "b.MP4"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.wav", ["[1].wav", "a.wav", "b.wav"]),
        ("?.*", ["a.mp3", "a.wav", "b.wav"]),
        ("[1].wav", ["[1].wav"]),  # a name before it is a pattern
        ("[ab].wav", ["a.wav", "b.wav"]),
        (".*", [".c.wav"]),
        ("none*.wav", ["none*.wav"]),
        ("there/none*.wav", ["none*.wav"]),
        ("***.mp3", ["a.mp3"]),
    ],
)
def test_patterns_are_read_where_no_shell_did(folder: Path, pattern: str, names: list[str]) -> None:
    for name in ("[1].wav", ".c.wav"):
        (folder / name).touch()
    assert [path.name for path in recordings_in([str(folder / pattern)])] == names
