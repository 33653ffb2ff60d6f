"""/v1/messages: Anthropic's form of a conversation.

Source: docs.anthropic.com/en/api/messages, and messages-streaming beside it.
"""

import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from models.api.answers import write_call
from models.api.asked import Asked
from models.api.asking import Numbered, answers, one_conversation
from models.api.choice import Engines
from models.api.forms import Form
from models.api.parts import complete
from models.api.reading import check, with_tools
from models.api.refusals import Refused, unsupported
from models.api.sending import event, hear_all, stream
from models.chat.request import openai_tools
from models.engines.base import ChatEngine
from models.schema import Delta, Done, Event, Text, ToolCall

router = APIRouter()

_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "cancelled": "end_turn"}


class MessagesForm(Form):
    """POST /v1/messages"""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)] = Field(
        description="Turns of roles user and assistant: texts, or blocks of text, image, tool_use and tool_result."
    )
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(None, description="Tokens after which it is cut.")
    system: str | list[dict[str, Any]] | None = Field(None, description="The system prompt.")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=1000)] | None = None
    stop_sequences: list[str] | None = Field(None, description="The answer ends before any of these texts.")
    tools: list[dict[str, Any]] | None = Field(
        None, description="Functions: name, description, input_schema."
    )
    tool_choice: dict[str, Any] | None = Field(
        None, description='{"type": "auto"}, "none", "any", or "tool" with its name.'
    )
    stream: bool | None = Field(None, description="Send the answer as it comes, as server-sent events.")
    thinking: dict[str, Any] | None = Field(None, description='Only {"type": "disabled"}.')


@router.post("/v1/messages")
async def create_message(form: MessagesForm, request: Request) -> Response:
    """Answer a conversation."""
    engines: Engines = request.app.state.engines
    questions = one_conversation(engines, form.model, read(form))

    def begin() -> Numbered:
        return answers(engines, form.model, questions)

    def add(item: tuple[int, Event]) -> Iterator[str]:
        return reply.add(item[1])

    reply = MessageReply(form.model)
    if form.stream:
        return await stream(request, begin, add, lambda: (), _failed)
    await hear_all(request, begin, add)
    return JSONResponse(reply.whole())


@router.post("/v1/messages/count_tokens")
def count_message_tokens(form: MessagesForm, request: Request) -> dict[str, int]:
    """How many tokens the prompt of a conversation takes."""
    asked = read(form)
    engines: Engines = request.app.state.engines
    cancel = threading.Event()
    with engines.using(form.model, ChatEngine, cancel) as engine:
        asked = complete(asked, engines, cancel)
        return {"input_tokens": engine.count_tokens(asked.messages, asked.tools)}


def _failed(error: dict[str, Any]) -> str:
    return event({"type": "error", **error}, "error")


# --- reading -----------------------------------------------------------------------------------


def read(form: MessagesForm) -> Asked:
    """The conversation in OpenAI's form. Raises Refused for what cannot be honoured, by its parameter's name."""
    check(form)
    if form.thinking and form.thinking.get("type") != "disabled":
        raise unsupported("thinking")
    messages: list[dict[str, Any]] = []
    if form.system:
        messages.append({"role": "system", "content": _text(form.system)})
    for message in form.messages:
        messages += _turn(message)
    given = {
        "temperature": form.temperature,
        "top_p": form.top_p,
        "top_k": form.top_k,
        "stop": tuple(filter(None, form.stop_sequences or ())),
    }
    known = {name: value for name, value in given.items() if value is not None}
    asked = Asked(messages, known, form.max_tokens)
    return with_tools(
        asked, _choice(form.tool_choice), openai_tools([_tool(tool) for tool in form.tools or ()])
    )


def _choice(choice: Mapping[str, Any] | None) -> str | dict[str, Any]:
    """Anthropic's tool_choice as OpenAI has it."""
    kind = str((choice or {}).get("type", "auto"))
    if kind == "tool":
        return {"type": "function", "name": (choice or {}).get("name")}
    return "required" if kind == "any" else kind


def _text(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(block.get("text", "")) for block in content)


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": tool.get("name"), "parameters": tool.get("input_schema") or {"type": "object"}}
    if tool.get("description"):
        function["description"] = tool["description"]
    return {"type": "function", "function": function}


