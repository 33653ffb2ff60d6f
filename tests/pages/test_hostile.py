"""What a model writes, its code shows, or a file brings may be anything: no page breaks, nothing is fetched."""

import base64
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from models.chat.calls import check, parse_json_call
from models.chat.request import openai_tools
from models.errors import BadInput
from models.interpreter import png
from models.interpreter.outputs import output_of
from models.schema import ToolCall
from models.tools import call, exchange, folder, from_function, parse_call, written
from tests.fakes.engines import Stage
from tests.fakes.tiny_checkpoints import write_gguf
from tests.fakes.visitor import (
    STOCK,
    alive,
    ask,
    choose,
    click,
    conversation,
    imported,
    in_mode,
    settle,
    steps,
    visit,
    works,
)
from tests.fakes.waiting import WAIT

PICTURE = "![x](http://example.com/x.png)"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def picture(width: int, height: int, before: bytes = b"") -> bytes:
    """A grey PNG of one bit a pixel; `before`: chunks in front of its header."""
    rows = b"".join(b"\0" + bytes((width + 7) // 8) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + before + body


def encoded(image: bytes) -> str:
    return base64.b64encode(image).decode()


def step(**values: Any) -> dict[str, Any]:
    whole = {"name": "f", "arguments": "{}", "text": "", "observation": "x", "failed": False, "shown": []}
    return {**whole, **values}


def output(**values: Any) -> dict[str, Any]:
    return {"kind": "text", "text": "", "image": "", "rows": [], **values}


def file(*made: dict[str, Any], **answer: Any) -> str:
    answers = [{"text": "", "reason": "stop", "steps": made, **answer}]
    return json.dumps({"turns": [{"question": "q", "answers": answers}]})


# --- calls ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made",
    [
        parse_call("calculate", f"```python\ntool_call(expression=0x{'f' * 8000})\n```"),
        parse_call("calculate", "```python\ntool_call(expression='\\ud800')\n```"),
        parse_call("calculate", "```python\ntool_call(expression={'\\ud800': 1})\n```"),
        parse_json_call("calculate", '{"expression": "\\ud800"}'),
    ],
)
def test_a_value_that_cannot_be_sent_on_makes_a_call_malformed(made: ToolCall) -> None:
    assert made.error is not None
    assert exchange("", made.name, written(made), made.error.en)[0]["tool_calls"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"properties": {"a": {"type": [["string"], {}]}}},
        {"properties": {"a": {}}, "required": [["a"], {}]},
    ],
)
def test_a_strange_schema_is_not_looked_at(parameters: dict[str, Any]) -> None:
    check("f", parameters, {"a": 1})


def test_the_result_of_a_tool_can_be_sent_on() -> None:
    def name_of_a_file() -> str:
        """Its bytes are no text."""
        return b"\xff.txt".decode(errors="surrogateescape")

    assert call(from_function(name_of_a_file), {}).text == "?.txt"


def test_an_operators_file_that_exits_does_not_take_the_server_along(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("raise SystemExit(3)")
    with pytest.raises(BadInput, match="SystemExit"):
        folder(str(tmp_path))


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function"},
        {"function": 5},
        {"function": {}},
        {"name": 5},
        {"name": "f", "parameters": "city"},
        {"name": "f", "description": "\ud800"},
        {"name": "f", "parameters": {"enum": {1}}},
    ],
)
def test_what_is_no_schema_of_a_function_is_refused(tool: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="schema of a function"):
        openai_tools([tool])


# --- what code shows -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "image",
    [
        picture(8, 8)[:40],
        picture(8, 8)[:33] + b"junk",
        picture(6000, 6000),
        picture(6000, 6000, chunk(b"teXt", b"\0\0\0\1\0\0\0\1")),
        picture(8, 8)[:33] + picture(6000, 6000)[8:],
    ],
    ids=["cut", "broken", "vast", "vast behind a text", "vast in a second header"],
)
def test_only_pictures_that_can_be_decoded_are_handed_on(image: bytes) -> None:
    assert png(encoded(picture(8, 8))) and png(encoded(image)) == b""


def message(kind: str, **content: Any) -> dict[str, Any]:
    return {"header": {"msg_type": kind}, "content": content}


