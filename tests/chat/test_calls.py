"""Calls that models write: what of them is read, and what fits a schema."""

from contextlib import suppress
from typing import Any

import pytest

from models.chat.calls import (
    check,
    cut_off,
    parse_arguments,
    parse_call,
    parse_json_call,
    with_arguments,
    written_arguments,
)
from models.chat.literals import Malformed, read_call
from models.errors import BadInput
from models.schema import ToolCall


def fits(schema: Any, value: Any, **more: Any) -> bool:
    """Whether a value is one of a parameter `x` of that schema."""
    try:
        check("f", {"properties": {"x": schema}} | more, {"x": value})
    except BadInput:
        return False
    return True


def refused(parameters: dict[str, Any], arguments: dict[str, Any]) -> str:
    with pytest.raises(BadInput) as caught:
        check("f", parameters, arguments)
    assert caught.value.zh.endswith("。")
    return caught.value.en


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [2**1023, -(2**1023), 1e308, "😀", "\u2028", [[[]]], {"": None}, 0.0])
def test_plain_values_are_read(value: Any) -> None:
    assert parse_arguments(f"tool_call(x={value!r})") == {"x": value}


@pytest.mark.parametrize(
    "written",
    [
        str(2**1024), str(-(2**1024)), "1e999", "-1e999", "'\\ud800'", "['\\ud800']", "{'\\ud800': 1}", "{1: 2}", "{1}",
        "b'x'", "1j", "...", "f'{1}'", "x", "-'a'", "[x]", "1 + 1", "open('x')", "lambda: 1", "[n for n in (1,)]",
    ],
)  # fmt: skip
def test_other_values_are_not(written: str) -> None:
    with pytest.raises(BadInput, match="its values have to be plain"):
        parse_arguments(f"tool_call(x={written})")


@pytest.mark.parametrize(
    ("written", "value"),
    [("(1)", 1), ("('a')", "a"), ("(1,)", [1]), ("(1, 2)", [1, 2]), ("()", []), ("((1,),)", [[1]])],
)
def test_brackets_around_one_value_are_that_value_and_a_comma_makes_a_list(written: str, value: Any) -> None:
    assert parse_arguments(f"tool_call(x={written})") == {"x": value}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("tool_call(1)", "its values have no names"),
        ("tool_call(*a)", "its values have no names"),
        ("tool_call(**{'a': 1})", "each name has to be written once"),
        ("tool_call(a=1)(b=2)", "it is not Python"),
        ("other(a=1)", "it does not call tool_call"),
        ("x.tool_call(a=1)", "it does not call tool_call"),
        ("tool_call", "it does not call tool_call"),
        ("tool_call(a=1, a=2)", "each name has to be written once"),
        ("tool_call(a=1); x", "it is not Python"),
        ("tool_call(a=", "it is not Python"),
        ("", "it is not Python"),
        ("tool_call(a='\0')", "it is not Python"),
        ("tool_call(x='" + "a" * 20_000 + "')", "it is too long"),
    ],
)
def test_what_is_no_call_says_why(content: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        parse_arguments(content)


def test_a_call_of_the_greatest_length_is_read() -> None:
    text = "a" * (20_000 - len("tool_call(x='')"))
    assert parse_arguments(f"tool_call(x='{text}')") == {"x": text}


@pytest.mark.parametrize(
    "content",
    [
        "```python\ntool_call(a=1)\n```", "```\ntool_call(a=1)\n```", "```python\ntool_call(a=1)", "tool_call(a=1)\n```",
        "\n\n  tool_call(a=1)  \n", "```python\n\n tool_call(a=1)\n\n ``` \n", "tool_call(\n  a=1,\n)",
    ],
)  # fmt: skip
def test_fences_are_no_part_of_a_call(content: str) -> None:
    assert parse_arguments(content) == {"a": 1}


def test_code_is_taken_without_its_fences_as_it_is() -> None:
    call = parse_call(" interpreter\n", "```python\nx = '```'\n\n  y\n```\n")
    assert (call.name, call.arguments, call.error) == ("interpreter", {"code": "x = '```'\n\n  y"}, None)
    assert call.text == "```python\nx = '```'\n\n  y\n```"
    assert parse_call("interpreter", "1 +").arguments == {"code": "1 +"}


@pytest.mark.parametrize("behind", ["", "\nThat prints it."])
def test_fences_within_code_are_part_of_it(behind: str) -> None:
    code = 'text = """\n```\nls\n```\n"""\nprint(text)'
    assert parse_call("interpreter", f"```python\n{code}\n```{behind}").arguments == {"code": code}


def test_a_call_that_cannot_be_read_keeps_its_text() -> None:
    call = parse_call(" f ", " tool_call(1) ")
    assert (call.name, call.arguments, call.text) == ("f", {}, "tool_call(1)")
    assert call.error is not None and "no names" in call.error.en
    call = parse_json_call("f", "[1]")
    assert (call.arguments, call.text) == ({}, "[1]") and call.error is not None


@pytest.mark.parametrize(
    ("text", "arguments"), [("{}", {}), ("", {}), ("  ", {}), ('{"a": [1.5]}', {"a": [1.5]})]
)
def test_json_objects_are_arguments(text: str, arguments: dict[str, Any]) -> None:
    assert parse_json_call("f", text) == ToolCall("f", arguments, text)


@pytest.mark.parametrize(
    "text", ["1", "null", '"a"', "{", "[]", '{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}', "[" * 9999]
)
def test_other_json_is_not(text: str) -> None:
    assert parse_json_call("f", text).error is not None


# --- in conversations ------------------------------------------------------------------------------


def test_the_last_call_of_a_cut_answer_must_not_run() -> None:
    first, last = ToolCall("a", {"x": 1}, "1"), ToolCall("b", {"y": 2}, "2")
    kept, stopped = cut_off([first, last])
    assert kept is first
    assert (stopped.name, stopped.arguments, stopped.text) == ("b", {}, "2")
    assert stopped.error is not None and "cut off" in stopped.error.en
    assert cut_off([]) == []


def test_arguments_in_a_conversation_take_another_form() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    odd = {"id": "2", "function": {"name": "g", "arguments": "a=1"}}
    plain = {"role": "user", "content": "?"}
    said = {"role": "assistant", "content": "", "tool_calls": [call, odd]}
    first, second = with_arguments([plain, said], lambda arguments: ("form", arguments))
    assert first is plain
    assert second["tool_calls"] == [
        {**call, "function": {"name": "f", "arguments": ("form", {"a": 1})}},
        {**odd, "function": {"name": "g", "arguments": ("form", "a=1")}},
    ]
    assert call["function"]["arguments"] == '{"a": 1}' and said["content"] == second["content"]  # type: ignore[index]
    assert written_arguments({"arguments": {"a": 1}}) == {"a": 1}


# --- against a schema ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("string", ["", "a"], [1, None, True, []]),
        ("boolean", [True, False], [0, 1, "true", None]),
        ("integer", [1, -1, 2.0], [1.5, True, "1", float("inf")]),
        ("number", [1, 1.5], [True, "1"]),
        ("array", [[], [1]], ["a", {}, None]),
        ("object", [{}, {"a": 1}], [[], "a"]),
        ("null", [None], [0, "", False]),
        ("made-up", [1, "a", None], []),
        (["string", "null"], ["a", None], [1]),
        (["made-up", "string"], ["a"], [1]),
        ({"a": 1}, [1, "a"], []),
        (None, [1, "a"], []),
    ],
)
def test_types(kind: Any, good: list[Any], bad: list[Any]) -> None:
    assert all(fits({"type": kind}, value) for value in good)
    assert not any(fits({"type": kind}, value) for value in bad)


