"""The Qwen-VL page as a visitor uses it, without a browser: the engine is fake, everything between is real."""

import io
import json
from typing import Any

import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

from models.errors import EngineFailed
from models.pictures.boxes import Box
from pages.shared.conversation.turns import PictureFile
from pages.shared.vision import questions, region
from starters.qwen_vl.drawing import draw, example
from starters.qwen_vl.scenes import make
from tests.fakes.engines import Stage
from tests.fakes.visitor import (
    alive,
    ask,
    choose,
    click,
    conversation,
    engine,
    imported,
    keys,
    sentences,
    settle,
    shown,
    texts,
    to,
    untranslated,
    visit,
)

TYPE = "image/png"
BOXES = "<ref>the cat</ref><box>(100,200),(500,600)</box>"


def png(width: int = 40, height: int = 20) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(file, "PNG")
    return file.getvalue()


def page() -> AppTest:
    return visit("qwen_vl")


def add(at: AppTest, *pictures: tuple[str, bytes]) -> AppTest:
    """Through "Add pictures"; they wait for a question."""
    uploader = next(found for found in at.main.file_uploader if found.label == "Pictures")
    return alive(uploader.set_value([(name, data, TYPE) for name, data in pictures]).run())


def send(at: AppTest, text: str, *pictures: tuple[str, bytes]) -> AppTest:
    """Through the message field."""
    for name, data in pictures:
        at.chat_input[0].upload(name, data, TYPE)
    return ask(at, text)


def submit(at: AppTest, label: str) -> AppTest:
    return settle(next(button for button in at.button if button.label == label).click().run())


def asked_questions(at: AppTest) -> list[tuple[str, list[str]]]:
    return [
        (turn.question, [picture.name for picture in turn.pictures])
        for turn in conversation(at, "qwen_vl").turns
    ]


def answer(at: AppTest) -> str:
    return conversation(at, "qwen_vl").turns[-1].answers[-1].text


def images(at: AppTest) -> int:
    return len(at.main.image)


def buttons(at: AppTest) -> dict[str, bool]:
    """Tasks, and whether they can be asked for."""
    return {
        button.key.removeprefix("qwen_vl.task."): not button.disabled
        for button in at.button
        if (button.key or "").startswith("qwen_vl.task.")
    }


# --- asking ----------------------------------------------------------------------------------------


def test_a_picture_and_a_question_are_sent_together_and_stay_in_the_conversation(stage: Stage) -> None:
    at = send(page(), "What is it?", ("a.png", png()))
    assert answer(at) == "What is it? 40x20 "
    (sent,) = engine(at).sent[0]
    assert sent["content"] == [{"type": "image", "image": png()}, {"type": "text", "text": "What is it?"}]
    ask(at, "And now?")
    assert [message["role"] for message in engine(at).sent[-1]] == ["user", "assistant", "user"]
    assert images(at) == 1


def test_pictures_without_words_wait_for_a_question(stage: Stage) -> None:
    at = send(page(), "", ("a.png", png()))
    send(at, " ", ("b.png", png(30, 30)))
    assert asked_questions(at) == [] and images(at) == 2 and stage.diary == []
    send(at, "Compare.", ("c.png", png(10, 10)))
    assert asked_questions(at) == [("Compare.", ["a.png", "b.png", "c.png"])]
    assert answer(at) == "Compare. 40x20 30x30 10x10 "


def test_a_waiting_picture_can_be_removed(stage: Stage) -> None:
    at = click(add(page(), ("a.png", png()), ("b.png", png(30, 30))), "qwen_vl.drop.0")
    send(at, "What?")
    assert asked_questions(at) == [("What?", ["b.png"])]


def test_a_file_that_is_no_picture_is_one_sentence_and_costs_no_word(stage: Stage) -> None:
    at = send(page(), "What are they?", ("a.png", png()), ("bad.png", b"no picture"))
    (sentence,) = sentences(at)
    assert sentence.startswith("bad.png: This picture is damaged")
    assert asked_questions(at) == [("What are they?", ["a.png"])] and stage.diary == []
    click(at, "qwen_vl.again")
    assert answer(at) == "What are they? 40x20 " and not sentences(at)
    add(at, ("bad.png", b"no picture"), ("b.png", png(30, 30)))
    assert len(sentences(at)) == 1 and len(at.session_state["qwen_vl.waiting"]) == 1


