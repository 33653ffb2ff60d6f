"""How much of its sources a question can take along: as much as the context has room for, beside the question, the
system prompt and the answer."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

from models import ChatEngine, ChatOptions
from models.schema import Message, Tools
from pages.shared.conversation.turns import Source, Turn

SHARE = 0.75  # of that room is taken by what has to be cut: the next questions are about it, too
NEAR = 40  # characters before the cut in which a word ends


def fit_sources(
    turn: Turn, before: Sequence[Message], engine: ChatEngine, options: ChatOptions, tools: Tools
) -> tuple[Source, ...]:
    """The sources of a question, each with what is sent of it: the longest ones are cut to one length.

    Args:
        before: the system prompt, if there is one.
    """

    def take(sources: Sequence[Source]) -> int:
        asked = replace(turn, sources=tuple(sources)).asked
        return engine.count_tokens([*before, *asked], tools)

    def cut(length: int) -> list[Source]:
        return [_cut(source, length) for source in turn.sources]

    if not turn.sources:
        return ()
    room = engine.context_length - min(options.max_new_tokens, engine.context_length // 2)
    longest = max(len(source.text) for source in turn.sources)
    fitted = cut(longest)
    if take(fitted) > room:
        first_too_long = bisect_left(
            range(longest), True, key=lambda length: take(cut(length)) > SHARE * room
        )
        if first_too_long == 0:  # the question alone is too long, and will be refused
            return turn.sources
        fitted = cut(first_too_long - 1)
    return tuple(replace(source, tokens=engine.count_tokens(source.quoted)) for source in fitted)


def _cut(source: Source, length: int) -> Source:
    if len(source.text) <= length:
        return replace(source, sent=None)
    start = max(length - NEAR, 0)
    word = max(source.text.rfind(space, start, length) for space in " \n")
    return replace(source, sent=word if word > 0 else length)
