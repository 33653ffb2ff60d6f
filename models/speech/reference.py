"""openai-whisper, the reference: `.pt` files and Hugging Face folders on every device that torch has."""

import gc
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models import languages
from models.errors import Cancelled, UnsupportedPlacement
from models.schema import Placement, SpeechOptions
from models.speech.library import (
    BEST_OF,
    SAMPLES_PER_FRAME,
    WINDOW,
    Decoded,
    Decoder,
    Library,
    Piece,
    temperatures,
)

# Word times switch off an attention kernel for the whole library while they are computed.
_ALIGNING = threading.Lock()


class OpenAIWhisper(Library):
    """float16 on CUDA, float32 anywhere."""

    def __init__(self, path: Path, placement: Placement) -> None:
        """Load a `.pt` file or a Hugging Face folder.

        Raises:
            CheckpointCorrupt, UnsupportedCheckpoint: as for `weights.read`.
            UnsupportedPlacement: a precision that the library lacks there.
        """
        from models.speech.weights import read

        device, precision = placement.device, placement.precision
        if precision != "fp32" and (precision != "fp16" or not device.startswith("cuda")):
            raise UnsupportedPlacement(
                f"openai-whisper cannot run in {precision} on {device}: choose automatic.",
                f"openai-whisper 无法在 {device} 上以 {precision} 运行：请选择“自动”。",
            )
        self.model = read(path, device, half=precision == "fp16")
        known = self.model.num_languages if self.model.is_multilingual else 1
        self.languages = tuple(languages.LANGUAGES)[:known]
        self.dtype = "float16" if precision == "fp16" else "float32"
        tensors = [*self.model.parameters(), *self.model.buffers()]
        self.weights = sum(tensor.nbytes for tensor in tensors if not tensor.is_sparse)

    @contextmanager
    def decoder(self, options: SpeechOptions, cancel: threading.Event) -> Iterator[Decoder]:
        from whisper.model import ResidualAttentionBlock

        def stop(*_: Any) -> None:
            if cancel.is_set():
                raise Cancelled

        # Between two blocks of the network, so that a large one on a slow processor stops in time too.
        blocks = [module for module in self.model.modules() if isinstance(module, ResidualAttentionBlock)]
        hooks = [block.register_forward_pre_hook(stop) for block in blocks]
        try:
            yield _Decoder(self.model, options)
        finally:
            for hook in hooks:
                hook.remove()

    def count(self, text: str) -> int:
        from whisper.tokenizer import get_tokenizer

        encoding = get_tokenizer(self.model.is_multilingual, num_languages=self.model.num_languages).encoding
        return len(encoding.encode_ordinary(text))

    def close(self) -> None:
        import torch

        on_cuda = self.model.device.type == "cuda"
        del self.model
        gc.collect()
        if on_cuda:
            torch.cuda.empty_cache()


class _Decoder(Decoder):
    def __init__(self, model: Any, options: SpeechOptions) -> None:
        self._model, self._asked = model, options
        self._dtype = model.decoder.token_embedding.weight.dtype

    def features(self, samples: Any) -> Any:
        import torch
        from whisper.audio import N_SAMPLES, log_mel_spectrogram

        return log_mel_spectrogram(torch.from_numpy(samples), self._model.dims.n_mels, N_SAMPLES).numpy()

    def detect(self, features: Any) -> tuple[str, float]:
        _, probabilities = self._model.detect_language(self.encode(features[:, :WINDOW]))
        code = max(probabilities, key=probabilities.__getitem__)
        return str(code), float(probabilities[code])

    def begin(self, language: str) -> None:
        from whisper.tokenizer import get_tokenizer

        self._language = language
        self._tokenizer = get_tokenizer(
            self._model.is_multilingual,
            num_languages=self._model.num_languages,
            language=language,
            task=self._asked.task,
        )
        self.first_time = self._tokenizer.timestamp_begin
        # faster-whisper's hotwords: words before the text so far, in every window.
        words = self._asked.hotwords.strip()
        self.hotwords = self.tokens(f" {words}") if words else []

    def encode(self, features: Any) -> Any:
        import torch
        from whisper.audio import N_FRAMES, pad_or_trim

        # The library encodes while it decodes.
        return pad_or_trim(torch.from_numpy(features), N_FRAMES).to(self._model.device).to(self._dtype)

    def decode(self, window: Any, previous: Sequence[int]) -> Decoded:
        prompt = self.prompt(previous)
        for temperature in temperatures(self._asked):
            result = self._model.decode(window, self._options(temperature, prompt))
            decoded = _decoded(result)
            if not decoded.is_bad(self._asked):
                break
            window = result.audio_features  # another attempt need not run the encoder again
        return decoded

    def decode_together(self, windows: Sequence[Any]) -> tuple[Any, list[Decoded]]:
        import torch

        stacked = torch.stack([self.encode(window) for window in windows])
        prompt = self.prompt(self.tokens(self._asked.initial_prompt))
        results = self._model.decode(stacked, self._options(self._asked.temperature, prompt))
        return stacked, [_decoded(result) for result in results]

    def _options(self, temperature: float, prompt: list[int]) -> Any:
        import torch
        from whisper import DecodingOptions

        beams = self._asked.beam_size if self._asked.beam_size > 1 and not temperature else None
        return DecodingOptions(
            task=self._asked.task,
            language=self._language,
            temperature=temperature,
            beam_size=beams,
            best_of=BEST_OF if temperature else None,
            prompt=prompt,
            fp16=self._dtype == torch.float16,
        )

    def tokens(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, disallowed_special=()))

    def text(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode([token for token in tokens if token < self._tokenizer.eot]))

    def seconds(self, frames: int) -> float:
        return frames * SAMPLES_PER_FRAME / 16_000

    def time_words(
        self, pieces: list[list[Piece]], windows: Any, frames: list[int], last_speech: float
    ) -> None:
        from whisper.timing import add_word_timestamps

        for number, said in enumerate(pieces):
            with _ALIGNING:
                add_word_timestamps(
                    segments=said,
                    model=self._model,
                    tokenizer=self._tokenizer,
                    mel=windows if windows.ndim == 2 else windows[number],
                    num_frames=frames[number],
                    last_speech_timestamp=last_speech,
                )


def _decoded(result: Any) -> Decoded:
    return Decoded(
        list(result.tokens),
        result.avg_logprob,
        result.no_speech_prob,
        result.compression_ratio,
        result.temperature,
    )
