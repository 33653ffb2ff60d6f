"""Every option of SpeechOptions reaches both libraries and changes what it is there for.

A random network is enough for that; its answers are long, wild and always the same.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from models.engines import speech
from models.engines.speech import WhisperEngine
from models.errors import BadInput
from models.schema import Checkpoint, Placement, Segment, SpeechOptions, clip_ranges
from models.sound import decoding
from models.speech import faster, reference
from models.speech.convert import converted
from models.speech.transcript import Transcript
from tests.fakes.sounds import write_at, write_tracks
from tests.fakes.tiny_whisper import save_pt


@dataclass
class Asked:
    """What a library was asked, in words that fit both: one entry for each attempt at a window."""

    prompts: list[list[int]] = field(default_factory=list)  # the previous text's tokens
    beams: list[int | None] = field(default_factory=list)
    temperatures: list[float] = field(default_factory=list)
    together: list[int] = field(default_factory=list)
    language: set[str] = field(default_factory=set)
    task: set[str] = field(default_factory=set)


class CTranslate2Spy:
    def __init__(self, real: Any, asked: Asked, name: Callable[[int], str]) -> None:
        self._real, self._asked, self._name = real, asked, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def generate(self, features: Any, prompts: list[list[int]], **options: Any) -> Any:
        asked, prompt = self._asked, prompts[0]
        start = prompt.index(50258)
        asked.prompts.append(prompt[1:start])
        asked.language.add(self._name(prompt[start + 1]).strip("<|>"))
        asked.task.add(self._name(prompt[start + 2]).strip("<|>"))
        asked.beams.append(options["beam_size"])
        asked.temperatures.append(options.get("sampling_temperature", 0.0))
        asked.together.append(len(prompts))
        # Few tokens: the answers need not be long.
        return self._real.generate(features, prompts, **{**options, "max_length": len(prompt) + 20})


def spy_on_whisper(model: Any, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    real = model.decode

    def decode(mel: Any, options: Any) -> Any:
        asked.prompts.append(list(options.prompt))
        asked.language.add(options.language)
        asked.task.add(options.task)
        asked.beams.append(options.beam_size or 1)
        asked.temperatures.append(options.temperature)
        asked.together.append(len(mel) if mel.ndim == 3 else 1)
        return real(mel, replace(options, sample_len=20))

    monkeypatch.setattr(model, "decode", decode)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, WhisperEngine]:
    folder = tmp_path_factory.mktemp("random")
    path = folder / "random.pt"
    save_pt(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUINTET_CACHE", str(folder))
        copy = converted(path)
    cpu = Placement("cpu", "fp32")
    return {
        "openai-whisper": WhisperEngine(path, Checkpoint("pt", "whisper", "speech", "whisper-pt"), cpu),
        "faster-whisper": WhisperEngine(copy, Checkpoint("ct2", "whisper", "speech", "ctranslate2"), cpu),
    }


@pytest.fixture(params=["openai-whisper", "faster-whisper"])
def engine(request: pytest.FixtureRequest, engines: dict[str, WhisperEngine]) -> WhisperEngine:
    return engines[request.param]


@pytest.fixture
def asked(engine: WhisperEngine, monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked, model = Asked(), engine.library.model  # type: ignore[attr-defined]
    if hasattr(model, "hf_tokenizer"):
        spy = CTranslate2Spy(model.model, asked, model.hf_tokenizer.id_to_token)
        monkeypatch.setattr(model, "model", spy)
    else:
        spy_on_whisper(model, asked, monkeypatch)
    return asked


@pytest.fixture(scope="module")
def talk(jfk: Path) -> np.ndarray:
    """48 seconds: four times a second of silence and what is said in the next eleven."""
    part, said = np.zeros(12 * 16_000, np.float32), decoding.load(jfk)[: 11 * 16_000]
    part[16_000 : 16_000 + len(said)] = said
    return np.tile(part, 4)


ANY: dict[str, Any] = {
    "language": "en",
    "beam_size": 1,
    "vad": False,
    "fallback": False,
    "logprob_threshold": -10.0,
}


def run(engine: WhisperEngine, sound: Any, **options: Any) -> list[Segment]:
    return list(engine.transcribe(sound, SpeechOptions(**{**ANY, **options})))


def test_language_and_task(engine: WhisperEngine, asked: Asked, talk: np.ndarray) -> None:
    run(engine, talk, language="German", task="translate")
    assert (asked.language, asked.task) == ({"de"}, {"translate"})


def test_the_language_of_each_passage_is_detected_where_that_is_wanted(
    engine: WhisperEngine, asked: Asked, talk: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in (reference, faster):  # of all, of the first passage, and of those after it
        said = chain([("de", 0.9)] * 2, repeat(("fr", 0.9)))
        monkeypatch.setattr(library._Decoder, "detect", lambda *_, said=said: next(said))
    run(engine, talk, language=None, detect_each=True)
    assert asked.language == {"de", "fr"}


def test_a_language_is_detected_with_its_probability(
    engine: WhisperEngine, asked: Asked, talk: np.ndarray
) -> None:
    transcript = engine.transcribe(talk, SpeechOptions(**{**ANY, "language": None}))
    next(transcript)
    assert asked.language == {transcript.language}
    assert 0 < (transcript.language_probability or 0) <= 1


def test_beams_and_temperature(engine: WhisperEngine, asked: Asked, talk: np.ndarray) -> None:
    run(engine, talk, beam_size=3)
    assert set(asked.beams) == {3} and set(asked.temperatures) == {0.0}
    asked.temperatures.clear()
    run(engine, talk, temperature=0.4)
    assert set(asked.temperatures) == {0.4}


@pytest.mark.parametrize(
    "check",
    [{"logprob_threshold": 0.0, "no_speech_threshold": 1.0}, {"compression_ratio_threshold": 1.0}],
    ids=str,
)
def test_a_passage_that_fails_is_tried_again(
    engine: WhisperEngine, asked: Asked, talk: np.ndarray, check: dict[str, float]
) -> None:
    short = talk[: 8 * 16_000]
    run(engine, short, **check)
    assert asked.temperatures == [0.0]
    asked.temperatures.clear()
    run(engine, short, **check, fallback=True)
    assert asked.temperatures == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]


def test_what_is_likelier_silence_is_left_out(engine: WhisperEngine, asked: Asked, talk: np.ndarray) -> None:
    guesses = {"logprob_threshold": 0.0, "fallback": True}
    assert run(engine, talk, **guesses, no_speech_threshold=0.0) == []
    assert set(asked.temperatures) == {0.0}  # silence is not tried again


def test_prompts(engine: WhisperEngine, asked: Asked, talk: np.ndarray) -> None:
    from whisper.tokenizer import get_tokenizer

    encode = get_tokenizer(True).encode
    names, words = encode(" Ada Lovelace"), encode(" engine")
    run(engine, talk, initial_prompt="Ada Lovelace", hotwords="engine")
    assert asked.prompts[0] == [*words, *names]
    assert asked.prompts[1][: len(words) + len(names)] == [*words, *names]
    assert len(asked.prompts[1]) > len(words) + len(names)  # the text of the first window
    asked.prompts.clear()
    run(engine, talk, initial_prompt="Ada Lovelace", hotwords="engine", condition_on_previous_text=False)
    assert asked.prompts[0] == [*words, *names] and set(map(tuple, asked.prompts[1:])) == {tuple(words)}


MANY = " ".join(f"Name{number}" for number in range(300))  # more than 223 tokens


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    ("typed", "listened"),
    [(("the", MANY), 222), ((MANY, "engine"), 1), ((MANY, MANY), 111)],
    ids=["1", "2", "3"],
)
def test_names_and_words_share_one_budget(
    engine: WhisperEngine,
    asked: Asked,
    talk: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    together: bool,
    typed: tuple[str, str],
    listened: int,
) -> None:
    from whisper.tokenizer import get_tokenizer

    encode = get_tokenizer(True).encode
    if together:
        monkeypatch.setattr(speech, "LONG", 10)
    names, words = typed
    run(engine, talk, initial_prompt=names, hotwords=words, vad=together, batch_size=2)
    # Chunks are given the names as they are, windows with a space before, as in faster-whisper.
    before = encode(names if together else f" {names}")[-(223 - listened) :]
    assert asked.prompts[0] == [*encode(f" {words}")[:listened], *before]
    assert max(map(len, asked.prompts)) <= 223
    assert engine.notes(SpeechOptions(initial_prompt=names, hotwords=words))[0].zh.endswith("。")


def test_what_fits_is_not_mentioned(engine: WhisperEngine) -> None:
    assert engine.notes(SpeechOptions(initial_prompt="Ada Lovelace", hotwords="engine")) == ()


@pytest.mark.parametrize(
    "typed", ["<|endoftext|> <|en|><|transcribe|> <|0.00|>", "\u200b\ufeff 😀 \u202e", "\n\t"]
)
def test_what_is_typed_as_a_prompt_is_text(
    engine: WhisperEngine, asked: Asked, talk: np.ndarray, typed: str
) -> None:
    run(engine, talk[: 20 * 16_000], initial_prompt=typed, hotwords=typed)
    assert all(token < 50257 for prompt in asked.prompts[:1] for token in prompt)
    assert bool(asked.prompts[0]) == bool(typed.strip())


def test_a_sound_track_is_heard_at_its_times(
    engine: WhisperEngine, asked: Asked, talk: np.ndarray, tmp_path: Path
) -> None:
    path = write_tracks(tmp_path / "film.mkv", [(talk[:16_000], {}, 1), (talk[: 12 * 16_000], {}, 0)])
    for track, seconds in ((None, 1.0), (1, 1.0), (2, 12.0)):
        transcript = engine.transcribe(path, SpeechOptions(**{**ANY, "track": track}))
        assert list(transcript) and transcript.duration == pytest.approx(seconds, abs=0.01)
    late = write_at(tmp_path / "late.mkv", [(40.0, talk[: 12 * 16_000])], film=1.0)
    transcript = engine.transcribe(late, SpeechOptions(**{**ANY, "vad": True}))
    segments = list(transcript)
    assert segments and segments[0].start >= 40 and transcript.duration == pytest.approx(52, abs=0.01)


def test_word_times(engine: WhisperEngine, talk: np.ndarray, asked: Asked) -> None:
    assert not any(segment.words for segment in run(engine, talk[: 10 * 16_000]))
    assert any(segment.words for segment in run(engine, talk[: 10 * 16_000], word_timestamps=True))


def test_silence_is_not_heard(engine: WhisperEngine, asked: Asked, talk: np.ndarray) -> None:
    gap = np.concatenate([talk, np.zeros(60 * 16_000, np.float32)])
    run(engine, gap)
    everything = len(asked.prompts)
    asked.prompts.clear()
    run(engine, gap, vad=True)
    assert 0 < len(asked.prompts) < everything


@pytest.mark.parametrize("vad", [False, True])
def test_clips(engine: WhisperEngine, asked: Asked, talk: np.ndarray, vad: bool) -> None:
    segments = run(engine, talk, clips="13-24.5, 0:37-", vad=vad)
    assert len(asked.prompts) == (1 if vad else 2)
    assert segments
    for segment in segments:
        assert segment.end <= 24.6 or segment.start >= 36.9
        assert segment.start >= 12.9


def test_chunks_are_decoded_together(
    engine: WhisperEngine, asked: Asked, talk: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = np.concatenate([talk, talk])
    run(engine, whole, vad=True)
    assert set(asked.together) == {1}  # a short recording
    asked.together.clear()
    monkeypatch.setattr(speech, "LONG", 60)
    run(engine, whole, vad=True, batch_size=2)
    assert asked.together[0] == 2 and max(asked.together) == 2
    asked.together.clear()
    run(engine, whole, vad=True, batch_size=1)
    assert set(asked.together) == {1}


def test_figures_are_always_filled(engine: WhisperEngine, asked: Asked, talk: np.ndarray) -> None:
    segments = run(engine, talk, logprob_threshold=-0.5)
    assert segments
    for segment in segments:
        assert segment.avg_logprob is not None and segment.compression_ratio is not None
        assert 0 <= (segment.no_speech_prob or 0) <= 1
        assert segment.tokens
        assert ("unsure" in segment.doubts) == (segment.avg_logprob < -0.5)


def test_every_option_says_what_it_is_in_both_languages() -> None:
    for spec in fields(SpeechOptions):
        for text in (spec.metadata["label"], spec.metadata["help"]):
            assert text.en and text.zh


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("", ()),
        ("0-30", ((0, 30),)),
        (" 1:10 - 2:00.5 ,1:00:00-", ((70, 120.5), (3600, float("inf")))),
    ],
)
def test_ranges(text: str, ranges: tuple[tuple[float, float], ...]) -> None:
    assert clip_ranges(text) == ranges


@pytest.mark.parametrize(
    "text", ["30", "30-20", "10-20,15-30", "a-b", "-5-10", "nan-5", "5-nan", "10-,20-30"]
)
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(BadInput, match="no ranges") as error:
        SpeechOptions(clips=text)
    assert error.value.zh.endswith("。")


@pytest.mark.parametrize(
    ("options", "together"),
    [
        (SpeechOptions(), True),
        (SpeechOptions(vad=False), False),
        (SpeechOptions(batch_size=1), False),
    ],
)
def test_long_recordings_are_cut_at_pauses_where_these_are_looked_for(
    options: SpeechOptions, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    class Silent:
        def __init__(self, *_: Any) -> None:
            begun.append(type(self).__name__)

        def detect(self) -> tuple[None, None]:
            return None, None

    monkeypatch.setattr("models.speech.chunks.Batches", type("Batches", (Silent,), {}))
    monkeypatch.setattr("models.speech.windows.Windows", type("Windows", (Silent,), {}))
    result = Transcript()
    result.duration = speech.LONG + 1
    engine = object.__new__(WhisperEngine)
    nothing = threading.Event()
    assert not list(engine._segments(np.zeros(16_000), options, nothing, result, (), Any))  # type: ignore[arg-type]
    assert begun == ["Batches" if together else "Windows"]


def test_beams_look_for_the_likeliest_and_another_attempt_draws() -> None:
    network = SimpleNamespace(decoder=SimpleNamespace(token_embedding=torch.nn.Embedding(2, 2)))
    decoder = reference._Decoder(network, SpeechOptions(beam_size=4))
    decoder._language = "en"
    made = [decoder._options(temperature, [1]) for temperature in (0.0, 0.2)]
    assert [(each.beam_size, each.best_of) for each in made] == [(4, None), (None, 5)]
