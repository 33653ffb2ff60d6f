"""What a Python function says of itself, as JSON schema: type hints, defaults, and a docstring.

Docstrings in Google's style: a description, then "Args:" with one "name: text" for each parameter.
"""

import inspect
import json
import re
import types
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from models.errors import BadInput

Schema = dict[str, Any]

_PLAIN = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns|Raises|Yields|Examples?|Notes?):\s*$", re.M)
_ARGUMENT = re.compile(r"(?:\*{0,2})(\w+)\s*(?:\([^)]*\))?:\s*(.*)")


def parameters(function: Callable[..., Any]) -> Schema:
    """The schema of a function's arguments. Raises BadInput for what JSON cannot express."""
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise _refused(function, f"its type hints cannot be read ({error})") from error
    _, said = described(function)
    properties: dict[str, Schema] = {}
    required = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise _refused(function, f"its parameter {name} cannot be given by name")
        schema = _schema(hints.get(name, Any), function)
        if name in said:
            schema.setdefault("description", said[name])
        if parameter.default is parameter.empty:
            required.append(name)
        elif parameter.default is not None:
            schema["default"] = _default(parameter.default, function)
        properties[name] = schema
    return {"type": "object", "properties": properties, "required": required}


def described(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """A docstring's description, and what it says of each parameter."""
    text = inspect.getdoc(function) or ""
    first, *rest = _SECTION.split(text)
    sections = dict(zip(rest[::2], rest[1::2], strict=True))
    listed = sections.get("Args") or sections.get("Arguments") or sections.get("Parameters") or ""
    said: dict[str, str] = {}
    last = ""
    for line in inspect.cleandoc(listed).splitlines():
        match = _ARGUMENT.match(line)
        if match:
            last, said[match[1]] = match[1], match[2]
        elif last:
            said[last] = f"{said[last]} {line.strip()}".strip()
    return " ".join(first.split()), said


def members(function: Callable[..., Any]) -> dict[str, Callable[[Any], Any]]:
    """For parameters that take a member of an Enum, which JSON can only name: what makes one of it."""
    found: dict[str, Callable[[Any], Any]] = {}
    for name, hint in get_type_hints(function).items():
        for kind in get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,):
            if isinstance(kind, type) and issubclass(kind, Enum):
                found[name] = partial(_member, kind)
    return found


def _member(kind: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else kind(value)


def _schema(hint: Any, function: Callable[..., Any]) -> Schema:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        texts = [extra for extra in inner[1:] if isinstance(extra, str)]
        return _schema(inner[0], function) | ({"description": texts[0]} if texts else {})
    if origin in (Union, types.UnionType):
        return _union([_schema(each, function) for each in inner])
    if origin is Literal:
        return _choices(inner, function)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _choices([member.value for member in hint], function)
    if is_typeddict(hint):
        fields = {name: _schema(each, function) for name, each in get_type_hints(hint).items()}
        return {"type": "object", "properties": fields, "required": sorted(hint.__required_keys__)}
    return _container(origin or hint, inner, function)


def _container(kind: Any, inner: tuple[Any, ...], function: Callable[..., Any]) -> Schema:
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if kind is Any:
        return {}
    if kind in (list, Sequence):
        return {"type": "array"} | ({"items": _schema(inner[0], function)} if inner else {})
    if kind in (dict, Mapping):
        values = {"additionalProperties": _schema(inner[1], function)} if inner else {}
        return {"type": "object"} | values
    raise _refused(function, f"a model cannot write a {getattr(kind, '__name__', kind)}")


def _union(schemas: list[Schema]) -> Schema:
    """One type with null beside it, as Optional makes it, is written shorter."""
    plain = [schema for schema in schemas if schema != {"type": "null"}]
    if len(plain) == 1 < len(schemas) and isinstance(plain[0].get("type"), str):
        (only,) = plain
        choices = {"enum": [*only["enum"], None]} if "enum" in only else {}
        return only | {"type": [only["type"], "null"]} | choices
    return {"anyOf": schemas}


def _choices(values: Sequence[Any], function: Callable[..., Any]) -> Schema:
    kinds = {_PLAIN.get(type(value), "") for value in values}
    if "" in kinds:
        raise _refused(function, "one of its choices is neither text nor number")
    return ({"type": kinds.pop()} if len(kinds) == 1 else {}) | {"enum": list(values)}


def _default(value: Any, function: Callable[..., Any]) -> Any:
    value = value.value if isinstance(value, Enum) else value
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise _refused(function, f"its default {value!r} is not JSON") from error
    return value


def _refused(function: Callable[..., Any], why: str) -> BadInput:
    name = getattr(function, "__name__", repr(function))
    return BadInput(
        f"The function {name} cannot become a tool because {why}: give each parameter a plain type hint.",
        f"函数 {name} 无法作为工具（{why}）：请为每个参数标注简单的类型。",
    )
