"""The two Whisper engines, on random weights and, where marked, on the real starters."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from models import languages
from models.engines.speech import WhisperEngine
from models.errors import (
    BadInput,
    CheckpointCorrupt,
    EngineFailed,
    UnsupportedCheckpoint,
    UnsupportedPlacement,
)
from models.schema import Checkpoint, Placement, Segment, SpeechOptions
from models.sound import decoding
from models.speech.library import temperatures
from tests.fakes.sounds import sine, write_at, write_silent_film, write_sound
from tests.fakes.tiny_whisper import save_folder, save_pt
from tests.fakes.waiting import LONG_WAIT, at_once

CPU = Placement("cpu", "fp32")
CHECKPOINT = Checkpoint("tiny-random", "whisper", "speech", "whisper-pt")
CONVERTED = Checkpoint("tiny-ct2", "whisper", "speech", "ctranslate2")
GREEDY = SpeechOptions(beam_size=1, vad=False)


def load(path: Path, placement: Placement = CPU) -> WhisperEngine:
    return WhisperEngine(path, CHECKPOINT, placement)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """openai-whisper's own model, and the file that holds it."""
    path = tmp_path_factory.mktemp("pt") / "random.pt"
    return save_pt(path), path


@pytest.fixture(scope="module")
def engine(bare: tuple[Any, Path]) -> WhisperEngine:
    return load(bare[1])


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    samples = np.random.default_rng(0).normal(0, 0.1, 150 * 16_000)
    return samples.astype(np.float32)


class Script:
    """Decodings to be given in turn, whatever is heard; `asked` holds the options of each."""

    BEGIN = 50364  # the token of 0.00 s

    def __init__(self) -> None:
        at, word = self._at, 1000
        self.asked: list[Any] = []
        self._answers = iter(
            [
                (
                    [at(0), *range(300, 305), at(5), at(5), *range(310, 318), at(12.4), at(12.4)],
                    -0.2,
                    0.0,
                    1.2,
                ),
                ([at(0), *range(320, 324), at(4), at(4), *range(330, 334), at(20)], -0.3, 0.1, 1.2),
                ([word] * 50, -0.1, 0.0, 9.0),  # repeats itself
                ([word, word], -3.0, 0.0, 1.0),  # a guess
                (list(range(340, 350)), -0.5, 0.0, 1.3),  # without times
                ([word], -1.5, 0.9, 1.0),  # silence
                ([at(1), 350, at(1), at(1), *range(351, 355), at(9)], -0.4, 0.0, 1.1),  # the first is empty
                *[([word] * 40, -0.1, 0.0, 9.0)] * 6,  # no temperature helps
            ]
        )

    def _at(self, seconds: float) -> int:
        return self.BEGIN + round(seconds / 0.02)

    def __call__(self, mel: Any, options: Any) -> Any:
        from whisper import DecodingResult

        self.asked.append(options)
        rest = ([self._at(0), 360, 361, self._at(30)], -0.2, 0.0, 1.0)
        tokens, logprob, silence, compression = next(self._answers, rest)
        return DecodingResult(
            audio_features=mel,
            language="en",
            tokens=tokens,
            avg_logprob=logprob,
            no_speech_prob=silence,
            temperature=options.temperature,
            compression_ratio=compression,
        )


@pytest.fixture
def script(engine: WhisperEngine, monkeypatch: pytest.MonkeyPatch) -> Script:
    script = Script()
    monkeypatch.setattr(engine.library.model, "decode", script)
    return script


def text(segments: Sequence[Segment]) -> str:
    return "".join(segment.text for segment in segments)


def plain(segment: Segment) -> tuple[Any, ...]:
    words = [(word.start, word.end, word.text, word.probability) for word in segment.words]
    scores = (segment.avg_logprob, segment.no_speech_prob, segment.compression_ratio)
    return segment.start, segment.end, segment.text, scores, words


def library_plain(segment: dict[str, Any]) -> tuple[Any, ...]:
    words = [
        (word["start"], word["end"], word["word"], word["probability"]) for word in segment.get("words", ())
    ]
    scores = tuple(segment[key] for key in ("avg_logprob", "no_speech_prob", "compression_ratio"))
    return segment["start"], segment["end"], segment["text"], scores, words


