"""What has to be known of a GGUF file's vocabulary before llama.cpp is given a text.

Keys: github.com/ggml-org/ggml, docs/gguf.md.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.chat.control_tokens import ControlTokens
from models.gguf_header import MAGIC, opened, read_facts

_TOKENS, _KINDS = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4
# llama.cpp takes such tokens for control tokens though their file does not call them so.
_LOOKS_LIKE_CONTROL = re.compile(r"<[|｜].+[|｜]>|</?s>|_?<EOT>|<end_of_\w+>|<EOS>|<eos>")
_NAMED = re.compile(r"tokenizer\.ggml\.\w+_token_id")


# For some pre-tokenizers llama.cpp has code of its own; the others it gives to std::regex, which calls itself for
# every letter of a run and overflows the stack between 20,000 and 30,000 of them.
_OWN_CODE = ("chatglm-bpe", "gpt-2", "llama-bpe", "qwen2", "smollm")
LONGEST_RUN = 8_000
# What a pattern may take as one: letters with their marks; digits; white space; signs.
_RUN = re.compile(
    r"(?:[^\W\d_]|[^\w\s\x00-\x7f\u2000-\u206f\u3000-\u303f\uff00-\uffef])+|\d+|\s+|(?:[^\w\s]|_)+"
)


@dataclass(frozen=True)
class Vocabulary:
    """What is known of one.

    Attributes:
        control: which of its tokens are no text.
        reads_long_runs: whether letters, signs or spaces may follow one another without end.
        size: how many tokens there are.
    """

    control: ControlTokens = ControlTokens(())
    reads_long_runs: bool = True
    size: int = 0

    def reads(self, text: str) -> bool:
        """Whether llama.cpp makes tokens of this text, and does not crash."""
        return self.reads_long_runs or all(
            found.end() - found.start() <= LONGEST_RUN for found in _RUN.finditer(text)
        )


def read_vocabulary(path: Path) -> Vocabulary:
    """That of a GGUF file that llama.cpp could load; nothing is known of what is no such file."""
    with opened(path) as reader:
        if reader.buffer[: len(MAGIC)] != MAGIC:
            return Vocabulary()
        facts, _ = read_facts(reader, (_TOKENS, _KINDS))
    is_bpe = facts.get("tokenizer.ggml.model") == "gpt2"
    reads_long_runs = not is_bpe or facts.get("tokenizer.ggml.pre") in _OWN_CODE
    return Vocabulary(_control_tokens(facts), reads_long_runs, len(facts.get(_TOKENS, ())))


def _control_tokens(facts: dict[str, Any]) -> ControlTokens:
    tokens: list[str] = facts.get(_TOKENS, [])
    kinds = dict(enumerate(facts.get(_KINDS, ())))
    named = {value for key, value in facts.items() if _NAMED.fullmatch(key)}
    special = [
        text
        for number, text in enumerate(tokens)
        if kinds.get(number) in (_UNKNOWN, _CONTROL) or number in named or _LOOKS_LIKE_CONTROL.fullmatch(text)
    ]
    template = facts.get("tokenizer.chat_template", "")
    defined = [text for number, text in enumerate(tokens) if kinds.get(number) == _USER_DEFINED]
    return ControlTokens(special, [text for text in defined if text in template])
