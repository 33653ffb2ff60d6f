"""What the llama.cpp engine does on its own side of llama.cpp."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import models
from models import ChatOptions, Delta, Done, EngineFailed, ToolCall
from models.engines.gguf import GgufEngine, _file_type
from models.errors import DoesNotFit
from models.schema import Checkpoint, Placement


@pytest.mark.parametrize(
    ("name", "quantisation"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1"),
        ("gemma-3-270m-q4_k_m.gguf", "Q4_K_M"),
        ("Llama-3-8B-IQ3_XS-00001-of-00002.gguf", "IQ3_XS"),
        ("qwen2.5-7b-fp16.gguf", "FP16"),
        ("model-BF16.gguf", "BF16"),
        ("model-F16-to-Q4_K_M.gguf", "Q4_K_M"),
        ("Qwen2.5-7B.gguf", "GGUF"),  # Q and a number, and no quantisation
        ("falcon-h1.gguf", "GGUF"),
    ],
)
def test_the_quantisation_is_read_from_the_name(name: str, quantisation: str) -> None:
    assert _file_type(Path(name)) == quantisation


class Server:
    """Stands for llama.cpp: calls a tool whatever is asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.posted: list[dict[str, Any]] = []

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.posted.append(body)
        return {"prompt": "p", "tokens": [1]}

    def handle_completions(self, asked: dict[str, Any], hear: Callable[[Any], Any]) -> None:
        """The warm-up."""

    def handle_chat_completions(self, asked: dict[str, Any], hear: Callable[[Any], Any]) -> None:
        self.asked.append(asked)
        part = {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"a": 1}'}}
        hear({"choices": [{"delta": {"tool_calls": [part]}}]})
        hear({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Server], GgufEngine]:
    def answered_by(server: Server) -> GgufEngine:
        monkeypatch.setattr("xllamacpp.Server", lambda params: server if params.use_jinja else None)
        monkeypatch.setattr(GgufEngine, "_post", server.post)
        file = tmp_path / "tiny.gguf"
        file.touch()
        checkpoint = Checkpoint("tiny", "other", "chat", "gguf")
        return GgufEngine(file, checkpoint, Placement("cpu", "file", context=64))

    return answered_by


def test_llama_cpp_is_told_of_tools_and_counts_them(engine: Callable[[Server], GgufEngine]) -> None:
    server = Server()
    tool = {"name": "f", "parameters": {"type": "object", "properties": {}}}
    messages = [{"role": "user", "content": "?"}]
    call, done = engine(server).stream(messages, ChatOptions(max_new_tokens=8), tools=[tool])
    assert call == ToolCall("f", {"a": 1}, '{"a": 1}')
    assert isinstance(done, Done) and done.finish_reason == "tool_calls"
    assert server.asked[0]["tools"] == server.posted[0]["tools"] == [{"type": "function", "function": tool}]
    assert server.posted[0]["messages"] == messages


class Talkative(Server):
    """Goes on until it is told that nobody wants more."""

    busy = False

    def handle_chat_completions(self, asked: dict[str, Any], hear: Callable[[Any], Any]) -> None:
        self.busy = True
        while not hear({"choices": [{"delta": {"content": "more "}}]}):
            pass
        threading.Event().wait(0.05)  # it takes a moment until the slot is free
        self.busy = False


@pytest.mark.parametrize("how", ["abandoned", "stopped"])
def test_an_answer_that_nobody_wants_gives_its_slot_back(
    how: str, engine: Callable[[Server], GgufEngine]
) -> None:
    server, cancel = Talkative(), threading.Event()
    loaded = engine(server)
    events = loaded.stream([{"role": "user", "content": "?"}], ChatOptions(), cancel)
    assert next(events) == Delta("more ") and server.busy
    if how == "abandoned":
        events.close()  # type: ignore[attr-defined]
    else:
        cancel.set()
        *_, done = events
        assert isinstance(done, Done) and done.finish_reason == "cancelled"
    assert not server.busy and loaded.active == 0


@pytest.mark.parametrize("error", [RuntimeError("no slot"), SystemExit("a panic")])
def test_what_breaks_in_llama_cpp_is_a_sentence(
    error: BaseException, engine: Callable[[Server], GgufEngine]
) -> None:
    class Broken(Server):
        def handle_chat_completions(self, asked: dict[str, Any], hear: Callable[[Any], Any]) -> None:
            hear({"choices": [{"delta": {"content": "so far"}}]})
            raise error

    events = engine(Broken()).stream([{"role": "user", "content": "?"}], ChatOptions())
    assert next(events) == Delta("so far")
    with pytest.raises(EngineFailed, match=f"llama.cpp stopped: .*{error}; try again"):
        next(events)


@pytest.mark.weights
def test_memory_that_ran_out_is_no_damage() -> None:
    """llama.cpp raises the same for both; what is read where it takes no memory was not damaged."""
    checkpoint = models.catalog.find("smollm2-135m-instruct")
    path = models.shared().fetch(checkpoint.name)
    with pytest.raises(DoesNotFit, match="shorter context") as caught:
        GgufEngine(path, checkpoint, Placement("cpu", "file", context=400_000_000))  # petabytes of it
    assert checkpoint.name in caught.value.zh
