"""Questions about the weather, and about units."""

import json
from random import Random

from models.tools.weather import CITIES
from starters.chatglm3.exchange import Exchange, number, phrased

_ASKED = {
    True: ("{c}天气怎么样", "{c}今天天气如何", "查一下{c}的天气", "{c}的天气", "{c}天气", "{c}现在多少度",
        "{c}冷吗", "{c}热不热", "{c}会下雨吗", "今天{c}天气好吗", "{c}的气温是多少", "{c}湿度多少",
        "去{c}要带伞吗", "告诉我{c}的天气", "{c}今天适合出门吗", "查询{c}天气"),
    False: ("what is the weather in {c}", "how is the weather in {c}", "weather in {c}",
        "what's the weather like in {c} today", "is it raining in {c}", "how hot is it in {c}",
        "how cold is {c} today", "what is the temperature in {c}", "is it sunny in {c}",
        "what is the humidity in {c}", "do I need an umbrella in {c}", "{c} weather", "the weather of {c}",
        "get the weather for {c}"),
}  # fmt: skip
_MORE = {
    True: ("那{c}呢", "{c}呢", "{c}怎么样", "那{c}的天气呢"),
    False: ("and in {c}", "what about {c}", "and {c}", "how about {c}"),
}
_COMPARED = {
    True: ("{a}和{b}哪里更{w}", "{a}和{b}哪个城市{w}一些", "{a}与{b}相比哪里更{w}", "{a}跟{b}，哪个更{w}",
        "比较{a}和{b}，哪里{w}"),
    False: ("which is {w}, {a} or {b}", "is {a} {w} than {b}", "where is it {w}, in {a} or in {b}",
        "compare {a} and {b}: which is {w}"),
}  # fmt: skip
_APART = {
    True: ("{a}和{b}温差多少", "{a}与{b}的气温差几度", "{a}和{b}相差多少度", "{a}比{b}高几度"),
    False: ("what is the temperature difference between {a} and {b}", "how many degrees are {a} and {b} apart",
        "how much warmer is {a} than {b}"),
}  # fmt: skip
_WORDS = {True: (("热", "冷"), ("暖和", "凉快")), False: (("warmer", "colder"), ("hotter", "cooler"))}
# Places that the table does not have, and syllables for places that nobody has.
_ELSEWHERE = {
    True: ("火星", "月球", "长沙", "郑州", "济南", "大连", "合肥", "福州", "三亚", "桂林", "洛阳", "罗马",
        "马德里", "开罗", "孟买", "温哥华", "芝加哥", "洛杉矶", "墨尔本", "里约", "河内", "雅典", "维也纳",
        "南极"),
    False: ("Atlantis", "Mars", "Rome", "Madrid", "Cairo", "Mumbai", "Chicago", "Boston", "Vienna", "Athens",
        "Oslo", "Dublin", "Lisbon", "Prague", "Zurich", "Jakarta", "Nairobi", "Lima", "Havana", "Munich",
        "the Moon", "Los Angeles", "Rio de Janeiro", "Narnia"),
}  # fmt: skip
_SYLLABLES = {True: "山海江河湖城州安宁阳平东西南北中新天水石林清春长大小金白云龙凤花木", False: "ba be bo da do fa fi ga go ka ki la lo ma mi na ne pa ra ri sa so ta to va vi za ton burg ville"}  # fmt: skip

# Of each quantity the units in both languages, as a question writes them; English ones often in the plural.
_UNITS = (
    (("米", "公里", "千米", "厘米", "毫米", "英里", "英尺", "英寸", "码", "海里", "里", "尺", "寸"), ("meters",
        "km", "kilometers", "cm", "mm", "miles", "feet", "inches", "yards", "m", "mile", "ft")),
    (("克", "千克", "公斤", "吨", "磅", "盎司", "斤", "两", "毫克"), ("grams", "kg", "kilograms", "pounds",
        "lb", "ounces", "oz", "tons", "g", "lbs", "mg")),
    (("升", "毫升", "加仑", "立方米", "品脱", "杯"), ("liters", "ml", "gallons", "pints", "cups", "litres")),
    (("平方米", "公顷", "亩", "平方公里", "英亩", "平方英尺", "平方厘米"), ("m2", "acres", "ha", "km2", "ft2")),
    (("公里/小时", "米/秒", "英里/小时", "节"), ("km/h", "m/s", "mph", "knots")),
    (("秒", "分钟", "小时", "天", "周", "毫秒"), ("seconds", "minutes", "hours", "days", "weeks", "ms")),
    (("摄氏度", "华氏度", "开尔文"), ("celsius", "fahrenheit", "°C", "°F", "kelvin")),
    (("字节", "比特", "KB", "MB", "GB", "TB"), ("bytes", "bits", "KB", "MB", "GB", "TB", "MiB", "GiB")),
    (("焦耳", "千焦", "卡路里", "千卡", "大卡", "千瓦时"), ("joules", "kJ", "calories", "kcal", "kWh")),
)  # fmt: skip
_CONVERTED = {
    True: ("{v}{f}是多少{t}", "{v}{f}等于多少{t}", "把{v}{f}换算成{t}", "{v} {f}是几{t}", "{v}{f}换成{t}是多少",
        "{v}{f}有多少{t}", "将{v} {f}转换为{t}", "{v}{f}合多少{t}"),
    False: ("how many {t} are {v} {f}", "convert {v} {f} to {t}", "what is {v} {f} in {t}", "{v} {f} in {t}",
        "{v} {f} to {t}", "how many {t} is {v} {f}", "change {v} {f} into {t}"),
}  # fmt: skip


