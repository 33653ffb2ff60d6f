"""A call that a model wrote: parsed as a literal, never evaluated, and checked against a schema."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from models.chat.literals import Malformed, read_call
from models.errors import BadInput
from models.schema import Message, Messages, Text, ToolCall

INTERPRETER = "interpreter"  # ChatGLM3's name for the tool whose one argument is Python code
_LONGEST = 20_000  # characters of a call
_BITS = 1024  # of a whole number: the range of a float. Python refuses to write very long ones
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_NAMED = {
    "string": Text("a text", "文本"),
    "boolean": Text("true or false", "布尔值"),
    "integer": Text("a whole number", "整数"),
    "number": Text("a number", "数字"),
    "array": Text("a list", "列表"),
    "object": Text("an object", "对象"),
    "null": Text("null", "空值"),
}
_WHY = {
    "syntax": ("it is not Python", "不是合法的 Python"),
    "call": ("it does not call tool_call", "没有调用 tool_call"),
    "names": ("its values have no names", "参数值没有写明参数名"),
    "once": ("each name has to be written once", "每个参数名应恰好出现一次"),
    "value": (
        "its values have to be plain: texts, numbers, True, False, None, lists or dicts",
        "参数值只能是文本、数字、True、False、None、列表或字典",
    ),
}


def parse_call(name: str, content: str) -> ToolCall:
    """A call as ChatGLM3 writes it: a fenced ``tool_call(parameter=value, …)``, or fenced Python code.

    Args:
        name: the tool's, as the header has it.
        content: what follows the header; its last fence may be missing.
    """
    is_code = name.strip() == INTERPRETER
    return _read(name.strip(), content.strip(), _code if is_code else parse_arguments)


def parse_json_call(name: str, content: str) -> ToolCall:
    """A call in the OpenAI form, whose arguments are the text of a JSON object."""
    return _read(name, content, _json_object)


def _read(name: str, text: str, parse: Callable[[str], dict[str, Any]]) -> ToolCall:
    try:
        return ToolCall(name, parse(text), text)
    except BadInput as error:
        return ToolCall(name, {}, text, error)


def cut_off(calls: Sequence[ToolCall]) -> list[ToolCall]:
    """The calls of an answer that reached its limit: the last must not run, though it may look whole."""
    error = BadInput(
        "The tool call was cut off by the limit of the answer's length: allow a longer answer.",
        "工具调用因达到回答的长度上限而被截断：请允许更长的回答。",
    )
    return [*calls[:-1], *(replace(call, arguments={}, error=error) for call in calls[-1:])]


def written_arguments(function: Mapping[str, Any]) -> Mapping[str, Any] | str:
    """The arguments of a call in a conversation, which may be JSON; a text where they cannot be read.

    Args:
        function: of an OpenAI tool call: "name" and "arguments".
    """
    arguments: Mapping[str, Any] | str = function["arguments"]
    if not isinstance(arguments, str):
        return arguments
    try:
        return _json_object(arguments)
    except BadInput:
        return arguments


def with_arguments(messages: Messages, form: Callable[[Mapping[str, Any] | str], Any]) -> list[Message]:
    """`messages` with the arguments of their calls in another form.

    Args:
        form: is given the arguments by name, or the text of a call that could not be read.
    """
    return [
        {**message, "tool_calls": [_with_form(call, form) for call in message["tool_calls"]]}
        if message.get("tool_calls")
        else message
        for message in messages
    ]


def _with_form(call: Mapping[str, Any], form: Callable[[Mapping[str, Any] | str], Any]) -> dict[str, Any]:
    arguments = form(written_arguments(call["function"]))
    return {**call, "function": {**call["function"], "arguments": arguments}}


def _json_object(text: str) -> dict[str, Any]:
    try:
        read = _json(json.loads(text.strip() or "{}"))
    except (ValueError, RecursionError):
        read = None
    if isinstance(read, dict):
        return read
    raise BadInput(
        "The tool call cannot be read because its arguments are no JSON object: write an object with a "
        "value for each parameter.",
        "无法解析工具调用（参数不是 JSON 对象）：请写成以参数名为键的对象。",
    )


def _code(content: str) -> dict[str, Any]:
    return {"code": _unfenced(content)}


def parse_arguments(content: str) -> dict[str, Any]:
    """The arguments in a fenced ``tool_call(parameter=value, …)``, or in a JSON object.

    Raises BadInput, whose sentence the model can read as well, for anything but keywords and plain
    values.
    """
    if len(content) > _LONGEST:
        raise _malformed("it is too long", "内容过长")
    text = _unfenced(content).strip()
    if text.startswith("{"):
        return _object_of(text)
    try:
        return {name: _json(value) for name, value in read_call(text).items()}
    except Malformed as error:
        raise _malformed(*_WHY[str(error)]) from error
    except (ValueError, RecursionError) as error:
        raise _malformed(*_WHY["value"]) from error


def _object_of(text: str) -> dict[str, Any]:
    """A JSON object of arguments, or of a name and its arguments."""
    read = _json_object(text)
    for key in ("arguments", "parameters"):
        if isinstance(read.get("name"), str) and isinstance(read.get(key), dict):
            return dict(read[key])
    return read


def _unfenced(content: str) -> str:
    """What stands between the fences, of which each may be missing; words behind them are left out."""
    lines = content.strip().split("\n")  # not splitlines: a text may hold U+2028
    if not lines[0].startswith("```"):
        return "\n".join(lines[:-1] if lines[-1].strip() == "```" else lines)
    ends = [number for number, line in enumerate(lines) if number and line.strip() == "```"]
    return "\n".join(lines[1 : ends[-1]] if ends else lines[1:])


def _json(value: Any) -> Any:
    """`value` as JSON would hold it. Raises ValueError for what it cannot."""
    if value is None or (isinstance(value, int) and value.bit_length() <= _BITS):
        return value
    if isinstance(value, str):
        value.encode()  # half a surrogate pair raises UnicodeEncodeError, a ValueError
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, (list, tuple)):
        return [_json(each) for each in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {_json(key): _json(each) for key, each in value.items()}
    raise ValueError(f"{type(value).__name__} is not JSON")


def _malformed(en: str, zh: str) -> BadInput:
    return BadInput(
        f"The tool call cannot be read because {en}: write tool_call(parameter=value, …).",
        f"无法解析工具调用（{zh}）：请写成 tool_call(参数=值)。",
    )


# --- against a schema --------------------------------------------------------------------------


def check(name: str, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Whether arguments fit a tool's JSON schema: types, choices, ranges, missing and unknown names.

    Other keywords of JSON Schema are not looked at; patterns least of all, because whoever pastes one
    could stop the server with it.

    Args:
        name: the tool's.
        parameters: JSON schema of an object.
        arguments: what a model gave.

    Raises:
        BadInput: what does not fit, in a sentence that the model can read as well.
    """
    properties = parameters.get("properties") or {}
    unknown = [given for given in arguments if given not in properties]
    if unknown and not parameters.get("additionalProperties"):
        listed = ", ".join(properties) or "-"
        raise BadInput(
            f"{name} has no parameter {unknown[0]}: it takes {listed}.",
            f"{name} 没有参数 {unknown[0]}：可用的参数为 {listed}。",
        )
    _fit(name, dict(arguments), {**parameters, "type": "object"})


