"""Lines and words that can be seen: Whisper gives some of them no length, or times that go back.

What has a length keeps its times. What has none gets the time that is free around it, or a share of what
its neighbour has. Times in seconds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf

from models.schema import Segment, Word
from models.transcripts.edit import spread

STEP = 0.02  # Whisper's own: what is shorter has no length
LINE = 0.5  # a line without length is shown for as long, where there is room
WORD = 0.25
PUSH = 0.1  # the least that a line takes from the next one, where there is none


def lasting(lines: Sequence[Segment]) -> list[Segment]:
    """The lines, in order, and their words in order within them, all of some length."""
    result: list[Segment] = []
    ahead = list(lines)
    before = 0.0
    for number, line in enumerate(ahead):
        after = ahead[number + 1] if number + 1 < len(ahead) else None
        start, end = _seen(line, before, after)
        if after is not None and end > after.start and end > line.end:
            ahead[number + 1] = replace(after, start=end)
        made = replace(line, start=start, end=end) if (start, end) != (line.start, line.end) else line
        result.append(replace(made, words=_words(made)) if made.words else made)
        before = end
    return result


def _seen(line: Segment, before: float, after: Segment | None) -> tuple[float, float]:
    """When a line is shown: as it says if it has a length, else near its start."""
    start, end = line.start, max(line.start, line.end)
    least = STEP * max(1, len(line.words))
    if end - start < least:
        end = max(end, min(start + LINE, after.start if after else inf))
    if end - start < least:
        start = min(start, max(before, end - LINE))
    if end - start < least and after:
        end = start + max(least, PUSH, min(LINE, (after.end - after.start) / 2))
    return start, end


def _words(line: Segment) -> tuple[Word, ...]:
    words = tuple(_in_order(line))
    if all(word.end - word.start >= STEP for word in words):
        return words
    made: list[Word] = []
    waiting: list[Word] = []  # without length
    for word in words:
        if word.end - word.start < STEP:
            waiting.append(word)
            continue
        if waiting and word.start - waiting[0].start >= STEP * len(waiting):
            made += _shared(waiting, min(word.start, waiting[0].start + WORD * len(waiting)))
            made.append(word)
        else:
            made += _shared([*waiting, word], word.end) if waiting else [word]
        waiting = []
    while waiting and made and line.end - waiting[0].start < STEP * len(waiting):
        waiting.insert(0, made.pop())
    if waiting and not made:
        waiting[0] = replace(waiting[0], start=line.start)
    return (*made, *_shared(waiting, line.end))


def _in_order(line: Segment) -> Iterator[Word]:
    at = line.start
    for word in line.words:
        start = min(max(word.start, at), line.end)
        at = min(max(word.end, start), line.end)
        yield word if (start, at) == (word.start, word.end) else replace(word, start=start, end=at)


def _shared(words: Sequence[Word], end: float) -> list[Word]:
    """Words that share the time from the first one's start on, by their letters."""
    if not words:
        return []
    parts = spread([word.text for word in words], words[0].start, end)
    shared = [replace(part, probability=word.probability) for part, word in zip(parts, words, strict=True)]
    return [*shared[:-1], replace(shared[-1], end=end)]  # not a rounding later
