"""Whisper in two libraries: faster-whisper for CTranslate2 folders, openai-whisper for all others.

Both take the same options with the same meaning, and for the same options give the text and the times
that the library gives when it is used bare, as far as the recording goes. Recordings over ten minutes are
cut at pauses and decoded several pieces at a time, as faster-whisper's `BatchedInferencePipeline` does,
unless `SpeechOptions.batch_size` is 1; shorter ones are decoded as Whisper does by itself, each passage with
the text before it. An int8 placement of a file in another format runs in faster-whisper too, from a
converted copy.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.engines.base import Audio, SpeechEngine
from models.errors import (
    Cancelled,
    CheckpointCorrupt,
    DoesNotFit,
    EngineFailed,
    ModelError,
    short,
)
from models.schema import (
    LoadReport,
    OnProgress,
    Placement,
    Progress,
    Segment,
    SpeechOptions,
    Text,
)
from models.sound.decoding import SAMPLE_RATE, Hole, blocks, duration
from models.speech.abilities import spoken
from models.speech.doubts import doubts
from models.speech.library import PROMPT, Decoder, Library
from models.speech.transcript import Transcript
from models.speech.voice import Blocks, behind_hole, until

BLOCK = 300  # seconds read at a time; their features take 190 MB while they are computed
LONG = 600  # seconds from which a recording is cut into pieces that are decoded together
CONVERTED = Text(
    "runs in faster-whisper, from a copy in CTranslate2's format that is kept in Quintet's cache",
    "以 CTranslate2 格式的转换副本（保存在 Quintet 缓存中）在 faster-whisper 中运行",
)

CROWDED = Text(
    "Names and words to listen for are longer than Whisper can remember: it sees the last names and the first words.",
    "“人名与术语”和“热词”超出了 Whisper 能记住的长度：它只看到靠后的人名和靠前的热词。",
)


class WhisperEngine(SpeechEngine):
    """Any Whisper. `library` is what runs it."""

    library: Library

    def _load(self, path: Path, progress: OnProgress, cancel: threading.Event) -> None:
        with _translated(self._unreadable):
            self.library, self._notes = _open(path, self.placement, progress)

    def _report(self, seconds: float) -> LoadReport:
        library, device = self.library, self.placement.device
        return LoadReport(library.dtype, library.weights, {"": device}, seconds, self._notes)

    def notes(self, options: SpeechOptions) -> tuple[Text, ...]:
        with self.request():
            asked = self.library.count(f"{options.initial_prompt} {options.hotwords}")
        return (CROWDED,) if asked > PROMPT else ()

    def _transcribe(
        self,
        audio: Audio,
        options: SpeechOptions,
        cancel: threading.Event,
        result: Transcript,
        done: Sequence[Segment],
    ) -> Iterator[Segment]:
        result.language = self._language(options)
        options = replace(options, language=result.language)
        result.duration = duration(audio, options.track)
        before = None
        try:
            with _translated(self._failed), self.library.decoder(options, cancel) as decoder:
                for heard in self._segments(audio, options, cancel, result, done, decoder):
                    segment = until(heard, before, result.duration)
                    marked = replace(segment, doubts=doubts(segment, before, options))
                    yield marked
                    if cancel.is_set():
                        return
                    before = marked
        except Cancelled:
            return

    def _segments(
        self,
        audio: Audio,
        options: SpeechOptions,
        cancel: threading.Event,
        result: Transcript,
        done: Sequence[Segment],
        decoder: Decoder,
    ) -> Iterator[Segment]:
        """Those of the algorithm that suits this recording."""
        from models.speech.chunks import Batches
        from models.speech.windows import Windows

        together = options.vad and options.batch_size > 1 and result.duration > LONG
        algorithm = Batches if together else Windows
        holes: list[Hole] = []
        read = _measured(blocks(audio, BLOCK, cancel, options.track, holes), result)
        run = algorithm(decoder, read, options, cancel)
        if result.language is None:
            result.language, result.language_probability = run.detect()
        else:
            result.language_probability = 1.0
        if result.language is not None:
            decoder.begin(result.language)
            # Not the bound method, which would keep a transcript alive that nobody reads on.
            for segment in run.segments(done, lambda seconds: result.reach(seconds)):
                yield behind_hole(segment, holes)

    def _language(self, options: SpeechOptions) -> str | None:
        """The code of the language asked for; None: detect it. Raises BadInput for what the model cannot."""
        return spoken(self.checkpoint, options, self.library.languages)

    def _close(self) -> None:
        self.library.close()
        del self.library

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


def _open(path: Path, placement: Placement, progress: OnProgress) -> tuple[Library, tuple[Text, ...]]:
    """The library for a placement, and what the report says about it."""
    ctranslate2 = (path / "model.bin").is_file()  # as a folder in its format always has, and no other
    if not ctranslate2 and placement.precision != "int8":
        from models.speech.reference import OpenAIWhisper

        progress(Progress("load"))
        return OpenAIWhisper(path, placement), ()
    from models.speech.faster import FasterWhisper, compute_type

    compute_type(placement)  # raises before anything is converted for nothing
    notes: tuple[Text, ...] = ()
    if not ctranslate2:
        from models.speech.convert import converted

        progress(Progress("convert"))
        path, notes = converted(path), (CONVERTED,)
    progress(Progress("load"))
    return FasterWhisper(path, placement), notes


def _measured(read: Blocks, result: Transcript) -> Iterator[tuple[Any, bool]]:
    """The blocks, whose lengths correct what a file's header says of its own."""
    seconds = 0.0
    for samples, last in read:
        seconds += len(samples) / SAMPLE_RATE
        result.duration = seconds if last else max(result.duration, seconds)
        yield samples, last


@contextmanager
def _translated(describe: Callable[[str], ModelError]) -> Iterator[None]:
    """Let nothing but ModelErrors out; `describe` makes one of the first line of another exception."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        detail = short(error)
        if isinstance(error, MemoryError) or "out of memory" in detail.lower():
            raise DoesNotFit(
                "The memory ran out: unload another model, or choose a smaller Whisper or precision.",
                "内存不足：请卸载其他模型，或选择更小的 Whisper 或更低的精度。",
            ) from error
        raise describe(detail) from error
