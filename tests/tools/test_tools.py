"""Tools: from functions and schemas, calls parsed as data, and the shipped ones."""

import json
import threading
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest

from models.errors import BadInput, Cancelled, EngineFailed
from models.schema import ToolCall
from models.tools import (
    Tool,
    available,
    call,
    from_function,
    from_schema,
    parse_arguments,
    parse_call,
    parse_json_call,
    shipped,
)
from tests.fakes.waiting import WAIT


class Unit(Enum):
    CELSIUS = "celsius"
    KELVIN = "kelvin"


def forecast(
    city: Annotated[str, "城市名"],
    days: int = 1,
    unit: Unit = Unit.CELSIUS,
    style: Literal["short", "long"] | None = None,
    hours: list[int] | None = None,
    extra: dict[str, float] | None = None,
) -> str:
    """Look ahead.

    More about it.

    Args:
        city: not used, because the annotation says more.
        days (int): how many days,
            counted from today.

    Returns:
        A text: as it is.
    """
    return f"{city} {days} {unit.name} {style} {hours} {extra}"


# --- functions to schemas ----------------------------------------------------------------------


def test_hints_defaults_and_docstring_become_a_schema() -> None:
    made = from_function(forecast)
    assert (made.name, made.description) == ("forecast", "Look ahead. More about it.")
    assert made.parameters == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "城市名"},
            "days": {"type": "integer", "description": "how many days, counted from today.", "default": 1},
            "unit": {"type": "string", "enum": ["celsius", "kelvin"], "default": "celsius"},
            "style": {"type": ["string", "null"], "enum": ["short", "long", None]},
            "hours": {"type": ["array", "null"], "items": {"type": "integer"}},
            "extra": {"type": ["object", "null"], "additionalProperties": {"type": "number"}},
        },
        "required": ["city"],
    }


class Place(TypedDict):
    city: str
    zone: NotRequired[str]


def travel(
    to: Place,
    stops: list[Place],
    by: Literal["rail", "road"],
    class_: Literal[1, "first"] = 1,
    after: Place | str | None = None,
) -> str:
    """Go there."""
    return f"{to['city']} {len(stops)} {by} {class_}"


def test_what_an_object_may_lack_is_not_asked_for() -> None:
    made = from_function(travel)
    fields = {"city": {"type": "string"}, "zone": {"type": "string"}}
    place = {"type": "object", "properties": fields, "required": ["city"]}
    assert made.parameters["properties"] == {
        "to": place,
        "stops": {"type": "array", "items": place},
        "by": {"type": "string", "enum": ["rail", "road"]},
        "class_": {"enum": [1, "first"], "default": 1},
        "after": {"anyOf": [place, {"type": "string"}, {"type": "null"}]},
    }
    given = {"to": {"city": "Rome"}, "stops": [{"city": "Pisa", "zone": "CET"}], "by": "rail"}
    assert call(made, given).text == "Rome 1 rail 1"
    assert call(made, {**given, "to": {"zone": "CET"}}).text == "travel.to needs city: give it a value."
    assert "one of rail, road" in call(made, {**given, "by": "sea"}).text


def test_the_schema_of_every_shipped_tool_is_json_with_descriptions() -> None:
    for made in shipped():
        assert json.loads(json.dumps(made.schema)) == made.schema
        assert made.description
        assert all(each["description"] for each in made.parameters["properties"].values())


def test_functions_that_json_cannot_call_are_refused() -> None:
    def many(*numbers: int) -> None: ...
    def odd(when: complex) -> None: ...
    def default(what: Any = frozenset()) -> None: ...
    def unknown(what: "Missing") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    for function in (many, odd, default, unknown):
        with pytest.raises(BadInput, match=function.__name__):
            from_function(function)


