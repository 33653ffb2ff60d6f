"""Corrections of a transcript: each takes its lines and returns them changed. Times in seconds.

Words keep their times where the text around them changes; new words share the time of those that they
stand for. What a line was recognised with stays with it; doubts only until it is rewritten or listened to.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from math import inf
from os.path import commonprefix

from models.errors import BadInput
from models.schema import Segment, Word

Lines = tuple[Segment, ...]

# One letter of a script that is written without spaces, or a run of others, with the marks that cling to it.
UNSPACED = (
    "\u2e80-\u2fdf\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_UNIT = re.compile(
    rf"\s*[（《「『【“‘(\[]*(?:[{UNSPACED}]|[^\s{UNSPACED}]+)[、。，．：；？！）》」』】”’…,.:;?!)\]]*"
)

LONGEST = 100_000  # characters of a line; replacing a text again and again could make it grow without end
_COMPARED = 10_000_000  # steps that comparing the words of two lines may take, at worst


def units(text: str) -> list[str]:
    """The parts between which a text can be broken, with the spaces before them; together the text."""
    shown = text.rstrip()  # in spaces at the end the pattern would look for a part from each of them on
    found, rest = _UNIT.findall(shown), text[len(shown) :]
    return [*found[:-1], found[-1] + rest] if found else [rest] * bool(rest)


def timed(segment: Segment) -> tuple[Word, ...]:
    """The words of a line with their times: its own, or else its text with times by length."""
    if "".join(word.text for word in segment.words).strip() == segment.text.strip() and segment.words:
        return segment.words
    return spread(units(segment.text), segment.start, segment.end)


def spread(texts: Sequence[str], start: float, end: float) -> tuple[Word, ...]:
    """Texts one after another between two times, each as long as its share of the letters."""
    sizes = [len(text.strip()) or 1 for text in texts]
    whole = sum(sizes)
    words, at = [], start
    for text, size in zip(texts, sizes, strict=True):
        until = at + (end - start) * size / whole
        words.append(Word(at, until, text))
        at = until
    return tuple(words)


def rewrite(lines: Lines, index: int, text: str, start: float, end: float, duration: float = inf) -> Lines:
    """Give a line another text and other times, in a recording of a `duration`.

    Raises:
        BadInput: the times are in no order, or reach into the lines around or beyond the recording; or the text
            is empty, broken or longer than `LONGEST`; or there is no such line.
    """
    (line,) = _lines_at(lines, index)
    _check_text(text)
    if not text.strip():
        raise BadInput(
            "A line needs some text: delete the line instead.", "一行不能没有文字：请改为删除该行。"
        )
    _check_length(line, text)
    # Times are edited in milliseconds: what was not touched stays as exact as it was.
    start, end = (
        old if abs(new - old) < 0.001 else new for new, old in ((start, line.start), (end, line.end))
    )
    _check_times(lines, index, start, end, duration)
    changed = replace(line, start=start, end=end, words=_moved(line.words, start, end))
    if text.split() != line.text.split():
        # Whisper's own lines begin with a space, so that they join to a text.
        text = " " * line.text.startswith(" ") + " ".join(text.split())
        changed = replace(changed, text=text, words=_reworded(changed.words, text), doubts=())
    return (*lines[:index], changed, *lines[index + 1 :])


def _lines_at(lines: Lines, index: int, count: int = 1) -> Lines:
    """`count` lines from `index` on. Raises BadInput where there are none."""
    if not 0 <= index <= len(lines) - count:
        raise BadInput(
            "There is no such line: look at the transcript as it is now.", "没有这一行：请查看当前的文稿。"
        )
    return lines[index : index + count]


def _check_text(text: str) -> None:
    """Raises BadInput for half a character, which no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(
            "This text holds half a character: type it again.", "该文字含有不完整的字符：请重新输入。"
        ) from error


def _check_length(line: Segment, text: str) -> None:
    """Raises BadInput where a line grows beyond what it may hold."""
    if len(text) > max(LONGEST, len(line.text)):
        raise BadInput(
            f"A line holds at most {LONGEST:,} characters: shorten this text.",
            f"一行最多 {LONGEST:,} 个字符：请缩短文字。",
        )


