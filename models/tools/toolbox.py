"""Answers that use tools: what the model calls is run, and it is told what came of it."""

import json
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from zlib import crc32

from models.chat.calls import check
from models.chat.messages import begun_answer, without_begun
from models.engines.base import ChatEngine
from models.errors import BadInput, Cancelled, EngineFailed, ModelError
from models.interpreter import Interpreter, Output, as_read
from models.schema import ChatOptions, Delta, Done, Event, Message, Messages, ToolCall, Tools, Usage
from models.tools.tool import CODE, Observation, Tool, call

MOST = 8  # rounds of calls in one answer


class Toolbox:
    """What the model of one conversation may call.

    Args:
        tools: those without a function wait for a person, who types their result.
        interpreter: runs the Python that the model writes, if it may write any.
    """

    def __init__(self, tools: Sequence[Tool] = (), interpreter: Interpreter | None = None) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._interpreter = interpreter

    @property
    def schemas(self) -> Tools:
        """What an engine has to know of the tools."""
        return [*(tool.schema for tool in self._tools.values()), *([CODE] if self._interpreter else ())]

    def answer(
        self,
        engine: ChatEngine,
        messages: Messages,
        options: ChatOptions | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[Event | Output | Observation]:
        """`engine.stream`, again after each call until the model answers without one.

        Behind every ToolCall come the Outputs of its code, if it is code, and one Observation. None
        comes where a person has to type it: then the answer ends with finish_reason "tool_calls", and
        goes on when it is asked for again with `exchange` among the messages.

        Raises:
            EngineFailed: too many calls, or a second one that cannot be read. Otherwise as `stream`.
        """
        cancel = cancel or threading.Event()
        ask = partial(engine.stream, options=options, cancel=cancel, tools=self.schemas)
        messages = list(messages)
        spent: Usage | None = None
        unreadable = 0
        for _ in range(MOST):
            done, text, calls = yield from _one_round(ask(messages))
            text, messages = begun_answer(messages) + text, without_begun(messages)
            spent = done.usage if spent is None else _sum(spent, done.usage)
            unreadable += any(asked.error for asked in calls)
            for asked in calls:
                yield asked
                try:
                    observation = yield from self._run(asked, cancel)
                except Cancelled:
                    yield Done("cancelled", spent)
                    return
                if observation is None:  # later calls may need what is typed: the model can repeat them
                    yield Done("tool_calls", spent)
                    return
                messages += exchange(text, asked.name, written(asked), observation.text)
                text = ""
            if done.finish_reason != "tool_calls":
                yield replace(done, usage=spent)
                return
            if unreadable > 1:
                raise EngineFailed(
                    "The model wrote calls that cannot be read, twice: ask again, in other words.",
                    "模型两次写出了无法解析的调用：请换一种说法再问。",
                )
        raise EngineFailed(
            f"The model called tools {MOST} times without an answer: ask for less at once.",
            f"模型连续 {MOST} 次调用工具仍未作答：请减少一次提出的要求。",
        )

    def _run(
        self, asked: ToolCall, cancel: threading.Event
    ) -> Generator[Output | Observation, None, Observation | None]:
        try:
            if asked.error:
                raise asked.error
            if asked.name == CODE["name"] and self._interpreter:
                observation: Observation | None = yield from self._run_code(
                    self._interpreter, str(asked.arguments.get("code", "")), cancel
                )
            else:
                observation = self._call(asked, cancel)
        except Cancelled:
            raise
        except ModelError as error:
            observation = Observation(error.en, error)
        if observation:
            yield observation
        return observation

    def _call(self, asked: ToolCall, cancel: threading.Event) -> Observation | None:
        tool = self._tools.get(asked.name)
        if tool is None:
            listed = ", ".join(self._tools) or "-"
            raise BadInput(
                f"There is no tool named {asked.name}: the tools are {listed}.",
                f"没有名为 {asked.name} 的工具：可用的工具为 {listed}。",
            )
        if tool.function is None:
            check(tool.name, tool.parameters, asked.arguments)
            return None
        return call(tool, asked.arguments, cancel=cancel)

    def _run_code(
        self, interpreter: Interpreter, code: str, cancel: threading.Event
    ) -> Generator[Output, None, Observation]:
        shown = []
        error: ModelError | None = None
        try:
            for output in interpreter.run(code, cancel):
                shown.append(output)
                yield output
        except Cancelled:
            raise
        except ModelError as stopped:
            error = stopped
        read = as_read(shown)
        return Observation(f"{read}\n{error.en}".strip() if error else read or "(no output)", error)


def exchange(text: str, name: str, arguments: str, observation: str | None) -> list[Message]:
    """A call and what came of it, as messages in the OpenAI chat format.

    Args:
        text: what the model wrote before the call.
        name: of the tool.
        arguments: as JSON, or as the model wrote them where they cannot be read.
        observation: None where there is none.
    """
    result = "(no result)" if observation is None else observation
    # Calls that share a number are the same in every respect.
    number = f"call_{crc32(f'{name} {arguments} {result}'.encode()):08x}"
    function = {"name": name, "arguments": arguments}
    return [
        {
            "role": "assistant",
            "content": text,
            "tool_calls": [{"id": number, "type": "function", "function": function}],
        },
        {"role": "tool", "content": result, "tool_call_id": number},
    ]


def written(asked: ToolCall) -> str:
    """The arguments of a call as `exchange` takes them."""
    return asked.text if asked.error else json.dumps(dict(asked.arguments), ensure_ascii=False)


def _one_round(events: Iterator[Event]) -> Generator[Event, None, tuple[Done, str, list[ToolCall]]]:
    """One answer of the engine, with its end and its calls held back."""
    done, text, calls = Done("cancelled", Usage()), "", []
    for event in events:
        if isinstance(event, ToolCall):
            calls.append(event)
        elif isinstance(event, Done):
            done = event
        else:
            text += event.text if isinstance(event, Delta) else ""
            yield event
    return done, text, calls


def _sum(spent: Usage, more: Usage) -> Usage:
    """What an answer of several rounds cost: the prompt and speed are those of the last."""
    return replace(
        more,
        completion_tokens=spent.completion_tokens + more.completion_tokens,
        seconds_to_first_token=spent.seconds_to_first_token,
        dropped_messages=max(spent.dropped_messages, more.dropped_messages),
    )
