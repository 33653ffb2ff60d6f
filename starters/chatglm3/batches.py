"""Dialogues as ids: what a model reads, and which of it is its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from random import Random

import torch
from torch import Tensor

from models.chatglm import prompt
from models.chatglm.tokenizer import ChatGLM3Tokenizer
from models.schema import Messages, Tools
from starters.chatglm3.dialogues import Session, exchanges, session

LENGTHS = (90, 180, 360)  # tokens of a dialogue behind its system prompt: first questions count most
_UNREAD = "The tool call cannot be read"


@dataclass(frozen=True)
class Batch:
    """Dialogues under one system prompt.

    Attributes:
        prefix: ids that all rows share, (1, prefix length).
        ids: what follows them, (rows, length), padded on the right.
        learned: which of `ids` the model has to write itself, (rows, length).
    """

    prefix: Tensor
    ids: Tensor
    learned: Tensor


def marked(
    tokenizer: ChatGLM3Tokenizer, messages: Messages, tools: Tools = ()
) -> tuple[list[int], list[bool]]:
    """The ids of `apply_chat_template` without its start, and which the model writes: turns with their end.

    A call that could not be read is not learned.
    """
    turns = prompt.format_messages(messages, tools or None)
    ids: list[int] = []
    learned: list[bool] = []
    own = False
    for turn, following in zip_longest(turns, turns[1:]):
        ids.append(tokenizer.roles[turn.role])
        learned.append(own)
        own = turn.role == "assistant" and not (following and following.content.startswith(_UNREAD))
        for text in (f"{turn.metadata}\n", turn.content):
            more = tokenizer.encode(text, add_special_tokens=False)
            ids += more
            learned += [own] * len(more)
    return [*ids, tokenizer.roles["user"]], [*learned, own]


def batch(random: Random, tokenizer: ChatGLM3Tokenizer, mode: str, tokens: int) -> Batch:
    """Dialogues of one mode for training, with about so many tokens behind the system prompt."""
    of = session(random, mode)
    prefix = [*tokenizer.start, *marked(tokenizer, of.system, of.tools)[0][:-1]]
    most = random.choice(LENGTHS)
    made = [_row(random, tokenizer, of, most) for _ in range(tokens // most)]
    length = max(len(ids) for ids, _ in made)
    return Batch(
        torch.tensor([prefix]),
        torch.tensor([_padded(ids, length) for ids, _ in made]),
        torch.tensor([_padded(learned, length) for _, learned in made], dtype=torch.bool),
    )


def _row(
    random: Random, tokenizer: ChatGLM3Tokenizer, of: Session, most: int
) -> tuple[list[int], list[bool]]:
    """As many questions as there is room for, but one at least."""
    ids: list[int] = []
    learned: list[bool] = []
    for exchange in exchanges(random, of, held_out=False):
        more, own = marked(tokenizer, exchange.messages)
        # The end of an answer is the role of the next question.
        if ids and len(ids) + len(more) > most:
            break
        ids[-1:], learned[-1:] = more, [learned[-1] if ids else False, *own[1:]]
    return ids, learned


def _padded(row: Sequence[int], length: int) -> list[int]:
    return [*row, *[0] * (length - len(row))]
