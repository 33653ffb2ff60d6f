"""What every engine gets from its base: requests, conversations that outgrow the context, the queue."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.chat.messages import (
    check_messages,
    drop_oldest,
    fold_system,
    merge_turns,
    openai_tools,
    plain_text,
    text_only,
    turn_starts,
)
from models.engines.fair_queue import FairQueue
from models.errors import BadInput, EngineClosed
from models.schema import ChatOptions, Checkpoint, Delta, Done, Message, Placement, Queued
from tests.fakes.engines import FakeEngine, Stage

CHECKPOINT = Checkpoint("fake", "llama2", "chat", "gguf")


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def system(text: str) -> Message:
    return {"role": "system", "content": text}


def make(context: int = 100, slots: int = 1, **facts: Any) -> FakeEngine:
    return FakeEngine(Path("fake"), replace(CHECKPOINT, **facts), Placement("cpu", "file", context, slots))


@pytest.fixture(autouse=True)
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    own = Stage()
    monkeypatch.setattr(FakeEngine, "stage", own)
    return own


def words(count: int) -> str:
    return " ".join(f"w{n}" for n in range(count))


# --- requests ------------------------------------------------------------------------------------


def test_an_answer_is_counted_from_its_first_step_to_its_end() -> None:
    engine = make()
    answer = engine.stream([user("one two three")])
    assert engine.active == 0
    assert next(answer) == Delta("one ")
    assert engine.active == 1 and not engine.close_if_idle()
    *_, done = answer
    assert isinstance(done, Done) and engine.active == 0
    assert engine.close_if_idle() and engine.closed


def test_an_abandoned_answer_frees_its_slot() -> None:
    engine = make()
    abandoned = engine.stream([user("one two three")])
    next(abandoned)
    abandoned.close()
    assert engine.active == 0
    assert [type(event) for event in engine.stream([user("free")])] == [Delta, Done]


def test_a_closed_engine_says_so_and_closes_once(stage: Stage) -> None:
    engine = make()
    assert engine.close_if_idle() and engine.close_if_idle()
    assert stage.diary.count("close fake") == 1
    with pytest.raises(EngineClosed, match="load it again"):
        next(engine.stream([user("hello")]))


def test_last_used_moves_when_a_request_ends() -> None:
    engine = make()
    before = engine.last_used
    list(engine.stream([user("hello")]))
    assert engine.last_used > before


def test_a_cancelled_answer_ends_with_done() -> None:
    cancel = threading.Event()
    events = []
    for event in make().stream([user("one two three")], cancel=cancel):
        events.append(event)
        cancel.set()
    assert [type(event) for event in events] == [Delta, Done]
    assert events[-1].finish_reason == "cancelled"  # type: ignore[union-attr]


def test_the_checkpoints_own_options_are_the_default() -> None:
    engine = make(options={"max_new_tokens": 2})
    assert engine.default_options() == ChatOptions(max_new_tokens=2)
    assert len([e for e in engine.stream([user(words(9))]) if isinstance(e, Delta)]) == 2


# --- the prompt ----------------------------------------------------------------------------------


def test_the_checkpoints_own_system_prompt_is_sent_and_counted_unless_one_is_given() -> None:
    engine = make(system_prompt="be kind")
    asked = [user("one two")]
    (*_, done) = engine.stream(asked)
    assert engine.sent == [[system("be kind"), *asked]]
    assert engine.count_tokens(asked) == done.usage.prompt_tokens == 6  # type: ignore[union-attr]
    own = [system("be"), *asked]
    list(engine.stream(own))
    assert engine.sent[-1] == own and engine.count_tokens(own) == 5


def test_a_base_model_gets_no_system_prompt() -> None:
    engine = make(system_prompt="be kind", kind="completion")
    assert engine.count_tokens([user("one two")]) == 3
    assert engine.count_tokens("one two") == 2


def test_a_conversation_that_fits_is_sent_whole() -> None:
    engine = make(context=20)
    conversation = [user("a"), assistant("b"), user("c")]
    (*_, done) = engine.stream(conversation, ChatOptions(max_new_tokens=5))
    assert engine.sent == [conversation]
    assert done.usage.dropped_messages == 0  # type: ignore[union-attr]


def test_whole_turns_are_dropped_and_the_system_prompt_stays() -> None:
    engine = make(context=20)
    conversation = [system("s"), user("a b c"), assistant("d e f"), user("g h"), assistant("i"), user("j")]
    (*_, done) = engine.stream(conversation, ChatOptions(max_new_tokens=8))
    assert engine.sent == [[system("s"), user("g h"), assistant("i"), user("j")]]
    assert done.usage.dropped_messages == 2  # type: ignore[union-attr]


def test_dropped_counts_the_messages_as_they_were_given() -> None:
    """Neighbours of one role are joined for the model, and still count as two here."""
    engine = make(context=20)
    conversation = [user("a b c"), user("d e f"), assistant("g"), user("h")]
    (*_, done) = engine.stream(conversation, ChatOptions(max_new_tokens=10))
    assert done.usage.dropped_messages == 1  # type: ignore[union-attr]
    assert engine.dropped(conversation, ChatOptions(max_new_tokens=10)) == 1
    assert engine.sent == [[user("d e f"), assistant("g"), user("h")]]


def test_no_more_is_dropped_than_the_answer_needs() -> None:
    conversation = [message for n in range(8) for message in (user(f"q{n} q"), assistant(f"a{n} a"))]
    conversation.append(user("last"))
    for context in range(8, 60):
        engine = make(context=context)
        options = ChatOptions(max_new_tokens=4)
        count = engine.dropped(conversation, options)
        room = context - 4
        assert engine.count_tokens(drop_oldest(conversation, count)) <= room
        assert count == 0 or engine.count_tokens(drop_oldest(conversation, count - 2)) > room


def test_a_long_answer_leaves_half_of_the_context_to_the_conversation() -> None:
    engine = make(context=20)
    assert engine.dropped([user(words(8))], ChatOptions(max_new_tokens=1000)) == 0


def test_the_newest_message_may_take_the_room_of_the_answer() -> None:
    engine = make(context=20)
    assert engine.dropped([user("a"), assistant("b"), user(words(15))], ChatOptions()) == 2


@pytest.mark.parametrize("length", [19, 20, 500])
def test_a_newest_message_longer_than_the_context_is_refused(length: int) -> None:
    engine = make(context=20)
    with pytest.raises(BadInput, match=f"takes {length + 1} tokens and the context holds 20"):
        list(engine.stream([user("a"), assistant("b"), user(words(length))]))
    assert engine.active == 0


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [system("only a system prompt")],
        [assistant("nobody asked")],
        [user("")],
        [{"role": "user", "content": []}],
        [{"role": "user"}],
        [{"content": "no role"}],
        [{"role": "robot", "content": "x"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": 3}],
        [{"role": "user", "content": ["not a part"]}],
        [{"role": "user", "content": [{"text": "no type"}]}],
        [{"role": "user", "content": [{"type": "text"}]}],
        ["not a message"],
        [None],
    ],
)
def test_malformed_conversations_are_refused_by_all_who_take_one(messages: Any) -> None:
    engine = make()
    for ask in (lambda: next(engine.stream(messages)), lambda: engine.dropped(messages)):
        with pytest.raises(BadInput):
            ask()
    with pytest.raises(BadInput):
        engine.count_tokens(messages)
    assert engine.active == 0


def test_an_empty_text_is_refused() -> None:
    engine = make(kind="completion")
    with pytest.raises(BadInput, match="no question"):
        next(engine.stream(""))


# --- conversations -------------------------------------------------------------------------------


def test_check_messages_takes_content_parts() -> None:
    parts = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": "x.png"}}]
    check_messages([{"role": "user", "content": parts}])


def test_turns_start_where_the_user_speaks() -> None:
    conversation = [system("s"), user("a"), assistant("b"), user("c"), user("d"), assistant("e")]
    assert turn_starts(conversation) == [0, 2, 3]
    assert turn_starts([assistant("hello"), user("a")]) == [0, 1]
    assert drop_oldest(conversation, 2) == [system("s"), user("c"), user("d"), assistant("e")]
    assert drop_oldest(conversation, 0) == conversation


def test_neighbours_of_one_role_are_joined_and_nothing_is_changed_in_place() -> None:
    conversation = [user("a"), user("b"), assistant("c"), assistant(""), user("d")]
    before = [dict(message) for message in conversation]
    assert merge_turns(conversation) == [user("a\n\nb"), assistant("c"), user("d")]
    assert conversation == before


def test_what_is_not_text_and_what_tools_said_is_not_joined() -> None:
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    tools = [{"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}]
    conversation = [user("a"), picture, *tools]
    assert merge_turns(conversation) == conversation


CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLING: Message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
OBSERVED: Message = {"role": "tool", "tool_call_id": "1", "content": "1"}


def test_an_assistant_that_calls_need_not_say_anything() -> None:
    bare = {"role": "assistant", "tool_calls": [CALL]}
    check_messages([user("a"), CALLING, OBSERVED, bare])
    assert text_only([bare]) == [{**bare, "content": ""}] and plain_text([user("a"), CALLING]) == "a\n"
    for wrong in ({**CALLING, "tool_calls": []}, {**CALLING, "role": "tool"}):
        with pytest.raises(BadInput, match="content of text"):
            check_messages([user("a"), wrong])


@pytest.mark.parametrize(
    "named",
    [
        {"tool_calls": 5},
        {"tool_calls": "f"},
        {"tool_calls": ["f"]},
        {"tool_calls": [{}]},
        {"tool_calls": [{"function": "f"}]},
        {"tool_calls": [{"function": {"name": "f"}}]},
        {"tool_calls": [{"function": {"name": "f", "arguments": [1]}}]},
        {"tools": "f"},
        {"tools": ["f"]},
    ],
)
def test_tools_and_calls_have_openais_form(named: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="OpenAI"):
        check_messages([user("a"), {**assistant("b"), **named}])


def test_a_call_is_never_joined_with_a_neighbour() -> None:
    conversation = [user("a"), assistant("b"), {**CALLING, "content": "c"}, assistant("d"), CALLING]
    assert merge_turns(conversation) == conversation


def test_a_call_goes_with_its_observation_and_the_tools_stay() -> None:
    engine = make(context=24)
    tools = {**system("s"), "tools": [{"name": "f"}]}
    turn = [user("a b"), {**CALLING, "content": "c"}, OBSERVED, assistant("d e f g")]
    list(engine.stream([tools, *turn, *turn, user("h")], ChatOptions(max_new_tokens=6)))
    assert engine.sent == [[tools, *turn, user("h")]]


def test_tools_are_listed_in_openais_form() -> None:
    plain, whole = {"name": "f"}, {"type": "function", "function": {"name": "g"}}
    listed = openai_tools([{**system("s"), "tools": [plain, whole]}, user("a")])
    assert listed == [{"type": "function", "function": plain}, whole]


def test_the_system_prompt_moves_into_the_first_question() -> None:
    folded = fold_system([system("be kind"), user("a"), assistant("b"), user("c")])
    assert folded == [user("be kind\n\na"), assistant("b"), user("c")]
    assert fold_system([user("a")]) == [user("a")]


def test_the_system_prompt_moves_even_where_the_answer_comes_first() -> None:
    folded = fold_system([system("be kind"), assistant("hello"), user("a")])
    assert any("be kind" in str(message["content"]) for message in folded)
    assert all(message["role"] != "system" for message in folded)


def test_the_system_prompt_moves_into_a_question_made_of_parts() -> None:
    parts = [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "what?"}]
    (folded,) = fold_system([system("be kind"), {"role": "user", "content": parts}])
    assert folded["content"] == [{"type": "text", "text": "be kind"}, *parts]


def test_parts_become_text_and_images_are_refused() -> None:
    text = {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    assert text_only([text]) == [user("a\nb")]
    with pytest.raises(BadInput, match="Qwen-VL"):
        text_only([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}])


def test_a_base_model_reads_the_texts_alone() -> None:
    parts = {"role": "user", "content": [{"type": "text", "text": "b"}]}
    assert plain_text([user("a"), parts]) == "a\nb"
    assert plain_text("as it is") == "as it is"


# --- the queue -----------------------------------------------------------------------------------


class Waiting:
    """Somebody in the queue, in a thread; `ahead` is what they were told."""

    def __init__(self, queue: FairQueue, served: list[int], number: int, cancel: threading.Event) -> None:
        self.ahead: list[int] = []
        self.told, self.leave = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._wait, args=(queue, served, number, cancel), daemon=True)
        self.thread.start()
        assert self.told.wait(5)

    def _wait(self, queue: FairQueue, served: list[int], number: int, cancel: threading.Event) -> None:
        with queue.place() as ticket:
            for queued in queue.wait(ticket, cancel):
                self.ahead.append(queued.ahead)
                self.told.set()
            if cancel.is_set():
                return
            served.append(number)
            self.told.set()
            self.leave.wait(5)


def test_first_come_first_served_as_wide_as_it_is() -> None:
    queue, served, nobody = FairQueue(2), [], threading.Event()
    line = [Waiting(queue, served, number, nobody) for number in range(5)]
    assert sorted(served) == [0, 1]
    assert [waiting.ahead for waiting in line] == [[], [], [1], [2], [3]]
    for number, waiting in enumerate(line):
        waiting.leave.set()
        waiting.thread.join(5)
        for _ in range(500):  # the next in line has its turn before another place is given up
            if len(served) >= min(number + 3, len(line)):
                break
            time.sleep(0.01)
    assert served[2:] == [2, 3, 4]
    assert line[4].ahead == sorted(line[4].ahead, reverse=True)


def test_who_cancels_leaves_the_line_to_the_others() -> None:
    queue, served = FairQueue(1), []
    events = [threading.Event() for _ in range(3)]
    line = [Waiting(queue, served, number, events[number]) for number in range(3)]
    events[1].set()
    line[1].thread.join(5)
    line[0].leave.set()
    line[2].leave.set()
    line[2].thread.join(5)
    assert served == [0, 2]


def test_who_was_cancelled_before_is_told_nothing() -> None:
    queue, cancel = FairQueue(1), threading.Event()
    cancel.set()
    with queue.place(), queue.place() as second:
        assert list(queue.wait(second, cancel)) == []


def test_an_error_in_the_block_gives_the_place_up() -> None:
    queue = FairQueue(1)
    with pytest.raises(ZeroDivisionError), queue.place():
        raise ZeroDivisionError
    with queue.place() as ticket:
        assert next(queue.wait(ticket, threading.Event()), "its turn") == "its turn"


def test_an_abandoned_wait_gives_the_place_up() -> None:
    engine = make()
    first = engine.stream([user("one two")])
    next(first)
    second = engine.stream([user("three")])
    assert next(second) == Queued(1)
    assert engine.active == 2
    second.close()
    assert engine.active == 1
    first.close()
    assert next(engine.stream([user("four")])) == Delta("four ")
