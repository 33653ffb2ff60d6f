"""The browser's side of a transcript, in a browser alone: what is shown, played, found, and sent to the page."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pages.shared.speech.transcript_view import CSS, HTML, JS, _words
from tests.fakes.browser import component_page
from tests.fakes.sounds import write_film, write_sound

pytestmark = pytest.mark.browser

COLOURS = (
    "--st-text-color:#000000; --st-primary-color:#0000ff; --st-orange-color:#ff8800; --st-red-color:#ff0000"
)
# What the page does: give the component what it shows, and take what somebody wants changed.
PAGE = """
html => {
  document.body.innerHTML = html;
  window.sent = [];
  window.show = (data) => view.default({
    data: new TextEncoder().encode(JSON.stringify(data)),
    parentElement: document.body,
    setTriggerValue: (name, event) => sent.push([name, event]),
  });
}
"""
WORDS = _words()
FIGURES = [-0.23, 0.1, 2, None]
LINES: list[list[Any]] = [
    [0.12, 1.5, "Hello big world", [], FIGURES, [[0.12, 0.5, " Hello"], [0.5, 1.0, " big"], [1.0, 1.5, " world"]], None],
    [2.0, 3.0, "hello again", ["unsure", "silence"], [None] * 4, None, None],
    [3.0, 4.0, "the end", [], [None] * 4, None, None],
]  # fmt: skip


@pytest.fixture(scope="module")
def browser_page(chromium: Any) -> Iterator[Any]:
    with component_page(chromium, "view", JS) as page:
        yield page


@pytest.fixture
def page(browser_page: Any) -> Any:
    """A page with the component alone, with nothing in it yet."""
    style = f"<style>{CSS} .wave, canvas {{ width: 400px; height: 100px; display: block }}</style>"
    browser_page.evaluate(PAGE, f"{style}<div style='{COLOURS}; height: 500px'>{HTML}</div>")
    return browser_page


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Eight seconds of silence."""
    path = write_sound(tmp_path_factory.mktemp("sound") / "a.wav", np.zeros(8 * 16_000, np.float32))
    return f"data:audio/wav;base64,{base64.b64encode(Path(path).read_bytes()).decode()}"


def show(page: Any, **changed: Any) -> None:
    data = {
        "sound": "", "film": "", "seconds": 8.0, "peaks": [], "lines": LINES, "version": 3, "editable": True, "again": True,
        "growing": False, "changed": False, "error": "", "words": WORDS,
    }  # fmt: skip
    page.evaluate("data => show(data)", data | changed)
    if changed.get("sound"):
        page.wait_for_function("() => document.querySelector('audio').readyState > 0")


def sent(page: Any, kind: str = "edit") -> list[Any]:
    """What was sent since the last time."""
    told: list[Any] = page.evaluate("() => sent.splice(0)")
    assert all(name == kind and event.pop("version") == 3 for name, event in told)
    return [event for _, event in told]


def texts(page: Any, selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_text_contents()]


def seek(page: Any, seconds: float) -> None:
    page.evaluate("to => { document.querySelector('audio').currentTime = to; }", seconds)


def played(page: Any) -> float:
    at: float = page.evaluate("() => document.querySelector('audio').currentTime")
    return at


# --- what is shown -------------------------------------------------------------------------------


def test_lines_have_their_times_and_texts(page: Any) -> None:
    late = [3725.5, 3726.0, "late", [], [None] * 4, None, "spät"]
    show(page, lines=[*LINES, late])
    assert texts(page, ".line .time") == ["0:00", "0:02", "0:03", "1:02:05"]
    assert texts(page, ".line > .text") == ["Hello big world", "hello again", "the end", "late"]
    assert texts(page, ".line.two .other") == ["spät"]


def test_doubts_say_why(page: Any) -> None:
    show(page)
    why = WORDS["doubts"]
    assert texts(page, ".line.doubtful > .text") == ["hello again"]
    sign = page.locator(".doubt")
    assert (
        sign.get_attribute("title")
        == sign.get_attribute("aria-label")
        == f"{why['unsure']}\n{why['silence']}"
    )


