"""Between the pages: transcripts handed over to a chat with their source, and messages that are spoken."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.testing.v1 import AppTest

from models import ChatEngine, EngineClosed, EngineFailed, Segment, loader
from models.documents.budgets import CUT
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.turns import Source, Turn
from pages.shared.frame import KINDS, PAGES, Page
from pages.shared.markdown import readable
from tests.fakes.engines import FakeSpeechEngine, Stage
from tests.fakes.pictures import DOT
from tests.fakes.visitor import (
    alive,
    ask,
    click,
    conversation,
    edit,
    imported,
    keys,
    sentences,
    to,
    untranslated,
    visit,
)
from tests.fakes.visitor import texts as readings
from tests.fakes.waiting import until

TALK = Source("Transcript of talk.mp3", "the cat sat")


def waits(at: AppTest, family: str = "llama2", source: Source = TALK) -> AppTest:
    at.session_state[f"{family}.sources"] = [source]
    return alive(at.run())


def chat_engine() -> Any:
    return next(found for found in loader.shared().loaded() if isinstance(found, ChatEngine))


def last_sent(at: AppTest) -> Any:
    """The newest question as the model got it, once a page has asked it."""
    return alive(at) and chat_engine().sent[-1][-1]["content"]


# --- sources -------------------------------------------------------------------------------------


def transcribed(stage: Stage, locale: str = "en-US") -> AppTest:
    stage.heard = [Segment(0.0, 1.0, " the cat"), Segment(1.0, 2.0, " sat")]
    at = visit("whisper", locale)
    at.file_uploader[0].upload("talk.mp3", b"sound", "audio/mpeg")
    click(alive(at.run()), "whisper.go")
    until(lambda: "send.llama2" in keys(alive(at.run())))
    return at


@pytest.mark.parametrize("page", [page for page in PAGES if KINDS.get(page.family) != "speech"])
def test_a_transcript_goes_to_the_page_that_is_chosen(stage: Stage, page: Page) -> None:
    at = click(transcribed(stage), f"send.{page.family}")
    assert at.session_state[f"{page.family}.sources"] == [Source("Transcript of talk.mp3", "the cat\nsat")]
    assert at.title[0].value == page.title


def test_it_is_offered_to_pages_that_answer_alone(stage: Stage) -> None:
    offered = {key for key in keys(transcribed(stage)) if key.startswith("send.")}
    assert offered == {"send.llama2", "send.gemma", "send.chatglm", "send.qwen_vl"}


def test_it_goes_with_the_next_question_quoted_and_shown(stage: Stage) -> None:
    at = to(click(transcribed(stage), "send.llama2"), "llama2")
    assert "Transcript of talk.mp3" in at.button(key="llama2.source.0").label
    ask(at, "Who sat?")
    expected = 'Transcript of talk.mp3:\n"""\nthe cat\nsat\n"""\n\nWho sat?'
    assert last_sent(at) == expected
    assert "llama2.source.0" not in keys(at)
    folded = next(found for found in at.expander if found.label == "Transcript of talk.mp3")
    assert not folded.proto.expanded and folded.text[0].value == "the cat\nsat"
    ask(at, "And then?")
    assert last_sent(at) == "And then?"
    assert chat_engine().sent[-1][0]["content"] == expected  # still before the model's eyes


def test_it_can_be_removed(stage: Stage) -> None:
    at = click(waits(visit()), "llama2.source.0")
    assert last_sent(ask(at, "Who sat?")) == "Who sat?"


def test_another_wording_and_another_answer_keep_it(stage: Stage) -> None:
    at = ask(waits(visit()), "Who sat?")
    edit(click(at, "llama2.edit.0"), "Who stood?", "Send")
    assert last_sent(at) == f"{TALK.quoted}\n\nWho stood?"
    click(at, "llama2.again")
    assert last_sent(at) == f"{TALK.quoted}\n\nWho stood?"
    assert conversation(at).turns[0].sources == (TALK,)


def test_export_and_import_keep_it(stage: Stage) -> None:
    made = Conversation()
    made.ask("Who sat?", sources=[TALK])
    assert Conversation.from_json(made.to_json()).turns == made.turns
    assert TALK.quoted in made.to_json().replace('\\"', '"').replace("\\n", "\n")
    at = imported(visit(), made.to_json())
    assert conversation(at).turns == made.turns
    assert last_sent(click(at, "llama2.again")) == f"{TALK.quoted}\n\nWho sat?"


@pytest.mark.parametrize("sources", ["[1]", '[{"title": "a"}]', '[{"title": "a", "text": 1}]', "5"])
def test_other_sources_are_refused(sources: str) -> None:
    with pytest.raises(ValueError):
        Conversation.from_json(f'{{"turns": [{{"question": "q", "sources": {sources}}}]}}')


def test_one_that_is_longer_than_the_context_is_cut_and_marked(stage: Stage) -> None:
    day = Source("Transcript of day.mp3", "word " * 200_000)
    at = ask(waits(visit(), source=day), "What was said?")
    (source,) = conversation(at).turns[0].sources
    assert source.text == day.text and source.read.endswith(f"word\n{CUT}")
    assert last_sent(at) == f"{source.quoted}\n\nWhat was said?" and not sentences(at)


def test_a_question_that_is_longer_than_the_context_gets_a_sentence(stage: Stage) -> None:
    at = ask(waits(visit()), "word " * 200_000)
    (sentence,) = sentences(at)
    assert "the context holds" in sentence
    assert conversation(at).turns[0].sources == (TALK,)
    assert last_sent(ask(click(at, "llama2.undo"), "Hello")) == "Hello"


def test_a_base_model_says_what_waits(stage: Stage) -> None:
    at = waits(visit("gemma"), "gemma")
    assert any("Transcript of talk.mp3 waits" in info.value for info in at.info)


def test_pictures_and_sources_go_together() -> None:
    turn = Turn("Compare.", sources=(TALK, TALK))
    assert turn.messages[0]["content"] == f"{TALK.quoted}\n\n{TALK.quoted}\n\nCompare."


def test_at_one_click_about_pictures_it_goes_too(stage: Stage) -> None:
    at = waits(visit("qwen_vl"), "qwen_vl")
    at.file_uploader(key="qwen_vl.upload.0").upload("a.png", DOT, "image/png")
    click(alive(at.run()), "qwen_vl.task.caption")
    turn = conversation(at, "qwen_vl").turns[0]
    assert turn.sources == (TALK,) and len(turn.pictures) == 1
    assert TALK.quoted in last_sent(at)[-1]["text"]


# --- dictation -----------------------------------------------------------------------------------


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Send a recording, with what is typed beside it: `say(at, "typed")`."""
    field = st.chat_input
    recorded: list[Any] = []

    def give(*arguments: Any, **named: Any) -> Any:
        typed = field(*arguments, **named)
        return recorded.pop() if recorded else typed

    monkeypatch.setattr(st, "chat_input", give)

    def speak(at: AppTest, text: str = "", files: tuple[Any, ...] = ()) -> AppTest:
        sound = SimpleNamespace(name="recording.wav", getvalue=lambda: b"sound")
        recorded.append(SimpleNamespace(text=text, files=files, audio=sound))
        return alive(at.run())

    return speak


