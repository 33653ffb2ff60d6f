"""The browser's side of a region, in a browser alone: what is drawn while somebody drags, and what is sent."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from pages.shared.vision.region import CSS, HTML, JS
from tests.fakes.browser import component_page
from tests.fakes.pictures import DOT

pytestmark = pytest.mark.browser

PICTURE = f"data:image/png;base64,{base64.b64encode(DOT).decode()}"
# What the page does: give the component what it shows, and take what was drawn.
SHOW = """
box => {
  window.sent ??= [];
  region.default({
    data: { picture: PICTURE, box, alt: "drag here" },
    parentElement: document.body,
    setTriggerValue: (name, value) => sent.push([name, value]),
  });
}
""".replace("PICTURE", repr(PICTURE))
SIDE = 500  # pixels of the picture, which begins at (100, 50)


@pytest.fixture(scope="module")
def browser_page(chromium: Any) -> Iterator[Any]:
    with component_page(chromium, "region", JS) as page:
        yield page


@pytest.fixture
def page(browser_page: Any) -> Any:
    place = f"position: absolute; left: 100px; top: 50px; width: {SIDE}px"
    sized = f"<style>{CSS} img {{ height: {SIDE}px }}</style><div style='{place}'>{HTML}</div>"
    browser_page.evaluate("html => { document.body.innerHTML = html; window.sent = []; }", sized)
    browser_page.evaluate(SHOW, [250, 100, 750, 900])
    browser_page.wait_for_function("() => document.querySelector('img').complete")
    return browser_page


def drawn(page: Any) -> list[str]:
    """Where the box is: left, top, width and height."""
    style = (
        "() => { const s = document.querySelector('.box').style; return [s.left, s.top, s.width, s.height]; }"
    )
    found: list[str] = page.evaluate(style)
    return found


def press(page: Any, x: float, y: float) -> None:
    """At thousandths of the picture."""
    page.mouse.move(100 + x * SIDE / 1000, 50 + y * SIDE / 1000)
    page.mouse.down()


def move(page: Any, x: float, y: float) -> None:
    page.mouse.move(100 + x * SIDE / 1000, 50 + y * SIDE / 1000)


def test_the_picture_is_shown_with_the_region_that_is_chosen(page: Any) -> None:
    image = page.locator("img")
    assert (image.get_attribute("src"), image.get_attribute("alt")) == (PICTURE, "drag here")
    assert drawn(page) == ["25%", "10%", "50%", "80%"]
    page.evaluate(SHOW, [0, 0, 999, 500])  # by the sliders
    assert drawn(page) == ["0%", "0%", "99.9%", "50%"]


@pytest.mark.parametrize(
    ("first", "last", "region"),
    [
        ((100, 200), (600, 800), [100, 200, 600, 800]),
        ((600, 800), (100, 200), [100, 200, 600, 800]),
        ((600, 200), (100, 800), [100, 200, 600, 800]),
        ((500, 500), (1150, -60), [500, 0, 999, 500]),  # beyond the picture
        ((500, 500), (-60, 1050), [0, 500, 500, 999]),
    ],
)
def test_what_is_dragged_is_drawn_meanwhile_and_sent_at_the_end(
    page: Any, first: tuple[int, int], last: tuple[int, int], region: list[int]
) -> None:
    press(page, *first)
    move(page, *last)
    left, top, right, bottom = region
    sides = [left / 10, top / 10, (right - left) / 10, (bottom - top) / 10]
    assert [float(side.rstrip("%")) for side in drawn(page)] == pytest.approx(sides)
    assert page.evaluate("() => sent") == []
    page.mouse.up()
    assert page.evaluate("() => sent") == [["drawn", region]]
    move(page, 300, 300)  # it is over
    page.mouse.up()
    assert len(page.evaluate("() => sent")) == 1
    assert [float(side.rstrip("%")) for side in drawn(page)] == pytest.approx(sides)


@pytest.mark.parametrize("last", [(500, 500), (504, 700), (700, 504)])
def test_a_click_is_no_region(page: Any, last: tuple[int, int]) -> None:
    press(page, 500, 500)
    move(page, *last)
    page.mouse.up()
    assert page.evaluate("() => sent") == [] and drawn(page) == ["25%", "10%", "50%", "80%"]


def test_what_the_system_takes_over_is_given_up(page: Any) -> None:
    """As a phone does that begins to scroll."""
    press(page, 100, 100)
    move(page, 300, 300)
    page.evaluate("() => document.querySelector('.picture').dispatchEvent(new PointerEvent('pointercancel'))")
    assert drawn(page) == ["25%", "10%", "50%", "80%"]
    page.mouse.up()
    assert page.evaluate("() => sent") == []