def library_segments(model: Any, samples: Any, **options: Any) -> list[tuple[Any, ...]]:
    """What `whisper.transcribe` says, without the segments that it has emptied."""
    import whisper

    answer = whisper.transcribe(model, samples, fp16=False, best_of=5, **options)
    return [library_plain(segment) for segment in answer["segments"] if segment["text"]]


# --- loading -----------------------------------------------------------------------------------


def test_report_is_measured(engine: WhisperEngine) -> None:
    parameters = sum(parameter.nbytes for parameter in engine.library.model.parameters())
    assert (
        parameters <= engine.report.weights < parameters * 1.4
    )  # the masks and sinusoids are small here too
    assert engine.report.dtype == "float32"
    assert engine.report.device_map == {"": "cpu"}
    assert engine.report.seconds > 0


@pytest.mark.parametrize("layout", ["safetensors", "shards", "bin"])
def test_hugging_face_folders_give_transformers_logits(tmp_path: Path, layout: str) -> None:
    import torch

    model = save_folder(tmp_path, "1MB" if layout == "shards" else "5GB")
    if layout == "bin":
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
        (tmp_path / "model.safetensors").unlink()
    assert layout != "shards" or len(list(tmp_path.glob("*.safetensors"))) > 1
    engine = load(tmp_path)
    mel, tokens = torch.randn(1, 80, 3000), torch.tensor([[50258, 50259, 50359, 7]])
    with torch.no_grad():
        expected = model(input_features=mel, decoder_input_ids=tokens).logits
        torch.testing.assert_close(engine.library.model(mel, tokens), expected, rtol=1e-4, atol=1e-4)
    assert engine.library.model.alignment_heads.indices().T.tolist() == [[1, 0]]


def test_damaged_and_foreign_files_are_refused(tmp_path: Path, bare: tuple[Any, Path]) -> None:
    import torch

    cut = tmp_path / "cut.pt"
    cut.write_bytes(bare[1].read_bytes()[:100_000])
    with pytest.raises(CheckpointCorrupt, match="fetch it again"):
        load(cut)
    foreign = tmp_path / "foreign.pt"
    torch.save({"weight": torch.zeros(1)}, foreign)
    with pytest.raises(UnsupportedCheckpoint, match="not an OpenAI Whisper file"):
        load(foreign)
    save_folder(tmp_path / "folder", "1MB")
    next((tmp_path / "folder").glob("*-00001-*.safetensors")).unlink()
    with pytest.raises(CheckpointCorrupt, match="00001-of-.*is missing"):
        load(tmp_path / "folder")


def test_a_pickle_with_code_in_it_does_not_run(tmp_path: Path) -> None:
    import torch

    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[Path]]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"dims": Trap(), "model_state_dict": {}}, tmp_path / "trap.pt")
    with pytest.raises(CheckpointCorrupt):
        load(tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("device, precision", [("cpu", "fp16"), ("cpu", "bf16"), ("mps", "fp16")])
def test_precisions_that_openai_whisper_lacks(bare: tuple[Any, Path], device: str, precision: str) -> None:
    with pytest.raises(UnsupportedPlacement, match=f"cannot run in {precision} on {device}"):
        load(bare[1], Placement(device, precision))


@pytest.mark.parametrize(
    "device, precision", [("cpu", "fp16"), ("cpu", "int4"), ("mps", "fp32"), ("cuda:7", "fp16")]
)
def test_precisions_that_ctranslate2_lacks(tmp_path: Path, device: str, precision: str) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "model.bin").touch()
    with pytest.raises(UnsupportedPlacement, match=f"cannot run in {precision} on {device}"):
        WhisperEngine(tmp_path, CONVERTED, Placement(device, precision))


def test_a_folder_without_tokenizer_downloads_none(tmp_path: Path) -> None:
    (tmp_path / "model.bin").touch()
    with pytest.raises(CheckpointCorrupt, match="tokenizer.json is missing"):
        WhisperEngine(tmp_path, CONVERTED, CPU)


# --- options -----------------------------------------------------------------------------------


