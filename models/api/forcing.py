"""Answers that have to call a tool: the grammar of a call is the form that the answer is held to.

So "required" and a named tool work with every engine and every template, also those that know of no tools.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from models.api.asked import Asked
from models.schema import Delta, Done, Event, ToolCall

_PROMPT = (
    "Answer with one call of a function, as JSON of the form "
    '{"name": <name>, "arguments": {<arguments>}} and nothing else. The functions:\n'
)


def force(asked: Asked, tools: Sequence[Mapping[str, Any]]) -> Asked:
    """`asked`, with an answer that calls one of `tools`, which are in OpenAI's form."""
    functions = [tool["function"] for tool in tools]
    told = _PROMPT + "\n".join(json.dumps(function, ensure_ascii=False) for function in functions)
    messages = [{"role": "system", "content": told}, *asked.messages]
    schema: dict[str, Any] = {"anyOf": [_call(function) for function in functions]}
    if definitions := _definitions(functions):
        schema["$defs"] = definitions
    form = {"type": "json_schema", "json_schema": {"name": "call", "schema": schema}}
    return replace(asked, messages=messages, tools=(), response_format=form, forced=True)


def as_calls(events: Iterable[Event]) -> Iterator[Event]:
    """The events of a forced answer, with its text as the call that it is. Cut off, it stays text."""
    texts: list[str] = []
    for event in events:
        if isinstance(event, Delta):
            texts.append(event.text)
        elif isinstance(event, Done) and event.finish_reason == "stop":
            call = json.loads("".join(texts))
            yield ToolCall(call["name"], call["arguments"])
            yield replace(event, finish_reason="tool_calls")
        else:
            if isinstance(event, Done):
                yield Delta("".join(texts))
            yield event


def _call(function: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {key: value for key, value in (function.get("parameters") or {}).items() if key != "$defs"}
    return {
        "type": "object",
        "properties": {
            "name": {"const": function["name"]},
            "arguments": {"type": "object", **parameters},
        },
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _definitions(functions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What parameters refer to as "#/$defs/…", which means the top of the whole schema."""
    found: dict[str, Any] = {}
    for function in functions:
        found |= (function.get("parameters") or {}).get("$defs") or {}
    return found
