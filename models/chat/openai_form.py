"""The OpenAI form of a request and of a streamed answer, as llama.cpp, vLLM and SGLang speak it."""

import base64
import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from models.chat.calls import cut_off, parse_json_call, with_arguments
from models.chat.messages import whole_text
from models.chat.request import ChatRequest
from models.chat.templates import refused, reported
from models.errors import BadInput, EngineFailed
from models.pictures.reading import picture_bytes, sent_as
from models.schema import ChatOptions, Delta, Done, Event, Messages, Prefill, Tools, Usage

Chunk = dict[str, Any]


def write_request(given: ChatRequest) -> dict[str, Any]:
    """A streaming request: for chat/completions, or for completions when its messages are a text."""
    return {**write_options(given.options), **write_conversation(given.messages, given.tools)}


def write_options(options: ChatOptions) -> dict[str, Any]:
    """The part of a streaming request that says how it is answered."""
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
    return asked


def write_conversation(messages: Messages | str, tools: Tools = ()) -> dict[str, Any]:
    """The part of a request that is answered: a text, or messages and the tools that may be called."""
    if isinstance(messages, str):
        return {"prompt": messages}
    sent = [{**_plain(message), **_pictures(message)} for message in with_arguments(messages, _json)]
    return {"messages": sent, "tools": list(tools)} if tools else {"messages": sent}


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """Without the mark of an answer that goes on, which is not OpenAI's."""
    return {key: value for key, value in message.items() if key != "prefix"}


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
        try:
            yield from answer.add(chunk)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise EngineFailed(
                "The server's answer is not in OpenAI's form: see what kind of server it is, or ask another one.",
                "服务器的回答不符合 OpenAI 的格式：请确认服务器类型，或换用其他服务器。",
            ) from error
    yield from answer.end(cancel.is_set())


class _Answer:
    """What the chunks of a streamed answer have said so far, in the forms that servers of all makers have.

    Thoughts are told apart from the answer; where nothing else came they are the answer.

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
        self._thoughts: list[str] = []
        self._answered = False
        self._half = ""  # of a character, whose other half comes with the next text
        self._calls: list[_Call] = []

    def add(self, chunk: Chunk) -> Iterator[Event]:
        self._usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage") or self._usage
        self._timings = chunk.get("timings") or self._timings
        if step := chunk.get("prompt_progress"):
            yield Prefill(step["processed"], step["total"])
        for choice in chunk.get("choices") or ():
            yield from self._add_choice(choice)

    def _add_choice(self, choice: Mapping[str, Any]) -> Iterator[Event]:
        # A server that does not stream sends the whole message.
        delta = choice.get("delta") or choice.get("message") or {}
        text = self._whole(_text(choice.get("text") or delta.get("content")))
        thought = _text(delta.get("reasoning_content") or delta.get("reasoning"))
        parts = list(delta.get("tool_calls") or ())
        if function := delta.get("function_call"):  # the form before there were several
            parts.append({"function": function})
        self._reason = choice.get("finish_reason") or self._reason
        self._usage = choice.get("usage") or delta.get("usage") or self._usage
        if text or thought or parts:
            self._first = self._first or time.monotonic()
            self._pieces += 1
        if thought:
            self._thoughts.append(thought)
        if text:
            self._answered = True
            yield Delta(text)
        for part in parts:
            self._continue_call(part)

    def _whole(self, text: str) -> str:
        """Servers that count in UTF-16 cut characters in two."""
        text = self._half + text
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return whole_text(text.removesuffix(self._half))

    def _continue_call(self, part: Mapping[str, Any]) -> None:
        """Adds what a chunk has of a call. Some servers send whole calls, all with one index, or with none."""
        function, index, identity = part.get("function") or {}, part.get("index"), part.get("id")
        name, arguments = function.get("name"), function.get("arguments")
        same = [call for call in self._calls if index is None or call.index == index]
        call = same[-1] if same else None
        if call is None or (name and call.name and (identity != call.identity or index is None)):
            call = _Call(index, identity)
            self._calls.append(call)
        call.name = name or call.name
        if isinstance(arguments, Mapping):
            arguments = json.dumps(arguments, ensure_ascii=False)
        call.arguments += arguments or ""

    def end(self, cancelled: bool) -> Iterator[Event]:
        """The calls, which are whole now, and Done."""
        usage = self._figures(time.monotonic())
        # A request that was cut has no last chunk, and so no reason.
        if cancelled and self._reason is None:
            yield Done("cancelled", usage)
            return
        if self._half:
            yield Delta(whole_text(self._half))
        if self._thoughts and not self._answered and not self._calls:
            yield Delta("".join(self._thoughts))
        calls = [parse_json_call(call.name, call.arguments) for call in self._calls]
        cut = self._reason == "length"
        yield from cut_off(calls) if cut else calls
        yield Done("length" if cut else "tool_calls" if calls else "stop", usage)

    def _figures(self, now: float) -> Usage:
        first = self._first or now
        seconds = now - (self._first or self._began)
        completion = _count(self._usage.get("completion_tokens"), self._pieces)
        details = self._usage.get("prompt_tokens_details")
        measured = completion / seconds if seconds else 0.0
        return Usage(
            prompt_tokens=_count(self._usage.get("prompt_tokens")),
            cached_tokens=_count(details.get("cached_tokens")) if isinstance(details, Mapping) else 0,
            completion_tokens=completion,
            seconds_to_first_token=first - self._began,
            tokens_per_second=self._timings.get("predicted_per_second") or measured,
        )


@dataclass
class _Call:
    """A call while it is written: its place in the answer and its id, where the server says them."""

    index: int | None
    identity: str | None
    name: str = ""
    arguments: str = ""


def _text(content: Any) -> str:
    """The text of a content, which may be a list of parts. Raises TypeError for anything else."""
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content)
    if content is None or isinstance(content, str):
        return content or ""
    raise TypeError(f"{type(content).__name__} is no text")


def _count(value: Any, otherwise: int = 0) -> int:
    return value if isinstance(value, int) else otherwise


def refusal(error: Any, who: str, checkpoint: str = "") -> BadInput | EngineFailed:
    """What a server says in place of an answer, as an error.

    Args:
        who: names the server.
        checkpoint: names what it runs, where that is known.
    """
    answer = error if isinstance(error, dict) else {"message": error}
    if answer.get("type") == "exceed_context_size_error":
        asked, held = answer.get("n_prompt_tokens"), answer.get("n_ctx")
        return BadInput(
            f"The text takes {asked} tokens and the context holds {held}: shorten it, or load with a "
            "longer context.",
            f"文本有 {asked} 个 token，而上下文只有 {held}：请缩短文本，或以更长的上下文加载。",
        )
    message = str(answer.get("message", error)).strip()
    if (reason := reported(message)) is not None:
        return refused(checkpoint or who, reason)
    message = message.split("\n")[0][:200].rstrip(".")
    return EngineFailed(
        f"{who} refused the request: {message}; change the request and try again.",
        f"{who} 拒绝了该请求：{message}；请修改后重试。",
    )
