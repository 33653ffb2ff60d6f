"""Engines that need no weights, for tests of what stands around engines."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models import placement
from models.catalog import formats
from models.chat.messages import begun_answer, text_only, without_begun
from models.chat.request import ChatRequest
from models.engines.base import Audio, ChatEngine, SpeechEngine
from models.pictures.reading import read_picture
from models.schema import (
    ChatOptions,
    Delta,
    Device,
    Done,
    Event,
    GiB,
    LoadReport,
    Messages,
    OnProgress,
    Progress,
    Segment,
    SpeechOptions,
    ToolCall,
    Tools,
    Usage,
)
from models.speech.transcript import Transcript
from models.tools import parse_json_call


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
        self.refused: dict[str, Exception] = {}  # why recordings of that name are not heard
        self.hold: tuple[int, threading.Event] | None = None  # that segment waits for it
        self.resumed: list[int] = []  # segments that each transcription went on after
        self.options: list[ChatOptions | SpeechOptions] = []  # of every request, in order
        self.memory = 2.5  # GiB on the accelerator: two engines, and not quite a third
        self.loading = self.most_loading = self.open = 0


def use_engines(monkeypatch: pytest.MonkeyPatch, **engines: str) -> None:
    """Let classes of this file read the formats that are named (with _ for -), and nothing read the others."""
    rows = {
        name: replace(
            row, engine=f"{__name__}:{engines[key]}" if (key := name.replace("-", "_")) in engines else None
        )
        for name, row in formats.FORMATS.items()
    }
    monkeypatch.setattr(formats, "FORMATS", rows)


def graphics_card(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A machine with a graphics card on which every open fake engine takes a GiB, and little memory beside."""
    own = Stage()

    def devices() -> list[Device]:
        precisions = ("bf16", "fp16", "fp32", "int8", "int4")
        total = int(own.memory * GiB)
        card = Device("cuda:0", "GPU", total, total - own.open * GiB, precisions)
        return [card, Device("cpu", "CPU", GiB, GiB // 8, ("fp32",))]

    monkeypatch.setattr(FakeEngine, "stage", own)
    monkeypatch.setattr(placement, "devices", devices)
    use_engines(monkeypatch, transformers="FakeEngine", gguf="FakeEngine")
    return own


class FakeEngine(ChatEngine):
    """Repeats the newest message word by word; a token is a word. Its weights take a GiB.

    Before that it calls what the question says: a line "call NAME ARGUMENTS" for each call.
    """

    stage = Stage()  # a test puts its own
    continues_answers = True

    def _load(self, path: Path, progress: OnProgress, cancel: threading.Event) -> None:
        stage = self.stage
        self.has_chat_template = self.checkpoint.kind != "completion"
        self.context_length = self.placement.context
        self.requests: list[ChatRequest] = []
        stage.diary.append(f"load {path.name}")
        stage.loading += 1
        stage.most_loading = max(stage.most_loading, stage.loading)
        stage.begun.release()
        try:
            progress(Progress("load", 1, 2))
            while not stage.go.wait(0.01) and not cancel.is_set():
                pass
            if stage.failure:
                raise stage.failure
        finally:
            stage.loading -= 1
        stage.open += 1
        self.name = path.name

    def _report(self, seconds: float) -> LoadReport:
        return LoadReport("fake", GiB, {"": self.placement.device}, seconds)

    @property
    def sent(self) -> list[Messages | str]:
        """The messages of all requests."""
        return [request.messages for request in self.requests]

    def _close(self) -> None:
        self.stage.open -= 1
        self.stage.diary.append(f"close {self.name}")

    def _count_tokens(self, messages: Messages | str, tools: Tools) -> int:
        if isinstance(messages, str):
            return len(messages.split())
        return len(tools) + sum(1 + len(str(message["content"]).split()) for message in messages)

    def _read(self, messages: Messages) -> Messages:
        """With texts alone."""
        return text_only(messages)

    def _stream(self, request: ChatRequest, cancel: threading.Event) -> Iterator[Event]:
        self.requests.append(request)
        self.stage.options.append(request.options)
        messages = request.messages if isinstance(request.messages, str) else self._read(request.messages)
        begun = begun_answer(messages)
        newest = messages if isinstance(messages, str) else str(without_begun(messages)[-1]["content"])
        words = newest.split()[len(begun.split()) :]
        if not isinstance(messages, str) and (asked := _next_call(messages)):
            yield from (Delta("let me see "), asked, Done("tool_calls", Usage(completion_tokens=3)))
            return
        with self.queue.enter() as ticket:
            yield from self.queue.wait(ticket, cancel)
            for count, word in enumerate(words[: request.options.max_new_tokens]):
                if cancel.is_set():
                    yield Done("cancelled", Usage(completion_tokens=count))
                    return
                if self.stage.breaks and count == self.stage.breaks[0]:
                    raise self.stage.breaks[1]
                yield Delta(f"{word} ")
            said = min(len(words), request.options.max_new_tokens)
            reason: Any = "length" if said < len(words) else "stop"
            yield Done(reason, Usage(self._count_tokens(messages, request.tools), completion_tokens=said))


def _next_call(messages: Messages) -> ToolCall | None:
    """Of the calls in the newest question the first that has no answer yet."""
    asked = max(number for number, message in enumerate(messages) if message["role"] == "user")
    lines = [line for line in str(messages[asked]["content"]).splitlines() if line.startswith("call ")]
    left = lines[sum(message["role"] == "tool" for message in messages[asked:]) :]
    if not left:
        return None
    _, name, arguments = left[0].split(" ", 2)
    return parse_json_call(name, arguments)


class FakeVisionEngine(FakeEngine):
    """Repeats the newest question, and says how large its pictures are."""

    def _read(self, messages: Messages) -> Messages:
        return [{**message, "content": _described(message["content"])} for message in messages]


def _described(content: Any) -> str:
    if isinstance(content, str):
        return content
    sizes = [read_picture(part["image"]).size for part in content if part["type"] == "image"]
    texts = [part["text"] for part in content if part["type"] == "text"]
    return " ".join([*texts, *(f"{width}x{height}" for width, height in sizes)])


class FakeSpeechEngine(SpeechEngine):
    """Hears what its stage says, one second a segment; a translation is in capitals."""

    stage = Stage()  # a test puts its own

    def _load(self, path: Path, progress: OnProgress, cancel: threading.Event) -> None:
        """There is nothing to read."""

    def _report(self, seconds: float) -> LoadReport:
        return LoadReport("fake", GiB, {"": self.placement.device}, seconds)

    def _close(self) -> None:
        pass

    def _transcribe(
        self,
        audio: Audio,
        options: SpeechOptions,
        cancel: threading.Event,
        result: Transcript,
        done: Sequence[Segment],
    ) -> Iterator[Segment]:
        stage = self.stage
        stage.options.append(options)
        stage.resumed.append(len(done))
        if isinstance(audio, Path) and audio.name in stage.refused:
            raise stage.refused[audio.name]
        result.duration, result.language = float(len(stage.heard)), options.language or "en"
        for count, segment in enumerate(stage.heard):
            if stage.hold and count == stage.hold[0]:
                while not stage.hold[1].wait(0.01) and not cancel.is_set():
                    pass
            if cancel.is_set():
                return
            if stage.breaks and count == stage.breaks[0]:
                raise stage.breaks[1]
            yield replace(segment, text=segment.text.upper()) if options.task == "translate" else segment
            result.reach(segment.end)
        if stage.breaks and not stage.heard:
            raise stage.breaks[1]
