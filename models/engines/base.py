"""What every engine promises: the contract that pages, API and command line are written against."""

import threading
import time
import weakref
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.chat.messages import check_messages, drop_oldest, merge_turns, turn_starts
from models.engines.fair_queue import FairQueue
from models.errors import BadInput, EngineClosed
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
    Queued,
    Segment,
    SpeechOptions,
    Text,
)

# A path, or a float32 NumPy array of samples; `Any`, because NumPy is not imported before it is needed.
Audio = str | Path | Any


class Engine(ABC):
    """A loaded model that answers.

    A request is counted from its first step to its end, so that the loader never closes an engine
    that is answering: `close_if_idle` and `request` exclude each other.
    """

    report: LoadReport

    def __init__(self, checkpoint: Checkpoint, placement: Placement) -> None:
        self.checkpoint = checkpoint
        self.placement = placement
        self.last_used = time.monotonic()
        self._requests = 0
        self._closed = False
        self._state = threading.Lock()

    @property
    def active(self) -> int:
        """Requests being answered or waiting in this engine's queue."""
        return self._requests

    @property
    def closed(self) -> bool:
        return self._closed

    @contextmanager
    def request(self) -> Iterator[None]:
        """Hold the engine open while one request runs. Raises EngineClosed after an unload."""
        with self._state:
            if self._closed:
                raise EngineClosed(
                    f"{self.checkpoint.name} was unloaded to make room; load it again and resend.",
                    f"{self.checkpoint.name} 已被卸载以腾出内存；请重新加载后再发送。",
                )
            self._requests += 1
        try:
            yield
        finally:
            with self._state:
                self._requests -= 1
                self.last_used = time.monotonic()

    def close_if_idle(self) -> bool:
        """Free the model unless a request runs. True when it is (or already was) closed."""
        with self._state:
            if self._closed:
                return True
            if self._requests:
                return False
            self._closed = True
        self._close()
        return True

    @abstractmethod
    def _close(self) -> None:
        """Give the memory back. Called once, when nothing is answering."""


