"""What a Whisper can be asked for: the languages that it knows, and whether it translates."""

from collections.abc import Sequence

from models.errors import BadInput
from models.languages import LANGUAGES, find, similar
from models.schema import Checkpoint, SpeechOptions

AUTOMATIC = ("", "auto")  # for a language: detect it
_ENGLISH_TOKENS = 51864  # of the models that know only English; all others have more
# Layers of the text decoder that OpenAI published with each width. Whoever has fewer (large-v3-turbo, the
# Distil-Whispers) was trained anew, and only to transcribe: asked to translate it writes what is said.
_LAYERS = ((384, 4), (512, 6), (768, 12), (1024, 24), (1280, 32))


def check(checkpoint: Checkpoint, options: SpeechOptions) -> None:
    """Refuse what a Whisper cannot do, as far as its description tells, before anything is loaded.

    Raises:
        BadInput: it cannot translate, or does not know the language.
    """
    english = checkpoint.shape is not None and checkpoint.shape.vocab == _ENGLISH_TOKENS
    spoken(checkpoint, options, checkpoint.languages or (("en",) if english else tuple(LANGUAGES)))


def spoken(checkpoint: Checkpoint, options: SpeechOptions, known: Sequence[str]) -> str | None:
    """The code of the language asked for; None: detect it.

    Args:
        known: the codes of those that the model knows.

    Raises:
        BadInput: as `check`.
    """
    if options.task == "translate":
        _check_translates(checkpoint, known)
    asked = (options.language or "").strip()
    if asked.lower() in AUTOMATIC:
        return "en" if tuple(known) == ("en",) else None
    code = find(asked)
    if code in known:
        return code
    near = [found for found in similar(asked) if found in known] if code is None else []
    if near:
        en = " or ".join(f"{LANGUAGES[found].en} ({found})" for found in near)
        zh = "或".join(f"{LANGUAGES[found].zh}（{found}）" for found in near)
        raise BadInput(
            f"{checkpoint.name} does not know the language {asked!r}: did you mean {en}? Empty detects it.",
            f"{checkpoint.name} 不支持语言 {asked!r}：是否指{zh}？留空则自动检测。",
        )
    raise BadInput(
        f"{checkpoint.name} does not know the language {asked!r}: "
        "use a code like en or zh that it knows, or leave it empty.",
        f"{checkpoint.name} 不支持语言 {asked!r}：请使用它支持的语言代码（如 en、zh），或留空。",
    )


def _check_translates(checkpoint: Checkpoint, known: Sequence[str]) -> None:
    if tuple(known) == ("en",):
        raise BadInput(
            f"{checkpoint.name} knows only English and cannot translate: load a multilingual Whisper.",
            f"{checkpoint.name} 只懂英语，无法翻译：请加载多语言 Whisper 模型。",
        )
    shape = checkpoint.shape
    if shape is not None and shape.layers < dict(_LAYERS).get(shape.hidden, 0):
        raise BadInput(
            f"{checkpoint.name} was not trained to translate and would write what is said: choose another "
            "Whisper, such as whisper-small or whisper-large-v3, or transcribe.",
            f"{checkpoint.name} 未经过翻译训练，只会写出原文：请改用其他 Whisper 模型"
            "（如 whisper-small、whisper-large-v3），或改为转写。",
        )
