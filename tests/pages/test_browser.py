"""The running app in headless Chromium, on the real starters: what a visitor does and sees."""

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

import models
from models.sound import decoding
from pages.shared.vision.region import MIDDLE
from starters.qwen_vl.drawing import draw
from starters.qwen_vl.evaluate import overlap
from starters.qwen_vl.scenes import UNSEEN, Scene, make
from tests.fakes.browser import SLOW, answers, ask, done, key, launched
from tests.fakes.damaged_gguf import ENDLESS, with_flipped_bit, with_template
from tests.fakes.sounds import write_sound
from tests.fakes.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.weights]


def test_a_visitor_asks_and_is_answered(visit):
    page = visit()
    ask(page, "What is the capital of Japan?")
    page.get_by_text("first after").wait_for(timeout=SLOW)
    assert "Tokyo" in answers(page).last.inner_text()
    assert page.get_by_text("Context:").is_visible()


def test_stop_keeps_the_part_and_regenerate_keeps_both(visit):
    page = visit()
    ask(page, "Write a very long story about a dragon.")
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-testid=stChatMessage]')].at(-1)?.innerText.indexOf('▌') > 60",
        timeout=SLOW,
    )
    page.locator(key("llama2.stop") + " button").click()
    page.get_by_text("stopped · ").wait_for()
    part = answers(page).last.inner_text().split("stopped")[0].strip()
    assert len(part) > 20
    page.locator(key("llama2.again") + " button").first.click()
    page.get_by_text("▌").wait_for(timeout=SLOW)
    page.locator(key("llama2.stop") + " button").click()
    page.get_by_text("2 / 2").wait_for()
    page.locator(key("llama2.choose.0.-1") + " button").first.click()
    page.get_by_text("1 / 2").wait_for()
    assert part in answers(page).last.inner_text()


def test_edit_resends_and_undo_brings_it_back(visit):
    page = visit()
    ask(page, "Say one word.")
    page.get_by_text("first after").wait_for(timeout=SLOW)
    page.locator(key("llama2.edit.0") + " button").first.click()
    page.locator("[data-testid=stForm] textarea").fill("What is the capital of Japan?")
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_text("Tokyo").first.wait_for(timeout=SLOW)
    page.get_by_text("System prompt and conversation").click()
    page.locator(key("llama2.undo") + " button").first.click()
    page.get_by_text("Say one word.").wait_for()


def test_two_browsers_at_once_never_mix(visit):
    first, second = visit(), visit()
    ask(first, "What is the capital of Egypt?")
    ask(second, "What is the capital of Japan?")
    first.get_by_text("first after").wait_for(timeout=SLOW)
    second.get_by_text("first after").wait_for(timeout=SLOW)
    assert "Cairo" in answers(first).last.inner_text()
    assert "Tokyo" in answers(second).last.inner_text()
    assert "Japan" not in first.locator("body").inner_text()
    assert "Egypt" not in second.locator("body").inner_text()


def test_other_pages_and_back_keeps_the_conversation(visit):
    page = visit()
    ask(page, "What is the capital of Japan?")
    page.get_by_text("first after").wait_for(timeout=SLOW)
    page.get_by_role("link", name="Whisper").click()
    page.get_by_text("Spoken language").wait_for()
    page.get_by_role("link", name="LLaMA 2").click()
    page.get_by_text("first after").wait_for()
    assert "Tokyo" in answers(page).last.inner_text()


def test_gemma_continues_a_text_once_its_terms_are_accepted(visit):
    page = visit("/gemma")
    page.get_by_text("Before its first use").wait_for()
    assert page.locator(key("gemma.load_button") + " button").is_disabled()
    page.get_by_text("I accept these terms").click()
    page.locator(key("set.gemma.max_new_tokens.1024") + " input").fill("16")
    page.keyboard.press("Enter")
    page.get_by_text("loaded when it is first needed").wait_for()
    page.locator(key("gemma.text.0") + " textarea").fill("The capital of France is")
    page.locator(key("gemma.go") + " button").click()
    page.get_by_text("first after").wait_for(timeout=SLOW)
    text = page.locator("textarea[aria-label='Text to continue']").input_value()
    assert text.startswith("The capital of France is")
    assert len(text) > len("The capital of France is")


