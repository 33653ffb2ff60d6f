"""The remote engine: against llama.cpp's own server, and against servers that misbehave."""

import asyncio
import json
import socketserver
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest

import models
from models import (
    AccessDenied,
    BadInput,
    ChatEngine,
    ChatOptions,
    Delta,
    Done,
    EngineClosed,
    EngineFailed,
    HubUnreachable,
    ModelError,
    Prefill,
    ToolCall,
    UnsupportedCheckpoint,
    UnsupportedPlacement,
)
from models.engines.remote import SHORT, SILENCE, RemoteEngine, _lines, estimate
from models.loader import Loader
from tests.fakes.waiting import WAIT

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY = ChatOptions(max_new_tokens=16, temperature=0.0)


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QUINTET_REMOTE_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def load(address: str, context: int | None = None) -> RemoteEngine:
    engine = Loader().load(address, context=context)
    assert isinstance(engine, RemoteEngine)
    return engine


def text_of(engine: ChatEngine, messages: Any, options: ChatOptions = GREEDY) -> str:
    return "".join(event.text for event in engine.stream(messages, options) if isinstance(event, Delta))


# --- a server that does as it is told -------------------------------------------------------------


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are what is tested."""


@dataclass
class Script:
    """What the server answers, and what it was asked."""

    models: Any = field(default_factory=lambda: {"data": [{"id": "tiny", "max_model_len": 100}]})
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    answer: Callable[["Handler"], None] = lambda handler: handler.say("Hel", "lo")
    counts: bool = False
    asked: list[tuple[str, dict[str, Any], Any]] = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)
    address: str = ""


class Handler(BaseHTTPRequestHandler):
    script: Script

    def log_message(self, *arguments: Any) -> None: ...

    def do_GET(self) -> None:
        self.note(None)
        self.reply(self.script.status, self.script.models, self.script.headers)

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.note(question)
        if self.path.endswith("/completions"):
            self.answer()
        elif self.path == "/tokenize" and self.script.counts:
            self.reply(200, {"count": 7 * len(question.get("messages", "1"))})
        else:
            self.reply(404, {"detail": "Not Found"})

    def answer(self) -> None:
        try:
            self.script.answer(self)
        except ConnectionError:  # closed with something unread
            self.script.hung_up.set()

    def note(self, question: Any) -> None:
        self.script.asked.append((self.path, dict(self.headers), question))

    def reply(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.encode() if isinstance(answer, str) else json.dumps(answer).encode())

    def chunk(self, chunk: Any) -> None:
        data = chunk if isinstance(chunk, str) else json.dumps(chunk, ensure_ascii=False)
        self.wfile.write(f"data: {data}\r\n\r\n".encode())
        self.wfile.flush()

    def begin(self) -> None:
        self.reply(200, ": a comment\n\n", {"Content-Type": "text/event-stream"})

    def say(self, *texts: str, reason: str = "stop") -> None:
        self.begin()
        for text in texts:
            self.chunk({"choices": [{"delta": {"content": text}, "finish_reason": None}], "usage": None})
        self.chunk({"choices": [{"delta": {}, "finish_reason": reason}]})
        self.chunk({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}})
        self.chunk("[DONE]")

    def wait_for_hang_up(self) -> None:
        if self.connection.recv(1) == b"":
            self.script.hung_up.set()


@pytest.fixture
def script() -> Iterator[Script]:
    chosen = Script()
    handler = type("Scripted", (Handler,), {"script": chosen})
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        chosen.address = f"http://127.0.0.1:{server.server_address[1]}/v1"
        yield chosen
        server.shutdown()
        thread.join(10)


@contextmanager
def refusing_port() -> Iterator[int]:
    """A port that nobody listens on, kept so that nobody else takes it."""
    with socketserver.TCPServer(
        ("127.0.0.1", 0), socketserver.BaseRequestHandler, bind_and_activate=False
    ) as it:
        it.server_bind()
        yield it.socket.getsockname()[1]


# --- loading ------------------------------------------------------------------------------------


def test_what_the_server_says_of_itself(script: Script) -> None:
    engine = load(script.address)
    assert (engine.model, engine.context_length) == ("tiny", 100)
    assert (engine.placement.device, engine.placement.precision) == ("remote", "remote")
    assert engine.placement.context == 100
    assert (engine.report.weights, engine.report.notes[0].en) == (0, "tiny answers")


def test_a_shorter_context_can_be_asked_for(script: Script) -> None:
    assert load(script.address, context=50).context_length == 50
    assert load(script.address, context=500).context_length == 100


def test_a_server_that_tells_no_context(script: Script) -> None:
    script.models = {"data": [{"id": "tiny"}]}
    assert load(script.address).context_length == 8192


@pytest.mark.parametrize(
    "listed",
    ["<html>Welcome</html>", "[]", {}, {"data": []}, {"data": [{}]}, {"data": ["tiny"]}, {"data": None}],
)
def test_what_is_no_openai_server(script: Script, listed: Any) -> None:
    script.models = listed
    with pytest.raises(UnsupportedCheckpoint, match="no OpenAI-compatible server"):
        load(script.address)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, AccessDenied, "QUINTET_REMOTES"),
        (403, AccessDenied, "asks for a key"),
        (404, UnsupportedCheckpoint, "check the address"),
        (405, UnsupportedCheckpoint, "check the address"),
        (503, EngineFailed, "status 503"),
    ],
)
def test_refusals_while_loading(script: Script, status: int, error: type[ModelError], words: str) -> None:
    script.status, script.models = status, "<html>"
    with pytest.raises(error, match=words):
        load(script.address)


def test_redirects_are_not_followed(script: Script) -> None:
    script.status, script.headers = 302, {"Location": script.address.replace("/v1", "/elsewhere")}
    with pytest.raises(UnsupportedCheckpoint):
        load(script.address)
    assert [path for path, _, _ in script.asked] == ["/v1/models"]


def test_nobody_listens() -> None:
    with refusing_port() as port, pytest.raises(HubUnreachable, match="No server answers"):
        load(f"http://127.0.0.1:{port}/v1")


def keys_sent(script: Script) -> set[str | None]:
    text_of(load(script.address), QUESTION)
    return {headers.get("Authorization") for _, headers, _ in script.asked}


@pytest.mark.parametrize(
    "listed", ["{address} sesame", "elsewhere:1 other, {host}  sesame", "{address}/ sesame"]
)
def test_the_key_is_sent_and_never_shown(
    script: Script, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = script.address.removeprefix("http://").removesuffix("/v1")
    monkeypatch.setenv("QUINTET_REMOTES", listed.format(address=script.address, host=host))
    monkeypatch.setenv("QUINTET_REMOTE_KEY", "general")
    assert keys_sent(script) == {"Bearer sesame"}
    script.status = 401
    with pytest.raises(AccessDenied, match="QUINTET_REMOTES") as caught:
        load(script.address)
    assert "sesame" not in caught.value.en + caught.value.zh


@pytest.mark.parametrize("variable", ["QUINTET_REMOTES", "GEMMA_MODEL_PATH"])
def test_one_key_for_all_that_are_listed(
    script: Script, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUINTET_REMOTE_KEY", "general")
    monkeypatch.setenv(variable, script.address)
    assert keys_sent(script) == {"Bearer general"}


@pytest.mark.parametrize(
    "listed",
    [
        "",
        "127.0.0.1",
        "127.0.0.1 sesame",
        "{address}/v1 sesame",
        "http://127.0.0.1:1/v1 sesame",
        "127.0.0.1:1 x",
    ],
)
def test_no_key_goes_to_a_server_that_is_not_listed(
    script: Script, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "QUINTET_REMOTE_KEY"):
        monkeypatch.setenv(name, "general")
    monkeypatch.setenv("QUINTET_REMOTES", listed.format(address=script.address))
    assert keys_sent(script) == {None}


def test_the_general_key_of_openai_goes_nowhere(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "general")
    monkeypatch.setenv("QUINTET_REMOTES", script.address)
    assert keys_sent(script) == {None}


def test_a_proxy_is_not_asked_for_this_machine(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    with refusing_port() as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        assert text_of(load(script.address), QUESTION) == "Hello"


@pytest.mark.parametrize("choice", [{"device": "cpu"}, {"precision": "int4"}])
def test_a_placement_cannot_be_chosen(script: Script, choice: dict[str, str]) -> None:
    with pytest.raises(UnsupportedPlacement, match="its server runs"):
        Loader().load(script.address, **choice)
    assert script.asked == []


def test_the_plan_costs_nothing_and_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.placement, "devices", lambda: pytest.fail("the devices were looked at"))
    plan = Loader().plan("https://example.org/v1")
    assert (plan.total, plan.fits, plan.placement.device) == (0, True, "remote")


# --- answers ------------------------------------------------------------------------------------


def test_text_and_figures(script: Script) -> None:
    *deltas, done = load(script.address).stream(QUESTION)
    assert [event.text for event in deltas if isinstance(event, Delta)] == ["Hel", "lo"]
    assert isinstance(done, Done) and done.finish_reason == "stop"
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (9, 2)


def test_lines_are_whole_however_they_arrive() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"data: {", b'"a": 1}\r', b"\ndata", b": 2\n\nda", b"ta"):
            yield piece

    async def read() -> list[bytes]:
        return [line async for line in _lines(pieces())]

    assert asyncio.run(read())[:3] == [b'data: {"a": 1}', b"data: 2", b""]


def test_every_option_is_passed(script: Script) -> None:
    options = ChatOptions(
        max_new_tokens=5,
        temperature=0.5,
        top_p=0.25,
        top_k=7,
        min_p=0.125,
        repetition_penalty=1.5,
        seed=3,
        stop=("END",),
    )
    list(load(script.address).stream(QUESTION, options))
    path, _, sent = script.asked[-1]
    assert path == "/v1/chat/completions"
    assert sent["messages"] == QUESTION
    wanted = {
        "model": "tiny",
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.25,
        "top_k": 7,
        "min_p": 0.125,
        "repeat_penalty": 1.5,
        "repetition_penalty": 1.5,
        "seed": 3,
        "stop": ["END"],
        "stream": True,
    }
    assert {name: sent[name] for name in wanted} == wanted


def test_all_tokens_are_asked_for_in_a_way_that_every_server_takes(script: Script) -> None:
    list(load(script.address).stream(QUESTION, ChatOptions(top_k=0, top_p=0.0)))
    _, _, sent = script.asked[-1]
    assert sent["top_k"] == -1 and 0 < sent["top_p"] < 1e-3
    assert "seed" not in sent


def test_a_text_is_continued(script: Script) -> None:
    list(load(script.address).stream("Once upon a"))
    path, _, sent = script.asked[-1]
    assert (path, sent["prompt"], "messages" in sent) == ("/v1/completions", "Once upon a", False)


def test_an_answer_that_was_too_long(script: Script) -> None:
    script.answer = lambda handler: handler.say("Hel", reason="length")
    *_, done = load(script.address).stream(QUESTION)
    assert isinstance(done, Done) and done.finish_reason == "length"


def test_line_separators_inside_a_text(script: Script) -> None:
    script.answer = lambda handler: handler.say("a\u2028b\x85c", "\n")
    assert text_of(load(script.address), QUESTION) == "a\u2028b\x85c\n"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ({"error": {"message": "out of memory"}}, "out of memory"),
        ({"object": "error", "message": "worker died"}, "worker died"),
        ({"error": "plain"}, "plain"),
        ([], "refused"),
        ("{not json", "before it was complete"),
    ],
)
def test_an_error_in_the_stream(script: Script, error: Any, sentence: str) -> None:
    def answer(handler: Handler) -> None:
        handler.begin()
        handler.chunk({"choices": [{"delta": {"content": "Hel"}}]})
        handler.chunk(error)

    script.answer = answer
    stream = load(script.address).stream(QUESTION)
    assert next(stream) == Delta("Hel")
    with pytest.raises(EngineFailed, match=sentence):
        next(stream)


def test_a_server_may_think_for_long_and_has_to_be_there_soon(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long prompt is read for minutes without a byte."""
    patience: list[Any] = []

    class Client(httpx2.AsyncClient):
        def __init__(self, **settings: Any) -> None:
            patience.append(settings["timeout"])
            super().__init__(**settings)

    monkeypatch.setattr(httpx2, "AsyncClient", Client)
    assert text_of(load(script.address), QUESTION) == "Hello"
    assert [(each.connect, each.read) for each in patience] == [(SHORT, SILENCE)]


