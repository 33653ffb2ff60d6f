"""Token by token: what lies between a transformers model and the text that a person sees.

`generate()` runs in a thread of its own and hands its ids over (`Generation`); `AnswerStream` makes text
of them; `PrefixCache` keeps the attention states of the last conversation for its next turn.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream
from transformers import Cache, DynamicCache, GenerationConfig, PreTrainedModel
from transformers.generation.logits_process import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer
from transformers.modeling_layers import GradientCheckpointingLayer

from models.jobs import Stream
from models.schema import ChatOptions, ToolCall

GREEDY_BELOW = 1e-4  # a temperature this low would overflow the softmax and means "the likeliest" anyway


class Draw(LogitsProcessor):
    """Draw the next token here and leave only it, so that greedy `generate` takes it.

    `generate` itself draws from the process-wide random state, where another session's request would
    disturb a seed.
    """

    def __init__(self, seed: int | None, device: torch.device) -> None:
        self._random = torch.Generator(device)
        if seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(seed)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """`scores`: (batch, vocabulary) logits."""
        drawn = torch.multinomial(scores.softmax(-1), 1, generator=self._random)
        return torch.full_like(scores, -torch.inf).scatter(-1, drawn, 0.0)


def sampling(options: ChatOptions, device: torch.device) -> LogitsProcessorList:
    """The chain that `options` ask for, in transformers' order; what would change nothing is left out."""
    chain = LogitsProcessorList()
    if options.repetition_penalty != 1.0:
        chain.append(RepetitionPenaltyLogitsProcessor(options.repetition_penalty))
    if options.temperature < GREEDY_BELOW:
        return chain
    if options.temperature != 1.0:
        chain.append(TemperatureLogitsWarper(float(options.temperature)))
    if options.top_k:
        chain.append(TopKLogitsWarper(options.top_k))
    if options.top_p < 1.0:
        chain.append(TopPLogitsWarper(float(options.top_p)))
    if options.min_p > 0.0:
        chain.append(MinPLogitsWarper(float(options.min_p)))
    chain.append(Draw(options.seed, device))
    return chain


class AnswerStream(ABC):
    """Text from the ids of an answer, ending before the first stop text.

    What could be the beginning of a stop text is held back until the next characters decide.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = [text for text in stop if text]
        self._held = ""
        self.stopped = False

    @abstractmethod
    def _decode(self, token: int) -> str:
        """The text that became certain with this token, whole characters only."""

    def _rest(self) -> str:
        """What became certain with the end of the answer."""
        return ""

    @property
    def calls(self) -> Sequence[ToolCall]:
        """The tools that the answer asks for."""
        return ()

    def push(self, token: int) -> str:
        """The text that can be shown with this token."""
        self._held += self._decode(token)
        return self._before_stop(self._undecided)

    def flush(self) -> str:
        """What was held back and turned out to be no stop text."""
        if self.stopped:
            return ""
        self._held += self._rest()
        return self._before_stop(lambda: 0)

    def _before_stop(self, held_back: Callable[[], int]) -> str:
        found = [at for at in map(self._held.find, self._stop) if at >= 0]
        if found:
            self.stopped = True
            return self._release(min(found))
        return self._release(len(self._held) - held_back())

    def _undecided(self) -> int:
        longest = max(map(len, self._stop), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(text.startswith(self._held[-length:]) for text in self._stop):
                return length
        return 0

    def _release(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        return text


class TextStream(AnswerStream):
    """Text from the ids of a tokenizer of the library.

    Args:
        prompt_ids: the last ids before the answer where it continues a text, so that a leading space
            is kept; empty for a chat, where it is dropped.
    """

    def __init__(
        self, tokenizer: Tokenizer, stop: Sequence[str] = (), prompt_ids: Sequence[int] = ()
    ) -> None:
        super().__init__(stop)
        self._tokenizer = tokenizer
        self._decoder = DecodeStream(ids=list(prompt_ids), skip_special_tokens=True)

    def _decode(self, token: int) -> str:
        return self._decoder.step(self._tokenizer, token) or ""


class _Kept(NamedTuple):
    """The states of one conversation: of the first tokens of its last prompt and of what was answered."""

    ids: list[int]
    asked: int  # so many of them were the prompt
    cache: Cache


class PrefixCache:
    """Attention states of the last conversations, for the prompts that begin like them.

    Sliding-window layers that are full have forgotten their beginning, so such a cache only goes on where it ends.

    Args:
        room: tokens that all of them may hold together: what the plan of the load reserved.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._asked = 0  # tokens of the prompt that was taken for last
        self._kept: list[_Kept] = []  # the one that was used last is the last

    def take(self, model: PreTrainedModel, prompt: Sequence[int], most: int) -> tuple[Cache, int]:
        """A cache to generate with, and how many tokens of `prompt` it already holds.

        It is no longer in here afterwards: a request that fails leaves nothing half-written behind. Others go,
        those of the longest ago first, where they and `most` tokens of this conversation are more than there
        is room for.
        """
        self._asked = len(prompt)
        cache, common = self._continued(prompt) or (DynamicCache(config=model.config), 0)
        while self._kept and most + sum(len(kept.ids) for kept in self._kept) > self._room:
            del self._kept[0]
        return cache, common

    def _continued(self, prompt: Sequence[int]) -> tuple[Cache, int] | None:
        """The states of the longest beginning of `prompt`, cut to it and no longer in here.

        What shares less than a conversation's last prompt, and less than half of it, leaves it as it is: that is
        somebody else's. (An answer may be other tokens when it is read again.)
        """
        # The last token of the prompt is always computed: its logits give the first new one.
        shared = [
            (self._usable(kept.cache, prompt, common_prefix(kept.ids, prompt[:-1])), number)
            for number, kept in enumerate(self._kept)
        ]
        for common, number in sorted(shared, reverse=True):
            kept = self._kept[number]
            own = common >= kept.asked - 1 or 2 * common >= len(kept.ids)
            if common and own and crop(kept.cache, common):
                del self._kept[number]
                return kept.cache, common
        return None

    def _usable(self, cache: Cache, prompt: Sequence[int], common: int) -> int:
        """How many of the `common` first tokens `prompt` can be continued from."""
        return common

    def keep(self, cache: Cache, ids: Sequence[int]) -> None:
        """Remember `cache`, which holds the states of the first tokens of `ids`."""
        self._kept.append(_Kept(list(ids[: cache.get_seq_length()]), self._asked, cache))

    def clear(self) -> None:
        self._kept = []


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    for i, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return i
    return min(len(left), len(right))


