r"""Text on the page is the text: letters in, the same letters in a browser, for questions, answers and names."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.paths import ROOT
from tests.fakes.waiting import until

pytestmark = pytest.mark.browser

# Nothing of these is Markdown, mathematics or code.
TEXTS = [
    "root:x:0:0:root:/root:/bin/bash",
    "00:1a:m:x",
    "1:100:5",
    "a:b:c and d:e",
    "email:someone@example.com",
    ":smile: and :+1: and :-1:",
    ":red[red] :blue-background[blue] :small[s] :orange-badge[b]",
    ":rainbow[x]{y=z} a:b{c=d}",
    ":material/home: :material_home: :streamlit:",
    "::leaf[x]",
    ":::warning",
    "std::vector<int> v; a::b::c",
    "C::D:e:",
    "0.3~8mm and 0.3~4.5mm",
    "about ~5 to ~10 minutes",
    "~/.bashrc and ~user",
    "~ alone ~",
    "10~20元，3～5天",
    "a -> b <- c <-> d",
    "x->y, (a)->(b) -> c",
    "x >= 5 and y <= 6 and z ~= 7",
    ">= 5",
    "text -- text",
    "--",
    "5 < 6 > 4",
    "if a<b and c>d",
    "a <!-- comment --> b",
    "<think>hm</think> yes",
    "<b>bold</b> and <i>italic</i>",
    "<script>alert(1)</script>",
    "<a href='x'>y</a>",
    "<p align=center>",
    "&lt;b&gt; &amp; &copy; &#58;",
    "a & b && c",
    "2*3*4=24",
    "6 * 7 = 42",
    "a_b_c and snake_case_name",
    "__init__.py and __name__",
    "*args, **kwargs",
    "$5 and $6, US$7",
    "price: 5$",
    "[^1]: note",
    "see [^2]",
    "[x] and [ ] todo",
    "[label]",
    "{a: b, c: d}",
    "@user:host #channel",
    "#hashtag",
    "100% of 50|50",
    "a || b",
    "http://localhost:8080/a:b:c",
    "http://[::1]:80/x:y:z, then",
    "https://x.org/~me/a_b?c=1&d=2",
    "时间：10:30:45，比例1:2:3",
    "“引号”：a:b:c；范围3~5，>= 5",
    "他说:smile:了",
    "`unfinished",
    "a ` b",
    "5' 6\" tall",
    ":-) :D <3 :/ ;-)",
    "^caret^ and =equals=",
    "!important ! [x]",
    "trailing \\",
    "D:\\data",
    "1.5.2 and 3)",
    "a\u2028b",
    "emoji 😀 and ❌",
    "/// <summary> foo </summary>",
    "$1.50 for kale; $/PR is down but $/session is up",
    "the $2k cohort and the $25-50k tier",
]
# A question keeps these too.
TYPED = [
    "first line\nsecond line\n    indented = 1",
    "two  spaces  stay",
    "C:\\new\\*.txt and \\_x_ and \\[",
    "a<br>b",
    "line  \nline",
    "def f():\n\treturn 1",
    "/// <summary>\n/// foo bar baz\n/// </summary>",
]
# Each is one formula, drawn.
FORMULAS = [
    rf"so \begin{{{name}}} a &= b \\ c &= d \end{{{name}}} and"
    for name in ("aligned", "align", "align*", "split", "cases", "pmatrix")
]
FORMULAS += [
    r"\begin{equation} a = b \end{equation}",
    r"\begin{gather*} a \\ b \end{gather*}",
    r"\begin{array}{cc} a & b \end{array}",
    "\\[\n\\text{a}\n=\n10\\log_{10}\n\\left(x\\right)\n\\]",
]


@pytest.fixture(scope="module")
def shown(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The browser's page."""
    texts = tmp_path_factory.mktemp("texts") / "texts.json"
    texts.write_text(json.dumps([*TEXTS, *TYPED, *FORMULAS]), "utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = ROOT / "tests/fakes/markdown_page.py"
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.headless", "true"]
    environment = {**os.environ, "TEXTS": str(texts), "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen([*command, "--server.port", str(port)], cwd=ROOT, env=environment)
    try:
        until(lambda: answers(port))
        page = chromium.new_page()
        page.set_default_timeout(120_000)
        page.goto(f"http://127.0.0.1:{port}")
        page.get_by_text("All are shown.").wait_for()
        # What Streamlit loads afterwards (emoji, mathematics) shows a skeleton until it is there.
        page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')")
        yield page
    finally:
        server.terminate()
        server.wait(timeout=60)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def read(page: Any, kind: str, number: int) -> str:
    return str(page.locator(f".st-key-{kind}-{number}").inner_text())


@pytest.mark.parametrize("number", range(len(TEXTS)), ids=TEXTS.__getitem__)
def test_text_is_shown_by_its_letters(shown: Any, number: int) -> None:
    kinds = ("answer", "typed", "name")
    assert [read(shown, kind, number) for kind in kinds] == [TEXTS[number]] * 3


@pytest.mark.parametrize("number", range(len(TYPED)))
def test_a_question_keeps_its_lines_and_spaces(shown: Any, number: int) -> None:
    said = TYPED[number]
    assert read(shown, "typed", len(TEXTS) + number) == said.replace("  \n", "\n")


@pytest.mark.parametrize("number", range(len(FORMULAS)), ids=FORMULAS.__getitem__)
def test_a_formula_is_drawn(shown: Any, number: int) -> None:
    place = shown.locator(f".st-key-answer-{len(TEXTS) + len(TYPED) + number}")
    assert place.locator(".katex-display").count() == 1 and place.locator(".katex-error").count() == 0