def _check_times(lines: Lines, index: int, start: float, end: float, duration: float) -> None:
    line = lines[index]
    earliest = min(lines[index - 1].end, line.start) if index else 0.0
    latest = max(lines[index + 1].start, line.end) if index + 1 < len(lines) else inf
    if not start < end < inf:  # also refuses NaN
        raise BadInput(
            "A line has to end after it starts: correct its times.",
            "一行的结束时间必须晚于开始时间：请修改时间。",
        )
    if start < earliest or end > latest:
        raise BadInput(
            "These times reach into the line before or after: change that line first.",
            "该时间与前一行或后一行重叠：请先修改相邻的行。",
        )
    if end > max(duration, line.end):
        raise BadInput(
            f"The recording ends after {duration:.3f} seconds: let the line end there at the latest.",
            f"录音在 {duration:.3f} 秒处结束：一行最晚到此为止。",
        )


def _moved(words: Sequence[Word], start: float, end: float) -> tuple[Word, ...]:
    """Words kept between two times."""

    def within(seconds: float) -> float:
        return min(max(seconds, start), end)

    return tuple(replace(word, start=within(word.start), end=within(word.end)) for word in words)


def _reworded(words: Sequence[Word], text: str) -> tuple[Word, ...]:
    """The words of a new text; those that were there before keep their times."""
    if not words:
        return ()
    new = units(text)
    old = [Word(part.start, part.end, part.text, word.probability) for word in words for part in _parts(word)]
    changes = _changes([word.text.strip() for word in old], [part.strip() for part in new])
    result: list[Word] = []
    for tag, first, last, start, end in changes:
        if tag == "equal":
            kept = zip(old[first:last], new[start:end], strict=True)
            result += (replace(word, text=part) for word, part in kept)
        elif end > start:
            # Where nothing stood, the new words share a moment between their neighbours.
            begin = old[first].start if first < len(old) else old[-1].end
            until = old[last - 1].end if last > first else begin
            result += spread(new[start:end], begin, until)
    return tuple(result)


def _changes(old: list[str], new: list[str]) -> Sequence[tuple[str, int, int, int, int]]:
    """What became of which words, in the form of difflib's opcodes.

    Where difflib could take more than a second (lines of a thousand words, or one word hundreds of times),
    all between the first and the last difference counts as changed.
    """
    times = Counter(new)
    pairs = sum(times[word] for word in old)  # each may be looked at again for each piece in common
    if (pairs + len(old)) * min(len(old), len(new)) <= _COMPARED:
        return SequenceMatcher(None, old, new, False).get_opcodes()
    head = len(commonprefix([old, new]))
    tail = len(commonprefix([old[head:][::-1], new[head:][::-1]]))
    last, end = len(old) - tail, len(new) - tail
    return [
        ("equal", 0, head, 0, head),
        ("replace", head, last, head, end),
        ("equal", last, len(old), end, len(new)),
    ]


def _parts(word: Word) -> tuple[Word, ...]:
    return spread(units(word.text), word.start, word.end)


def merge(lines: Lines, index: int) -> Lines:
    """Join a line and the next one. Raises BadInput where there are no two."""
    first, second = _lines_at(lines, index, 2)
    left, right = first.text.rstrip(), second.text.lstrip()
    unspaced = re.compile(rf"[{UNSPACED}，。？！、；：]")
    gap = "" if unspaced.match(left[-1:]) and unspaced.match(right[:1]) else " "
    words: tuple[Word, ...] = ()
    if first.words and second.words:
        head = second.words[0]
        words = (*first.words, replace(head, text=gap + head.text.lstrip()), *second.words[1:])
    doubts = tuple(dict.fromkeys((*first.doubts, *second.doubts)))
    joined = replace(
        first, end=max(first.end, second.end), text=left + gap + right, words=words, doubts=doubts
    )
    return (*lines[:index], joined, *lines[index + 2 :])


