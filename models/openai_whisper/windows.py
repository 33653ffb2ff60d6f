"""Transcription window by window, over openai-whisper's public parts.

`whisper.transcribe` returns everything at its end and cannot be stopped. Watching it from outside
takes patches of its module, which sessions share; so its loop over windows of 30 seconds is written
here anew, as a generator: segments come as soon as their window is done, and nothing has to be undone
when the caller leaves. Decoding, language detection and word times are the library's own; the
tests hold the result equal to `whisper.transcribe`, field by field.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.schema import Segment, SpeechOptions, Word

# Beyond these a window counts as badly decoded; `whisper.transcribe` has the same defaults.
MAX_COMPRESSION_RATIO = 2.4
MIN_LOGPROB = -1.0
MAX_NO_SPEECH = 0.6
# Text decoded at a higher temperature is no guide for the next window.
MAX_PROMPT_TEMPERATURE = 0.5

FRAMES_PER_SECOND = 100
# A time token counts steps of 20 ms within its window.
SECONDS_PER_TIME, FRAMES_PER_TIME = 0.02, 2

# Word times switch off an attention kernel for the whole library while they are computed.
_ALIGNING = threading.Lock()


class Windows:
    """One recording on its way through the model. `language` is a code, detected where none was given."""

    def __init__(
        self,
        model: Any,
        samples: Any,
        options: SpeechOptions,
        language: str | None,
        attempts: Sequence[Mapping[str, Any]],
        cancel: threading.Event,
    ) -> None:
        """Prepare a recording.

        Args:
            model: a whisper.model.Whisper.
            samples: float32 at 16 kHz, shape (samples,).
            options: what is asked for.
            language: a code; None: detect it in the first 30 seconds.
            attempts: arguments of whisper.DecodingOptions, tried in turn until a window is decoded well.
            cancel: ends the work after the window at hand.
        """
        import torch
        from whisper.audio import N_FRAMES, N_SAMPLES, log_mel_spectrogram
        from whisper.tokenizer import get_tokenizer

        self._model, self._options, self._cancel = model, options, cancel
        self._attempts = attempts
        self._dtype = model.decoder.token_embedding.weight.dtype
        # Shape (bands, frames): 100 frames a second, and 30 seconds of silence after the end.
        self._mel = log_mel_spectrogram(torch.from_numpy(samples), model.dims.n_mels, padding=N_SAMPLES)
        self._frames = self._mel.shape[-1] - N_FRAMES
        self.language, self.language_probability = language, 1.0
        if language is None:
            self.language, self.language_probability = self._detect_language()
        self._tokenizer = get_tokenizer(
            model.is_multilingual,
            num_languages=model.num_languages,
            language=self.language,
            task=options.task,
        )
        prompt = options.initial_prompt.strip()
        self._tokens: list[int] = self._tokenizer.encode(f" {prompt}") if prompt else []
        self._prompt_start = 0  # index into _tokens
        self._last_speech = 0.0

    def segments(self) -> Iterator[Segment]:
        """Segments as their windows are decoded; ends after the window at hand when cancelled."""
        from whisper.audio import N_FRAMES

        seek = 0
        while seek < self._frames and not self._cancel.is_set():
            size = min(N_FRAMES, self._frames - seek)
            mel = self._window(seek, size)
            result = self._decode(mel)
            if self._cancel.is_set():
                return
            if _is_silence(result):
                seek += size
                continue
            pieces, advance = self._split(result.tokens, seek, size)
            if self._options.word_timestamps:
                self._last_speech = self._time_words(pieces, mel, size)
                if not self._says_end(result.tokens) and self._last_speech > _seconds(seek):
                    advance = round(self._last_speech * FRAMES_PER_SECOND) - seek
            seek += advance
            pieces = [piece for piece in pieces if piece["start"] != piece["end"] and piece["text"].strip()]
            self._remember(pieces, result.temperature)
            for piece in pieces:
                yield _segment(piece, result)

    def _detect_language(self) -> tuple[str, float]:
        from whisper.audio import N_FRAMES

        _, probabilities = self._model.detect_language(self._window(0, N_FRAMES))
        code = max(probabilities, key=probabilities.__getitem__)
        return str(code), float(probabilities[code])

    def _window(self, seek: int, size: int) -> Any:
        """`size` frames from `seek` on, filled up to 30 seconds: shape (bands, 3000)."""
        from whisper.audio import N_FRAMES, pad_or_trim

        mel = pad_or_trim(self._mel[:, seek : seek + size], N_FRAMES)
        return mel.to(self._model.device).to(self._dtype)

    def _decode(self, mel: Any) -> Any:
        """The first whisper.DecodingResult that passes the checks, or the last one."""
        import torch
        from whisper import DecodingOptions

        prompt = self._tokens[self._prompt_start :]
        common = {"task": self._options.task, "language": self.language, "prompt": prompt}
        for attempt in self._attempts:
            options = DecodingOptions(**common, **attempt, fp16=self._dtype == torch.float16)
            result = self._model.decode(mel, options)
            if not _is_bad(result) or self._cancel.is_set():
                break
            mel = result.audio_features  # another attempt need not run the encoder again
        return result

    def _split(self, tokens: Sequence[int], seek: int, size: int) -> tuple[list[dict[str, Any]], int]:
        """Cut a window's tokens where it says one time to end and one to start.

        Returns:
            The pieces in the library's form, and the frames to go forward: to the last time said, unless
            nothing follows it in the window.
        """
        begin = self._tokenizer.timestamp_begin
        is_time = [token >= begin for token in tokens]
        cuts = [i for i in range(1, len(tokens)) if is_time[i - 1] and is_time[i]]
        if not cuts:
            last = next((token for token in reversed(tokens) if token >= begin), begin)
            seconds = (last - begin) * SECONDS_PER_TIME if last > begin else _seconds(size)
            return [self._piece(tokens, seek, 0.0, seconds)], size
        if self._says_end(tokens):
            cuts.append(len(tokens))
        pieces = []
        for first, end in zip([0, *cuts], cuts, strict=False):
            part = tokens[first:end]
            times = ((token - begin) * SECONDS_PER_TIME for token in (part[0], part[-1]))
            pieces.append(self._piece(part, seek, *times))
        advance = (tokens[cuts[-1] - 1] - begin) * FRAMES_PER_TIME
        return pieces, size if self._says_end(tokens) else advance

    def _says_end(self, tokens: Sequence[int]) -> bool:
        """Whether a window closes with the time its last words end: then nothing is said after them."""
        begin = self._tokenizer.timestamp_begin
        return len(tokens) > 1 and tokens[-2] < begin <= tokens[-1]

    def _piece(self, tokens: Sequence[int], seek: int, start: float, end: float) -> dict[str, Any]:
        """Times in seconds from the window's start; the library's keys, as its word timing wants them."""
        text = self._tokenizer.decode([token for token in tokens if token < self._tokenizer.eot])
        offset = _seconds(seek)
        return {
            "seek": seek,
            "start": offset + start,
            "end": offset + end,
            "text": text,
            "tokens": list(tokens),
            "words": [],
        }

    def _time_words(self, pieces: list[dict[str, Any]], mel: Any, size: int) -> float:
        """Put words into the pieces, correct the pieces' times by them, and return the last one's end."""
        from whisper.timing import add_word_timestamps
        from whisper.utils import get_end

        with _ALIGNING:
            add_word_timestamps(
                segments=pieces,
                model=self._model,
                tokenizer=self._tokenizer,
                mel=mel,
                num_frames=size,
                last_speech_timestamp=self._last_speech,
            )
        return float(get_end(pieces))

    def _remember(self, pieces: list[dict[str, Any]], temperature: float) -> None:
        """What is said next is decoded knowing this text."""
        self._tokens += [token for piece in pieces for token in piece["tokens"]]
        if not self._options.condition_on_previous_text or temperature > MAX_PROMPT_TEMPERATURE:
            self._prompt_start = len(self._tokens)


def _is_bad(result: Any) -> bool:
    """Whether a whisper.DecodingResult repeats itself or was guessed, and is not silence."""
    guessed = result.avg_logprob < MIN_LOGPROB
    if guessed and result.no_speech_prob > MAX_NO_SPEECH:
        return False
    return bool(guessed or result.compression_ratio > MAX_COMPRESSION_RATIO)


def _is_silence(result: Any) -> bool:
    return bool(result.no_speech_prob > MAX_NO_SPEECH and result.avg_logprob <= MIN_LOGPROB)


def _seconds(frames: int) -> float:
    return frames * 160 / 16_000


def _segment(piece: Mapping[str, Any], result: Any) -> Segment:
    return Segment(
        start=float(piece["start"]),
        end=float(piece["end"]),
        text=piece["text"],
        words=tuple(
            Word(float(word["start"]), float(word["end"]), word["word"], float(word["probability"]))
            for word in piece["words"]
        ),
        avg_logprob=float(result.avg_logprob),
        no_speech_prob=float(result.no_speech_prob),
        compression_ratio=float(result.compression_ratio),
    )
