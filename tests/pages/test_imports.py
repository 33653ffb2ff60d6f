"""Conversations of other programs: what they say arrives, or is said to be missing."""

import base64
import json
from typing import Any

import pytest

from pages.shared.conversation.conversation import Conversation
from tests.fakes.engines import Stage
from tests.fakes.pictures import DOT
from tests.fakes.visitor import ask, captions, imported, said, sentences, shown, visit

BASE64 = base64.b64encode(DOT).decode()
DATA_URL = f"data:image/png;base64,{BASE64}"

Turns = list[tuple[str, str]]


def user(content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **fields}


def assistant(content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields}


def call(name: str, arguments: Any, number: str = "1") -> dict[str, Any]:
    return {"id": number, "type": "function", "function": {"name": name, "arguments": arguments}}


def read(data: Any) -> Conversation:
    """The conversation in a file, which is the same after an export."""
    made = Conversation.from_json(json.dumps(data))
    again = Conversation.from_json(made.to_json())
    assert (again.turns, again.system) == (made.turns, made.system)
    return made


def turns(made: Conversation) -> Turns:
    """Each question and the text of its answer, calls before it in brackets."""
    found = []
    for turn in made.turns:
        answer = turn.answer
        steps = [f"{s.text}<{s.name} {s.arguments} {s.observation}>" for s in answer.steps] if answer else []
        found.append((turn.question, "".join([*steps, answer.text if answer else ""])))
    return found


def notes(made: Conversation) -> str:
    return "\n".join(note.en for note in made.notes)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([user("q"), assistant("a")], [("q", "a")]),
        ({"messages": [user("q"), assistant("a")]}, [("q", "a")]),
        ([user([{"type": "text", "text": "q"}, "r"]), assistant({"parts": ["a", "b"]})], [("q\nr", "a\nb")]),
        ([assistant("hello"), user("q"), assistant("a")], [("", "hello"), ("q", "a")]),
        ([user("q"), assistant("a"), assistant("b"), user("r")], [("q", "a"), ("", "b"), ("r", "")]),
        ([user("q"), user("r"), assistant("a")], [("q", ""), ("r", "a")]),
        ([user(""), assistant("hi"), user(" \n"), assistant(""), user("q"), assistant(None)], [("", "hi"), ("q", "")]),
        ([user("q"), assistant(None, refusal="I cannot.")], [("q", "I cannot.")]),
        ([user("q"), assistant([{"type": "refusal", "refusal": "I cannot."}])], [("q", "I cannot.")]),
        (
            [user("q"), assistant("look:", tool_calls=[call("f", '{"a": 1}')]),
             {"role": "tool", "tool_call_id": "1", "content": "one"}, assistant("done")],
            [("q", 'look:<f {"a": 1} one>done')],
        ),
        (  # two calls at once, answered in the other order
            [user("q"), assistant(None, tool_calls=[call("f", "{}", "1"), call("g", {"b": 2}, "2")]),
             {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "two"}]},
             {"role": "tool", "tool_call_id": "1", "content": "one"}, assistant("done"), user("r")],
            [("q", '<f {} one><g {"b": 2} two>done'), ("r", "")],
        ),
        (
            [user("q"), assistant(None, function_call={"name": "f", "arguments": "{}"}),
             {"role": "function", "name": "f", "content": "r"}, assistant("done")],
            [("q", "<f {} r>done")],
        ),
        (
            {"conversations": [{"from": "human", "value": "q"},
                               {"from": "function_call", "value": '{"name": "f", "arguments": {"a": 1}}'},
                               {"from": "observation", "value": "r"}, {"from": "gpt", "value": "a"}]},
            [("q", '<f {"a": 1} r>a')],
        ),
        (
            {"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": "f(1)"}]},
            [("q", "<tool f(1) None>")],
        ),
        ({"history": [["q", "a"], ["r", None]]}, [("q", "a"), ("r", "")]),
        ([["q", "a"]], [("q", "a")]),
        ({"history": [["q", "a"]], "query": "r", "response": "b"}, [("q", "a"), ("r", "b")]),
        ([{"instruction": "q", "input": "x", "output": "a"}], [("q\nx", "a")]),
        ({"prompt": "q", "completion": "a"}, [("q", "a")]),
        (
            {"internal": [["<|BEGIN-VISIBLE-CHAT|>", "hello"], ["q", "a"]], "visible": []},
            [("", "hello"), ("q", "a")],
        ),
        (  # OpenAI's Responses
            {"input": [user([{"type": "input_text", "text": "q"}]),
                       {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"},
                       {"type": "function_call_output", "call_id": "c", "output": "r"},
                       {"type": "message", **assistant([{"type": "output_text", "text": "a"}])}]},
            [("q", "<f {} r>a")],
        ),
        (  # Anthropic
            [user("q"), assistant([{"type": "text", "text": "ok "},
                                   {"type": "tool_use", "id": "t", "name": "f", "input": {"x": "二"}}]),
             user([{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "r"}]}]),
             assistant("done")],
            [("q", 'ok <f {"x": "二"} r>done')],
        ),
        (  # Gemini
            {"contents": [{"role": "user", "parts": [{"text": "q"}]},
                          {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
                          {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"r": 1}}}]},
                          {"role": "model", "parts": [{"text": "a"}]}]},
            [("q", '<f {} {"r": 1}>a')],
        ),
    ],
)  # fmt: skip
def test_everything_has_its_place(data: Any, expected: Turns) -> None:
    made = read(data)
    assert turns(made) == expected and made.notes == ()