# --- calls as data -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "arguments"),
    [
        ("tool_call(city='北京')", {"city": "北京"}),
        (' ```python\ntool_call(location="北京", days=3)\n```', {"location": "北京", "days": 3}),
        ('```python\ntool_call(\n    symbol="600519",\n)\n```', {"symbol": "600519"}),
        ("```python\ntool_call(a=1)", {"a": 1}),
        ("tool_call()", {}),
        (
            'tool_call(a=[1, 2.5, None], b={"x": "y"}, c=-1, d=True, e=(1, 2))',
            {"a": [1, 2.5, None], "b": {"x": "y"}, "c": -1, "d": True, "e": [1, 2]},
        ),
        ("tool_call(code='```\\nx')", {"code": "```\nx"}),
        ("tool_call(a='x\u2028y\x0cz')", {"a": "x\u2028y\x0cz"}),
        # As models write them, Python or not.
        ("tool_call(from='a', class='b', user-id=3)", {"from": "a", "class": "b", "user-id": 3}),
        ("tool_call(now=true, no=false, nothing=null)", {"now": True, "no": False, "nothing": None}),
        ("tool_call(poem='one\ntwo')", {"poem": "one\ntwo"}),
        ("```python\ntool_call(a=1)\n```\n好的，我来查。", {"a": 1}),
        ('```json\n{"city": "北京"}\n```', {"city": "北京"}),
        ('{"name": "f", "parameters": {"a": 1}}', {"a": 1}),
        ('{"name": "北京"}', {"name": "北京"}),
        (
            r"tool_call(a='it\'s', b=r'\d', c='\n\x41\101', d='\q')",
            {"a": "it's", "b": r"\d", "c": "\nAA", "d": r"\q"},
        ),
        (r'tool_call(a="\u4f60\ud83d\ude00\U0001F600")', {"a": "你😀😀"}),
        (
            'tool_call(a=\'x\' "y", b=(\'z\'), c=(1,), d="""e\'f""")',
            {"a": "xy", "b": "z", "c": [1], "d": "e'f"},
        ),
        ("tool_call('city'='北京', 温度=-1.5e3, n=1_000)", {"city": "北京", "温度": -1500.0, "n": 1000}),
        ("tool_call(a=1, # one\n)", {"a": 1}),
    ],
)
def test_a_call_with_plain_values_is_read(content: str, arguments: dict[str, Any]) -> None:
    assert parse_arguments(content) == arguments


@pytest.mark.parametrize(
    "content",
    [
        "tool_call('北京')",
        "tool_call(**{'city': 1})",
        "tool_call(a=1, a=2)",
        "tool_call(a=open('/etc/passwd'))",
        "tool_call(a=__import__('os').system('true'))",
        "tool_call(a=name)",
        "tool_call(a=b.c)",
        "tool_call(a=[x for x in ()])",
        "tool_call(a=f'{1}')",
        "tool_call(a=b'bytes')",
        "tool_call(a={1, 2})",
        "tool_call(a={1: 2})",
        "tool_call(a=1e999)",
        "tool_call(a=1j)",
        "tool_call(a=...)",
        "tool_call(a=9**9**9)",
        "tool_call(a=lambda: 1)",
        "tool_call.x(a=1)",
        "other(a=1)",
        "tool_call(a=1); tool_call(b=2)",
        "tool_call",
        "今天北京的天气",
        "",
        "```python\n```",
        "tool_call(a='\x00')",
        "tool_call(a=" + "9" * 5000 + ")",
        "tool_call(a=" + "[" * 3000 + "]" * 3000 + ")",
        "tool_call(a=" + "-" * 15_000 + "1)",
        "tool_call(a=" + "1+" * 5000 + "1)",
        "tool_call(a='" + "x" * 100_000 + "')",
    ],
)
def test_anything_else_is_refused_and_not_run(content: str) -> None:
    with pytest.raises(BadInput, match=r"write tool_call\(parameter=value") as refused:
        parse_arguments(content)
    assert refused.value.zh.startswith("无法解析工具调用")


def test_a_call_has_the_tools_name_and_what_was_written() -> None:
    written = "```python\ntool_call(city='北京')\n```"
    assert parse_call(" get_weather", f" {written}\n") == ToolCall("get_weather", {"city": "北京"}, written)


