"""Decoding: every shape of recording, and every way a file can fail to be one."""

import socket
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import BadInput, Cancelled
from models.sound import decoding, playback, tracks
from tests.fakes.sounds import sine, write_mp3, write_silent_film, write_sound


@pytest.mark.parametrize(
    "name, rate, layout, video",
    [
        ("plain.wav", 16_000, "mono", False),
        ("low.wav", 8_000, "mono", False),
        ("studio.wav", 192_000, "stereo", False),
        ("surround.wav", 48_000, "7.1", False),
        ("many.wav", 48_000, "hexadecagonal", False),
        ("film.mkv", 44_100, "stereo", True),
        ("film.avi", 44_100, "mono", True),
    ],
)
def test_any_rate_and_channels_become_mono_at_16_khz(
    tmp_path: Path, name: str, rate: int, layout: str, video: bool
) -> None:
    path = write_sound(tmp_path / name, sine(1.0, rate), rate, layout, video)
    samples = decoding.load(path)
    assert samples.dtype == np.float32 and samples.flags.writeable
    assert abs(len(samples) - 16_000) <= 32
    assert decoding.duration(path) == pytest.approx(1.0, abs=0.05)
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() * 16_000 / len(samples) == pytest.approx(440, abs=2)
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.05)


@pytest.mark.slow
def test_same_samples_as_faster_whispers_decoder(tmp_path: Path) -> None:
    from faster_whisper.audio import decode_audio

    path = write_sound(tmp_path / "music.wav", sine(2.5, 44_100), 44_100, "stereo")
    np.testing.assert_array_equal(decoding.load(path), decode_audio(str(path)))


def test_samples_in_memory_are_taken_as_they_are() -> None:
    samples = sine(0.5)
    assert decoding.load(samples) is samples
    assert decoding.load(samples.astype(np.float64)).dtype == np.float32


@pytest.mark.parametrize(
    "samples", [np.zeros((2, 100), np.float32), np.zeros(0, np.float32), np.zeros(9, np.int16), b"RIFF"]
)
def test_samples_of_another_form_are_refused(samples: object) -> None:
    with pytest.raises(BadInput, match="one row of floating-point numbers"):
        decoding.load(samples)


# --- files that are not what they seem ---------------------------------------------------------