def test_a_connection_that_drops(script: Script) -> None:
    def answer(handler: Handler) -> None:
        handler.begin()
        handler.chunk({"choices": [{"delta": {"content": "Hel"}}]})

    script.answer = answer
    stream = load(script.address).stream(QUESTION)
    assert next(stream) == Delta("Hel")
    with pytest.raises(EngineFailed, match="before it was complete"):
        next(stream)


@pytest.mark.parametrize(
    ("status", "answer", "error", "sentence"),
    [
        (401, {}, AccessDenied, "key"),
        (400, {"error": {"message": "no images here.\nTraceback"}}, EngineFailed, "no images here;"),
        (422, {"detail": "wrong field"}, EngineFailed, "wrong field"),
        (502, "<html>", EngineFailed, "status 502"),
        (
            400,
            {"error": {"type": "exceed_context_size_error", "n_prompt_tokens": 900, "n_ctx": 100}},
            BadInput,
            "900 tokens and the context holds 100",
        ),
    ],
)
def test_a_refused_request(
    script: Script, status: int, answer: Any, error: type[ModelError], sentence: str
) -> None:
    script.answer = lambda handler: handler.reply(status, answer)
    with pytest.raises(error, match=sentence):
        list(load(script.address).stream(QUESTION))


# --- tools ----------------------------------------------------------------------------------------

