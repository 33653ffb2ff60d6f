"""What is asked of the two Whisper libraries, without running a network: options, attempts, sizes, devices, files."""

import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from models.errors import UnsupportedPlacement
from models.schema import Placement, SpeechOptions
from models.speech import faster, reference
from models.speech.library import BEST_OF, Decoded
from tests.fakes.tiny_whisper import save_pt

GOOD, BAD = -0.1, -5.0  # average log probabilities


# --- openai-whisper --------------------------------------------------------------------------------


class Model:
    """Gives answers of these log probabilities in turn, and keeps what it was asked."""

    def __init__(self, *logprobs: float) -> None:
        import torch

        self._logprobs = iter(logprobs)
        self.asked: list[tuple[Any, Any]] = []
        self.is_multilingual, self.num_languages = True, 99
        self.decoder = SimpleNamespace(token_embedding=SimpleNamespace(weight=torch.zeros(1)))

    def decode(self, window: Any, options: Any) -> Any:
        self.asked.append((window, options))
        return SimpleNamespace(
            tokens=(1, 2), avg_logprob=next(self._logprobs), no_speech_prob=0.0, compression_ratio=1.0,
            temperature=options.temperature, audio_features="encoded",
        )  # fmt: skip


def begun(model: Any, **options: Any) -> reference._Decoder:
    decoder = reference._Decoder(model, SpeechOptions(**options))
    decoder.begin("en")
    return decoder


@pytest.mark.parametrize(
    ("logprobs", "options", "temperatures"),
    [
        ([GOOD], {}, [0.0]),
        ([BAD, BAD, GOOD], {}, [0.0, 0.2, 0.4]),
        ([BAD], {"fallback": False}, [0.0]),
        ([BAD, BAD, BAD], {"temperature": 0.6}, [0.6, 0.8, 1.0]),
    ],
)
def test_another_attempt_is_warmer_and_encodes_nothing_anew(
    logprobs: list[float], options: Any, temperatures: list[float]
) -> None:
    decoder = begun(model := Model(*logprobs), beam_size=3, **options)
    decoded = decoder.decode("sound", [7])
    assert [asked.temperature for _, asked in model.asked] == temperatures
    assert [window for window, _ in model.asked] == ["sound", *["encoded"] * (len(temperatures) - 1)]
    for _, asked in model.asked:
        warm = asked.temperature > 0
        assert (asked.beam_size, asked.best_of) == ((None, BEST_OF) if warm else (3, None))
        assert (asked.task, asked.language, asked.fp16, asked.prompt) == ("transcribe", "en", False, [7])
    assert (decoded.avg_logprob, decoded.temperature) == (logprobs[-1], temperatures[-1])


@pytest.mark.parametrize(("beams", "asked"), [(1, None), (2, 2)])
def test_one_beam_is_none(beams: int, asked: int | None) -> None:
    begun(model := Model(GOOD), beam_size=beams).decode("sound", [])
    assert model.asked[0][1].beam_size == asked


def test_special_tokens_are_letters_where_somebody_types_them_and_nothing_where_they_are_heard() -> None:
    decoder = begun(Model())
    assert decoder.text(decoder.tokens(" Hi <|endoftext|>")) == " Hi <|endoftext|>"
    end = decoder._tokenizer.eot
    assert end not in decoder.tokens("<|endoftext|>")
    assert decoder.text([*decoder.tokens(" Hi"), end, decoder.first_time]) == " Hi"
    assert decoder.hotwords == [] and begun(Model(), hotwords=" Ada ").hotwords == decoder.tokens(" Ada")
    assert decoder.seconds(150) == 1.5


def test_word_times_of_several_windows_are_made_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """They switch off a part of the library for everybody meanwhile."""
    import whisper.timing

    asked: list[Any] = []

    def add(**given: Any) -> None:
        assert reference._ALIGNING.locked()
        asked.append(
            (given["segments"], given["mel"].tolist(), given["num_frames"], given["last_speech_timestamp"])
        )

    monkeypatch.setattr(whisper.timing, "add_word_timestamps", add)
    decoder = begun(Model())
    decoder.time_words([["a"], ["b"]], np.array([[[1]], [[2]]]), [30, 40], 5.0)  # type: ignore[list-item]
    decoder.time_words([["c"]], np.array([[3]]), [50], 6.0)  # type: ignore[list-item]
    assert asked == [(["a"], [[1]], 30, 5.0), (["b"], [[2]], 40, 5.0), (["c"], [[3]], 50, 6.0)]
    assert not reference._ALIGNING.locked()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> reference.OpenAIWhisper:
    path = tmp_path_factory.mktemp("pt") / "random.pt"
    save_pt(path)
    return reference.OpenAIWhisper(path, Placement("cpu", "fp32"))