def test_a_tap_on_a_doubt_shows_its_reason_and_plays_nothing(page: Any, sound: str) -> None:
    show(page, sound=sound)
    sign = page.locator(".doubt")
    sign.click()
    assert texts(page, ".line.doubtful .why") == [
        f"{WORDS['doubts']['unsure']} · {WORDS['doubts']['silence']}"
    ]
    assert sign.get_attribute("aria-expanded") == "true" and played(page) == 0
    page.locator(".why").click()
    sign.click()
    assert page.locator(".why").count() == 0 and sign.get_attribute("aria-expanded") == "false"
    assert played(page) == 0 and page.evaluate("() => document.querySelector('audio').paused")


DOUBTFUL = [[at, at + 0.4, f"line {at}", ["unsure"], [None] * 4, None, None] for at in (1.0, 1.5, 2.0)]


def test_a_doubtful_line_that_was_played_as_a_whole_is_told_of(page: Any, sound: str) -> None:
    show(page, sound=sound, lines=DOUBTFUL)
    seek(page, 1.25)  # within the first
    page.locator(".speed").select_option("2")
    page.locator(".play").click()
    page.wait_for_function("() => sent.length > 1")
    assert sent(page, "listened") == [{"action": "listened", "lines": [at]} for at in (1, 2)]


def test_who_edits_a_line_loses_nothing_by_listening_to_it(page: Any, sound: str) -> None:
    show(page, sound=sound, lines=DOUBTFUL)
    page.locator(".pen").first.click()
    page.locator(".play").click()
    page.locator(".clock", has_text="0:03").wait_for()
    assert sent(page) == []
    page.locator(".editor .cancel").click()
    assert sent(page, "listened") == [{"action": "listened", "lines": [0, 1, 2]}]


def test_what_cannot_be_changed_keeps_its_doubts(page: Any, sound: str) -> None:
    show(page, sound=sound, lines=DOUBTFUL, editable=False)
    page.locator(".play").click()
    page.locator(".clock", has_text="0:03").wait_for()
    assert sent(page) == []


def test_what_cannot_be_changed_offers_no_change(page: Any) -> None:
    show(page, editable=False, changed=True)
    assert page.locator(".pen").count() == 0
    assert [page.locator(name).is_hidden() for name in (".with", ".replace", ".undo")] == [True] * 3
    page.locator(".line").first.dblclick()
    assert page.locator(".editor").count() == 0
    show(page)  # once nothing is recognised any more
    assert page.locator(".pen").count() == len(LINES)


@pytest.mark.parametrize(
    ("lines", "changed", "hidden"), [(LINES, False, False), ([], False, True), ([], True, False)]
)
def test_there_is_nothing_to_find_where_there_are_no_lines(
    page: Any, lines: Any, changed: bool, hidden: bool
) -> None:
    show(page, lines=lines, changed=changed)
    assert page.locator(".finder").is_hidden() == hidden
    assert page.locator(".lines").is_hidden() == (not lines)
    assert page.locator(".undo").is_disabled() == (not changed)
    assert page.locator(".player").is_hidden() and page.locator(".wave").is_hidden()


def test_every_button_says_what_it_does(page: Any) -> None:
    show(page)
    words = WORDS
    for name in ("play", "speed", "in", "out", "previous", "next", "undo"):
        found = page.locator(f".{name}")
        assert (found.get_attribute("title"), found.get_attribute("aria-label")) == (words[name], words[name])
    assert page.locator("canvas").get_attribute("aria-label") == words["wave"]
    assert page.locator("input.search:not(.with)").get_attribute("placeholder") == words["search"]
    assert page.locator(".with").get_attribute("placeholder") == words["with"]
    assert page.locator(".pen").first.get_attribute("aria-label") == words["edit"]


