"""Documents that come with a question, on every chat page."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from models.documents.budgets import CUT
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.dictation import MessageInput
from pages.shared.conversation.markdown_file import write_markdown
from pages.shared.conversation.turns import Source, Turn
from tests.fakes.documents import make_docx, make_pdf
from tests.fakes.engines import Stage
from tests.fakes.pictures import DOT
from tests.fakes.visitor import (
    alive,
    ask,
    captions,
    click,
    conversation,
    edit,
    engine,
    keys,
    sentences,
    texts,
    untranslated,
    visit,
)

LONG = "word " * 9000 + "end"


def send(at: AppTest, text: str, *files: tuple[str, bytes]) -> AppTest:
    """Through the message field."""
    for name, data in files:
        at.chat_input[0].upload(name, data)
    return ask(at, text)


def sent(at: AppTest) -> str:
    """The newest question as the model got it."""
    return str(engine(at).sent[-1][-1]["content"])


@pytest.mark.parametrize("page", ["llama2", "chatglm"])
def test_a_document_goes_with_its_question_by_its_name(glm: Stage, page: str) -> None:
    at = send(visit(page), "Who sat?", ("notes.md", b"the cat sat"))
    assert sent(at) == 'notes.md:\n"""\nthe cat sat\n"""\n\nWho sat?'
    (source,) = conversation(at, page).turns[0].sources
    assert (source.title, source.text, source.sent) == ("notes.md", "the cat sat", None)
    assert source.tokens == len(source.quoted.split())
    assert f"{source.tokens} tokens" in captions(at)
    folded = next(found for found in at.expander if found.label == "notes.md")
    assert folded.text[0].value == "the cat sat"


def test_pdf_and_docx_are_read(stage: Stage) -> None:
    at = send(visit(), "Who?", ("a.pdf", make_pdf("The heron")), ("b.docx", make_docx(["stands"])))
    assert [source.text for source in conversation(at).turns[0].sources] == ["The heron", "stands"]
    assert conversation(at).turns[0].answers[0].reason == "stop"


def test_what_does_not_fit_is_not_sent_and_marked_where_it_ends(stage: Stage) -> None:
    at = send(visit(), "Which word?", ("long.txt", LONG.encode()), ("short.txt", b"a short one"))
    long, short = conversation(at).turns[0].sources
    assert long.text == LONG and long.read.endswith(f"word\n{CUT}") and short.read == "a short one"
    assert long.quoted in sent(at) and short.quoted in sent(at)
    room = engine(at).context_length // 2
    assert room // 2 < long.tokens + short.tokens < room
    folded = next(found for found in at.expander if found.label == "long.txt")
    assert folded.text[0].value == long.read
    assert "cut where the context ends: only the first 2% of it is sent" in captions(at)


def test_another_wording_and_another_answer_keep_it(stage: Stage) -> None:
    at = send(visit(), "Which word?", ("long.txt", LONG.encode()))
    before = conversation(at).turns[0].sources
    edit(click(at, "llama2.edit.0"), "Which one?", "Send")
    assert conversation(at).turns[0].sources == before and before[0].quoted in sent(at)
    click(at, "llama2.again")
    assert conversation(at).turns[0].sources == before and len(conversation(at).turns[0].answers) == 2


def test_a_file_without_words_waits_for_some(stage: Stage) -> None:
    at = send(visit(), "", ("notes.txt", b"the cat sat"))
    assert "llama2.source.0" in keys(at) and not conversation(at).turns
    ask(at, "Hello")
    at = send(at, "", ("more.txt", b"on the mat"))
    assert "tokens" in captions(at)
    click(at, "llama2.source.0")
    assert sent(ask(at, "Who sat?")) == "Who sat?"


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.txt", b"\x7fELF\x00\x00", "is no text"),
        ("scan.pdf", make_pdf(""), "no text"),
        ("a.png", DOT, "is a picture"),
    ],
)
def test_what_cannot_be_read_is_a_sentence_and_loses_no_word(
    stage: Stage, name: str, data: bytes, says: str
) -> None:
    at = send(visit(), "Who sat?", (name, data), ("notes.txt", b"the cat sat"))
    (sentence,) = sentences(at)
    assert name in sentence and says in sentence
    (turn,) = conversation(at).turns
    assert turn.question == "Who sat?" and not turn.answers
    assert [source.title for source in turn.sources] == ["notes.txt"]
    assert not sentences(click(at, "llama2.again"))


def test_pictures_and_documents_of_one_message(stage: Stage) -> None:
    at = send(visit("qwen_vl"), "Who?", ("a.png", DOT), ("notes.txt", b"the cat sat"))
    (turn,) = conversation(at, "qwen_vl").turns
    assert [picture.name for picture in turn.pictures] == ["a.png"]
    assert [source.title for source in turn.sources] == ["notes.txt"] and turn.answers
    at = send(at, "And?", ("b.png", DOT), ("c.bin", b"\x00\x01\x02\x03"))
    turn = conversation(at, "qwen_vl").turns[-1]
    assert "c.bin is no text" in sentences(at)[0] and not turn.answers
    assert [picture.name for picture in turn.pictures] == ["b.png"]


def test_stop_while_it_is_read_keeps_what_was_typed(stage: Stage) -> None:
    at = visit()
    file: Any = SimpleNamespace(name="long.pdf", getvalue=lambda: b"")
    at.session_state["llama2.unsent"] = MessageInput(
        "Hello.", [file]
    )  # what a run that was interrupted leaves
    alive(at.run())
    assert [turn.question for turn in conversation(at).turns] == ["Hello."]
    assert sentences(at) == ["Reading long.pdf was stopped: attach it again."]


# --- as files ------------------------------------------------------------------------------------

DOCUMENT = Source("long.txt", LONG, 9, 17)


def test_export_and_import_keep_what_was_sent() -> None:
    made = Conversation()
    made.ask("Which?", sources=[DOCUMENT])
    assert Conversation.from_json(made.to_json()).turns == made.turns
    assert json.loads(made.to_json())["messages"][0]["content"] == f"{DOCUMENT.quoted}\n\nWhich?"
    assert f"word word\n{CUT}" in write_markdown(made, "en")


def test_one_of_an_older_export_is_read() -> None:
    turns = [{"question": "q", "sources": [{"title": "a", "text": "b"}]}]
    assert Conversation.from_json(json.dumps({"turns": turns})).turns == (
        Turn("q", sources=(Source("a", "b"),)),
    )


@pytest.mark.parametrize(("sent", "read"), [(-5, CUT), (0, CUT), (1, f"b\n{CUT}"), (2, "bc"), (10**9, "bc")])
def test_whatever_a_file_says_was_sent_is_shown(sent: int, read: str) -> None:
    turns = [{"question": "q", "sources": [{"title": "a", "text": "bc", "sent": sent, "tokens": 1}]}]
    (turn,) = Conversation.from_json(json.dumps({"turns": turns})).turns
    assert turn.sources[0].read == read


@pytest.mark.parametrize("sent", ["x", [], 1e999])
def test_what_is_no_number_is_refused(sent: Any) -> None:
    turns = [{"question": "q", "sources": [{"title": "a", "text": "bc", "sent": sent}]}]
    with pytest.raises(ValueError):
        Conversation.from_json(json.dumps({"turns": turns}))


def test_quotes_in_a_document_do_not_end_it() -> None:
    program = Source("a.py", 'def f():\n    """Says nothing."""\n')
    assert program.quoted == f'a.py:\n""""\n{program.text}\n""""'


def test_everything_is_said_in_both_languages(stage: Stage) -> None:
    def page(locale: str) -> list[str]:
        at = send(visit(locale=locale), "9?", ("long.txt", LONG.encode()), ("a", b"1 2"))
        return [*texts(send(at, "", ("b", b"1 2"))), *texts(send(at, "", ("c.png", DOT)))]

    ours = ("9?", "word", "long.txt", "a", "b", "1 2", "c.png")
    same = untranslated(page("en-US"), page("zh-CN"))
    assert [text for text in same if not text.startswith(ours)] == []