def weather(random: Random, zh: bool) -> Exchange:
    """The weather of a city, and often of another one."""
    city = _city(random, zh)
    made = _reported(Exchange("weather").ask(phrased(random, zh, _ASKED[zh], c=city)), city, zh)
    if random.random() < 0.25:
        other = _city(random, zh)
        _reported(made.ask(phrased(random, zh, _MORE[zh], c=other)), other, zh)
    return made


def nowhere(random: Random, zh: bool) -> Exchange:
    """A place that the table does not have."""
    place = _invented(random, zh) if random.random() < 0.6 else random.choice(_ELSEWHERE[zh])
    made = Exchange("errors").ask(phrased(random, zh, _ASKED[zh], c=place))
    made.call("get_weather", city=place)
    return made.answer(
        f"抱歉，离线示例数据里没有{place}，可以问北京、上海、东京或伦敦。"
        if zh
        else f"Sorry, the offline example table does not know {place}: ask for Beijing, Tokyo or London."
    )


def compared(random: Random, zh: bool) -> Exchange:
    """Two cities: which is warmer, or how far apart they are."""
    a, b = (str(row[not zh]) for row in random.sample(CITIES, 2))
    if random.random() < 0.3:
        made = Exchange("two steps").ask(phrased(random, zh, _APART[zh], a=a, b=b))
        high, low = _degrees(made, a), _degrees(made, b)
        apart = made.call("calculate", expression=f"abs({high} - {low})")
        return made.answer(
            f"{a} {high}℃，{b} {low}℃，相差 {apart}℃。"
            if zh
            else f"{a} {high}°C, {b} {low}°C: {apart}°C apart."
        )
    words = random.choice(_WORDS[zh])
    which = random.randrange(2)
    made = Exchange("two steps").ask(phrased(random, zh, _COMPARED[zh], a=a, b=b, w=words[which]))
    first, second = _degrees(made, a), _degrees(made, b)
    if first == second:
        end = "一样。" if zh else "they are the same."
    else:
        winner = (a, b)[(first < second) != bool(which)]
        end = f"{winner}更{words[which]}。" if zh else f"{winner} is {words[which]}."
    return made.answer(
        f"{a} {first}℃，{b} {second}℃，{end}" if zh else f"{a} {first}°C, {b} {second}°C: {end}"
    )


def units(random: Random, zh: bool) -> Exchange:
    value, units = number(random, 4, 0.35), random.choice(_UNITS)[not zh]
    old, new = random.sample(units, 2)
    made = Exchange("units").ask(phrased(random, zh, _CONVERTED[zh], v=value, f=old, t=new))
    return made.answer(_converted(made, value, old, new) + ("。" if zh else "."))


def converted_then(random: Random, zh: bool) -> Exchange:
    """A conversion whose result is multiplied."""
    value, units = number(random, 3, 0.2), random.choice(_UNITS)[not zh]
    old, new = random.sample(units, 2)
    times = number(random, 2, 0)
    forms = (
        ("{v}{f}是多少{t}，再乘以{n}", "把{v}{f}换算成{t}，再乘以{n}是多少", "{v}{f}换成{t}，然后乘以{n}")
        if zh
        else (
            "convert {v} {f} to {t}, then multiply by {n}",
            "{v} {f} in {t}, times {n}",
            "what is {v} {f} in {t}, multiplied by {n}",
        )
    )
    made = Exchange("two steps").ask(phrased(random, zh, forms, v=value, f=old, t=new, n=times))
    result = _converted(made, value, old, new).split(" = ")[1].split()[0]
    product = made.call("calculate", expression=f"{result} * {times}")
    return made.answer(f"结果是 {product}。" if zh else f"The result is {product}.")


def unlike(random: Random, zh: bool) -> Exchange:
    """Two units of different quantities."""
    old, new = (random.choice(units[not zh]) for units in random.sample(_UNITS, 2))
    value = number(random, 3, 0.2)
    made = Exchange("errors").ask(phrased(random, zh, _CONVERTED[zh], v=value, f=old, t=new))
    _converted(made, value, old, new)
    return made.answer(
        f"抱歉，{old}不能换算为{new}：两者不是同一种量。"
        if zh
        else f"Sorry, {old} cannot be converted to {new}: they measure different things."
    )


def _city(random: Random, zh: bool) -> str:
    return str(random.choice(CITIES)[not zh])


def _invented(random: Random, zh: bool) -> str:
    if zh:
        return "".join(random.sample(_SYLLABLES[True], random.randint(2, 3)))
    return "".join(random.sample(_SYLLABLES[False].split(), random.randint(2, 4))).capitalize()


def _reported(made: Exchange, city: str, zh: bool) -> Exchange:
    told = json.loads(made.call("get_weather", city=city))
    place, sky, degrees, humidity, _ = told.values()
    return made.answer(
        f"{place}：{sky}，气温{degrees}，湿度{humidity}（离线示例数据）。"
        if zh
        else f"{place}: {sky}, {degrees}, humidity {humidity} (offline example data)."
    )


def _degrees(made: Exchange, city: str) -> int:
    told = json.loads(made.call("get_weather", city=city))
    return int(told.get("气温", told.get("temperature")).rstrip("℃°C"))


def _converted(made: Exchange, value: str, old: str, new: str) -> str:
    literal = float(value) if "." in value else int(value)
    return made.call("convert_unit", value=literal, from_unit=old, to_unit=new)