def test_only_what_changed_is_drawn_anew(page: Any) -> None:
    show(page)
    page.evaluate("() => document.querySelectorAll('.line').forEach((row, at) => { row.old = at; })")
    changed = [LINES[0], [2.0, 3.0, "other words", [], [None] * 4, None, None], LINES[2]]
    show(page, lines=changed)
    old = "() => [...document.querySelectorAll('.line')].map((row) => row.old ?? null)"
    assert page.evaluate(old) == [0, None, 2]
    assert texts(page, ".line > .text") == ["Hello big world", "other words", "the end"]
    show(page, lines=changed[1:])
    assert page.evaluate(old) == [None, 2]
    page.locator(".pen").last.click()
    page.locator(".editor .remove").click()
    assert sent(page) == [{"action": "remove", "line": 1}]  # as they are numbered now


def many(count: int) -> list[list[Any]]:
    """Lines of a tenth of a second."""
    return [[n / 10, (n + 1) / 10, f"line {n}", [], [None] * 4, None, None] for n in range(count)]


def test_who_reads_the_end_follows_what_comes_and_nobody_else(page: Any) -> None:
    end = "() => { const l = document.querySelector('.lines'); return l.scrollHeight - l.clientHeight - l.scrollTop; }"
    scroll = "to => { document.querySelector('.lines').scrollTop = to; }"
    show(page, growing=True, lines=many(60))
    assert page.evaluate(end) > 100  # who has just come begins at the top
    page.evaluate(scroll, 1e6)
    show(page, growing=True, lines=many(70))
    assert page.evaluate(end) < 2
    page.evaluate(scroll, 0)
    show(page, growing=True, lines=many(75))
    assert page.evaluate("() => document.querySelector('.lines').scrollTop") == 0
    page.evaluate(scroll, 1e6)
    show(page, lines=many(80))
    assert page.evaluate(end) > 50


# --- playing -------------------------------------------------------------------------------------


def test_a_line_plays_from_its_beginning_and_a_word_from_its_own(page: Any, sound: str) -> None:
    show(page, sound=sound)
    page.locator(".line .time").nth(1).click()
    assert 2.0 <= played(page) < 3.0
    page.wait_for_function("() => !document.querySelector('audio').paused")
    page.locator(".line").first.hover()
    page.locator(".word", has_text="big").click()
    assert 0.5 <= played(page) < 1.5
    page.locator(".play", has_text="❚❚").click()
    page.locator(".play", has_text="▶").wait_for()


def test_what_is_heard_is_in_sight_unless_somebody_reads_elsewhere(page: Any, sound: str) -> None:
    show(page, sound=sound, lines=many(80))
    page.evaluate(
        "() => { window.moves = []; document.querySelector('.lines').scrollTo = (to) => moves.push(to); }"
    )
    seek(page, 4.05)
    page.locator(".line.now", has_text="line 40").wait_for()
    assert page.evaluate("() => moves") == []  # nothing is playing
    page.locator(".play").click()
    page.wait_for_function("() => moves.length > 0")
    page.locator(".lines").dispatch_event("wheel")
    page.evaluate("() => { moves.length = 0; }")
    seek(page, 1.05)
    page.locator(".line.now", has_text="line 1").wait_for()
    assert page.evaluate("() => moves") == []


def test_who_marks_a_text_hears_nothing(page: Any, sound: str) -> None:
    show(page, sound=sound)
    page.evaluate("""() => {
      const text = document.querySelectorAll(".line > .text")[1];
      getSelection().selectAllChildren(text);
      text.click();
    }""")
    assert played(page) == 0 and page.evaluate("() => document.querySelector('audio').paused")
    page.evaluate("() => getSelection().removeAllRanges()")


def test_without_a_sound_nothing_plays(page: Any) -> None:
    show(page)
    page.locator(".line .time").nth(1).click()
    assert played(page) == 0 and page.evaluate("() => document.querySelector('audio').paused")


@pytest.mark.parametrize(
    ("at", "now", "word"),
    [(0.7, "Hello big world", "big"), (1.7, None, None), (2.5, "hello again", None), (5, None, None)],
)
def test_the_line_and_the_word_that_are_heard_are_marked(
    page: Any, sound: str, at: float, now: str | None, word: str | None
) -> None:
    show(page, sound=sound)
    seek(page, at)
    page.locator(".clock", has_text=f"0:0{int(at)} / 0:08").wait_for()
    if word:  # the clock alone stood so before
        page.locator(".word.now", has_text=word).wait_for()
    assert texts(page, ".line.now > .text") == ([now] if now else [])
    assert texts(page, ".word.now") == ([word] if word else [])


