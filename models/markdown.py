"""Text as Markdown that any program shows as it was typed: escaped, or fenced."""

import re

# What acts; a sign between letters, as in snake_case and addresses, mostly does not and stays readable.
_ACTS = re.compile(
    r"""
    (?P<number> ^ \d{1,9} (?= [.)] (?: \s | $ ) ) )
    | [\\`*~\[\]<>|$]
    | _ (?! (?<= [^\W_]_ ) [^\W_] )
    | (?<!\S) \#
    | & (?= \#?+ \w++ ; )
    | : (?= [\w+-]++ : )
    | ^ [-+=:] (?= [-+=:\s] | $ )
    """,
    re.VERBOSE | re.MULTILINE,
)
_TICKS = re.compile(r"`+")


def escape(text: str) -> str:
    """The text with nothing in it that acts as Markdown (CommonMark, GitHub's). Lines stay lines, without the
    spaces around them."""
    lines = [_ACTS.sub(_escaped, line.strip()) for line in lines_of(text)]
    ends = ["\\" if line and after else "" for line, after in zip(lines, [*lines[1:], ""], strict=True)]
    return "\n".join(map("".join, zip(lines, ends, strict=True)))


def _escaped(found: re.Match[str]) -> str:
    return f"{found[0]}\\" if found["number"] else f"\\{found[0]}"


def fence(text: str, language: str = "") -> str:
    """The text as a block of code, whose fence is longer than any within."""
    ticks = "`" * max(3, 1 + max(map(len, _TICKS.findall(text)), default=0))
    return "\n".join((f"{ticks}{language}", *lines_of(text), ticks))


def lines_of(text: str) -> list[str]:
    """The lines as Markdown counts them: what else separates lines is a letter to it."""
    return re.split(r"\r\n|\r|\n", text)
