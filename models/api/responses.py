"""/v1/responses: OpenAI's newer form, without a memory of its own.

Source: platform.openai.com/docs/api-reference/responses, and responses-streaming beside it.
"""

import json
import secrets
import time
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
from models.api.reading import check, with_tools
from models.api.refusals import unsupported
from models.api.sending import event, hear_all, stream
from models.chat.request import openai_tools
from models.schema import Delta, Done, Event, Text, ToolCall

router = APIRouter()

_PARTS = ("input_text", "output_text", "text")
# Items of an earlier answer that say nothing which a model here reads.
_PASSED_OVER = ("reasoning", "item_reference", "web_search_call", "file_search_call", "custom_tool_call")


class ResponsesForm(Form):
    """POST /v1/responses"""

    input: str | list[dict[str, Any]] = Field(description="A question, or the items of a conversation.")
    instructions: str | None = Field(None, description="The system prompt.")
    max_output_tokens: Annotated[int, Field(ge=1)] | None = Field(None, description="Tokens of the answer.")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    tools: list[dict[str, Any]] | None = Field(
        None, description="Functions that the answer may call; tools of other types are passed over."
    )
    tool_choice: str | dict[str, Any] | None = Field(
        None, description='"auto", "none", "required" or {"type": "function", "name": …}.'
    )
    parallel_tool_calls: bool | None = Field(None, description="Only a hint here.")
    text: dict[str, Any] | None = Field(None, description='{"format": …}: what the answer is held to.')
    stream: bool | None = Field(None, description="Send the answer as it comes, as server-sent events.")
    stream_options: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = Field(None, description="Passed over: models here think as they do.")
    truncation: str | None = Field(None, description='Only "disabled".')
    previous_response_id: str | None = Field(None, description="Not supported: nothing is remembered.")
    conversation: str | dict[str, Any] | None = Field(None, description="Not supported.")
    background: bool | None = Field(None, description="Only false.")


@router.post("/v1/responses")
async def create_response(form: ResponsesForm, request: Request) -> Response:
    """Answer a conversation."""
    engines: Engines = request.app.state.engines
    questions = one_conversation(engines, form.model, read(form))

    def begin() -> Numbered:
        return answers(engines, form.model, questions)

    def add(item: tuple[int, Event]) -> Iterator[str]:
        return reply.add(item[1])

    reply = ResponseReply(form)
    if form.stream:
        return await stream(request, begin, add, lambda: (), reply.fail)
    await hear_all(request, begin, add)
    return JSONResponse(reply.whole())


# --- reading -----------------------------------------------------------------------------------


def read(form: ResponsesForm) -> Asked:
    """The conversation in the form of chat completions. Raises Refused for what cannot be honoured."""
    check(form)
    for name in ("previous_response_id", "conversation", "background"):
        if getattr(form, name):
            raise unsupported(
                name, Text("send the whole conversation as input", "请将整个对话作为 input 发送")
            )
    if form.truncation not in (None, "disabled"):
        raise unsupported("truncation", Text('only "disabled"', '仅支持 "disabled"'))
    messages: list[dict[str, Any]] = []
    if form.instructions:
        messages.append({"role": "system", "content": form.instructions})
    items = [{"role": "user", "content": form.input}] if isinstance(form.input, str) else form.input
    for item in items:
        messages += _messages(item)
    given = {"temperature": form.temperature, "top_p": form.top_p}
    known = {name: value for name, value in given.items() if value is not None}
    tools = [_tool(tool) for tool in form.tools or () if tool.get("type") == "function"]
    asked = Asked(messages, known, form.max_output_tokens, (), _held(form.text))
    return with_tools(asked, form.tool_choice, openai_tools(tools))