WEATHER = {"name": "get_weather", "description": "", "parameters": {"type": "object", "properties": {}}}


def saying(*parts: dict[str, Any], reason: str = "tool_calls") -> Callable[[Handler], None]:
    """An answer whose chunks hold these parts of calls."""

    def answer(handler: Handler) -> None:
        handler.begin()
        for part in parts:
            handler.chunk({"choices": [{"delta": {"content": None, "tool_calls": [part]}}]})
        handler.chunk({"choices": [{"delta": {}, "finish_reason": reason}]})
        handler.chunk("[DONE]")

    return answer


def test_tools_are_sent_and_calls_come_back(script: Script) -> None:
    script.answer = saying(
        {"index": 0, "id": "a", "type": "function", "function": {"name": "get_weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"city": '}},
        {"index": 0, "function": {"arguments": '"北京"}'}},
        {"index": 1, "id": "b", "type": "function", "function": {"name": "now"}},
    )
    weather, now, done = load(script.address).stream(QUESTION, tools=[WEATHER])
    assert weather == ToolCall("get_weather", {"city": "北京"}, '{"city": "北京"}')
    assert now == ToolCall("now", {}) and isinstance(done, Done) and done.finish_reason == "tool_calls"
    sent = script.asked[-1][2]
    assert sent["tools"] == [{"type": "function", "function": WEATHER}]
    assert sent["messages"] == QUESTION


@pytest.mark.parametrize("reason", ["tool_calls", "stop"])
def test_a_call_that_is_no_json(script: Script, reason: str) -> None:
    script.answer = saying({"index": 0, "function": {"name": "f", "arguments": "{city"}}, reason=reason)
    call, done = load(script.address).stream(QUESTION, tools=[WEATHER])
    assert isinstance(call, ToolCall) and call.error is not None and call.text == "{city"
    assert isinstance(done, Done) and done.finish_reason == "tool_calls"


def test_a_call_at_which_the_answer_was_cut(script: Script) -> None:
    script.answer = saying({"index": 0, "function": {"name": "f", "arguments": "{}"}}, reason="length")
    call, done = load(script.address).stream(QUESTION, tools=[WEATHER])
    assert isinstance(call, ToolCall) and call.error is not None and "cut off" in call.error.en
    assert isinstance(done, Done) and done.finish_reason == "length"


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [({"city": "北京"}, '{"city": "北京"}'), ('{"a": 1}', '{"a": 1}'), ("{city", '{"malformed": "{city"}')],
)
def test_calls_are_given_back_as_json(script: Script, arguments: Any, sent: str) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
    said = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "晴"},
    ]
    list(load(script.address).stream([*QUESTION, *said]))
    _, calling, observed = script.asked[-1][2]["messages"]
    assert calling["tool_calls"] == [{**call, "function": {"name": "f", "arguments": sent}}]
    assert calling["content"] is None and observed == said[1]


