"""A conversation as Markdown, read back by a parser of Markdown."""

import base64
import io

import pytest
from markdown_it import MarkdownIt
from PIL import Image

from models.interpreter import Output
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.markdown_file import write_markdown
from pages.shared.conversation.turns import PictureFile, Source
from tests.fakes.engines import Stage
from tests.fakes.pictures import DOT
from tests.fakes.visitor import ask, visit


def talk(question: str = "q", answer: str = "a") -> Conversation:
    made = Conversation(system="Be *brief*.")
    made.ask(question)
    made.begin_answer("tiny_1")
    made.write(answer)
    made.end_answer("stop", {})
    return made


def headings(text: str) -> list[str]:
    tokens = MarkdownIt("commonmark").parse(text)
    return [tokens[n + 1].content for n, token in enumerate(tokens) if token.type == "heading_open"]


def fences(text: str) -> list[tuple[str, str]]:
    found = [token for token in MarkdownIt("commonmark").parse(text) if token.type == "fence"]
    return [(token.info, token.content) for token in found]


def test_roles_are_headings_in_the_language_of_the_page() -> None:
    text = "## System prompt\n\nBe \\*brief\\*.\n\n## User\n\nq\n\n## Assistant (tiny_1)\n\na\n"
    assert write_markdown(talk(), "en") == text
    assert headings(write_markdown(talk(), "zh")) == ["系统提示词", "用户", "助手 (tiny_1)"]
    assert write_markdown(Conversation(), "en") == "\n"


def test_nothing_in_a_question_acts_and_an_answer_is_as_it_was_written() -> None:
    answer = "# Mine\n\n**bold** $x$\n\n| a |\n| - |\n| b |"
    text = write_markdown(talk("# no\n- *no*\n<b>no</b>", answer), "en")
    assert answer in text and headings(text) == ["System prompt", "User", "Assistant (tiny_1)", "Mine"]
    assert "\\# no\\\n\\- \\*no\\*\\\n\\<b\\>no\\</b\\>" in text


def test_a_question_with_code_keeps_its_spaces() -> None:
    asked = "why?\n\n```\ndef f():\n    return 1\n```"
    assert fences(write_markdown(talk(asked), "en")) == [("", asked + "\n")]


@pytest.mark.parametrize("answer", ["```python\nprint(1)", "a\n~~~~\n~~~\n```", "````\n```\nx"])
def test_a_block_that_an_answer_left_open_takes_nothing_in(answer: str) -> None:
    made = talk("q", answer)
    made.ask("next")
    assert headings(write_markdown(made, "en"))[-1] == "User"
    closed = talk("q", "```\na\n```")
    assert write_markdown(closed, "en").endswith("\n\n```\na\n```\n")


def test_tools_pictures_and_sources() -> None:
    made = Conversation()
    made.ask("see", [PictureFile("a]b\n.png", DOT)], [Source("talk*", "``` said")])
    made.begin_answer("tiny")
    made.write("first")
    made.call("interpreter", '{"code": "x = \'```\'"}')
    made.show(Output("image", image=DOT))
    made.observe("````")
    made.call("look_up", "{}")
    text = write_markdown(made, "en")
    assert [*fences(text)] == [
        ("", "``` said\n"), ("python", "x = '```'\n"), ("", "````\n"), ("json", "{}\n"),
    ]  # fmt: skip
    assert (
        "![a\\]b .png](data:image/" in text
        and "**talk\\***" in text
        and "first\n\n**Tool: interpreter**" in text
    )
    html = MarkdownIt("commonmark").render(text)
    assert html.count('<img src="data:image/') == 2


def test_the_picture_is_in_the_file() -> None:
    made = Conversation()
    made.ask("", [PictureFile("dot.png", DOT)])
    (address,) = [part.split(")")[0] for part in write_markdown(made, "en").split("base64,")[1:]]
    with Image.open(io.BytesIO(DOT)) as before, Image.open(io.BytesIO(base64.b64decode(address))) as after:
        assert after.size == before.size


def test_a_picture_that_cannot_be_read_is_named() -> None:
    made = Conversation()
    made.ask("", [PictureFile("dot*.png", b"GIF89a")])
    assert write_markdown(made, "en") == "## User\n\n\\[dot\\*.png\\]\n"


def test_both_files_are_offered_beside_each_other(stage: Stage, downloads: dict[str, str]) -> None:
    ask(visit(), "*one*")
    assert "## User\n\n\\*one\\*\n\n## Assistant (" in downloads["llama2.md"] and "llama2.json" in downloads
    ask(visit(locale="zh-CN"), "*one*")
    assert downloads["llama2.md"].startswith("## 用户\n")