def _fit(path: str, value: Any, schema: Any) -> None:
    if not isinstance(schema, Mapping):
        return
    options = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(options, list) and not any(_fits(path, value, each) for each in options):
        raise _misfit(path, value, Text("of another type", "其他类型的值"))
    _fit_type(path, value, schema)
    if isinstance(schema.get("enum"), list) and value not in schema["enum"]:
        listed = ", ".join(map(str, schema["enum"]))
        raise _misfit(path, value, Text(f"one of {listed}", f"以下之一：{listed}"))
    if isinstance(value, list):
        for n, each in enumerate(value):
            _fit(f"{path}[{n}]", each, schema.get("items"))
    if isinstance(value, dict):
        _fit_object(path, value, schema)


def _fit_type(path: str, value: Any, schema: Mapping[str, Any]) -> None:
    kinds = schema.get("type")
    kinds = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
    known = [kind for kind in kinds if isinstance(kind, str) and kind in _TYPES]
    if known and not any(_is(value, kind) for kind in known):
        en, zh = (
            " or ".join(_NAMED[kind].en for kind in known),
            "或".join(_NAMED[kind].zh for kind in known),
        )
        raise _misfit(path, value, Text(en, zh))
    if not _is(value, "number"):
        return
    low, high = schema.get("minimum"), schema.get("maximum")
    if _is(low, "number") and value < low:
        raise _misfit(path, value, Text(f"at least {low}", f"不小于 {low}"))
    if _is(high, "number") and value > high:
        raise _misfit(path, value, Text(f"at most {high}", f"不大于 {high}"))


def _fit_object(path: str, value: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    required = schema.get("required")
    for name in required if isinstance(required, list) else ():
        if isinstance(name, str) and name not in value:
            raise BadInput(f"{path} needs {name}: give it a value.", f"{path} 缺少参数 {name}：请为其赋值。")
    properties = schema.get("properties")
    for name, each in value.items():
        known = properties.get(name) if isinstance(properties, Mapping) else None
        _fit(f"{path}.{name}", each, schema.get("additionalProperties") if known is None else known)


def _fits(path: str, value: Any, schema: Any) -> bool:
    try:
        _fit(path, value, schema)
    except BadInput:
        return False
    return True


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _misfit(path: str, value: Any, wanted: Text) -> BadInput:
    given = repr(value) if len(repr(value)) < 80 else f"{repr(value)[:80]}…"
    return BadInput(
        f"{path} has to be {wanted.en}, not {given}.", f"{path} 必须是{wanted.zh}，而不是 {given}。"
    )