def test_a_cut_file_gives_what_is_there(tmp_path: Path) -> None:
    whole = write_sound(tmp_path / "whole.wav", sine(2.0)).read_bytes()
    cut = tmp_path / "cut.wav"
    cut.write_bytes(whole[: len(whole) // 2])
    assert 0.9 < len(decoding.load(cut)) / 16_000 < 1.1


def test_a_hole_in_a_file_costs_only_the_hole(tmp_path: Path) -> None:
    path = tmp_path / "hole.flac"
    _write_flac(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = b"\xaa" * 2000
    path.write_bytes(data)
    assert len(decoding.load(path)) > 3 * 16_000


def _write_flac(path: Path) -> None:
    import av

    noise = np.random.default_rng(0).integers(-3000, 3000, (1, 5 * 16_000)).astype(np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=16_000, layout="mono")
        for start in range(0, noise.shape[1], 4000):
            frame = av.AudioFrame.from_ndarray(noise[:, start : start + 4000], format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16_000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_nothing_is_lost_where_a_file_changes_its_rate_and_channels(tmp_path: Path) -> None:
    low = write_mp3(tmp_path / "low.mp3", sine(1.0), 16_000, "mono")
    high = write_mp3(tmp_path / "high.mp3", sine(1.0, 44_100, 660.0), 44_100, "stereo")
    both = tmp_path / "both.mp3"
    both.write_bytes(low.read_bytes() + high.read_bytes() + low.read_bytes())
    first, second = len(decoding.load(low)), len(decoding.load(high))
    samples = decoding.load(both)
    assert len(samples) == 2 * first + second
    heard = [samples[at : at + 8_000] for at in (4_000, first + 4_000, first + second + 4_000)]
    pitches = [float(np.abs(np.fft.rfft(part)).argmax() * 2) for part in heard]
    assert pitches == [440, 660, 440]


@pytest.mark.parametrize(
    "name, content",
    [
        ("text.mp3", b"Dear reader, this is a letter. " * 200),
        ("paper.mp3", b"%PDF-1.4\n" + bytes(range(256)) * 20),
        ("head.wav", b"RIFF\x00\x10\x00\x00WAVEfmt "),
    ],
)
def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadInput, match=f"No sound can be decoded from {name}"):
        decoding.load(path)


def test_pictures_have_no_sound(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.png")
    photo = (tmp_path / "photo.png").rename(tmp_path / "photo.mp3")
    for path in (photo, write_silent_film(tmp_path / "film.avi")):
        for function in (decoding.load, decoding.duration):
            with pytest.raises(BadInput, match="has no sound in it"):
                function(path)


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    for path, said in (
        (tmp_path / "missing.wav", "There is no file"),
        (tmp_path, "is a folder"),
        (tmp_path / "empty.wav", r"is empty \(0 bytes\)"),
        ("http://127.0.0.1/a.mp3", "There is no file"),
    ):
        for function in (decoding.load, decoding.duration):
            with pytest.raises(BadInput, match=said) as error:
                function(path)
            assert error.value.zh.endswith("。")


def test_a_playlist_in_disguise_opens_no_address(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/part.ts"
        path = tmp_path / "song.mp3"
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{address}\n#EXT-X-ENDLIST\n")
        with pytest.raises(BadInput):
            decoding.load(path)
        with pytest.raises(BlockingIOError):  # nobody stands in the line
            server.accept()


HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"
DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" mediaPresentationDuration="PT3S"><Period>'
    '<AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>"
)


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp3", "list.ffconcat", "list.mpd", "list"])
@pytest.mark.parametrize("list_of", [HLS, "ffconcat version 1.0\nfile {}\n", DASH])
@pytest.mark.parametrize("where", ["{name}", "{folder}/{name}", "file:{folder}/{name}"])
def test_a_list_of_files_opens_none(tmp_path: Path, name: str, list_of: str, where: str) -> None:
    """Somebody else's recording is not heard through a list that was uploaded, whatever it is called."""
    other = write_mp3(tmp_path / "other.mp3", sine(3.0, 48_000), 48_000, "mono")
    assert decoding.duration(other) > 2  # by itself it is a recording
    path = tmp_path / name
    path.write_text(list_of.format(where.format(folder=tmp_path, name=other.name)))
    for read in (decoding.load, decoding.duration, tracks.tracks, lambda p: playback.peaks(p, 10)):
        with pytest.raises(BadInput):
            read(path)


# --- block by block ------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 15_999, 16_000, 16_001, 32_000, 40_000])
def test_blocks_are_the_recording_cut_where_they_should_be(tmp_path: Path, length: int) -> None:
    whole = sine(3.0)[:length]
    path = write_sound(tmp_path / "talk.wav", whole)
    sizes = [16_000] * ((length - 1) // 16_000)
    for source in (path, decoding.load(path)):
        found = list(decoding.blocks(source, 1))
        assert [len(samples) for samples, _ in found] == [*sizes, length - sum(sizes)]
        assert [last for _, last in found] == [False] * len(sizes) + [True]
        np.testing.assert_array_equal(np.concatenate([part for part, _ in found]), decoding.load(path))


def test_the_length_of_samples_in_memory_is_in_seconds() -> None:
    assert decoding.duration(sine(2.5)) == 2.5


def test_the_length_is_found_where_no_header_says_it(tmp_path: Path) -> None:
    raw = write_mp3(tmp_path / "raw.mp3", sine(2.0), 16_000, "mono")
    flac = write_sound(tmp_path / "talk.mkv", sine(2.0))
    for path in (raw, flac):
        assert decoding.duration(path) == pytest.approx(2.0, abs=0.15)


# --- long files --------------------------------------------------------------------------------


def test_cancel_stops_the_reading(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "long.wav", sine(120.0))
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        decoding.load(path, cancel)


def test_a_long_file_is_not_held_twice(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "long.wav", sine(600.0))
    tracemalloc.start()
    samples = decoding.load(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(samples) == 600 * 16_000
    assert peak < 1.4 * samples.nbytes
