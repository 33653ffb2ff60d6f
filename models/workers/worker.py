"""The worker's side: one engine, and a thread for each request of the host.

    python -m models.workers.worker NAME        the line is standard input and output; the name is for `ps`

A request is {"id", "call", "arguments"}. All that comes of it carries its id: {"item"} for each thing as it
comes, {"made": true} when a question is read and only the answer is left, and last {"end": value} or
{"error": ModelError}. {"cancel": id} sets its event. The process ends with the line.
"""

import faulthandler
import gc
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from models.engines.base import ChatEngine, Engine, SpeechEngine
from models.errors import EngineFailed, ModelError, short
from models.schema import Checkpoint, Placement, Progress, Segment, SpeechOptions
from models.workers.channel import Channel
from models.workers.limits import end_with_parent, limit_memory, take_second_place

# Threads of a calculation that wait for one another give their processor away instead of turning in circles on it.
WAITING = ("OMP_WAIT_POLICY", "PASSIVE")
# What a host has to know of an engine, by kind.
KNOWN = (
    "placement",
    "report",
    "context_length",
    "has_chat_template",
    "served",
    "continues_answers",
    "response_formats",
)


class Call:
    """One request, and the way back to the host."""

    def __init__(self, channel: Channel, number: int) -> None:
        self._channel, self._number = channel, number
        self.cancel = threading.Event()

    def tell(self, **what: Any) -> None:
        self._channel.send({"id": self._number, **what})

    def send(self, item: Any) -> None:
        self.tell(item=item)


class Worker:
    """Serves one host until the line is closed."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._calls: dict[int, Call] = {}
        self._engine: Any = None

    def serve(self) -> None:
        """Raises EOFError once the host is gone."""
        while True:
            message = self._channel.receive()
            if "cancel" in message:
                if call := self._calls.get(message["cancel"]):
                    call.cancel.set()
                continue
            call = self._calls[message["id"]] = Call(self._channel, message["id"])
            threading.Thread(target=self._answer, args=(call, message), daemon=True).start()

    def _answer(self, call: Call, message: Mapping[str, Any]) -> None:
        work: Callable[..., Any] = getattr(self, f"_{message['call']}")
        try:
            end = work(call, *message["arguments"])
        except BaseException as error:  # whatever it is, an exit too, it belongs to the one who asked
            answer = {"error": self._explain(error)}
        else:
            answer = {"end": end}
        del self._calls[message["id"]]
        with suppress(OSError):  # the host is gone, which `serve` sees as well
            call.tell(**answer)

    def _explain(self, error: BaseException) -> ModelError:
        if isinstance(error, ModelError):
            return error
        name = self._engine.checkpoint.name if self._engine else "The engine"
        said = short(error)
        return EngineFailed(
            f"{name} failed ({said}): try again, or load it anew.",
            f"{name} 出错（{said}）：请重试，或重新加载。",
        )

    # --- what a host may ask for ------------------------------------------------------------------

    def _load(
        self, call: Call, engine: str, path: str, checkpoint: Checkpoint, placement: Placement, planned: int
    ) -> dict[str, Any]:
        """Progress comes while the engine is made; at the end what there is to know of it."""
        if placement.device == "cpu":
            limit_memory(planned, Path(path))
        module, kind = engine.split(":")
        make: type[Engine] = getattr(import_module(module), kind)
        if make.gives_way:
            os.environ.setdefault(*WAITING)  # read when a library is loaded, which is below
        self._engine = make(Path(path), checkpoint, placement, call.send, call.cancel)
        # What a library created stays: without this, every full collection walks through it.
        gc.collect()
        gc.freeze()
        return {name: getattr(self._engine, name) for name in KNOWN if hasattr(self._engine, name)}

    def _stream(self, call: Call, *asked: Any) -> None:
        engine: ChatEngine = self._engine
        with engine.request():
            request = engine.make_request(*asked)
            call.tell(made=True)
            for event in engine.answer(request, call.cancel):
                call.send(event)

    def _count_tokens(self, call: Call, *asked: Any) -> int:
        engine: ChatEngine = self._engine
        return engine.count_tokens(*asked)

    def _tokenize(self, call: Call, text: str) -> list[int]:
        engine: ChatEngine = self._engine
        return engine.tokenize(text)

    def _detokenize(self, call: Call, ids: list[int]) -> str:
        engine: ChatEngine = self._engine
        return engine.detokenize(ids)

    def _dropped(self, call: Call, *asked: Any) -> int:
        engine: ChatEngine = self._engine
        return engine.dropped(*asked)

    def _notes(self, call: Call, options: SpeechOptions) -> tuple[Any, ...]:
        engine: SpeechEngine = self._engine
        return engine.notes(options)

    def _transcribe(
        self, call: Call, audio: Any, options: SpeechOptions | None, done: Sequence[Segment]
    ) -> dict[str, Any]:
        """Segments and Progress come, and before each of them the facts of the transcript."""
        engine: SpeechEngine = self._engine
        call.tell(made=True)

        def report(progress: Progress) -> None:
            call.send(transcript.facts())
            call.send(progress)

        transcript = engine.transcribe(audio, options, call.cancel, report, done)
        for segment in transcript:
            call.send(transcript.facts())
            call.send(segment)
        return transcript.facts()


def main() -> None:
    end_with_parent()
    take_second_place()
    # What libraries print goes to the server's log, never into the line.
    reader, writer = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    faulthandler.enable()
    with suppress(EOFError):
        Worker(Channel(reader, writer)).serve()
    sys.stderr.flush()
    os._exit(0)  # whatever still runs: nobody hears it


if __name__ == "__main__":
    main()
