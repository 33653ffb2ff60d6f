"""The small SentencePiece vocabulary, in the form that ChatGLM3's has."""

import io
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from models.chatglm import prompt
from starters.chatglm3.dialogues import MODES, exchanges, session

PIECES = 3000
# Words never grow together with the space before them, nor Chinese beyond two characters: what has to be
# copied into a call is then written with the same pieces as in the question.
_WORD = re.compile(r"[A-Za-z]+|[\u4e00-\u9fff]{1,2}|\d|\s|[^\sA-Za-z\d\u4e00-\u9fff]+")
_FIXED = ("```python", "tool_call(", "import matplotlib.pyplot as plt", "import numpy as np", "plt.show()",
          "x = np.linspace(", 'plt.title("', "plt.plot(", "values = [", "names = [")  # fmt: skip


def train_vocabulary(path: Path, seed: int) -> None:
    """Write a tokenizer.model: BPE with bytes for what is unknown, text taken as it is, a space in front."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_corpus(Random(seed)),
        model_writer=written,
        model_type="bpe",
        vocab_size=PIECES,
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,  # the corpus has its spaces
        split_by_whitespace=False,
        split_by_unicode_script=False,
        split_digits=True,
        max_sentencepiece_length=64,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    model: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]  # made at run time
    model.ParseFromString(written.getvalue())
    model.normalizer_spec.add_dummy_prefix = True
    path.write_bytes(model.SerializeToString())


def _corpus(random: Random) -> Iterator[str]:
    """Lines of the system prompts whole, because they are the same every time; all else in words."""
    for mode in MODES:
        for _ in range(4):
            of = session(random, mode)
            for turn in prompt.format_messages(of.system, of.tools or None):
                yield from (line for _ in range(20) for line in f" {turn.content}".split("\n"))
            for exchange in islice(exchanges(random, of, held_out=False), 1500):
                if exchange.kind != "nonsense":
                    for turn in prompt.format_messages(exchange.messages):
                        yield from _WORD.findall(f" {turn.metadata} {turn.content}")
    for text in _FIXED:
        yield from [text] * 500
