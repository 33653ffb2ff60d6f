r"""Model text on its way to Streamlit: `\(…\)` and `\[…\]`, money, pictures, and code left alone."""

import re
import subprocess
import sys

import pytest

from pages.shared.markdown import literal, readable, typed
from tests.fakes.paths import ROOT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"so \(a + b\) is", "so $a + b$ is"),
        (r"\( a \) and \(b\)", "$a$ and $b$"),
        (r"\[ a \]", "\n$$\na\n$$\n"),
        (r"\[ a \\[2pt] b \]", "\n$$\na \\\\[2pt] b\n$$\n"),  # the end of a row opens nothing
        (r"\[ f(x) = \begin{cases} 1 & \text{if } x \in [0,1] \end{cases} \]", None),
        ("\\[\na\n\nb\n\\]", "\n$$\na\n\nb\n$$\n"),
        (r"$x$, $a_1 + b$ and $$y$$", r"$x$, $a_1 + b$ and $$y$$"),
        ("$$\n\\int x\n$$", "$$\n\\int x\n$$"),
        ("其中$x$表示，而$y$是", "其中$x$表示，而$y$是"),
        (
            r"so \begin{aligned} a &= b \\ c &= d \end{aligned}",
            "so \n$$\n\\begin{aligned} a &= b \\\\ c &= d \\end{aligned}\n$$\n",
        ),
        ("\\begin{align*}\nx\n\\end{align*}", "\n$$\n\\begin{align*}\nx\n\\end{align*}\n$$\n"),
        (r"$$\begin{pmatrix} 1 \end{pmatrix}$$", r"$$\begin{pmatrix} 1 \end{pmatrix}$$"),
        (r"`\begin{align} x \end{align}`", r"`\begin{align} x \end{align}`"),
        (r"\begin{itemize} \item \end{itemize}", r"\begin{itemize} \item \end{itemize}"),
        (r"half \begin{align} x", r"half \begin{align} x"),
        (r"half \(a", r"half \(a"),  # as it streams
        (r"half \[a", r"half \[a"),
        (r"\\(no formula\\)", r"\\(no formula\\)"),
    ],
)
def test_mathematics_is_written_with_dollars(text: str, expected: str | None) -> None:
    shown = readable(text)
    assert shown == expected if expected is not None else shown.startswith("\n$$\n") and "\\[" not in shown


def test_a_displayed_formula_stays_within_its_list() -> None:
    shown = readable("1. First:\n   \\[\n   x = 1\n   \\]\n2. Second")
    assert "\n   $$\n" in shown and "\n$$" not in shown


@pytest.mark.parametrize(
    "text",
    [
        "$5 and $6",
        "from $5/month to $6/month",
        "US$5–US$6",
        "$10/$20",
        "价格为$5和$6",
        "it costs $5.",
        "$ alone",
        "$5 is `x$y`",
        "a $\nb $",
        "$$ never closed",
    ],
)
def test_money_is_no_mathematics(text: str) -> None:
    outside = re.sub(r"`.*?`", "", readable(text))
    assert not re.search(r"(?<!\\)\$", outside)
    assert readable(text).replace("\\$", "$") == text


def test_an_escaped_sign_stays_as_it_is() -> None:
    assert readable(r"\$5 and \$x\$") == r"\$5 and \$x\$"


CODE = r"$5 \(x\) \[y\] ![p](http://h/p.png)"


@pytest.mark.parametrize(
    "text",
    [
        f"`{CODE}`",
        f"``{CODE} ` {CODE}``",
        f"a `{CODE}` b",
        f"```python\n{CODE}\n\n{CODE}\n```",
        f"text\n```\n{CODE}\n```\ntext",
        f"~~~\n{CODE}\n```\n{CODE}\n~~~",
        f"````markdown\n```\n{CODE}\n```\n{CODE}\n````",
        f"```\n{CODE}",  # still open: it streams
        f"```\n{CODE}\n``",
        f"1. step\n   ```\n   {CODE}\n   ```\n2. step",
        f"10. step\n\n    ```\n    {CODE}\n\n    {CODE}\n    ```\n",
        f"- ```\n  {CODE}\n  ```",
        f"> ```\n> {CODE}\n> ```",
    ],
)
def test_code_is_left_as_it_is(text: str) -> None:
    assert readable(text) == text
    assert readable(text.replace("\n", "\r\n")) == text


@pytest.mark.parametrize(
    "before",
    [
        "```\ncode\n```\n",
        "~~~\ncode\n~~~~\n",
        "```code``` ",
        "`code` ",
        "a ` alone\n\n",
        r"\` ",
        "x``` ",
        "`` ` ",
        "```\r\ncode\r\n```\r\n",
    ],
)
def test_after_code_text_is_text_again(before: str) -> None:
    assert readable(before + r"\(x\) costs $5").endswith(r"$x$ costs \$5")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("![a cat](http://h/c.png)", "[a cat](http://h/c.png)"),
        ("![](http://h/c.png)", "[http://h/c.png](http://h/c.png)"),
        ('![a](http://h/c.png "title")', "[a](http://h/c.png)"),
        ("![a](<http://h/c.png>)", "[a](http://h/c.png)"),
        ("[![a](http://h/c.png)](http://h)", "[[a](http://h/c.png)](http://h)"),
        ("Wow![1]", "Wow\\![1]"),
        ("Wow! [a](http://h)", "Wow! [a](http://h)"),
    ],
)
def test_a_picture_becomes_a_link(text: str, expected: str) -> None:
    assert readable(text) == expected


