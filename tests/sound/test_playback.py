"""What is heard and seen of a recording: waveforms, and files that browsers play."""

import threading
from pathlib import Path

import av
import numpy as np
import pytest

from models.errors import BadInput, Cancelled
from models.sound import playback
from models.sound.decoding import duration
from models.sound.playback import film, peaks, playable, prepare
from tests.fakes.sounds import sine, write_film, write_silent_film, write_sound, write_tracks


def test_a_waveform_has_the_edges_of_equal_parts(tmp_path: Path) -> None:
    samples = np.concatenate([sine(1.0), np.zeros(16_000, np.float32), -0.25 * np.ones(32_000, np.float32)])
    drawn = peaks(write_sound(tmp_path / "a.wav", samples), 4)
    assert drawn == [(-50, 50), (0, 0), (-25, -25), (-25, -25)]


def test_a_long_recording_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.concatenate([sine(2.5) * (step / 4) for step in range(4)])
    file = write_sound(tmp_path / "a.wav", samples)
    whole = peaks(file, 40)
    monkeypatch.setattr(playback, "READ", 1)
    assert peaks(file, 40) == whole and len(whole) == 40


def test_a_short_recording_has_fewer_parts(tmp_path: Path) -> None:
    assert len(peaks(write_sound(tmp_path / "a.wav", sine(0.05)), 1000)) == 5


@pytest.mark.parametrize(("name", "mime"), [("a.wav", "audio/wav")])
def test_what_browsers_play_is_played_as_it_is(name: str, mime: str, tmp_path: Path) -> None:
    file = write_sound(tmp_path / name, sine(1.0))
    assert playable(file, tmp_path) == (file, mime)


@pytest.mark.parametrize("name", ["a.mkv", "a.aiff", "a.avi"])
def test_all_else_becomes_a_small_mp3_of_the_same_length(name: str, tmp_path: Path) -> None:
    file = write_sound(tmp_path / name, sine(3.0), video=name == "a.avi")
    target, mime = playable(file, tmp_path)
    assert (target, mime) == (tmp_path / f"{name}.mp3", "audio/mpeg")
    assert duration(target) == pytest.approx(3.0, abs=0.15)
    assert target.stat().st_size < 20_000
    assert max(high for _, high in peaks(target, 10)) == pytest.approx(50, abs=5)
    with av.open(str(target)) as container:
        assert container.streams.audio[0].codec_context.name in ("mp3", "mp3float")


def test_the_last_word_is_played_too(tmp_path: Path) -> None:
    late = np.concatenate([np.zeros_like(sine(2.9)), sine(0.1)])
    target, _ = playable(write_sound(tmp_path / "a.aiff", late), tmp_path)
    assert max(high for _, high in peaks(target, 30)[-3:]) > 40
    assert duration(target) >= 3.0


def test_a_large_file_is_made_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playback, "LARGEST", 10_000)
    assert playable(write_sound(tmp_path / "a.wav", sine(1.0)), tmp_path)[1] == "audio/mpeg"


def test_every_track_has_a_file_of_its_own(tmp_path: Path) -> None:
    film = write_tracks(tmp_path / "a.mka", [(sine(1.0), {}, 0)] * 2)
    assert playable(film, tmp_path, track=1)[0] != playable(film, tmp_path, track=2)[0]


@pytest.mark.parametrize(
    ("name", "codec", "sound", "mime"),
    [
        ("a.mp4", "libx264", "aac", "video/mp4"),
        ("a.mov", "libx264", "aac", "video/mp4"),
        ("a.webm", "libvpx", "libopus", "video/webm"),
        ("a.mkv", "libvpx-vp9", "libopus", "video/webm"),
        ("a.mkv", "libx264", "aac", ""),
        ("a.mp4", "mpeg4", "aac", ""),
        ("a.avi", "mpeg4", "libmp3lame", ""),
    ],
)
def test_a_film_has_a_picture_where_browsers_play_it(
    name: str, codec: str, sound: str, mime: str, tmp_path: Path
) -> None:
    file = write_film(tmp_path / name, 0.5, codec, sound)
    assert film(file) == mime and prepare(file, tmp_path, 10).film == mime


def test_no_picture_of_what_is_none_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert film(write_sound(tmp_path / "a.wav", sine(0.5))) == ""
    assert film(write_tracks(tmp_path / "two.mkv", [(sine(0.5), {}, 1), (sine(0.5), {}, 0)])) == ""
    assert film(write_sound(tmp_path / "raw.mkv", sine(0.5), video=True)) == ""
    assert film(write_film(tmp_path / "deep.mp4", 0.5, "libx264", "aac", "yuv444p")) == ""
    file = write_film(tmp_path / "a.mp4", 0.5, "libx264", "aac")
    monkeypatch.setattr(playback, "LARGEST_FILM", 100)
    assert film(file) == ""


def test_prepared_at_once(tmp_path: Path) -> None:
    sound = prepare(write_sound(tmp_path / "a.wav", sine(1.5)), tmp_path, 3)
    assert sound.seconds == 1.5 and sound.peaks == [(-50, 50)] * 3 and sound.mime == "audio/wav"


def test_what_has_no_sound_is_said_and_a_cancelled_one_ends(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no sound in it"):
        prepare(write_silent_film(tmp_path / "film.mkv"), tmp_path, 10)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        prepare(write_sound(tmp_path / "a.wav", sine(1.0)), tmp_path, 10, cancel)