@pytest.fixture
def listening(stage: Stage) -> AppTest:
    """A visitor of the chat page, with Whisper in memory."""
    stage.heard = [Segment(0.0, 1.0, " Good"), Segment(1.0, 2.0, " morning.")]
    return to(click(visit("whisper"), "whisper.load_button"), "llama2")


def test_the_microphone_is_there_when_somebody_listens(stage: Stage, listening: AppTest) -> None:
    assert listening.chat_input[0].proto.accept_audio
    click(to(listening, "whisper"), "whisper.unload_button")
    assert not to(listening, "llama2").chat_input[0].proto.accept_audio


def test_what_is_said_is_the_message(listening: AppTest, say: Callable[..., AppTest]) -> None:
    at = say(listening)
    assert chat_engine().sent[-1][-1]["content"] == "Good morning."
    assert conversation(at).turns[0].question == "Good morning."
    assert conversation(at).turns[0].answers[0].reason == "stop"
    say(at, "Hello.")
    assert conversation(at).turns[1].question == "Hello. Good morning."


def test_what_is_written_down_meanwhile_is_plain_text(
    stage: Stage, listening: AppTest, say: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    draw = DeltaGenerator.caption
    monkeypatch.setattr(
        DeltaGenerator,
        "caption",
        lambda self, text, **named: (shown.append(text), draw(self, text, **named))[1],
    )
    stage.heard = [Segment(0.0, 1.0, " It costs $5 or $6 :smile:")]
    at = say(listening)
    assert conversation(at).turns[0].question == "It costs $5 or $6 :smile:"
    (heard,) = [text for text in shown if "It costs" in text]
    assert heard == f":material/mic: {readable(' It costs $5 or $6 :smile:')}"


def test_typing_still_works_beside_a_microphone(listening: AppTest) -> None:
    assert conversation(ask(listening, "Hello")).turns[0].question == "Hello"


@pytest.mark.parametrize("typed", ["Hello.", ""])
@pytest.mark.parametrize("what", ["failure", "crash", "silence", "unloaded", "unloading"])
def test_a_failure_is_a_sentence_and_loses_no_word(
    stage: Stage,
    listening: AppTest,
    say: Callable[..., AppTest],
    what: str,
    typed: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if what == "failure":
        stage.breaks = (1, EngineFailed("Whisper stopped; try again.", "Whisper 中断；请重试。"))
    elif what == "crash":
        stage.breaks = (0, RuntimeError("bang"))
    elif what == "silence":
        stage.heard = []
    elif what == "unloading":  # since it was looked up
        hear = FakeSpeechEngine._transcribe

        def close(self: Any, *_: Any) -> Any:
            monkeypatch.setattr(FakeSpeechEngine, "_transcribe", hear)
            raise EngineClosed("It is gone.", "没了。")

        monkeypatch.setattr(FakeSpeechEngine, "_transcribe", close)
    else:
        loader.shared().unload()
    at = say(listening, typed)
    expected = {
        "failure": "Whisper stopped",
        "crash": "did not foresee",
        "silence": "No words were heard",
        "unloaded": "load one on the Whisper page",
        "unloading": "load one on the Whisper page",
    }
    assert expected[what] in sentences(at)[0]
    assert [turn.question for turn in conversation(at).turns] == ([typed] if typed else [])
    assert all(not turn.answers for turn in conversation(at).turns)
    stage.breaks = None
    assert conversation(ask(at, "Hello again")).turns[-1].answers[0].reason == "stop"


def test_stop_while_it_listens_keeps_what_was_typed(listening: AppTest) -> None:
    from pages.shared.conversation.dictation import MessageInput

    at = listening
    at.session_state["llama2.unsent"] = MessageInput("Hello.")  # what a run that was interrupted leaves
    alive(at.run())
    assert [turn.question for turn in conversation(at).turns] == ["Hello."]
    assert "llama2.unsent" not in at.session_state


def test_words_and_pictures_of_one_message(stage: Stage, say: Callable[..., AppTest]) -> None:
    stage.heard = [Segment(0.0, 1.0, " What is it?")]
    at = to(click(visit("whisper"), "whisper.load_button"), "qwen_vl")
    say(at, files=(SimpleNamespace(name="a.png", getvalue=lambda: DOT),))
    turn = conversation(at, "qwen_vl").turns[0]
    assert turn.question == "What is it?" and turn.pictures[0].data == DOT
    stage.heard = []
    say(at, files=(SimpleNamespace(name="b.png", getvalue=lambda: DOT),))
    assert [picture.name for picture in at.session_state["qwen_vl.waiting"]] == ["b.png"]


# --- words ---------------------------------------------------------------------------------------


def test_everything_is_said_in_both_languages(stage: Stage) -> None:
    def pages(locale: str) -> list[str]:
        found = []
        for page in ("qwen_vl", "gemma"):  # a chat, and a base model
            at = waits(visit(page, locale), page, Source("talk", "text"))
            found += readings(at)
        return [*found, *readings(transcribed(stage, locale))]

    same = untranslated(pages("en-US"), pages("zh-CN"))
    assert [text for text in same if not text.startswith("talk")] == []
