"""Answers that use tools: what is called, what comes back, and where it ends."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.chat.request import ChatRequest
from models.engines.base import ChatEngine
from models.errors import BadInput, Cancelled, EngineFailed
from models.interpreter import Interpreter, Output
from models.schema import (
    Checkpoint,
    Delta,
    Done,
    Event,
    LoadReport,
    Messages,
    OnProgress,
    Placement,
    ToolCall,
    Tools,
    Usage,
)
from models.tools import Observation, Tool, Toolbox, exchange, from_function, from_schema, shipped
from tests.fakes.waiting import WAIT

Script = list[list[Event]]
END = Done("stop", Usage(completion_tokens=2, prompt_tokens=9, seconds_to_first_token=0.5))
CALLED = Done("tool_calls", Usage(completion_tokens=5, prompt_tokens=4, seconds_to_first_token=0.1))
QUESTION = [{"role": "user", "content": "What is 6 times 7?"}]


class ScriptedEngine(ChatEngine):
    """Plays one list of events per request, and keeps what it was sent."""

    has_chat_template = True

    def __init__(self, *script: list[Event]) -> None:
        checkpoint = Checkpoint("scripted", "other", "chat", "gguf")
        super().__init__("scripted", checkpoint, Placement("cpu", "fp32", 10_000))
        self.script, self.requests = list(script), list[ChatRequest]()

    def _load(self, path: Path, progress: OnProgress, cancel: threading.Event) -> None:
        self.context_length = self.placement.context

    def _report(self, seconds: float) -> LoadReport:
        return LoadReport("fp32", 0, {}, seconds)

    def _close(self) -> None:
        pass

    def _count_tokens(self, messages: Messages | str, tools: Tools) -> int:
        return len(str(messages).split())

    def _stream(self, request: ChatRequest, cancel: threading.Event) -> Iterator[Event]:
        self.requests.append(request)
        yield from self.script.pop(0)

    @property
    def sent(self) -> list[Any]:
        """The messages of all requests."""
        return [request.messages for request in self.requests]

    @property
    def allowed(self) -> list[list[str]]:
        """The names of the tools of all requests."""
        return [[tool["function"]["name"] for tool in request.tools] for request in self.requests]


class ContinuingEngine(ScriptedEngine):
    continues_answers = True


class FakeInterpreter(Interpreter):
    """Shows what a test wants, then fails if it has to."""

    def __init__(self, *outputs: Output, error: Exception | None = None) -> None:
        super().__init__()
        self.outputs, self.error, self.code = outputs, error, list[str]()

    def run(self, code: str, cancel: threading.Event | None = None) -> Iterator[Output]:
        self.code.append(code)
        yield from self.outputs
        if self.error:
            raise self.error


def asks(name: str, **arguments: Any) -> list[Event]:
    return [ToolCall(name, arguments), CALLED]


def play(toolbox: Toolbox, *script: list[Event]) -> tuple[list[Any], ScriptedEngine]:
    engine = ScriptedEngine(*script)
    return list(toolbox.answer(engine, QUESTION)), engine


def test_a_tool_is_called_and_the_model_told() -> None:
    events, engine = play(
        Toolbox(shipped()),
        [Delta("Let me see."), *asks("calculate", expression="6 * 7")],
        [Delta("It is 42."), END],
    )
    call = ToolCall("calculate", {"expression": "6 * 7"})
    assert events[:-1] == [Delta("Let me see."), call, Observation("42"), Delta("It is 42.")]
    first, second = engine.sent
    assert engine.allowed == [[tool.name for tool in shipped()]] * 2
    assert first == QUESTION
    assert second == [*first, *exchange("Let me see.", "calculate", '{"expression": "6 * 7"}', "42")]


def test_an_answer_of_two_rounds_has_one_bill() -> None:
    events, _ = play(Toolbox(shipped()), asks("calculate", expression="1"), [Delta("1"), END])
    assert events[-1] == Done("stop", Usage(completion_tokens=7, prompt_tokens=9, seconds_to_first_token=0.1))


def test_several_calls_in_a_row_and_at_once() -> None:
    events, engine = play(
        Toolbox(shipped()),
        asks("calculate", expression="1 + 1"),
        [ToolCall("calculate", {"expression": "2 + 2"}), *asks("calculate", expression="3 + 3")],
        [Delta("done"), END],
    )
    assert [event.text for event in events if isinstance(event, Observation)] == ["2", "4", "6"]
    told = [message["content"] for message in engine.sent[-1] if message["role"] == "tool"]
    assert told == ["2", "4", "6"]


def test_words_before_several_calls_are_said_once() -> None:
    _, engine = play(
        Toolbox(shipped()),
        [Delta("Two sums."), ToolCall("calculate", {"expression": "1"}), *asks("calculate", expression="2")],
        [Delta("done"), END],
    )
    said = [message["content"] for message in engine.sent[-1] if message["role"] == "assistant"]
    assert said == ["Two sums.", ""]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (ToolCall("calculate", {"expression": "1 / 0"}), "zero"),
        (ToolCall("calculate", {"expresion": "1"}), "no parameter expresion"),
        (ToolCall("get_stock", {}), "no tool named get_stock"),
        (ToolCall("interpreter", {"code": "1"}), "no tool named interpreter"),
        (
            ToolCall("calculate", {}, "tool_call(", BadInput("It is not Python.", "不是 Python。")),
            "not Python",
        ),
    ],
)
def test_a_call_that_fails_is_told_to_the_model(call: ToolCall, told: str) -> None:
    events, engine = play(Toolbox(shipped()), [call, CALLED], [Delta("Sorry."), END])
    (observation,) = (event for event in events if isinstance(event, Observation))
    assert told in observation.text and observation.error is not None
    assert engine.sent[-1][-1]["content"] == observation.text


def test_a_malformed_call_goes_back_as_it_was_written_and_once_only() -> None:
    bad = ToolCall("calculate", {}, "tool_call(oops", BadInput("It is not Python.", "不是 Python。"))
    engine = ScriptedEngine([bad, CALLED], [bad, CALLED])
    with pytest.raises(EngineFailed, match="twice"):
        list(Toolbox(shipped()).answer(engine, QUESTION))
    (function,) = (call["function"] for call in engine.sent[-1][-2]["tool_calls"])
    assert function == {"name": "calculate", "arguments": "tool_call(oops"}


def test_a_result_that_a_person_types_is_waited_for() -> None:
    (stock,) = from_schema(
        "name: get_stock\nparameters: {type: object, properties: {article: {type: string}}}"
    )
    events, engine = play(Toolbox([stock]), asks("get_stock", article="pens"))
    assert events == [ToolCall("get_stock", {"article": "pens"}), CALLED]
    engine.script = [[Delta("12 are left."), END]]
    typed = [*QUESTION, *exchange("", "get_stock", '{"article": "pens"}', "12")]
    events = list(Toolbox([stock]).answer(engine, typed))
    assert events == [Delta("12 are left."), END]


def test_a_call_that_does_not_fit_its_schema_bothers_nobody() -> None:
    (stock,) = from_schema('{"name": "get_stock", "parameters": {"properties": {}, "type": "object"}}')
    events, _ = play(Toolbox([stock]), asks("get_stock", article="pens"), [Delta("Sorry."), END])
    assert "no parameter article" in events[1].text


def test_a_model_that_never_stops_calling_is_stopped() -> None:
    engine = ScriptedEngine(*[asks("calculate", expression="1")] * 20)
    with pytest.raises(EngineFailed, match="without an answer"):
        list(Toolbox(shipped()).answer(engine, QUESTION))


def test_without_tools_the_messages_stay_as_they_are() -> None:
    _, engine = play(Toolbox(), [Delta("hi"), END])
    assert engine.sent == [QUESTION] and engine.allowed == [[]]


def test_what_may_be_called_is_told_apart_from_the_messages() -> None:
    messages = [{"role": "system", "content": "Be brief."}, *QUESTION]
    engine = ScriptedEngine([Delta("hi"), END])
    list(Toolbox(shipped()).answer(engine, messages))
    assert engine.sent == [messages]
    assert engine.requests[0].tools == [{"type": "function", "function": tool.schema} for tool in shipped()]


def test_stop_while_a_tool_runs_ends_the_answer() -> None:
    cancel, entered, released = threading.Event(), threading.Event(), threading.Event()
    late: list[str] = []

    def wait_for_ever() -> str:
        """Waits."""
        entered.set()
        released.wait(WAIT)
        late.append("over")
        return "late"

    engine = ScriptedEngine(asks("wait_for_ever"))
    events = Toolbox([from_function(wait_for_ever)]).answer(engine, QUESTION, cancel=cancel)
    assert isinstance(next(events), ToolCall)
    threading.Thread(target=lambda: entered.wait(WAIT) and cancel.set(), daemon=True).start()
    assert [event.finish_reason for event in events if isinstance(event, Done)] == ["cancelled"]
    assert not late
    released.set()


# --- code ----------------------------------------------------------------------------------------


def test_code_shows_and_the_model_reads() -> None:
    plot = Output("image", "<Figure>", b"\x89PNG")
    table = Output("table", "   a\n0  1", rows=(("a",), ("1",)))
    interpreter = FakeInterpreter(Output("text", "hello\n"), table, plot)
    events, engine = play(
        Toolbox(interpreter=interpreter), asks("interpreter", code="draw()"), [Delta("Drawn."), END]
    )
    assert interpreter.code == ["draw()"]
    assert events[1:4] == [Output("text", "hello\n"), table, plot]
    assert events[4] == Observation("hello\n   a\n0  1\n[Image]")
    assert engine.allowed[0] == ["interpreter"]
    assert json.loads(engine.sent[1][-2]["tool_calls"][0]["function"]["arguments"]) == {"code": "draw()"}


def test_code_that_shows_nothing_says_so() -> None:
    events, _ = play(Toolbox(interpreter=FakeInterpreter()), asks("interpreter", code="x = 1"), [END])
    assert events[1] == Observation("(no output)")


def test_code_that_was_stopped_keeps_what_it_showed() -> None:
    late = EngineFailed("It took too long.", "超时。")
    interpreter = FakeInterpreter(Output("text", "0\n1\n"), error=late)
    events, _ = play(Toolbox(interpreter=interpreter), asks("interpreter", code="loop"), [END])
    assert events[2] == Observation("0\n1\nIt took too long.", late)


def test_stop_while_code_runs_ends_the_answer() -> None:
    interpreter = FakeInterpreter(error=Cancelled())
    events, _ = play(Toolbox(interpreter=interpreter), asks("interpreter", code="loop"))
    assert events[-1].finish_reason == "cancelled"


def test_the_end_of_long_output_is_read() -> None:
    interpreter = FakeInterpreter(Output("text", "x" * 10_000 + "the end"))
    events, _ = play(Toolbox(interpreter=interpreter), asks("interpreter", code="x"), [END])
    assert events[2].text.endswith("the end") and len(events[2].text) < 5_000


def test_tools_and_code_together() -> None:
    both = Toolbox([Tool("a", "b", function=lambda: "c")], FakeInterpreter())
    assert [schema["name"] for schema in both.schemas] == ["a", "interpreter"]


def test_a_call_that_was_cut_off_ends_the_answer() -> None:
    cut = ToolCall("calculate", {}, "tool_call(", BadInput("It was cut off.", "被截断。"))
    events, engine = play(Toolbox(shipped()), [cut, Done("length", Usage())])
    assert [type(event) for event in events] == [ToolCall, Observation, Done]
    assert events[-1].finish_reason == "length" and len(engine.sent) == 1


def test_of_several_calls_the_first_that_a_person_answers_ends_the_round() -> None:
    (stock,) = from_schema("name: get_stock\nparameters: {properties: {article: {}}}")
    toolbox = Toolbox([stock, *shipped()])
    pens, ink = (ToolCall("get_stock", {"article": article}) for article in ("pens", "ink"))
    for later in (ink, ToolCall("calculate", {"expression": "1"})):
        events, _ = play(toolbox, [pens, later, CALLED])
        assert events == [pens, CALLED]
    cut = ToolCall("get_stock", {}, "tool_call(", BadInput("It was cut off.", "被截断。"))
    events, _ = play(toolbox, [pens, cut, Done("length", Usage())])
    assert events == [pens, Done("tool_calls", Usage())]


def test_two_malformed_calls_at_once_are_given_back_once() -> None:
    bad = ToolCall("calculate", {}, "tool_call(oops", BadInput("It is not Python.", "不是 Python。"))
    events, engine = play(Toolbox(shipped()), [bad, bad, CALLED], [Delta("Sorry."), END])
    assert events[-1].finish_reason == "stop" and len(engine.sent) == 2


def test_a_call_is_sent_back_with_the_words_that_were_there_before_the_answer_went_on() -> None:
    engine = ContinuingEngine([Delta(" see."), ToolCall("f", {}), CALLED], [Delta("It is 42."), END])
    begun = {"role": "assistant", "content": "Let me", "prefix": True}
    list(Toolbox().answer(engine, [*QUESTION, begun]))
    assert engine.sent[0][-1] == begun
    assert engine.sent[1][1]["content"] == "Let me see." and "prefix" not in engine.sent[1][1]
