"""A visitor of the pages, without a browser: what is clicked, typed and read. Fixture `stage` is under it."""

import re
from collections.abc import Iterator
from typing import Any

from streamlit.testing.v1 import AppTest

from models import loader
from models.jobs import Job
from models.store.opening import open_store
from models.store.things import Kind, Thing
from pages.shared import frame
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.turns import Step
from tests.fakes.paths import ROOT
from tests.fakes.waiting import WAIT

APP = str(ROOT / "app.py")
PAGES = tuple(page.family for page in frame.PAGES)

# A tool whose result a person types.
STOCK = "name: get_stock\nparameters: {type: object, properties: {article: {type: string}}}"


def visit(page: str = "llama2", locale: str = "en-US") -> AppTest:
    """A new visitor on a page."""
    at = AppTest.from_file(APP, default_timeout=WAIT)
    at.context["locale"] = locale
    alive(at.run())
    return at if page == PAGES[0] else to(at, page)


def to(at: AppTest, page: str) -> AppTest:
    alive(at.switch_page(f"pages/{page}.py").run())
    return at


def alive(at: AppTest) -> AppTest:
    assert not at.exception, [error.value for error in at.exception]
    return at


def works(at: AppTest) -> list[Job[Any, Any]]:
    """The answers, texts and loads that are under way. (A session here looks only at what is asked for.)"""
    state = at.session_state
    found = list(state["held.answers"]._works.values()) if "held.answers" in state else []
    found += [state[name].work for name in (f"held.{page}.draft" for page in PAGES) if name in state]
    found += [state[name].job for name in (f"{page}.load" for page in PAGES) if name in state]
    return [work for work in found if work is not None]


def settle(at: AppTest) -> AppTest:
    """Wait for what is under way, and draw the page that the browser would then ask for."""
    while begun := works(at):
        for work in begun:
            assert work.wait(WAIT)
        alive(at.run())
        if works(at) == begun:  # stopped: nobody asks any more
            break
    return alive(at)


def ask(at: AppTest, text: str) -> AppTest:
    return settle(at.chat_input[0].set_value(text).run())


def click(at: AppTest, key: str) -> AppTest:
    return settle(at.button(key=key).click().run())


def edit(at: AppTest, text: str, button: str) -> AppTest:
    """Fill the form of an edited question and press a button of it."""
    next(area for area in at.text_area if area.label == "Your message").set_value(text)
    return settle(next(found for found in at.button if found.label == button).click().run())


def keys(at: AppTest) -> set[str]:
    return {button.key for button in at.button}


def sentences(at: AppTest) -> list[str]:
    return [element.value for element in at.error]


def conversation(at: AppTest, family: str = "llama2") -> Conversation:
    found: Conversation = at.session_state[f"{family}.conversation"]
    return found


def said(at: AppTest) -> list[tuple[str, list[str]]]:
    """Questions and their answers, as the session holds them."""
    return [(turn.question, [answer.text for answer in turn.answers]) for turn in conversation(at).turns]


def shown(at: AppTest) -> list[str]:
    """The first text of every message on the page."""
    return [message.markdown[0].value for message in at.chat_message if message.markdown]


def captions(at: AppTest) -> str:
    return "\n".join(caption.value for caption in at.caption)


def engine(at: AppTest) -> Any:
    (only,) = loader.shared().loaded()
    return only


def choose(at: AppTest, name: str, page: str = "llama2") -> AppTest:
    """Type a name or a path where the checkpoint is chosen."""
    box = at.selectbox(key=f"set.{page}.checkpoint")
    box.options.append(name)  # what the browser does with a new option
    return alive(box.set_value(name).run())


def imported(at: AppTest, content: bytes | str) -> AppTest:
    data = content if isinstance(content, bytes) else content.encode()
    return alive(at.file_uploader[0].upload("talk.json", data, "application/json").run())


# The same in both languages: names of things, and codes.
NAMES = re.compile(
    rf"English|中文|Language / 语言|{'|'.join(page.title for page in frame.PAGES)}|Qwen|CPU|Top [pk]|Min p|txt|srt|vtt|tsv|json|CSV|JSON|fake"
    r"|https://|★|:material/|\d|/|<div|fp32|bf16|int[48]"
)


def texts(at: AppTest) -> Iterator[str]:
    """Everything on a page that can be read: labels, helps, values, options."""
    for node in (*at.main, *at.sidebar):
        for spec, value in node.proto.ListFields() if hasattr(node, "proto") and node.proto else ():
            if spec.name in ("label", "help", "placeholder", "body", "text"):
                yield value
            elif spec.name == "options":
                yield from (getattr(option, "content", option) for option in value)


def untranslated(english: list[str], chinese: list[str]) -> list[str]:
    """Texts that are the same in both languages, and English left in the Chinese ones."""
    same = [text for text in english if text in chinese and text and not NAMES.match(text)]
    # Two English words in a row that are no name.
    return same + re.findall(r"\b(?:the|of|is|and|to|an?|in|or|this|it|you)\b +[a-z]+", "\n".join(chinese))


def in_mode(name: str) -> AppTest:
    at = visit("chatglm")
    return alive(at.segmented_control(key="set.chatglm.mode").set_value(name).run())


def steps(at: AppTest, mode: str) -> tuple[Step, ...]:
    return conversation(at, f"chatglm.{mode}").turns[-1].answers[-1].steps


# --- what is kept for a visitor (fixture `browser`) --------------------------------------------------

ADA, BOB = "a" * 43, "b" * 43  # secrets of two browsers


class Browser:
    """Whose cookie the visits come with."""

    secret = ADA


def again(at: AppTest) -> AppTest:
    return alive(at.run())


def listed(at: AppTest, key: str = "llama2") -> list[str]:
    """The titles of the list, from above."""
    return [button.label for button in _entries(at, key)]


def _entries(at: AppTest, key: str) -> list[Any]:
    return [button for button in at.button if str(button.key).startswith(f"{key}.open.")]


def open_listed(at: AppTest, title: str, key: str = "llama2") -> AppTest:
    button = next(button for button in _entries(at, key) if button.label == title)
    return alive(button.click().run())


def choose_from_menu(at: AppTest, title: str, action: str, key: str = "llama2") -> AppTest:
    """Of an entry of the list."""
    button = next(button for button in _entries(at, key) if button.label == title)
    menu = at.menu_button(key=str(button.key).replace(".open.", ".menu."))
    return alive(menu.set_value(action).run())


def named_in_address(at: AppTest) -> str:
    """The id of what the page shows."""
    value = at.query_params["c"]
    return value if isinstance(value, str) else value[0]


def sidebar(at: AppTest) -> str:
    kinds = (at.sidebar.caption, at.sidebar.warning, at.sidebar.info)
    return "\n".join(element.value for kind in kinds for element in kind)


def kept(kind: Kind = "conversation") -> list[Thing]:
    """All of that kind that the store has of the browser."""
    shelf = open_store().shelf(Browser.secret)
    return [thing for entry in shelf.entries(kind) if (thing := shelf.get(entry.id))]
