"""The host's side of an engine in a worker: the same interface, and what becomes of it when the worker ends.

A worker that has ended is started again for the next question. Who asked it gets a sentence, and what was being
read at two ends is not sent a third time.
"""

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from models.chat.request import ChatRequest
from models.engines.base import Audio, ChatEngine, Engine, SpeechEngine
from models.errors import BadInput, Cancelled, CheckpointCorrupt, DoesNotFit, EngineFailed, ModelError
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
    Usage,
)
from models.speech.transcript import Transcript
from models.workers.process import Died, Unheard, WorkerProcess, describe_end

# So many ends of its worker within so many seconds, and an engine is not started again for now.
MOST_ENDS, LATELY = 5, 600.0
# What was being read at so many ends is not sent again: the first may have been another's doing.
SURE = 2
KILLED = -9  # what the system does when memory has run out; Windows has no name for it


def isolated(kind: type[Engine], planned: int) -> Callable[..., Engine]:
    """What makes an engine as `kind` does, in a worker that may take about `planned` bytes of memory."""
    host = IsolatedSpeechEngine if issubclass(kind, SpeechEngine) else IsolatedChatEngine
    return partial(host, f"{kind.__module__}:{kind.__qualname__}", planned)


class Isolated(Engine):
    """An engine whose model is in a worker. `process` is the present one."""

    def __init__(
        self,
        engine: str,
        planned: int,
        path: str | Path,
        checkpoint: Checkpoint,
        placement: Placement,
        progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        """As `Engine`. `engine` is the class that answers, as "module:name"."""
        self._made_by = (engine, str(path), checkpoint, placement, planned)
        self._starting = threading.Lock()
        self._ends: deque[float] = deque(maxlen=MOST_ENDS)
        self._blamed: dict[bytes, float] = {}  # digest: how many workers this has ended, in all likelihood
        super().__init__(path, checkpoint, placement, progress, cancel)

    def _load(self, path: Path, progress: OnProgress, cancel: threading.Event) -> None:
        self.process = self._start(progress, cancel)

    def _report(self, seconds: float) -> LoadReport:
        return self.report

    def _close(self) -> None:
        self.process.end()

    # --- inside -------------------------------------------------------------------------------

    def _start(self, progress: OnProgress, cancel: threading.Event | None) -> WorkerProcess:
        process = WorkerProcess(self.checkpoint.name)
        try:
            load = process.ask("load", *self._made_by, cancel=cancel)
            known = _hear(load, progress)
        except BaseException as error:
            process.end()
            if isinstance(error, Unheard):
                raise Cancelled from None
            if isinstance(error, Died):
                raise self._explain_load(error) from error
            raise
        for name, value in known.items():
            setattr(self, name, value)
        return process

    def _running(self, cancel: threading.Event | None) -> WorkerProcess:
        """The worker, started again if it has ended. Raises EngineFailed when that happens too often."""
        with self._starting:
            if self.process.alive:
                return self.process
            now = time.monotonic()
            if len(self._ends) == MOST_ENDS and now - self._ends[0] < LATELY:
                raise EngineFailed(
                    f"{self.checkpoint.name} has ended {MOST_ENDS} times within ten minutes and is not started "
                    "again for now: wait a little, or choose another checkpoint.",
                    f"{self.checkpoint.name} 在十分钟内已中止 {MOST_ENDS} 次，暂不再启动：请稍候，或选择其他模型。",
                )
            self._ends.append(now)
            self.process = self._start(lambda _: None, cancel)
            return self.process

    def _ask(
        self, call: str, *arguments: Any, about: Sequence[Any] = (), cancel: threading.Event | None = None
    ) -> Generator[Any, None, Any]:
        """As `WorkerProcess.ask`, with the end of a worker in a sentence.

        Args:
            about: what a person sent, the newest last: what may end a worker.
        """
        self._refuse_blamed(about)
        try:
            while True:
                try:
                    return (yield from self._running(cancel).ask(call, *arguments, cancel=cancel))
                except Died as died:
                    if died.asked:
                        raise
        except Died as died:
            self._blame(about, died.share)
            raise self._explain_end(died.status) from died
        except Unheard:
            if cancel is not None and cancel.is_set():
                raise
            self._blame(about, 1.0)
            raise EngineFailed(
                f"{self.checkpoint.name} came to no end with reading this and was stopped: send something "
                "shorter, or choose another checkpoint.",
                f"{self.checkpoint.name} 一直未能读完这段内容，已被中止：请发送更短的内容，或选择其他模型。",
            ) from None

    def _answer_of(self, call: str, *arguments: Any, about: Sequence[Any] = ()) -> Any:
        """What a call that sends nothing else ends with."""
        return _hear(self._ask(call, *arguments, about=about), lambda _: None)

    def _blame(self, about: Sequence[Any], share: float) -> None:
        if about and share:
            digest = _digest(about[-1])
            self._blamed[digest] = self._blamed.get(digest, 0.0) + share

    def _refuse_blamed(self, about: Sequence[Any]) -> None:
        if self._blamed and any(self._blamed.get(_digest(part), 0.0) >= SURE for part in about):
            raise BadInput(
                f"{self.checkpoint.name} ended over something in this before, so it is not sent again: "
                "change or remove it, or choose another checkpoint.",
                f"其中的内容此前曾使 {self.checkpoint.name} 中止，因此不再发送：请修改或删除它，或选择其他模型。",
            )

    def _explain_end(self, status: int) -> ModelError:
        name, end = self.checkpoint.name, describe_end(status)
        if status == KILLED:
            return EngineFailed(
                f"{name} was ended from outside, most likely because memory ran out: ask again, or choose a "
                "smaller checkpoint or precision.",
                f"{name} 被系统终止，很可能是内存不足：请重试，或选择更小的模型或更低的精度。",
            )
        return EngineFailed(
            f"{name} ended in the middle of this ({end}); it is started again for the next question.",
            f"{name} 在处理过程中意外中止（{end}）；下次提问时会重新启动。",
        )

    def _explain_load(self, died: Died) -> ModelError:
        name, end = self.checkpoint.name, describe_end(died.status)
        if died.status == KILLED:
            return DoesNotFit(
                f"Loading {name} was ended from outside, most likely because memory ran out: unload another "
                "model, or choose a smaller one.",
                f"加载 {name} 时被系统终止，很可能是内存不足：请卸载其他模型，或选择更小的模型。",
            )
        return CheckpointCorrupt(
            f"The library that reads {name} ended over its files ({end}): they are damaged or of a kind it does "
            "not know; get them again, or choose another checkpoint.",
            f"读取 {name} 的程序因其文件而中止（{end}）：文件已损坏或不受支持；请重新获取，或选择其他模型。",
        )


class IsolatedChatEngine(Isolated, ChatEngine):
    """A chat engine in a worker, which reads, counts and answers."""

    def make_request(
        self,
        messages: Messages | str,
        options: ChatOptions | None = None,
        tools: Tools = (),
        response_format: Mapping[str, Any] | None = None,
    ) -> ChatRequest:
        """As it came: the worker makes it, since templates and tokenizers are there."""
        return ChatRequest(messages, options or self.default_options(), tools, response_format)

    def answer(self, request: ChatRequest, cancel: threading.Event) -> Iterator[Event]:
        return self._stream(request, cancel)

    def _stream(self, request: ChatRequest, cancel: threading.Event) -> Iterator[Event]:
        asked = (request.messages, request.options, request.tools, request.response_format)
        try:
            yield from self._ask("stream", *asked, about=_parts(request.messages), cancel=cancel)
        except (Unheard, Cancelled):
            yield Done("cancelled", Usage())

    def count_tokens(self, messages: Messages | str, tools: Tools = ()) -> int:
        with self.request():
            return self._count_tokens(messages, tools)

    def _count_tokens(self, messages: Messages | str, tools: Tools) -> int:
        return self._counts.of(
            messages, tools, lambda: self._answer_of("count_tokens", messages, tools, about=_parts(messages))
        )

    def _tokenize_text(self, text: str) -> list[int]:
        return list(self._answer_of("tokenize", text, about=[text]))

    def _detokenize(self, ids: Sequence[int]) -> str:
        return str(self._answer_of("detokenize", list(ids)))

    def dropped(self, messages: Messages, options: ChatOptions | None = None, tools: Tools = ()) -> int:
        with self.request():
            return int(self._answer_of("dropped", messages, options, tools, about=_parts(messages)))


class IsolatedSpeechEngine(Isolated, SpeechEngine):
    """A speech engine in a worker. Files go by their path."""

    def notes(self, options: SpeechOptions) -> tuple[Text, ...]:
        with self.request():
            return tuple(self._answer_of("notes", options))

    def _transcribe(
        self,
        audio: Audio,
        options: SpeechOptions,
        cancel: threading.Event,
        result: Transcript,
        done: Sequence[Segment],
    ) -> Iterator[Segment]:
        about = [str(audio)] if isinstance(audio, (str, Path)) else []
        work = self._ask("transcribe", audio, options, list(done), about=about, cancel=cancel)
        try:
            while True:
                item = next(work)
                if isinstance(item, Segment):
                    yield item
                elif isinstance(item, Progress):
                    result.report(item)
                else:
                    result.update(item)
        except StopIteration as end:
            result.update(end.value)
        except (Unheard, Cancelled):
            return
        finally:
            work.close()


def _hear(call: Generator[Any, None, Any], listener: Callable[[Any], None]) -> Any:
    """What a call ends with; all that comes before goes to `listener`."""
    try:
        while True:
            listener(next(call))
    except StopIteration as end:
        return end.value
    finally:
        call.close()


def _parts(messages: Messages | str) -> Sequence[Any]:
    return [messages] if isinstance(messages, str) else messages


def _digest(part: Any) -> bytes:
    return hashlib.sha256(repr(part).encode("utf-8", "replace")).digest()