def test_what_ends_a_sentence_is_no_part_of_its_address() -> None:
    for end in (".", ",", "?!", '."'):
        shown = readable(f"See http://h/:a:b:c{end}")
        assert shown.endswith(f"](<http://h/:a:b:c>){end}") and ":a:" not in shown.partition("](")[0]


# An exclamation mark before a bracket makes a picture unless a backslash stands before it.
PICTURE = r"(?<!\\)(?:\\\\)*!\["


@pytest.mark.parametrize(
    "text",
    [
        "![a](http://h/c.png)",
        "!![a](http://h/c.png)",
        "!!![a](http://h/c.png)",
        "\\![a](http://h/c.png)",
        "\\\\![a](http://h/c.png)",
        "![a [b] c](http://h/c.png)",
        "![a\nb](http://h/c.png)",
        "![a](http://h/c_(1).png)",
        '![a](http://h/c.png "a (b)")',
        "![a](\nhttp://h/c.png\n)",
        "![a][r]\n\n[r]: http://h/c.png",
        "![r]\n\n[r]: http://h/c.png",
        "![r][]\n\n[r]: http://h/c.png",
        "| ![a](http://h/c.png) |",
        "$5 ![a](http://h/c.png) $6",
        "\\` ![a](http://h/c.png) `",
        "```a``` ![a](http://h/c.png)",
        "` ![a\n\n](http://h/c.png)\n\n![a](http://h/c.png) `",
    ],
)
def test_no_picture_is_left_for_the_browser_to_fetch(text: str) -> None:
    assert not re.search(PICTURE, readable(text))


@pytest.mark.parametrize(
    "text", ["\x005\x00 $5", "\0", "", "\n", "\\", "$", "`", "![", "\\[\\]", "\\(\\)", "$$$$"]
)
def test_odd_texts_are_survived_and_nothing_is_lost(text: str) -> None:
    assert readable(text).replace("\\", "") == text.replace("\\", "")


def test_every_beginning_of_a_text_can_be_shown_while_it_streams() -> None:
    text = "So \\(a\\):\n\n\\[\nb\n\\]\n\n```py\nx = '$5'\n```\n![p](http://h) costs $5, `c` $d$.\n"
    for length in range(len(text)):
        shown = readable(text[:length])
        assert re.findall(r"\w+", shown) == re.findall(r"\w+", text[:length])
        assert not re.search(PICTURE, shown)


# Each is a beginning that never ends, many times: what makes a careless pattern quadratic or worse.
ENDLESS = {
    "dollars": "$",
    "dollar words": "$a ",
    "double dollars": "$$a$",
    "backticks": "`",
    "lone backticks": "` `` ",
    "backtick lines": "`\na",
    "display": "\\[",
    "inline": "\\(",
    "both": "\\[\\(",
    "rows": "\\\\[",
    "environments": "\\begin{align}",
    "environments of two kinds": "\\begin{align}\\begin{cases} ",
    "ends": "\\end{align}",
    "backslashes": "\\",
    "pictures": "![",
    "picture targets": "![a](",
    "brackets": "[",
    "exclamations": "!",
    "fences": "```\n",
    "fences with code": "```x`\n",
    "tildes": "~",
    "quotes": ">",
    "lists": "- ",
    "numbers": "1",
    "spaces": " ",
    "lines": "\n",
}


def test_long_texts_take_steps_in_proportion_to_their_length() -> None:
    """A few seconds of a processor, however busy it is; many minutes with one quadratic branch."""
    program = (
        "import resource\n"
        "from pages.shared.markdown import readable\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (60, 60))\n"
        f"for unit in {list(ENDLESS.values())!r}:\n"
        "    readable('x' + unit * 200_000)\n"
        "    for begin in ('`', '$$x', '![a](', '![', '\\\\[', '```\\n'): readable(begin + unit * 10_000)\n"
        "readable(' '.join('`' * n for n in range(1, 300)))\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


@pytest.mark.parametrize("text", [":smile:", "a :+1: b", ":material/mic:", "他说:smile:了"])
def test_colons_around_a_word_are_no_emoji(text: str) -> None:
    """In the browser: `test_plain_text.py`."""
    for shown in (readable(text), typed(text), literal(text)):
        assert text not in shown and shown.replace("\\", "").replace(":red[]", "") == text


@pytest.mark.parametrize(
    ("text", "shown"), [("a<br>b", "a&#10;b"), ("a<br />\nb", "a\nb"), ("| a<br/>b |", "| a&#10;b |")]
)
def test_a_line_break_is_one(text: str, shown: str) -> None:
    assert readable(text) == shown and typed(text) == text.replace("<", "\\<")
