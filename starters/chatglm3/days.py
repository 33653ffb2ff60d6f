"""Questions about dates and times."""

import json
from datetime import date, datetime, timedelta
from random import Random

from models.tools import call
from models.tools.weather import CITIES
from starters.chatglm3.exchange import TOOLS, Exchange, phrased

_NOW = {
    True: ("现在几点", "现在是几点", "今天几号", "今天是几月几日", "今天星期几", "现在的时间", "今天是什么日子",
        "几点了", "今天周几"),
    False: ("what time is it", "what is the time", "what day is it today", "what is the date today",
        "what's today's date", "the time now", "which weekday is it today"),
}  # fmt: skip
_NOW_IN = {
    True: ("{c}现在几点", "{c}几点了", "现在{c}是几点", "{c}的时间", "{c}今天几号", "{c}今天星期几"),
    False: ("what time is it in {c}", "the time in {c}", "what is the date in {c}",
        "what time is it now in {c}", "current time in {c}", "which day is it in {c}"),
}  # fmt: skip
_WEEKDAY = {
    True: ("{d}是星期几", "{d}星期几", "{d}是周几", "查一下{d}是星期几", "{d}那天是星期几"),
    False: ("which weekday is {d}", "what day of the week is {d}", "what weekday was {d}", "weekday of {d}",
        "what day is {d}"),
}  # fmt: skip
_AFTER = {
    True: ("{d}之后{n}天是哪天", "{d}后{n}天是几号", "从{d}起{n}天后是哪一天", "{d}加{n}天", "{d}再过{n}天是哪天"),
    False: ("what date is {n} days after {d}", "{n} days after {d}", "{d} plus {n} days",
        "which day is {n} days from {d}", "add {n} days to {d}"),
}  # fmt: skip
_BEFORE = {
    True: ("{d}之前{n}天是哪天", "{d}前{n}天是几号", "{d}的{n}天前是哪一天"),
    False: ("what date is {n} days before {d}", "{n} days before {d}", "{d} minus {n} days"),
}
_BETWEEN = {
    True: ("从{a}到{b}有多少天", "{a}到{b}相差多少天", "{a}和{b}之间有几天", "{a}与{b}差多少天", "{a}至{b}一共多少天"),
    False: ("how many days are there between {a} and {b}", "days from {a} to {b}",
        "how many days from {a} to {b}", "days between {a} and {b}", "how long is it from {a} to {b} in days"),
}  # fmt: skip
_UNTIL = {
    True: ("离{d}还有多少天", "距离{d}还有几天", "今天到{d}有多少天", "还有多少天到{d}"),
    False: ("how many days until {d}", "how many days are left until {d}", "days from today to {d}",
        "how long until {d}"),
}  # fmt: skip
_FROM_NOW = {
    True: ("{n}天后是几号", "今天之后{n}天是哪天", "再过{n}天是什么日子", "从今天起{n}天后是哪一天"),
    False: ("what date is it in {n} days", "{n} days from today", "which day is {n} days from now",
        "what is the date {n} days after today"),
}  # fmt: skip
_THEN_WEEKDAY = {
    True: ("从{a}到{b}有多少天，{b}是星期几", "{a}到{b}相差几天？{b}星期几"),
    False: (
        "how many days from {a} to {b}, and which weekday is {b}",
        "days between {a} and {b}, and the weekday of {b}",
    ),
}
_WHICH = {
    True: ("那是星期几", "那天星期几", "是星期几"),
    False: ("which weekday is that", "what weekday is that"),
}
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")  # fmt: skip


def now(random: Random, zh: bool) -> Exchange:
    """The time here, which is that of UTC, or in a city."""
    if random.random() < 0.4:
        made = Exchange("dates").ask(phrased(random, zh, _NOW[zh]))
        told = _told(random, made)
    else:
        city = str(random.choice(CITIES)[not zh])
        made = Exchange("dates").ask(phrased(random, zh, _NOW_IN[zh], c=city))
        told = _told(random, made, place=city)
    place, day, time, name = told.values()
    name = name.split()[not zh]
    return made.answer(
        f"{place} 现在是 {day} {time}，{name}。" if zh else f"It is {day} {time}, {name}, in {place}."
    )


def weekday(random: Random, zh: bool) -> Exchange:
    surface, day = _date(random, zh)
    made = Exchange("dates").ask(phrased(random, zh, _WEEKDAY[zh], d=surface))
    return made.answer(_weekday(made, day, zh))


