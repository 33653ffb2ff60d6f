"""A model elsewhere that says word for word what a test says, when it says it."""

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.fakes.waiting import WAIT


class Speaker:
    """An OpenAI-compatible server, of one answer at a time."""

    def __init__(self) -> None:
        self.address = ""
        self.begun = threading.Semaphore(0)  # released when an answer is asked for
        self.left = threading.Semaphore(0)  # and when nobody listens any more
        self._words: queue.Queue[str | None] = queue.Queue()

    def say(self, text: str) -> None:
        """Go on with an answer."""
        self._words.put(text)

    def end(self) -> None:
        self._words.put(None)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self._words = queue.Queue()
        self.begun.release()
        try:
            while (word := self._next(handler)) is not None:
                _send(handler, {"choices": [{"delta": {"content": word}}]})
            _send(handler, {"choices": [{"delta": {}, "finish_reason": "stop"}]})
            handler.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            self.left.release()

    def _next(self, handler: BaseHTTPRequestHandler) -> str | None:
        while True:
            try:
                return self._words.get(timeout=0.05)
            except queue.Empty:
                handler.wfile.write(b": still here\n\n")  # fails once nobody listens


def _send(handler: BaseHTTPRequestHandler, event: Any) -> None:
    handler.wfile.write(f"data: {json.dumps(event)}\n\n".encode())


class ModelHandler(BaseHTTPRequestHandler):
    """An OpenAI-compatible server of one model, whose answers `answer` writes."""

    def answer(self) -> None:
        raise NotImplementedError

    def log_message(self, *arguments: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._begin("application/json")
        self.wfile.write(json.dumps({"data": [{"id": "tiny", "max_model_len": 4096}]}).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/v1/chat/completions":
            self.send_error(404)
            return
        self._begin("text/event-stream")
        self.answer()

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()


@contextmanager
def serving(handler: type[ModelHandler]) -> Iterator[str]:
    """The address of such a server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join(WAIT)


@contextmanager
def speaking() -> Iterator[Speaker]:
    """A speaker, at its address."""
    speaker = Speaker()

    class Handler(ModelHandler):
        def answer(self) -> None:
            speaker.answer(self)

    with serving(Handler) as speaker.address:
        yield speaker
