"""Recordings longer than what is in memory at once: the same frames, times and text; and going on after a stop."""

import re
import threading
import tracemalloc
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from models.engines import speech
from models.engines.speech import WhisperEngine
from models.schema import Checkpoint, Placement, Progress, Segment, SpeechOptions, Word
from models.sound import decoding
from models.speech.chunks import chunks
from models.speech.doubts import doubts
from models.speech.frames import Frames
from models.speech.voice import Timeline, behind_hole
from tests.fakes.sounds import sine, write_sound
from tests.fakes.tiny_whisper import save_pt

SURE = SpeechOptions(beam_size=1, language="en", fallback=False, logprob_threshold=-10.0)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> WhisperEngine:
    path = tmp_path_factory.mktemp("random") / "random.pt"
    save_pt(path)
    checkpoint = Checkpoint("random", "whisper", "speech", "whisper-pt")
    engine = WhisperEngine(path, checkpoint, Placement("cpu", "fp32"))
    model = engine.library.model  # type: ignore[attr-defined]
    decode = model.decode
    # A random network does not stop by itself.
    model.decode = lambda mel, options: decode(mel, replace(options, sample_len=12))
    return engine


@pytest.fixture(scope="module")
def talk(jfk: Path) -> np.ndarray:
    silence = np.zeros(3 * 16_000, np.float32)
    return np.concatenate([part for _ in range(8) for part in (silence, decoding.load(jfk))])


def spectra(samples: np.ndarray) -> np.ndarray:
    """What every frame of 400 samples, 160 apart, sees: two bands, and three frames behind the end."""
    padded = np.pad(samples, (200, 200 + 3 * 160))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160]
    return np.stack([frames.max(axis=1), frames.min(axis=1)])


def cut(samples: np.ndarray, size: int) -> list[tuple[np.ndarray, bool]]:
    starts = range(0, len(samples), size)
    return [(samples[start : start + size], start + size >= len(samples)) for start in starts]


