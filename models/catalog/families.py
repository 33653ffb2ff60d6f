"""The families that checkpoints belong to, and what the name of a model tells: a data table."""

from collections.abc import Mapping

# Words in a model type or a repository's name, the telling ones first. Every family has a page of its own.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "chatglm": ("chatglm",),
    "qwen_vl": ("qwen-vl",),
    "gemma": ("gemma",),
    "whisper": ("whisper",),
    "llama2": ("llama", "smollm", "qwen", "mistral"),
}
# Every how many layers one attends to everything, where neither config nor header says so.
GLOBAL_EVERY: Mapping[str, int] = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6}


def family_of(text: str) -> str:
    """The family that a model type or a repository's name speaks of, or "other"."""
    text = text.lower().replace("_", "-")
    return next((name for name, words in FAMILIES.items() if any(word in text for word in words)), "other")


def text_family(model_type: str) -> str:
    """The family of a text model: any that brings its own template is at home on the LLaMA page."""
    family = family_of(model_type)
    return "llama2" if family == "other" else family