def test_a_call_that_cannot_be_read_says_why() -> None:
    call = parse_call("get_weather", " tool_call(city=open('x'))")
    assert (call.name, call.arguments, call.text) == ("get_weather", {}, "tool_call(city=open('x'))")
    assert call.error is not None and "has to be plain" not in call.error.en and "plain" in call.error.en


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (" ```python\nx = 1\nprint(x)\n```", "x = 1\nprint(x)"),
        ("```python\nx = 1\nprint(x)", "x = 1\nprint(x)"),
        ("```\n\n  x = '```'\n\n```\n", "\n  x = '```'\n"),
        ("print(1)", "print(1)"),
        ("", ""),
    ],
)
def test_the_interpreters_call_is_code(content: str, code: str) -> None:
    call = parse_call("interpreter", content)
    assert (call.arguments, call.error) == ({"code": code}, None)


def test_a_call_of_the_openai_form() -> None:
    text = '{"city": "北京", "days": 3}'
    assert parse_json_call("get_weather", text) == ToolCall("get_weather", {"city": "北京", "days": 3}, text)
    assert parse_json_call("now", "") == ToolCall("now", {})


@pytest.mark.parametrize("text", ["{", "[1]", '"x"', "null", '{"a": NaN}', '{"a": 1e999}', "[" * 100_000])
def test_other_json_is_no_call(text: str) -> None:
    call = parse_json_call("f", text)
    assert call.error is not None and "no JSON object" in call.error.en and call.text == text
    assert not call.arguments


# --- running them ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "forecast needs city"),
        ({"city": 1}, "forecast.city has to be a text, not 1"),
        ({"city": "x", "days": "3"}, "forecast.days has to be a whole number"),
        ({"city": "x", "days": True}, "forecast.days has to be a whole number"),
        ({"city": "x", "unit": "miles"}, "one of celsius, kelvin"),
        ({"city": "x", "hours": [1, "2"]}, "forecast.hours[1] has to be a whole number"),
        ({"city": "x", "extra": {"a": "b"}}, "forecast.extra.a has to be a number"),
        ({"city": "x", "town": "y"}, "no parameter town: it takes city, days"),
    ],
)
def test_arguments_that_do_not_fit_are_an_observation(arguments: dict[str, Any], said: str) -> None:
    observation = call(from_function(forecast), arguments)
    assert isinstance(observation.error, BadInput)
    assert said in observation.text


def test_arguments_that_fit_reach_the_function_as_it_wants_them() -> None:
    given = {"city": "北京", "days": 2.0, "unit": "kelvin", "style": None, "hours": [1], "extra": {"a": 1}}
    assert call(from_function(forecast), given) == ("北京 2.0 KELVIN None [1] {'a': 1}", None)


def test_schemas_of_other_makers_are_checked_as_far_as_they_go() -> None:
    parameters = {
        "type": "object",
        "properties": {
            "symbol": {"description": "no type"},
            "level": {"type": "integer", "minimum": 1, "maximum": 5},
            "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            "odd": {"type": ["frob", 3], "enum": "abc", "required": True, "properties": []},
        },
        "required": "symbol",
    }
    made = Tool("t", "", parameters, lambda **given: sorted(given))
    fitting = {"symbol": [1], "level": 5, "either": 3, "odd": {"x": 1}}
    assert call(made, fitting).text == '["either", "level", "odd", "symbol"]'
    assert "at least 1" in call(made, {"level": 0}).text
    assert "at most 5" in call(made, {"level": 9}).text
    assert "another type" in call(made, {"either": []}).text


def test_an_exception_of_a_tool_is_an_observation() -> None:
    def broken() -> None:
        raise KeyError("no such thing")

    observation = call(from_function(broken), {})
    assert isinstance(observation.error, EngineFailed)
    assert "KeyError: 'no such thing'" in observation.text
    assert "执行失败" in observation.error.zh


def test_a_tool_that_hangs_is_left_behind_and_can_be_cancelled() -> None:
    over = threading.Event()

    def hangs() -> None:
        over.wait(WAIT)

    cancelled = threading.Event()
    cancelled.set()
    try:
        assert "did not answer within 0.2 seconds" in call(from_function(hangs), {}, seconds=0.2).text
        with pytest.raises(Cancelled):
            call(from_function(hangs), {}, cancel=cancelled)
    finally:
        over.set()


