"""Dates and times, with the calendar and time zones of this machine."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from models.errors import BadInput
from models.tools.weather import CITIES, is_called

_WEEKDAYS = ("星期一 Monday", "星期二 Tuesday", "星期三 Wednesday", "星期四 Thursday", "星期五 Friday",
             "星期六 Saturday", "星期日 Sunday")  # fmt: skip
_Date = Annotated[str, "日期，例如 2024-05-01 or 2024年5月1日"]


def current_time(place: Annotated[str, "城市或时区，例如 东京 or Europe/Paris"] = "UTC") -> dict[str, str]:
    """查询某地现在的日期和时间。The date and time in a city or time zone, now."""
    now = datetime.now(UTC).astimezone(_zone(place))
    return {
        "place": place,
        "date": f"{now:%Y-%m-%d}",
        "time": f"{now:%H:%M}",
        "weekday": _WEEKDAYS[now.weekday()],
    }


def add_days(date: _Date, days: Annotated[int, "天数，可以为负"]) -> dict[str, str]:
    """计算某日期若干天之后（负数为之前）的日期。The date some days after (or before) another."""
    try:
        later = _day(date) + timedelta(days=days)
    except OverflowError as error:
        raise BadInput(
            "That date lies beyond the calendar: use years from 1 to 9999.",
            "该日期超出日历范围：请使用公元 1 年至 9999 年之间的日期。",
        ) from error
    return {"date": later.isoformat(), "weekday": _WEEKDAYS[later.weekday()]}


def weekday(date: _Date) -> str:
    """查询某日期是星期几。The day of the week of a date."""
    return _WEEKDAYS[_day(date).weekday()]


def days_between(start: _Date, end: _Date) -> int:
    """计算两个日期相差的天数。The number of days from one date to another."""
    return (_day(end) - _day(start)).days


def _zone(place: str) -> ZoneInfo:
    for row in CITIES:
        if is_called(place, row):
            return ZoneInfo(row[2])
    try:
        return ZoneInfo(place.strip())
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadInput(
            f"The place {place} is not known: name a large city, or a time zone such as Europe/Paris.",
            f"不认识地点 {place}：请写大城市名，或 Asia/Shanghai 这样的时区。",
        ) from error


def _day(text: str) -> date:
    match = re.fullmatch(r"\s*(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*[日号]?\s*", text)
    try:
        if match is None:
            raise ValueError(text)
        return date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError as error:
        raise BadInput(
            f"{text} is not a date: write it as 2024-05-01.",
            f"{text} 不是日期：请写成 2024-05-01 的形式。",
        ) from error