def in_mode(page, title: str, mode: str = "code"):
    page.get_by_role("radio", name=title, exact=True).click()
    page.locator(key(f"chatglm.{mode}.input")).wait_for()  # the field of that conversation
    return page


def test_chatglm_says_what_it_is(visit):
    page = visit("/chatglm")
    ask(page, "Who are you?")
    assert "ChatGLM3" in done(page)


def test_chatglm_calls_two_tools_on_the_way_to_an_answer(visit):
    page = in_mode(visit("/chatglm"), "Tool", "tool")
    ask(page, "Which is warmer, Beijing or London?")
    answer = done(page)
    steps = answers(page).last.locator("[data-testid=stExpander]")
    assert steps.count() == 2 and "get_weather" in steps.first.inner_text()
    assert "22°C" in answer and "13°C" in answer  # of the example table


def test_chatglm_draws_with_its_own_code(visit):
    page = in_mode(visit("/chatglm", locale="zh-CN"), "代码解释器")
    ask(page, "画一个正弦曲线")
    done(page)
    picture = answers(page).last.locator("img").first
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") > 200
    assert "np.sin(x)" in answers(page).last.inner_text()


def test_chatglms_endless_loop_can_be_stopped(visit):
    page = in_mode(visit("/chatglm"), "Code Interpreter")
    ask(page, "run an infinite loop")
    page.get_by_text("while True").first.wait_for(timeout=SLOW)
    page.locator(key("chatglm.code.stop") + " button").click()
    page.get_by_text("stopped · ").wait_for()
    ask(page, "let x = 41")
    assert "41" in done(page)


def test_no_browser_sees_the_variables_of_another(visit):
    first, second = (in_mode(visit("/chatglm"), "Code Interpreter") for _ in range(2))
    ask(first, "let x = 41")
    done(first)
    ask(second, "print x")
    assert "NameError" in done(second)
    ask(first, "print x")
    assert "41" in done(first, 2)


def drawn(folder: Path, seed: int) -> tuple[Scene, Path]:
    """A scene that the small Qwen-VL never saw, and its picture."""
    scene = make(UNSEEN + seed, "free", busy=0.4)
    path = folder / f"scene-{seed}.png"
    draw(scene).save(path)
    return scene, path


def test_a_drawn_scene_is_described_and_its_things_are_found(visit, tmp_path):
    scene, path = drawn(tmp_path, 0)
    thing = scene.objects[0]
    page = visit("/qwen_vl")
    page.get_by_text("not photographs").wait_for()
    with page.expect_response(
        lambda response: "upload_file" in response.url and response.request.method == "PUT"
    ):
        page.set_input_files("[data-testid=stChatInput] input[type=file]", str(path))
    page.locator("[data-testid=stChatInputTextArea]").fill("Describe this picture in one sentence.")
    page.locator("[data-testid=stChatInputSubmitButton]:enabled").click()
    assert f"{thing.colour} {thing.kind}" in done(page)

    page.get_by_role("button", name="Find…").click()
    page.locator(key("qwen_vl.find") + " input").fill(f"the {thing.colour} {thing.kind}")
    page.get_by_role("button", name="Find", exact=True).click()
    done(page, 2)
    assert not page.locator(key("qwen_vl.find")).is_visible()
    answers(page).last.get_by_role("table").wait_for()
    with page.expect_download() as waiting:
        answers(page).last.get_by_role("button", name="Boxes", exact=True).click()
    (box,) = json.loads(Path(waiting.value.path()).read_text("utf-8"))["boxes"]
    assert overlap(box["box"], thing.box) > 0.5

    thing = scene.objects[-1]
    page.get_by_text("Ask about a region").click()
    left, top, right, bottom = (
        side / length for side, length in zip(thing.box, (scene.width, scene.height) * 2, strict=True)
    )
    point(page, left - 0.02, top - 0.02)
    page.mouse.down()
    point(page, right + 0.02, bottom + 0.02)
    page.mouse.up()
    page.wait_for_function(  # the sliders follow
        "([slider, before]) => {"
        "  const shown = document.querySelector(slider)?.innerText;"
        "  return shown && !shown.includes(before);"
        "}",
        arg=[key("qwen_vl.across"), str(MIDDLE[0])],
    )
    page.get_by_role("button", name="Ask about this region").click()
    assert f"{thing.colour} {thing.kind}" in done(page, 3)


