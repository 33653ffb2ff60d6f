"""What the Whisper engines do around their libraries: lengths, failures, which library, and what they say."""

import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.engines import speech
from models.engines.speech import CONVERTED, CROWDED, WhisperEngine
from models.errors import BadInput, CheckpointCorrupt, DoesNotFit, EngineFailed
from models.schema import Checkpoint, Placement, Progress, Segment, SpeechOptions
from models.sound.decoding import duration
from models.speech import chunks, windows
from models.speech.library import PROMPT
from models.speech.transcript import Transcript
from tests.fakes.sounds import sine, write_sound

CHECKPOINT = Checkpoint("tiny", "whisper", "speech", "ctranslate2")


class Library:
    """Counts letters as tokens, and hears what it is told to."""

    languages, dtype, weights = ("en", "zh"), "int8", 7

    def __init__(self, path: Path, *_: Any) -> None:
        self.path, self.closed, self.begun = path, False, list[str]()

    def count(self, text: str) -> int:
        return len(text)

    def decoder(self, options: SpeechOptions, cancel: threading.Event) -> Any:
        return self

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None: ...

    def begin(self, language: str) -> None:
        self.begun.append(language)

    def close(self) -> None:
        self.closed = True


class Run:
    """An algorithm that reads all there is and says one line."""

    found: tuple[str | None, float | None] = ("zh", 0.75)
    asked: list[str] = []

    def __init__(self, decoder: Any, blocks: Any, options: SpeechOptions, cancel: threading.Event) -> None:
        self._blocks = blocks
        self.asked.append(type(self).__name__)

    def detect(self) -> tuple[str | None, float | None]:
        return self.found

    def segments(self, done: Any, reached: Any) -> Iterator[Segment]:
        for _ in self._blocks:
            pass
        yield Segment(0.0, 1.0, " said")


class Together(Run):
    """The other one."""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> WhisperEngine:
    monkeypatch.setattr(Run, "asked", [])
    monkeypatch.setattr(windows, "Windows", Run)
    monkeypatch.setattr(chunks, "Batches", Together)
    monkeypatch.setattr(speech, "_open", lambda path, *_: (Library(path), ()))
    return WhisperEngine("x", CHECKPOINT, Placement("cpu", "int8"))


# --- lengths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "seconds", "known"),
    [
        (100.0, [5, 3], [100.0, 8.0]),  # a header that says too much
        (3.0, [5, 3], [5.0, 8.0]),  # too little
        (8.0, [5, 3], [8.0, 8.0]),
        (0.0, [5, 5, 0], [5.0, 10.0, 10.0]),  # nothing
        (9.0, [0], [0.0]),
    ],
)
def test_what_is_read_corrects_what_a_header_says(
    said: float, seconds: list[int], known: list[float]
) -> None:
    result = Transcript(None)
    result.duration = said
    samples = [np.zeros(count * 16_000, np.float32) for count in seconds]
    blocks = [(part, number == len(samples)) for number, part in enumerate(samples, 1)]
    found = []
    for (part, last), given in zip(speech._measured(iter(blocks), result), blocks, strict=True):
        assert part is given[0] and last is given[1]
        found.append(result.duration)
    assert found == known


def test_a_recording_is_as_long_as_its_sound(engine: WhisperEngine, tmp_path: Path) -> None:
    path = write_sound(tmp_path / "cut.wav", sine(2.0))
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    struct.pack_into("<I", data, at, 10 * 32_000)  # it was cut off, and its header knows nothing of it
    struct.pack_into("<I", data, 4, at + 10 * 32_000 - 4)
    path.write_bytes(data)
    transcript = engine.transcribe(path)
    assert [segment.text for segment in transcript] == [" said"] and transcript.duration == 2.0
    assert duration(path) >= 2.0


@pytest.mark.parametrize(
    ("options", "seconds", "together"),
    [
        (SpeechOptions(), 601, True),
        (SpeechOptions(), 600, False),
        (SpeechOptions(batch_size=1), 601, False),
        (SpeechOptions(vad=False), 601, False),
    ],
)
def test_long_recordings_are_decoded_several_pieces_at_a_time(
    options: SpeechOptions, seconds: int, together: bool, engine: WhisperEngine
) -> None:
    assert list(engine.transcribe(np.zeros(seconds * 16_000, np.float32), options))
    assert Run.asked == ["Together" if together else "Run"]