@pytest.mark.parametrize(
    ("data", "expected", "note"),
    [
        (
            [user([{"type": "text", "text": "q"}, {"type": "input_audio", "input_audio": {"data": "AA"}},
                   {"type": "file", "file": {"filename": "a.pdf", "file_data": "AA"}}, {"type": "new"}, 5])],
            [("q\n[input_audio]\n[file: a.pdf]\n[new]\n[int: 5]", "")],
            "(input_audio, file, new, int), marked where it stood: 4.",
        ),
        ([user("q"), assistant(None, audio={"transcript": "a"})], [("q", "[audio: a]")], "(audio)"),
        ([user("q"), assistant([{"type": "image_url", "image_url": {"url": DATA_URL}}])], [("q", "[image]")], "(image)"),
        ([user([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}])], [("[image_url]", "")], "1."),
        ([user(["q", {"type": "image_url", "image_url": "https://a.b/c"}])], [("q\n[image: https://a.b/c]", "")], "not fetched"),
        ([user([{"image": "C:\\a.png"}, {"text": "q"}])], [("[image: C:\\a.png]\nq", "")], "not fetched"),
        ([user("q", name="Anna"), user("r", name="Bob")], [("Anna: q", ""), ("Bob: r", "")], "(Anna, Bob), which now begins their text: 2."),
        ([user("q"), {"role": "critic", "content": "bad"}], [("q", ""), ("critic: bad", "")], "(critic)"),
        ([user("q"), {"role": "function", "name": "f", "content": "r"}, assistant("a")], [("q", "<f {} r>a")], "no call of a tool asked for (f)"),
        (  # of a call that is another one
            [user("q"), assistant(None, tool_calls=[call("f", "{}", "1")]),
             {"role": "tool", "tool_call_id": "9", "name": "g", "content": "r"}],
            [("q", "<f {} None><g {} r>")], "no call of a tool asked for (g)",
        ),
        ([assistant("hi"), {"role": "tool", "content": "r"}], [("", "hi"), ("", "<tool {} r>")], "(tool)"),
        ([user("q"), assistant("a", reasoning_content="hm")], [("q", "a")], "thoughts were left out, since only answers are kept: 1."),
        ([user("q"), assistant([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}])], [("q", "a")], "thoughts"),
        ([{"conversations": [{"from": "human", "value": text}]} for text in "qrs"], [("q", "")], "imported at a time, the first: 2."),
        ({"messages": [user("<image>q")], "images": ["a/b.jpg"]}, [("<image>q\n[image: a/b.jpg]", "")], "not fetched"),
    ],
)  # fmt: skip
def test_what_has_no_place_is_marked_and_said(data: Any, expected: Turns, note: str) -> None:
    made = read(data)
    (only,) = made.notes
    assert turns(made) == expected and note in only.en
    assert only.zh != only.en and "{" not in only.en + only.zh