# --- reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [7_000, 16_000 * 30, 16_000 * 61 + 5])
def test_frames_do_not_know_where_blocks_meet(size: int) -> None:
    samples = np.random.default_rng(0).normal(size=16_000 * 130 + 77).astype(np.float32)
    whole = spectra(samples)
    frames = Frames(cut(samples, size), spectra)
    for seek in (0, 1234, 4000, 4001, 9990):
        reach = frames.reach(seek)
        assert reach == min(3000, len(samples) // 160 - seek)
        np.testing.assert_array_equal(frames.window(seek, reach), whole[:, seek : seek + reach])
    assert frames.reach(13_000) == 0


@pytest.mark.parametrize("precision", ["fp32", "int8"], ids=["openai-whisper", "faster-whisper"])
@pytest.mark.parametrize("size", [16_000 * 41, 16_000 * 50])
def test_blocks_give_the_features_of_the_whole(
    talk: np.ndarray, tmp_path: Path, own_cache: Path, precision: str, size: int
) -> None:
    """But for what is 80 dB below the loudest sound of the recording, which the libraries cut off."""
    save_pt(tmp_path / "random.pt")
    checkpoint = Checkpoint("random", "whisper", "speech", "whisper-pt")
    engine = WhisperEngine(tmp_path / "random.pt", checkpoint, Placement("cpu", precision))
    with engine.library.decoder(SURE, threading.Event()) as decoder:
        whole = decoder.features(talk)
        frames = Frames(cut(talk, size), decoder.features)
        for seek in range(0, len(talk) // 160, 3000):
            reach = frames.reach(seek)
            expected = whole[:, seek : seek + reach]
            assert expected.shape[1] == reach > 0
            found = np.maximum(frames.window(seek, reach), whole.min())
            np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("seconds", [1, 2, 3, 7])
def test_blocks_are_the_recording(tmp_path: Path, seconds: int) -> None:
    samples = sine(6.0)
    path = write_sound(tmp_path / "six.wav", samples)
    for source in (path, samples):
        found = list(decoding.blocks(source, seconds))
        np.testing.assert_array_equal(np.concatenate([part for part, _ in found]), decoding.load(source))
        assert [last for _, last in found] == [False] * (len(found) - 1) + [True]
        assert all(len(part) == seconds * 16_000 for part, last in found if not last)


def test_blocks_cost_the_memory_of_one(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "long.wav", sine(1200.0))
    tracemalloc.start()
    total = sum(len(part) for part, _ in decoding.blocks(path, 60))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 1200 * 16_000
    assert peak < 6 * 60 * 16_000 * 4


def test_times_of_the_joined_speech_and_back() -> None:
    timeline = Timeline()
    timeline.add([{"start": 16_000, "end": 48_000}])
    timeline.add([{"start": 160_000, "end": 320_000}])
    for joined, recorded in ((0.5, 1.5), (2.5, 10.5), (11.0, 19.0)):
        assert timeline.recorded(joined) == recorded
        assert timeline.joined(recorded) == joined


def test_a_word_at_a_pause_lies_where_most_of_it_was_said() -> None:
    timeline = Timeline()
    timeline.add([{"start": 16_000, "end": 48_000}, {"start": 160_000, "end": 320_000}])
    words = (Word(1.5, 2.1, " before"), Word(1.9, 2.5, " behind"))
    line = timeline.restore(Segment(1.5, 2.5, " before behind", words))
    assert [(word.start, word.end) for word in line.words] == [(2.5, 3.1), (9.9, 10.5)]
    assert (line.start, line.end) == (2.5, 10.5)


@pytest.mark.parametrize(
    ("start", "begins"), [(3.6, 4.0), (0.0, 4.0), (4.0, 4.0), (7.0, 7.0), (9.5, 9.6), (11.0, 11.0)]
)
def test_nothing_begins_in_a_hole(start: float, begins: float) -> None:
    holes = [(0.0, 4.0), (9.0, 9.6), (30.0, 60.0)]
    words = (Word(start, start + 0.1, " a"), Word(start + 5.0, start + 6.0, " b"))
    made = behind_hole(Segment(start, start + 6.0, " a b", words), holes)
    assert (made.start, made.end, made.words[0].start) == (begins, start + 6.0, begins)
    assert made.words[0].end >= begins and made.words[1] == words[1]
    alone = Segment(31.0, 32.0, " invented")
    assert behind_hole(alone, holes) is alone


# --- chunks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [31, 47, 112])
def test_chunks_lose_no_speech(talk: np.ndarray, block: int) -> None:
    timeline = Timeline()
    found = list(chunks(cut(talk, block * 16_000), timeline, ()))
    assert all(0 < chunk.seconds <= 30 for chunk in found)
    starts = np.cumsum([0, *(chunk.seconds for chunk in found)])
    np.testing.assert_allclose([chunk.start for chunk in found], starts[:-1])
    heard = np.concatenate([chunk.samples for chunk in found])
    speech_only = talk[np.abs(talk) > 0.05]
    assert np.isin(speech_only, heard).mean() > 0.999


def test_one_block_gives_the_chunks_of_faster_whisper(talk: np.ndarray) -> None:
    from faster_whisper.vad import VadOptions, collect_chunks, get_speech_timestamps

    asked = VadOptions(max_speech_duration_s=30, min_silence_duration_ms=160)
    parts, about = collect_chunks(talk, get_speech_timestamps(talk, asked), max_duration=30)
    ours = list(chunks([(talk, True)], Timeline(), ()))
    assert [chunk.start for chunk in ours] == [part["offset"] for part in about]
    for chunk, part in zip(ours, parts, strict=True):
        np.testing.assert_array_equal(chunk.samples, part)


# --- stopping and going on ---------------------------------------------------------------------------


@pytest.mark.parametrize("long", [1e9, 60], ids=["windows", "chunks"])
@pytest.mark.parametrize("words", [False, True])
def test_going_on_gives_what_running_through_gives(
    engine: WhisperEngine, talk: np.ndarray, monkeypatch: pytest.MonkeyPatch, long: float, words: bool
) -> None:
    monkeypatch.setattr(speech, "LONG", long)
    monkeypatch.setattr(speech, "BLOCK", 40)
    options = replace(SURE, word_timestamps=words, batch_size=2)
    through = list(engine.transcribe(talk, options))
    assert len({segment.seek for segment in through}) > 2
    for count in range(0, len(through) + 1, 2):
        assert list(engine.transcribe(talk, options, done=through[:count])) == through


def test_progress_moves_on_in_seconds_of_audio(engine: WhisperEngine, talk: np.ndarray) -> None:
    told: list[Progress] = []
    transcript = engine.transcribe(talk, SURE, progress=told.append)
    list(transcript)
    assert {step.stage for step in told} == {"transcribe"}
    assert [step.done for step in told] == sorted(step.done for step in told)
    assert told[-1].total == int(len(talk) / 16_000) and told[-1].left is not None
    assert transcript.position == pytest.approx(len(talk) / 16_000, abs=4)


def test_whoever_waits_is_told(engine: WhisperEngine, talk: np.ndarray) -> None:
    first = engine.transcribe(talk, SURE)
    next(first)
    told: list[Progress] = []
    cancel = threading.Event()

    def give_up(progress: Progress) -> None:
        told.append(progress)
        cancel.set()

    assert list(engine.transcribe(talk, SURE, cancel, give_up)) == []
    assert told == [Progress("queue", total=1)]
    first.close()


def test_cancel_reaches_into_a_window(
    engine: WhisperEngine, talk: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel, steps = threading.Event(), []
    model = engine.library.model  # type: ignore[attr-defined]
    forward = model.decoder.forward

    def step(*arguments: Any, **named: Any) -> Any:
        steps.append(1)
        if len(steps) == 5:
            cancel.set()
        return forward(*arguments, **named)

    monkeypatch.setattr(model.decoder, "forward", step)
    assert list(engine.transcribe(talk, SURE, cancel)) == []
    assert len(steps) == 5
    assert not engine.active


# --- doubts --------------------------------------------------------------------------------------------


def line(text: str, **figures: float) -> Segment:
    return Segment(0.0, 1.0, text, avg_logprob=-0.2, no_speech_prob=0.1, compression_ratio=1.2, **figures)  # type: ignore[arg-type]


def test_doubts() -> None:
    options, good = SpeechOptions(), line(" Thank you.")
    assert doubts(good, None, options) == doubts(good, line(" Good bye."), options) == ()
    assert doubts(good, line("thank you"), options) == ("repeated",)
    assert doubts(replace(good, avg_logprob=-1.1), None, options) == ("unsure",)
    assert doubts(replace(good, temperature=0.8), None, options) == ("unsure",)
    assert doubts(replace(good, compression_ratio=2.5), None, options) == ("looping",)
    assert doubts(replace(good, no_speech_prob=0.7), None, options) == ("silence",)
    assert doubts(replace(good, avg_logprob=-1.1), None, replace(options, logprob_threshold=-2.0)) == ()


def test_a_figure_at_its_threshold_is_no_doubt() -> None:
    options = SpeechOptions(logprob_threshold=-0.2, no_speech_threshold=0.1, compression_ratio_threshold=1.2)
    assert doubts(line(" Thank you.", temperature=0.5), None, options) == ()
    bare = Segment(0.0, 1.0, "Thank you.")  # of another source, without figures
    assert doubts(bare, line("Thank, YOU!"), options) == ("repeated",)
    everything = replace(line("Thank you."), avg_logprob=-1, no_speech_prob=1.0, compression_ratio=9.0)
    assert doubts(everything, everything, options) == ("repeated", "looping", "unsure", "silence")


# --- the real starters ---------------------------------------------------------------------------------


@pytest.mark.weights
def test_chunks_equal_bare_faster_whispers(talk: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    monkeypatch.setattr(speech, "LONG", 60)
    bare = WhisperModel(str(models.shared().fetch("whisper-tiny.en")), device="cpu", compute_type="int8")
    engine = models.load("whisper-tiny.en", precision="int8")
    for words in (False, True):
        expected, _ = BatchedInferencePipeline(bare).transcribe(
            talk, beam_size=1, batch_size=2, without_timestamps=False, word_timestamps=words
        )
        options = SpeechOptions(beam_size=1, batch_size=2, word_timestamps=words, fallback=False)
        ours = list(engine.transcribe(talk, options))
        end = len(talk) / 16_000  # after which the bare library has a line go on
        assert [(s.start, s.end, s.text) for s in ours] == [
            (s.start, min(s.end, end), s.text) for s in expected if s.text.strip()
        ]
        assert len(ours) > 3


@pytest.mark.weights
def test_blocks_change_no_words(talk: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines and stops hang on rounding in so small a model, and once in a while it repeats a sentence."""
    engine = models.load("whisper-tiny.en")
    options = SpeechOptions(beam_size=1, fallback=False)  # what repeats itself is sampled otherwise
    part = talk[: 5 * len(talk) // 8]
    whole = spoken(list(engine.transcribe(part, options)))
    monkeypatch.setattr(speech, "BLOCK", 31)
    blocks = spoken(list(engine.transcribe(part, options)))
    assert SequenceMatcher(None, whole, blocks).ratio() > 0.85
    for words in (whole, blocks):
        assert " ".join(words).count("ask not what your country can do for you") >= 4


def spoken(segments: list[Segment]) -> list[str]:
    return re.findall(r"[a-z]+", " ".join(segment.text for segment in segments).casefold())