def test_temperatures_rise_by_a_fifth_to_one() -> None:
    assert temperatures(SpeechOptions()) == (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    assert temperatures(SpeechOptions(temperature=0.3)) == (0.3, 0.5, 0.7, 0.9)
    assert temperatures(SpeechOptions(temperature=0.4)) == (0.4, 0.6, 0.8, 1.0)  # not a step less by rounding
    assert temperatures(SpeechOptions(temperature=0.8)) == (0.8, 1.0)
    assert temperatures(SpeechOptions(temperature=1.0)) == (1.0,)


def test_the_languages_are_whispers_own() -> None:
    from whisper.tokenizer import LANGUAGES

    known = {code: name.en.lower() for code, name in languages.LANGUAGES.items()}
    assert list(known.items()) == list(LANGUAGES.items())
    assert len({name.zh for name in languages.LANGUAGES.values()}) == 100
    assert [languages.find(name) for name in ("zh", "Chinese", "中文", "ZH ")] == ["zh"] * 4
    assert languages.find("Klingon") is None


@pytest.mark.parametrize("language", ["xx", "Klingon", "yue"])  # Cantonese came with a larger vocabulary
def test_a_language_that_the_model_lacks(engine: WhisperEngine, language: str) -> None:
    with pytest.raises(BadInput, match=f"does not know the language '{language}'"):
        next(engine.transcribe(sine(1.0), SpeechOptions(language=language)))


def test_an_english_model_says_what_it_cannot_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_pt(tmp_path / "english.pt", vocab=51864)
    engine = load(tmp_path / "english.pt")
    with pytest.raises(BadInput, match="cannot translate"):
        next(engine.transcribe(sine(1.0), SpeechOptions(task="translate")))
    with pytest.raises(BadInput, match="does not know the language 'zh'"):
        next(engine.transcribe(sine(1.0), SpeechOptions(language="zh")))
    monkeypatch.setattr(engine.library.model, "decode", Script())
    transcript = engine.transcribe(sine(1.0), SpeechOptions(language="English", vad=False))
    assert list(transcript)
    assert transcript.language == "en"


# --- the windows of openai-whisper -------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"beam_size": 5},
        {"beam_size": 1, "condition_on_previous_text": False, "initial_prompt": "Names: Ada"},
        {"beam_size": 5, "temperature": 0.3, "word_timestamps": True, "language": "de"},
    ],
    ids=lambda options: "-".join(options),
)
def test_segments_and_questions_equal_the_librarys(
    engine: WhisperEngine,
    script: Script,
    noise: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
) -> None:
    chosen = SpeechOptions(vad=False, **options)
    transcript = engine.transcribe(noise, chosen)
    ours = [plain(segment) for segment in transcript]
    again = Script()
    monkeypatch.setattr(engine.library.model, "decode", again)
    beams = chosen.beam_size if chosen.beam_size > 1 else None
    choices = {**options, "temperature": temperatures(chosen), "beam_size": beams}
    assert ours == library_segments(engine.library.model, noise, **choices)
    assert script.asked == again.asked
    assert len(ours) > 6
    assert transcript.duration == 150.0
    assert transcript.language == options.get("language", transcript.language) in languages.LANGUAGES


def test_cancel_ends_after_the_segment_at_hand(
    engine: WhisperEngine, script: Script, noise: np.ndarray
) -> None:
    cancel = threading.Event()
    transcript = engine.transcribe(noise, GREEDY, cancel)
    assert next(transcript).text
    cancel.set()
    assert list(transcript) == []
    assert not engine.active


def test_leaving_frees_the_engine(engine: WhisperEngine, script: Script, noise: np.ndarray) -> None:
    transcript = engine.transcribe(noise, GREEDY)
    next(transcript)
    assert engine.active == 1
    transcript.close()
    assert not engine.active
    next(engine.transcribe(noise, GREEDY))  # dropped without a word
    assert not engine.active