def split(lines: Lines, index: int, position: int) -> Lines:
    """Cut a line in two before a letter of its text without the spaces around it.

    The cut falls where the nearest word ends; without word times, by the share of the letters.

    Raises:
        BadInput: nothing would be left before or after the cut, or there is no such line.
    """
    (line,) = _lines_at(lines, index)
    lead = len(line.text) - len(line.text.lstrip())
    left, right = line.text[: lead + position], line.text[lead + position :]
    if not left.strip() or not right.strip():
        raise BadInput(
            "There is nothing to cut off here: put the cursor between two words.",
            "此处无法拆分：请把光标放在两个词之间。",
        )
    words = timed(line)
    bounds = [0]
    for word in words:
        bounds.append(bounds[-1] + len(word.text))
    cut = min(range(1, len(words)), key=lambda number: abs(bounds[number] - len(left))) if words[1:] else 0
    if words[1:]:
        at, then = words[cut - 1].end, words[cut].start
    else:
        at = then = line.start + (line.end - line.start) * len(left) / len(line.text)
    right = (" " if line.text.startswith(" ") else "") + right.strip()
    first, second = (words[:cut], words[cut:]) if line.words else ((), ())
    halves = (
        replace(line, end=at, text=left.rstrip(), words=_reworded(first, left.rstrip())),
        replace(line, start=then, text=right, words=_reworded(second, right)),
    )
    return (*lines[:index], *halves, *lines[index + 1 :])


def remove(lines: Lines, index: int) -> Lines:
    """The others. Raises BadInput where there is no such line."""
    _lines_at(lines, index)
    return (*lines[:index], *lines[index + 1 :])


def put(lines: Lines, index: int, heard: Sequence[Segment]) -> Lines:
    """Replace a line by what was recognised anew in its time, kept within it.

    Raises:
        BadInput: nothing was, or there is no such line.
    """
    (line,) = _lines_at(lines, index)
    kept = tuple(_clipped(segment, line) for segment in heard if segment.text.strip())
    if not kept:
        raise BadInput(
            "Nothing was recognised in this line: it stays as it was.", "此行没有识别出内容：保持原样。"
        )
    return (*lines[:index], *kept, *lines[index + 1 :])


def _clipped(segment: Segment, line: Segment) -> Segment:
    start, end = (min(max(time, line.start), line.end) for time in (segment.start, segment.end))
    return replace(segment, start=start, end=end, words=_moved(segment.words, start, end))


def believe(lines: Lines, indices: Iterable[int]) -> Lines:
    """Take the doubts from lines that somebody listened to. Raises BadInput where there is no such line."""
    heard = {index for index in indices if _lines_at(lines, index)}
    return tuple(replace(line, doubts=()) if at in heard else line for at, line in enumerate(lines))


def substitute(lines: Lines, find: str, new: str, same_case: bool = False) -> tuple[Lines, int]:
    """Replace a text everywhere; also how often. A line that loses all its text goes.

    Raises:
        BadInput: the new text is broken, or makes a line longer than `LONGEST`.
    """
    _check_text(new)
    if not find:
        return lines, 0
    pattern = re.compile(re.escape(find), 0 if same_case else re.IGNORECASE)
    result: list[Segment] = []
    total = 0
    for line in lines:
        text, count = pattern.subn(lambda _: new, line.text)
        total += count
        if count and text.strip():
            _check_length(line, text)
            line = replace(line, text=text, words=_reworded(line.words, text))
        if text.strip():
            result.append(line)
    return tuple(result), total


def beside(lines: Sequence[Segment], translation: Sequence[Segment]) -> list[str]:
    """For every line what of the translation is said with it: each part goes where it overlaps most."""
    texts: list[list[str]] = [[] for _ in lines]
    at = 0
    for part in translation if lines else ():
        # Both are in order: the best line is never far from the one before.
        while at + 1 < len(lines) and _overlap(lines[at + 1], part) >= _overlap(lines[at], part):
            at += 1
        texts[at].append(part.text.strip())
    return [" ".join(parts) for parts in texts]


def _overlap(line: Segment, part: Segment) -> float:
    """Seconds in common; below zero, how far they lie apart."""
    return min(line.end, part.end) - max(line.start, part.start)
