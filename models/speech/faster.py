"""faster-whisper: a folder in CTranslate2's format (model.bin, config.json, tokenizer.json, vocabulary)."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from models import languages
from models.errors import CheckpointCorrupt, UnsupportedPlacement
from models.schema import Placement, SpeechOptions
from models.speech.library import (
    BEST_OF,
    MAX_PROMPT_TEMPERATURE,
    Decoded,
    Decoder,
    Library,
    Piece,
    give_back_memory,
    temperatures,
)

# What faster-whisper's own `transcribe` has as defaults.
BEFORE_WORDS, AFTER_WORDS = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"


class FasterWhisper(Library):
    def __init__(self, path: Path, placement: Placement) -> None:
        """Load a folder.

        Raises:
            CheckpointCorrupt: it has no tokenizer.
            UnsupportedPlacement: CTranslate2 cannot run on this device or in this precision.
        """
        from faster_whisper import WhisperModel
        from faster_whisper.feature_extractor import FeatureExtractor

        if not (path / "tokenizer.json").is_file():  # the library would go and download one
            raise CheckpointCorrupt(
                f"tokenizer.json is missing in {path.name}: fetch the checkpoint again.",
                f"{path.name} 中缺少 tokenizer.json：请重新下载该检查点。",
            )
        name = compute_type(placement)
        device, index = _device(placement)
        give_back_memory()  # or the weights might fill what was freed before, and seem to take less
        before = _memory_in_use(device)
        self.model = WhisperModel(
            str(path),
            device=device,
            device_index=index,
            compute_type=name,
            cpu_threads=_physical_cores(),
        )
        # What somebody types as a prompt is text, whatever it looks like.
        self.model.hf_tokenizer.encode_special_tokens = True
        network = self.model.model
        # Without preprocessor_config.json the library takes 80 bands, and large-v3 has 128.
        self.model.feature_extractor = FeatureExtractor(feature_size=network.n_mels)
        known = network.num_languages if network.is_multilingual else 1
        self.languages = tuple(languages.LANGUAGES)[:known]
        self.dtype = network.compute_type
        self.weights = max(0, _memory_in_use(device) - before)

    @contextmanager
    def decoder(self, options: SpeechOptions, cancel: threading.Event) -> Iterator[Decoder]:
        yield _Decoder(self.model, options, cancel)

    def count(self, text: str) -> int:
        return len(self.model.hf_tokenizer.encode(text, add_special_tokens=False).ids)

    def close(self) -> None:
        self.model.model.unload_model()
        del self.model


class _Decoder(Decoder):
    def __init__(self, model: Any, options: SpeechOptions, cancel: threading.Event) -> None:
        self._model, self._asked, self._cancel = model, options, cancel

    def features(self, samples: Any) -> Any:
        return self._model.feature_extractor(samples)

    def detect(self, features: Any) -> tuple[str, float]:
        code, probability, _ = self._model.detect_language(features=features)
        return str(code), float(probability)

    def begin(self, language: str) -> None:
        from faster_whisper.tokenizer import Tokenizer

        self._tokenizer = Tokenizer(
            self._model.hf_tokenizer, self._model.model.is_multilingual, self._asked.task, language
        )
        self.first_time = self._tokenizer.timestamp_begin
        self._options = _options(self._asked, self._tokenizer)
        words = self._asked.hotwords.strip()
        self.hotwords = self.tokens(f" {words}") if words else []

    def encode(self, features: Any) -> Any:
        from faster_whisper.audio import pad_or_trim

        return self._model.encode(pad_or_trim(features))

    def decode(self, window: Any, previous: Sequence[int]) -> Decoded:
        prompt = self._model.get_prompt(self._tokenizer, self.prompt(previous))
        options = replace(self._options, temperatures=self._temperatures())
        result, logprob, temperature, ratio = self._model.generate_with_fallback(
            window, prompt, self._tokenizer, options
        )
        tokens = list(result.sequences_ids[0])
        return Decoded(tokens, logprob, result.no_speech_prob, ratio, temperature)

    def _temperatures(self) -> Iterator[float]:
        """One at least: the library cannot be stopped within an attempt, but before the next."""
        for temperature in self._options.temperatures:
            yield temperature
            if self._cancel.is_set():
                return

    def decode_together(self, windows: Sequence[Any]) -> tuple[Any, list[Decoded]]:
        import numpy as np
        from faster_whisper import BatchedInferencePipeline
        from faster_whisper.audio import pad_or_trim
        from faster_whisper.transcribe import get_compression_ratio

        features = np.stack([pad_or_trim(window) for window in windows])
        before = self.prompt(self.tokens(self._asked.initial_prompt))
        model = _Batching(self._model, self._model.get_prompt(self._tokenizer, before))
        encoded, results = BatchedInferencePipeline(model).generate_segment_batched(
            features, self._tokenizer, self._options
        )
        return encoded, [
            Decoded(
                list(result["tokens"]),
                result["avg_logprob"],
                result["no_speech_prob"],
                get_compression_ratio(self.text(result["tokens"]).strip()),
                self._options.temperatures[0],
            )
            for result in results
        ]

    def tokens(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text))

    def text(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens)))

    def seconds(self, frames: int) -> float:
        return frames * float(self._model.feature_extractor.time_per_frame)

    def time_words(
        self, pieces: list[list[Piece]], windows: Any, frames: list[int], last_speech: float
    ) -> None:
        self._model.add_word_timestamps(
            pieces, self._tokenizer, windows, frames, BEFORE_WORDS, AFTER_WORDS, last_speech
        )


class _Batching:
    """A model as the pipeline for several windows sees it, with the prompt of one window for all.

    On a processor it encodes one window after another: that takes no longer, and an eighth of the memory for
    eight, since the attention within one alone is an array of heads x 1500 x 1500 numbers.
    """

    def __init__(self, model: Any, prompt: list[int]) -> None:
        self._model, self._prompt = model, prompt

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def get_prompt(self, *_: Any, **__: Any) -> list[int]:
        return self._prompt

    def encode(self, features: Any) -> Any:
        if self._model.model.device != "cpu":
            return self._model.encode(features)
        import numpy as np
        from ctranslate2 import StorageView

        encoded = np.concatenate([np.asarray(self._model.encode(window)) for window in features])
        give_back_memory()
        return StorageView.from_array(encoded)


def _options(asked: SpeechOptions, tokenizer: Any) -> Any:
    """In faster-whisper's words. What spans windows, and prompts, are not its business and have no effect."""
    from faster_whisper.transcribe import TranscriptionOptions, get_suppressed_tokens

    return TranscriptionOptions(
        beam_size=asked.beam_size,
        best_of=BEST_OF,
        patience=1,
        length_penalty=1,
        repetition_penalty=1,
        no_repeat_ngram_size=0,
        log_prob_threshold=asked.logprob_threshold,
        no_speech_threshold=asked.no_speech_threshold,
        compression_ratio_threshold=asked.compression_ratio_threshold,
        condition_on_previous_text=asked.condition_on_previous_text,
        prompt_reset_on_temperature=MAX_PROMPT_TEMPERATURE,
        temperatures=list(temperatures(asked)),
        initial_prompt=None,
        prefix=None,
        suppress_blank=True,
        suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
        without_timestamps=False,
        max_initial_timestamp=1.0,
        word_timestamps=asked.word_timestamps,
        prepend_punctuations=BEFORE_WORDS,
        append_punctuations=AFTER_WORDS,
        multilingual=False,
        max_new_tokens=None,
        clip_timestamps="0",
        hallucination_silence_threshold=None,
        hotwords=None,
    )


