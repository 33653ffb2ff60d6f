"""What stands for llama.cpp: a `xllamacpp.Server` that says what it is told to, and counts words as tokens."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Chunk = dict[str, Any]
Hear = Callable[[Chunk], bool]


def said(text: str, **more: Any) -> Chunk:
    """A chunk of a chat's answer."""
    return {"choices": [{"delta": {"content": text}}], **more}


def ended(reason: str = "stop", **more: Any) -> Chunk:
    """The last chunk of a chat's answer."""
    return {"choices": [{"delta": {}, "finish_reason": reason}], **more}


def called(index: int = 0, **function: str) -> Chunk:
    """A piece of a call: its "name", or a bit of its "arguments"."""
    return {"choices": [{"delta": {"tool_calls": [{"index": index, "function": function}]}}]}


class Llama:
    """Answers every question with the same chunks.

    Attributes:
        params: what the engine set.
        asked: "completions" or "chat", and the request; the warm-up apart.
        warmed_up: the requests for one token.
        posted: path, body and Authorization of what came over HTTP.
        answering: how many questions are being answered now.
        go: an answer waits for it before its first chunk.
    """

    def __init__(self, chunks: Iterable[Chunk] = (said("fox "), ended())) -> None:
        self.chunks = chunks
        self.params: Any = None
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.warmed_up: list[dict[str, Any]] = []
        self.posted: list[tuple[str, dict[str, Any], str | None]] = []
        self.refusal: dict[str, Any] | None = None
        self.answering = 0
        self.go = threading.Event()
        self.go.set()
        self.listening_address = ""

    def __call__(self, params: Any) -> "Llama":
        self.params = params
        return self

    def handle_completions(self, asked: dict[str, Any], hear: Hear) -> None:
        if asked.get("max_tokens") == 1:
            self.warmed_up.append(asked)
        else:
            self._answer("completions", asked, hear)

    def handle_chat_completions(self, asked: dict[str, Any], hear: Hear) -> None:
        self._answer("chat", asked, hear)

    def _answer(self, kind: str, asked: dict[str, Any], hear: Hear) -> None:
        self.asked.append((kind, asked))
        self.answering += 1
        try:
            self.go.wait()
            for chunk in self.chunks:
                if hear(chunk):
                    return
        finally:
            self.answering -= 1

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if self.refusal:
            return {"error": self.refusal}
        if path == "/apply-template":
            return {"prompt": " ".join(f"{m['role']} {m['content']}" for m in body["messages"])}
        return {"tokens": body["content"].split()}

    @contextmanager
    def listening(self) -> Iterator["Llama"]:
        """With its own port on this machine open."""

        class Handler(BaseHTTPRequestHandler):
            llama = self

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.llama.posted.append((self.path, body, self.headers["Authorization"]))
                self.reply(self.llama.post(self.path, body))

            def do_GET(self) -> None:
                self.reply({"data": [{"id": "tiny", "meta": {"n_ctx": 256}}]})

            def reply(self, said: dict[str, Any]) -> None:
                answer = json.dumps(said).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: Any) -> None:
                """Quiet."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.listening_address = f"http://127.0.0.1:{server.server_port}"
            thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
            thread.start()
            yield self
            server.shutdown()
            thread.join()
