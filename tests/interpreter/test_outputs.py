"""What code shows, as it is read from a kernel's messages."""

import base64
import io
from typing import Any

import pytest
from PIL import Image

from models.interpreter.outputs import Output, as_read, output_of, png


def picture(format: str = "PNG", side: int = 4) -> str:
    file = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(file, format)
    return base64.b64encode(file.getvalue()).decode()


def shown(kind: str, **content: Any) -> Output | None:
    return output_of({"header": {"msg_type": kind}, "content": content})


def test_printed_text_has_no_colours() -> None:
    assert shown("stream", text="\x1b[1;31mred\x1b[0m \x1b[?25lplain\n") == Output("text", "red plain\n")


def test_an_error_is_its_traceback_or_else_its_name() -> None:
    assert shown("error", traceback=["a\x1b[0m", "b"], ename="E", evalue="v") == Output("error", "a\nb")
    assert shown("error", traceback=[], ename="E", evalue="v") == Output("error", "E: v")


@pytest.mark.parametrize("kind", ["execute_result", "display_data", "update_display_data"])
def test_values_are_pictures_before_tables_before_text(kind: str) -> None:
    data = {"text/plain": "p", "text/html": "<table><tr><td>1</td></tr></table>", "image/png": picture()}
    assert shown(kind, data=data) == Output("image", "p", base64.b64decode(data["image/png"]))
    del data["image/png"]
    assert shown(kind, data=data) == Output("table", "p", rows=(("1",),))
    del data["text/html"]
    assert shown(kind, data=data) == Output("text", "p\n")
    assert shown(kind, data={}) == Output("text", "\n")


def test_other_messages_show_nothing() -> None:
    for kind in ("status", "execute_input", "clear_output", "comm_open"):
        assert shown(kind, data={"text/plain": "p"}, text="t") is None


def test_only_png_is_handed_on() -> None:
    assert png(picture()) == base64.b64decode(picture())
    for other in (picture("JPEG"), picture(side=64)[:60], "", "!", b"x", None, 5):
        assert png(other) == b""


def test_pictures_of_more_pixels_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from models.interpreter import outputs

    monkeypatch.setattr(outputs, "_PIXELS", 16)
    assert png(picture(side=4)) and not png(picture(side=5))


@pytest.mark.parametrize(
    ("html", "rows"),
    [
        ("<table><tr><th> a </th><th>b</th></tr><tr><td>1</td><td>2<b>3</b>\n</td></tr></table>", (("a", "b"), ("1", "23"))),
        ("<tr><td>1<td>2</tr>", (("1", "2"),)),
        ("<tr></tr><tr><td></td></tr>", (("",),)),
        ("<td>x</td><tr><td>y</td> between <td>z</td></tr> after", (("y", "z"),)),
        ("<script>bad()</script><tr><td>&lt;b&gt; &amp; c</td></tr>", (("<b> & c",),)),
    ],
)  # fmt: skip
def test_tables_are_their_cells(html: str, rows: Any) -> None:
    output = shown("display_data", data={"text/html": html})
    assert output is not None and output.rows == rows


def test_pages_longer_than_anybody_reads_stay_text(monkeypatch: pytest.MonkeyPatch) -> None:
    from models.interpreter import outputs

    html = "<tr><td>1</td></tr>"
    for longest, kind in ((len(html), "table"), (len(html) - 1, "text")):
        monkeypatch.setattr(outputs, "_LONGEST_TABLE", longest)
        output = shown("display_data", data={"text/html": html, "text/plain": "t"})
        assert output is not None and output.kind == kind


def test_what_a_model_reads() -> None:
    outputs = [
        Output("text", "one\n"), Output("image", "<Figure>", b"x"), Output("table", "t", rows=(("1",),)),
        Output("error", "E"),
    ]  # fmt: skip
    assert as_read(outputs) == "one\n[Image]\nt\nE"
    assert as_read([Output("text", "a" * 4_000)]) == "a" * 4_000
    assert as_read([Output("text", "b" + "a" * 4_000)]) == "…" + "a" * 4_000
    assert as_read([]) == "" and as_read([Output("text", " x ")], 1) == "x"


def test_how_much_there_is_to_read() -> None:
    assert Output("text", "abc").characters == 3
    assert Output("table", "ab", rows=(("1", ""), ("22",))).characters == 2 + 2 + 1 + 3
