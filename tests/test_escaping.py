"""Text as Markdown, read back by a parser of Markdown: nothing in it has acted."""

import random

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from models.markdown import escape, fence

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
PIECES = [
    *"\\`*_~[]<>#|$&!()-+=.:1a é世",
    *("\n", "```", "~~~", "---", "===", "1. ", "12) ", "- ", "> ", "# ", " #", "**", "__", "a_b", "&amp;", "&#65;"),
    *("<b>", "<!--", "![x](y)", "[x]: y", "https://a.b/c_d#e", "snake_case", "| a | b |\n| - | - |\n"),
]  # fmt: skip


def inline(text: str) -> tuple[set[str], str]:
    """The kinds of what is in a Markdown file, and the text that is read."""
    kinds: set[str] = set()
    said: list[str] = []

    def walk(tokens: list[Token]) -> None:
        for token in tokens:
            if token.children is not None:
                walk(token.children)
            else:
                kinds.add(token.type)
                said.append({"softbreak": "\n", "hardbreak": "\n"}.get(token.type, token.content))

    walk(PARSER.parse(text))
    return kinds, "".join(said)


def plain(text: str) -> str:
    return "".join(line.strip() for line in text.split("\n"))


@pytest.mark.parametrize("seed", range(5))
def test_nothing_acts_and_every_letter_is_there(seed: int) -> None:
    chosen = random.Random(seed)
    for _ in range(100):
        text = "".join(chosen.choices(PIECES, k=chosen.randint(1, 30)))
        kinds, said = inline(escape(text))
        assert kinds <= {"paragraph_open", "paragraph_close", "text", "hardbreak"}, text
        assert said.replace("\n", "") == plain(text)


def test_lines_stay_lines_and_what_does_not_act_stays_readable() -> None:
    assert inline(escape("a\r\nb\n\nc")) == (
        {"paragraph_open", "paragraph_close", "text", "hardbreak"},
        "a\nbc",
    )
    for text in ("snake_case", "https://a.b/c_d#e", "In 2025. C#, 5-3=2 & more! (really)"):
        assert escape(text) == text


@pytest.mark.parametrize("text", ["", "a", "```\na\n```", "`````", "~~~\n\na  b", "a\r\nb"])
def test_a_fence_is_longer_than_any_within(text: str) -> None:
    (block,) = PARSER.parse(fence(text, "json"))
    assert block.type == "fence" and block.info == "json"
    assert block.content.rstrip("\n") == text.replace("\r\n", "\n")
