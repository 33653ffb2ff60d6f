"""Whisper in two libraries: faster-whisper for CTranslate2 folders, openai-whisper for all others.

Both take the same options with the same meaning, and for the same options give the text that the
library gives when it is used bare.
"""

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models import languages
from models.audio import SAMPLE_RATE, load
from models.engines.base import Audio, SpeechEngine, Transcript
from models.errors import (
    BadInput,
    Cancelled,
    CheckpointCorrupt,
    DoesNotFit,
    EngineFailed,
    ModelError,
    UnsupportedPlacement,
)
from models.schema import (
    Checkpoint,
    LoadReport,
    OnProgress,
    Placement,
    Progress,
    Segment,
    SpeechOptions,
    Word,
)
from models.vad import Speech

BEST_OF = 5  # samples drawn above temperature 0, as on both libraries' command lines


class WhisperEngine(SpeechEngine):
    """What the two have in common. `languages` are the codes of the languages that the model knows."""

    languages: tuple[str, ...]

    def __init__(
        self,
        path: str | Path,
        checkpoint: Checkpoint,
        placement: Placement,
        progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        """Load the weights.

        Raises:
            CheckpointCorrupt, UnsupportedCheckpoint: the files are damaged, or not Whisper.
            UnsupportedPlacement: the library cannot run on this device or in this precision.
            DoesNotFit: the memory ran out.
            Cancelled: `cancel` was set meanwhile.
        """
        super().__init__(checkpoint, placement)
        if progress is not None:
            progress(Progress("load"))
        started = time.monotonic()
        with _translated(self._unreadable):
            dtype, weights = self._load(Path(path))
        if cancel is not None and cancel.is_set():
            self._close()
            raise Cancelled
        seconds = time.monotonic() - started
        self.report = LoadReport(dtype, weights, {"": placement.device}, seconds)

    @abstractmethod
    def _load(self, path: Path) -> tuple[str, int]:
        """Set `model` and `languages`; return what the weights are kept in and how many bytes they take."""

    @abstractmethod
    def _recognise(
        self,
        samples: Any,
        options: SpeechOptions,
        language: str | None,
        cancel: threading.Event,
        result: Transcript,
    ) -> Iterator[Segment]:
        """Recognise samples of shape (samples,), window by window."""

    def _transcribe(
        self, audio: Audio, options: SpeechOptions, cancel: threading.Event, result: Transcript
    ) -> Iterator[Segment]:
        result.language = self._language(options)
        try:
            samples = load(audio, cancel)
        except Cancelled:
            return
        result.duration = len(samples) / SAMPLE_RATE
        with _translated(self._failed):
            speech = Speech(samples) if options.vad else None
            heard = samples if speech is None else speech.samples
            if cancel.is_set() or not len(heard):
                return
            for segment in self._recognise(heard, options, result.language, cancel, result):
                yield segment if speech is None else speech.restore(segment)
                if cancel.is_set():
                    return

    def _language(self, options: SpeechOptions) -> str | None:
        """The code of the language asked for; None: detect it. Raises BadInput if the model has none such."""
        if options.task == "translate" and self.languages == ("en",):
            raise BadInput(
                f"{self.checkpoint.name} knows only English and cannot translate: load a multilingual Whisper.",
                f"{self.checkpoint.name} 只懂英语，无法翻译：请加载多语言 Whisper 模型。",
            )
        if not options.language:
            return "en" if self.languages == ("en",) else None
        code = languages.find(options.language)
        if code in self.languages:
            return code
        raise BadInput(
            f"{self.checkpoint.name} does not know the language {options.language!r}: "
            "use a code like en or zh that it knows, or leave it empty.",
            f"{self.checkpoint.name} 不支持语言 {options.language!r}：请使用它支持的语言代码（如 en、zh），或留空。",
        )

    def _unreadable(self, detail: str) -> ModelError:
        return CheckpointCorrupt(
            f"{self.checkpoint.name} cannot be loaded ({detail}): fetch it again.",
            f"无法加载 {self.checkpoint.name}（{detail}）：请重新下载。",
        )

    def _failed(self, detail: str) -> ModelError:
        return EngineFailed(
            f"{self.checkpoint.name} stopped while transcribing ({detail}): try again, or load it anew.",
            f"{self.checkpoint.name} 在转写时中断（{detail}）：请重试，或重新加载。",
        )


class FasterWhisperEngine(WhisperEngine):
    """A folder in CTranslate2's format: model.bin, config.json, tokenizer.json, vocabulary."""

    def _load(self, path: Path) -> tuple[str, int]:
        from faster_whisper import WhisperModel
        from faster_whisper.feature_extractor import FeatureExtractor

        if not (path / "tokenizer.json").is_file():  # the library would go and download one
            raise self._unreadable("tokenizer.json is missing")
        compute_type = _compute_type(self.placement)
        device, index = _device(self.placement)
        before = _memory_in_use(device)
        self.model = WhisperModel(
            str(path),
            device=device,
            device_index=index,
            compute_type=compute_type,
            cpu_threads=_physical_cores(),
        )
        network = self.model.model
        # Without preprocessor_config.json the library takes 80 bands, and large-v3 has 128.
        self.model.feature_extractor = FeatureExtractor(feature_size=network.n_mels)
        known = network.num_languages if network.is_multilingual else 1
        self.languages = tuple(languages.LANGUAGES)[:known]
        return network.compute_type, max(0, _memory_in_use(device) - before)

    def _recognise(
        self,
        samples: Any,
        options: SpeechOptions,
        language: str | None,
        cancel: threading.Event,
        result: Transcript,
    ) -> Iterator[Segment]:
        segments, info = self.model.transcribe(
            samples,
            language=language,
            task=options.task,
            beam_size=options.beam_size,
            best_of=BEST_OF,
            temperature=temperatures(options),
            condition_on_previous_text=options.condition_on_previous_text,
            initial_prompt=options.initial_prompt or None,
            word_timestamps=options.word_timestamps,
        )
        result.language, result.language_probability = info.language, float(info.language_probability)
        if cancel.is_set():
            return
        for segment in segments:
            yield Segment(
                start=float(segment.start),
                end=float(segment.end),
                text=segment.text,
                words=tuple(
                    Word(float(word.start), float(word.end), word.word, float(word.probability))
                    for word in segment.words or ()
                ),
                avg_logprob=segment.avg_logprob,
                no_speech_prob=segment.no_speech_prob,
                compression_ratio=segment.compression_ratio,
            )

    def _close(self) -> None:
        self.model.model.unload_model()
        del self.model


class OpenAIWhisperEngine(WhisperEngine):
    """OpenAI's `.pt` files and Hugging Face's Whisper folders. float16 on CUDA, float32 anywhere."""

    def _load(self, path: Path) -> tuple[str, int]:
        from models.openai_whisper.weights import read

        device, precision = self.placement.device, self.placement.precision
        if precision != "fp32" and (precision != "fp16" or not device.startswith("cuda")):
            raise _unsupported(self.placement, "openai-whisper")
        self.model = read(path, device, half=precision == "fp16")
        known = self.model.num_languages if self.model.is_multilingual else 1
        self.languages = tuple(languages.LANGUAGES)[:known]
        parameters = [*self.model.parameters(), *self.model.buffers()]
        weights = sum(tensor.nbytes for tensor in parameters if not tensor.is_sparse)
        return "float16" if precision == "fp16" else "float32", weights

    def _recognise(
        self,
        samples: Any,
        options: SpeechOptions,
        language: str | None,
        cancel: threading.Event,
        result: Transcript,
    ) -> Iterator[Segment]:
        from models.openai_whisper.windows import Windows

        beams = options.beam_size if options.beam_size > 1 else None
        attempts: list[dict[str, Any]] = [
            {"temperature": value, **({"best_of": BEST_OF} if value else {"beam_size": beams})}
            for value in temperatures(options)
        ]
        windows = Windows(self.model, samples, options, language, attempts, cancel)
        result.language, result.language_probability = windows.language, windows.language_probability
        yield from windows.segments()

    def _close(self) -> None:
        import gc

        import torch

        del self.model
        gc.collect()
        if self.placement.device.startswith("cuda"):
            torch.cuda.empty_cache()


def temperatures(options: SpeechOptions) -> tuple[float, ...]:
    """Where decoding starts, and what it falls back to: steps of 0.2 up to 1."""
    steps = int((1.0 - options.temperature) / 0.2 + 1e-6)
    return tuple(round(options.temperature + 0.2 * step, 2) for step in range(steps + 1))


def _compute_type(placement: Placement) -> str:
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
    raise _unsupported(placement, "faster-whisper")


def _unsupported(placement: Placement, library: str) -> UnsupportedPlacement:
    return UnsupportedPlacement(
        f"{library} cannot run in {placement.precision} on {placement.device}: choose automatic.",
        f"{library} 无法在 {placement.device} 上以 {placement.precision} 运行：请选择“自动”。",
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


@contextmanager
def _translated(describe: Callable[[str], ModelError]) -> Iterator[None]:
    """Let nothing but ModelErrors out; `describe` makes one of the first line of another exception."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        detail = next(iter(str(error).strip().splitlines()), type(error).__name__)
        if isinstance(error, MemoryError) or "out of memory" in detail.lower():
            raise DoesNotFit(
                "The memory ran out: unload another model, or choose a smaller Whisper or precision.",
                "内存不足：请卸载其他模型，或选择更小的 Whisper 或更低的精度。",
            ) from error
        raise describe(detail) from error
