"""What a Whisper cannot do is said before anything is loaded."""

from dataclasses import replace

import pytest

from models.catalog import CHECKPOINTS
from models.catalog.whisper import whisper_shape
from models.errors import BadInput
from models.schema import Checkpoint, SpeechOptions
from models.speech.abilities import check, spoken

TRANSLATE = SpeechOptions(task="translate")
SPEECH = {name: row for name, row in CHECKPOINTS.items() if row.kind == "speech"}
LOCAL = Checkpoint("./own", "whisper", "speech", "whisper-hf")


@pytest.mark.parametrize("name", SPEECH)
def test_a_model_translates_or_says_that_it_does_not(name: str) -> None:
    row = SPEECH[name]
    check(row, SpeechOptions())
    if "turbo" not in name and ".en" not in name:
        check(row, TRANSLATE)
        return
    with pytest.raises(BadInput, match="translate") as error:
        check(row, TRANSLATE)
    assert error.value.zh.endswith("。")


@pytest.mark.parametrize(
    ("layers", "hidden", "vocab", "said"),
    [
        (4, 1280, 51866, "was not trained to translate"),  # large-v3-turbo under another name
        (2, 1280, 51865, "was not trained to translate"),  # distil-large
        (12, 768, 51864, "knows only English"),
        (32, 1280, 51866, ""),
        (6, 512, 51865, ""),
        (2, 64, 51865, ""),  # a size that OpenAI did not publish
    ],
)
def test_files_of_ones_own_are_judged_by_their_layers(
    layers: int, hidden: int, vocab: int, said: str
) -> None:
    own = replace(LOCAL, shape=whisper_shape(layers, hidden, vocab))
    if not said:
        check(own, TRANSLATE)
        return
    with pytest.raises(BadInput, match=said):
        check(own, TRANSLATE)


def test_what_is_not_known_is_left_to_the_engine() -> None:
    check(LOCAL, TRANSLATE)


@pytest.mark.parametrize(
    ("asked", "code"), [(None, None), ("", None), ("auto", None), ("zh-CN", "zh"), ("Bokmål", "no")]
)
def test_languages_are_found_for_a_model(asked: str | None, code: str | None) -> None:
    known = ("en", "zh", "no")
    assert spoken(LOCAL, SpeechOptions(language=asked), known) == code
    assert spoken(LOCAL, SpeechOptions(language=asked if code == "en" else None), ("en",)) == "en"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("Englsh", r"the language 'Englsh': did you mean English \(en\)"),
        ("Klingon", "the language 'Klingon': use a code like en or zh"),
        ("Cantonse", "the language 'Cantonse': use a code"),  # it is near to one that others know
        ("yue", "the language 'yue': use a code"),
        ("fr-CA", "the language 'fr-CA': use a code"),
    ],
)
def test_a_language_that_is_not_known_is_refused_with_what_may_be_meant(asked: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as error:
        spoken(LOCAL, SpeechOptions(language=asked), ("en", "zh"))
    assert error.value.zh.endswith("。")