@pytest.mark.parametrize("fails", [True, False])
def test_nothing_of_a_recording_stays_in_the_network(network: reference.OpenAIWhisper, fails: bool) -> None:
    def hooks() -> int:
        return sum(len(module._forward_pre_hooks) for module in network.model.modules())

    try:
        with network.decoder(SpeechOptions(), threading.Event()):
            assert hooks() == 4  # one in each block
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert hooks() == 0


def test_tokens_are_counted_as_text(network: reference.OpenAIWhisper) -> None:
    assert network.count("") == 0 and network.count("<|endoftext|>") > 1
    assert len(network.languages) == 99 and network.languages[0] == "en"


def test_a_model_for_english_knows_one_language(tmp_path: Path) -> None:
    save_pt(tmp_path / "english.pt", vocab=51864)
    assert reference.OpenAIWhisper(tmp_path / "english.pt", Placement("cpu", "fp32")).languages == ("en",)


# --- faster-whisper --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "precision", "name"),
    [
        ("cpu", "fp32", "float32"), ("cpu", "int8", "int8"), ("cpu", "file", "default"), ("cpu", "bf16", "bfloat16"),
        ("cuda:1", "int8", "int8_float16"), ("cuda:1", "fp16", "float16"), ("cuda", "bf16", "bfloat16"),
        ("cuda:1", "file", "default"),
    ],
)  # fmt: skip
def test_what_ctranslate2_calls_a_precision(
    device: str, precision: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ctranslate2

    asked: list[Any] = []
    every = {"float32", "int8", "int8_float16", "float16", "bfloat16"}
    monkeypatch.setattr(
        ctranslate2, "get_supported_compute_types", lambda *given: asked.append(given) or every
    )
    assert faster.compute_type(Placement(device, precision)) == name  # type: ignore[arg-type]
    assert asked == [(device.partition(":")[0], 1 if ":" in device else 0)]


@pytest.mark.parametrize("error", [RuntimeError("no driver"), ValueError("no such device")])
@pytest.mark.parametrize("precision", ["fp32", "int4", "file"])
def test_a_device_that_ctranslate2_lacks(
    error: Exception, precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ctranslate2

    monkeypatch.setattr(ctranslate2, "get_supported_compute_types", lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(UnsupportedPlacement, match=f"cannot run in {precision} on mps") as caught:
        faster.compute_type(Placement("mps", precision))
    assert "mps" in caught.value.zh


@pytest.mark.parametrize(("multilingual", "languages"), [(True, 99), (False, 1)])
def test_how_ctranslate2_is_loaded(
    multilingual: bool, languages: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import faster_whisper

    network = SimpleNamespace(
        n_mels=128, num_languages=99, is_multilingual=multilingual, compute_type="int8_float32", device="cpu"
    )
    loaded = SimpleNamespace(model=network, hf_tokenizer=SimpleNamespace(encode_special_tokens=False))
    asked: list[Any] = []
    held = iter([100, 90])  # what was freed before was taken again
    monkeypatch.setattr(
        faster_whisper, "WhisperModel", lambda *given, **named: asked.append((given, named)) or loaded
    )
    monkeypatch.setattr(faster, "_memory_in_use", lambda device: next(held))
    monkeypatch.setattr(faster, "_physical_cores", lambda: 3)
    (tmp_path / "tokenizer.json").touch()
    library = faster.FasterWhisper(tmp_path, Placement("cpu", "int8"))
    named = {"device": "cpu", "device_index": 0, "compute_type": "int8", "cpu_threads": 3}
    assert asked == [((str(tmp_path),), named)] and loaded.hf_tokenizer.encode_special_tokens
    assert library.model.feature_extractor.mel_filters.shape[0] == 128
    assert (len(library.languages), library.dtype, library.weights) == (languages, "int8_float32", 0)


@pytest.mark.parametrize("text", [" ha ha ha ha", "  spaces around   "])
def test_texts_of_several_windows_are_judged_as_one_alone_would_be(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import faster_whisper
    from faster_whisper.transcribe import get_compression_ratio

    class Pipeline:
        def __init__(self, model: Any) -> None:
            self.model = model

        def generate_segment_batched(self, features: Any, tokenizer: Any, options: Any) -> Any:
            return features, [{"tokens": [1], "avg_logprob": -0.5, "no_speech_prob": 0.25}] * len(features)

    monkeypatch.setattr(faster_whisper, "BatchedInferencePipeline", Pipeline)
    model = SimpleNamespace(get_prompt=lambda tokenizer, before: before)
    decoder = faster._Decoder(model, SpeechOptions(), threading.Event())
    decoder._tokenizer = SimpleNamespace(encode=lambda text: [], decode=lambda tokens: text)
    decoder._options, decoder.hotwords = SimpleNamespace(temperatures=[0.4, 0.6]), []
    encoded, found = decoder.decode_together([np.zeros((2, 5), np.float32), np.ones((2, 9), np.float32)])
    assert encoded.shape == (2, 2, 3000)
    assert found == [Decoded([1], -0.5, 0.25, get_compression_ratio(text.strip()), 0.4)] * 2


def test_ctranslate2_is_asked_for_a_window_as_whisper_is() -> None:
    tokenizer = SimpleNamespace(
        non_speech_tokens=(5,), transcribe=1, translate=2, sot=3, sot_prev=4, sot_lm=6, no_speech=7
    )
    asked = SpeechOptions(
        beam_size=4, logprob_threshold=-2.0, no_speech_threshold=0.3, compression_ratio_threshold=1.5,
        condition_on_previous_text=False, initial_prompt="Ada", hotwords="Byron", clips="1-2", word_timestamps=True,
        temperature=0.4,
    )  # fmt: skip
    options = faster._options(asked, tokenizer)
    assert (options.beam_size, options.best_of, options.patience, options.length_penalty) == (
        4,
        BEST_OF,
        1,
        1,
    )
    assert (options.log_prob_threshold, options.no_speech_threshold) == (-2.0, 0.3)
    assert options.compression_ratio_threshold == 1.5 and not options.condition_on_previous_text
    assert options.temperatures == [0.4, 0.6, 0.8, 1.0] and options.word_timestamps
    # What spans windows is not the library's to do.
    assert (options.initial_prompt, options.hotwords, options.prefix) == (None, None, None)
    assert (options.clip_timestamps, options.without_timestamps, options.multilingual) == ("0", False, False)
    assert (options.max_initial_timestamp, options.suppress_blank, options.max_new_tokens) == (
        1.0,
        True,
        None,
    )
    assert options.suppress_tokens == tuple(sorted({5, 1, 2, 3, 4, 6, 7}))


@pytest.mark.parametrize(("stop", "tried"), [(None, [0.0, 0.5, 1.0]), (0.0, [0.0]), (0.5, [0.0, 0.5])])
def test_no_attempt_follows_a_stop(stop: float | None, tried: list[float]) -> None:
    cancel = threading.Event()
    decoder = faster._Decoder(None, SpeechOptions(), cancel)
    decoder._options = SimpleNamespace(temperatures=[0.0, 0.5, 1.0])

    def attempts() -> Iterator[float]:
        for temperature in decoder._temperatures():
            if temperature == stop:
                cancel.set()
            yield temperature

    assert list(attempts()) == tried


class Encoder:
    """Encodes features to themselves, and says how many windows it got at a time."""

    def __init__(self, device: str) -> None:
        self.model = SimpleNamespace(device=device)
        self.asked: list[int] = []

    def encode(self, features: Any) -> Any:
        self.asked.append(features.ndim)
        return features[None] if features.ndim == 2 else features


@pytest.mark.parametrize(("device", "asked"), [("cpu", [2, 2, 2]), ("cuda", [3])])
def test_windows_are_encoded_together_where_there_is_memory_for_it(device: str, asked: list[int]) -> None:
    features = np.arange(24, dtype=np.float32).reshape(3, 2, 4)
    batching = faster._Batching(encoder := Encoder(device), [1, 2])
    assert np.array_equal(np.asarray(batching.encode(features)), features) and encoder.asked == asked
    assert batching.get_prompt("anything", prefix=3) == [1, 2] and batching.model is encoder.model


def test_threads_are_the_processors_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    monkeypatch.setattr(psutil, "cpu_count", lambda logical: None if not logical else 8)
    assert faster._physical_cores() == 1
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: 8 if logical else 4)
    assert faster._physical_cores() == 4


# --- figures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("logprob", "silence", "ratio", "is_silence", "is_bad"),
    [
        (-0.5, 0.9, 1.0, False, False),
        (-1.0, 0.9, 1.0, True, False),  # at the threshold it is guessed only where silence is likely
        (-1.1, 0.6, 1.0, False, True),
        (-1.1, 0.61, 1.0, True, False),
        (-0.5, 0.0, 2.4, False, False),
        (-0.5, 0.0, 2.41, False, True),
    ],
)
def test_silence_and_failure(
    logprob: float, silence: float, ratio: float, is_silence: bool, is_bad: bool
) -> None:
    options = replace(
        SpeechOptions(), logprob_threshold=-1.0, no_speech_threshold=0.6, compression_ratio_threshold=2.4
    )
    decoded = Decoded([], logprob, silence, ratio, 0.0)
    assert (decoded.is_silence(options), decoded.is_bad(options)) == (is_silence, is_bad)


# --- closed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [reference.OpenAIWhisper, faster.FasterWhisper])
def test_a_library_that_closes_keeps_no_weights(kind: Any) -> None:
    class Weights:
        def __init__(self) -> None:
            self.device, self.model = SimpleNamespace(type="cpu"), SimpleNamespace(unload_model=list)

    library = object.__new__(kind)  # without the files
    library.model = Weights()
    weights = weakref.ref(library.model)
    library.close()
    assert weights() is None