def test_system_messages_are_one_prompt_wherever_they_stood() -> None:
    made = read([{"role": "system", "content": "A"}, {"role": "developer", "content": ["B"]}, user("q")])
    assert made.system == "A\n\nB" and made.notes == ()
    later = read(
        [{"role": "system", "content": "A"}, user("q"), {"role": "system", "content": "B"}, assistant("a")]
    )
    assert (later.system, turns(later)) == ("A\n\nB", [("q", "a")])
    assert "middle of the conversation, now part of the system prompt: 1." in notes(later)
    for data in (
        {"system": "S", "messages": [user("q")]},
        {"systemInstruction": {"parts": [{"text": "S"}]}, "contents": [user("q")]},
    ):
        assert read(data).system == "S"


@pytest.mark.parametrize(
    "message",
    [
        user([{"type": "image_url", "image_url": {"url": DATA_URL}}, {"type": "text", "text": "q"}]),
        user([{"type": "input_image", "image_url": DATA_URL}, {"type": "input_text", "text": "q"}]),
        user([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BASE64}}, "q"]),
        user("q", images=[BASE64]),
        user("q", files=[{"type": "image", "url": DATA_URL}]),
        {"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": BASE64}}, {"text": "q"}]},
    ],
)  # fmt: skip
def test_pictures_come_with_their_question(message: dict[str, Any]) -> None:
    made = read([message, assistant("a")])
    (turn,) = made.turns
    assert (turn.question, [picture.data for picture in turn.pictures]) == ("q", [DOT])
    assert made.notes == ()


def test_a_call_that_waits_still_waits() -> None:
    made = read([user("q"), assistant("", tool_calls=[call("f", "{}")])])
    answer = made.turns[0].answer
    assert answer and answer.waiting and answer.waiting.name == "f"


def node(parent: str | None, role: str, text: str, **fields: Any) -> dict[str, Any]:
    content = {"content_type": "text", "parts": [text]}
    return {"parent": parent, "message": {"author": {"role": role}, "content": content, **fields}}


def test_an_export_of_chatgpt() -> None:
    code = {"content_type": "code", "text": "1 + 1"}
    talk = {
        "root": {"parent": None, "message": None},
        "hidden": node("root", "system", "", metadata={"is_visually_hidden_from_conversation": True}),
        "q": node("hidden", "user", "q"),
        "other": node("q", "assistant", "another answer"),
        "code": node("q", "assistant", "", recipient="python") | {},
        "out": node("code", "tool", "2"),
        "a": node("out", "assistant", "two", recipient="all"),
    }
    talk["code"]["message"]["content"] = code  # type: ignore[index]
    made = read([{"title": "t", "mapping": talk, "current_node": "a"}, {"title": "u", "mapping": {}}])
    assert turns(made) == [("q", "<python 1 + 1 2>two")]
    assert "left out: 1." in notes(made) and "the first: 1." in notes(made)


def test_hidden_thoughts_and_pictures_of_chatgpt() -> None:
    hidden = {"is_visually_hidden_from_conversation": True}
    profile = {"content_type": "user_editable_context", "user_profile": "p", "user_instructions": "i"}
    asked = {"content_type": "multimodal_text", "parts": [
        {"content_type": "image_asset_pointer", "asset_pointer": "file-service://file-1", "width": 8}, "q"]}  # fmt: skip
    thoughts = {"content_type": "thoughts", "thoughts": [{"summary": "s", "content": "c"}]}
    talk = {
        "root": {"parent": None, "message": None},
        "profile": node("root", "user", "", metadata=hidden),
        "q": node("profile", "user", ""),
        "thoughts": node("q", "assistant", ""),
        "a": node("thoughts", "assistant", "an answer"),
    }
    for name, content in (("profile", profile), ("q", asked), ("thoughts", thoughts)):
        talk[name]["message"]["content"] = content
    made = read({"mapping": talk, "current_node": "a"})
    assert turns(made) == [("[image_asset_pointer]\nq", "an answer")]
    assert "(image_asset_pointer)" in notes(made) and "thoughts were left out" in notes(made)


