"""What every engine promises: the contract that pages, API and command line are written against."""

import threading
import time
import weakref
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from models.chat.counts import TokenCounts
from models.chat.messages import (
    begun_answer,
    check_messages,
    drop_oldest,
    merge_turns,
    name_roles,
    texts_in,
    turn_starts,
    whole_text,
)
from models.chat.request import ChatRequest, lift_tools, openai_tools, response_type
from models.engines.fair_queue import FairQueue
from models.errors import BadInput, Cancelled, EngineClosed
from models.schema import (
    ChatOptions,
    Checkpoint,
    Done,
    Event,
    LoadReport,
    Messages,
    OnProgress,
    Placement,
    Progress,
    Segment,
    SpeechOptions,
    Text,
    Tools,
)
from models.speech.transcript import Transcript

# No vocabulary's token has more letters: what is longer than a context full of such need not be counted.
LONGEST_TOKEN = 128

# A path, or a float32 NumPy array of samples; `Any`, because NumPy is not imported before it is needed.
Audio = str | Path | Any


class Engine(ABC):
    """A loaded model that answers.

    Whoever needs it holds a lease, and so does each request from its first step to its end: the loader
    never closes an engine that somebody holds, since `close_if_idle` and `lease` exclude each other.
    """

    # Whether its threads should give their processor away while they wait for one another: with one of two cores busy
    # Whisper is fourteen times faster so and transformers three times, and a tenth slower on a quiet machine.
    gives_way = True

    def __init__(
        self,
        path: str | Path,
        checkpoint: Checkpoint,
        placement: Placement,
        progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        """Load the model.

        Args:
            path: the checkpoint's file or folder.
            progress: called with the steps of the load.
            cancel: when it is set, loading ends as soon as the library lets it, and nothing stays behind.

        Raises:
            CheckpointCorrupt, UnsupportedCheckpoint: the files are damaged, or not for this engine.
            UnsupportedPlacement, DoesNotFit: not on this device, in this precision, or with this memory.
            Cancelled: `cancel` was set meanwhile.
        """
        self.checkpoint = checkpoint
        self.placement = placement
        self.queue = FairQueue(placement.slots)
        self.last_used = time.monotonic()
        self._leases = self._requests = 0
        self._closed = False
        self._state = threading.Lock()
        cancel = cancel or threading.Event()
        began = time.monotonic()
        self._load(Path(path), progress or _ignore, cancel)
        seconds = time.monotonic() - began
        if cancel.is_set():
            self._close()
            raise Cancelled
        self.report = self._report(seconds)

    @abstractmethod
    def _load(self, path: Path, progress: OnProgress, cancel: threading.Event) -> None:
        """Get ready to answer. Leaves nothing open when it raises; need not look at `cancel` at the end."""

    @abstractmethod
    def _report(self, seconds: float) -> LoadReport:
        """What was loaded, in `seconds`."""

    @property
    def active(self) -> int:
        """Requests being answered or waiting in this engine's queue."""
        return self._requests

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def leased(self) -> bool:
        """Whether somebody holds it, for a request or for those to come."""
        return self._leases > 0

    @contextmanager
    def lease(self) -> Iterator[Self]:
        """Hold the engine: it is not closed before the block is left. Raises EngineClosed after an unload."""
        with self._state:
            if self._closed:
                raise EngineClosed(
                    f"{self.checkpoint.name} was unloaded to make room; load it again and resend.",
                    f"{self.checkpoint.name} 已被卸载以腾出内存；请重新加载后再发送。",
                )
            self._leases += 1
        try:
            yield self
        finally:
            with self._state:
                self._leases -= 1
                self.last_used = time.monotonic()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Hold the engine while one request runs, and count it. Raises EngineClosed after an unload."""
        with self.lease():
            with self._state:
                self._requests += 1
            try:
                yield
            finally:
                with self._state:
                    self._requests -= 1

    def close_if_idle(self) -> bool:
        """Free the model unless somebody holds it. True when it is (or already was) closed."""
        with self._state:
            if self._closed:
                return True
            if self._leases:
                return False
            self._closed = True
        self._close()
        return True

    @abstractmethod
    def _close(self) -> None:
        """Give the memory back. Called once, when nobody holds it."""


def _ignore(progress: Progress) -> None:
    """For those who do not want to know."""


class ChatEngine(Engine):
    """An engine that continues text. `context_length` is in tokens and covers prompt and answer."""

    context_length: int
    # The models that the server behind this engine offers, where there is one; the first of them answers.
    served: tuple[str, ...] = ()
    # False for a base model: it has no chat template and only continues text.
    has_chat_template: bool
    # Whether an answer that was begun can be continued: a last message of the assistant with "prefix" true.
    continues_answers = False
    # Which of `models.chat.request.RESPONSE_FORMATS` an answer can be held to.
    response_formats: frozenset[str] = frozenset({"text"})

    @abstractmethod
    def _count_tokens(self, messages: Messages | str, tools: Tools) -> int:
        """Tokens of the prompt made of `messages`, which are complete; special tokens included."""

    @abstractmethod
    def _stream(self, request: ChatRequest, cancel: threading.Event) -> Iterator[Event]:
        """Answer a request, whose messages are complete and fit; the last event is Done.

        Must look at `cancel` at least once a token, and free whatever it holds when it is closed.
        """

    def stream(
        self,
        messages: Messages | str,
        options: ChatOptions | None = None,
        cancel: threading.Event | None = None,
        tools: Tools = (),
        response_format: Mapping[str, Any] | None = None,
    ) -> Iterator[Event]:
        """Answer a conversation, piece by piece.

        Args:
            messages: a conversation in the OpenAI chat format, or a text to continue as it is. An assistant's
                message at its end with "prefix" true is an answer to be continued: what follows it is given.
            options: sampling; default: the checkpoint's own defaults.
            cancel: when it is set, the answer ends within one token with finish_reason "cancelled".
            tools: schemas of functions, plain or in OpenAI's form, that the answer may call. A call is given
                back as "tool_calls" of an assistant's message, its result with role "tool".
            response_format: what the answer is held to, in OpenAI's form: {"type": "text"}, which is the
                default, {"type": "json_object"} or {"type": "json_schema", …}.

        Yields:
            Queued while others are served, Delta and ToolCall, and last one Done.

        Raises:
            BadInput: empty or malformed messages, malformed tools, a newest message longer than the context,
                an answer to be continued where the engine cannot, or a response_format that it cannot hold
                its answers to.
            EngineClosed: the engine was unloaded.
            EngineFailed: the library under the engine raised.
        """
        with self.request():
            request = self.make_request(messages, options, tools, response_format)
            yield from self.answer(request, cancel or threading.Event())

    def make_request(
        self,
        messages: Messages | str,
        options: ChatOptions | None = None,
        tools: Tools = (),
        response_format: Mapping[str, Any] | None = None,
    ) -> ChatRequest:
        """The first half of `stream`: what is asked, checked, complete, and as much as fits the context."""
        options = options or self.default_options()
        form = self._checked_form(response_format)
        if isinstance(messages, str):
            check_messages(messages)
            if len(messages) > self.context_length * LONGEST_TOKEN:
                raise self._too_long(len(messages) // LONGEST_TOKEN)
            return ChatRequest(whole_text(messages), options, openai_tools(tools), form)
        messages, tools = self._prepare(messages, tools)
        dropped = self._dropped(messages, options, tools)
        messages = self._complete(drop_oldest(messages, dropped))
        return ChatRequest(messages, options, tools, form, dropped)

    def answer(self, request: ChatRequest, cancel: threading.Event) -> Iterator[Event]:
        """The second half of `stream`, for whoever holds the engine: the answer to what `make_request` gave."""
        for event in self._stream(request, cancel):
            if isinstance(event, Done):
                event = replace(event, usage=replace(event.usage, dropped_messages=request.dropped))
            yield event

    def default_options(self) -> ChatOptions:
        return ChatOptions(**dict(self.checkpoint.options))

    def count_tokens(self, messages: Messages | str, tools: Tools = ()) -> int:
        """Tokens of the prompt that `stream` would send, were nothing dropped; special ones included. Of what can
        fit no context of this length, so many at least.

        Raises:
            BadInput: malformed messages or tools.
            EngineClosed: the engine was unloaded.
        """
        with self.request():
            if isinstance(messages, str):
                return self._count(whole_text(messages), openai_tools(tools))
            return self._count(*self._prepare(messages, tools))

    def tokenize(self, text: str) -> list[int]:
        """The token ids of a text to continue, as `stream` reads it: with what the tokenizer puts in front.

        Raises:
            BadInput: the tokens of this engine's model are not known here.
            EngineClosed: the engine was unloaded.
        """
        with self.request():
            return self._tokenize_text(whole_text(text))

    def detokenize(self, ids: Sequence[int]) -> str:
        """The text of token ids. Raises as `tokenize`, and BadInput for an id that is no token."""
        with self.request():
            return self._detokenize(ids)

    def _tokenize_text(self, text: str) -> list[int]:
        raise self._no_tokens()

    def _detokenize(self, ids: Sequence[int]) -> str:
        raise self._no_tokens()

    def _no_tokens(self) -> BadInput:
        return BadInput(
            f"The tokens of {self.checkpoint.name} are known only where it runs: send texts instead of ids.",
            f"{self.checkpoint.name} 的 token 只在其运行之处可知：请发送文本，而不是 id。",
        )

    def dropped(self, messages: Messages, options: ChatOptions | None = None, tools: Tools = ()) -> int:
        """How many of the oldest messages (the system prompt apart) no longer fit the context.

        Whole turns go, so that what is left starts with a user message. Tokens are kept for an answer,
        but never more than half of the context.

        Raises:
            BadInput: empty or malformed messages, malformed tools, or the newest turn alone is longer than
                the context.
            EngineClosed: the engine was unloaded.
        """
        with self.request():
            messages, tools = self._prepare(messages, tools)
            return self._dropped(messages, options or self.default_options(), tools)

    def _dropped(self, messages: Messages, options: ChatOptions, tools: Tools) -> int:
        """`dropped`, of what `_prepare` gave."""
        budget = self.context_length - min(options.max_new_tokens, self.context_length // 2)
        starts = turn_starts(messages)
        first = self._first_that_fits(messages, tools, starts, budget)
        if first is not None:
            return first
        shortest = self._count(drop_oldest(messages, starts[-1]), tools)
        if shortest < self.context_length:
            return starts[-1]
        raise self._too_long(shortest)

    def _too_long(self, tokens: int) -> BadInput:
        return BadInput(
            f"The newest message takes {tokens} tokens and the context holds "
            f"{self.context_length}: shorten it, or load with a longer context.",
            f"最新的消息有 {tokens} 个 token，而上下文只有 {self.context_length}："
            "请缩短消息，或以更长的上下文加载。",
        )

    def _first_that_fits(
        self, messages: Messages, tools: Tools, starts: Sequence[int], budget: int
    ) -> int | None:
        """The first of `starts` from which `messages` take at most `budget` tokens; None: not even the last."""

        def fits(start: int) -> bool:
            return self._count(drop_oldest(messages, start), tools) <= budget

        if fits(starts[0]):  # nearly always
            return starts[0]
        # Fewer messages cost fewer tokens, so a bisection finds it.
        first = bisect_left(starts, True, lo=1, key=fits)
        return starts[first] if first < len(starts) else None

    def _checked_form(self, response_format: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """The form that an answer is held to; None: any text will do."""
        kind = response_type(response_format)
        if kind not in self.response_formats:
            raise BadInput(
                f"{self.checkpoint.name} cannot hold its answers to {kind} yet: leave response_format out.",
                f"{self.checkpoint.name} 尚不能按 {kind} 约束其回答：请去掉 response_format。",
            )
        return None if kind == "text" else response_format

    def _prepare(self, messages: Messages, tools: Tools) -> tuple[Messages, Tools]:
        """A conversation and its tools, checked, each in the one form that all below read."""
        messages = name_roles(messages)
        check_messages(messages)
        if begun_answer(messages) and not self.continues_answers:
            raise BadInput(
                f"{self.checkpoint.name} cannot continue an answer: ask for a new one.",
                f"{self.checkpoint.name} 无法接着写已有的回答：请重新生成。",
            )
        messages, listed = lift_tools(messages)
        return messages, [*(listed or ()), *openai_tools(tools)]

    @cached_property
    def _counts(self) -> TokenCounts:
        return TokenCounts()

    def _count(self, messages: Messages | str, tools: Tools) -> int:
        """`count_tokens`, of what `_prepare` gave."""
        complete = messages if isinstance(messages, str) else self._complete(messages)
        # Neither a tokenizer nor a template is given what cannot fit: both may take minutes, or fall over it.
        fewest = sum(map(len, texts_in([complete, tools]))) // LONGEST_TOKEN
        if fewest > self.context_length:
            return fewest
        return self._counts.of(complete, tools, lambda: self._count_tokens(complete, tools))

    def _complete(self, messages: Messages) -> Messages:
        """`messages` as the prompt is made of them: the checkpoint's own system prompt where none was given."""
        merged = merge_turns(messages)
        own = self.checkpoint.system_prompt if self.has_chat_template else ""
        if own and all(message["role"] != "system" for message in merged):
            return [{"role": "system", "content": own}, *merged]
        return merged


def no_token(name: str) -> BadInput:
    """Of an id beyond the vocabulary."""
    return BadInput(
        f"{name} has no token of such an id: send ids of its own.",
        f"{name} 没有该 id 的 token：请发送其自身的 id。",
    )


class SpeechEngine(Engine):
    """An engine that turns recordings into text. One recording at a time, first come first served."""

    def notes(self, options: SpeechOptions) -> tuple[Text, ...]:
        """What somebody should know of these options before anything is transcribed."""
        return ()

    @abstractmethod
    def _transcribe(
        self,
        audio: Audio,
        options: SpeechOptions,
        cancel: threading.Event,
        result: Transcript,
        done: Sequence[Segment],
    ) -> Iterator[Segment]:
        """Recognise `audio`, going on after `done`; set the facts in `result` before the first segment."""

    def transcribe(
        self,
        audio: Audio,
        options: SpeechOptions | None = None,
        cancel: threading.Event | None = None,
        progress: OnProgress | None = None,
        done: Sequence[Segment] = (),
    ) -> Transcript:
        """Transcribe or translate a recording.

        Args:
            audio: a path to any audio or video file that FFmpeg reads, or a float32 array of mono
                samples at 16 kHz, shape (samples,).
            options: language, task, …; default: the checkpoint's own defaults.
            cancel: when it is set, the iteration ends, after the passage at hand at the latest.
            progress: called from the iteration: Progress "queue" (`total` are served before), then
                "transcribe" in seconds of audio, with the seconds of audio a second and the time left.
            done: segments of an earlier run with the same recording and options that was interrupted,
                as they came. They are yielded again, but for those of its last passage, which is
                recognised anew; the transcript is the one that a run without interruption gives.

        Raises (while iterating):
            BadInput: the file is empty, has no sound, or is not what its name says.
            EngineClosed, EngineFailed: as for chat.
        """
        options = options or SpeechOptions(**dict(self.checkpoint.options))
        cancel = cancel or threading.Event()
        result = Transcript(progress)
        # Weak, so that a transcript nobody reads on gives its place up at once, not at a collection.
        facts = weakref.proxy(result)

        def run() -> Iterator[Segment]:
            with self.request(), self.queue.enter() as ticket:
                for queued in self.queue.wait(ticket, cancel):
                    facts.wait(queued)
                if not cancel.is_set():
                    yield from self._transcribe(audio, options, cancel, facts, done)

        return result.start(run())