def test_nothing_comes_after_a_stop(engine: WhisperEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [Segment(float(at), at + 1.0, " said") for at in range(3)]
    monkeypatch.setattr(Run, "segments", lambda *_: iter(lines))
    cancel = threading.Event()
    transcript = engine.transcribe(sine(1.0), SpeechOptions(), cancel)
    assert next(transcript).start == 0.0
    cancel.set()
    assert list(transcript) == []


# --- languages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "found", "known", "begun"),
    [
        (None, ("zh", 0.75), ("zh", 0.75), ["zh"]),
        ("en", ("zh", 0.75), ("en", 1.0), ["en"]),
        ("Chinese", ("en", 0.75), ("zh", 1.0), ["zh"]),
        (None, (None, None), (None, None), []),
    ],
)
def test_a_language_is_found_or_sure(
    asked: Any, found: Any, known: Any, begun: list[str], engine: WhisperEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(Run, "found", found)
    transcript = engine.transcribe(sine(1.0), SpeechOptions(language=asked))
    assert len(list(transcript)) == len(begun)
    assert (transcript.language, transcript.language_probability) == known
    assert engine.library.begun == begun  # type: ignore[attr-defined]


@pytest.mark.parametrize(("letters", "said"), [(PROMPT - 1, ()), (PROMPT, (CROWDED,))])
def test_more_names_than_whisper_remembers_are_said(letters: int, said: Any, engine: WhisperEngine) -> None:
    """The names, the words and the space between them."""
    half = letters // 2
    options = SpeechOptions(initial_prompt="a" * half, hotwords="b" * (letters - half))
    assert engine.notes(options) == said and not engine.active


# --- which library ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "precision", "library", "stages", "notes"),
    [
        (("model.bin",), "int8", "faster", ["load"], ()),
        (("model.bin",), "fp32", "faster", ["load"], ()),
        ((), "fp32", "reference", ["load"], ()),
        ((), "fp16", "reference", ["load"], ()),
        ((), "int8", "converted", ["convert", "load"], (CONVERTED,)),
    ],
)
def test_each_placement_has_its_library(
    files: tuple[str, ...], precision: str, library: str, stages: list[str], notes: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from models.speech import convert, faster, reference

    checked: list[Placement] = []
    for name in files:
        (tmp_path / name).touch()
    monkeypatch.setattr(faster, "compute_type", checked.append)
    monkeypatch.setattr(
        faster, "FasterWhisper", lambda path, _: "converted" if path.name == "copy" else "faster"
    )
    monkeypatch.setattr(reference, "OpenAIWhisper", lambda path, _: "reference")
    monkeypatch.setattr(convert, "converted", lambda path: checked.append(path) or path / "copy")  # type: ignore[func-returns-value]
    told: list[Progress] = []
    placement = Placement("cpu", precision)  # type: ignore[arg-type]
    assert speech._open(tmp_path, placement, told.append) == (library, notes)
    assert [step.stage for step in told] == stages
    # That the device can is known before anything is converted for nothing.
    assert checked[:1] == ([] if library == "reference" else [placement])


# --- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (BadInput("As it is.", "原样。"), BadInput, "As it is."),
        (MemoryError(), DoesNotFit, "The memory ran out"),
        (RuntimeError("CUDA failed: Out of Memory"), DoesNotFit, "The memory ran out"),
        (RuntimeError("odd\nand more"), EngineFailed, "stopped while transcribing (RuntimeError: odd)"),
        (OSError("disk"), EngineFailed, "(OSError: disk)"),
    ],
)
def test_what_goes_wrong_in_a_library_is_a_sentence(
    error: Exception, kind: Any, words: str, engine: WhisperEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "detect", lambda _: (_ for _ in ()).throw(error))
    with pytest.raises(kind) as caught:
        list(engine.transcribe(sine(1.0)))
    assert type(caught.value) is kind and words in str(caught.value)
    assert caught.value is error or caught.value.__cause__ is error
    assert not engine.active


def test_what_cannot_be_loaded_is_to_be_fetched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "_open", lambda *_: (_ for _ in ()).throw(KeyError("dims")))
    with pytest.raises(CheckpointCorrupt, match=r"tiny cannot be loaded \(.*dims.*\): fetch it again"):
        WhisperEngine("x", CHECKPOINT, Placement("cpu", "int8"))


def test_an_engine_that_closes_frees_its_library(engine: WhisperEngine) -> None:
    library: Any = engine.library
    assert (engine.report.dtype, engine.report.weights, engine.report.device_map) == ("int8", 7, {"": "cpu"})
    assert engine.close_if_idle() and library.closed and not hasattr(engine, "library")