def test_tools_and_calls_are_counted(script: Script) -> None:
    said = [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]
    asked = [*QUESTION, *said]
    assert estimate(QUESTION) < estimate(asked) < estimate(asked, [WEATHER])
    script.counts = True
    engine = load(script.address)
    engine.count_tokens(QUESTION, [WEATHER])
    assert script.asked[-1][2]["tools"] == [{"type": "function", "function": WEATHER}]


# --- stopping ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [False, True], ids=["before the first byte", "after the headers"])
def test_cancel_while_the_server_is_silent(script: Script, begun: bool) -> None:
    cancel = threading.Event()

    def answer(handler: Handler) -> None:
        if begun:
            handler.begin()
        cancel.set()
        handler.wait_for_hang_up()

    script.answer = answer
    [done] = load(script.address).stream(QUESTION, cancel=cancel)
    assert isinstance(done, Done) and done.finish_reason == "cancelled"
    assert script.hung_up.wait(WAIT)


def test_cancel_between_two_chunks(script: Script) -> None:
    def answer(handler: Handler) -> None:
        handler.begin()
        for _ in range(3):
            handler.chunk({"choices": [{"delta": {"content": "Hel"}}]})
        handler.wait_for_hang_up()

    script.answer = answer
    cancel = threading.Event()
    stream = load(script.address).stream(QUESTION, cancel=cancel)
    assert next(stream) == Delta("Hel")
    cancel.set()
    [done] = stream
    assert isinstance(done, Done) and done.finish_reason == "cancelled"
    assert script.hung_up.wait(WAIT)


