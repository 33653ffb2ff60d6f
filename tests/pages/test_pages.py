"""Every page as a visitor uses it, without a browser: engines are fake, everything between is real."""

import json
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from models import catalog, loader, placement
from models.errors import EngineFailed
from models.interpreter import Limits, confinement
from models.schema import Device, GiB
from pages.shared.conversation.conversation import Conversation
from pages.shared.markdown import STYLE
from tests.fakes.engines import FakeEngine, Stage, use_engines
from tests.fakes.visitor import (
    PAGES,
    STOCK,
    alive,
    ask,
    captions,
    choose,
    click,
    conversation,
    edit,
    engine,
    imported,
    in_mode,
    keys,
    said,
    sentences,
    settle,
    shown,
    steps,
    texts,
    to,
    untranslated,
    visit,
    works,
)
from tests.fakes.waiting import WAIT

WAV = ("talk.wav", b"RIFF, or so it says", "audio/wav")


# --- every page ----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", (*PAGES, "chatglm"))
def test_a_page_is_drawn_in_either_language(page: str, stage: Stage) -> None:
    english, chinese = list(texts(visit(page))), list(texts(visit(page, "zh-CN")))
    assert len(english) == len(chinese) > 20
    assert untranslated(english, chinese) == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_lines_as_they_were_written(
    page: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    draw = st.html
    monkeypatch.setattr(st, "html", lambda body: (drawn.append(body), draw(body))[1])
    at = visit()
    drawn.clear()
    to(at, page)
    assert STYLE in drawn


@pytest.mark.parametrize("page", PAGES)
def test_the_language_can_be_switched_and_stays(page: str, stage: Stage) -> None:
    at = visit(page)
    at.segmented_control(key="set.language").select("zh").run()
    assert "加载" in [button.label for button in alive(at).button]
    other = next(name for name in PAGES if name != page)
    assert "加载" in [button.label for button in to(at, other).button]


@pytest.mark.parametrize("page", PAGES)
def test_every_checkpoint_can_be_chosen(page: str, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    roomy = Device("cpu", "CPU", 1024 * GiB, 1024 * GiB, ("bf16", "fp32", "int8", "int4"))
    monkeypatch.setattr(placement, "devices", lambda: [roomy])
    at = visit(page)
    for row in catalog.family(page):
        assert sentences(choose(at, row.name, page)) == [], row.name


def test_no_page_starts_a_load_by_itself(stage: Stage) -> None:
    at = visit()
    for page in PAGES:
        to(at, page)
    assert stage.diary == [] and loader.shared().loaded() == []


# --- choosing and loading ------------------------------------------------------------------------


def test_a_wrong_path_is_one_sentence_and_another_name_mends_it(stage: Stage, tmp_path: Path) -> None:
    good = str(tmp_path / "chat.gguf")
    at = choose(visit(), str(tmp_path / "no such folder"))
    (sentence,) = sentences(at)
    assert "There is nothing at" in sentence and at.button(key="llama2.load_button").disabled
    assert sentences(choose(at, good)) == []
    assert "hello" in shown(ask(at, "hello"))[1]


def test_what_visitors_may_not_open_is_refused(stage: Stage) -> None:
    at = visit()
    for name in ("/etc/passwd", "../../etc", "~root/x", "file.gguf", "https://example.com/v1"):
        (sentence,) = sentences(choose(at, name))
        assert "outside the folders" in sentence or "not a server that visitors may use" in sentence
        assert at.button(key="llama2.load_button").disabled


@pytest.mark.parametrize("page", PAGES)
def test_nothing_that_can_be_typed_breaks_a_page(page: str, stage: Stage) -> None:
    at = visit(page)
    for name in ("", "  ", "\0", "a\nb", "名", "x" * 5000, "/" + "x" * 5000, "{}", "$1$ :red[x]"):
        assert len(sentences(choose(at, name, page))) == bool(name), name
        assert at.button(key=f"{page}.load_button").disabled == bool(name), name


def test_a_file_of_another_kind_names_the_page_for_it(stage: Stage, tmp_path: Path) -> None:
    (sentence,) = sentences(choose(visit(), str(tmp_path / "whisper")))
    assert "open the Whisper page" in sentence
    (sentence,) = sentences(choose(visit("whisper"), str(tmp_path / "chat.gguf"), "whisper"))
    assert "open a page for chat" in sentence


def test_only_what_the_device_and_the_file_can_do_is_offered(stage: Stage, tmp_path: Path) -> None:
    at = choose(visit(), str(tmp_path / "chat.gguf"))
    device, precision = at.selectbox[1], at.selectbox[2]
    assert device.label == "Device" and device.options[0] == "auto" and len(device.options) > 1
    assert precision.label == "Precision" and precision.options == ["auto"]  # the file's own


def test_load_and_unload_by_button(stage: Stage) -> None:
    at = click(visit(), "llama2.load_button")
    assert stage.diary == ["load chat.gguf"] and "fake" in captions(at)
    assert at.button(key="llama2.load_button").disabled
    click(at, "llama2.unload_button")
    assert stage.diary == ["load chat.gguf", "close chat.gguf"]
    assert at.button(key="llama2.unload_button").disabled


@pytest.mark.parametrize(
    ("failure", "words"),
    [(EngineFailed("It broke.", "坏了。"), "It broke."), (RuntimeError("bits fell out"), "did not foresee")],
)
def test_a_failed_load_is_explained_and_not_tried_again_by_itself(
    stage: Stage, failure: Exception, words: str
) -> None:
    stage.failure = failure
    at = ask(visit(), "hello world")
    assert words in sentences(at)[0]
    alive(at.run()), alive(at.run())
    assert stage.diary == ["load chat.gguf"] and words in sentences(at)[0]
    stage.failure = None
    click(at, "llama2.again")  # the question is still there, and can be asked again
    assert sentences(at) == [] and said(at) == [("hello world", ["hello world "])]


def test_another_checkpoint_wipes_the_failure_of_the_one_before(stage: Stage, tmp_path: Path) -> None:
    stage.failure = EngineFailed("It broke.", "坏了。")
    at = click(visit(), "llama2.load_button")
    assert sentences(at) == ["It broke."]
    alive(at.selectbox[0].select_index(1).run())
    assert "It broke." not in sentences(at)


def test_a_load_can_be_cancelled(stage: Stage) -> None:
    stage.go.clear()
    at = visit()
    alive(at.button(key="llama2.load_button").click().run())
    click(at, "llama2.cancel_load")
    assert "cancelled" in at.info[-1].value and loader.shared().loaded() == []


def test_stop_ends_the_load_that_a_question_waits_for(stage: Stage) -> None:
    stage.go.clear()
    at = visit()
    alive(at.chat_input[0].set_value("hello").run())
    (work,) = works(at)
    click(at, "llama2.stop")
    assert work.cancel.is_set() and said(at) == [("hello", [])] and "llama2.again" in keys(at)
    assert loader.shared().loaded() == [] and not sentences(at)


def test_an_answer_goes_on_while_another_page_is_looked_at(stage: Stage) -> None:
    stage.go.clear()
    at = visit()
    alive(at.chat_input[0].set_value("one two").run())
    (work,) = works(at)
    to(at, "gemma")
    stage.go.set()
    assert work.wait(WAIT)
    to(at, "llama2")
    assert shown(at) == ["one two", "one two"] and "llama2.stop" not in keys(at)


def test_what_is_asked_meanwhile_stops_the_answer_before(stage: Stage) -> None:
    stage.go.clear()
    at = visit()
    alive(at.chat_input[0].set_value("one").run())
    (first,) = works(at)
    alive(at.chat_input[0].set_value("two").run())
    assert first.cancel.is_set()
    stage.go.set()
    assert said(settle(at)) == [("one", []), ("two", ["one two "])]  # one message of both


def test_gemmas_terms_come_before_its_starter(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMMA_MODEL_PATH")
    at = visit("gemma")
    assert at.button(key="gemma.load_button").disabled
    assert "accept the terms" in at.info[0].value
    alive(at.text_area(key="gemma.text.0").set_value("Once").run())
    click(at, "gemma.go")
    assert "accept the terms" in sentences(at)[0] and stage.diary == []
    alive(at.checkbox[0].check().run())
    assert not sentences(at)
    assert not at.button(key="gemma.load_button").disabled


@pytest.mark.parametrize(
    ("typed", "chosen"),
    [
        ("smol", "smollm2-135m-instruct"),
        ("Llama 13B", "llama-2-13b-chat"),
        ("no such thing", "no such thing"),
        ("owner/smol", "owner/smol"),  # of a hub
    ],
)
def test_part_of_a_listed_name_is_enough(stage: Stage, typed: str, chosen: str) -> None:
    at = choose(visit(), typed)
    assert at.session_state["set.llama2.checkpoint"] == chosen


# --- chat ----------------------------------------------------------------------------------------


def test_a_question_is_answered_with_its_figures(stage: Stage) -> None:
    at = ask(visit(), "hello there world")
    assert shown(at) == ["hello there world", "hello there world"]
    assert "3 tokens" in captions(at) and "first after" in captions(at) and "chat.gguf" in captions(at)
    assert engine(at).sent == [[{"role": "user", "content": "hello there world"}]]


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_an_example_is_asked_at_one_click(stage: Stage, locale: str) -> None:
    at = visit(locale=locale)
    examples = [button.label for button in at.button if (button.key or "").startswith("llama2.example.")]
    assert len(examples) == 3
    click(at, "llama2.example.1")
    assert [question for question, _ in said(at)] == [examples[1]]
    assert not any(key.startswith("llama2.example.") for key in keys(at) if key)


def test_a_question_can_be_deleted_with_its_answers_until_undo(stage: Stage) -> None:
    at = visit()
    for question in ("one", "two", "three"):
        ask(at, question)
    click(at, "llama2.delete.1")
    assert said(at) == [("one", ["one "]), ("three", ["three "])]
    click(at, "llama2.undo")
    assert [question for question, _ in said(at)] == ["one", "two", "three"]


def test_a_question_of_blanks_is_no_question(stage: Stage) -> None:
    assert said(ask(visit(), "   ")) == []


def test_regenerate_keeps_the_old_answers_beside_the_new(stage: Stage) -> None:
    at = ask(visit(), "one two")
    stage.breaks = None
    click(at, "llama2.again")
    assert said(at) == [("one two", ["one two ", "one two "])]
    assert engine(at).sent[1] == [{"role": "user", "content": "one two"}]
    assert "2 / 2" in captions(at) and at.button(key="llama2.choose.0.1").disabled
    click(at, "llama2.choose.0.-1")
    assert "1 / 2" in captions(at) and at.button(key="llama2.choose.0.-1").disabled
    click(at, "llama2.undo")
    assert said(at) == [("one two", ["one two "])]


def test_the_answer_that_is_shown_is_the_one_that_is_sent(stage: Stage) -> None:
    at = ask(visit(), "one two three")
    alive(at.number_input(key="set.llama2.max_new_tokens.512").set_value(1).run())
    click(at, "llama2.again")
    click(at, "llama2.choose.0.-1")
    ask(at, "more")
    assert engine(at).sent[-1][1] == {"role": "assistant", "content": "one two three "}


def test_edit_and_resend_replaces_what_followed_until_undo(stage: Stage) -> None:
    at = ask(ask(visit(), "first"), "second")
    edit(click(at, "llama2.edit.0"), "another", "Send")
    assert said(at) == [("another", ["another "])]
    click(at, "llama2.undo")
    assert said(at) == [("first", ["first "]), ("second", ["second "])]


def test_an_empty_edit_is_not_sent_and_cancel_closes_it(stage: Stage) -> None:
    at = click(ask(visit(), "first"), "llama2.edit.0")
    edit(at, "  ", "Send")
    assert said(at) == [("first", ["first "])] and "Write a message first." in [i.value for i in at.info]
    assert "llama2.edit.0" in keys(edit(at, "second", "Cancel"))
    assert said(at) == [("first", ["first "])]


def test_an_edit_does_not_stay_open_for_the_next_conversation(stage: Stage) -> None:
    at = click(ask(visit(), "first"), "llama2.edit.0")
    click(at, "llama2.clear")
    assert "llama2.edit.0" in keys(ask(at, "anew"))


def test_clear_and_undo(stage: Stage) -> None:
    at = click(ask(visit(), "keep me"), "llama2.clear")
    assert said(at) == [] and shown(at) == []
    assert said(click(at, "llama2.undo")) == [("keep me", ["keep me "])]
    click(at, "llama2.undo")
    assert said(at) == [] and at.button(key="llama2.undo").disabled


def test_system_prompt_and_options_reach_the_engine(stage: Stage) -> None:
    at = visit()
    at.text_area(key="set.llama2.system.0").set_value("Be brief.")
    at.number_input(key="set.llama2.max_new_tokens.512").set_value(7)
    at.number_input(key="set.llama2.seed.None").set_value(3)
    at.text_area(key="set.llama2.stop.()").set_value("END\n\n###")
    next(slider for slider in at.slider if slider.label == "Temperature").set_value(0.0)
    ask(alive(at.run()), "hello")
    assert engine(at).sent[0][0] == {"role": "system", "content": "Be brief."}
    (options,) = stage.options
    assert (options.max_new_tokens, options.seed, options.temperature) == (7, 3, 0.0)
    assert options.stop == ("END", "###")


def test_an_emptied_number_means_its_default(stage: Stage) -> None:
    at = visit()
    at.number_input(key="set.llama2.max_new_tokens.512").set_value(None)
    ask(alive(at.run()), "hello")
    assert stage.options[0].max_new_tokens == 512


def test_what_no_longer_fits_is_marked(stage: Stage) -> None:
    at = visit()
    for number in range(3):  # 512 words of context, of which an answer may want half
        ask(at, f"question{number} " + "word " * 90)
    assert engine(at).sent[-1][0]["content"].startswith("question2")
    mark = next(caption for caption in at.caption if "no longer sent" in caption.value)
    assert "question0" in shown(at)[0] and mark.value
    (meter,) = [caption for caption in at.get("progress")]
    assert "of 512 tokens" in meter.proto.text


def test_a_message_longer_than_the_context_is_refused(stage: Stage) -> None:
    at = ask(visit(), "word " * 600)
    assert "shorten it" in sentences(at)[0] and len(said(at)) == 1
    assert sentences(click(at, "llama2.undo")) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (EngineFailed("The model tripped.", "模型绊倒了。"), "The model tripped."),
        (RuntimeError("CUDA error"), "did not foresee"),
        (KeyboardInterrupt("panic"), "did not foresee"),  # as a panic in Rust, no Exception
    ],
)
def test_an_answer_that_breaks_off_keeps_its_words(stage: Stage, error: BaseException, words: str) -> None:
    stage.breaks = 2, error
    at = ask(visit(), "one two three four")
    assert words in sentences(at)[0] and said(at) == [("one two three four", ["one two "])]
    assert "broke off" in captions(at)
    alive(at.run())
    assert words in sentences(at)[0]  # stays until something else is asked
    stage.breaks = None
    click(at, "llama2.again")
    assert sentences(at) == [] and said(at)[0][1] == ["one two ", "one two three four "]


def test_an_answer_that_fails_at_once_leaves_the_question_and_the_old_answers(stage: Stage) -> None:
    stage.breaks = 0, EngineFailed("The model tripped.", "模型绊倒了。")
    at = ask(visit(), "hello")
    assert said(at) == [("hello", [])] and "llama2.again" in keys(at)
    stage.breaks = None
    click(at, "llama2.again")
    stage.breaks = 0, EngineFailed("The model tripped.", "模型绊倒了。")
    click(at, "llama2.again")
    assert said(at) == [("hello", ["hello "])] and len(sentences(at)) == 1


def test_one_of_several_models_of_a_server_is_chosen(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeEngine, "served", ("qwen3:8b", "llama3.2:3b"))
    at = ask(visit(), "hello")
    name = engine(at).checkpoint.name
    (choice,) = (box for box in at.selectbox if box.label == "Model of this server")
    assert choice.value == "qwen3:8b"
    alive(choice.set_value("llama3.2:3b").run())
    assert at.session_state["set.llama2.checkpoint"] == f"{name}#llama3.2:3b"


def test_another_model_of_a_server_takes_the_place_of_the_one_in_the_address(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_engines(monkeypatch, gguf="FakeEngine", openai_api="FakeEngine")
    monkeypatch.setattr(FakeEngine, "served", ("qwen3:8b", "llama3.2:3b"))
    monkeypatch.setenv("LLAMA2_MODEL_PATH", "http://localhost:8000/v1#qwen3:8b")
    at = click(visit(), "llama2.load_button")
    (choice,) = (box for box in at.selectbox if box.label == "Model of this server")
    alive(choice.set_value("llama3.2:3b").run())
    assert at.session_state["set.llama2.checkpoint"] == "http://localhost:8000/v1#llama3.2:3b"


def test_an_engine_closed_between_two_runs_is_loaded_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ask(visit(), "hello")
    first, lease = engine(at), FakeEngine.lease

    def closed_first(self: FakeEngine) -> Any:
        if self is first:
            assert self.close_if_idle()
        return lease(self)

    monkeypatch.setattr(FakeEngine, "lease", closed_first)
    ask(at, "again")
    assert said(at) == [("hello", ["hello "]), ("again", ["again "])] and sentences(at) == []
    assert stage.diary == ["load chat.gguf", "close chat.gguf", "load chat.gguf"]


def test_an_engine_is_held_before_its_answer_has_begun(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    begin, held = Conversation.begin_answer, list[bool]()

    def another_asks_for_room(self: Conversation, checkpoint: str) -> None:
        if not held:
            held.append(not loader.shared().unload())
        begin(self, checkpoint)

    monkeypatch.setattr(Conversation, "begin_answer", another_asks_for_room)
    at = ask(visit(), "Hello")
    assert held == [True] and said(at) == [("Hello", ["Hello "])] and len(stage.diary) == 1
    assert loader.shared().unload()


def test_an_engine_closed_while_a_page_is_drawn_is_only_missing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ask(visit(), "hello")
    count = FakeEngine._count_tokens
    monkeypatch.setattr(FakeEngine, "dropped", lambda *_: engine(at).close_if_idle() and 0)
    monkeypatch.setattr(
        FakeEngine, "_count_tokens", lambda self, *given: count(self, *given) if not self.closed else 1 / 0
    )
    alive(at.run())
    assert said(at) == [("hello", ["hello "])]


def test_pictures_in_an_answer_are_not_fetched(stage: Stage) -> None:
    at = ask(visit(), "![x](http://example.com/x.png)")
    assert shown(at) == ["[x](http://example.com/x.png)"] * 2


# --- export and import ---------------------------------------------------------------------------


def test_export_and_import_bring_everything_back(stage: Stage, downloads: dict[str, Any]) -> None:
    at = visit()
    at.text_area(key="set.llama2.system.0").set_value("Be brief.")
    click(ask(ask(alive(at.run()), "one"), "二 $x$"), "llama2.again")
    file = downloads["llama2.json"]
    other = imported(visit(), file)
    assert said(other) == said(at)
    assert other.text_area(key="set.llama2.system.1").value == "Be brief."
    assert json.loads(downloads["llama2.json"]) == json.loads(file)
    assert len(engine(other).sent) == 3  # nothing was asked by importing


def test_an_import_can_be_undone(stage: Stage) -> None:
    at = imported(ask(visit(), "mine"), '[{"role": "user", "content": "theirs"}]')
    assert said(at) == [("theirs", [])]
    assert said(click(at, "llama2.undo")) == [("mine", ["mine "])]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not json",
        b"\xff\xfe\x00",
        b"\x89PNG\r\n",
        "[" * 100_000,
        '{"turns": 5}',
        '[{"role": "user", "content": "\\ud800"}]',
        '[{"role": "user", "content": null}]',
    ],
)
def test_an_import_of_rubbish_is_one_sentence_and_nothing_is_lost(stage: Stage, content: bytes | str) -> None:
    at = imported(ask(visit(), "mine"), content)
    (sentence,) = sentences(at)
    assert "talk.json is not a conversation" in sentence
    assert said(ask(at, "still here")) == [("mine", ["mine "]), ("still here", ["still here "])]


def test_an_import_with_strange_figures_is_shown(stage: Stage) -> None:
    answer = {"text": "a", "reason": "never heard of", "figures": {"completion_tokens": 5}}
    at = imported(visit(), json.dumps({"turns": [{"question": "q", "answers": [answer]}]}))
    assert said(at) == [("q", ["a"])]


# --- a base model --------------------------------------------------------------------------------


def continue_text(at: AppTest, text: str) -> AppTest:
    at.text_area[0].set_value(text)
    return click(at, "gemma.go")


def test_a_base_model_continues_the_text_and_undo_takes_it_back(stage: Stage) -> None:
    at = continue_text(visit("gemma"), "Once upon ")
    assert at.text_area[0].value == "Once upon Once upon "
    assert engine(at).sent == ["Once upon "] and "2 tokens" in captions(at)
    click(at, "gemma.go")
    assert at.text_area[0].value == "Once upon " * 4
    click(at, "gemma.undo_text")
    assert at.text_area[0].value == "Once upon " * 2 and at.button(key="gemma.undo_text").disabled


def test_what_was_asked_in_the_chat_does_not_continue_a_text(stage: Stage) -> None:
    at = click(visit("gemma"), "gemma.load_button")
    at.session_state["gemma.current"], at.session_state["gemma.asked"] = (
        "gemma",
        True,
    )  # before the base model
    at.text_area[0].set_value("Once upon ")
    assert alive(at.run()).text_area[0].value == "Once upon " and engine(at).sent == []
    click(at, "gemma.go")
    assert engine(at).sent == ["Once upon "]


def test_a_continuation_needs_a_beginning(stage: Stage) -> None:
    at = continue_text(visit("gemma"), "  ")
    assert "beginning" in at.info[-1].value and stage.diary == []


@pytest.mark.parametrize("error", [EngineFailed("The model tripped.", "模型绊倒了。"), RuntimeError("CUDA")])
def test_a_continuation_that_breaks_off_keeps_its_words(stage: Stage, error: Exception) -> None:
    stage.breaks = 1, error
    at = continue_text(visit("gemma"), "one two")
    assert at.text_area[0].value == "one twoone " and len(sentences(at)) == 1
    assert "broke off" in captions(at)
    assert click(at, "gemma.undo_text").text_area[0].value == "one two"


# --- several pages, several visitors -------------------------------------------------------------


def test_two_visitors_never_see_each_others_text(stage: Stage) -> None:
    one, two = ask(visit(), "apples"), ask(visit(), "pears")
    alive(one.run())
    assert said(one) == [("apples", ["apples "])] and said(two) == [("pears", ["pears "])]
    assert "pears" not in "".join(map(str, texts(one))) and "apples" not in "".join(map(str, texts(two)))
    assert stage.diary == ["load chat.gguf"]


def test_other_pages_and_back_keeps_conversations_and_settings(stage: Stage) -> None:
    at = visit()
    at.number_input(key="set.llama2.max_new_tokens.512").set_value(5)
    at.text_area(key="set.llama2.system.0").set_value("Be brief.")
    ask(alive(at.run()), "hello")
    continue_text(to(at, "gemma"), "Once")
    to(at, "whisper")
    assert shown(to(at, "llama2")) == ["hello", "hello"]
    assert at.number_input(key="set.llama2.max_new_tokens.512").value == 5
    assert at.text_area(key="set.llama2.system.0").value == "Be brief."
    assert to(at, "gemma").text_area[0].value == "OnceOnce "


# --- tools and code ------------------------------------------------------------------------------

CALCULATE = 'call calculate {"expression": "6 * 7"}'


def test_a_tool_is_called_and_its_result_shown(glm: Stage) -> None:
    at = ask(in_mode("tool"), CALCULATE)
    (step,) = steps(at, "tool")
    assert (step.name, step.text, step.observation) == ("calculate", "let me see ", "42")
    assert conversation(at, "chatglm.tool").turns[-1].answers[-1].text == "42 "
    labels = [expander.label for expander in at.main.expander]
    assert any("calculate" in label and "42" in label for label in labels)


def test_several_calls_in_a_row_are_steps_of_one_answer(glm: Stage) -> None:
    at = ask(in_mode("tool"), CALCULATE + '\ncall weekday {"date": "2024-05-01"}')
    assert [step.name for step in steps(at, "tool")] == ["calculate", "weekday"]
    assert steps(at, "tool")[1].text == "let me see "


def test_a_tool_that_was_not_chosen_is_not_there(glm: Stage) -> None:
    at = in_mode("tool")
    alive(at.button_group(key="set.chatglm.tools").set_value(["weekday"]).run())
    ask(at, CALCULATE)
    (step,) = steps(at, "tool")
    assert step.failed and "no tool named calculate" in str(step.observation)


def test_the_result_of_a_pasted_tool_is_typed_by_the_visitor(glm: Stage) -> None:
    at = in_mode("tool")
    alive(at.text_area(key="set.chatglm.pasted").set_value(STOCK).run())
    ask(at, 'call get_stock {"article": "pens"}')
    assert steps(at, "tool")[-1].observation is None
    at.text_area(key="chatglm.tool.typed.1").set_value("a dozen")
    send = next(button for button in at.button if button.form_id == "chatglm.tool.result")
    settle(send.click().run())
    answer = conversation(at, "chatglm.tool").turns[-1].answers[-1]
    assert (answer.steps[-1].observation, answer.text, answer.reason) == ("a dozen", "a dozen ", "stop")
    assert len(conversation(at, "chatglm.tool").turns[-1].answers) == 1
    assert not [area for area in at.text_area if area.key == "chatglm.tool.typed.1"]


def test_a_pasted_tool_that_is_none_costs_no_conversation(glm: Stage) -> None:
    at = ask(in_mode("tool"), CALCULATE)
    alive(at.text_area(key="set.chatglm.pasted").set_value("[").run())
    assert "cannot be read" in sentences(at)[0] and at.chat_input[0].disabled
    assert steps(at, "tool")
    alive(at.text_area(key="set.chatglm.pasted").set_value("").run())
    assert not sentences(at) and not at.chat_input[0].disabled


def test_every_mode_has_a_conversation_of_its_own(glm: Stage) -> None:
    at = ask(in_mode("tool"), CALCULATE)
    alive(at.segmented_control(key="set.chatglm.mode").set_value("chat").run())
    ask(at, "only a chat")
    assert said(at) == []  # of the LLaMA page
    assert [turn.question for turn in conversation(at, "chatglm").turns] == ["only a chat"]
    assert [turn.question for turn in conversation(at, "chatglm.tool").turns] == [CALCULATE]
    assert engine(at).requests[0].tools and not engine(at).requests[-1].tools


def test_precision_is_the_default_of_tools_and_code(glm: Stage) -> None:
    for mode in ("tool", "code"):
        values = {slider.label: slider.value for slider in in_mode(mode).slider}
        assert (values["Temperature"], values["Top p"]) == (0.1, 0.2)
    ask(in_mode("tool"), "hello")
    assert (glm.options[-1].temperature, glm.options[-1].top_p) == (0.1, 0.2)


def test_the_code_interpreter_is_off_until_the_operator_wants_it(glm: Stage) -> None:
    at = in_mode("code")
    assert "QUINTET_CODE_INTERPRETER=1" in at.info[0].value and at.chat_input[0].disabled


def test_code_runs_and_its_output_comes_back(glm: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUINTET_CODE_INTERPRETER", "1")
    if refused := confinement().refused:
        pytest.skip(refused.en)
    at = in_mode("code")
    assert any("No network." in text.value for text in at.markdown)
    ask(at, 'call interpreter {"code": "x = 6 * 7; print(x)"}')
    (step,) = steps(at, "code")
    assert step.observation == "42" and [output.text for output in step.shown] == ["42\n"]
    ask(at, 'call interpreter {"code": "x + 1"}')
    assert steps(at, "code")[0].observation == "43"
    click(at, "chatglm.restart")
    ask(at, 'call interpreter {"code": "x"}')
    assert "NameError" in str(steps(at, "code")[0].observation)


def test_an_endless_loop_is_stopped_by_its_limit(glm: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUINTET_CODE_INTERPRETER", "1")
    monkeypatch.setattr("models.interpreter.session.Limits", lambda: Limits(seconds=1))
    if refused := confinement().refused:
        pytest.skip(refused.en)
    at = ask(in_mode("code"), 'call interpreter {"code": "while True: pass"}')
    (step,) = steps(at, "code")
    assert step.failed and "longer than 1 seconds" in str(step.observation)
    assert conversation(at, "chatglm.code").turns[-1].answers[-1].reason == "stop"
