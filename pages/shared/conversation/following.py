"""The browser's half of a conversation: the page follows the answer that comes, and the keyboard works.

What was just asked is scrolled into view, and so is what is written, unless the reader has scrolled away: then a
button leads down again. Esc stops an answer; the message field has the focus at the beginning and after an answer.
"""

from collections.abc import Callable

import streamlit as st

from pages.shared.language import tr

HTML = '<button class="down" type="button" hidden>↓</button>'
CSS = """
.down {
  position: absolute; right: 0; bottom: 1rem; width: 2.5rem; height: 2.5rem; border-radius: 50%;
  cursor: pointer; font: inherit; color: var(--st-text-color); background: var(--st-background-color);
  border: 1px solid var(--st-border-color); box-shadow: 0 2px 6px rgb(0 0 0 / .15);
}
.down[hidden] { display: none; }
"""
# It floats over the end of the conversation, and takes no line of its own.
STYLE = """<style>
:has(> [class*="st-key-following-"]) { position: relative; height: 0; margin-bottom: -1rem; }
[class*="st-key-following-"] { position: absolute; right: 0; bottom: 0; width: auto; z-index: 1; }
</style>"""
JS = """
const NEAR = 48;  // pixels from the end that still count as there
const SETTLING = 1500;  // milliseconds in which a question that was asked, or a page, is drawn

export default function ({ data, parentElement, setTriggerValue }) {
  const button = parentElement.querySelector(".down");
  button.following ??= following(button);
  button.following(data, setTriggerValue);
}

function following(button) {
  const find = (name) => document.querySelector(`[data-testid="${name}"]`);
  const scroller = find("stAppScrollToBottomContainer") ?? find("stMain");
  const gone = new AbortController();
  let data, send;  // of the last update
  let stays = true;  // at the end
  let before = scroller.scrollTop, until = 0;

  // Streamlit shows the end of every page with a message field: without messages that is its beginning cut off.
  const settled = Date.now() + SETTLING;
  const isNew = () => Date.now() < settled && !document.querySelector('[data-testid="stChatMessage"]');
  const isNear = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR;
  const down = () => { stays = true; scroller.scrollTop = scroller.scrollHeight; };
  const look = () => {
    if (!button.isConnected) { gone.abort(); resized.disconnect(); return false; }
    return true;
  };
  const scrolled = () => {
    if (!look()) return;
    if (isNew() && !data?.answering) scroller.scrollTop = 0;
    if (isNear()) stays = true;
    else if (scroller.scrollTop < before - 1) stays = false;
    before = scroller.scrollTop;
    button.hidden = isNear();
  };
  const resized = new ResizeObserver(() => {
    if (!look()) return;
    if (stays && (data?.answering || Date.now() < until)) down();
    else if (isNew()) scroller.scrollTop = 0;
    button.hidden = isNear();
  });
  const observed = [scroller, ...scroller.children];
  observed.forEach((part) => resized.observe(part));
  scroller.addEventListener("scroll", scrolled, { signal: gone.signal, passive: true });
  button.onclick = down;

  document.addEventListener("keydown", (event) => {
    if (!look() || event.key !== "Escape" || event.isComposing || event.defaultPrevented) return;
    // In a dialog or an open list Esc closes that.
    if (data?.answering && !document.querySelector('[role="dialog"], [role="listbox"]')) send("stop", Date.now());
  }, { signal: gone.signal });

  // On a phone this would open the keyboard. What somebody is doing elsewhere is not interrupted.
  const focus = () => {
    const active = document.activeElement;
    const idle = !active || active === document.body || active.closest('[data-testid="stPageLink"]');
    if (!look() || !idle || !matchMedia("(pointer: fine)").matches) return;
    const field = find("stChatInputTextArea");
    field?.focus({ preventScroll: true });
    if (!field || document.activeElement !== field) setTimeout(focus, 100);  // it is drawn, or enabled, later
  };

  return (newData, newSend) => {
    const known = data;
    data = newData; send = newSend;
    button.setAttribute("aria-label", data.label);
    button.title = data.label;
    if (!known || known.answering && !data.answering) setTimeout(focus);
    if (known ? data.begun !== known.begun : data.answering) {
      until = Date.now() + SETTLING;
      down();
    }
  };
}
"""


def follow(key: str, begun: int, answering: bool, stop: Callable[[], None]) -> None:
    """Mount it; one question more was `begun` to be answered than the last time: it is scrolled into view."""
    mount = st.components.v2.component("quintet_following", html=HTML, css=CSS, js=JS)
    with st.container(key=f"following-{key}"):
        st.html(STYLE)
        mount(
            key=f"{key}.following",
            data={
                "begun": begun,
                "answering": answering,
                "label": tr("To the newest message", "回到最新消息"),
            },
            on_stop_change=stop,
        )
