"""What a visitor set on the pages is back in their next session, and in nobody else's."""

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from models.store.opening import open_store
from models.store.things import Thing
from pages.shared.keeping.keeper import keeper
from pages.shared.settings import ID
from tests.fakes.engines import Stage
from tests.fakes.tiny_checkpoints import write_gguf
from tests.fakes.visitor import (
    ADA,
    APP,
    BOB,
    STOCK,
    Browser,
    again,
    alive,
    ask,
    choose,
    click,
    conversation,
    engine,
    in_mode,
    keys,
    named_in_address,
    said,
    sentences,
    sidebar,
    to,
    visit,
)

pytestmark = pytest.mark.usefixtures("browser")


def later(page: str = "llama2", locale: str = "en-US") -> AppTest:
    """A new session of the same browser, at once."""
    return visit(page, locale)


def kept_settings() -> dict[str, Any]:
    keeper().save()
    thing = open_store().shelf(ADA).get(ID)
    found: dict[str, Any] = thing.content["settings"] if thing else {}
    return found


def put(**settings: Any) -> None:
    content = {"quintet": 1, "settings": {key.replace("__", "."): value for key, value in settings.items()}}
    open_store().shelf(ADA).put(Thing(ID, "settings", "", "", content))


def system(at: AppTest) -> Any:
    return next(area for area in at.text_area if area.label == "System prompt")


# --- found again -----------------------------------------------------------------------------------


def test_options_of_a_chat_reach_the_engine_of_the_next_session(stage: Stage, browser: type[Browser]) -> None:
    at = visit()
    at.number_input(key="set.llama2.max_new_tokens.512").set_value(7)
    at.number_input(key="set.llama2.seed.None").set_value(3)
    at.text_area(key="set.llama2.stop.()").set_value("END\n\n###")
    at.selectbox(key="set.llama2.device").set_value("cpu")
    next(slider for slider in at.slider if slider.label == "Temperature").set_value(0.0)
    alive(at.run())
    new = ask(later(), "hello")
    (options,) = stage.options
    assert (options.max_new_tokens, options.seed, options.temperature) == (7, 3, 0.0)
    assert options.stop == ("END", "###") and new.selectbox(key="set.llama2.device").value == "cpu"
    browser.secret = BOB
    assert later().number_input(key="set.llama2.max_new_tokens.512").value == 512


def test_what_was_set_back_and_what_was_never_set_are_not_kept() -> None:
    at = visit("whisper")
    assert kept_settings() == {}
    alive(at.selectbox(key="set.whisper.language").set_value("zh").run())
    assert kept_settings() == {"set.whisper.language": "zh"}
    alive(at.selectbox(key="set.whisper.language").set_value("").run())
    assert kept_settings() == {}


def test_options_of_speech_and_the_language_of_the_pages() -> None:
    at = visit("whisper")
    at.selectbox(key="set.whisper.language").set_value("zh")
    next(box for box in at.selectbox if box.label == "Task").set_value("translate")
    next(toggle for toggle in at.toggle if toggle.label == "Word times").set_value(True)
    alive(at.run())
    alive(at.segmented_control(key="set.language").set_value("zh").run())
    new = later("whisper")
    assert new.selectbox(key="set.whisper.language").value == "zh" and new.title[0].value == "Whisper"
    assert next(box for box in new.selectbox if box.label == "任务").value == "translate"
    assert next(toggle for toggle in new.toggle if toggle.label == "逐词时间").value is True


def test_the_mode_with_its_options_and_tools(glm: Stage) -> None:
    at = in_mode("tool")
    alive(at.button_group(key="set.chatglm.tools").set_value(["weekday"]).run())
    alive(at.text_area(key="set.chatglm.pasted").set_value(STOCK).run())
    new = ask(later("chatglm"), "hello")
    assert new.segmented_control(key="set.chatglm.mode").value == "tool"
    assert glm.options[0].temperature == 0.1  # of this mode
    names = {tool["function"]["name"] for tool in engine(new).requests[0].tools}
    assert names == {"weekday", "get_stock"}


def test_a_checkpoint(tmp_path: Path) -> None:
    path = str(write_gguf(tmp_path / "other.gguf"))
    at = choose(visit(), path)
    assert at.selectbox(key="set.llama2.checkpoint").value == path
    assert later().selectbox(key="set.llama2.checkpoint").value == path
    (tmp_path / "other.gguf").unlink()
    new = later()
    assert new.selectbox(key="set.llama2.checkpoint").value.endswith("chat.gguf") and not sentences(new)