def test_regenerate_edit_undo_and_clear_keep_the_pictures(stage: Stage) -> None:
    at = click(send(page(), "What?", ("a.png", png())), "qwen_vl.again")
    assert len(conversation(at, "qwen_vl").turns[0].answers) == 2 and engine(at).sent[0] == engine(at).sent[1]
    click(at, "qwen_vl.edit.0")
    next(area for area in at.text_area if area.label == "Your message").set_value("Where?")
    submit(at, "Send")
    assert asked_questions(at) == [("Where?", ["a.png"])] and answer(at) == "Where? 40x20 "
    click(click(at, "qwen_vl.clear"), "qwen_vl.undo")
    assert asked_questions(at) == [("Where?", ["a.png"])]


def test_a_conversation_with_pictures_is_exported_and_imported(
    stage: Stage, downloads: dict[str, Any]
) -> None:
    at = send(page(), "What?", ("a.png", png()))
    file = downloads["qwen_vl.json"]
    assert json.loads(file)["messages"][0] == {"role": "user", "content": "What?"}
    other = imported(page(), file)
    assert conversation(other, "qwen_vl").turns == conversation(at, "qwen_vl").turns
    assert images(other) == 1


def test_a_page_for_text_refuses_pictures_with_one_sentence(stage: Stage, downloads: dict[str, Any]) -> None:
    send(page(), "What?", ("a.png", png()))
    at = imported(visit(), downloads["qwen_vl.json"])
    assert images(at) == 1 and not sentences(at)
    assert "reads text only" in sentences(ask(at, "More?"))[0]


def test_an_answer_that_breaks_off_keeps_its_words_and_the_picture(stage: Stage) -> None:
    stage.breaks = 1, EngineFailed("The model tripped.", "模型绊倒了。")
    at = send(page(), "one two", ("a.png", png()))
    assert sentences(at) == ["The model tripped."] and answer(at) == "one "
    assert asked_questions(at) == [("one two", ["a.png"])]


# --- tasks -----------------------------------------------------------------------------------------


def test_tasks_need_pictures(stage: Stage) -> None:
    at = page()
    assert buttons(at) == {}
    add(at, ("a.png", png()))
    assert buttons(at) == {"caption": True, "detail": True, "read": True, "compare": False}
    add(at, ("b.png", png()))
    assert buttons(at)["compare"]


@pytest.mark.parametrize("task", questions.TASKS, ids=lambda task: task.name)
def test_a_task_asks_in_the_words_of_the_language(task: questions.Task, stage: Stage) -> None:
    at = add(page(), ("a.png", png()), ("b.png", png(10, 10)))
    click(at, f"qwen_vl.task.{task.name}")
    assert asked_questions(at) == [(task.prompt.en, ["a.png", "b.png"])]
    click(at, f"qwen_vl.task.{task.name}")  # of the same pictures once more
    assert asked_questions(at)[1] == (task.prompt.en, [])
    chinese = click(add_in_chinese(png()), "qwen_vl.task.caption")
    assert asked_questions(chinese) == [("用一句话描述这张图片。", ["a.png"])]


def add_in_chinese(data: bytes) -> AppTest:
    at = visit("qwen_vl", "zh-CN")
    uploader = next(found for found in at.main.file_uploader if found.label == "图片")
    return alive(uploader.set_value([("a.png", data, TYPE)]).run())


def test_find_asks_what(stage: Stage) -> None:
    at = add(page(), ("a.png", png()))
    at.text_input(key="qwen_vl.find").set_value(" the cat ")
    submit(at, "Find")
    assert asked_questions(at) == [("Draw a box around the cat.", ["a.png"])]
    submit(at, "Find")  # with nothing typed
    assert len(asked_questions(at)) == 1


def test_a_picture_is_compared_with_an_earlier_one(stage: Stage) -> None:
    at = send(page(), "What is it?", ("a.png", png()))
    assert not buttons(at)["compare"]
    add(at, ("b.png", png(10, 10)))
    assert buttons(at)["compare"]


def test_the_region_of_any_picture_is_asked_about(stage: Stage) -> None:
    at = add(page(), ("a.png", png()), ("b.png", png(10, 10)))
    alive(at.toggle(key="qwen_vl.in_region.0").set_value(True).run())
    alive(at.selectbox(key="qwen_vl.region_of.2").set_value(1).run())
    submit(at, "Ask about this region")
    ((asked, _),) = asked_questions(at)
    assert asked.startswith("In picture 1: What is in this region? <box>")


