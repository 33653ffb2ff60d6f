"""Pieces decoded together: how a recording is cut into them, and what of them is shown."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from models.schema import Segment, SpeechOptions
from models.speech.chunks import Batches, Chunk, chunks
from models.speech.voice import Timeline, join, moved, speech, within
from tests.fakes.decoder import Dictated, at, heard

RATE = 16_000
QUIET = {"avg_logprob": -1.5, "no_speech_prob": 0.7}


@pytest.fixture(autouse=True)
def detector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What is not zero is speech, at most 30 seconds at a time. Gives the settings it was called with."""
    asked: list[dict[str, Any]] = []

    def find(samples: Any, options: Any) -> list[dict[str, int]]:
        asked.append(vars(options) if hasattr(options, "__dict__") else dict(options._asdict()))
        edges = np.flatnonzero(np.diff(np.concatenate([[0], samples != 0, [0]]).astype(int)))
        found = []
        for start, end in edges.reshape(-1, 2).tolist():
            for first in range(start, end, 30 * RATE):
                found.append({"start": first, "end": min(first + 30 * RATE, end)})
        return found

    monkeypatch.setattr("faster_whisper.vad.get_speech_timestamps", find)
    yield asked


def recording(*parts: tuple[float, float]) -> Any:
    """Silence of a and speech of b seconds for each (a, b); a sample of speech holds its own number."""
    pieces, start = [], 0
    for silence, talk in parts:
        pieces.append(np.zeros(round(silence * RATE)))
        start += len(pieces[-1])
        pieces.append(np.arange(start, start + round(talk * RATE)) + 1.0)
        start += len(pieces[-1])
    return np.concatenate(pieces)


def cut(samples: Any, seconds: float) -> list[tuple[Any, bool]]:
    size = round(seconds * RATE)
    return [(samples[n : n + size], n + size >= len(samples)) for n in range(0, len(samples), size)]


def run(
    decoder: Dictated,
    samples: Any,
    done: Sequence[Segment] = (),
    cancel: threading.Event | None = None,
    **options: Any,
) -> tuple[list[Segment], list[float]]:
    reached: list[float] = []
    asked = SpeechOptions(**({"language": "en", "batch_size": 2} | options))
    batches = Batches(decoder, [(samples, True)], asked, cancel or threading.Event())
    return list(batches.segments(done, reached.append)), reached


def spans(segments: Sequence[Segment]) -> list[tuple[float, float, str]]:
    return [(round(s.start, 2), round(s.end, 2), s.text) for s in segments]


THREE = recording((1, 20), (2, 20), (3, 20))  # speech from 1, 23 and 46 seconds on


class Polyglot(Dictated):
    """What begins late is in another language; what begins last could be in any."""

    def detect(self, features: Any) -> tuple[str, float]:
        start = int(features[0, 0]) // 100
        return ("de", 0.9) if start < 20 else ("fr", 0.9) if start < 40 else ("zh", 0.3)


def test_each_piece_is_in_its_own_language_where_that_is_wanted() -> None:
    decoder = Polyglot(heard(1), heard(2), heard(3))
    segments, _ = run(decoder, THREE, language=None, detect_each=True, batch_size=3)
    assert decoder.begun == ["de", "fr"] and [len(windows) for windows in decoder.together] == [1, 2]
    assert [segment.text for segment in segments] == [" w1", " w2", " w3"]
    decoder = Polyglot(heard(1), heard(2), heard(3))
    run(decoder, THREE, language=None, batch_size=3)
    assert decoder.begun == [] and [len(windows) for windows in decoder.together] == [3]


# --- cutting -----------------------------------------------------------------------------------


def test_speech_that_fits_into_thirty_seconds_stays_together() -> None:
    samples = recording((1, 10), (1, 10), (1, 10), (1, 0.5), (5, 29.5))
    found = list(chunks([(samples, True)], Timeline(), ()))
    assert [(chunk.seconds, chunk.start, chunk.seek) for chunk in found] == [
        (30.0, 0.0, 0), (30.0, 30.0, 3000),
    ]  # fmt: skip
    assert found[0].samples[0] == RATE + 1 and found[0].samples[10 * RATE] == 12 * RATE + 1