def test_a_system_prompt_before_the_first_question_and_after() -> None:
    at = visit()
    alive(system(at).set_value("Be brief.").run())
    at = later()
    assert system(at).value == conversation(at).system == "Be brief."
    at = again(ask(at, "first"))
    assert "Be brief." not in str(kept_settings())  # but with its conversation
    assert system(later()).value == "Be brief."
    at = click(at, "llama2.new")
    alive(system(at).set_value("Be long.").run())
    at = later()  # it is still a new one
    assert system(at).value == conversation(at).system == "Be long."
    again(ask(at, "second"))
    assert system(later()).value == "Be long."


def test_the_text_of_a_base_model(keeping: Path) -> None:
    at = visit("gemma")
    alive(at.text_area[0].set_value("Once").run())
    new = later("gemma")
    assert new.text_area[0].value == "Once"
    click(new, "gemma.go")
    new = later("gemma")
    assert new.text_area[0].value == "OnceOnce "
    alive(new.text_area[0].set_value("").run())
    assert kept_settings() == {}


# --- what counts more ------------------------------------------------------------------------------


def test_what_the_page_cannot_have_is_its_default(glm: Stage) -> None:
    put(
        set__language="fr",
        set__llama2__checkpoint="/nowhere.gguf",
        set__llama2__device="abacus",
        **{"set.llama2.max_new_tokens.512": 10**9, "set.llama2.seed.None": "x", "set.llama2.stop.()": None},
        set__chatglm__mode="sing",
        set__chatglm__tools=["weekday", "gone"],
        set__whisper__language="xx",
        set__qwen_vl__mode=["ask"],
    )
    at = visit()
    assert at.selectbox(key="set.llama2.checkpoint").value.endswith("chat.gguf") and not sentences(at)
    assert at.selectbox(key="set.llama2.device").value == "auto"
    assert at.number_input(key="set.llama2.max_new_tokens.512").value == 512
    assert at.segmented_control(key="set.language").value == "en"
    for page in ("chatglm", "whisper", "qwen_vl", "gemma"):
        assert not sentences(to(at, page))
    assert to(at, "chatglm").segmented_control(key="set.chatglm.mode").value == "chat"


def test_a_page_in_another_language_begins_with_its_own_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LLAMA2_MODEL_PATH")
    first, other = visit(), visit(locale="zh-CN")
    names = [at.selectbox(key="set.llama2.checkpoint").value for at in (first, other)]
    assert names[0] != names[1] and kept_settings() == {}
    alive(first.segmented_control(key="set.language").set_value("zh").run())
    assert later().selectbox(key="set.llama2.checkpoint").value == names[1]


def test_the_address_counts_more_than_the_mode_that_was_chosen(glm: Stage) -> None:
    at = alive(ask(visit("chatglm"), "only a chat").run())
    name = named_in_address(at)
    alive(at.segmented_control(key="set.chatglm.mode").set_value("tool").run())
    assert later("chatglm").segmented_control(key="set.chatglm.mode").value == "tool"
    back = AppTest.from_file(APP, default_timeout=60)
    back.query_params["c"] = name
    back.switch_page("pages/chatglm.py")
    alive(back.run())
    assert back.segmented_control(key="set.chatglm.mode").value == "chat"
    assert conversation(back, "chatglm").turns[0].question == "only a chat"


# --- nothing of it ---------------------------------------------------------------------------------


def test_a_server_that_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUINTET_KEEP", "0")
    at = visit("gemma")
    assert "This server keeps nothing" in "".join(caption.value for caption in at.sidebar.caption)
    alive(at.text_area[0].set_value("Once").run())
    assert later("gemma").text_area[0].value == ""


def test_delete_all_is_as_if_nothing_had_been_set(keeping: Path) -> None:
    at = visit("gemma")
    alive(at.text_area[0].set_value("A story of herons").run())
    to(at, "llama2")
    at.text_area(key="set.llama2.stop.()").set_value("bittern")
    at = again(ask(at, "first"))
    assert {"gemma.draft", "set.llama2.stop.()"} == set(kept_settings())
    at = alive(at.checkbox(key="llama2.sure").check().run())
    at = click(at, "llama2.delete_all")
    keeper().save()
    assert said(at) == [] and open_store().shelf(ADA).size() == 0
    assert at.text_area(key="set.llama2.stop.()").value == ""
    assert to(at, "gemma").text_area[0].value == "" and kept_settings() == {}
    files = [path for path in keeping.rglob("*") if path.is_file()]
    assert not [path for path in files if b"heron" in path.read_bytes() or b"bittern" in path.read_bytes()]
    alive(at.text_area[0].set_value("Afterwards").run())
    assert later("gemma").text_area[0].value == "Afterwards" and "llama2.new" not in keys(at)


def test_why_they_are_not_kept_is_said_once(stage: Stage) -> None:
    open_store().shelf(ADA).put(Thing(ID, "settings", "", "", {"quintet": 99, "settings": {}}))
    assert sidebar(visit()).count("a newer Quintet") == 1
    assert sidebar(visit("gemma")).count("a newer Quintet") == 1
