"""What is heard is at the time that a player shows: late starts, holes, cuts; and nothing changes without."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from models.sound import decoding
from models.sound.decoding import blocks, duration, is_seamless, load
from models.sound.playback import peaks, playable, prepare
from models.sound.tracks import opened
from tests.fakes.sounds import cut, sine, write_at, write_sound

RATE = 16_000
CODECS = {
    "mkv": ("pcm_s16le", 16_000),
    "mp4": ("aac", 48_000),
    "ts": ("mp2", 48_000),
    "webm": ("libopus", 48_000),
}


def heard(samples: np.ndarray) -> list[tuple[float, float]]:
    """From when to when there is sound, in tenths of a second."""
    loud = np.abs(samples[: len(samples) // 1600 * 1600]).reshape(-1, 1600).max(1) > 0.1
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(int)))
    return [(start / 10, end / 10) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def write(path: Path, *times: tuple[float, float], film: float = 0.0) -> Path:
    codec, rate = CODECS[path.suffix[1:]]
    return write_at(path, [(start, sine(end - start, rate)) for start, end in times], codec, rate, film)


def close(found: list[tuple[float, float]], wanted: list[tuple[float, float]]) -> bool:
    return len(found) == len(wanted) and np.abs(np.array(found) - np.array(wanted)).max() < 0.15


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
def test_sound_that_begins_after_the_film_is_heard_then(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"late.{suffix}", (4.0, 6.0), film=7.0)
    assert close(heard(load(path)), [(4.0, 6.0)])
    assert duration(path) == pytest.approx(6.0 if suffix != "mkv" else 7.0, abs=0.1)


@pytest.mark.parametrize("suffix", CODECS)
def test_holes_are_silence(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"holes.{suffix}", (0.0, 2.0), (5.0, 6.0), (9.0, 10.0))
    assert close(heard(load(path)), [(0.0, 2.0), (5.0, 6.0), (9.0, 10.0)])
    assert duration(path) == pytest.approx(10.0, abs=0.1)


def test_holes_are_exact(tmp_path: Path) -> None:
    first, second = sine(2.0), sine(1.0, hertz=800)
    samples = load(write_at(tmp_path / "a.mkv", [(0.0, first), (5.0, second)]))
    expected = np.concatenate([first, np.zeros(3 * RATE), second])
    assert len(samples) == len(expected) and np.abs(samples - expected).max() < 1e-4


def test_holes_are_told(tmp_path: Path) -> None:
    path = write_at(tmp_path / "a.mkv", [(4.0, sine(1.0)), (6.0, sine(1.0))], film=1.0)
    holes: list[tuple[float, float]] = []
    told = [list(holes) for _ in blocks(path, 5, holes=holes)]
    assert told == [[(0.0, 4.0), (5.0, 6.0)]] * 2


def test_many_short_pauses_do_not_add_up(tmp_path: Path) -> None:
    """As programs for calls write them, which send nothing in silence."""
    parts = [(float(second), sine(0.6, 48_000)) for second in range(10)]
    samples = load(write_at(tmp_path / "call.mkv", parts, "libopus", 48_000))
    assert close(heard(samples), [(second, second + 0.6) for second in range(10)])


def test_times_that_are_inexact_are_no_holes(tmp_path: Path) -> None:
    from faster_whisper.audio import decode_audio

    random = np.random.default_rng(0)
    tone = sine(10.0, 48_000)
    starts = np.arange(0, 10, 0.02) + random.uniform(0, 0.015, 500)
    parts = [(start, tone[number * 960 : number * 960 + 960]) for number, start in enumerate(starts)]
    path = write_at(tmp_path / "jitter.webm", parts, "libopus", 48_000)
    np.testing.assert_array_equal(load(path), decode_audio(str(path)))


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.m4a", "aac", 44_100),
        ("a.mp3", "libmp3lame", 44_100),
        ("a.flac", "flac", 44_100),
        ("a.ogg", "libopus", 48_000),
        ("a.ts", "mp2", 48_000),
        ("a.mka", "ac3", 48_000),
        ("a.wav", "pcm_s16le", 8_000),
    ],
)
@pytest.mark.parametrize("begins", [0.0, 4.0])
def test_without_holes_samples_are_the_bare_librarys(
    tmp_path: Path, name: str, codec: str, rate: int, begins: float
) -> None:
    """Also where the only track begins late: then it is what the file begins with."""
    from faster_whisper.audio import decode_audio

    noise = np.random.default_rng(0).normal(0, 0.1, 6 * rate).clip(-1, 1).astype(np.float32)
    path = write_at(tmp_path / name, [(begins, noise)], codec, rate)
    np.testing.assert_array_equal(load(path), decode_audio(str(path)))
    with opened(path) as (container, stream):
        assert is_seamless(container, stream)


def test_times_that_begin_anew_follow_each_other(tmp_path: Path) -> None:
    """Two recordings in one file, as transport streams are joined."""
    parts = [write(tmp_path / f"{hertz}.ts", (0.0, 20.0)).read_bytes() for hertz in (400, 800)]
    (tmp_path / "joined.ts").write_bytes(b"".join(parts))
    assert len(load(tmp_path / "joined.ts")) == pytest.approx(40 * RATE, abs=RATE)


def test_a_hole_of_hours_costs_no_memory(tmp_path: Path) -> None:
    path = write_at(tmp_path / "watch.mkv", [(0.0, sine(1.0)), (36_000.0, sine(1.0))])
    tracemalloc.start()
    length, loud = 0, []
    for samples, last in blocks(path, 300):  # noqa: B007
        loud += [length / RATE + start for start, _ in heard(samples)]
        length += len(samples)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert last and length == 36_001 * RATE and loud == [0.0, 36_000.0]
    assert peak < 60e6
    assert duration(path) == pytest.approx(36_001, abs=0.1)


@pytest.mark.parametrize(
    "holes", [[3e6], [9e4 * step for step in range(1, 9)], [2e4 * step for step in range(1, 99)]]
)
def test_times_nobody_can_mean_are_not_believed(tmp_path: Path, holes: list[float]) -> None:
    parts = [(start, sine(0.1)) for start in [0.0, *holes]]
    path = write_at(tmp_path / "damaged.mkv", parts)
    length = sum(len(samples) for samples, _ in blocks(path, 300))
    assert length <= (24 * 3600 + 10) * RATE
    assert length >= len(parts) * 1600


def test_a_part_that_cannot_be_decoded_leaves_its_time(tmp_path: Path) -> None:
    path = write_at(tmp_path / "a.flac", [(0.0, sine(10.0))], "flac")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) * 3 // 5] = b"\xaa" * (len(data) * 3 // 5 - len(data) // 2)
    path.write_bytes(data)
    first, last = heard(load(path))[0], heard(load(path))[-1]
    assert first[0] == 0.0 and last[1] == pytest.approx(10.0, abs=0.2)


# --- cuts ------------------------------------------------------------------------------------------


def steps(path: Path) -> Path:
    """A second each of 300, 400, … hertz."""
    tones = np.concatenate([sine(1.0, hertz=300 + 100 * second) for second in range(10)])
    return write_at(path, [(0.0, tones)], "aac")


def pitches(samples: np.ndarray) -> list[int]:
    """The hertz in the middle of every half second."""
    return [
        round(int(np.abs(np.fft.rfft(samples[at : at + 3200])).argmax()) * 5 / 100) * 100
        for at in range(2400, len(samples) - 3200, 8000)
    ]


def test_what_was_cut_out_is_not_heard_and_the_rest_moves_up(tmp_path: Path) -> None:
    path = cut(steps(tmp_path / "cut.m4a"), [(3.0, 1024), (4.0, 6 * RATE + 1024)])
    samples = load(path)
    assert len(samples) == pytest.approx(7 * RATE, abs=1024) and duration(path) == 7.0
    assert pitches(samples)[::2][:7] == [300, 400, 500, 900, 1000, 1100, 1200]


def test_many_cuts_do_not_add_up(tmp_path: Path) -> None:
    kept = [(0.5, 1024 + second * RATE) for second in range(10)]
    samples = load(cut(steps(tmp_path / "cut.m4a"), kept))
    assert len(samples) == pytest.approx(5 * RATE, abs=1024)
    assert pitches(samples)[:10] == [300 + 100 * second for second in range(10)][: len(pitches(samples))]
    short = [(0.1, 1024 + number * RATE // 4) for number in range(38)]  # each ends within a frame
    assert len(load(cut(steps(tmp_path / "short.m4a"), short))) == pytest.approx(3.8 * RATE, abs=1024)


# --- as it is played ---------------------------------------------------------------------------------


def test_the_waveform_shows_what_is_played(tmp_path: Path) -> None:
    path = write(tmp_path / "holes.mp4", (0.0, 2.0), (4.0, 6.0))
    high = [high for _, high in peaks(path, 12)]
    assert min(high[:4] + high[8:]) > 40 and max(high[5:7]) == 0
    sound = prepare(path, tmp_path, 6)
    assert sound.seconds == pytest.approx(6.0, abs=0.1)
    assert sound.path != path and close(heard(load(sound.path)), [(0.0, 2.0), (4.0, 6.0)])


@pytest.mark.parametrize("cuts", [[], [(3.0, 1024), (4.0, 6 * RATE + 1024)]])
def test_a_file_with_cuts_is_played_from_one_without(tmp_path: Path, cuts: list[tuple[float, int]]) -> None:
    path = steps(tmp_path / "a.m4a")
    played, mime = playable(cut(path, cuts) if cuts else path, tmp_path)
    assert (played == path) == (not cuts) and mime == ("audio/mpeg" if cuts else "audio/mp4")
    assert len(load(played)) == pytest.approx(len(load(path)), abs=0.1 * RATE)


def test_late_sound_of_a_film_is_played_late(tmp_path: Path) -> None:
    path = write(tmp_path / "late.mkv", (4.0, 6.0), film=7.0)
    played, _ = playable(path, tmp_path)
    assert close(heard(load(played)), [(4.0, 6.0)])


def test_blocks_join_to_the_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "holes.mkv", (0.0, 2.0), (5.5, 6.0))
    parts = list(blocks(path, 1))
    np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), load(path))
    assert [last for _, last in parts] == [False] * (len(parts) - 1) + [True]


def test_a_recording_whose_rate_changes_loses_nothing(tmp_path: Path) -> None:
    """Each shape of frame has a resampler of its own, which is emptied before the next."""
    joined = tmp_path / "joined.mp3"
    parts = [
        write_at(tmp_path / f"{rate}.mp3", [(0.0, sine(2.0, rate))], "libmp3lame", rate).read_bytes()
        for rate in (44_100, 22_050)
    ]
    joined.write_bytes(b"".join(parts))
    assert len(load(joined)) == pytest.approx(4 * RATE, abs=0.3 * RATE)


def test_sound_in_memory_has_no_times() -> None:
    samples = sine(0.5)
    assert decoding.load(samples) is samples and duration(samples) == 0.5


def test_wav_is_played_as_it_is(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", sine(1.0))
    assert playable(path, tmp_path) == (path, "audio/wav")
