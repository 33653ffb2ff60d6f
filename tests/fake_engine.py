"""Engines that need no weights, for tests of what stands around engines."""

import threading
from collections.abc import Iterator
from pathlib import Path

from models.engines.base import Audio, ChatEngine, FairQueue, SpeechEngine, Transcript
from models.schema import (
    ChatOptions,
    Checkpoint,
    Delta,
    Done,
    Event,
    GiB,
    LoadReport,
    Messages,
    OnProgress,
    Placement,
    Progress,
    Segment,
    SpeechOptions,
    Usage,
)


class Stage:
    """What the engines of one test share: a diary, and how their loading goes."""

    def __init__(self) -> None:
        self.diary: list[str] = []  # "load NAME" and "close NAME", in the order in which they happened
        self.go = threading.Event()  # loads wait for it
        self.go.set()
        self.begun = threading.Semaphore(0)  # released when a load begins
        self.failure: Exception | None = None
        self.breaks: tuple[int, BaseException] | None = None  # an answer ends so after that many words
        self.heard: list[Segment] = []  # what a recording says
        self.options: list[ChatOptions | SpeechOptions] = []  # of every request, in order
        self.memory = 2.5  # GiB on the accelerator: two engines, and not quite a third
        self.loading = self.most_loading = self.open = 0


class FakeEngine(ChatEngine):
    """Repeats the newest message word by word; a token is a word. Its weights take a GiB."""

    stage = Stage()  # a test puts its own

    def __init__(
        self,
        path: Path,
        checkpoint: Checkpoint,
        placement: Placement,
        progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        super().__init__(checkpoint, placement)
        stage = self.stage
        self.has_chat_template = checkpoint.kind != "completion"
        self.context_length = placement.context
        self.queue = FairQueue(placement.slots)
        self.sent: list[Messages | str] = []
        stage.diary.append(f"load {path.name}")
        stage.loading += 1
        stage.most_loading = max(stage.most_loading, stage.loading)
        stage.begun.release()
        try:
            if progress:
                progress(Progress("load", 1, 2))
            while not stage.go.wait(0.01):
                if cancel and cancel.is_set():
                    break
            if stage.failure:
                raise stage.failure
        finally:
            stage.loading -= 1
        stage.open += 1
        self.name = path.name
        self.report = LoadReport("fake", GiB, {"": placement.device}, 0.0)

    def _close(self) -> None:
        self.stage.open -= 1
        self.stage.diary.append(f"close {self.name}")

    def _count_tokens(self, messages: Messages | str) -> int:
        if isinstance(messages, str):
            return len(messages.split())
        return sum(1 + len(str(message["content"]).split()) for message in messages)

    def _stream(
        self, messages: Messages | str, options: ChatOptions, cancel: threading.Event
    ) -> Iterator[Event]:
        self.sent.append(messages)
        self.stage.options.append(options)
        newest = messages if isinstance(messages, str) else str(messages[-1]["content"])
        words = newest.split()
        with self.queue.place() as ticket:
            yield from self.queue.wait(ticket, cancel)
            for count, word in enumerate(words[: options.max_new_tokens]):
                if cancel.is_set():
                    yield Done("cancelled", Usage(completion_tokens=count))
                    return
                if self.stage.breaks and count == self.stage.breaks[0]:
                    raise self.stage.breaks[1]
                yield Delta(f"{word} ")
            yield Done("stop", Usage(self._count_tokens(messages), completion_tokens=len(words)))


class FakeSpeechEngine(SpeechEngine):
    """Hears what its stage says, one second a segment, in English."""

    stage = Stage()  # a test puts its own

    def __init__(
        self,
        path: Path,
        checkpoint: Checkpoint,
        placement: Placement,
        progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        super().__init__(checkpoint, placement)
        self.report = LoadReport("fake", GiB, {"": placement.device}, 0.0)

    def _close(self) -> None:
        pass

    def _transcribe(
        self, audio: Audio, options: SpeechOptions, cancel: threading.Event, result: Transcript
    ) -> Iterator[Segment]:
        self.stage.options.append(options)
        result.duration, result.language = float(len(self.stage.heard)), "en"
        for count, segment in enumerate(self.stage.heard):
            if self.stage.breaks and count == self.stage.breaks[0]:
                raise self.stage.breaks[1]
            yield segment
        if self.stage.breaks and not self.stage.heard:
            raise self.stage.breaks[1]
