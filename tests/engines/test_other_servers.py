"""Servers of other makers: every shape in which they answer is read as the official clients read it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from models import ChatOptions, Delta, Done, EngineFailed, Event, Loader, ToolCall, UnsupportedCheckpoint
from models.catalog import allowed, find
from models.engines import remote
from models.engines.remote import RemoteEngine

HELLO = [{"role": "user", "content": "hi"}]
STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


class Server:
    """Answers every question with `body`, and lists `models`."""

    def __init__(self) -> None:
        self.body, self.kind = b"", "text/event-stream"
        self.models: list[dict[str, Any]] = [{"id": "tiny"}]
        self.asked: list[str] = []
        own = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None: ...

            def do_GET(self) -> None:
                self.answer(json.dumps({"data": own.models}).encode(), "application/json")

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if not self.path.endswith("/completions"):
                    self.send_error(404)
                    return
                own.asked.append(asked["model"])
                self.answer(own.body, own.kind)

            def answer(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}/v1"

    def says(self, *chunks: Any, prefix: str = "data: ", end: str = "data: [DONE]\n\n") -> None:
        lines = [chunk if isinstance(chunk, str) else f"{prefix}{json.dumps(chunk)}\n\n" for chunk in chunks]
        self.body = ("".join(lines) + end).encode()

    def answer(self, name: str = "") -> list[Event]:
        engine = Loader().load(self.address + name)
        assert isinstance(engine, RemoteEngine)
        return list(engine.stream(HELLO, ChatOptions(max_new_tokens=8)))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def chunk(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta}]}


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def calls(events: list[Event]) -> list[tuple[str, Any]]:
    return [(event.name, event.arguments) for event in events if isinstance(event, ToolCall)]


def reason(events: list[Event]) -> str:
    assert isinstance(events[-1], Done)
    return events[-1].finish_reason


# --- lines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["data: ", "data:", "event: message\nid: 1\ndata: ", ": hi\n\ndata: "])
@pytest.mark.parametrize("end", ["data: [DONE]\n\n", "data:[DONE]\n\n", "data: [DONE] \r\n\r\n", ""])
def test_lines_of_events(prefix: str, end: str, server: Server) -> None:
    server.says(chunk(content="Hel"), chunk(content="lo"), STOP, prefix=prefix, end=end)
    events = server.answer()
    assert (text(events), reason(events)) == ("Hello", "stop")


def test_a_last_line_without_an_end_an_empty_one_and_a_mark_of_utf_8(server: Server) -> None:
    server.body = (
        b"\xef\xbb\xbfdata:\n\n"
        + f"data: {json.dumps(chunk(content='Hi'))}\n\ndata: {json.dumps(STOP)}".encode()
    )
    assert text(server.answer()) == "Hi"


def test_an_event_over_several_lines(server: Server) -> None:
    written = json.dumps(chunk(content="Hi"), indent=1).replace("\n", "\ndata: ")
    server.says(f"data: {written}\n\n", STOP)
    assert text(server.answer()) == "Hi"


def test_an_event_may_not_grow_without_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waited for the rest of it would hold it all."""
    event = json.dumps({**chunk(content="Hello"), "rest": [0] * 500}, indent=0)
    server.says("".join(f"data: {line}\n" for line in event.splitlines()), STOP)
    assert text(server.answer()) == "Hello"
    monkeypatch.setattr(remote, "LONGEST", 1000)
    with pytest.raises(EngineFailed, match="before it was complete"):
        server.answer()


def test_a_server_that_does_not_stream(server: Server) -> None:
    message = {"role": "assistant", "content": "Hello"}
    server.kind = "application/json"
    server.body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
    assert text(server.answer()) == "Hello"


@pytest.mark.parametrize(
    "body",
    [
        chunk(content="Hel"),  # and no end
        {"choices": [{"delta": {"content": 5}}]},
        {"choices": ["x"]},
        {"choices": [{"delta": "x"}]},
        {"choices": 5},
        chunk(tool_calls=["x"]),
        chunk(tool_calls=[{"function": "x"}]),
        {"error": {"message": "Out of memory"}},
        {"message": "Out of memory", "code": 500},
        [1],
        "data: {oops\n\n",
    ],
)
def test_anything_else_is_a_sentence(body: Any, server: Server) -> None:
    server.says(body, end="")
    with pytest.raises(EngineFailed) as failed:
        server.answer()
    assert failed.value.en.endswith(".") and failed.value.zh.endswith("。")


