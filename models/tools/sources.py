"""Where tools come from: Python functions, pasted schemas, the operator's folder, and Quintet itself."""

import importlib.util
import inspect
import json
import os
import sys
from collections.abc import Callable
from functools import cache
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from models.errors import BadInput, short
from models.tools import signatures
from models.tools.calculator import calculate
from models.tools.dates import add_days, current_time, days_between, weekday
from models.tools.tool import Tool
from models.tools.units import convert_unit
from models.tools.weather import get_weather

SETTING = "QUINTET_TOOLS"  # a folder of the operator's own tools
MOST = 64  # tools in one pasted list
_LONGEST = 20_000  # characters of a pasted list
_DEEPEST = 50  # brackets inside each other in it

Function = TypeVar("Function", bound=Callable[..., Any])


def from_function(function: Callable[..., Any]) -> Tool:
    """A tool from type hints and docstring.

    Raises:
        BadInput: parameters that JSON cannot express, or a function that gives its result piece by piece
            or later.
    """
    kinds = inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction
    if any(is_one(function) for is_one in kinds):
        raise BadInput(
            f"The function {function.__name__} cannot become a tool because it is asynchronous or yields: "
            "let it return its result.",
            f"函数 {function.__name__} 是异步函数或生成器，无法作为工具：请让它直接返回结果。",
        )
    description, _ = signatures.described(function)
    return Tool(function.__name__, description, signatures.parameters(function), function)


def from_schema(text: str) -> list[Tool]:
    """Tools from pasted JSON or YAML, whose results a person types.

    Args:
        text: one tool or a list, in OpenAI's form {"type": "function", "function": {…}} or plain.

    Raises:
        BadInput: text that is neither, or tools that are not whole.
    """
    loaded = _loaded(text)
    listed = loaded if isinstance(loaded, list) else [loaded]
    if not 0 < len(listed) <= MOST:
        raise _unreadable(f"{len(listed)} tools")
    return _distinct([_from_entry(entry) for entry in listed])


def tool(function: Function) -> Function:
    """Marks a function of the operator's folder as a tool, where not all public ones are meant."""
    function.__dict__["is_tool"] = True
    return function


@cache
def folder(path: str) -> tuple[Tool, ...]:
    """The tools in the Python files of a folder, imported once. They are the operator's, and trusted.

    Of each file the functions marked by `tool`, or else all public ones that it defines.

    Raises:
        BadInput: no such folder, a file that fails, or a function that cannot become a tool.
    """
    root = Path(os.path.expanduser(path))  # noqa: PTH111  Path's fails for a user that there is not
    if not root.is_dir():
        raise BadInput(
            f"{SETTING} names {root}, which is no folder: set it to a folder of Python files.",
            f"{SETTING} 指定的 {root} 不是文件夹：请改为存放 Python 文件的文件夹。",
        )
    files = sorted(file for file in root.glob("*.py") if not file.name.startswith("_"))
    return tuple(_distinct([from_function(each) for file in files for each in _functions(_imported(file))]))


@cache
def shipped() -> tuple[Tool, ...]:
    """The tools that come with Quintet."""
    functions: tuple[Callable[..., Any], ...] = (
        get_weather, calculate, convert_unit, current_time, add_days, weekday, days_between,
    )  # fmt: skip
    return tuple(map(from_function, functions))


def available() -> list[Tool]:
    """The shipped tools and those of the operator's folder, if one is set. Raises as `folder`."""
    own = os.environ.get(SETTING)
    return _distinct([*shipped(), *(folder(own) if own else ())])


def _loaded(text: str) -> Any:
    import yaml

    if len(text) > _LONGEST:
        raise _unreadable(f"{len(text)} characters")
    if max(accumulate((sign in "[{") - (sign in "]}") for sign in text), default=0) > _DEEPEST:
        raise _unreadable("too many brackets inside each other")  # PyYAML takes minutes for them
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise _unreadable("YAML aliases")  # a few lines of them can stand for gigabytes
        # What JSON cannot hold (dates, sets, …) is refused here and not in a prompt.
        return json.loads(json.dumps(yaml.safe_load(text), allow_nan=False))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise _unreadable(str(error).splitlines()[0]) from error


def _from_entry(entry: Any) -> Tool:
    if isinstance(entry, dict) and isinstance(entry.get("function"), dict):
        entry = entry["function"]
    if not isinstance(entry, dict) or "name" not in entry:
        raise _unreadable("an entry without a name")
    nothing = {"type": "object", "properties": {}}
    return Tool(entry["name"], entry.get("description", ""), entry.get("parameters") or nothing)


def _unreadable(what: str) -> BadInput:
    return BadInput(
        f"The tools cannot be read ({what}): paste one JSON or YAML object with name, description and "
        f"parameters, or a list of up to {MOST}.",
        f"无法读取工具（{what}）：请粘贴一个含 name、description 和 parameters 的 JSON 或 YAML 对象，"
        f"或不超过 {MOST} 个这样的对象组成的列表。",
    )


def _distinct(made: list[Tool]) -> list[Tool]:
    names = [each.name for each in made]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(
                f"Two tools are named {name}: rename one of them.",
                f"有两个工具都叫 {name}：请重命名其中一个。",
            )
    return made


def _imported(file: Path) -> ModuleType:
    name = f"quintet_tools_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise BadInput(
            f"The tools in {file.name} cannot be used ({short(error)}): correct that file.",
            f"无法使用 {file.name} 中的工具（{short(error)}）：请修正该文件。",
        ) from error
    return module


def _functions(module: ModuleType) -> list[Callable[..., Any]]:
    own: list[Callable[..., Any]] = [
        each
        for name, each in vars(module).items()
        if inspect.isfunction(each) and each.__module__ == module.__name__ and not name.startswith("_")
    ]
    return [each for each in own if "is_tool" in vars(each)] or own