def _turn(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A message in OpenAI's form: what tools returned comes before what else was said in it."""
    content = message.get("content")
    if not isinstance(content, list):
        yield {"role": message.get("role"), "content": content}
        return
    parts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for block in content:
        kind = block.get("type") if isinstance(block, Mapping) else None
        if kind == "text":
            parts.append({"type": "text", "text": str(block.get("text", ""))})
        elif kind == "image":
            parts.append(_image(block.get("source")))
        elif kind == "tool_use":
            function = {"name": block.get("name"), "arguments": json.dumps(block.get("input") or {})}
            calls.append({"id": block.get("id"), "type": "function", "function": function})
        elif kind == "tool_result":
            told = _text(block.get("content") or "")
            yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": told}
        elif kind not in ("thinking", "redacted_thinking"):  # nobody's thoughts are sent back
            raise unsupported(f"messages content of type {kind}")
    if parts or calls:
        turn: dict[str, Any] = {"role": message.get("role"), "content": parts or None}
        yield turn | ({"tool_calls": calls} if calls else {})


def _image(source: Any) -> dict[str, Any]:
    if isinstance(source, Mapping) and source.get("type") == "base64":
        url = f"data:{source.get('media_type')};base64,{source.get('data')}"
    elif isinstance(source, Mapping) and source.get("type") == "url":
        url = str(source.get("url"))
    else:
        raise Refused(
            400,
            Text(
                "An image needs a source of type base64 or url.", "image 需要类型为 base64 或 url 的 source。"
            ),
            "invalid_value",
            "messages",
        )
    return {"type": "image_url", "image_url": {"url": url}}


# --- writing -----------------------------------------------------------------------------------


class MessageReply:
    """What becomes of an answer's events: a message at the end, or Anthropic's events as they come."""

    def __init__(self, model: str) -> None:
        self._head = {
            "id": f"msg_{secrets.token_hex(12)}",
            "type": "message",
            "role": "assistant",
            "model": model,
        }
        self._blocks: list[dict[str, Any]] = []
        self._begun = self._open = False
        self._end: Done | None = None

    def add(self, said: Event) -> Iterator[str]:
        if not self._begun:
            self._begun = True
            message = {**self.whole(), "content": [], "stop_reason": None}
            yield _event("message_start", message=message)
        match said:
            case Delta(text):
                if not self._open:
                    yield from self._start({"type": "text", "text": ""})
                    self._open = True
                self._blocks[-1]["text"] += text
                yield self._delta({"type": "text_delta", "text": text})
            case ToolCall():
                yield from self._stop()
                call = write_call(said)
                block = {"type": "tool_use", "id": call["id"], "name": said.name, "input": {}}
                yield from self._start(block)
                written = json.dumps(dict(said.arguments), ensure_ascii=False)
                yield self._delta({"type": "input_json_delta", "partial_json": written})
                yield _event("content_block_stop", index=len(self._blocks) - 1)
                block["input"] = dict(said.arguments)
            case Done():
                yield from self._stop()
                self._end = said
                whole = self.whole()
                ended = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
                yield _event("message_delta", delta=ended, usage=whole["usage"])
                yield _event("message_stop")

    def whole(self) -> dict[str, Any]:
        usage = self._end.usage if self._end else None
        return {
            **self._head,
            "content": self._blocks,
            "stop_reason": _REASONS[self._end.finish_reason] if self._end else None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": usage.prompt_tokens if usage else 0,
                "output_tokens": usage.completion_tokens if usage else 0,
            },
        }

    def _start(self, block: dict[str, Any]) -> Iterator[str]:
        self._blocks.append(block)
        yield _event("content_block_start", index=len(self._blocks) - 1, content_block=block)

    def _delta(self, delta: dict[str, Any]) -> str:
        return _event("content_block_delta", index=len(self._blocks) - 1, delta=delta)

    def _stop(self) -> Iterator[str]:
        if self._open:
            self._open = False
            yield _event("content_block_stop", index=len(self._blocks) - 1)


def _event(name: str, **data: Any) -> str:
    return event({"type": name, **data}, name)