def crop(cache: Cache, length: int) -> bool:
    """Shorten `cache` to `length` tokens; False where its layers can no longer do that."""
    surplus = cache.get_seq_length() - length
    if surplus == 0:
        return True
    if any(cache.is_linear) or any(map(_has_forgotten, cache.layers)):
        return False
    cache.crop(-surplus)
    return True


def _has_forgotten(layer: Any) -> bool:
    return getattr(layer, "is_sliding", False) and layer.get_seq_length() >= layer.sliding_window


class _Stop(StoppingCriteria):
    """Ends `generate` after the token at hand."""

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self._stopped = stopped

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), self._stopped(), device=input_ids.device)


class _Aborted(Exception):
    """`generate` is left in the middle of the prompt."""


class _Ids(BaseStreamer):
    """Hands on every new id; `generate` shows the prompt first."""

    def __init__(self, put: Callable[[int], None]) -> None:
        self._put = put
        self._prompt_seen = False

    def put(self, value: torch.Tensor) -> None:
        if self._prompt_seen:
            self._put(int(value))
        self._prompt_seen = True

    def end(self) -> None:
        """The worker says when it has ended, also where it failed."""


@dataclass(frozen=True)
class Choosing:
    """How the tokens of one answer are chosen.

    Attributes:
        end_ids: the ids that end it.
        held: what leaves of the logits only those of an answer in its form.
    """

    options: ChatOptions
    end_ids: Sequence[int]
    held: LogitsProcessor | None = None

    def processors(self, device: torch.device) -> LogitsProcessorList:
        first = [self.held] if self.held else []
        return LogitsProcessorList([*first, *sampling(self.options, device)])


class Generation(Stream[int]):
    """One run of `generate`, and the ids that it makes as they come.

    Stopped, it ends after the token at hand, or after the layer at hand where the prompt is still being
    read. The model is free when `close(wait=True)` returns.

    Args:
        prompt: token ids, not empty.
        choosing: how tokens are chosen; the one that ends the answer is yielded too.
        stop: ends it as `close` does, and is not set by it.
        inputs: makes, in that thread, what the model is given beside the ids.

    Once ended, `ids` holds the prompt and every token made, and `complete` says that `cache` is whole.
    """

    def __init__(
        self,
        model: Any,  # a PreTrainedModel; its annotations hide `generate`
        prompt: Sequence[int],
        cache: Cache,
        choosing: Choosing,
        stop: threading.Event,
        inputs: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self.ids = list(prompt)
        self.complete = False
        self._stop = stop
        super().__init__(lambda send, _: self._generate(model, cache, choosing, inputs, send))

    def _generate(
        self,
        model: Any,
        cache: Cache,
        choosing: Choosing,
        inputs: Callable[[], Mapping[str, Any]],
        send: Callable[[int], None],
    ) -> None:
        def put(token: int) -> None:
            self.ids.append(token)
            send(token)

        end_ids = list(choosing.end_ids)
        hooks = [
            layer.register_forward_pre_hook(self._abort_prefill)
            for layer in model.modules()
            if isinstance(layer, GradientCheckpointingLayer)
        ]
        try:
            ids = torch.tensor([self.ids], device=model.get_input_embeddings().weight.device)
            model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                past_key_values=cache,
                generation_config=GenerationConfig(  # type: ignore[no-untyped-call]
                    max_new_tokens=choosing.options.max_new_tokens,
                    do_sample=False,
                    eos_token_id=end_ids or None,
                    pad_token_id=end_ids[0] if end_ids else 0,
                ),
                logits_processor=choosing.processors(ids.device),
                stopping_criteria=StoppingCriteriaList([_Stop(self._stopped)]),
                streamer=_Ids(put),
                **inputs(),
            )
            self.complete = True
        except _Aborted:
            return
        finally:
            for hook in hooks:
                hook.remove()

    def _stopped(self) -> bool:
        return self.cancel.is_set() or self._stop.is_set()

    def _abort_prefill(self, layer: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        """A long prompt takes a CPU a minute; single tokens end by the stopping criterion."""
        if self._stopped() and inputs and inputs[0].shape[1] > 1:
            raise _Aborted
