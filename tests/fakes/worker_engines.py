"""Engines for worker processes, which do what they are told: answer, or come to grief."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.chat.request import ChatRequest
from models.engines.base import Audio, ChatEngine, SpeechEngine
from models.errors import BadInput
from models.schema import (
    Delta,
    Done,
    Event,
    LoadReport,
    Messages,
    OnProgress,
    Progress,
    Segment,
    SpeechOptions,
    Tools,
    Usage,
)
from models.speech.transcript import Transcript


def loop() -> None:
    while True:
        pass


def freeze() -> None:
    """Hold the interpreter's lock, as a library does that never gives it back."""
    ctypes.PyDLL(None).sleep(3600)


def crash() -> None:
    ctypes.string_at(0)


def take_memory() -> None:
    held = []
    for _ in range(64):
        held.append(bytearray(os.urandom(1)) * (1 << 28))


WORDS: Mapping[str, Callable[[], Any]] = {
    "loop": loop,
    "freeze": freeze,
    "crash": crash,
    "abort": os.abort,
    "exit": sys.exit,
    "leave": lambda: os._exit(3),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "print": lambda: os.write(1, b"a library's own words\n"),
    "memory": take_memory,
}


class ObedientEngine(ChatEngine):
    """Does what the newest message says: "read WORD" while it is counted, "answer WORD" after a piece of the answer.

    Whatever else is said it repeats, word by word. A path of such words is obeyed by the load.
    """

    def _load(self, path: Path, progress: OnProgress, cancel: threading.Event) -> None:
        self.has_chat_template = True
        self.context_length = 4096
        progress(Progress("load", 1, 2))
        _obey("load", path.name.replace("-", " "))

    def _report(self, seconds: float) -> LoadReport:
        return LoadReport(os.environ.get("OMP_WAIT_POLICY", "none"), 0, {"": "cpu"}, seconds)

    def _close(self) -> None:
        pass

    def _count_tokens(self, messages: Messages | str, tools: Tools) -> int:
        text = _newest(messages)
        _obey("read", text)
        if text == "refuse":
            raise BadInput("not this.", "不行。")
        return len(text.split())

    def _stream(self, request: ChatRequest, cancel: threading.Event) -> Iterator[Event]:
        for word in _newest(request.messages).split():
            yield Delta(f"{word} ")
            if word == "wait":
                cancel.wait()
                yield Done("cancelled", Usage())
                return
        _obey("answer", _newest(request.messages))
        yield Done("stop", Usage(prompt_tokens=len(request.messages), cached_tokens=os.getpid()))


class SpinningEngine(ObedientEngine):
    """One whose threads keep their processor while they wait."""

    gives_way = False


class ObedientSpeechEngine(SpeechEngine):
    """Says how many bytes or samples it was given."""

    def _load(self, path: Path, progress: OnProgress, cancel: threading.Event) -> None:
        pass

    def _report(self, seconds: float) -> LoadReport:
        return LoadReport("none", 0, {"": "cpu"}, seconds)

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
        result.language, result.duration = options.language, 2.0
        if isinstance(audio, (str, Path)):
            _obey("hear", Path(audio).name.replace("-", " "))
        heard = f"{audio.dtype} {audio.sum()}" if hasattr(audio, "dtype") else Path(audio).read_text()
        yield from done
        yield Segment(0.0, 1.0, heard)
        result.reach(1.0)
        while not cancel.wait(0.01) and heard == "wait":
            pass
        if not cancel.is_set():
            yield Segment(1.0, 2.0, "end")


def _newest(messages: Messages | str) -> str:
    return messages if isinstance(messages, str) else str(messages[-1]["content"])


def _obey(when: str, text: str) -> None:
    first, _, word = text.partition(" ")
    if first == when:
        WORDS[word]()
