"""What the llama.cpp engine does on its own side of llama.cpp."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models import ChatOptions, Done, ToolCall
from models.engines.gguf import GgufEngine, _file_type
from models.schema import Checkpoint, Placement


@pytest.mark.parametrize(
    ("name", "quantisation"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1"),
        ("gemma-3-270m-q4_k_m.gguf", "Q4_K_M"),
        ("Llama-3-8B-IQ3_XS-00001-of-00002.gguf", "IQ3_XS"),
        ("qwen2.5-7b-fp16.gguf", "FP16"),
        ("model-BF16.gguf", "BF16"),
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

    def handle_completions(self, asked: dict[str, Any], hear: Callable[[Any], Any]) -> None:
        """The warm-up."""

    def handle_chat_completions(self, asked: dict[str, Any], hear: Callable[[Any], Any]) -> None:
        self.asked.append(asked)
        part = {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"a": 1}'}}
        hear({"choices": [{"delta": {"tool_calls": [part]}}]})
        hear({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})


def test_llama_cpp_is_told_of_tools_and_counts_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server, posted = Server(), []

    def post(engine: GgufEngine, path: str, body: dict[str, Any]) -> dict[str, Any]:
        posted.append(body)
        return {"prompt": "p", "tokens": [1]}

    monkeypatch.setattr("xllamacpp.Server", lambda params: server if params.use_jinja else None)
    monkeypatch.setattr(GgufEngine, "_post", post)
    file = tmp_path / "tiny.gguf"
    file.touch()
    engine = GgufEngine(
        file, Checkpoint("tiny", "other", "chat", "gguf"), Placement("cpu", "file", context=64)
    )
    tool = {"name": "f", "parameters": {"type": "object", "properties": {}}}
    messages = [{"role": "user", "content": "?"}]
    call, done = engine.stream(messages, ChatOptions(max_new_tokens=8), tools=[tool])
    assert call == ToolCall("f", {"a": 1}, '{"a": 1}')
    assert isinstance(done, Done) and done.finish_reason == "tool_calls"
    assert server.asked[0]["tools"] == posted[0]["tools"] == [{"type": "function", "function": tool}]
    assert posted[0]["messages"] == messages
