"""The OpenAI form of a request and of a streamed answer, as llama.cpp, vLLM and SGLang speak it."""

import base64
import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from models.chat.calls import cut_off, parse_json_call, with_arguments
from models.chat.messages import openai_tools
from models.errors import BadInput, EngineFailed
from models.pictures.reading import picture_bytes, sent_as
from models.schema import ChatOptions, Delta, Done, Event, Messages, Prefill, Usage

Chunk = dict[str, Any]


def request(messages: Messages | str, options: ChatOptions) -> dict[str, Any]:
    """A streaming request: for chat/completions, or for completions when `messages` is a text."""
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
    return {**asked, **conversation(messages)}


def conversation(messages: Messages | str) -> dict[str, Any]:
    """The part of a request that is answered: a text, or messages and the tools that they list."""
    if isinstance(messages, str):
        return {"prompt": messages}
    tools = openai_tools(messages)
    sent = [
        {**{key: value for key, value in message.items() if key != "tools"}, **_pictures(message)}
        for message in with_arguments(messages, _json)
    ]
    return {"messages": sent, "tools": tools} if tools else {"messages": sent}


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
    first: float | None = None
    pieces = 0
    reason: str | None = None
    usage: dict[str, Any] = {}
    timings: dict[str, Any] = {}  # llama.cpp's own figures
    written: dict[int, list[str]] = {}  # calls by their place in the answer: name, arguments
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        timings = chunk.get("timings") or timings
        if step := chunk.get("prompt_progress"):
            yield Prefill(step["processed"], step["total"])
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            text, parts = choice.get("text") or delta.get("content"), delta.get("tool_calls") or ()
            reason = choice.get("finish_reason") or reason
            if text or parts:
                first = first or time.monotonic()
                pieces += 1
            if text:
                yield Delta(text)
            for part in parts:
                _continue(written.setdefault(part.get("index") or 0, ["", ""]), part.get("function") or {})
    now = time.monotonic()
    completion = usage.get("completion_tokens", pieces)
    seconds = now - (first or began)
    figures = Usage(
        prompt_tokens=usage.get("prompt_tokens", 0),
        cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
        completion_tokens=completion,
        seconds_to_first_token=(first or now) - began,
        tokens_per_second=timings.get("predicted_per_second") or (completion / seconds if seconds else 0.0),
    )
    # A request that was cut has no last chunk, and so no reason.
    if cancel.is_set() and reason is None:
        yield Done("cancelled", figures)
        return
    calls = [parse_json_call(*call) for call in written.values()]
    yield from cut_off(calls) if reason == "length" else calls
    yield Done("length" if reason == "length" else "tool_calls" if calls else "stop", figures)


def _continue(call: list[str], function: Mapping[str, Any]) -> None:
    """Adds what a chunk has of a call: the name once, the arguments bit by bit."""
    call[0] = function.get("name") or call[0]
    call[1] += function.get("arguments") or ""


def refusal(error: Any, who: str) -> BadInput | EngineFailed:
    """What a server says in place of an answer, as an error. `who` names the server."""
    told = error if isinstance(error, dict) else {"message": error}
    if told.get("type") == "exceed_context_size_error":
        asked, held = told.get("n_prompt_tokens"), told.get("n_ctx")
        return BadInput(
            f"The text takes {asked} tokens and the context holds {held}: shorten it, or load with a "
            "longer context.",
            f"文本有 {asked} 个 token，而上下文只有 {held}：请缩短文本，或以更长的上下文加载。",
        )
    message = str(told.get("message", error)).strip().split("\n")[0][:200].rstrip(".")
    return EngineFailed(
        f"{who} refused the request: {message}; change the request and try again.",
        f"{who} 拒绝了该请求：{message}；请修改后重试。",
    )
