"""Files with several sound tracks: the one that a player plays, or the first that can be decoded."""

from pathlib import Path

import numpy as np
import pytest
from av.stream import Disposition

from models.errors import BadInput
from models.sound.decoding import blocks, duration, load
from models.sound.playback import prepare
from models.sound.tracks import Track, tracks
from tests.fakes.sounds import sine, write_at, write_sound, write_tracks

DEFAULT, COMMENT = int(Disposition.default), int(Disposition.comment)


def pitch(samples: np.ndarray) -> int:
    return round(int(np.abs(np.fft.rfft(samples)).argmax()) * 16_000 / len(samples) / 100) * 100


def write(path: Path, *flags: int, seconds: float = 1.0) -> Path:
    """Tracks of 500, 600, … hertz."""
    names = (
        {"language": "eng", "title": "Film"},
        {"language": "zho"},
        {"language": "und", "title": "Remarks"},
    )
    kept = [
        (sine(seconds, hertz=500 + 100 * number), names[number], flag) for number, flag in enumerate(flags)
    ]
    return write_tracks(path, kept)


def undecodable(path: Path, track: int) -> Path:
    """Give a track the name of a codec that nobody knows."""
    data = path.read_bytes()
    known, unknown = {"mkv": (b"A_PCM/INT/LIT", b"A_ABC/DEF/GHI"), "mov": (b"sowt", b"xyzq")}[path.suffix[1:]]
    parts = data.split(known)
    path.write_bytes(known.join(parts[:track]) + unknown + known.join(parts[track:]))
    return path


@pytest.mark.parametrize(
    ("flags", "heard"),
    [
        ((0, 0), 500),
        ((0, DEFAULT), 600),
        ((DEFAULT, DEFAULT), 500),
        ((COMMENT, 0), 600),
        ((COMMENT, DEFAULT, DEFAULT), 600),
        ((COMMENT | DEFAULT, DEFAULT), 600),
        ((0, COMMENT | DEFAULT), 600),
    ],
)
def test_a_player_plays_the_default_track_and_no_remarks(
    tmp_path: Path, flags: tuple[int, ...], heard: int
) -> None:
    path = write(tmp_path / "film.mkv", *flags)
    assert pitch(load(path)) == heard


@pytest.mark.parametrize("suffix", ["mkv", "mov"])
def test_a_track_that_nothing_decodes_is_passed_over(tmp_path: Path, suffix: str) -> None:
    path = undecodable(write(tmp_path / f"film.{suffix}", DEFAULT, 0), 1)
    assert pitch(load(path)) == 600 and duration(path) == pytest.approx(1.0, abs=0.05)
    assert [track.codec for track in tracks(path)] == ["", "pcm_s16le"]
    with pytest.raises(BadInput, match=r"decode sound track 1 of film.*another one of 1 · .*2 · ") as error:
        load(path, track=1)
    assert error.value.zh.endswith("。")


def test_a_default_track_that_is_damaged_or_empty_is_passed_over(tmp_path: Path) -> None:
    kept = [(np.zeros(0, np.float32), {}, DEFAULT), (sine(1.0, hertz=600), {}, 0)]
    assert pitch(load(write_tracks(tmp_path / "empty.mkv", kept))) == 600


def test_where_nothing_can_be_decoded_it_is_said(tmp_path: Path) -> None:
    path = undecodable(write(tmp_path / "film.mkv", 0), 1)
    for read in (load, duration):
        with pytest.raises(BadInput, match="No sound can be decoded from film.mkv"):
            read(path)


def test_tracks_are_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "film.mkv", DEFAULT, 0, COMMENT)
    assert tracks(path) == (
        Track(1, "eng", "Film", "pcm_s16le"),
        Track(2, "zho", "", "pcm_s16le"),
        Track(3, "", "Remarks", "pcm_s16le"),
    )
    assert [str(track) for track in tracks(path)][:2] == ["1 · eng · Film · pcm_s16le", "2 · zho · pcm_s16le"]
    assert len(tracks(write_sound(tmp_path / "a.wav", sine(0.1)))) == 1
    (alone,) = tracks(write_at(tmp_path / "a.m4a", [(0.0, sine(1.0))], "aac"))
    assert (alone.language, alone.title) == ("", "")  # in the file: "und", and "SoundHandler"


def test_a_track_that_is_asked_for_is_heard_drawn_and_played(tmp_path: Path) -> None:
    path = write(tmp_path / "film.mkv", DEFAULT, 0, 0)
    assert [pitch(load(path, track=number)) for number in (1, 2, 3)] == [500, 600, 700]
    assert pitch(next(blocks(path, 10, track=2))[0]) == 600
    played = {
        pitch(load(prepare(path, tmp_path, 8, track=number).path)[1600:14400]) for number in (None, 2, 3)
    }
    assert played == {500, 600, 700}


@pytest.mark.parametrize("track", [0, 4, -1])
def test_a_track_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, track: int) -> None:
    path = write(tmp_path / "film.mkv", DEFAULT, 0, 0)
    for read in (load, duration):
        with pytest.raises(BadInput, match=r"no sound track .*1 · eng · Film") as error:
            read(path, track=track)
        assert error.value.zh.endswith("。")


def test_tracks_of_different_length_have_their_own(tmp_path: Path) -> None:
    kept = [(sine(3.0), {}, DEFAULT), (sine(1.0), {}, 0)]
    path = write_tracks(tmp_path / "film.mov", kept)
    assert [duration(path, track) for track in (None, 1, 2)] == pytest.approx([3.0, 3.0, 1.0], abs=0.05)
    assert len(load(path, track=2)) == 16_000