def test_results_are_text_and_not_endless() -> None:
    itself: list[Any] = []
    itself.append(itself)
    results = [{"温度": 22}, "plain", None, {1j: 2}, itself, {"a file": "\udcff"}, "x" * 10_000]
    texts = [call(Tool("t", "", function=lambda result=result: result), {}).text for result in results]
    assert texts[:5] == ['{"温度": 22}', "plain", "null", "{1j: 2}", "[[...]]"]
    assert texts[5] == '{"a file": "?"}'  # what a name holds that no text does
    assert len(texts[6]) < 4100
    assert texts[6].endswith("(10000 characters)")


# --- pasted schemas ----------------------------------------------------------------------------

PLAIN = {
    "name": "track",
    "description": "股价",
    "parameters": {"type": "object", "properties": {"symbol": {}}},
}
YAML = """
- name: track
  description: 股价
  parameters:
    type: object
    properties:
      symbol: {}
"""


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(PLAIN),
        json.dumps([PLAIN], ensure_ascii=False, indent=2),
        json.dumps({"type": "function", "function": PLAIN}),
        YAML,
    ],
)
def test_pasted_tools_are_read_in_every_form(text: str) -> None:
    (made,) = from_schema(text)
    assert made.schema == PLAIN
    assert made.function is None
    assert "typed by a person" in call(made, {"symbol": "600519"}).text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "42",
        "name: [",
        "{'name': }",
        "- 1\n- 2",
        '{"description": "no name"}',
        '{"name": "a b"}',
        '{"name": "interpreter"}',
        '{"name": 3}',
        '{"name": "t", "description": 3}',
        '{"name": "t", "parameters": [1]}',
        '{"name": "t", "parameters": {"properties": [1]}}',
        "name: t\nparameters: {when: 2024-01-01}",
        "name: t\nparameters: {big: .inf}",
        "a: &a [1]\nname: t\nb: [*a, *a]",
        "!!python/object/apply:os.system ['true']",
        "[" * 5000,
        json.dumps([PLAIN, PLAIN]),
        json.dumps([{**PLAIN, "name": f"t{n}"} for n in range(65)]),
        "x" * 30_000,
    ],
)
def test_pasted_text_that_is_no_tool_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        from_schema(text)


# --- the operator's folder ---------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    def write(name: str, source: str) -> None:
        (tmp_path / name).write_text(source, encoding="utf-8")

    monkeypatch.setenv("QUINTET_TOOLS", str(tmp_path))
    return write


def names() -> list[str]:
    return [each.name for each in available()[len(shipped()) :]]


def test_a_folder_gives_public_functions_or_the_marked_ones(own: Callable[[str, str], None]) -> None:
    own("all.py", "from math import sqrt\nfrom os.path import join\ndef one(): ...\ndef _two(): ...\n")
    own(
        "some.py",
        "from models.tools import tool\n@tool\ndef three(n: int):\n    return n * 2\ndef four(): ...\n",
    )
    own("_not.py", "raise SystemError\n")
    assert names() == ["one", "three"]
    assert call(available()[-1], {"n": 21}).text == "42"


@pytest.mark.parametrize(
    "source",
    [
        "def broken(:",
        "import nothing_of_that_name",
        "def get_weather(): ...",
        "async def later(): ...",
        "def parts(): yield 1",
    ],
)
def test_a_file_that_cannot_be_used_is_named(own: Callable[[str, str], None], source: str) -> None:
    own("bad.py", source)
    with pytest.raises(BadInput, match=r"bad\.py|get_weather|later|parts"):
        available()


@pytest.mark.parametrize("path", ["/nowhere", "~nowhere/tools"])
def test_a_folder_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("QUINTET_TOOLS", path)
    with pytest.raises(BadInput, match="nowhere"):
        available()


# --- the shipped tools -------------------------------------------------------------------------


def answer(name: str, **arguments: Any) -> str:
    (made,) = (each for each in shipped() if each.name == name)
    return call(made, arguments).text


