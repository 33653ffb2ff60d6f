"""The OpenAI form of a request and of a streamed answer, as llama.cpp, vLLM and SGLang speak it."""

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from models.errors import BadInput, EngineFailed
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
    if isinstance(messages, str):
        return {**asked, "prompt": messages}
    return {**asked, "messages": [dict(message) for message in messages]}


def events(chunks: Iterable[Chunk], cancel: threading.Event, began: float) -> Iterator[Event]:
    """Chunks to events, and the figures of the last ones to Usage. `began`: by time.monotonic()."""
    first: float | None = None
    pieces = 0
    reason: str | None = None
    usage: dict[str, Any] = {}
    timings: dict[str, Any] = {}  # llama.cpp's own figures
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        timings = chunk.get("timings") or timings
        if step := chunk.get("prompt_progress"):
            yield Prefill(step["processed"], step["total"])
        for choice in chunk.get("choices") or ():
            text = choice.get("text") or (choice.get("delta") or {}).get("content")
            reason = choice.get("finish_reason") or reason
            if text:
                first = first or time.monotonic()
                pieces += 1
                yield Delta(text)
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
    cut = cancel.is_set() and reason is None
    yield Done("cancelled" if cut else "length" if reason == "length" else "stop", figures)


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
