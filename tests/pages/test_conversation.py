"""Conversations: every change can be taken back, nothing that was said is lost, any JSON is survived."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from models.chat.messages import drop_oldest
from models.interpreter import Output
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.turns import Answer, PictureFile, Turn
from tests.fakes.pictures import DOT


def answered(conversation: Conversation, text: str, reason: str = "stop") -> Conversation:
    conversation.begin_answer("tiny")
    conversation.write(text)
    conversation.end_answer(reason, {"completion_tokens": 2})
    return conversation


def talk(*questions: str) -> Conversation:
    """A conversation in which every question was answered by its echo."""
    conversation = Conversation()
    for question in questions:
        conversation.ask(question)
        answered(conversation, f"{question}!")
    return conversation


CHANGES: dict[str, Callable[[Conversation], object]] = {
    "ask": lambda c: c.ask("more"),
    "edit the first": lambda c: c.edit(0, "else"),
    "edit the last": lambda c: c.edit(1, "else"),
    "clear": lambda c: c.clear(),
    "answer again": lambda c: answered(c, "other"),
    "import": lambda c: c.take_over(talk("theirs")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_can_be_taken_back(change: Callable[[Conversation], object]) -> None:
    conversation = talk("a", "b")
    before = conversation.turns
    change(conversation)
    assert conversation.turns != before
    conversation.undo()
    assert conversation.turns == before


def test_undo_goes_back_to_the_beginning_and_no_further() -> None:
    conversation = talk("a", "b")
    assert conversation.can_undo
    while conversation.can_undo:
        conversation.undo()
    conversation.undo()
    assert conversation.turns == ()


def test_an_answer_grows_and_ends_with_its_figures() -> None:
    conversation = Conversation()
    conversation.ask("q")
    conversation.begin_answer("tiny")
    conversation.write("He")
    conversation.write("Hello")
    assert conversation.turns[0].answer == Answer("Hello", "", {}, "tiny")
    conversation.end_answer("length", {"completion_tokens": 2})
    assert conversation.turns[0].answer == Answer("Hello", "length", {"completion_tokens": 2}, "tiny")


def test_another_answer_stands_beside_the_first_and_either_can_be_shown() -> None:
    conversation = answered(talk("q"), "second")
    (turn,) = conversation.turns
    assert [answer.text for answer in turn.answers] == ["q!", "second"] and turn.answer == turn.answers[1]
    conversation.choose(0, 0)
    assert conversation.messages()[-1] == {"role": "assistant", "content": "q!"}
    assert answered(conversation, "third").turns[0].answer == Answer(
        "third", "stop", {"completion_tokens": 2}, "tiny"
    )


def test_what_is_sent_to_ask_again_ends_with_the_question() -> None:
    conversation = talk("a", "b")
    conversation.system = "Be brief."
    assert [message["content"] for message in conversation.messages(again=True)] == [
        "Be brief.",
        "a",
        "a!",
        "b",
    ]


def test_an_answer_cut_off_from_outside_is_settled_as_stopped() -> None:
    conversation = Conversation()
    conversation.settle()  # nothing to settle
    conversation.ask("q")
    conversation.settle()
    assert conversation.turns == (Turn("q"),)
    conversation.begin_answer("tiny")
    conversation.write("half")
    conversation.settle()
    assert conversation.turns[0].answer == Answer("half", "cancelled", {}, "tiny")
    assert talk("a").turns == (lambda c: (c.settle(), c.turns)[1])(talk("a"))


def test_an_answer_that_failed_after_some_words_keeps_them() -> None:
    conversation = Conversation()
    conversation.ask("q")
    conversation.begin_answer("tiny")
    conversation.write("half")
    conversation.fail_answer()
    assert conversation.turns[0].answer == Answer("half", "failed", {}, "tiny")


def test_an_answer_that_failed_at_once_leaves_what_was_before() -> None:
    conversation = Conversation()
    conversation.ask("q")
    conversation.begin_answer("tiny")
    conversation.fail_answer()
    assert conversation.turns == (Turn("q"),)
    answered(answered(conversation, "one"), "two")
    conversation.choose(0, 0)
    before = conversation.turns
    conversation.begin_answer("tiny")
    conversation.fail_answer()
    assert conversation.turns == before  # the shown answer included
    conversation.undo()
    assert len(conversation.turns[0].answers) == 1  # and Undo takes back the change before


def test_a_changed_conversation_has_no_question_open_for_editing() -> None:
    for change in (Conversation.clear, Conversation.undo, lambda c: c.ask("x")):
        conversation = talk("a", "b")
        conversation.editing = 1
        change(conversation)
        assert conversation.editing is None


@pytest.mark.parametrize(("dropped", "turns"), [(0, 0), (2, 1), (4, 2), (5, 3)])
def test_dropped_messages_are_counted_in_turns(dropped: int, turns: int) -> None:
    conversation = talk("a", "b")
    conversation.system = "Be brief."
    conversation.ask("never answered")
    conversation.ask("last")
    assert conversation.turns_within(dropped) == turns
    sent = drop_oldest(conversation.messages(), dropped)
    questions = [turn.question for turn in conversation.turns[turns:]]
    assert [message["content"] for message in sent if message["role"] == "user"] == questions


# --- as a file -----------------------------------------------------------------------------------


def test_to_json_and_back_is_the_same_conversation() -> None:
    conversation = answered(talk("a", "二 \n $x$ \0 \x1b 🙂"), "other", "length")
    conversation.system = "Be brief."
    conversation.choose(1, 0)
    again = Conversation.from_json(conversation.to_json())
    assert (again.turns, again.system) == (conversation.turns, conversation.system)
    assert Conversation.from_json(conversation.to_json().encode()).turns == conversation.turns


def test_the_file_is_read_by_whoever_knows_messages() -> None:
    conversation = talk("a")
    conversation.system = "Be brief."
    data = json.loads(conversation.to_json())
    assert data["messages"] == conversation.messages()
    for form in (data["messages"], {"messages": data["messages"]}):
        again = Conversation.from_json(json.dumps(form))
        assert again.messages() == conversation.messages() and again.system == "Be brief."


def test_pictures_are_sent_edited_and_saved_with_their_question() -> None:
    made = Conversation()
    made.ask("What?", [PictureFile("a.png", DOT), PictureFile("b.png", DOT)])
    parts = [{"type": "image", "image": DOT}] * 2
    assert made.messages() == [{"role": "user", "content": [*parts, {"type": "text", "text": "What?"}]}]
    made.edit(0, "Where?")
    again = Conversation.from_json(made.to_json())
    assert again.turns == made.turns and [picture.name for picture in again.turns[0].pictures] == [
        "a.png",
        "b.png",
    ]
    assert json.loads(made.to_json())["messages"] == [{"role": "user", "content": "Where?"}]


def test_a_half_written_answer_is_a_whole_one_in_the_file() -> None:
    conversation = talk("a")
    conversation.begin_answer("tiny")
    conversation.write("half")
    again = Conversation.from_json(conversation.to_json())
    again.settle()
    assert again.messages()[-1]["content"] == "half" and again.turns[0].answers[-1].reason == "stop"


def test_an_imported_system_prompt_replaces_the_own_one_only_if_there_is_one() -> None:
    conversation = talk("a")
    conversation.system = "mine"
    conversation.take_over(Conversation((), "theirs"))
    assert conversation.system == "theirs"
    conversation.take_over(Conversation())
    assert conversation.system == "theirs"


def turn(**changes: Any) -> dict[str, Any]:
    return {"turns": [{"question": "q", "answers": [{"text": "a"}]} | changes]}


def shown(**values: Any) -> dict[str, Any]:
    """A call that has shown something."""
    output = {"kind": "table", "text": "", "image": "", "rows": [["a"]], **values}
    return {
        "name": "f",
        "arguments": "{}",
        "text": "",
        "observation": None,
        "failed": False,
        "shown": [output],
    }


BAD: list[Any] = [
    None,
    5,
    "text",
    {},
    [5],
    ["text"],
    [{}],
    {"turns": 5},
    {"turns": [5]},
    {"turns": [{}]},
    {"messages": 5},
    [{"role": "user"}],
    [{"role": "user", "content": None}],
    [{"role": "user", "content": "q"}, 5],
    [{"role": 5, "content": "q"}],
    [{"content": "nobody says it"}],
    {"conversations": [{"from": "human"}]},
    {"mapping": {}},
    [{"role": "user", "content": "half a pair \ud83d"}],
    turn(question=None),
    turn(question="\ud800"),
    turn(answers=5),
    turn(answers=["a"]),
    turn(answers=[{"text": None}]),
    turn(chosen=1),
    turn(chosen=-2),
    turn(chosen="x"),
    turn(chosen=1e400),
    turn(answers=[{"text": "a", "figures": 5}]),
    turn(answers=[{"text": "a", "figures": {"completion_tokens": "many"}}]),
    turn(answers=[{"text": "a", "figures": {"completion_tokens": float("nan")}}]),
    turn(answers=[{"text": "a", "checkpoint": "\udfff"}]),
    turn(answers=[{"text": "a", "steps": [shown(kind="sound")]}]),
    turn(answers=[{"text": "a", "steps": [shown(text=5)]}]),
    turn(answers=[{"text": "a", "steps": [shown(rows=[[5]])]}]),
    turn(answers=[{"text": "a", "steps": [shown(rows=[["\ud800"]])]}]),
    turn() | {"system": None},
    turn(pictures=5),
    turn(pictures=[{"name": "a.png"}]),
    turn(pictures=[{"name": "a.png", "data": None}]),
    turn(pictures=[{"name": "a.png", "data": "not base64!"}]),
    turn(pictures=[{"name": "a.png", "data": "aGVsbG8="}]),  # no picture
    turn(pictures=[{"name": 5, "data": base64.b64encode(DOT).decode()}]),
]


def test_what_a_call_has_shown_is_read() -> None:
    made = turn(answers=[{"text": "a", "steps": [shown()]}])
    (step,) = Conversation.from_json(json.dumps(made)).turns[0].answers[0].steps
    assert step.shown[0].rows == (("a",),)


@pytest.mark.parametrize("data", BAD, ids=lambda data: json.dumps(data)[:60])
def test_json_that_is_no_conversation_is_refused(data: Any) -> None:
    with pytest.raises(ValueError):
        Conversation.from_json(json.dumps(data))


@pytest.mark.parametrize("text", [b"", b"\xff", b"\0", "{", "[" * 100_000, '{"a":' * 100_000, "9" * 10_000])
def test_text_that_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        Conversation.from_json(text)


# --- steps ---------------------------------------------------------------------------------------

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAQAAAAA3bvkkAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)


def with_a_call() -> Conversation:
    """An answer that has called a tool and gone on."""
    made = Conversation()
    made.ask("6 times 7?")
    made.begin_answer("a")
    made.write("Let me see.")
    made.call("calculate", '{"expression": "6 * 7"}')
    made.show(Output("image", "a plot", PNG))
    made.observe("42")
    made.write("It is 42.")
    made.end_answer("stop", {})
    return made


def test_a_call_and_what_came_of_it_are_messages() -> None:
    question, call, result, answer = with_a_call().messages()
    assert (call["content"], call["tool_calls"][0]["function"]["name"]) == ("Let me see.", "calculate")
    assert (result["role"], result["content"]) == ("tool", "42")
    assert (question["role"], answer["content"]) == ("user", "It is 42.")


def test_a_turn_with_calls_is_dropped_whole() -> None:
    made = with_a_call()
    made.ask("And?")
    assert [made.turns_within(dropped) for dropped in (0, 2, 4, 5)] == [0, 0, 1, 2]


def test_steps_survive_a_file_pictures_too() -> None:
    made = with_a_call()
    assert Conversation.from_json(made.to_json()).turns == made.turns


def test_a_picture_that_is_none_is_dropped_from_a_file() -> None:
    data = json.loads(with_a_call().to_json())
    data["turns"][0]["answers"][0]["steps"][0]["shown"][0]["image"] = "aGVsbG8="
    (output,) = Conversation.from_json(json.dumps(data)).turns[0].answers[0].steps[0].shown
    assert output.image == b""


def test_an_answer_goes_on_when_its_result_was_typed() -> None:
    made = Conversation()
    made.ask("How many pens?")
    made.begin_answer("a")
    made.call("get_stock", "{}")
    made.end_answer("tool_calls", {})
    waiting = made.turns[-1].answers[-1].waiting
    assert waiting and waiting.name == "get_stock" and not made.resume()
    made.observe("12")
    assert made.turns[-1].answers[-1].waiting is None and made.resume()
    assert made.messages()[-1]["content"] == "12"
    made.write("12 are left.")
    made.end_answer("stop", {})
    assert not made.resume() and len(made.turns[-1].answers) == 1


def test_an_answer_that_only_called_is_kept_when_it_fails() -> None:
    made = Conversation()
    made.ask("6 times 7?")
    made.begin_answer("a")
    made.call("calculate", "{}")
    made.fail_answer()
    assert made.turns[-1].answers[-1].reason == "failed"


def test_another_question_has_no_answers_yet() -> None:
    talk = Conversation((Turn("a", (Answer("1", "stop"), Answer("2", "stop")), 0), Turn("b")))
    talk.edit(0, "c")
    assert talk.turns == (Turn("c"),)
