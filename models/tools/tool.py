"""A tool that a model may call, and what comes of a call."""

import json
import math
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from models.chat.calls import INTERPRETER, check
from models.errors import BadInput, Cancelled, EngineFailed, ModelError
from models.jobs import Job
from models.tools import signatures

_SHOWN = 4_000  # characters of a result that a model reads
_TICK = 0.1  # seconds between two looks at a cancellation
_NAME = re.compile(r"[\w-]{1,64}")
# The code interpreter; no other tool can have its name.
CODE = MappingProxyType(
    {
        "name": INTERPRETER,
        "description": "运行 Python 代码并返回输出。Runs Python code and returns what it shows.",
        "parameters": {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]},
    }
)


@dataclass(frozen=True)
class Tool:
    """Something that a model may call. Raises BadInput for a name or schema that cannot be one.

    ``parameters`` is the JSON schema of an object; ``function`` is None where a person types the
    result.
    """

    name: str
    description: str
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    function: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name) or self.name == INTERPRETER:
            raise BadInput(
                f"A tool cannot be named {self.name!r}: use up to 64 letters, digits, _ or -, and not "
                f"{INTERPRETER!r}.",
                f"工具不能命名为 {self.name!r}：请使用不超过 64 个字母、数字、_ 或 -，且不能是 {INTERPRETER!r}。",
            )
        properties = self.parameters.get("properties", {}) if isinstance(self.parameters, Mapping) else None
        if not isinstance(self.description, str) or not isinstance(properties, Mapping):
            raise BadInput(
                f"The tool {self.name} needs a description, and parameters that are the JSON schema of an "
                "object with properties.",
                f"工具 {self.name} 需要 description，以及作为对象 JSON Schema（含 properties）的 parameters。",
            )

    @property
    def schema(self) -> dict[str, Any]:
        """As ChatGLM3 lists it; OpenAI's form holds the same as its "function"."""
        return {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}


class Observation(NamedTuple):
    """What a model is told after its call."""

    text: str
    error: ModelError | None = None  # why there is no result; `text` is its English sentence


def call(
    called: Tool, arguments: Mapping[str, Any], seconds: float = 10.0, cancel: threading.Event | None = None
) -> Observation:
    """Check arguments against the schema, run the tool, and say what came of it.

    A function that does not end in time goes on in the background: Python cannot stop a thread.

    Args:
        called: a tool with a function.
        arguments: by parameter name, as JSON holds them.
        seconds: how long the function may take.
        cancel: stops waiting for it.

    Raises:
        Cancelled: by `cancel`. All other failures are observations.
    """
    try:
        check(called.name, called.parameters, arguments)
        return Observation(_text(_run(called, arguments, seconds, cancel or threading.Event())))
    except Cancelled:
        raise
    except ModelError as error:
        return Observation(error.en, error)


def _run(called: Tool, arguments: Mapping[str, Any], seconds: float, cancel: threading.Event) -> Any:
    function = called.function
    if function is None:
        raise BadInput(
            f"The result of {called.name} has to be typed by a person.",
            f"{called.name} 的结果需要由人输入。",
        )
    enums = signatures.members(function)
    given = {name: enums.get(name, _as_is)(value) for name, value in arguments.items()}
    job: Job[Any, Any] = Job(lambda *_: function(**given))
    for _ in range(math.ceil(seconds / _TICK)):
        if cancel.is_set():
            raise Cancelled
        if job.wait(_TICK):
            break
    else:
        raise EngineFailed(
            f"{called.name} did not answer within {seconds:g} seconds: try other arguments.",
            f"{called.name} 在 {seconds:g} 秒内没有返回结果：请换用其他参数。",
        )
    try:
        return job.result()
    except ModelError:
        raise
    except Exception as error:  # whatever somebody's function throws
        raise EngineFailed(
            f"{called.name} failed ({type(error).__name__}: {error}): try other arguments.",
            f"{called.name} 执行失败（{type(error).__name__}：{error}）：请换用其他参数。",
        ) from error


def _as_is(value: Any) -> Any:
    return value


def _text(result: Any) -> str:
    try:
        text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)
    except (TypeError, ValueError):  # keys that are no texts, an object that holds itself
        text = str(result)
    text = text.encode(errors="replace").decode()  # a file's name can hold half a surrogate pair
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
