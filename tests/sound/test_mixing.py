"""Many channels become one in which each is heard; mono and ordinary stereo stay the bare library's."""

from pathlib import Path

import numpy as np
import pytest

from models.sound.decoding import load
from tests.fakes.sounds import sine, write_channels, write_sound

VOICE = sine(2.0)
SURROUND = 0x63F  # 7.1


def loudness(samples: np.ndarray) -> float:
    return float(np.abs(samples[1000:-1000]).max())


def channels(count: int, *sounding: int, voice: np.ndarray = VOICE) -> np.ndarray:
    made = np.zeros((count, len(voice)), np.float32)
    made[list(sounding)] = voice
    return made


@pytest.mark.parametrize("count", [3, 4, 5, 6, 8, 9, 10, 12, 16, 24, 32, 63, 64])
@pytest.mark.parametrize("noise", [0.0, 0.0005])
def test_a_voice_in_the_last_of_many_channels_is_heard(tmp_path: Path, count: int, noise: float) -> None:
    made = channels(count, count - 1)
    made += noise * np.random.default_rng(0).normal(size=made.shape).astype(np.float32)
    samples = load(write_channels(tmp_path / "many.wav", made))
    assert len(samples) == 32_000 and 0.4 < loudness(samples) < 0.6


@pytest.mark.parametrize("count", [3, 9, 64])
def test_what_all_channels_say_is_as_loud_as_in_one(tmp_path: Path, count: int) -> None:
    samples = load(write_channels(tmp_path / "many.wav", channels(count, *range(count))))
    assert loudness(samples) == pytest.approx(0.5, abs=0.01)


def test_two_voices_in_two_of_many_channels_are_both_heard(tmp_path: Path) -> None:
    made = channels(16, 3) + channels(16, 12, voice=0.2 * sine(2.0, hertz=1000))
    spectrum = np.abs(np.fft.rfft(load(write_channels(tmp_path / "two.wav", made)))) / 16_000
    assert spectrum[880] == pytest.approx(0.25, abs=0.02) and spectrum[2000] == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("other", [-1.0, -0.9, -1.1])
def test_opposite_channels_do_not_cancel(tmp_path: Path, other: float) -> None:
    noise = np.random.default_rng(0).normal(0, 0.005, (2, len(VOICE))).astype(np.float32)
    samples = load(write_channels(tmp_path / "opposite.wav", np.stack([VOICE, other * VOICE]) / 1.2 + noise))
    assert loudness(samples) > 0.3


@pytest.mark.parametrize("channel", range(8))
def test_no_channel_of_a_surround_recording_is_lost(tmp_path: Path, channel: int) -> None:
    assert loudness(load(write_channels(tmp_path / "film.wav", channels(8, channel), SURROUND))) > 0.05


def test_low_frequencies_do_not_drown_who_speaks(tmp_path: Path) -> None:
    made = channels(8, 2, voice=0.2 * VOICE) + channels(8, 3, voice=1.8 * sine(2.0, hertz=50))
    spectrum = np.abs(np.fft.rfft(load(write_channels(tmp_path / "film.wav", made, SURROUND))))
    assert spectrum.argmax() == 880  # of 440 hertz


ORDINARY = {
    "both": (VOICE, VOICE),
    "left": (VOICE, 0 * VOICE),
    "right": (0 * VOICE, VOICE),
    "two tones": (VOICE, sine(2.0, hertz=700)),
    "wide": (VOICE, -0.5 * VOICE),
    "noise": tuple(np.random.default_rng(0).normal(0, 0.1, (2, 32_000)).astype(np.float32).clip(-1, 1)),
    "silence": (0 * VOICE, 0 * VOICE),
    "hiss": (VOICE / 5000, -VOICE / 5000),
}


@pytest.mark.parametrize("kind", ORDINARY)
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_ordinary_stereo_is_the_bare_librarys(tmp_path: Path, kind: str, rate: int) -> None:
    from faster_whisper.audio import decode_audio

    path = write_channels(tmp_path / "stereo.wav", np.stack(ORDINARY[kind]), rate=rate)
    np.testing.assert_array_equal(load(path), decode_audio(str(path)))


def test_mono_is_the_bare_librarys(tmp_path: Path) -> None:
    from faster_whisper.audio import decode_audio

    path = write_channels(tmp_path / "mono.wav", VOICE[None], rate=44_100)
    np.testing.assert_array_equal(load(path), decode_audio(str(path)))


@pytest.mark.parametrize("count", [1, 2, 3, 9])
@pytest.mark.parametrize("samples", [33, 100])
def test_the_shortest_recordings(tmp_path: Path, count: int, samples: int) -> None:
    made = load(
        write_channels(tmp_path / "short.wav", np.full((count, samples), 0.5, np.float32), rate=8_000)
    )
    assert len(made) == pytest.approx(2 * samples, abs=2)


@pytest.mark.parametrize(
    ("codec", "layout"), [("wavpack", "hexadecagonal"), ("aac", "hexadecagonal"), ("flac", "7.1")]
)
def test_channels_in_planes_of_their_own(tmp_path: Path, codec: str, layout: str) -> None:
    """PyAV itself miscounts more than eight of them."""
    suffix = {"wavpack": "wv", "aac": "m4a", "flac": "flac"}[codec]
    path = write_sound(tmp_path / f"many.{suffix}", sine(2.0, 48_000), 48_000, layout, codec=codec)
    assert loudness(load(path)) == pytest.approx(0.5, abs=0.05)


def test_floats_that_are_no_numbers_are_silence(tmp_path: Path) -> None:
    import av

    values = np.stack([VOICE, -VOICE])
    values[:, 100:200] = np.nan
    with av.open(str(tmp_path / "nan.wav"), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=16_000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(values.T.reshape(1, -1).copy(), format="flt", layout="stereo")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    samples = load(tmp_path / "nan.wav")
    assert np.isfinite(samples).all() and loudness(samples) > 0.4