# --- what is in them -----------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_thoughts_are_no_answer_but_where_there_is_no_other(key: str, server: Server) -> None:
    server.says(
        chunk(role="assistant", content=""), chunk(**{key: "They greet."}), chunk(content="Hello"), STOP
    )
    assert text(server.answer()) == "Hello"
    cut = {"choices": [{"delta": {}, "finish_reason": "length"}]}
    server.says(chunk(**{key: "I must "}), chunk(**{key: "think"}), cut)
    events = server.answer()
    assert (text(events), reason(events)) == ("I must think", "length")
    call = {"index": 0, "function": {"name": "f", "arguments": "{}"}}
    server.says(chunk(**{key: "I have to look."}), chunk(tool_calls=[call]), STOP)
    events = server.answer()
    assert (text(events), calls(events)) == ("", [("f", {})])


def test_content_in_parts_and_null_fields(server: Server) -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}, {"type": "image"}]
    nothing = {
        "id": None,
        "choices": [{"delta": {"content": None, "tool_calls": None}, "finish_reason": None}],
    }
    server.says({"choices": None}, nothing, chunk(content=parts), STOP, {"choices": [], "usage": None})
    assert text(server.answer()) == "Hello"


@pytest.mark.parametrize(
    "place",
    [
        lambda usage: {"choices": [], "usage": usage},
        lambda usage: {"choices": [{"delta": {}, "usage": usage}]},
        lambda usage: {"choices": [], "x_groq": {"usage": usage}},
    ],
)
def test_figures_in_odd_places(place: Any, server: Server) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": None}
    server.says(chunk(content="Hi"), STOP, place(usage))
    done = server.answer()[-1]
    assert isinstance(done, Done) and (done.usage.prompt_tokens, done.usage.completion_tokens) == (7, 3)


def call(name: str | None, arguments: Any, **more: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": arguments}, **more}


@pytest.mark.parametrize(
    "parts",
    [
        [[call("f", '{"a": 1}', index=0, id="1")], [call("g", '{"b": 2}', index=1, id="2")]],
        [[call("f", '{"a": 1}', index=0, id="1")], [call("g", '{"b": 2}', index=0, id="2")]],
        [[call("f", '{"a": 1}')], [call("g", '{"b": 2}')]],
        [[call("f", {"a": 1}), call("g", {"b": 2})]],
        [[call("f", "", index=0, id="1")], [call(None, '{"a"', index=0)], [call("", ": 1}", index=0)],
         [call("g", '{"b": 2}', index=1)]],
    ],
)  # fmt: skip
def test_calls_in_every_form(parts: list[list[dict[str, Any]]], server: Server) -> None:
    end = {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}
    server.says(*(chunk(tool_calls=listed) for listed in parts), end)
    events = server.answer()
    assert calls(events) == [("f", {"a": 1}), ("g", {"b": 2})] and reason(events) == "tool_calls"


def test_the_call_of_the_older_form(server: Server) -> None:
    server.says(
        chunk(function_call={"name": "f", "arguments": '{"a"'}),
        chunk(function_call={"arguments": ": 1}"}),
        STOP,
    )
    assert calls(server.answer()) == [("f", {"a": 1})]


# --- several models ------------------------------------------------------------------------------


@pytest.fixture
def several(server: Server) -> Server:
    server.models = [
        {"id": "nomic-embed-text:latest"},
        {"id": "qwen3:8b"},
        {"id": "llama3.2:3b", "max_model_len": 64},
    ]
    server.says(chunk(content="Hi"), STOP)
    return server


def test_no_embedding_model_is_asked_to_chat(several: Server) -> None:
    several.answer()
    assert several.asked == ["qwen3:8b"]


def test_the_address_names_a_model(several: Server) -> None:
    assert find(f"{several.address}/#llama3.2:3b").name == f"{several.address}#llama3.2:3b"
    several.answer("#llama3.2:3b")
    assert several.asked == ["llama3.2:3b"]
    engine = Loader().load(f"{several.address}#llama3.2:3b")
    assert isinstance(engine, RemoteEngine) and engine.context_length == 64
    assert any("qwen3:8b" in note.en for note in engine.report.notes)
    with pytest.raises(UnsupportedCheckpoint, match="no model gpt: write one of these .* qwen3:8b"):
        several.answer("#gpt")


def test_a_named_model_is_allowed_where_its_server_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUINTET_REMOTES", "https://models.example/v1")
    allowed("https://models.example/v1#qwen3:8b")
    monkeypatch.delenv("QUINTET_REMOTES")
    monkeypatch.setenv("LLAMA2_MODEL_PATH", "https://models.example/v1#one")
    allowed("https://models.example/v1#another")