def test_the_region_is_of_the_picture_that_was_chosen(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[str] = []

    def choose_region(key: str, picture: PictureFile) -> Box:
        offered.append(picture.name)
        return Box(0, 0, 9, 9)

    monkeypatch.setattr("pages.shared.vision.questions.choose_region", choose_region)
    at = add(page(), ("a.png", png()), ("b.png", png(10, 10)))
    alive(at.toggle(key="qwen_vl.in_region.0").set_value(True).run())
    alive(at.selectbox(key="qwen_vl.region_of.2").set_value(1).run())
    assert (offered[0], offered[-1]) == ("b.png", "a.png")


def test_what_was_dragged_is_what_the_sliders_say(monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict[str, Any] = {"canvas": {"drawn": [-5, 20.7, 300, 2000]}}
    monkeypatch.setattr(st, "session_state", state)
    region._move_sliders("canvas", "across", "down")
    assert (state["across"], state["down"]) == ((0, 300), (20, 999))


def test_a_region_is_asked_about_with_its_box(stage: Stage) -> None:
    at = add(page(), ("a.png", png()))
    alive(at.toggle(key="qwen_vl.in_region.0").set_value(True).run())
    at.slider(key="qwen_vl.across").set_range(100, 300)
    at.slider(key="qwen_vl.down").set_range(0, 999)
    submit(at, "Ask about this region")
    asked = "What is in this region? <box>(100,0),(300,999)</box>"
    assert asked_questions(at) == [(asked, ["a.png"])]
    assert shown(at)[0] == "What is in this region?"
    assert images(at) == 3  # the picture, and with the region in question and (echoed) answer


# --- boxes -----------------------------------------------------------------------------------------


def test_boxes_are_drawn_listed_and_given_as_files(stage: Stage, downloads: dict[str, Any]) -> None:
    at = send(page(), f"Here is {BOXES}", ("cat.photo.png", png(200, 100)))
    assert shown(at)[1] == "Here is the cat 200x100"
    table = at.table[0].value
    assert list(table["label"]) == ["the cat"]
    assert [list(table[side])[0] for side in ("left", "top", "right", "bottom")] == [20, 20, 100, 60]
    data = json.loads(downloads["cat.photo-boxes.json"])
    assert data["boxes"] == [{"label": "the cat", "box": [20, 20, 100, 60]}]
    assert (data["picture"], data["width"], data["height"]) == ("cat.photo.png", 200, 100)
    drawn = Image.open(io.BytesIO(downloads["cat.photo-boxes.png"]))
    assert drawn.size == (200, 100) and drawn.getpixel((20, 59)) != (255, 255, 255)


@pytest.mark.parametrize(
    ("text", "pictures"),
    [
        (BOXES, ["b.png"]),  # the newest
        (f"In picture 1: {BOXES}", ["a.png"]),
        (f"Picture 2: {BOXES} Picture 1: {BOXES} {BOXES}", ["b.png", "a.png"]),
        (f"第一张图：{BOXES}", ["a.png"]),
        (f"Picture 77: {BOXES}", ["b.png"]),
    ],
)
def test_boxes_are_drawn_on_the_picture_that_is_meant(
    text: str, pictures: list[str], stage: Stage, downloads: dict[str, Any]
) -> None:
    at = send(page(), "Look.", ("a.png", png()))
    send(at, "And this.", ("b.png", png()))
    send(at, text)
    assert [
        json.loads(data)["picture"] for name, data in downloads.items() if "boxes.json" in name
    ] == pictures


def test_boxes_without_a_picture_are_left_out(stage: Stage) -> None:
    at = ask(page(), f"Here is {BOXES}")
    assert shown(at)[1] == "Here is the cat" and len(at.table) == 0


# --- ways in ---------------------------------------------------------------------------------------


def fetch_address(at: AppTest, address: str) -> AppTest:
    at.text_input(key="qwen_vl.address").set_value(address)
    return submit(at, "Fetch")


def test_a_picture_comes_from_an_address(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "fetch", {"https://x.example/a/cat.png?b": png()}.__getitem__)
    at = fetch_address(page(), "https://x.example/a/cat.png?b")
    assert at.session_state["qwen_vl.waiting"] == [PictureFile("cat.png", png())]
    click(at, "qwen_vl.task.caption")
    assert asked_questions(at)[0][1] == ["cat.png"]


@pytest.mark.parametrize("address", ["", "file:///etc/passwd", "http://127.0.0.1:8501/", "http://[::1]/x"])
def test_an_address_that_is_not_opened_is_one_sentence(address: str, stage: Stage) -> None:
    at = fetch_address(page(), address)
    assert len(sentences(at)) == 1 and at.session_state["qwen_vl.waiting"] == []


def test_what_is_no_picture_at_an_address_is_one_sentence(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "fetch", lambda address: b"<html>")
    at = fetch_address(page(), "https://x.example/")
    assert "damaged" in sentences(at)[0] and at.session_state["qwen_vl.waiting"] == []
    assert not sentences(add(at, ("a.png", png())))


def test_a_photo_is_taken(stage: Stage) -> None:
    at = page()
    alive(at.get("camera_input")[0].upload("photo.jpg", png(), "image/jpeg").run())
    assert len(at.session_state["qwen_vl.waiting"]) == 1


# --- scenes to try ---------------------------------------------------------------------------------


def test_a_scene_is_drawn_to_be_asked_about(starter: Stage) -> None:
    at = click(click(page(), "qwen_vl.draw"), "qwen_vl.draw")
    first, second = at.session_state["qwen_vl.waiting"]
    assert first.data != second.data and Image.open(io.BytesIO(first.data)).format == "PNG"
    click(at, "qwen_vl.task.compare")
    assert asked_questions(at) == [("Compare the two pictures.", ["scene.png", "scene.png"])]


def test_the_starter_says_that_it_knows_drawn_scenes_only(starter: Stage) -> None:
    assert "not photographs" in page().main.info[0].value
    assert "不认识照片" in visit("qwen_vl", "zh-CN").main.info[0].value


def test_another_checkpoint_is_offered_no_scenes(stage: Stage) -> None:
    assert "qwen_vl.draw" not in keys(page())


def cloudy() -> bytes:
    """Clouds of colour, as photographs have them."""
    file = io.BytesIO()
    draw(make(3, "unknown")).save(file, "PNG")
    return file.getvalue()


def test_the_starter_says_of_a_photograph_that_it_is_none_of_its_scenes(starter: Stage) -> None:
    at = send(page(), "What is it?", ("a.png", cloudy()))
    (remark,) = at.main.warning
    assert "No drawn scene" in remark.value and "Qwen-VL-Chat" in remark.value and "a.png" not in remark.value
    send(at, "Compare.", ("b.png", example()))
    assert ["1 · a.png" in remark.value for remark in at.main.warning] == [False, True]
    assert "b.png" not in at.main.warning[1].value


def test_the_starter_says_nothing_of_its_scenes(starter: Stage) -> None:
    assert not send(page(), "What is it?", ("a.png", example()), ("b.png", png())).main.warning


def test_a_checkpoint_that_sees_everything_says_nothing_of_photographs(stage: Stage) -> None:
    assert not send(page(), "What is it?", ("a.png", cloudy())).main.warning


# --- the page --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", questions.MODES)
def test_everything_about_pictures_is_in_both_languages(mode: str, stage: Stage) -> None:
    def shown_texts(locale: str) -> list[str]:
        at = visit(locale=locale)
        at.session_state["set.qwen_vl.mode"] = mode
        at.session_state["qwen_vl.waiting"] = [PictureFile("1.png", png())]
        at.session_state["qwen_vl.in_region.0"] = True
        return list(texts(to(at, "qwen_vl")))

    english, chinese = shown_texts("en-US"), shown_texts("zh-CN")
    assert len(english) == len(chinese) > 40
    assert untranslated(english, chinese) == []


def test_a_checkpoint_of_another_page_is_refused_with_the_pages_name(stage: Stage, tmp_path: Any) -> None:
    (sentence,) = sentences(choose(page(), str(tmp_path / "chat.gguf"), "qwen_vl"))
    assert "reads and writes text only: open a page for chat" in sentence
    (sentence,) = sentences(choose(visit(), str(tmp_path / "vision")))
    assert "looks at pictures: open the Qwen-VL page" in sentence
    assert not sentences(choose(page(), "http://127.0.0.1:9/v1", "qwen_vl"))


def test_what_an_absent_checkpoint_needs_is_said(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QWEN_VL_MODEL_PATH")
    at = choose(page(), "qwen-vl-chat-int4", "qwen_vl")
    assert "9.7 GB on disk and about 12 GB of memory" in at.main.info[0].value


def test_what_a_server_runs_is_not_to_be_fetched(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN_VL_MODEL_PATH", "http://localhost:9/v1")
    at = visit("qwen_vl")
    assert not any("not on this machine" in info.value for info in at.info)
    monkeypatch.setenv("QWEN_VL_MODEL_PATH", "qwen-vl-chat")
    at = visit("qwen_vl")
    assert any("not on this machine" in info.value for info in at.info)