def test_an_export_of_open_webui() -> None:
    tree = {
        "1": user("q", id="1", parentId=None),
        "2": assistant("a1", id="2", parentId="1"),
        "3": assistant("a2", id="3", parentId="1"),
    }
    chat = {"messages": [tree["1"], tree["3"]], "history": {"currentId": "3", "messages": tree}}
    made = read([{"id": "x", "chat": chat}])
    assert turns(made) == [("q", "a2")] and "other branches or versions" in notes(made)


def test_an_export_of_lm_studio() -> None:
    step = {"type": "contentBlock", "content": [{"type": "text", "text": "a"}]}
    question = {"role": "user", "content": [{"type": "text", "text": "q"}]}
    versions = [{"role": "assistant", "steps": []}, {"role": "assistant", "steps": [step]}]
    messages = [
        {"versions": [question], "currentlySelected": 0},
        {"versions": versions, "currentlySelected": 1},
    ]
    made = read({"systemPrompt": "S", "messages": messages})
    assert (made.system, turns(made)) == ("S", [("q", "a")]) and "left out: 1." in notes(made)


def test_an_export_of_claude() -> None:
    attached = [{"file_name": "a.txt", "extracted_content": "long"}]
    asked = {
        "sender": "human",
        "text": "q",
        "content": [],
        "attachments": attached,
        "files": [{"file_name": "p.png"}],
    }
    made = read([{"chat_messages": [asked, {"sender": "assistant", "text": "a", "content": []}]}])
    assert turns(made) == [("q\n[file: p.png]", "a")]
    assert [(source.title, source.text) for source in made.turns[0].sources] == [("a.txt", "long")]


def test_json_lines_are_read_line_by_line() -> None:
    lines = "\n".join(json.dumps({"messages": [user(text)]}) for text in "qr")
    made = Conversation.from_json(lines + "\n")
    assert turns(made) == [("q", "")] and "the first: 1." in notes(made)
    assert turns(Conversation.from_json("\n".join(json.dumps(user(text)) for text in "qr"))) == [
        ("q", ""),
        ("r", ""),
    ]


def test_the_page_says_what_was_changed_until_something_else_is(stage: Stage) -> None:
    file = json.dumps([assistant("hello"), user("q"), {"role": "system", "content": "B"}, assistant("a")])
    at = imported(visit(), file)
    assert shown(at)[:3] == ["hello", "q", "a"] and not sentences(at)  # no empty question before the greeting
    assert any("part of the system prompt: 1." in info.value for info in at.info)
    (menu,) = (expander for expander in at.expander if "System prompt" in expander.label)
    assert not menu.info  # it is closed once more when a conversation is imported
    ask(at, "and?")
    assert said(at)[-1][0] == "and?"
    assert not any("part of the system prompt" in info.value for info in at.info)
    chinese = imported(visit(locale="zh-CN"), file)
    assert any("已并入系统提示词：1 条" in info.value for info in chinese.info)
    assert captions(chinese)


@pytest.mark.parametrize("change", ["ask", "undo", "clear"])
def test_what_an_import_could_not_keep_is_said_until_something_changes(change: str) -> None:
    talk = Conversation()
    talk.take_over(Conversation.from_json(json.dumps([{"role": "narrator", "content": "Once"}])))
    assert talk.notes
    talk.ask("?") if change == "ask" else getattr(talk, change)()
    assert talk.notes == ()


def test_an_answer_without_a_word_is_shown_as_one(stage: Stage) -> None:
    conversation = Conversation()
    conversation.ask("q")
    conversation.begin_answer("tiny")
    conversation.end_answer("stop", {})
    at = imported(visit(), conversation.to_json())
    assert "*no text*" in shown(at)