def test_frames_of_a_chunk_are_those_of_whole_seconds() -> None:
    assert [Chunk(np.zeros(n), 0.0).frames for n in (1, RATE, RATE + 1)] == [100, 100, 200]


@pytest.mark.parametrize("block", [20, 25, 31, 45, 1000])
def test_a_chunk_that_the_next_block_continues_is_not_cut(block: float) -> None:
    samples = recording((0, 12), (0.5, 12), (0.5, 12), (30, 12))
    found = list(chunks(cut(samples, block), Timeline(), ()))
    whole = list(chunks([(samples, True)], Timeline(), ()))
    assert [chunk.seconds for chunk in whole] == [24.0, 24.0]
    joined = np.concatenate([chunk.samples for chunk in found])
    np.testing.assert_array_equal(joined, np.concatenate([chunk.samples for chunk in whole]))
    assert all(chunk.seconds <= 30 for chunk in found)
    starts = np.cumsum([0, *(chunk.seconds for chunk in found[:-1])])
    assert [chunk.start for chunk in found] == starts.tolist()


def test_the_detector_is_set_as_faster_whispers(detector: list[dict[str, Any]]) -> None:
    list(chunks([(THREE, True)], Timeline(), ()))
    assert detector[0]["max_speech_duration_s"] == 30 and detector[0]["min_silence_duration_ms"] == 160


# --- decoding together -----------------------------------------------------------------------------


def test_so_many_chunks_go_together_and_times_are_those_of_the_recording() -> None:
    decoder = Dictated(heard(at(0), 1, at(20)), heard(at(5), 2, at(7)), heard(3))
    segments, reached = run(decoder, THREE)
    assert [len(batch) for batch in decoder.together] == [2, 1]
    assert [size for batch in decoder.together for _, size in batch] == [2000, 2000, 2000]
    assert spans(segments) == [(1, 21, " w1"), (23, 30, " w2"), (46, 66, " w3")]
    assert [s.seek for s in segments] == [0, 2000, 4000]
    assert [round(seconds, 2) for seconds in reached] == [43, 66]
    decoder = Dictated(heard(1), heard(2), heard(3))
    run(decoder, THREE, batch_size=3)
    assert [len(batch) for batch in decoder.together] == [3]


def test_silence_is_not_shown_and_what_lies_beside_it_is() -> None:
    segments, _ = run(Dictated(heard(1), heard(2, **QUIET), heard(3)), THREE)
    assert [s.text for s in segments] == [" w1", " w3"]


def test_a_chunk_that_fails_is_tried_again_alone_with_the_names() -> None:
    decoder = Dictated(heard(1), heard(2, compression_ratio=9.0), heard(5, temperature=0.4), heard(3))
    segments, _ = run(decoder, THREE, initial_prompt="8 9")
    assert [(s.text, s.temperature) for s in segments] == [(" w1", 0.0), (" w5", 0.4), (" w3", 0.0)]
    first, frames, prompt = decoder.asked[0]
    assert (frames, prompt, len(decoder.asked)) == (2000, [8, 9], 1)
    assert first == 23 * 100  # the second chunk's own sound
    segments, _ = run(Dictated(heard(1), heard(2, compression_ratio=9.0), heard(3)), THREE, fallback=False)
    assert [s.text for s in segments] == [" w1", " w2", " w3"]


def test_words_are_timed_together_and_the_last_end_is_handed_on() -> None:
    decoder = Dictated(heard(at(0), 1, at(4)), heard(at(0), 2, at(6)), heard(at(0), 3, at(2)))
    segments, _ = run(decoder, THREE, word_timestamps=True)
    assert decoder.timed == [([2000, 2000], 0.0), ([2000], 26.0)]
    assert [[(w.start, w.text) for w in s.words] for s in segments] == [
        [(1, " w1")], [(23, " w2")], [(46, " w3")],
    ]  # fmt: skip


