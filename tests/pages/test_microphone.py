"""The microphone's side of live text, in a browser alone: every piece arrives, and says when it is the last."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from pages.shared.speech.live import _labels
from pages.shared.speech.microphone import CSS, HTML, JS

pytestmark = pytest.mark.browser

RATE = 16_000
# What the server does: keep the pieces that are new, and say how many they are.
SERVER = """
window.server = { sent: [], pieces: [], over: false, run: "", answers: true, stop: false };
window.update = () => microphone.default({
  parentElement: document.body,
  data: { run: server.run, acknowledged: server.pieces.length, over: server.over, stop: server.stop, ready: !server.run || server.over,
          text: "", tentative: "", labels: LABELS },
  setTriggerValue: (name, message) => {
    server.sent.push(message);
    if (!server.answers) return;
    server.run = message.run;
    server.pieces.push(...message.pieces.slice(server.pieces.length - message.first));
    server.over = message.over;
    setTimeout(update);
  },
});
update();
"""


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A page with the component alone."""
    context = chromium.new_context(permissions=["microphone"])
    page = context.new_page()
    whole = f"<style>{CSS}</style>{HTML}"
    page.route("http://localhost/", lambda route: route.fulfill(body=whole, content_type="text/html"))
    page.route("**/mic.js", lambda route: route.fulfill(body=JS, content_type="text/javascript"))
    page.goto("http://localhost/")
    page.evaluate("async () => { window.microphone = await import('/mic.js'); }")
    page.evaluate(SERVER.replace("LABELS", str(_labels())))
    yield page
    context.close()


def seconds(page: Any) -> float:
    """Of the sound that the server has."""
    pieces = page.evaluate("() => server.pieces")
    return sum(len(base64.b64decode(piece)) for piece in pieces) / 2 / RATE


def wait_for_pieces(page: Any, count: int) -> None:
    page.wait_for_function("count => server.pieces.length >= count", arg=count)


def test_it_is_over_when_somebody_stops_and_not_before(page: Any) -> None:
    page.evaluate("() => setInterval(update, 1)")  # the page is drawn again while the microphone opens
    page.locator(".start").click()
    wait_for_pieces(page, 2)
    assert not any(message["over"] for message in page.evaluate("() => server.sent"))
    assert page.locator(".start").is_disabled() and page.locator(".stop").is_enabled()
    page.locator(".stop").click()
    page.wait_for_function("() => server.over")
    assert [message["over"] for message in page.evaluate("() => server.sent")].index(True) > 0
    page.locator(".start:enabled").wait_for()


def test_what_was_said_just_before_somebody_stops_arrives(page: Any) -> None:
    page.locator(".start").click()
    wait_for_pieces(page, 1)
    had = seconds(page)
    # The page has no time for 3 seconds, and then it is stopped at once.
    page.evaluate("""() => {
      for (const until = Date.now() + 3000; Date.now() < until;);
      document.querySelector(".stop").onclick();
    }""")
    page.wait_for_function("() => server.over")
    assert seconds(page) - had > 1.5


def test_pieces_wait_while_the_server_is_busy_and_all_arrive(page: Any) -> None:
    page.locator(".start").click()
    wait_for_pieces(page, 1)
    page.evaluate("() => { server.answers = false; }")
    page.wait_for_function("() => server.sent.length > 3")  # sent again and again
    page.locator(".stop").click()
    assert page.locator(".start").is_disabled()  # a new recording would forget this one
    page.evaluate("() => { server.answers = true; }")
    page.wait_for_function("() => server.over")
    sent = page.evaluate("() => server.sent")
    assert max(message["first"] + len(message["pieces"]) for message in sent) == page.evaluate(
        "() => server.pieces.length"
    )
    minutes, rest = page.locator(".clock").inner_text().split(":")
    assert seconds(page) >= 60 * int(minutes) + int(rest) > 5  # all that was recorded


def test_a_microphone_that_is_refused_says_so_and_can_be_tried_again(chromium: Any, page: Any) -> None:
    page.evaluate("""() => {
      const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async () => {
        navigator.mediaDevices.getUserMedia = open;
        throw new DOMException("no", "NotAllowedError");
      };
    }""")
    page.locator(".start").click()
    page.get_by_text("was not allowed to use the microphone").wait_for()
    page.locator(".start:enabled").click()
    wait_for_pieces(page, 1)
    assert page.locator(".notice").inner_text() == ""


def test_what_arrived_in_part_is_sent_on_from_there(page: Any) -> None:
    page.locator(".start").click()
    wait_for_pieces(page, 1)
    page.evaluate("() => { server.answers = false; }")
    page.wait_for_function("() => server.sent.at(-1).pieces.length >= 3")
    kept, sent = page.evaluate("""() => {
      const { first, pieces } = server.sent.at(-1);
      server.pieces.push(pieces[0]);
      update();
      const next = server.sent.at(-1);
      return [[first + 1, ...pieces.slice(1, 3)], [next.first, ...next.pieces.slice(0, 2)]];
    }""")
    assert sent == kept


# What the browser gave, to be looked at.
KEEP = """() => {
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (asked) => {
    window.tracks = (await open(asked)).getTracks();
    return new MediaStream(tracks);
  };
}"""
CLOSED = "() => tracks.every((track) => track.readyState === 'ended')"


@pytest.mark.parametrize(
    "end",
    [
        "document.querySelector('.stop').click()",
        "server.stop = true; update()",  # the page takes no more
        "tracks[0].onended()",  # it was unplugged
        "document.querySelector('.live').remove()",  # another page is shown
    ],
)
def test_the_microphone_is_given_back(page: Any, end: str) -> None:
    page.evaluate(KEEP)
    page.locator(".start").click()
    wait_for_pieces(page, 1)
    assert not page.evaluate(CLOSED)
    page.evaluate(f"() => {{ {end}; }}")
    page.wait_for_function(CLOSED)
    if "remove" not in end:
        page.wait_for_function("() => server.over")
        assert page.locator(".level").evaluate("level => level.style.width") in ("0", "0px")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NotAllowedError", "denied"), ("SecurityError", "insecure"), ("NotFoundError", "missing"),
        ("NotReadableError", "failed"),
    ],
)  # fmt: skip
def test_why_there_is_no_microphone(page: Any, name: str, said: str) -> None:
    page.evaluate(
        """name => {
          navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("no", name); };
        }""",
        name,
    )
    page.locator(".start").click()
    page.locator(".notice:not(:empty)").wait_for()
    assert page.locator(".notice").inner_text() == _labels()[said]
    assert page.locator(".start").is_enabled() and page.locator(".stop").is_disabled()


def test_a_page_that_gets_no_microphone_at_all_says_where_it_would(page: Any) -> None:
    page.evaluate("() => Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    page.locator(".start").click()
    assert page.locator(".notice").inner_text() == _labels()["insecure"]
