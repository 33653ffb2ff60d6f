"""The sidebar, one part of it at a time: what can be chosen, and what is refused, said and shown."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st

import models
from models.errors import BadInput, CheckpointNotFound, DoesNotFit
from models.schema import Checkpoint, Device, GiB, LoadReport, Text
from pages.shared import chat_page, frame, sidebar, widgets_style
from pages.shared.frame import PAGES, set_up_page
from pages.shared.loading import Choice
from tests.fakes.script import Rerun, record

pytestmark = pytest.mark.usefixtures("session")
ROW = Checkpoint("row", "llama2", "chat", "gguf", bytes=2 * GiB, context_length=8192)
CPU = Device("cpu", "Our processor", 8 * GiB, 8 * GiB, ("fp32", "int8"))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    return record(monkeypatch, "error", "warning", "caption")


def boxes(monkeypatch: pytest.MonkeyPatch, kind: str, answer: Any = None) -> list[dict[str, Any]]:
    """The widgets of this kind that are drawn; each gives `answer`."""
    found: list[dict[str, Any]] = []

    def draw(label: str, options: Any = (), **named: Any) -> Any:
        found.append({"label": label, "options": list(options), **named})
        return answer

    monkeypatch.setattr(st, kind, draw)
    return found


def choice(**facts: Any) -> Choice:
    given = {"checkpoint": ROW, "engine": None, "accepted": True, "fits": True, **facts}
    return Choice("llama2", "row", "cpu", "fp32", 128, **given)


# --- which checkpoint ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "label"),
    [
        ({}, "row · 2.0 GB"),
        ({"title": "Row 7B"}, "Row 7B · 2.0 GB"),
        ({"starter": True}, "★ row · 2.0 GB"),
        ({"gated": True, "starter": True}, "★ row · 2.0 GB · needs sign-in and licence"),
    ],
)
def test_a_checkpoint_is_called_by_title_and_size(facts: Any, label: str) -> None:
    assert sidebar._label(replace(ROW, **facts)) == label


@pytest.mark.parametrize("own", [None, "/somewhere/else.gguf"])
def test_what_is_offered_begins_with_the_operators_own(
    own: str | None, monkeypatch: pytest.MonkeyPatch, session: dict[str, Any]
) -> None:
    if own:
        monkeypatch.setenv("LLAMA2_MODEL_PATH", own)
    drawn = boxes(monkeypatch, "selectbox", None)
    first = own or models.catalog.default("llama2")
    assert sidebar._choose_checkpoint("llama2") == first == session["set.llama2.checkpoint"]
    (box,) = drawn
    rows = [row.name for row in models.catalog.family("llama2")]
    assert box["options"] == ([own, *rows] if own else rows) and box["accept_new_options"]
    assert box["format_func"]("anything") == "anything" and box["format_func"](rows[0]) != rows[0]
    session["llama2.failure"] = BadInput("Before.", "之前。")
    box["on_change"](*box["args"])
    assert "llama2.failure" not in session


def test_the_first_offer_follows_the_language_until_something_is_chosen(
    monkeypatch: pytest.MonkeyPatch, session: dict[str, Any]
) -> None:
    drawn = boxes(monkeypatch, "selectbox", None)
    offers = {language: models.catalog.default("llama2", language) for language in ("en", "zh")}
    assert offers["en"] != offers["zh"]
    for language in ("en", "zh", "en"):
        session["set.language"] = language
        sidebar._choose_checkpoint("llama2")
        assert session["set.llama2.checkpoint"] == offers[language]
    drawn[-1]["on_change"](*drawn[-1]["args"])  # this one was chosen
    session["set.language"] = "zh"
    sidebar._choose_checkpoint("llama2")
    assert session["set.llama2.checkpoint"] == offers["en"]


@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("whisper-base", []),
        ("/somewhere/with/a_long_name/else.gguf", ["/somewhere/with/a_long_name/else.gguf"]),
    ],
)
def test_a_name_longer_than_its_box_stands_below_it(
    name: str, below: list[str], monkeypatch: pytest.MonkeyPatch, said: list[tuple[str, Any]]
) -> None:
    boxes(monkeypatch, "selectbox", name)
    sidebar._choose_checkpoint("whisper")
    assert [text.replace("\\", "") for _, text in said] == below


def test_the_words_of_an_upload_are_replaced_on_a_chinese_page_only(
    monkeypatch: pytest.MonkeyPatch, session: dict[str, Any]
) -> None:
    drawn = record(monkeypatch, "html")
    for session["set.language"] in ("en", "zh"):
        widgets_style.show_style()
    english, chinese = (text for _, text in drawn)
    assert "上传" not in english and f"不超过 {st.get_option('server.maxUploadSize')} MB" in chinese


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "gemma-3-270m",
            "Gemma 3 270M (base) 只会写英文，用中文提问会答非所问。会中文的入门模型在 ChatGLM 页面。",
        ),
        ("smollm2-135m-instruct", "会中文的是 Qwen2.5 Coder 1.5B Instruct，可在侧边栏选择。"),
        ("qwen2.5-coder-1.5b-instruct", ""),
        ("chatglm3-tiny", ""),
        ("gemma-2b-it", ""),  # no starter: whoever chose it knows it
    ],
)
def test_a_chinese_page_says_which_starters_write_english_only(
    name: str, says: str, monkeypatch: pytest.MonkeyPatch, session: dict[str, Any]
) -> None:
    said = record(monkeypatch, "info")
    chat_page._explain_language(models.catalog.find(name))
    assert not said
    session["set.language"] = "zh"
    chat_page._explain_language(models.catalog.find(name))
    assert says in "".join(text for _, text in said) and bool(said) == bool(says)


@pytest.mark.parametrize(
    ("family", "kind", "format", "opens"),
    [
        ("llama2", "chat", "gguf", None),
        ("llama2", "completion", "gguf", None),
        ("llama2", "speech", "ctranslate2", "open the Whisper page"),
        ("llama2", "vision", "qwen-vl", "open the Qwen-VL page"),
        ("whisper", "speech", "ctranslate2", None),
        ("whisper", "chat", "gguf", "open a page for chat"),
        ("whisper", "completion", "gguf", "open a page for chat"),
        ("qwen_vl", "vision", "qwen-vl", None),
        ("qwen_vl", "chat", "transformers", "open a page for chat"),
        ("qwen_vl", "chat", "openai-api", None),  # whose models may see
        ("whisper", "chat", "openai-api", "open a page for chat"),
        ("whisper", "chat", "unknown", None),  # its files will tell
    ],
)
def test_each_page_takes_its_kind(
    family: str, kind: Any, format: str, opens: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = replace(ROW, kind=kind, format=format)
    monkeypatch.setattr(models.catalog, "allowed", lambda name: None)
    monkeypatch.setattr(sidebar, "loader", lambda: SimpleNamespace(describe=lambda name: row))
    found, error = sidebar._describe(family, "row")
    assert (found is row, error is None) == (opens is None, opens is None)
    assert opens is None or opens in str(error)


@pytest.mark.parametrize("where", ["allowed", "describe"])
def test_a_checkpoint_that_is_refused_is_said(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise CheckpointNotFound(f"No {name}.", "无。")

    allowed, describe = (refuse, None) if where == "allowed" else (lambda name: None, refuse)
    monkeypatch.setattr(models.catalog, "allowed", allowed)
    monkeypatch.setattr(sidebar, "loader", lambda: SimpleNamespace(describe=describe))
    found, error = sidebar._describe("llama2", "row")
    assert found is None and str(error) == "No row."


# --- where, how, and how long ----------------------------------------------------------------------


def test_each_precision_is_offered_once_and_those_that_are_none_are_not(
    monkeypatch: pytest.MonkeyPatch, session: dict[str, Any]
) -> None:
    of = {"cpu": ("fp32", "file", "int8"), "cuda:0": ("fp16", "fp32", "remote")}
    monkeypatch.setattr(models, "precisions", lambda checkpoint, device: of[device.name])
    drawn = boxes(monkeypatch, "selectbox", "auto")
    devices = [CPU, replace(CPU, name="cuda:0")]
    sidebar._choose_precision("llama2", ROW, devices)
    sidebar._choose_precision("llama2", None, devices)
    assert [box["options"] for box in drawn] == [["auto", "fp32", "int8", "fp16"], ["auto"]]
    # Each list has a value of its own: what one device has another may lack.
    assert len({box["key"] for box in drawn}) == 2


@pytest.mark.parametrize(
    ("checkpoint", "context"),
    [
        (None, None),
        (replace(ROW, kind="speech"), None),
        (replace(ROW, context_length=0), sidebar.USUAL_CONTEXT),
        (replace(ROW, context_length=1024), 1024),
        (replace(ROW, context_length=4096), 4096),
        (replace(ROW, context_length=131072), sidebar.USUAL_CONTEXT),
    ],
)
def test_how_long_a_conversation_may_be(
    checkpoint: Any, context: int | None, monkeypatch: pytest.MonkeyPatch, session: dict[str, Any]
) -> None:
    offered: list[int] = []
    monkeypatch.setattr(
        st, "select_slider", lambda label, lengths, key: offered.extend(lengths) or session[key]
    )
    assert sidebar._choose_context("llama2", checkpoint) == context
    most = (checkpoint.context_length or sidebar.USUAL_CONTEXT) if context else 0
    assert not offered or offered[-1] == most


# --- what a load would need ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fits", "engine", "refused"),
    [(True, None, False), (False, None, True), (False, "engine", False), (True, "engine", False)],
)
def test_what_does_not_fit_is_refused_unless_it_is_loaded(
    fits: bool, engine: Any, refused: bool, said: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    plan = SimpleNamespace(fits=fits)
    loader = SimpleNamespace(
        plan=lambda *given: asked.append(given) or plan,
        find_loaded=lambda *given: asked.append(given) or engine,
    )
    monkeypatch.setattr(sidebar, "loader", lambda: loader)
    monkeypatch.setattr(models.placement, "refuse", lambda plan: DoesNotFit("Too large.", "太大。"))
    assert sidebar._plan("row", "cpu", "int8", 128) == (plan, engine)
    assert asked == [("row", "cpu", "int8", 128)] * 2
    assert said == ([("error", "Too large.")] if refused else [])


def test_a_plan_that_cannot_be_made_is_said(said: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise BadInput("No such device.", "没有。")

    monkeypatch.setattr(sidebar, "loader", lambda: SimpleNamespace(plan=refuse))
    assert sidebar._plan("row", "cpu", "int8", 128) == (None, None)
    assert said == [("error", "No such device.")]


@pytest.mark.parametrize("accepts", [True, False])
@pytest.mark.parametrize(
    ("facts", "texts"),
    [
        ({}, []),
        ({"licence": "MIT"}, []),
        ({"licence": "MIT", "licence_url": "https://a/b"}, ["Licence: [MIT](https://a/b)"]),
        ({"note": Text("Slow.", "慢。")}, ["Slow."]),
        ({"terms": Text("Be good.", "善。")}, ["Be good."]),
    ],
)
def test_terms_are_shown_and_to_be_accepted(
    facts: Any, texts: list[str], accepts: bool, said: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = boxes(monkeypatch, "checkbox", accepts)
    accepted = sidebar._accept_terms("llama2", replace(ROW, **{"terms": None, "note": None, **facts}))
    assert [text for _, text in said] == texts
    assert accepted is (accepts if "terms" in facts else True)
    assert [box["key"] for box in drawn] == ["set.terms.row"] * ("terms" in facts)


# --- loading and unloading -------------------------------------------------------------------------

ENGINE = SimpleNamespace(checkpoint=ROW)


@pytest.mark.parametrize(
    ("facts", "loading", "disabled"),
    [
        ({}, False, (False, True)),
        ({"accepted": False}, False, (True, True)),
        ({"fits": False}, False, (True, True)),
        ({}, True, (True, True)),
        ({"engine": ENGINE}, False, (True, False)),
        ({"engine": ENGINE, "fits": False}, False, (True, False)),
    ],
)
def test_which_buttons_can_be_clicked(
    facts: Any, loading: bool, disabled: Any, session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[bool] = []
    column = SimpleNamespace(button=lambda *_, disabled, **__: drawn.append(disabled))
    monkeypatch.setattr(st, "columns", lambda _: (column, column))
    if loading:
        session["llama2.load"] = "under way"
    sidebar._show_buttons(choice(**facts))
    assert tuple(drawn) == disabled


@pytest.mark.parametrize("free", [True, False])
def test_an_engine_in_use_stays(free: bool, said: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        sidebar, "loader", lambda: SimpleNamespace(unload=lambda name: asked.append(name) or free)
    )
    load, unload = (
        SimpleNamespace(button=lambda *_, answer=answer, **__: answer) for answer in (False, True)
    )
    monkeypatch.setattr(st, "columns", lambda _: (load, unload))
    try:
        sidebar._show_buttons(choice(engine=ENGINE))
    except Rerun:
        assert free and not said
    else:
        assert not free and said == [("warning", "Somebody is using it; try again later.")]
    assert asked == ["row"]


def test_what_was_measured_is_shown_with_its_notes(said: list[Any]) -> None:
    where = {"a": "cuda:1", "b": "cuda:0", "c": "cuda:1"}
    report = LoadReport("bfloat16", 3 * GiB, where, 1.26, (Text("Packed.", "已打包。"),))
    sidebar._show_report(SimpleNamespace(report=report))  # type: ignore[arg-type]
    assert [text for _, text in said] == [
        ":material/check_circle: bfloat16 · 3.0 GB · cuda:0, cuda:1 · 1.3 s", "Packed.",
    ]  # fmt: skip


# --- the frame around a page -----------------------------------------------------------------------


def test_a_page_has_its_title_and_links_to_all(
    session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = record(monkeypatch, "title", "caption")
    links: list[Any] = []
    config: dict[str, Any] = {}
    monkeypatch.setattr(st, "set_page_config", lambda **given: config.update(given))
    monkeypatch.setattr(st, "page_link", lambda file, **named: links.append((file, named["label"])))
    session.update({"set.a": 1, "other": 2})
    set_up_page("qwen_vl", "Looks at pictures.", layout="wide")
    assert config == {"page_title": "Qwen-VL · Quintet", "layout": "wide"}
    assert links == [(page.file, page.title) for page in PAGES]
    assert drawn == [("title", "Qwen-VL"), ("caption", "Looks at pictures.")]
    assert {page.family: frame.KINDS.get(page.family, "chat") for page in PAGES} == {
        "llama2": "chat", "gemma": "chat", "chatglm": "chat", "qwen_vl": "vision", "whisper": "speech",
    }  # fmt: skip


def test_a_pages_own_defaults_go_before_the_catalogs(monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(ROW, options={"temperature": 0.5, "top_k": 7})
    given: list[Any] = []
    monkeypatch.setattr(models, "devices", lambda: [CPU])
    monkeypatch.setattr(sidebar, "_describe", lambda family, name: (row, None))
    monkeypatch.setattr(sidebar, "_plan", lambda *_: (None, None))
    monkeypatch.setattr(sidebar, "_show_buttons", lambda choice: given.append(choice))
    for name in ("_choose_language", "_choose_context", "_accept_terms"):
        monkeypatch.setattr(sidebar, name, lambda *_: None)
    monkeypatch.setattr(sidebar, "_choose_checkpoint", lambda family: "row")
    for name in ("_choose_device", "_choose_precision"):
        monkeypatch.setattr(sidebar, name, lambda *_: "auto")
    monkeypatch.setattr(
        sidebar.options, "choose", lambda family, specs, defaults: given.append(defaults) or {"a": 1}
    )
    choice, values = sidebar.show_sidebar("llama2", ["spec"], lambda checkpoint: {"temperature": 0.1})
    assert given == [choice, {"temperature": 0.1, "top_k": 7}] and values == {"a": 1}
    assert choice.arguments == ("row", "auto", "auto", None) and choice.checkpoint is row and not choice.fits