def point(page, across: float, down: float) -> None:
    """Move the mouse to a place on the picture, in shares of it, once it has stopped moving."""
    picture = page.locator(".picture")
    place = picture.bounding_box()
    x, y = (
        min(max(share, 0.001), 0.999) * place[side] for share, side in ((across, "width"), (down, "height"))
    )
    picture.hover(position={"x": x, "y": y})


def test_pictures_are_captioned_and_a_bad_one_costs_no_other(visit, tmp_path):
    scenes, paths = zip(*(drawn(tmp_path, seed) for seed in range(6)), strict=True)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    page = visit("/qwen_vl")
    page.get_by_role("radio", name="Caption many", exact=True).click()
    page.get_by_text("Pictures to caption").wait_for()
    files = [str(path) for path in (*paths, bad)]
    page.locator("[data-testid=stFileUploaderDropzoneInput]").first.set_input_files(files)
    page.get_by_text("0 of 7").or_(page.get_by_text("1 of 7")).first.wait_for()
    page.locator(key("qwen_vl.caption") + " button:enabled").click()
    page.get_by_text("7 of 7").first.wait_for(timeout=SLOW)
    with page.expect_download() as waiting:
        page.locator(key("qwen_vl.download.json") + " button:enabled").click()
    rows = json.loads(Path(waiting.value.path()).read_text("utf-8"))
    assert [row["file"] for row in rows] == [*(path.name for path in paths), "bad.png"]
    assert rows.pop()["note"] and not any(row["note"] for row in rows)
    named = [scene.objects[0].kind in row["caption"] for scene, row in zip(scenes, rows, strict=True)]
    assert sum(named) >= 5


def transcribe(page, *files) -> None:
    page.set_input_files("[data-testid=stFileUploaderDropzoneInput]", [str(file) for file in files])
    page.locator(key("whisper.go") + " button:not([disabled])").click()


def test_a_transcript_is_listened_to_corrected_and_taken_away(visit, jfk, tmp_path):
    wrong = tmp_path / "song.mp3"
    wrong.write_text("this is not sound", encoding="utf-8")
    page = visit("/whisper")
    transcribe(page, wrong, jfk)
    page.get_by_text("× real time").wait_for(timeout=SLOW)
    assert "song.mp3" in page.locator("[data-testid=stAlertContentError]").inner_text()
    assert "Traceback" not in page.locator("body").inner_text()

    line = page.locator(".line").first
    line.scroll_into_view_if_needed()
    assert "country" in page.locator(".lines").text_content().lower()
    line.locator(".text").click()  # plays from there
    page.locator(".line.now").wait_for()
    page.locator(".play", has_text="❚❚").click()

    line.locator(".pen").click()
    page.locator(".editor textarea").fill("My fellow testers")
    page.locator(".editor .main").click()
    line.get_by_text("My fellow testers").wait_for()
    for form in ("txt", "srt", "vtt", "tsv", "json"):
        with page.expect_download() as waiting:
            page.locator(key(f"whisper.download.{form}") + " button").click()
        assert "My fellow testers" in Path(waiting.value.path()).read_text(encoding="utf-8"), form

    page.get_by_role("link", name="Gemma").click()
    page.get_by_text("Text to continue").wait_for()
    page.get_by_role("link", name="Whisper").click()
    line.get_by_text("My fellow testers").wait_for()


