"""The tools that come with Quintet: their tables, their edges, and what they say."""

import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest

from models.tools import call, dates, shipped
from models.tools.weather import CITIES

# What one of a unit is in the base unit of its quantity, from the definitions (SI, NIST SP 811, 1959 yard).
UNITS = {
    "m": {"mm": 0.001, "cm": 0.01, "公分": 0.01, "km": 1000, "in": 0.0254, "ft": 0.3048, "yd": 0.9144,
          "mi": 1609.344, "nmi": 1852, "里": 500, "尺": 1 / 3, "寸": 1 / 30},
    "kg": {"mg": 1e-6, "g": 0.001, "t": 1000, "lb": 0.45359237, "oz": 0.028349523125, "斤": 0.5, "两": 0.05,
           "公斤": 1},
    "l": {"ml": 0.001, "m3": 1000, "gal": 3.785411784, "pt": 0.473176473, "cup": 0.2365882365},
    "m2": {"cm2": 0.0001, "km2": 1e6, "ha": 1e4, "亩": 2000 / 3, "acre": 4046.8564224, "ft2": 0.09290304},
    "m/s": {"km/h": 1 / 3.6, "mph": 0.44704, "knot": 1852 / 3600},
    "s": {"ms": 0.001, "min": 60, "h": 3600, "day": 86_400, "week": 604_800},
    "byte": {"bit": 0.125, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 2**10, "mib": 2**20,
             "gib": 2**30},
    "j": {"kj": 1000, "cal": 4.184, "kcal": 4184, "kwh": 3.6e6},
}  # fmt: skip


def answer(name: str, **arguments: Any) -> str:
    (made,) = (each for each in shipped() if each.name == name)
    return call(made, arguments).text


# --- units ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "base", "factor"),
    [(unit, base, factor) for base, units in UNITS.items() for unit, factor in units.items()],
)
def test_every_unit_is_what_it_is_defined_as(unit: str, base: str, factor: float) -> None:
    told = answer("convert_unit", value=1000, from_unit=unit, to_unit=base)
    assert float(told.split(" = ")[1].split()[0]) == pytest.approx(1000 * factor, rel=1e-9)
    back = answer("convert_unit", value=1000 * factor, from_unit=base, to_unit=unit)
    assert float(back.split(" = ")[1].split()[0]) == pytest.approx(1000, rel=1e-9)


@pytest.mark.parametrize(
    ("value", "from_unit", "to_unit", "degrees"),
    [
        (0, "c", "k", 273.15),
        (300, "k", "c", 26.85),
        (212, "f", "c", 100),
        (0, "k", "f", -459.67),
        (1, "c", "f", 33.8),
    ],
)
def test_temperatures_have_their_zero_elsewhere(
    value: float, from_unit: str, to_unit: str, degrees: float
) -> None:
    told = answer("convert_unit", value=value, from_unit=from_unit, to_unit=to_unit)
    assert float(told.split(" = ")[1].split()[0]) == pytest.approx(degrees)


@pytest.mark.parametrize(
    ("name", "known"),
    [("kilometers", True), ("Nautical Miles", True), ("ms", True), ("GB", True), (" 千米 ", True), ("㎞", True),
     ("gs", False), ("cms", False), ("", False), ("m²s", False)],
)  # fmt: skip
def test_names_of_units(name: str, known: bool) -> None:
    assert (
        "is not known" not in answer("convert_unit", value=1, from_unit=name, to_unit=_like(name))
    ) is known


def _like(name: str) -> str:
    return {"ms": "s", "GB": "byte"}.get(name, "m")


# --- the calculator ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2 + 3", "5"), ("2 - 3", "-1"), ("2 × 3", "6"), ("2 · 3", "6"), ("7 ÷ 2", "3.5"), ("7 // 2", "3"),
        ("-7 // 2", "-4"), ("7 % 3", "1"), ("+5", "5"), ("−5", "-5"), ("√(16)", "4"), ("2^10", "1024"),
        ("sqrt(16)", "4"), ("exp(0)", "1"), ("ln(e)", "1"), ("log(100, 10)", "2"), ("log(e)", "1"),
        ("log10(1000)", "3"), ("log2(8)", "3"), ("sin(pi / 2)", "1"), ("cos(0)", "1"), ("tan(0)", "0"),
        ("asin(1) * 2 / pi", "1"), ("acos(1)", "0"), ("atan(1) * 4 / π", "1"), ("floor(2.7)", "2"),
        ("ceil(2.1)", "3"), ("degrees(pi)", "180"), ("radians(180) / pi", "1"), ("gcd(12, 18)", "6"),
        ("lcm(4, 6)", "12"), ("abs(-3)", "3"), ("round(2.5)", "2"), ("round(1234, -2)", "1200"),
        ("min(3, 1, 2)", "1"), ("max(3, 1, 2)", "3"), ("factorial(0)", "1"), ("factorial(1000) > 0", None),
        ("1 / 3", "0.333333333333"), ("1e16 + 0.5", "1e+16"), ("123456789012345.0", "123456789012000"),
        ("2 ** -1", "0.5"), ("1 ** 99999", "1"), ("(-1) ** 99999", "-1"), ("0 ** 99999", "0"), ("4 ** 0.5", "2"),
        ("10 ** 3 = ?", "1000"), ("6 / 3", "2"), ("6.0 / 4", "1.5"),
    ],
)  # fmt: skip
def test_what_is_calculated(expression: str, value: str | None) -> None:
    told = answer("calculate", expression=expression)
    assert told == value if value is not None else "cannot be calculated" in told


