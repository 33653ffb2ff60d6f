"""What an engine is asked: a conversation, the tools that its answer may call, and the answer's form."""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import BadInput
from models.schema import ChatOptions, Message, Messages, Tools

RESPONSE_FORMATS = ("text", "json_object", "json_schema")


@dataclass(frozen=True)
class ChatRequest:
    """One request as an engine gets it: checked, complete, and within the context.

    Attributes:
        messages: a conversation in the OpenAI chat format, or a text to continue as it is.
        options: sampling.
        tools: in OpenAI's form.
        response_format: in OpenAI's form; None: any text.
        dropped: oldest messages that no longer fitted and are not among `messages`.
    """

    messages: Messages | str
    options: ChatOptions
    tools: Tools = ()
    response_format: Mapping[str, Any] | None = None
    dropped: int = 0


def openai_tools(tools: Tools) -> list[dict[str, Any]]:
    """`tools` in OpenAI's form. Raises BadInput for what is no schema of a function."""
    if not isinstance(tools, (list, tuple)):
        raise _no_tool(tools)
    return [_openai_tool(tool) for tool in tools]


def _openai_tool(tool: Any) -> dict[str, Any]:
    function = tool.get("function", tool) if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping) or not _is_schema(function):
        raise _no_tool(tool)
    more = dict(tool) if "function" in tool else {}
    return {"type": "function", **more, "function": dict(function)}


def _is_schema(function: Mapping[str, Any]) -> bool:
    name, parameters = function.get("name"), function.get("parameters")
    if not isinstance(name, str) or not (parameters is None or isinstance(parameters, Mapping)):
        return False
    try:
        json.dumps(dict(function), ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):  # prompts hold it as JSON
        return False
    return True


def _no_tool(tool: Any) -> BadInput:
    given = reprlib.repr(tool)
    return BadInput(
        f'A tool has to be the JSON schema of a function with a "name", plain or in OpenAI\'s form, not {given}.',
        f'工具必须是含有 "name" 的函数 JSON Schema（可直接给出，或采用 OpenAI 的格式），而不是 {given}。',
    )


def lift_tools(messages: Messages) -> tuple[list[Message], list[dict[str, Any]] | None]:
    """`messages`, and apart from them the tools that ChatGLM3's own form lists in its system message.

    None: no message has such a list, not even an empty one.
    """
    lists = [openai_tools(message["tools"]) for message in messages if message.get("tools") is not None]
    bare: list[Message] = [
        {key: value for key, value in message.items() if key != "tools"} for message in messages
    ]
    return bare, [tool for listed in lists for tool in listed] if lists else None


def response_type(response_format: Any) -> str:
    """Which of `RESPONSE_FORMATS` is asked for; "text" without any. Raises BadInput for another."""
    if response_format is None:
        return "text"
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if kind not in RESPONSE_FORMATS or (kind == "json_schema" and not _has_schema(response_format)):
        raise BadInput(
            'The response_format has to be {"type": "text"}, {"type": "json_object"} or {"type": "json_schema", '
            '"json_schema": {"name": …, "schema": …}}.',
            'response_format 必须是 {"type": "text"}、{"type": "json_object"} 或 {"type": "json_schema", '
            '"json_schema": {"name": …, "schema": …}}。',
        )
    return str(kind)


def schema_of(response_format: Mapping[str, Any]) -> Mapping[str, Any]:
    """The JSON schema that an answer is held to: of any object where none is given."""
    if response_format["type"] == "json_object":
        return {"type": "object"}
    schema: Mapping[str, Any] = response_format["json_schema"]["schema"]
    return schema


def _has_schema(response_format: Mapping[str, Any]) -> bool:
    named = response_format.get("json_schema")
    return isinstance(named, Mapping) and isinstance(named.get("schema"), Mapping)