def test_a_failure_reaches_the_caller(
    engine: WhisperEngine, noise: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("the decoder broke\nand more")

    monkeypatch.setattr(engine.library.model, "decode", fail)
    with pytest.raises(
        EngineFailed, match=r"stopped while transcribing \(RuntimeError: the decoder broke\)"
    ) as error:
        next(engine.transcribe(noise, GREEDY))
    assert isinstance(error.value.__cause__, RuntimeError)
    assert not engine.active


def test_silence_says_nothing(engine: WhisperEngine) -> None:
    transcript = engine.transcribe(np.zeros(20 * 16_000, np.float32))
    assert list(transcript) == []
    assert transcript.duration == 20.0


def test_nothing_is_said_after_the_end(engine: WhisperEngine, script: Script, noise: np.ndarray) -> None:
    """The script hears lines up to 12.4 s, as a network may in a window of which two are sound."""
    segments = list(engine.transcribe(noise[: 2 * 16_000], GREEDY))
    assert len(segments) == 2 and all(0.0 <= line.start < line.end <= 2.0 for line in segments)


# --- the real starters -------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["whisper-base", "whisper-tiny.en", "whisper-tiny.en-pt"])
def starter(request: pytest.FixtureRequest) -> WhisperEngine:
    engine = models.load(request.param, precision="fp32" if request.param.endswith("-pt") else "auto")
    assert isinstance(engine, WhisperEngine)
    return engine


@pytest.mark.weights
def test_transcribes_what_is_said(starter: WhisperEngine, jfk: Path) -> None:
    transcript = starter.transcribe(jfk)
    segments = list(transcript)
    assert "ask not what your country can do for you" in text(segments)
    assert transcript.language == "en" and (transcript.language_probability or 0) > 0.5
    assert 5 < transcript.duration < 20
    starts = [segment.start for segment in segments]
    assert starts == sorted(starts) and segments[-1].end <= transcript.duration + 0.1
    assert starter.report.weights > 30e6


@pytest.mark.weights
def test_words_lie_within_their_segments_and_in_order(starter: WhisperEngine, jfk: Path) -> None:
    segments = list(starter.transcribe(jfk, SpeechOptions(beam_size=1, word_timestamps=True)))
    assert segments
    for segment in segments:
        assert "".join(word.text for word in segment.words) == segment.text
        assert segment.start <= segment.words[0].start and segment.words[-1].end <= segment.end
        assert all(word.start <= word.end and 0 < word.probability <= 1 for word in segment.words)
    starts = [word.start for segment in segments for word in segment.words]
    assert starts == sorted(starts)


@pytest.mark.weights
def test_silence_before_speech_moves_the_times(starter: WhisperEngine, jfk: Path) -> None:
    speech = decoding.load(jfk)
    late = np.concatenate([np.zeros(30 * 16_000, np.float32), speech])
    at_once = next(starter.transcribe(speech, SpeechOptions(beam_size=1, word_timestamps=True)))
    after_silence = next(starter.transcribe(late, SpeechOptions(beam_size=1, word_timestamps=True)))
    assert after_silence.words[3].text == at_once.words[3].text
    assert after_silence.words[3].start == pytest.approx(30 + at_once.words[3].start, abs=0.5)


@pytest.mark.weights
def test_both_libraries_agree_on_the_same_weights(jfk: Path) -> None:
    texts = [
        text(list(models.load(name, precision="fp32").transcribe(jfk, GREEDY)))
        for name in ("whisper-tiny.en", "whisper-tiny.en-pt")
    ]
    assert texts[0] == texts[1]


@pytest.mark.weights
def test_equal_to_bare_faster_whisper(jfk: Path) -> None:
    from faster_whisper import WhisperModel

    engine = models.load("whisper-base", precision="int8")
    bare = WhisperModel(str(models.shared().fetch("whisper-base")), device="cpu", compute_type="int8")
    for vad in (False, True):
        expected, info = bare.transcribe(str(jfk), beam_size=1, vad_filter=vad, word_timestamps=vad)
        transcript = engine.transcribe(jfk, SpeechOptions(beam_size=1, vad=vad, word_timestamps=vad))
        ours = [(segment.start, segment.end, segment.text) for segment in transcript]
        assert ours == [(segment.start, segment.end, segment.text) for segment in expected]
        assert transcript.language_probability == pytest.approx(info.language_probability, abs=1e-4)


@pytest.mark.weights
def test_equal_to_bare_openai_whisper(jfk: Path) -> None:
    import whisper

    engine = models.load("whisper-tiny.en-pt", precision="fp32")
    bare = whisper.load_model(str(models.shared().fetch("whisper-tiny.en-pt")), device="cpu")
    ours = [plain(segment) for segment in engine.transcribe(jfk, GREEDY)]
    assert ours == library_segments(bare, decoding.load(jfk))


@pytest.mark.weights
def test_two_at_once_are_both_right(jfk: Path) -> None:
    engine = models.load("whisper-base")
    alone = text(list(engine.transcribe(jfk, GREEDY)))
    both = at_once(lambda _: text(list(engine.transcribe(jfk, GREEDY))), range(2), LONG_WAIT)
    assert both == [alone, alone]


@pytest.mark.weights
def test_stop_keeps_what_is_done(jfk: Path) -> None:
    engine = models.load("whisper-base")
    twice = np.concatenate([decoding.load(jfk)] * 6)
    cancel, kept = threading.Event(), []
    for segment in engine.transcribe(twice, GREEDY, cancel):
        kept.append(segment)
        cancel.set()
    assert len(kept) == 1 and "fellow Americans" in kept[0].text
    assert not engine.active


# --- files as they come --------------------------------------------------------------------------


def mislabelled(path: Path) -> Path:
    path.write_bytes(b"Dear reader, this is a letter. " * 200)
    return path


def empty(path: Path) -> Path:
    path.touch()
    return path


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda folder: empty(folder / "empty.wav"), "is empty"),
        (lambda folder: mislabelled(folder / "letter.mp3"), "No sound can be decoded from letter.mp3"),
        (lambda folder: write_silent_film(folder / "film.avi"), "has no sound in it"),
    ],
)
def test_a_file_without_sound_is_one_sentence(
    engine: WhisperEngine, tmp_path: Path, make: Any, said: str
) -> None:
    with pytest.raises(BadInput, match=said) as error:
        list(engine.transcribe(make(tmp_path)))
    assert error.value.zh.endswith("。")
    assert not engine.active


