"""The OpenAI form of a request and of a streamed answer, as llama.cpp, vLLM and SGLang speak it."""

import base64
import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from models.chat.calls import cut_off, parse_json_call, with_arguments
from models.chat.request import ChatRequest
from models.errors import BadInput, EngineFailed
from models.pictures.reading import picture_bytes, sent_as
from models.schema import Delta, Done, Event, Messages, Prefill, Tools, Usage

Chunk = dict[str, Any]


def write_request(given: ChatRequest) -> dict[str, Any]:
    """A streaming request: for chat/completions, or for completions when its messages are a text."""
    options = given.options
    asked: dict[str, Any] = {
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,  # llama.cpp: Prefill
        "reasoning_format": "none",  # llama.cpp: the answer as the model wrote it
        "max_tokens": options.max_new_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p or 1e-6,  # 0 is refused by vLLM
        "top_k": options.top_k or -1,  # all; 0 is refused by SGLang
        "min_p": options.min_p,
        "repeat_penalty": options.repetition_penalty,  # the name in llama.cpp
        "repetition_penalty": options.repetition_penalty,  # in vLLM and SGLang
        "stop": list(options.stop),
    }
    if options.seed is not None:
        asked["seed"] = options.seed
    return {**asked, **write_conversation(given.messages, given.tools)}


def write_conversation(messages: Messages | str, tools: Tools = ()) -> dict[str, Any]:
    """The part of a request that is answered: a text, or messages and the tools that may be called."""
    if isinstance(messages, str):
        return {"prompt": messages}
    sent = [{**message, **_pictures(message)} for message in with_arguments(messages, _json)]
    return {"messages": sent, "tools": list(tools)} if tools else {"messages": sent}


def _pictures(message: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a message that has pictures, with these as data addresses."""
    content = message.get("content")
    if not isinstance(content, list):
        return {}
    return {"content": [_data_address(part) if part["type"] == "image" else part for part in content]}


def _data_address(part: Mapping[str, Any]) -> dict[str, Any]:
    kind, data = sent_as(picture_bytes(part))
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _json(arguments: Mapping[str, Any] | str) -> str:
    """Arguments as servers read them: they refuse what is no JSON, even what a model of theirs wrote."""
    read = {"malformed": arguments} if isinstance(arguments, str) else dict(arguments)
    return json.dumps(read, ensure_ascii=False)


def events(chunks: Iterable[Chunk], cancel: threading.Event, began: float) -> Iterator[Event]:
    """Chunks to events, and the figures of the last ones to Usage. `began`: by time.monotonic()."""
    answer = _Answer(began)
    for chunk in chunks:
        yield from answer.add(chunk)
    yield from answer.end(cancel.is_set())


class _Answer:
    """What the chunks of a streamed answer have said so far.

    Args:
        began: when it was asked for, by time.monotonic().
    """

    def __init__(self, began: float) -> None:
        self._began = began
        self._first: float | None = None  # when the first piece came
        self._pieces = 0
        self._reason: str | None = None
        self._usage: dict[str, Any] = {}
        self._timings: dict[str, Any] = {}  # llama.cpp's own figures
        self._calls: dict[int, list[str]] = {}  # by their place in the answer: name, arguments

    def add(self, chunk: Chunk) -> Iterator[Event]:
        self._usage = chunk.get("usage") or self._usage
        self._timings = chunk.get("timings") or self._timings
        if step := chunk.get("prompt_progress"):
            yield Prefill(step["processed"], step["total"])
        for choice in chunk.get("choices") or ():
            yield from self._add_choice(choice)

    def _add_choice(self, choice: Mapping[str, Any]) -> Iterator[Event]:
        delta = choice.get("delta") or {}
        text, parts = choice.get("text") or delta.get("content"), delta.get("tool_calls") or ()
        self._reason = choice.get("finish_reason") or self._reason
        if text or parts:
            self._first = self._first or time.monotonic()
            self._pieces += 1
        if text:
            yield Delta(text)
        for part in parts:
            self._continue_call(part.get("index") or 0, part.get("function") or {})

    def _continue_call(self, index: int, function: Mapping[str, Any]) -> None:
        """Adds what a chunk has of a call: the name once, the arguments bit by bit."""
        call = self._calls.setdefault(index, ["", ""])
        call[0] = function.get("name") or call[0]
        call[1] += function.get("arguments") or ""

    def end(self, cancelled: bool) -> Iterator[Event]:
        """The calls, which are whole now, and Done."""
        usage = self._figures(time.monotonic())
        # A request that was cut has no last chunk, and so no reason.
        if cancelled and self._reason is None:
            yield Done("cancelled", usage)
            return
        calls = [parse_json_call(*call) for call in self._calls.values()]
        cut = self._reason == "length"
        yield from cut_off(calls) if cut else calls
        yield Done("length" if cut else "tool_calls" if calls else "stop", usage)

    def _figures(self, now: float) -> Usage:
        first = self._first or now
        seconds = now - (self._first or self._began)
        completion = self._usage.get("completion_tokens", self._pieces)
        measured = completion / seconds if seconds else 0.0
        return Usage(
            prompt_tokens=self._usage.get("prompt_tokens", 0),
            cached_tokens=(self._usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
            completion_tokens=completion,
            seconds_to_first_token=first - self._began,
            tokens_per_second=self._timings.get("predicted_per_second") or measured,
        )


def refusal(error: Any, who: str) -> BadInput | EngineFailed:
    """What a server says in place of an answer, as an error. `who` names the server."""
    answer = error if isinstance(error, dict) else {"message": error}
    if answer.get("type") == "exceed_context_size_error":
        asked, held = answer.get("n_prompt_tokens"), answer.get("n_ctx")
        return BadInput(
            f"The text takes {asked} tokens and the context holds {held}: shorten it, or load with a "
            "longer context.",
            f"文本有 {asked} 个 token，而上下文只有 {held}：请缩短文本，或以更长的上下文加载。",
        )
    message = str(answer.get("message", error)).strip().split("\n")[0][:200].rstrip(".")
    return EngineFailed(
        f"{who} refused the request: {message}; change the request and try again.",
        f"{who} 拒绝了该请求：{message}；请修改后重试。",
    )
