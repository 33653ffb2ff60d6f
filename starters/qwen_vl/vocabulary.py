"""A small `qwen.tiktoken`: the 256 bytes and what is learnt from the dialogues.

Each line is a token's bytes in base64 and its rank (github.com/openai/tiktoken). The special tokens
follow the last rank, as in the original.
"""

import base64
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from models.qwen_vl.tokenizer import WORDS
from starters.qwen_vl.dialogues import dialogue

PRINTED = re.compile(r'"[^"]*"|“[^”]*”')  # what pictures say is read letter by letter
LONGEST = 18  # bytes: no sentence that always comes whole becomes one token


def learn(texts: Iterable[str], size: int) -> list[bytes]:
    """Tokens by rank: the bytes in the order of the original file, then up to `size` in all."""
    from tokenizers import Regex, Tokenizer, models, trainers
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = Sequence(
        [Split(Regex(WORDS), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    letters = sorted(ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=letters, max_token_length=LONGEST, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    byte_of = dict(zip(letters, bytes(printable + others), strict=True))
    by_rank = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    return [bytes(byte_of[letter] for letter in token) for token, _ in by_rank]


def corpus(dialogues: int) -> Iterator[str]:
    """Questions and answers as the model will see them."""
    for seed in range(dialogues):
        for turn in dialogue(seed):
            yield PRINTED.sub(" ", turn.question)
            yield PRINTED.sub(" ", turn.answer)
    yield from ["system", "You are a helpful assistant.", "user", "assistant", "Picture :"] * dialogues


def write(tokens: Iterable[bytes], path: Path) -> None:
    lines = (f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens))
    path.write_text("".join(lines), "ascii")