def compute_type(placement: Placement) -> str:
    """CTranslate2's word for a precision. Raises UnsupportedPlacement where it cannot compute in it."""
    import ctranslate2

    device, index = _device(placement)
    name = {
        "fp32": "float32",
        "bf16": "bfloat16",
        "fp16": "float16",
        "int8": "int8_float16" if device == "cuda" else "int8",
        "file": "default",
    }.get(placement.precision)
    try:
        supported = {"default", *ctranslate2.get_supported_compute_types(device, index)}
    except (RuntimeError, ValueError):  # no such device, or a build without it
        supported = set()
    if name in supported:
        return str(name)
    raise UnsupportedPlacement(
        f"faster-whisper cannot run in {placement.precision} on {placement.device}: choose automatic.",
        f"faster-whisper 无法在 {placement.device} 上以 {placement.precision} 运行：请选择“自动”。",
    )


def _device(placement: Placement) -> tuple[str, int]:
    device, _, index = placement.device.partition(":")
    return device, int(index or 0)


def _physical_cores() -> int:
    import psutil

    return psutil.cpu_count(logical=False) or 1


def _memory_in_use(device: str) -> int:
    """Bytes that this process holds (on a GPU: that anybody holds): CTranslate2 does not tell its own."""
    if device == "cuda":
        import torch

        free, total = torch.cuda.mem_get_info()
        return int(total - free)
    import psutil

    return int(psutil.Process().memory_info().rss)