# --- going on, parts, stops ------------------------------------------------------------------------


def test_an_earlier_run_goes_on_in_the_same_batches() -> None:
    four = recording((1, 20), (1, 20), (1, 20), (1, 20), (1, 20))
    script = [heard(n) for n in range(1, 6)]
    whole, _ = run(Dictated(*script), four)
    assert [s.seek for s in whole] == [0, 2000, 4000, 6000, 8000]
    decoder = Dictated(*script[2:])
    segments, reached = run(decoder, four, done=whole[:4])
    assert segments == whole and [len(batch) for batch in decoder.together] == [2, 1]
    assert len(reached) == 3


def test_only_what_lies_in_the_clips_is_decoded() -> None:
    decoder = Dictated(heard(1), heard(2))
    segments, _ = run(decoder, THREE, clips="0-5,50-")
    assert [size for batch in decoder.together for _, size in batch] == [2000]
    assert spans(segments)[0][0] == 1
    # 4 seconds of the first stretch and 16 of the last, in one chunk
    assert segments[-1].end == pytest.approx(66)


def test_the_language_is_that_of_the_first_chunk() -> None:
    asked, cancel = SpeechOptions(), threading.Event()
    assert Batches(Dictated(), [(THREE, True)], asked, cancel).detect() == ("from100to2003", 0.75)
    assert Batches(Dictated(), [(np.zeros(RATE), True)], asked, cancel).detect() == (None, None)


def test_a_stop_shows_nothing_of_the_batch_at_hand() -> None:
    cancel = threading.Event()

    class Stopped(Dictated):
        def decode_together(self, windows: Sequence[Any]) -> Any:
            if self.together:
                cancel.set()
            return super().decode_together(windows)

    decoder = Stopped(heard(1), heard(2), heard(3, compression_ratio=9.0))
    segments, _ = run(decoder, THREE, cancel=cancel)
    assert [s.text for s in segments] == [" w1", " w2"] and decoder.asked == []


# --- what is heard -------------------------------------------------------------------------------


def test_silence_is_left_out_and_times_lead_back() -> None:
    samples, timeline = recording((2, 3), (5, 4)), Timeline()
    blocks = list(speech(cut(samples, 8), timeline, ()))
    assert [last for _, last in blocks] == [False, True]
    assert [len(part) for part, _ in blocks] == [3 * RATE, 4 * RATE]
    assert [timeline.recorded(seconds) for seconds in (0.5, 2.5, 3.5, 6.5)] == [2.5, 4.5, 10.5, 13.5]
    assert [timeline.joined(seconds) for seconds in (2.5, 4.5, 10.5, 13.5)] == [0.5, 2.5, 3.5, 6.5]


def test_blocks_outside_the_clips_are_not_listened_to(detector: list[dict[str, Any]]) -> None:
    samples = recording((0, 40))
    blocks = list(speech(cut(samples, 10), Timeline(), [(12.0, 14.0), (30.0, 31.0)]))
    assert [len(part) / RATE for part, _ in blocks] == [0, 2, 0, 1] and len(detector) == 2


def test_what_of_a_stretch_lies_in_the_clips() -> None:
    found = [{"start": 100, "end": 300}, {"start": 400, "end": 500}]
    assert within(found, (), 0) == found
    second = 1 / RATE
    clips = [(1150 * second, 1250 * second), (1450 * second, float("inf"))]
    assert within(found, clips, 1000) == [{"start": 150, "end": 250}, {"start": 450, "end": 500}]
    assert within(found, [(0.0, 100 * second)], 0) == []
    assert moved(found, 7) == [{"start": 107, "end": 307}, {"start": 407, "end": 507}]
    samples = np.arange(600)
    assert join(samples, found).tolist() == [*range(100, 300), *range(400, 500)]
    assert len(join(samples, [])) == 0