@pytest.mark.parametrize(
    ("expression", "fits"),
    [
        ("2 ** 4999 + 0 * 1", True), ("2 ** 5001", False),  # bits of the base, times the exponent
        ("1" + "0" * 499, True), ("1" + "0" * 500, False),  # characters
        ("factorial(1000)", True), ("factorial(1001)", False), ("factorial(5.0)", False),
        ("factorial(1, 2)", False), ("round(5, 101)", False), ("round(5, -100)", True),
        ("1e308 + 1e308", False), ("sqrt(4, 5)", False), ("sum(1)", False), ("True + 1", True),
        ("factorial(999) * factorial(999) * factorial(999)", False),
    ],
)  # fmt: skip
def test_where_the_calculator_ends(expression: str, fits: bool) -> None:
    assert ("cannot be calculated" not in answer("calculate", expression=expression)) is fits


def test_division_by_zero_has_its_own_sentence() -> None:
    for expression in ("1 / 0", "1 // 0", "1 % 0", "1.0 / 0", "0 ** -1"):
        assert answer("calculate", expression=expression) == f"{expression} divides by zero."


# --- dates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("date", "weekday"),
    [
        ("2024-01-01", "星期一 Monday"), ("2024-01-02", "星期二 Tuesday"), ("2024/01/03", "星期三 Wednesday"),
        ("2024.1.4", "星期四 Thursday"), ("2024年1月5日", "星期五 Friday"), (" 2024 年 1 月 6 号 ", "星期六 Saturday"),
        ("2024-1-7", "星期日 Sunday"),
    ],
)  # fmt: skip
def test_days_of_the_week(date: str, weekday: str) -> None:
    assert answer("weekday", date=date) == weekday


@pytest.mark.parametrize(
    "text", ["24-01-01", "2024-13-01", "2024-00-10", "2024-01-32", "today", "2024-01-01x", ""]
)
def test_what_is_no_date(text: str) -> None:
    assert answer("weekday", date=text) == f"{text} is not a date: write it as 2024-05-01."


def test_days_go_both_ways() -> None:
    assert answer("days_between", start="2024-03-01", end="2024-02-28") == "-2"
    assert json.loads(answer("add_days", date="2024-03-01", days=-2))["date"] == "2024-02-28"
    assert json.loads(answer("add_days", date="0001-01-01", days=0))["date"] == "0001-01-01"
    assert "beyond the calendar" in answer("add_days", date="0001-01-01", days=-1)


@pytest.mark.parametrize(
    ("place", "date", "time", "weekday"),
    [
        ("UTC", "2024-03-01", "20:30", "星期五 Friday"),
        ("东京", "2024-03-02", "05:30", "星期六 Saturday"),
        ("new york", "2024-03-01", "15:30", "星期五 Friday"),
        ("Asia/Kolkata", "2024-03-02", "02:00", "星期六 Saturday"),
    ],
)
def test_the_time_in_a_place(
    place: str, date: str, time: str, weekday: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Clock":
            return cls(2024, 3, 1, 20, 30, tzinfo=UTC).astimezone(tz)  # type: ignore[return-value]

    monkeypatch.setattr(dates, "datetime", Clock)
    told = json.loads(answer("current_time", place=place))
    assert told == {"place": place, "date": date, "time": time, "weekday": weekday}


# --- weather -------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", CITIES, ids=lambda row: row[1])
def test_a_row_of_the_table_is_whole(row: tuple[Any, ...]) -> None:
    chinese, english, zone, sky, degrees, humidity = row
    assert zone in available_timezones() and ZoneInfo(zone)
    assert -40 <= degrees <= 50 and 0 < humidity <= 100
    told = json.loads(answer("get_weather", city=f" {english.upper()} "))
    assert (told["city"], told["temperature"], told["humidity"]) == (english, f"{degrees}°C", f"{humidity}%")
    assert told["weather"].isascii()
    told = json.loads(answer("get_weather", city=f"{chinese}市"))
    assert (told["城市"], told["天气"], told["气温"], told["湿度"]) == (
        chinese, sky, f"{degrees}℃", f"{humidity}%",
    )  # fmt: skip


def test_every_city_has_one_name_in_each_language() -> None:
    for column in (0, 1):
        assert len({row[column] for row in CITIES}) == len(CITIES)