def test_ranges_hold_their_ends_and_are_of_numbers() -> None:
    schema = {"type": "number", "minimum": 1, "maximum": 2.5}
    assert [value for value in (0.99, 1, 2, 2.5, 2.51) if fits(schema, value)] == [1, 2, 2.5]
    assert fits({"minimum": 5}, "a") and fits({"minimum": "5"}, 1) and fits({"maximum": True}, 2)
    assert refused({"properties": {"x": {"minimum": 3}}}, {"x": 1}) == "f.x has to be at least 3, not 1."
    assert refused({"properties": {"x": {"maximum": 3}}}, {"x": 4}) == "f.x has to be at most 3, not 4."


def test_choices() -> None:
    assert fits({"enum": ["a", 1, None]}, None) and not fits({"enum": ["a"]}, "b")
    assert fits({"enum": "abc"}, "z")
    assert (
        refused({"properties": {"x": {"enum": ["a", 1]}}}, {"x": "b"})
        == "f.x has to be one of a, 1, not 'b'."
    )


@pytest.mark.parametrize("word", ["anyOf", "oneOf"])
def test_one_of_several_schemas_is_enough(word: str) -> None:
    schema = {word: [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}]}
    assert fits(schema, "a") and fits(schema, [1]) and not fits(schema, ["a"]) and not fits(schema, 1)
    assert fits({word: "string"}, 1)
    assert refused({"properties": {"x": schema}}, {"x": 1}) == "f.x has to be of another type, not 1."


def test_what_lies_inside_is_looked_at_and_named() -> None:
    deep = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}}}
    schema = {"properties": {"x": deep}}
    check("f", schema, {"x": {"a": [1, 2], "b": "anything"}})
    assert refused(schema, {"x": {"a": [1, "b"]}}) == "f.x.a[1] has to be a whole number, not 'b'."
    more = {"type": "object", "additionalProperties": {"type": "string"}}
    assert fits(more, {"b": "c"}) and not fits(more, {"b": 1})
    assert (
        fits({"type": "object", "properties": "none"}, {"b": 1})
        and fits("any", 1)
        and fits({"items": "x"}, [1])
    )


def test_names_that_are_needed_and_names_that_are_not_there() -> None:
    schema: dict[str, Any] = {"properties": {"a": {}, "b": {}}, "required": ["b", 5]}
    check("f", schema, {"b": None})
    assert refused(schema, {"a": 1}) == "f needs b: give it a value."
    assert refused(schema, {"b": 1, "c": 2}) == "f has no parameter c: it takes a, b."
    assert refused({}, {"c": 2}) == "f has no parameter c: it takes -."
    check("f", schema | {"additionalProperties": True}, {"b": 1, "c": 2})
    check("f", {"properties": {"a": {}}, "required": "a"}, {})
    inner = {"properties": {"x": {"type": "object", "required": ["y"]}}}
    assert refused(inner, {"x": {}}) == "f.x needs y: give it a value."


def test_long_values_are_cut_in_the_sentence() -> None:
    assert refused({"properties": {"x": {"type": "integer"}}}, {"x": "a" * 77}).endswith(f"not '{'a' * 77}'.")
    assert refused({"properties": {"x": {"type": "integer"}}}, {"x": "a" * 90}).endswith(f"not '{'a' * 79}….")


# What is quadratic here takes minutes, and is ended by the time that a test has.
@pytest.mark.timeout(60)
@pytest.mark.parametrize("value", ["9" * 200_000, "1_" * 100_000, "9" * 200_000 + "x", '"a" ' * 50_000])
def test_a_very_long_value_is_read_in_one_scan(value: str) -> None:
    with suppress(Malformed):
        assert read_call(f"tool_call(a={value})") == {"a": "a" * 50_000}
