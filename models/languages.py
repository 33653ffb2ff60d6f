"""The languages that Whisper knows, by its own codes and in its own order."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from models.schema import Text

# A model of n languages knows the first n; Cantonese came with large-v3.
LANGUAGES: Mapping[str, Text] = MappingProxyType(
    {
        "en": Text("English", "英语"),
        "zh": Text("Chinese", "中文"),
        "de": Text("German", "德语"),
        "es": Text("Spanish", "西班牙语"),
        "ru": Text("Russian", "俄语"),
        "ko": Text("Korean", "韩语"),
        "fr": Text("French", "法语"),
        "ja": Text("Japanese", "日语"),
        "pt": Text("Portuguese", "葡萄牙语"),
        "tr": Text("Turkish", "土耳其语"),
        "pl": Text("Polish", "波兰语"),
        "ca": Text("Catalan", "加泰罗尼亚语"),
        "nl": Text("Dutch", "荷兰语"),
        "ar": Text("Arabic", "阿拉伯语"),
        "sv": Text("Swedish", "瑞典语"),
        "it": Text("Italian", "意大利语"),
        "id": Text("Indonesian", "印尼语"),
        "hi": Text("Hindi", "印地语"),
        "fi": Text("Finnish", "芬兰语"),
        "vi": Text("Vietnamese", "越南语"),
        "he": Text("Hebrew", "希伯来语"),
        "uk": Text("Ukrainian", "乌克兰语"),
        "el": Text("Greek", "希腊语"),
        "ms": Text("Malay", "马来语"),
        "cs": Text("Czech", "捷克语"),
        "ro": Text("Romanian", "罗马尼亚语"),
        "da": Text("Danish", "丹麦语"),
        "hu": Text("Hungarian", "匈牙利语"),
        "ta": Text("Tamil", "泰米尔语"),
        "no": Text("Norwegian", "挪威语"),
        "th": Text("Thai", "泰语"),
        "ur": Text("Urdu", "乌尔都语"),
        "hr": Text("Croatian", "克罗地亚语"),
        "bg": Text("Bulgarian", "保加利亚语"),
        "lt": Text("Lithuanian", "立陶宛语"),
        "la": Text("Latin", "拉丁语"),
        "mi": Text("Maori", "毛利语"),
        "ml": Text("Malayalam", "马拉雅拉姆语"),
        "cy": Text("Welsh", "威尔士语"),
        "sk": Text("Slovak", "斯洛伐克语"),
        "te": Text("Telugu", "泰卢固语"),
        "fa": Text("Persian", "波斯语"),
        "lv": Text("Latvian", "拉脱维亚语"),
        "bn": Text("Bengali", "孟加拉语"),
        "sr": Text("Serbian", "塞尔维亚语"),
        "az": Text("Azerbaijani", "阿塞拜疆语"),
        "sl": Text("Slovenian", "斯洛文尼亚语"),
        "kn": Text("Kannada", "卡纳达语"),
        "et": Text("Estonian", "爱沙尼亚语"),
        "mk": Text("Macedonian", "马其顿语"),
        "br": Text("Breton", "布列塔尼语"),
        "eu": Text("Basque", "巴斯克语"),
        "is": Text("Icelandic", "冰岛语"),
        "hy": Text("Armenian", "亚美尼亚语"),
        "ne": Text("Nepali", "尼泊尔语"),
        "mn": Text("Mongolian", "蒙古语"),
        "bs": Text("Bosnian", "波斯尼亚语"),
        "kk": Text("Kazakh", "哈萨克语"),
        "sq": Text("Albanian", "阿尔巴尼亚语"),
        "sw": Text("Swahili", "斯瓦希里语"),
        "gl": Text("Galician", "加利西亚语"),
        "mr": Text("Marathi", "马拉地语"),
        "pa": Text("Punjabi", "旁遮普语"),
        "si": Text("Sinhala", "僧伽罗语"),
        "km": Text("Khmer", "高棉语"),
        "sn": Text("Shona", "绍纳语"),
        "yo": Text("Yoruba", "约鲁巴语"),
        "so": Text("Somali", "索马里语"),
        "af": Text("Afrikaans", "南非荷兰语"),
        "oc": Text("Occitan", "奥克语"),
        "ka": Text("Georgian", "格鲁吉亚语"),
        "be": Text("Belarusian", "白俄罗斯语"),
        "tg": Text("Tajik", "塔吉克语"),
        "sd": Text("Sindhi", "信德语"),
        "gu": Text("Gujarati", "古吉拉特语"),
        "am": Text("Amharic", "阿姆哈拉语"),
        "yi": Text("Yiddish", "意第绪语"),
        "lo": Text("Lao", "老挝语"),
        "uz": Text("Uzbek", "乌兹别克语"),
        "fo": Text("Faroese", "法罗语"),
        "ht": Text("Haitian Creole", "海地克里奥尔语"),
        "ps": Text("Pashto", "普什图语"),
        "tk": Text("Turkmen", "土库曼语"),
        "nn": Text("Nynorsk", "新挪威语"),
        "mt": Text("Maltese", "马耳他语"),
        "sa": Text("Sanskrit", "梵语"),
        "lb": Text("Luxembourgish", "卢森堡语"),
        "my": Text("Myanmar", "缅甸语"),
        "bo": Text("Tibetan", "藏语"),
        "tl": Text("Tagalog", "他加禄语"),
        "mg": Text("Malagasy", "马达加斯加语"),
        "as": Text("Assamese", "阿萨姆语"),
        "tt": Text("Tatar", "鞑靼语"),
        "haw": Text("Hawaiian", "夏威夷语"),
        "ln": Text("Lingala", "林加拉语"),
        "ha": Text("Hausa", "豪萨语"),
        "ba": Text("Bashkir", "巴什基尔语"),
        "jw": Text("Javanese", "爪哇语"),
        "su": Text("Sundanese", "巽他语"),
        "yue": Text("Cantonese", "粤语"),
    }
)


# What else speakers of Chinese call it, which the tables of `langcodes` lack.
_CHINESE = MappingProxyType(
    dict.fromkeys(("汉语", "漢語", "国语", "國語", "华语", "華語", "中国话", "中國話"), "zh")
    | dict.fromkeys(("广东话", "廣東話", "白话", "白話", "广州话"), "yue")
)
# Distance in CLDR's tables up to which one language stands for another: Bokmål for Norwegian (1), Filipino
# for Tagalog (0), members of a macrolanguage (10). Languages that many can merely read too are further.
_NEAR = 10


def find(name: str) -> str | None:
    """The code of a language; None: Whisper knows no such language.

    Args:
        name: a code or a tag as systems and players write them (zh, eng, iw, pt-BR, en_GB.UTF-8), or a name
            in any language (Mandarin, 普通话, français).
    """
    wanted = name.strip().lower()
    for code, language in LANGUAGES.items():
        if wanted in (code, language.en.lower(), language.zh):
            return code
    return _CHINESE.get(wanted) or _meant(wanted)


def _meant(name: str) -> str | None:
    import langcodes

    tag = re.split(r"[.@]|\s*[(（]", name)[0]  # of "en_gb.utf-8", "sr_rs@latin", "中文（简体）"
    try:
        language = langcodes.get(tag) if langcodes.tag_is_valid(tag) else langcodes.find(tag)
        code, _ = langcodes.closest_match(language.language or "und", list(LANGUAGES), _NEAR)
    except (LookupError, ValueError):
        return None
    return code if code in LANGUAGES else None


def similar(name: str) -> list[str]:
    """Codes of up to three languages that are written much like `name`, the likeliest first."""
    written = {code: code for code in LANGUAGES}
    for code, language in LANGUAGES.items():
        written |= {language.en.lower(): code, language.zh: code}
    close = get_close_matches(name.strip().lower(), written, n=6)
    return list(dict.fromkeys(written[found] for found in close))[:3]
