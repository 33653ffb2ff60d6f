"""Languages by the names that systems, players, other Whisper programs and people give them."""

import pytest

from models import languages

MEANT = {
    "en": "en EN English en-US en_GB en_US.UTF-8 eng 英语 英文",
    "zh": "zh zh-CN zh_TW zh-Hans zh-Hant-TW zh_Hans_CN Chinese Mandarin cmn zho chi 中文 普通话 汉语 國語 简体中文 "
    "中文（简体） hak",
    "yue": "yue zh-yue yue-HK Cantonese 粤语 廣東話",
    "es": "es es-419 Castilian español spa",
    "nl": "nl nl-BE Flemish dut",
    "my": "my Burmese Myanmar 缅甸语",
    "he": "he iw he-IL Hebrew",
    "no": "no nb nb-NO Bokmål Norsk nor",
    "nn": "nn Nynorsk",
    "tl": "tl fil Filipino Tagalog",
    "jw": "jw jv jav Javanese",
    "id": "id in ind",
    "yi": "yi ji",
    "sr": "sr sh sr-Latn sr@latin sr_RS",
    "pt": "pt pt-BR Português",
    "ro": "ro mo Moldavian",
    "de": "de deu ger Deutsch de-CH",
    "fr": "fr fra fre Français fr_CA",
    "ja": "ja jpn 日本語 日语",
    "ht": "ht Haitian",
    "lb": "lb Letzeburgesch",
    "ca": "ca Valencian",
}


@pytest.mark.parametrize(
    ("name", "code"), [(name, code) for code, names in MEANT.items() for name in names.split()]
)
def test_a_language_is_the_one_that_is_meant(name: str, code: str) -> None:
    assert languages.find(name) == languages.find(f" {name.upper()} ") == code


@pytest.mark.parametrize(
    "name", ["Mandarin Chinese", "Chinese (Simplified)", "Norwegian Bokmål", "haitian creole"]
)
def test_names_of_several_words(name: str) -> None:
    assert languages.find(name) in ("zh", "no", "ht")


def test_every_name_and_code_of_whispers_is_its_own() -> None:
    for code, language in languages.LANGUAGES.items():
        assert [languages.find(name) for name in (code, language.en, language.zh)] == [code] * 3


def test_whispers_own_aliases_mean_the_same() -> None:
    from whisper.tokenizer import TO_LANGUAGE_CODE

    assert {name: languages.find(name) for name in TO_LANGUAGE_CODE} == TO_LANGUAGE_CODE


@pytest.mark.parametrize(
    "name", ["", " ", "xx", "und", "mul", "Klingon", "tlh", "nonsense", "-", "C", "a" * 5000, "\0"]
)
def test_what_is_no_language_of_whispers(name: str) -> None:
    assert languages.find(name) is None


@pytest.mark.parametrize("name", ["ug", "Uyghur", "fy", "Frisian", "rm", "Corsican", "Kurdish"])
def test_a_language_that_its_speakers_neighbours_read_is_not_theirs(name: str) -> None:
    assert languages.find(name) is None


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Englsh", "en"),
        ("chinees", "zh"),
        ("portugeese", "pt"),
        ("Germna", "de"),
        ("GERMNA", "de"),
        ("klingon", None),
    ],
)
def test_what_is_misspelt_has_neighbours(name: str, near: str | None) -> None:
    assert (languages.similar(name) or [None])[0] == near or languages.find(name) == near