def test_an_abandoned_answer_closes_the_connection(script: Script) -> None:
    def answer(handler: Handler) -> None:
        handler.begin()
        handler.chunk({"choices": [{"delta": {"content": "Hel"}}]})
        handler.wait_for_hang_up()

    script.answer = answer
    engine = load(script.address)
    stream = engine.stream(QUESTION)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert script.hung_up.wait(WAIT)
    assert engine.active == 0


def test_an_unloaded_engine_answers_no_more(script: Script) -> None:
    engine = load(script.address)
    assert engine.close_if_idle()
    with pytest.raises(EngineClosed):
        list(engine.stream("a"))


# --- counting -----------------------------------------------------------------------------------------


def test_the_server_counts_where_it_can(script: Script) -> None:
    script.counts = True
    engine = load(script.address)
    assert engine.count_tokens(QUESTION) == 7
    assert engine.count_tokens("Once") == 7
    assert len(engine.report.notes) == 1


BEGUN = [*QUESTION, {"role": "assistant", "content": "It is", "prefix": True}]


def test_a_server_that_counts_as_vllm_does_continues_answers(script: Script) -> None:
    script.counts = True
    engine = load(script.address)
    assert engine.continues_answers
    text_of(engine, BEGUN)
    asked = script.asked[-1][2]
    assert asked["continue_final_message"] is True and asked["add_generation_prompt"] is False
    assert asked["messages"][-1] == {"role": "assistant", "content": "It is"}
    text_of(engine, QUESTION)
    assert "continue_final_message" not in script.asked[-1][2]


def test_a_server_of_which_nothing_is_known_is_not_asked_to_continue(script: Script) -> None:
    engine = load(script.address)
    assert not engine.continues_answers
    with pytest.raises(BadInput, match="cannot continue"):
        list(engine.stream(BEGUN))


def test_a_server_is_asked_once_what_a_conversation_takes(script: Script) -> None:
    script.counts = True
    script.models = {"data": [{"id": "tiny", "max_model_len": 1000}]}
    engine = load(script.address)
    before = len(script.asked)
    turn = [*QUESTION, {"role": "assistant", "content": "Paris."}]
    asked = [*turn * 20, *QUESTION]
    for _ in range(2):  # as a page does while it is drawn, twice
        assert engine.dropped(asked, GREEDY) == 0 and engine.count_tokens(asked) == 7 * 41
    list(engine.stream(asked, GREEDY))
    assert [path for path, _, _ in script.asked[before:]] == ["/tokenize", "/v1/chat/completions"]


def test_an_estimate_says_that_it_is_one(script: Script) -> None:
    engine = load(script.address)
    assert engine.count_tokens(QUESTION) == estimate(QUESTION)
    assert "estimates" in engine.report.notes[1].en