@pytest.mark.parametrize("vad", [True, False])
@pytest.mark.parametrize("seconds", [0.001, 0.02, 1.0])
def test_short_and_silent_recordings(
    engine: WhisperEngine, script: Script, tmp_path: Path, seconds: float, vad: bool
) -> None:
    path = write_sound(tmp_path / "short.wav", sine(seconds) * 0)
    transcript = engine.transcribe(path, SpeechOptions(vad=vad))
    segments = list(transcript)
    assert segments == [] or (not vad and seconds > 0.01)  # less than a frame
    assert transcript.duration == pytest.approx(seconds, abs=0.01)


@pytest.mark.weights
def test_subtitles_begin_when_the_sound_of_a_film_does(jfk: Path, tmp_path: Path) -> None:
    film = write_at(tmp_path / "film.mp4", [(4.0, np.repeat(decoding.load(jfk), 3))], "aac", 48_000, film=7.0)
    first, *_ = models.load("whisper-tiny.en").transcribe(film, SpeechOptions(beam_size=1))
    plain, *_ = models.load("whisper-tiny.en").transcribe(jfk, SpeechOptions(beam_size=1))
    assert first.start == pytest.approx(plain.start + 4, abs=0.3)


@pytest.mark.weights
@pytest.mark.parametrize(
    "name, rate, layout, video", [("studio.wav", 192_000, "7.1", False), ("film.mkv", 48_000, "stereo", True)]
)
def test_any_recording_is_heard(
    jfk: Path, tmp_path: Path, name: str, rate: int, layout: str, video: bool
) -> None:
    samples = np.repeat(decoding.load(jfk), rate // 16_000)
    path = write_sound(tmp_path / name, samples, rate, layout, video)
    cut = tmp_path / f"cut-{name}"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    wrong_name = path.rename(tmp_path / "song.mp3")
    engine = models.load("whisper-tiny.en")
    assert "do for your country" in text(list(engine.transcribe(wrong_name, SpeechOptions(beam_size=1))))
    assert "fellow Americans" in text(list(engine.transcribe(cut, SpeechOptions(beam_size=1))))
