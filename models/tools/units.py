"""Conversion between units of the same quantity, with Chinese and English names."""

import unicodedata
from typing import Annotated

from models.errors import BadInput

# For each quantity: a unit's names, how many base units it is, and where its zero lies in those.
_UNITS: tuple[tuple[tuple[str, float, float], ...], ...] = (
    (  # length, metre
        ("mm 毫米 millimeter millimetre", 0.001, 0), ("cm 厘米 公分 centimeter centimetre", 0.01, 0),
        ("m 米 meter metre", 1, 0), ("km 千米 公里 kilometer kilometre", 1000, 0),
        ("in 英寸 inch inches", 0.0254, 0), ("ft 英尺 foot feet", 0.3048, 0), ("yd 码 yard", 0.9144, 0),
        ("mi 英里 mile", 1609.344, 0), ("nmi 海里 nautical_mile", 1852, 0), ("里 市里", 500, 0),
        ("尺 市尺", 1 / 3, 0), ("寸 市寸", 1 / 30, 0),
    ),
    (  # mass, kilogram
        ("mg 毫克 milligram", 1e-6, 0), ("g 克 gram", 0.001, 0), ("kg 千克 公斤 kilogram", 1, 0),
        ("t 吨 tonne ton", 1000, 0), ("lb 磅 pound lbs", 0.45359237, 0), ("oz 盎司 ounce", 0.028349523125, 0),
        ("斤 市斤 jin", 0.5, 0), ("两 市两 liang", 0.05, 0),
    ),
    (  # volume, litre
        ("ml 毫升 milliliter millilitre", 0.001, 0), ("l 升 liter litre", 1, 0),
        ("m3 立方米 cubic_meter", 1000, 0), ("gal 加仑 gallon", 3.785411784, 0), ("pt 品脱 pint", 0.473176473, 0),
        ("cup 杯", 0.2365882365, 0),
    ),
    (  # area, square metre
        ("cm2 平方厘米", 0.0001, 0), ("m2 平方米 square_meter", 1, 0), ("km2 平方千米 平方公里", 1e6, 0),
        ("ha 公顷 hectare", 10_000, 0), ("亩 mu", 2000 / 3, 0), ("acre 英亩", 4046.8564224, 0),
        ("ft2 平方英尺 square_foot", 0.09290304, 0),
    ),
    (  # speed, metre per second
        ("m/s 米/秒 米每秒", 1, 0), ("km/h 千米/时 公里/小时 千米每小时 kph", 1 / 3.6, 0),
        ("mph 英里/小时 英里每小时", 0.44704, 0), ("knot 节 kn", 1852 / 3600, 0),
    ),
    (  # time, second
        ("ms 毫秒 millisecond", 0.001, 0), ("s 秒 second sec", 1, 0), ("min 分钟 分 minute", 60, 0),
        ("h 小时 时 hour", 3600, 0), ("day 天 日 d", 86_400, 0), ("week 周 星期", 604_800, 0),
    ),
    (  # temperature, kelvin
        ("k 开尔文 kelvin", 1, 0), ("c °c 摄氏度 摄氏 celsius", 1, 273.15),
        ("f °f 华氏度 华氏 fahrenheit", 5 / 9, 273.15 - 32 * 5 / 9),
    ),
    (  # data, byte
        ("bit 比特 位", 0.125, 0), ("b byte 字节", 1, 0), ("kb 千字节", 1e3, 0), ("mb 兆字节", 1e6, 0),
        ("gb 吉字节", 1e9, 0), ("tb 太字节", 1e12, 0), ("kib", 2**10, 0), ("mib", 2**20, 0), ("gib", 2**30, 0),
    ),
    (  # energy, joule
        ("j 焦耳 joule", 1, 0), ("kj 千焦", 1000, 0), ("cal 卡 卡路里 calorie", 4.184, 0),
        ("kcal 千卡 大卡", 4184, 0), ("kwh 千瓦时 度电", 3.6e6, 0),
    ),
)  # fmt: skip


def convert_unit(
    value: Annotated[float, "数值"],
    from_unit: Annotated[str, "原单位，例如 公里 or mile"],
    to_unit: Annotated[str, "目标单位，例如 英里 or kg"],
) -> str:
    """换算单位：长度、质量、体积、面积、速度、时间、温度、数据和能量。Converts between units."""
    quantity, factor, zero = _unit(from_unit)
    other, to_factor, to_zero = _unit(to_unit)
    if quantity != other:
        raise BadInput(
            f"{from_unit} cannot be converted to {to_unit}: they measure different things.",
            f"{from_unit} 不能换算为 {to_unit}：两者不是同一种量。",
        )
    result = (value * factor + zero - to_zero) / to_factor
    return f"{value:.12g} {from_unit} = {result:.10g} {to_unit}"


def _unit(name: str) -> tuple[int, float, float]:
    asked = unicodedata.normalize("NFKC", name).strip().casefold().replace(" ", "_")
    for quantity, units in enumerate(_UNITS):
        for names, factor, zero in units:
            if asked in names.split() or (len(asked) > 3 and asked.removesuffix("s") in names.split()):
                return quantity, factor, zero
    raise BadInput(
        f"The unit {name} is not known: write one such as km, mile, kg, lb, °C or mu.",
        f"不认识单位 {name}：请使用公里、英里、千克、磅、摄氏度、亩等单位。",
    )