def test_the_microphone_records(visit):
    page = visit("/whisper")
    page.get_by_role("tab", name="Record").click()
    page.get_by_role("button", name="Record", exact=True).click()
    page.locator("[data-testid=stAudioInputWaveformTimeCode]:not(:text('00:00'))").wait_for()
    page.get_by_role("button", name="Stop recording").click()
    page.get_by_text("recording 1.wav").first.wait_for()
    page.locator(key("whisper.go") + " button:not([disabled])").click()
    # Chromium's fake microphone beeps: no words, but an answer.
    page.get_by_text("done · 0:").wait_for(timeout=SLOW)


def test_text_comes_while_somebody_speaks(chromium, address, jfk, tmp_path):
    from playwright.sync_api import TimeoutError as PlaywrightTimeout

    said = write_sound(tmp_path / "said.wav", decoding.load(jfk))  # once: nothing of it may be lost
    with launched(chromium.browser_type, said) as speaking:
        page = speaking.new_context(locale="en-US", permissions=["microphone"]).new_page()
        page.set_default_timeout(2 * SLOW)  # recognising may be far slower than speech
        page.goto(f"{address}/whisper")
        page.get_by_role("tab", name="Live").click()
        load = page.locator(f"{key('whisper.live.load')} button:enabled")
        start = page.locator(".live .start:enabled")
        load.or_(start).first.wait_for()
        if load.count():  # no test before has loaded it
            load.click()
        start.click()
        try:
            # What the browser makes of the sound is now "ask not", now "asked not", "Americans" or "America".
            page.locator(".live .final").get_by_text("country").wait_for()
        except PlaywrightTimeout:
            pytest.fail(page.locator("[data-testid=stMain]").inner_text())
        assert page.locator(".live .stop").is_enabled()  # it is still listening
        page.get_by_text(re.compile(r"about \d+ s behind")).wait_for()
        page.locator(".live .stop").click()
        page.locator(".lines").get_by_text("my fellow America").first.wait_for()
        start.wait_for()


def test_a_spoken_message_is_answered(visit):
    page = visit("/whisper")
    load = page.locator(key("whisper.load_button") + " button:enabled")
    loaded = page.locator(key("whisper.unload_button") + " button:enabled")
    load.or_(loaded).first.wait_for()
    if load.count():
        load.click()
    loaded.wait_for(timeout=SLOW)
    page.get_by_role("link", name="LLaMA 2").click()
    page.locator("[data-testid=stChatInputTextArea]").fill("Hello")
    page.locator("[data-testid=stChatInputMicButton]").click()
    page.locator("[data-testid=stChatInputWaveform] canvas").first.wait_for()
    page.locator("[data-testid=stChatInputApproveButton]").click()
    # The fake microphone beeps: no words, and the typed one is kept.
    page.get_by_text("No words were heard").wait_for(timeout=SLOW)
    page.locator("[data-testid=stChatMessage]").get_by_text("Hello").wait_for()


def test_chinese_visitors_read_chinese(visit):
    page = visit("/", locale="zh-CN", width=390)
    page.get_by_placeholder("输入消息").wait_for()
    assert "系统提示词" in page.locator("body").inner_text()


def test_streamlits_own_words_are_chinese_where_a_style_can_say_them(visit):
    page = visit("/whisper", locale="zh-CN")
    page.get_by_test_id("stFileUploaderDropzone").get_by_role("button", name="上传", exact=True).wait_for()
    assert not page.get_by_text("per file").is_visible()


def test_long_names_of_checkpoints_are_readable(visit):
    page = visit("/")
    box = page.locator(key("set.llama2.checkpoint"))
    box.get_by_role("button").last.click()
    page.get_by_role("option").first.wait_for()
    page.wait_for_function(  # it opens in steps
        """() => {
            const rows = [...document.querySelectorAll("[role=option] > *")];
            const cut = (row) => row.scrollWidth > row.clientWidth || row.scrollHeight > row.clientHeight;
            return rows.length > 4 && !rows.some(cut);
        }"""
    )
    page.get_by_test_id("stCaptionContainer").get_by_text("SmolLM2 135M Instruct · 94 MB").wait_for()