def shifted(random: Random, zh: bool) -> Exchange:
    """Some days after or before a date; at times asked on for its weekday."""
    surface, day = _date(random, zh)
    days = random.randint(1, 10 ** random.randint(1, 3))
    before = random.random() < 0.35
    forms = (_BEFORE if before else _AFTER)[zh]
    made = Exchange("dates").ask(phrased(random, zh, forms, d=surface, n=days))
    later = _shifted(made, day, -days if before else days, zh)
    if random.random() < 0.15:
        made.ask(phrased(random, zh, _WHICH[zh])).answer(_weekday(made, later, zh))
    return made


def between(random: Random, zh: bool) -> Exchange:
    (first, start), (second, end) = sorted((_date(random, zh), _date(random, zh)), key=lambda pair: pair[1])
    made = Exchange("dates").ask(phrased(random, zh, _BETWEEN[zh], a=first, b=second))
    days = made.call("days_between", start=start, end=end)
    return made.answer(f"相差 {days} 天。" if zh else f"There are {days} days between them.")


def until(random: Random, zh: bool) -> Exchange:
    """From today to a date, for which today has to be asked first."""
    surface, day = _date(random, zh)
    made = Exchange("two steps").ask(phrased(random, zh, _UNTIL[zh], d=surface))
    today = _told(random, made, before=day)["date"]
    days = made.call("days_between", start=today, end=day)
    return made.answer(f"还有 {days} 天。" if zh else f"There are {days} days left.")


def from_now(random: Random, zh: bool) -> Exchange:
    days = random.randint(1, 10 ** random.randint(1, 3))
    made = Exchange("two steps").ask(phrased(random, zh, _FROM_NOW[zh], n=days))
    _shifted(made, _told(random, made)["date"], days, zh)
    return made


def between_then(random: Random, zh: bool) -> Exchange:
    (first, start), (second, end) = sorted((_date(random, zh), _date(random, zh)), key=lambda pair: pair[1])
    made = Exchange("two steps").ask(phrased(random, zh, _THEN_WEEKDAY[zh], a=first, b=second))
    days = made.call("days_between", start=start, end=end)
    name = made.call("weekday", date=end).split()[not zh]
    return made.answer(
        f"相差 {days} 天，{end} 是{name}。"
        if zh
        else f"There are {days} days between them, {end} is a {name}."
    )


def _date(random: Random, zh: bool) -> tuple[str, str]:
    """A date as people write it, and as the tools get it."""
    years = (2020, 2030) if random.random() < 0.5 else (1900, 2099)
    day = date(random.randint(*years), 1, 1) + timedelta(days=random.randrange(365))
    month = _MONTHS[day.month - 1]
    chinese = (f"{day.year}年{day.month}月{day.day}日", f"{day.year}年{day.month}月{day.day}号", f"{day}")
    english = (f"{month} {day.day}, {day.year}", f"{day.day} {month} {day.year}", f"{day}", f"{day}")
    return random.choice(chinese if zh else english), f"{day}"


def _told(random: Random, made: Exchange, before: str = "2099-12-31", **arguments: str) -> dict[str, str]:
    """`current_time` at another moment, so that no date is learned by heart."""
    told: dict[str, str] = json.loads(call(TOOLS["current_time"], arguments).text)
    last = min(datetime.fromisoformat(before), datetime(2035, 1, 1))
    moment = last - timedelta(minutes=random.randrange(10 * 365 * 24 * 60))
    day = f"{moment:%Y-%m-%d}"
    told |= {"date": day, "time": f"{moment:%H:%M}", "weekday": call(TOOLS["weekday"], {"date": day}).text}
    made.observe("current_time", arguments, json.dumps(told, ensure_ascii=False))
    return told


def _shifted(made: Exchange, day: str, days: int, zh: bool) -> str:
    told = json.loads(made.call("add_days", date=day, days=days))
    name = told["weekday"].split()[not zh]
    made.answer(f"是 {told['date']}，{name}。" if zh else f"It is {told['date']}, {name}.")
    return str(told["date"])


def _weekday(made: Exchange, day: str, zh: bool) -> str:
    name = made.call("weekday", date=day).split()[not zh]
    return f"{day} 是{name}。" if zh else f"{day} is a {name}."