def test_half_a_character_is_not_handed_on() -> None:
    assert output_of(message("stream", text="\ud800")) is None
    html = "<table><tr><td>\ud800</td></tr></table>"
    assert output_of(message("display_data", data={"text/html": html})) is None


def test_empty_cells_are_no_way_round_the_limit() -> None:
    shown = output_of(message("display_data", data={"text/html": "<tr>" + "<td>" * 5000}))
    assert shown and shown.characters >= 5000
    vast = output_of(message("display_data", data={"text/html": "<tr>" + "<td>" * 300_000}))
    assert vast and not vast.rows


# --- imported conversations ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "made",
    [
        step(name="interpreter", shown=[output(kind="image", image=encoded(picture(8, 8)[:33] + b"junk"))]),
        step(name="interpreter", arguments="[" * 100_000),
        step(name="interpreter", arguments="{}", observation=""),
        step(name="interpreter", failed=True, observation="\n"),
        step(name="interpreter", shown=[output(kind="table", rows=[[""] * 30_000])]),
        step(name="interpreter", shown=[output(kind="table", rows=[["a", "a"], [], ["b"] * 200])]),
        step(name="", arguments=""),
    ],
)
def test_no_step_of_a_file_breaks_the_page(glm: Stage, made: dict[str, Any]) -> None:
    at = imported(visit("chatglm"), file(made))
    assert len(conversation(at, "chatglm").turns) == 1


@pytest.mark.parametrize(
    ("made", "answer"),
    [
        (step(name=PICTURE, observation=None), {"reason": "tool_calls"}),
        (step(name="interpreter", failed=True, observation=PICTURE), {}),
        (step(text=PICTURE), {"text": PICTURE}),
        (step(), {"checkpoint": PICTURE}),
    ],
)
def test_no_picture_of_a_file_is_fetched(glm: Stage, made: dict[str, Any], answer: dict[str, Any]) -> None:
    at = imported(visit("chatglm"), file(made, **answer))
    drawn = [element.value for element in (*at.markdown, *at.caption)]
    drawn += [element.label for element in (*at.text_area, *at.expander)]
    marked = [text for text in drawn if "example.com" in text and not text.startswith("`")]
    assert marked and not any("![" in text for text in marked)


def test_another_try_goes_to_the_answer_that_is_shown(glm: Stage) -> None:
    waited, other = {"text": "a", "reason": "tool_calls"}, {"text": "b"}
    turn = {"question": "q", "chosen": 0, "answers": [waited, other]}
    at = imported(in_mode("tool"), json.dumps({"turns": [turn]}))
    click(at, "chatglm.tool.again")
    (only,) = conversation(at, "chatglm.tool").turns
    assert [answer.text for answer in only.answers] == ["a", "b", "q "]


# --- the page ------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["first", "base"])
def test_what_was_asked_for_in_one_conversation_is_not_answered_in_another(
    glm: Stage, tmp_path: Path, other: str
) -> None:
    first = write_gguf(tmp_path / "first.gguf", attention__key_length=32)  # as ChatGLM-6B: no tools
    at = in_mode("tool")
    glm.go.clear()
    alive(at.chat_input[0].set_value("hello").run())
    (work,) = works(at)  # while it was loaded, another checkpoint was chosen
    choose(at, str(first if other == "first" else tmp_path / "base.gguf"), "chatglm")
    glm.go.set()
    assert work.wait(WAIT) and not at.error
    assert conversation(at, "chatglm.tool").turns[0].answers[0].text == "hello "
    assert glm.diary == ["load glm.gguf"]


def test_a_typed_result_is_not_there_for_the_next_call(glm: Stage) -> None:
    at = in_mode("tool")
    alive(at.text_area(key="set.chatglm.pasted").set_value(STOCK).run())
    ask(at, 'call get_stock {"article": "pens"}\ncall get_stock {"article": "ink"}')
    type_result(at, 1, "a dozen")
    assert at.text_area(key="chatglm.tool.typed.2").value == ""
    type_result(at, 2, "none")
    assert [made.observation for made in steps(at, "tool")] == ["a dozen", "none"]


def type_result(at: AppTest, number: int, text: str) -> None:
    at.text_area(key=f"chatglm.tool.typed.{number}").set_value(text)
    settle(next(button for button in at.button if button.form_id == "chatglm.tool.result").click().run())