def test_nothing_is_marked_before_anything_was_played(page: Any, sound: str) -> None:
    show(page, sound=sound, lines=[[0.0, 1.0, "at once", [], [None] * 4, None, None]])
    assert texts(page, ".clock") == ["0:00 / 0:08"] and texts(page, ".line.now") == []


def test_speed(page: Any, sound: str) -> None:
    show(page, sound=sound)
    page.locator(".speed").select_option("1.5")
    assert page.evaluate("() => document.querySelector('audio').playbackRate") == 1.5


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Four seconds of a black picture."""
    path = write_film(tmp_path_factory.mktemp("film") / "a.webm", 4.0, "libvpx", "libopus")
    return f"data:video/webm;base64,{base64.b64encode(path.read_bytes()).decode()}"


def test_a_video_of_the_page_plays_instead_of_the_sound_alone(page: Any, sound: str, film: str) -> None:
    show(page, sound=sound, film=".film video")  # it comes later
    page.locator(".speed").select_option("0.75")
    page.locator(".play").click()
    page.wait_for_function("() => !document.querySelector('audio').paused")
    page.evaluate(
        "src => { document.body.insertAdjacentHTML('beforeend', `<p class=film><video src='${src}'></video></p>`); }",
        film,
    )
    page.wait_for_function("() => document.querySelector('video').playbackRate === 0.75")
    assert page.evaluate("() => document.querySelector('audio').paused")  # never both
    page.locator(".line .time").nth(1).click()
    page.wait_for_function("() => !document.querySelector('video').paused")
    assert 2.0 <= page.evaluate("() => document.querySelector('video').currentTime") < 3.0
    page.locator(".line.now", has_text="hello again").wait_for()
    page.locator(".play", has_text="❚❚").click()
    assert page.evaluate("() => document.querySelector('video').paused")
    show(page, sound=sound, film="")  # another recording
    page.locator(".line .time").nth(1).click()
    page.wait_for_function("() => !document.querySelector('audio').paused")


def test_space_plays_and_letters_stay_where_they_are_typed(page: Any, sound: str) -> None:
    show(page, sound=sound)
    page.evaluate("() => { window.heard = []; document.body.onkeydown = (event) => heard.push(event.key); }")
    page.locator(".lines").press(" ")
    page.locator(".play", has_text="❚❚").wait_for()
    page.locator(".lines").press(" ")
    page.locator(".play", has_text="▶").wait_for()
    page.locator(".pen").first.click()
    for field in (".editor textarea", "input.search:not(.with)"):
        page.locator(field).press("r")
    assert page.evaluate("() => heard") == [" ", " "]
    assert page.locator(".editor textarea").input_value() == "Hello big worldr"


# --- the waveform --------------------------------------------------------------------------------


def column(page: Any, share: float) -> list[list[int]]:
    """The pixels of the waveform at a share of its width, from the top down, as red, green, blue and how opaque."""
    pixels: list[int] = page.evaluate(
        """share => {
          const canvas = document.querySelector("canvas");
          const x = Math.round(share * canvas.width);
          return [...canvas.getContext("2d").getImageData(x, 0, 1, canvas.height).data];
        }""",
        share,
    )
    return [pixels[at : at + 4] for at in range(0, len(pixels), 4)]


def test_the_waveform_is_as_loud_as_the_sound_and_coloured_as_its_lines(page: Any, sound: str) -> None:
    show(page, sound=sound, peaks=[[-50, 50]] * 40 + [[-10, 10]] * 40)
    black = [sum(pixel == [0, 0, 0, 255] for pixel in column(page, share)) for share in (0.2, 0.9)]
    assert black[0] > 80 and 10 < black[1] < 30
    assert column(page, 0.9)[0][3] == 0  # no line is said there
    (*_, blue, some), (red, green, *_) = column(page, 0.1)[1], column(page, 0.3)[1]
    assert blue == 255 and 0 < some < 255 and red > green > 0  # the second line is in doubt
    seek(page, 4.0)
    page.locator(".clock", has_text="0:04").wait_for()
    assert column(page, 0.5)[0] == [255, 0, 0, 255]  # where it is


def test_a_click_on_the_waveform_goes_there_and_its_buttons_magnify_it(page: Any, sound: str) -> None:
    show(page, sound=sound, peaks=[[-50, 50]] * 80)
    canvas = page.locator("canvas")
    canvas.click(position={"x": 200, "y": 50})
    assert played(page) == pytest.approx(4.0, abs=0.05)
    page.locator(".in").click()  # two of the eight seconds, around what is heard
    canvas.click(position={"x": 300, "y": 50})
    assert played(page) == pytest.approx(4.5, abs=0.05)
    page.locator(".out").click()
    page.locator(".out").click()  # there is no less than all of it
    canvas.click(position={"x": 100, "y": 50})
    assert played(page) == pytest.approx(2.0, abs=0.05)


# --- searching -----------------------------------------------------------------------------------


def test_what_is_searched_is_marked_counted_and_gone_through(page: Any) -> None:
    show(page)
    field = page.locator("input.search:not(.with)")
    assert page.locator(".next").is_disabled() and texts(page, ".found") == [""]
    field.fill("HELLO")
    assert texts(page, ".found") == ["1 of 2"] and texts(page, "mark") == ["Hello", "hello"]
    assert texts(page, ".line.hit > .text") == ["Hello big world"]
    for press, count in (("Enter", "2 of 2"), ("Enter", "1 of 2"), ("Shift+Enter", "2 of 2")):
        field.press(press)
        assert texts(page, ".found") == [count]
    page.locator(".next").click()
    page.locator(".previous").click()
    assert texts(page, ".found") == ["2 of 2"] and texts(page, ".line.hit > .text") == ["hello again"]
    field.fill("nowhere")
    assert texts(page, ".found") == ["not found"] and texts(page, "mark") == texts(page, ".line.hit") == []
    assert page.locator(".replace").is_disabled() and texts(page, ".line > .text")[0] == "Hello big world"


def test_everywhere_it_is_found_in_a_line_is_marked(page: Any) -> None:
    show(page, lines=[[0.0, 1.0, "an <b>an</b> an", [], [None] * 4, None, None]])
    page.locator("input.search:not(.with)").fill("an")
    assert texts(page, "mark") == ["an", "an", "an"] and texts(page, ".line > .text") == ["an <b>an</b> an"]
    assert texts(page, ".found") == ["1 of 3"]
    page.locator(".previous").click()
    assert texts(page, ".found") == ["3 of 3"] and page.locator("mark.hit").count() == 1
    show(
        page, lines=[[0.0, 1.0, "an end", [], [None] * 4, None, None]], version=4
    )  # somebody replaced the others
    assert texts(page, ".found") == ["1 of 1"] and texts(page, "mark.hit") == ["an"]


def test_replacing_is_asked_of_the_page(page: Any) -> None:
    show(page)
    page.locator("input.search:not(.with)").fill("hello")
    page.locator(".with").fill("Goodbye")
    page.locator(".replace").click()
    assert sent(page) == [{"action": "replace", "find": "hello", "with": "Goodbye"}]


def test_undo_is_asked_of_the_page(page: Any) -> None:
    show(page, changed=True)
    page.locator(".undo").click()
    assert sent(page) == [{"action": "undo"}]


# --- editing -------------------------------------------------------------------------------------


def fields(page: Any) -> tuple[str, str, str]:
    one, two, three = (page.locator(f".editor {name}").input_value() for name in ("textarea", ".from", ".to"))
    return one, two, three


def test_a_line_is_opened_with_its_text_its_times_and_what_is_known_of_it(page: Any) -> None:
    show(page)
    page.locator(".line").first.dblclick()
    assert fields(page) == ("Hello big world", "0:00.120", "0:01.500")
    names = WORDS["facts"]
    assert texts(page, ".facts") == [f"{names[0]}-0.23 · {names[1]}0.1 · {names[2]}2"]
    assert page.locator(".line").first.locator("> .text").is_hidden()
    page.locator(".pen").nth(1).click()  # one at a time
    assert page.locator(".editor").count() == 1 and fields(page)[0] == "hello again"
    why = WORDS["doubts"]
    assert texts(page, ".facts") == [f"{why['unsure']} · {why['silence']}"]


@pytest.mark.parametrize("way", ["button", "Control+Enter"])
def test_a_change_is_saved(page: Any, way: str) -> None:
    show(page)
    page.locator(".pen").nth(1).click()
    page.locator(".editor textarea").fill("so long")
    page.locator(".editor .from").fill(" 0：02,25 ")  # as a Chinese keyboard writes it
    page.locator(".editor .to").fill("0:0:3.5")
    if way == "button":
        page.locator(".editor .main").click()
    else:
        page.locator(".editor textarea").press(way)
    assert sent(page) == [{"action": "save", "line": 1, "text": "so long", "start": 2.25, "end": 3.5}]


@pytest.mark.parametrize("time", ["", "x", "1:2:3:4", "-1", "1:"])
def test_a_time_that_is_none_is_marked_and_not_sent(page: Any, time: str) -> None:
    show(page)
    page.locator(".pen").first.click()
    page.locator(".editor .to").fill(time)
    page.locator(".editor .main").click()
    assert sent(page) == [] and page.locator(".editor .to.wrong").count() == 1
    assert page.locator(".editor .from.wrong").count() == 0


@pytest.mark.parametrize("way", ["button", "Escape"])
def test_a_change_is_given_up(page: Any, way: str) -> None:
    show(page)
    page.locator(".pen").first.click()
    page.locator(".editor textarea").fill("never")
    if way == "button":
        page.locator(".editor .cancel").click()
    else:
        page.locator(".editor textarea").press(way)
    assert page.locator(".editor").count() == 0 and sent(page) == []
    assert page.locator(".line").first.locator("> .text").is_visible()
    assert texts(page, ".line > .text")[0] == "Hello big world"


def test_a_line_is_split_at_the_cursor(page: Any) -> None:
    show(page)
    page.locator(".pen").first.click()
    page.locator(".editor textarea").fill("  Hello   big world")
    page.evaluate(
        "() => document.querySelector('textarea').setSelectionRange(10, 10)"
    )  # behind all the spaces
    page.locator(".editor .split").click()
    (event,) = sent(page)
    assert (event["action"], event["line"], event["position"]) == ("split", 0, len("Hello "))
    assert event["text"] == "  Hello   big world"  # what was typed goes along


def test_lines_are_joined_heard_again_and_deleted(page: Any) -> None:
    show(page)
    page.locator(".pen").nth(1).click()
    for name in ("merge", "again", "remove"):
        page.locator(f".editor .{name}").click()
    merged, *others = sent(page)
    assert merged == {"action": "merge", "line": 1, "text": "hello again", "start": 2, "end": 3}
    assert others == [{"action": "again", "line": 1}, {"action": "remove", "line": 1}]


def test_what_cannot_be_done_now_is_not_offered(page: Any) -> None:
    show(page, again=False)
    page.locator(".pen").last.click()
    assert page.locator(".editor .merge").is_disabled() and page.locator(".editor .again").is_disabled()
    assert page.locator(".editor .remove").is_enabled()


def test_a_refused_change_stays_open_and_others_close_it(page: Any) -> None:
    show(page)
    assert page.locator(".error").is_hidden()
    page.locator(".pen").first.click()
    page.locator(".editor textarea").fill("mine")
    show(page, error="Not like this.")
    assert page.locator(".error").text_content() == "Not like this." and page.locator(".error").is_visible()
    assert fields(page)[0] == "mine"
    show(page, version=4)
    assert page.locator(".editor").count() == 0 and page.locator(".error").is_hidden()