def test_the_estimate() -> None:
    assert estimate("") == 0
    assert estimate("four") == 2
    assert estimate("法国的首都") == 5
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9000}}
    parts = [{"role": "user", "content": [{"type": "text", "text": "what"}, picture]}]
    assert estimate(parts) == 4 + 2


def test_the_oldest_turns_are_left_out(script: Script) -> None:
    turn = [{"role": "user", "content": "a" * 90}, {"role": "assistant", "content": "b"}]
    *_, done = load(script.address).stream([*turn, *turn, *QUESTION])
    assert isinstance(done, Done) and done.usage.dropped_messages == 4
    assert script.asked[-1][2]["messages"] == QUESTION


# --- a real server ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def llama_server() -> Iterator[str]:
    """llama.cpp's server with SmolLM2, locked with the key "sesame"; two contexts of 1024 tokens."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(Loader().fetch("smollm2-135m-instruct"))
    params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 2048, 2, 1
    params.api_keys = ["sesame"]
    params.verbosity = 0
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    server.handle_completions({"prompt": "a", "max_tokens": 1}, lambda _: None)  # for a clean end


# With its template's own system prompt this small file answers nonsense.
CAPITAL = [{"role": "system", "content": "You are a helpful assistant."}, *QUESTION]


@pytest.fixture
def llama(llama_server: str, monkeypatch: pytest.MonkeyPatch) -> RemoteEngine:
    monkeypatch.setenv("QUINTET_REMOTES", f"{llama_server} sesame")
    return load(llama_server)


@pytest.mark.weights
def test_a_real_server_answers(llama: RemoteEngine) -> None:
    assert llama.context_length == 1024
    seen = list(llama.stream(CAPITAL, GREEDY))
    assert "Paris" in "".join(event.text for event in seen if isinstance(event, Delta))
    assert any(isinstance(event, Prefill) for event in seen)
    done = seen[-1]
    assert isinstance(done, Done)
    assert done.usage.prompt_tokens == llama.count_tokens(CAPITAL)
    assert done.usage.tokens_per_second > 0


@pytest.mark.weights
def test_a_real_server_continues_a_text(llama: RemoteEngine) -> None:
    assert "Paris" in text_of(llama, "The capital of France is")
    assert llama.count_tokens("The capital of France is") == 5


@pytest.mark.weights
def test_a_real_server_hears_every_option(llama: RemoteEngine) -> None:
    def ask(**options: Any) -> str:
        # Every next token is far more likely than any other, so that rounding does not decide.
        return text_of(llama, "1, 2, 3, 4,", ChatOptions(max_new_tokens=12, **options))

    greedy = ask(temperature=0.0)
    assert greedy == ask(temperature=2.0, top_k=1) == ask(temperature=2.0, top_p=0.0)
    assert greedy == ask(temperature=2.0, min_p=1.0)
    assert greedy != ask(temperature=0.0, repetition_penalty=2.0)
    assert ask(temperature=2.0, seed=1) == ask(temperature=2.0, seed=1)
    assert ask(temperature=0.0, stop=("7",)) == " 5, 6, " and greedy.startswith(" 5, 6, 7,")


@pytest.mark.weights
def test_a_real_server_is_free_after_a_cancel(llama: RemoteEngine) -> None:
    cancel = threading.Event()
    answer = llama.stream("Once upon a time", ChatOptions(max_new_tokens=900), cancel)
    while not isinstance(next(answer), Delta):
        pass
    cancel.set()
    *_, done = answer
    assert isinstance(done, Done) and done.finish_reason == "cancelled"
    assert "Paris" in text_of(llama, CAPITAL)


@pytest.mark.weights
def test_a_real_server_refuses(
    llama_server: str, llama: RemoteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInput, match="tokens and the context holds 1024"):
        list(llama.stream("word " * 2000))
    monkeypatch.setenv("QUINTET_REMOTES", f"{llama_server} wrong")
    with pytest.raises(AccessDenied):
        load(llama_server)


@pytest.mark.weights
def test_a_real_server_on_the_command_line(
    llama_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from models.__main__ import main

    monkeypatch.setenv("QUINTET_REMOTES", f"{llama_server} sesame")
    asked = ["chat", llama_server, "--prompt", "Count from one to five.", "--temperature", "0"]
    assert main([*asked, "--max-new-tokens", "16"]) == 0
    assert capsys.readouterr().out.strip()