class ChatEngine(Engine):
    """An engine that continues text. `context_length` is in tokens and covers prompt and answer."""

    context_length: int
    # False for a base model: it has no chat template and only continues text.
    has_chat_template: bool

    @abstractmethod
    def _count_tokens(self, messages: Messages | str) -> int:
        """Tokens of the prompt made of `messages`, which are complete; special tokens included."""

    @abstractmethod
    def _stream(
        self, messages: Messages | str, options: ChatOptions, cancel: threading.Event
    ) -> Iterator[Event]:
        """Answer `messages`, which are complete and fit; the last event is Done.

        Must look at `cancel` at least once a token, and free whatever it holds when it is closed.
        """

    def stream(
        self,
        messages: Messages | str,
        options: ChatOptions | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[Event]:
        """Answer a conversation, piece by piece.

        Args:
            messages: a conversation in the OpenAI chat format, or a text to continue as it is. A
                system message may list "tools" (schemas of functions, plain or in OpenAI's form) that
                the answer may call; calls come back as "tool_calls", and results with role "tool".
            options: sampling; default: the checkpoint's own defaults.
            cancel: when it is set, the answer ends within one token with finish_reason "cancelled".

        Yields:
            Queued while others are served, Delta and ToolCall, and last one Done.

        Raises:
            BadInput: empty or malformed messages, or a newest message longer than the context.
            EngineClosed: the engine was unloaded.
            EngineFailed: the library under the engine raised.
        """
        options = options or self.default_options()
        cancel = cancel or threading.Event()
        with self.request():
            dropped = 0
            check_messages(messages)
            if not isinstance(messages, str):
                dropped = self.dropped(messages, options)
                messages = self._complete(drop_oldest(messages, dropped))
            for event in self._stream(messages, options, cancel):
                if isinstance(event, Done):
                    event = replace(event, usage=replace(event.usage, dropped_messages=dropped))
                yield event

    def default_options(self) -> ChatOptions:
        return ChatOptions(**dict(self.checkpoint.options))

    def count_tokens(self, messages: Messages | str) -> int:
        """Tokens of the prompt that `stream` would send, were nothing dropped; special ones included.

        Raises:
            BadInput: malformed messages.
            EngineClosed: the engine was unloaded.
        """
        with self.request():
            return self._count_tokens(messages if isinstance(messages, str) else self._complete(messages))

    def dropped(self, messages: Messages, options: ChatOptions | None = None) -> int:
        """How many of the oldest messages (the system prompt apart) no longer fit the context.

        Whole turns go, so that what is left starts with a user message. Room is kept for an answer,
        but never more than half of the context.

        Raises:
            BadInput: empty or malformed messages, or the newest turn alone is longer than the context.
        """
        check_messages(messages)
        wanted = (options or self.default_options()).max_new_tokens
        room = self.context_length - min(wanted, self.context_length // 2)
        starts = turn_starts(messages)
        # Fewer messages cost fewer tokens, so a bisection finds the first start that fits.
        first = bisect_left(
            starts, True, key=lambda start: self.count_tokens(drop_oldest(messages, start)) <= room
        )
        if first < len(starts):
            return starts[first]
        shortest = self.count_tokens(drop_oldest(messages, starts[-1]))
        if shortest < self.context_length:
            return starts[-1]
        raise BadInput(
            f"The newest message takes {shortest} tokens and the context holds "
            f"{self.context_length}: shorten it, or load with a longer context.",
            f"最新的消息有 {shortest} 个 token，而上下文只有 {self.context_length}："
            "请缩短消息，或以更长的上下文加载。",
        )

    def _complete(self, messages: Messages) -> Messages:
        """`messages` as the prompt is made of them: the checkpoint's own system prompt where none was given."""
        check_messages(messages)
        merged = merge_turns(messages)
        own = self.checkpoint.system_prompt if self.has_chat_template else ""
        if own and all(message["role"] != "system" for message in merged):
            return [{"role": "system", "content": own}, *merged]
        return merged


class Transcript(Iterator[Segment]):
    """The segments of one recording as they are recognised.

    `duration` (seconds of audio), `language` and `language_probability` are known from the first
    segment on, and for a recording without speech when the iteration has ended. `position` is how
    many seconds are done; it moves on through silence too.
    """

    def __init__(self, progress: OnProgress | None = None) -> None:
        self._progress = progress
        self._started: tuple[float, float] | None = None  # seconds of the clock and of audio
        self.duration = self.position = 0.0
        self.language: str | None = None
        self.language_probability: float | None = None
        self._segments: Iterator[Segment] = iter(())

    def start(self, segments: Iterator[Segment]) -> "Transcript":
        self._segments = segments
        return self

    def __next__(self) -> Segment:
        return next(self._segments)

    def reach(self, seconds: float) -> None:
        """For the engine: this much of the recording is done."""
        self.position = seconds
        now = time.monotonic()
        self._started = since, first = self._started or (now, seconds)
        rate = (seconds - first) / (now - since) if now > since else 0.0
        left = max(0.0, self.duration - seconds) / rate if rate else None
        if self._progress is not None:
            self._progress(Progress("transcribe", int(seconds), int(self.duration), rate, left))

    def wait(self, queued: Queued) -> None:
        """For the engine: others are served before."""
        if self._progress is not None:
            self._progress(Progress("queue", total=queued.ahead))

    def close(self) -> None:
        """Stop the work; what was recognised stays with whoever has it."""
        close = getattr(self._segments, "close", None)
        if close is not None:
            close()


class SpeechEngine(Engine):
    """An engine that turns recordings into text. One recording at a time, first come first served."""

    def __init__(self, checkpoint: Checkpoint, placement: Placement) -> None:
        super().__init__(checkpoint, placement)
        self.queue = FairQueue(1)

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
            with self.request(), self.queue.place() as ticket:
                for queued in self.queue.wait(ticket, cancel):
                    facts.wait(queued)
                if not cancel.is_set():
                    yield from self._transcribe(audio, options, cancel, facts, done)

        return result.start(run())