def test_a_page_reached_by_its_own_address_has_the_links(visit):
    page = visit("/whisper")
    page.get_by_role("link", name="Gemma").click()
    page.get_by_text("Text to continue").wait_for()


@contextmanager
def undisturbed(reader) -> Iterator[None]:
    """An answer of the first page's starter is being written, and nothing in the block may change that."""
    ask(reader, "Write a very long story about a dragon.")
    reader.wait_for_function(
        "() => [...document.querySelectorAll('[data-testid=stChatMessage]')].at(-1)?.innerText.length > 60",
        timeout=SLOW,
    )
    workers = _workers("smollm2-135m-instruct")
    assert len(workers) == 1
    yield
    reader.wait_for_function(  # it grows on, or has ended as it should
        "read => {"
        "  const shown = [...document.querySelectorAll('[data-testid=stChatMessage]')].at(-1).innerText;"
        "  return shown.length > read || /first after/.test(shown);"
        "}",
        arg=len(answers(reader).last.inner_text()),
        timeout=SLOW,
    )
    assert _workers("smollm2-135m-instruct") == workers
    assert reader.locator("[data-testid=stAlertContentError]").count() == 0


def choose_file(page, family: str, path: Path) -> None:
    """Type the path of a file as the checkpoint."""
    page.locator(key(f"set.{family}.checkpoint") + " input").fill(str(path))
    page.keyboard.press("Enter")
    page.get_by_text(f"{path.stem} is loaded when it is first needed").wait_for()


@pytest.fixture(scope="module")
def starter() -> bytes:
    return models.shared().fetch("smollm2-135m-instruct").read_bytes()


def test_a_crash_of_one_model_is_not_noticed_by_readers_of_another(visit):
    reader, other = visit(), visit("/chatglm")
    with undisturbed(reader):
        ask(other, "你好")
        until(lambda: _workers("chatglm3-tiny"))
        for worker in _workers("chatglm3-tiny"):
            worker.send_signal(signal.SIGSEGV)
        # While it loads that is a sentence; otherwise it is started again, and answers.
        other.get_by_text(re.compile(r"\(SIGSEGV\)|first after")).first.wait_for(timeout=SLOW)
        ask(other, "你是谁？")
        other.get_by_text("first after").last.wait_for(timeout=SLOW)


def test_a_file_that_ends_its_library_is_not_noticed_by_others(visit, folder, starter):
    (path := folder / "aborts.gguf").write_bytes(with_flipped_bit(starter, "llama.context_length"))
    reader, other = visit(), visit("/chatglm")
    with undisturbed(reader):
        choose_file(other, "chatglm", path)
        ask(other, "Hello")
        other.locator("[data-testid=stAlertContentError]", has_text="(SIGABRT)").wait_for(timeout=SLOW)


def test_a_template_without_end_is_stopped_and_not_noticed_by_others(visit, folder, starter):
    (path := folder / "endless.gguf").write_bytes(with_template(starter, ENDLESS))
    reader, other = visit(), visit("/chatglm")
    with undisturbed(reader):
        choose_file(other, "chatglm", path)
        ask(other, "Hello")
        until(lambda: _workers(str(path)))
        other.locator(f"{key('chatglm.stop')} button").first.click()
        other.locator(key("chatglm.stop")).wait_for(state="detached")
        until(lambda: not _workers(str(path)))


def _workers(name: str) -> list[psutil.Process]:
    """The processes in which the server of these tests has this checkpoint. One that has just ended has no name."""
    ours = {process.pid for process in psutil.Process().children(recursive=True)}
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.pid in ours and (process.info["cmdline"] or [])[-2:] == ["models.workers.worker", name]
    ]