def _messages(item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    kind = item.get("type", "message")
    if kind == "message":
        content = item.get("content")
        parts = [_part(part) for part in content] if isinstance(content, list) else content
        yield {"role": item.get("role"), "content": parts}
    elif kind == "function_call":
        function = {"name": item.get("name"), "arguments": item.get("arguments") or "{}"}
        call = {"id": item.get("call_id"), "type": "function", "function": function}
        yield {"role": "assistant", "content": None, "tool_calls": [call]}
    elif kind == "function_call_output":
        told = item.get("output")
        text = told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)
        yield {"role": "tool", "tool_call_id": item.get("call_id"), "content": text}
    elif kind not in _PASSED_OVER:
        raise unsupported(f"input of type {kind}")


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    kind = part.get("type")
    if kind in _PARTS:
        return {"type": "text", "text": str(part.get("text", ""))}
    if kind == "input_image":
        return {"type": "image_url", "image_url": {"url": part.get("image_url")}}
    if kind == "input_audio":
        return dict(part)
    raise unsupported(f"input of type {kind}")


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A function without the level that chat completions have around it."""
    function = {key: tool[key] for key in ("name", "description", "parameters") if tool.get(key) is not None}
    return {"type": "function", "function": function}


def _held(text: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """`text.format` as chat completions have it."""
    form = (text or {}).get("format")
    if not isinstance(form, Mapping) or form.get("type") != "json_schema":
        return dict(form) if isinstance(form, Mapping) else None
    return {"type": "json_schema", "json_schema": {"name": form.get("name"), "schema": form.get("schema")}}


# --- writing -----------------------------------------------------------------------------------


class ResponseReply:
    """What becomes of an answer's events: a response at the end, or numbered events as they come."""

    def __init__(self, form: ResponsesForm) -> None:
        self._form = form
        self._id, self._created = f"resp_{secrets.token_hex(16)}", int(time.time())
        self._output: list[dict[str, Any]] = []
        self._text: list[str] = []
        self._number = 0
        self._begun = self._open = False
        self._end: Done | None = None

    def add(self, said: Event) -> Iterator[str]:
        if not self._begun:
            self._begun = True
            yield self._event("response.created", response=self.whole())
            yield self._event("response.in_progress", response=self.whole())
        match said:
            case Delta(text):
                if not self._open:
                    yield from self._open_message()
                self._text.append(text)
                yield self._of_text("response.output_text.delta", delta=text, logprobs=[])
            case ToolCall():
                yield from self._close_message()
                yield from self._call(said)
            case Done():
                yield from self._close_message()
                self._end = said
                kind = "response.incomplete" if said.finish_reason == "length" else "response.completed"
                yield self._event(kind, response=self.whole())

    def fail(self, error: dict[str, Any]) -> str:
        """The event for an error in the middle."""
        return self._event("error", **{key: error["error"][key] for key in ("code", "message", "param")})

    def whole(self) -> dict[str, Any]:
        reason = self._end.finish_reason if self._end else None
        status = "in_progress" if reason is None else "incomplete" if reason == "length" else "completed"
        form = self._form
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if reason == "length" else None,
            "instructions": form.instructions,
            "max_output_tokens": form.max_output_tokens,
            "model": form.model,
            "output": self._output,
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "store": False,
            "temperature": form.temperature,
            "text": form.text or {"format": {"type": "text"}},
            "tool_choice": form.tool_choice or "auto",
            "tools": form.tools or [],
            "top_p": form.top_p,
            "truncation": "disabled",
            "metadata": {},
            "usage": self._usage(),
        }

    # --- inside -------------------------------------------------------------------------------

    def _usage(self) -> dict[str, Any] | None:
        if self._end is None:
            return None
        usage = self._end.usage
        return {
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        }

    def _open_message(self) -> Iterator[str]:
        self._open, self._text = True, []
        item: dict[str, Any] = {
            "type": "message",
            "id": f"msg_{secrets.token_hex(16)}",
            "status": "in_progress",
            "role": "assistant",
            "content": [],
        }
        self._output.append(item)
        yield self._of_item("response.output_item.added")
        part = {"type": "output_text", "text": "", "annotations": []}
        yield self._of_text("response.content_part.added", part=part)

    def _close_message(self) -> Iterator[str]:
        if not self._open:
            return
        self._open = False
        text = "".join(self._text)
        part = {"type": "output_text", "text": text, "annotations": []}
        self._output[-1].update(status="completed", content=[part])
        yield self._of_text("response.output_text.done", text=text, logprobs=[])
        yield self._of_text("response.content_part.done", part=part)
        yield self._of_item("response.output_item.done")

    def _call(self, said: ToolCall) -> Iterator[str]:
        call = write_call(said)
        arguments = call["function"]["arguments"]
        item = {
            "type": "function_call",
            "id": f"fc_{secrets.token_hex(16)}",
            "call_id": call["id"],
            "name": said.name,
            "arguments": "",
            "status": "in_progress",
        }
        self._output.append(item)
        yield self._of_item("response.output_item.added")
        where = {"item_id": item["id"], "output_index": len(self._output) - 1}
        yield self._event("response.function_call_arguments.delta", **where, delta=arguments)
        yield self._event(
            "response.function_call_arguments.done", **where, name=said.name, arguments=arguments
        )
        item.update(arguments=arguments, status="completed")
        yield self._of_item("response.output_item.done")

    def _of_item(self, name: str) -> str:
        return self._event(name, output_index=len(self._output) - 1, item=self._output[-1])

    def _of_text(self, kind: str, **data: Any) -> str:
        where = {"item_id": self._output[-1]["id"], "output_index": len(self._output) - 1, "content_index": 0}
        return self._event(kind, **where, **data)

    def _event(self, kind: str, /, **data: Any) -> str:
        self._number += 1
        return event({"type": kind, "sequence_number": self._number - 1, **data}, kind)
