"""Answering with a model that was read by transformers, one request after the other.

The steps between a model and the text of an answer are in `models.pretrained.generation`.
"""

import gc
import threading
import time
from abc import abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from models.chat.calls import cut_off
from models.chat.messages import begun_answer
from models.chat.request import ChatRequest
from models.engines.base import ChatEngine
from models.errors import BadInput, EngineFailed, ModelError, short
from models.pretrained.loading import does_not_fit, loading, out_of_memory, watched, weight_bytes
from models.schema import (
    Delta,
    Done,
    Event,
    LoadReport,
    Messages,
    OnProgress,
    Text,
    Tools,
    Usage,
)

if TYPE_CHECKING:
    from models.pretrained.generation import AnswerStream, PrefixCache

TICK = 0.05  # seconds without a token after which it is looked whether the answer is still wanted


_Reason = Literal["stop", "length", "cancelled"]


class LibraryEngine(ChatEngine):
    """A model of the transformers library, answering one request after the other.

    A subclass says how it is read, and how messages become ids and ids become text. Loading reports
    tensors, and stops between two of them.
    """

    tokenizer: Any
    model: Any
    continues_answers = True
    # False where a conversation's attention states cannot be continued from their beginning.
    reuses_prefix = True

    @abstractmethod
    def _read(self, path: Path) -> None:
        """Set `model` and `tokenizer`."""

    @abstractmethod
    def _prompt(self, messages: Messages | str, tools: Tools = ()) -> list[int]:
        """Token ids of the prompt. Raises BadInput for a conversation that has none."""

    @abstractmethod
    def _text(self, prompt: list[int], request: ChatRequest, continues: bool) -> "AnswerStream":
        """What makes text of the answer's ids; `continues`: the answer continues the prompt's text."""

    def _inputs(self, messages: Messages | str, prompt: list[int], cached: int) -> Mapping[str, Any]:
        """What the model is given beside the ids of `prompt`, of which the first are `cached`."""
        return {}

    def _prefix_cache(self) -> "PrefixCache":
        from models.pretrained.generation import PrefixCache

        return PrefixCache()

    def _precision(self) -> tuple[str, tuple[Text, ...]]:
        """What the weights are in memory, and what a person should know about it."""
        from models.pretrained.quantize import notes

        dtype = str(self.model.dtype).removeprefix("torch.")
        if self.placement.precision not in ("int8", "int4"):
            return dtype, ()
        effective, found = notes(self.model, self.placement.precision)
        return f"{self.placement.precision} ({dtype} activations)" if effective else dtype, found

    def _load(self, path: Path, progress: OnProgress, cancel: threading.Event) -> None:
        from transformers import GenerationConfig

        with loading(path, self.placement), watched(progress, cancel):
            self._read(path)
        self._end_ids = _end_ids(self.model, self.tokenizer)
        # `generate` takes what a request leaves open from here: let it find nothing of the checkpoint's.
        self.model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
        trained = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        lengths = (self.placement.context, trained or self.checkpoint.context_length)
        self.context_length = min([length for length in lengths if length], default=2048)
        self.has_chat_template = bool(self.tokenizer.chat_template)
        self._prefix = self._prefix_cache()

    def _count_tokens(self, messages: Messages | str, tools: Tools) -> int:
        return len(self._prompt(messages, tools))

    def _stream(self, request: ChatRequest, cancel: threading.Event) -> Iterator[Event]:
        prompt = self._prompt(request.messages, request.tools)
        available = self.context_length - len(prompt)
        if available < 1 or not prompt:
            raise BadInput(
                f"The text takes {len(prompt)} tokens and the context holds {self.context_length}: "
                "send between one token and one less than that.",
                f"文本有 {len(prompt)} 个 token，而上下文为 {self.context_length}：请调整文本长度。",
            )
        self._check_embedded(prompt)
        most = min(request.options.max_new_tokens, available)
        request = replace(request, options=replace(request.options, max_new_tokens=most))
        with self.queue.enter() as ticket:
            yield from self.queue.wait(ticket, cancel)
            yield from self._answer(request, prompt, cancel)

    def _check_embedded(self, prompt: list[int]) -> None:
        """Raise BadInput for a token beyond the embedding: one that somebody added to the tokenizer alone."""
        rows = self.model.get_input_embeddings().weight.shape[0]
        if max(prompt) >= rows:
            text = self.tokenizer.decode([max(prompt)])
            raise BadInput(
                f"{text!r} is a token of the tokenizer that {self.checkpoint.name} has no embedding for "
                f"(it has {rows}): leave it out of the text, or put the tokenizer of the model's maker into the folder.",
                f"{text!r} 是分词器中的 token，但 {self.checkpoint.name} 没有它的嵌入（共 {rows} 个）："
                "请从文本中去掉它，或换上模型作者提供的分词器。",
            )

    def _answer(self, request: ChatRequest, prompt: list[int], cancel: threading.Event) -> Iterator[Event]:
        from models.pretrained.generation import Generation

        clock = _Clock(prompt_tokens=len(prompt))
        if cancel.is_set():
            yield Done("cancelled", clock.usage(0))
            return
        continues = isinstance(request.messages, str) or not self.has_chat_template
        continues = continues or bool(begun_answer(request.messages))
        text = self._text(prompt, request, continues)
        cache, cached = self._prefix.take(self.model, prompt)
        inputs = partial(self._inputs, request.messages, prompt, cached)
        generation = Generation(self.model, prompt, cache, request.options, self._end_ids, cancel, inputs)
        try:
            reason = yield from self._deltas(generation.ticking(TICK), text, clock, cancel)
        finally:
            generation.close(wait=True)
            if generation.complete and self.reuses_prefix:
                self._prefix.keep(cache, generation.ids)
        if reason == "length" and cancel.is_set():
            reason = "cancelled"
        if rest := text.flush():
            yield Delta(rest)
        calls = () if reason == "cancelled" else text.calls
        yield from cut_off(calls) if reason == "length" else calls
        yield Done("tool_calls" if calls and reason == "stop" else reason, clock.usage(cached))

    def _deltas(
        self, tokens: Iterable[int | None], text: "AnswerStream", clock: "_Clock", cancel: threading.Event
    ) -> Generator[Delta, None, _Reason]:
        """The text of an answer as its tokens come; returns why it ended. None stands for no token yet."""
        for token in self._translated(tokens):
            if cancel.is_set():
                return "cancelled"
            if token is None:
                continue
            clock.tick()
            if token in self._end_ids:
                return "stop"
            if piece := text.push(token):
                yield Delta(piece)
            if text.stopped:
                return "stop"
        return "length"

    def _translated(self, tokens: Iterable[int | None]) -> Iterator[int | None]:
        """`tokens`, with the errors of the model in a sentence."""
        try:
            yield from tokens
        except ModelError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise does_not_fit(self.checkpoint.name, self.placement) from error
            raise EngineFailed(
                f"{self.checkpoint.name} failed while answering ({short(error)}): try again, or reload it.",
                f"{self.checkpoint.name} 回答时出错（{short(error)}）：请重试，或重新加载。",
            ) from error

    def _report(self, seconds: float) -> LoadReport:
        dtype, notes = self._precision()
        device_map = getattr(self.model, "hf_device_map", None) or {"": self.placement.device}
        return LoadReport(
            dtype=dtype,
            weights=weight_bytes(self.model),
            device_map={
                name: f"cuda:{d}" if isinstance(d, int) else str(d) for name, d in device_map.items()
            },
            seconds=seconds,
            notes=notes,
        )

    def _close(self) -> None:
        import torch

        self._prefix.clear()
        self.model = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class _Clock:
    """When the tokens of one answer came."""

    def __init__(self, prompt_tokens: int) -> None:
        self._prompt_tokens = prompt_tokens
        self._started = self._first = self._last = time.monotonic()
        self._tokens = 0

    def tick(self) -> None:
        self._last = time.monotonic()
        if self._tokens == 0:
            self._first = self._last
        self._tokens += 1

    def usage(self, cached_tokens: int) -> Usage:
        """The rate counts the steps between the first token and the last."""
        decoding = self._last - self._first
        return Usage(
            prompt_tokens=self._prompt_tokens,
            cached_tokens=cached_tokens,
            completion_tokens=self._tokens,
            seconds_to_first_token=self._first - self._started,
            tokens_per_second=(self._tokens - 1) / decoding if decoding > 0 else 0.0,
        )


def _end_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Every id that one of the checkpoint's files calls the end of an answer."""
    sources = (model.generation_config, model.config.get_text_config(), tokenizer)
    found: set[int] = set()
    for source in sources:
        ids = getattr(source, "eos_token_id", None)
        found.update(ids if isinstance(ids, (list, tuple)) else [ids] if ids is not None else [])
    return tuple(sorted(found))