def test_weather_answers_in_the_language_of_the_question_and_says_that_it_is_made_up() -> None:
    assert json.loads(answer("get_weather", city="北京市"))["来源"] == "离线示例数据"
    english = json.loads(answer("get_weather", city="new york"))
    assert english["city"] == "New York"
    assert english["source"] == "offline example data"
    assert "does not know Atlantis" in answer("get_weather", city="Atlantis")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", "7"),
        ("（3＋5）×2^3 ＝", "64"),
        ("0.1 + 0.2", "0.3"),
        ("7 / 2", "3.5"),
        ("6 / 2", "3"),
        ("7 // 2 + 7 % 4", "6"),
        ("-2 ** 2", "-4"),
        ("sqrt(2) * 1000", "1414.21356237"),
        ("round(2.567, 2)", "2.57"),
        ("factorial(5) + max(1, 2)", "122"),
        ("2 ** 100", "1267650600228229401496703205376"),
        ("10 ** -3", "0.001"),
        ("cos(π)", "-1"),
        ("1e300 * 10", "1e+301"),
    ],
)
def test_the_calculator_calculates(expression: str, value: str) -> None:
    assert answer("calculate", expression=expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "1 / 0",
        "9 ** 9 ** 9",
        "10 ** 1000000",
        "factorial(1001)",
        "factorial(-1)",
        "round(5, -1000000000)",
        "1e308 * 10",
        "(-8) ** 0.5",
        "sqrt(-1)",
        "__import__('os')",
        "().__class__",
        "'a' * 10",
        "[1] * 10",
        "x",
        "1 if 2 else 3",
        "sqrt(value=2)",
        "1 == 1",
        "50%",
        "",
        "(" * 400,
        "1 + " * 300 + "1",
        "lcm(" + ", ".join(str(10**9 + n) for n in range(40)) + ")" * 9,
    ],
)
def test_the_calculator_refuses_the_rest(expression: str) -> None:
    assert "cannot be calculated" in answer("calculate", expression=expression).replace(
        "divides by zero", "cannot be calculated"
    )


@pytest.mark.parametrize(
    ("value", "from_unit", "to_unit", "said"),
    [
        (10, "公里", "米", "10 公里 = 10000 米"),
        (1, "mile", "km", "1 mile = 1.609344 km"),
        (5, "Miles", "里", "5 Miles = 16.09344 里"),
        (100, "℃", "F", "100 ℃ = 212 F"),
        (-40, "华氏度", "摄氏度", "-40 华氏度 = -40 摄氏度"),
        (1.5, "斤", "kg", "1.5 斤 = 0.75 kg"),
        (2, "m²", "平方厘米", "2 m² = 20000 平方厘米"),
        (36, "km/h", "m/s", "36 km/h = 10 m/s"),
        (1, "km", "kg", "measure different things"),
        (1, "parsec", "km", "parsec is not known"),
    ],
)
def test_units(value: float, from_unit: str, to_unit: str, said: str) -> None:
    assert said in answer("convert_unit", value=value, from_unit=from_unit, to_unit=to_unit)


def test_every_unit_has_one_meaning() -> None:
    from models.tools.units import _UNITS

    named = [name for units in _UNITS for names, _, _ in units for name in names.split()]
    assert sorted(set(named)) == sorted(named)


def test_dates() -> None:
    assert json.loads(answer("add_days", date="2024年2月28日", days=2)) == {
        "date": "2024-03-01",
        "weekday": "星期五 Friday",
    }
    assert answer("weekday", date="2024/3/1") == "星期五 Friday"
    assert answer("days_between", start="2024-01-01", end="2025-01-01") == "366"
    assert "is not a date" in answer("weekday", date="2023-02-29")
    assert "beyond the calendar" in answer("add_days", date="9999-12-31", days=1)
    assert "beyond the calendar" in answer("add_days", date="2024-01-01", days=10**18)


def test_the_time_elsewhere() -> None:
    from datetime import UTC, datetime, timedelta

    told = json.loads(answer("current_time", place="东京"))
    shown = datetime.fromisoformat(f"{told['date']}T{told['time']}").replace(tzinfo=UTC) - timedelta(hours=9)
    assert abs(datetime.now(UTC) - shown) < timedelta(minutes=2)
    for place in ("Atlantis", "../../etc/passwd", "/etc/localtime", "", "Europe"):
        assert "is not known" in answer("current_time", place=place)
