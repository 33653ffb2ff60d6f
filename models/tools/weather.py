"""Weather from an offline example table, for trying tools without a network. It is made up."""

import re
from typing import Annotated, Any

from models.errors import BadInput

_SKY = {
    "晴": "sunny", "多云": "cloudy", "阴": "overcast", "小雨": "light rain", "雷阵雨": "thunderstorms",
    "雾": "fog", "雪": "snow",
}  # fmt: skip

# Made up, one plausible day for each city: Chinese and English name, time zone, sky, °C, humidity in %.
CITIES = (
    ("北京", "Beijing", "Asia/Shanghai", "晴", 22, 35),
    ("上海", "Shanghai", "Asia/Shanghai", "多云", 25, 68),
    ("广州", "Guangzhou", "Asia/Shanghai", "雷阵雨", 30, 82),
    ("深圳", "Shenzhen", "Asia/Shanghai", "多云", 29, 78),
    ("杭州", "Hangzhou", "Asia/Shanghai", "小雨", 23, 80),
    ("南京", "Nanjing", "Asia/Shanghai", "阴", 21, 64),
    ("苏州", "Suzhou", "Asia/Shanghai", "多云", 24, 66),
    ("成都", "Chengdu", "Asia/Shanghai", "阴", 20, 75),
    ("重庆", "Chongqing", "Asia/Shanghai", "雾", 22, 84),
    ("武汉", "Wuhan", "Asia/Shanghai", "晴", 26, 58),
    ("西安", "Xi'an", "Asia/Shanghai", "晴", 19, 42),
    ("天津", "Tianjin", "Asia/Shanghai", "多云", 21, 45),
    ("青岛", "Qingdao", "Asia/Shanghai", "晴", 18, 60),
    ("厦门", "Xiamen", "Asia/Shanghai", "多云", 27, 74),
    ("昆明", "Kunming", "Asia/Shanghai", "晴", 20, 50),
    ("哈尔滨", "Harbin", "Asia/Shanghai", "雪", -12, 70),
    ("沈阳", "Shenyang", "Asia/Shanghai", "多云", 8, 48),
    ("拉萨", "Lhasa", "Asia/Shanghai", "晴", 12, 28),
    ("乌鲁木齐", "Urumqi", "Asia/Urumqi", "阴", 5, 55),
    ("香港", "Hong Kong", "Asia/Hong_Kong", "小雨", 28, 85),
    ("澳门", "Macau", "Asia/Macau", "多云", 28, 83),
    ("台北", "Taipei", "Asia/Taipei", "小雨", 26, 79),
    ("东京", "Tokyo", "Asia/Tokyo", "多云", 20, 62),
    ("首尔", "Seoul", "Asia/Seoul", "晴", 16, 52),
    ("新加坡", "Singapore", "Asia/Singapore", "雷阵雨", 31, 86),
    ("曼谷", "Bangkok", "Asia/Bangkok", "雷阵雨", 33, 76),
    ("新德里", "New Delhi", "Asia/Kolkata", "晴", 34, 40),
    ("迪拜", "Dubai", "Asia/Dubai", "晴", 38, 30),
    ("莫斯科", "Moscow", "Europe/Moscow", "雪", -5, 81),
    ("伦敦", "London", "Europe/London", "小雨", 13, 77),
    ("巴黎", "Paris", "Europe/Paris", "多云", 15, 65),
    ("柏林", "Berlin", "Europe/Berlin", "阴", 11, 70),
    ("纽约", "New York", "America/New_York", "晴", 17, 54),
    ("旧金山", "San Francisco", "America/Los_Angeles", "雾", 14, 88),
    ("多伦多", "Toronto", "America/Toronto", "多云", 9, 60),
    ("悉尼", "Sydney", "Australia/Sydney", "晴", 23, 57),
)


def get_weather(city: Annotated[str, "城市名，例如 北京 or London"]) -> dict[str, Any]:
    """查询城市天气（离线示例数据，并非真实天气）。Weather of a city, from an offline example table."""
    chinese, english, _, sky, degrees, humidity = _row(city)
    if re.search("[\u4e00-\u9fff]", city):
        return {
            "城市": chinese,
            "天气": sky,
            "气温": f"{degrees}℃",
            "湿度": f"{humidity}%",
            "来源": "离线示例数据",
        }
    return {
        "city": english,
        "weather": _SKY[sky],
        "temperature": f"{degrees}°C",
        "humidity": f"{humidity}%",
        "source": "offline example data",
    }


def is_called(name: str, row: tuple[Any, ...]) -> bool:
    """Whether a row of `CITIES` is meant by a name, Chinese or English."""
    return name.strip().casefold().removesuffix("市") in (row[0], row[1].casefold())


def _row(name: str) -> tuple[str, str, str, str, int, int]:
    for row in CITIES:
        if is_called(name, row):
            return row
    raise BadInput(
        f"The offline example table does not know {name}: ask for one of its {len(CITIES)} cities, such as "
        "Beijing, Tokyo, London or New York.",
        f"离线示例数据中没有 {name}：请查询其中的 {len(CITIES)} 个城市之一，例如北京、上海、东京或伦敦。",
    )
