"""What every engine gets from its base: requests, conversations that outgrow the context, the queue."""

import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from models.chat.counts import KEPT, TokenCounts
from models.chat.messages import (
    begun_answer,
    check_messages,
    drop_oldest,
    fold_system,
    merge_turns,
    plain_text,
    text_only,
    turn_starts,
    without_begun,
)
from models.chat.request import RESPONSE_FORMATS
from models.engines.fair_queue import FairQueue
from models.errors import BadInput, Cancelled, EngineClosed
from models.schema import ChatOptions, Checkpoint, Delta, Done, Message, Placement, Progress, Queued
from tests.fakes.engines import FakeEngine, FakeSpeechEngine, Stage
from tests.fakes.waiting import WAIT, until

CHECKPOINT = Checkpoint("fake", "llama2", "chat", "gguf")


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def system(text: str) -> Message:
    return {"role": "system", "content": text}


def make(context: int = 100, slots: int = 1, **facts: Any) -> FakeEngine:
    return FakeEngine("fake", replace(CHECKPOINT, **facts), Placement("cpu", "file", context, slots))


@pytest.fixture(autouse=True)
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    own = Stage()
    monkeypatch.setattr(FakeEngine, "stage", own)
    monkeypatch.setattr(FakeSpeechEngine, "stage", own)
    return own


def words(count: int) -> str:
    return " ".join(f"w{n}" for n in range(count))


# --- loading -------------------------------------------------------------------------------------


def test_a_load_is_timed_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter((10.0, 10.0, 12.5))
    monkeypatch.setattr("models.engines.base.time", SimpleNamespace(monotonic=lambda: next(now)))
    report = make().report
    assert (report.dtype, report.device_map, report.seconds) == ("fake", {"": "cpu"}, 2.5)


def test_a_load_that_is_cancelled_leaves_nothing_behind(stage: Stage) -> None:
    cancel, steps = threading.Event(), list[Progress]()
    cancel.set()
    with pytest.raises(Cancelled):
        FakeEngine("fake", CHECKPOINT, Placement("cpu", "file"), steps.append, cancel)
    assert stage.open == 0 and stage.diary == ["load fake", "close fake"]
    assert steps == [Progress("load", 1, 2)]


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


def test_a_lease_holds_an_engine_that_answers_nothing() -> None:
    engine = make()
    with engine.lease() as held, engine.lease():
        assert held is engine and engine.leased and engine.active == 0
        list(engine.stream([user("hello")]))
        assert engine.leased and not engine.close_if_idle() and not engine.closed
    assert not engine.leased and engine.close_if_idle()
    with pytest.raises(EngineClosed, match="load it again"), engine.lease():
        pytest.fail("leased after it was closed")


def test_a_lease_ends_with_its_block_whatever_happens_there() -> None:
    engine = make()
    before = engine.last_used
    with pytest.raises(ZeroDivisionError), engine.lease():
        raise ZeroDivisionError
    assert not engine.leased and engine.last_used > before


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


@pytest.mark.parametrize(
    ("typed", "sent"),
    [("a \ud83c\udf0d b", "a \U0001f30d b"), ("a \udcff", "a \ufffd"), ("\ud83c", "\ufffd")],
)
def test_halves_of_characters_are_joined_or_replaced(typed: str, sent: str) -> None:
    engine = make()
    for asked in ([user(typed)], [{"role": "user", "content": [{"type": "text", "text": typed}]}]):
        list(engine.stream(asked))
        content = engine.requests[-1].messages[0]["content"]  # type: ignore[index]
        assert content == (sent if asked[0]["content"] == typed else [{"type": "text", "text": sent}])
        engine.count_tokens(asked)
    base = make(kind="completion")
    list(base.stream(typed))
    assert base.sent == [sent] and base.count_tokens(typed) > 0


def test_an_empty_text_is_refused() -> None:
    engine = make(kind="completion")
    with pytest.raises(BadInput, match="no question"):
        next(engine.stream(""))


# --- counting ------------------------------------------------------------------------------------


class Counted:
    """What an engine was asked to count, in place of its own counting."""

    def __init__(self, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[Any] = []
        count = engine._count_tokens

        def counted(messages: Any, tools: Any) -> int:
            self.calls.append(messages)
            return count(messages, tools)

        monkeypatch.setattr(engine, "_count_tokens", counted)


TWENTY = [message for n in range(20) for message in (user(f"q{n}"), assistant(f"a{n}"))]


def test_a_conversation_that_fits_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a page does: what was dropped, the meter, the answer; and all that again."""
    engine = make(context=1000)
    counted = Counted(engine, monkeypatch)
    asked = [*TWENTY, user("last")]
    for _ in range(2):
        assert engine.dropped(asked) == 0
        assert engine.count_tokens(asked) == 82
        assert next(engine.stream(asked)) == Delta("last ")
    assert counted.calls == [asked]


def test_a_conversation_that_does_not_fit_is_counted_again_only_when_it_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = make(context=40)
    counted = Counted(engine, monkeypatch)
    dropped = engine.dropped(TWENTY, ChatOptions(max_new_tokens=8))
    assert dropped == 24 and 1 < len(counted.calls) <= 6
    before = len(counted.calls)
    assert engine.dropped(TWENTY, ChatOptions(max_new_tokens=8)) == dropped
    assert len(counted.calls) == before


def test_whatever_changes_the_prompt_is_counted_anew() -> None:
    engine = make()
    picture = {"type": "image", "image": b"1"}
    for messages, tools in (
        ([user("a")], []),
        ([user("a b")], []),
        ([system("a"), user("a")], []),
        ([user("a")], [PLAIN]),
        ("a", []),
        ([{"role": "user", "content": [picture]}], []),
        ([{"role": "user", "content": [picture, picture]}], []),
    ):
        assert engine.count_tokens(messages, tools) == make().count_tokens(messages, tools)


def test_counts_are_found_by_exactly_what_was_counted() -> None:
    counts, numbers = TokenCounts(), iter(range(1000))

    def of(messages: Any, tools: Any = ()) -> int:
        return counts.of(messages, tools, lambda: next(numbers))

    def picture(data: bytes) -> Any:
        return [{"role": "user", "content": [{"type": "image", "image": data}]}]

    different = ["a", [user("a")], [user("b")], [assistant("a")], picture(b"1"), picture(b"2")]
    assert [of(each) for each in different] == [0, 1, 2, 3, 4, 5]
    assert of([user("a")], [PLAIN]) == 6
    assert [of(each) for each in different] == [0, 1, 2, 3, 4, 5]
    odd = [{**user("a"), "odd": object()}]
    assert (of(odd), of(odd)) == (7, 8)


def test_few_counts_are_kept_and_the_latest() -> None:
    counts = TokenCounts()
    for n in range(KEPT + 1):
        counts.of(str(n), (), lambda n=n: n)
        counts.of("0", (), lambda: -1)  # used again and again
    assert counts.of("0", (), lambda: -1) == 0
    assert counts.of("1", (), lambda: -1) == -1  # the oldest
    assert len(counts._counts) == KEPT


def test_a_count_that_fails_is_not_remembered() -> None:
    counts = TokenCounts()
    with pytest.raises(ZeroDivisionError):
        counts.of("a", (), lambda: 1 // 0)
    assert counts.of("a", (), lambda: 1) == 1


def test_nothing_that_was_written_stays_in_the_counts() -> None:
    counts = TokenCounts()
    counts.of([user("a secret")], [{"name": "secret"}], lambda: 1)
    ((key, number),) = counts._counts.items()
    assert len(key) == 32 and b"secret" not in key and number == 1


# --- tools and the form of an answer -------------------------------------------------------------

PLAIN, WHOLE = {"name": "f"}, {"type": "function", "function": {"name": "g", "parameters": None}}


def test_tools_reach_the_engine_in_openais_form_and_are_counted() -> None:
    engine = make()
    list(engine.stream([user("a")], tools=[PLAIN, WHOLE]))
    assert engine.requests[0].tools == [{"type": "function", "function": PLAIN}, WHOLE]
    assert engine.count_tokens([user("a")], [PLAIN, WHOLE]) == 2 + engine.count_tokens([user("a")])


def test_tools_take_their_share_of_the_context() -> None:
    conversation = [user("a"), assistant("b"), user("c")]
    options = ChatOptions(max_new_tokens=4)
    assert make(context=10).dropped(conversation, options) == 0
    assert make(context=10).dropped(conversation, options, [PLAIN]) == 2


def test_tools_in_chatglm3s_own_form_become_the_argument() -> None:
    engine = make()
    own = [{**system("s"), "tools": [PLAIN]}, user("a")]
    list(engine.stream(own, tools=[WHOLE]))
    assert engine.sent == [[system("s"), user("a")]]
    assert engine.requests[0].tools == [{"type": "function", "function": PLAIN}, WHOLE]
    assert engine.count_tokens(own) == engine.count_tokens([system("s"), user("a")], [PLAIN])


@pytest.mark.parametrize("tools", ["f", [None], ["f"], [{}], {"name": "f"}, [PLAIN, {"name": 5}]])
def test_malformed_tools_are_refused_by_all_who_take_some(tools: Any) -> None:
    engine, asked = make(), [user("a")]
    for ask in (
        lambda: list(engine.stream(asked, tools=tools)),
        lambda: list(engine.stream("a", tools=tools)),
        lambda: engine.count_tokens(asked, tools),
        lambda: engine.dropped(asked, tools=tools),
        lambda: engine.count_tokens([{**system("s"), "tools": tools}, *asked]),
    ):
        with pytest.raises(BadInput, match="schema of a function"):
            ask()
    assert engine.requests == [] and engine.active == 0


SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}


def test_an_answer_in_any_text_is_what_every_engine_gives() -> None:
    engine = make()
    for response_format in (None, {"type": "text"}):
        assert list(engine.stream([user("a")], response_format=response_format))
        assert engine.requests[-1].response_format is None


@pytest.mark.parametrize("response_format", [{"type": "json_object"}, SCHEMA])
def test_a_form_that_an_engine_cannot_hold_its_answers_to_is_refused(
    response_format: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make()
    with pytest.raises(BadInput, match=f"fake cannot hold its answers to {response_format['type']} yet"):
        next(engine.stream([user("a")], response_format=response_format))
    assert engine.requests == [] and engine.active == 0
    monkeypatch.setattr(engine, "response_formats", frozenset(RESPONSE_FORMATS))
    list(engine.stream([user("a")], response_format=response_format))
    assert engine.requests[0].response_format == response_format


@pytest.mark.parametrize(
    "response_format",
    [
        "json_object",
        {},
        {"type": "xml"},
        {"type": ["text"]},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"name": "n"}},
    ],
)
def test_a_malformed_response_format_is_refused(response_format: Any) -> None:
    with pytest.raises(BadInput, match="response_format has to be"):
        next(make().stream([user("a")], response_format=response_format))


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


def test_parts_are_joined_with_texts_and_what_tools_said_is_not() -> None:
    picture = {"type": "image_url", "image_url": {"url": "x"}}
    asked = [user("a"), {"role": "user", "content": [picture]}, user("b"), user("")]
    tools = [{"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}]
    parts = [{"type": "text", "text": "a"}, picture, {"type": "text", "text": "b"}]
    assert merge_turns([*asked, *tools]) == [{"role": "user", "content": parts}, *tools]


def test_there_is_one_system_message_and_a_question_comes_first() -> None:
    conversation = [
        assistant("Hello!"),
        system("be kind"),
        user("a"),
        assistant(""),
        user("b"),
        system("be brief"),
    ]
    whole = [system("be kind\n\nbe brief"), user(""), assistant("Hello!"), user("a\n\nb")]
    assert merge_turns(conversation) == whole


def test_roles_and_fields_of_other_times_are_those_of_today() -> None:
    engine = make(context=64)
    calling = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    said = {"role": "function", "name": "f", "content": "1"}
    nothing = {"role": "assistant", "content": None}
    list(engine.stream([{"role": "developer", "content": "s"}, user("a"), calling, said, nothing, user("b")]))
    call = {"id": "call_0", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turn = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert engine.sent == [[system("s"), user("a"), turn, {**said, "role": "tool"}, user("b")]]


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
    ],
)
def test_calls_have_openais_form(named: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="OpenAI"):
        check_messages([user("a"), {**assistant("b"), **named}])


def test_a_call_is_never_joined_with_a_neighbour() -> None:
    conversation = [user("a"), assistant("b"), {**CALLING, "content": "c"}, assistant("d"), CALLING]
    assert merge_turns(conversation) == conversation


def test_a_call_goes_with_its_observation_and_the_tools_stay() -> None:
    engine = make(context=24)
    tools = [{"type": "function", "function": {"name": "f"}}]
    turn = [user("a b"), {**CALLING, "content": "c"}, OBSERVED, assistant("d e f g")]
    list(engine.stream([system("s"), *turn, *turn, user("h")], ChatOptions(max_new_tokens=6), tools=tools))
    assert engine.sent == [[system("s"), *turn, user("h")]] and engine.requests[0].tools == tools


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
        assert self.told.wait(WAIT)

    def _wait(self, queue: FairQueue, served: list[int], number: int, cancel: threading.Event) -> None:
        with queue.enter() as ticket:
            for queued in queue.wait(ticket, cancel):
                self.ahead.append(queued.ahead)
                self.told.set()
            if cancel.is_set():
                return
            served.append(number)
            self.told.set()
            self.leave.wait(WAIT)


def test_first_come_first_served_as_wide_as_it_is() -> None:
    queue, served, nobody = FairQueue(2), [], threading.Event()
    line = [Waiting(queue, served, number, nobody) for number in range(5)]
    assert sorted(served) == [0, 1]
    assert [waiting.ahead for waiting in line] == [[], [], [1], [2], [3]]
    for number, waiting in enumerate(line):
        waiting.leave.set()
        waiting.thread.join(WAIT)
        # The next in line has its turn before another place is given up.
        until(lambda number=number: len(served) >= min(number + 3, len(line)))
    assert served[2:] == [2, 3, 4]
    assert line[4].ahead == sorted(line[4].ahead, reverse=True)


def test_who_cancels_leaves_the_line_to_the_others() -> None:
    queue, served = FairQueue(1), []
    events = [threading.Event() for _ in range(3)]
    line = [Waiting(queue, served, number, events[number]) for number in range(3)]
    events[1].set()
    line[1].thread.join(WAIT)
    line[0].leave.set()
    line[2].leave.set()
    line[2].thread.join(WAIT)
    assert served == [0, 2]


def test_who_was_cancelled_before_is_told_nothing() -> None:
    queue, cancel = FairQueue(1), threading.Event()
    cancel.set()
    with queue.enter(), queue.enter() as second:
        assert list(queue.wait(second, cancel)) == []


def test_an_error_in_the_block_gives_the_place_up() -> None:
    queue = FairQueue(1)
    with pytest.raises(ZeroDivisionError), queue.enter():
        raise ZeroDivisionError
    with queue.enter() as ticket:
        assert list(queue.wait(ticket, threading.Event())) == []


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


def test_a_recording_that_is_stopped_in_the_queue_is_never_begun(stage: Stage) -> None:
    engine = FakeSpeechEngine("fake", CHECKPOINT, Placement("cpu", "int8"))
    cancel, told = threading.Event(), list[Progress]()
    with engine.queue.enter():
        transcript = engine.transcribe(
            "talk.wav", cancel=cancel, progress=lambda it: (told.append(it), cancel.set())[0]
        )
        assert list(transcript) == []
    assert told == [Progress("queue", total=1)]
    assert stage.options == [] and not engine.active


# --- answers that go on --------------------------------------------------------------------------


def test_an_answer_to_be_continued_is_sent_as_such_and_counts() -> None:
    engine = make()
    begun = {**assistant("one"), "prefix": True}
    said = [event.text for event in engine.stream([user("one two"), begun]) if isinstance(event, Delta)]
    assert said == ["two "] and engine.sent[-1][-1] == begun
    assert engine.count_tokens([user("one two"), begun]) == engine.count_tokens(
        [user("one two"), assistant("one")]
    )


def test_an_engine_that_cannot_continue_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeEngine, "continues_answers", False)
    with pytest.raises(BadInput, match="cannot continue"):
        list(make().stream([user("one two"), {**assistant("one"), "prefix": True}]))


def test_what_is_no_begun_answer_is_none() -> None:
    one = {**assistant("one"), "prefix": True}
    assert begun_answer([user("a"), one]) == "one" and without_begun([user("a"), one]) == [user("a")]
    for messages in (
        "text",
        [],
        [user("a")],
        [user("a"), assistant("one")],
        [user("a"), {**one, "prefix": "yes"}],
        [user("a"), {**one, "tool_calls": [{}]}],
        [user("a"), one, user("b")],
        [{**user("a"), "prefix": True}],
    ):
        assert begun_answer(messages) == ""


def test_answers_in_a_row_are_one_that_goes_on() -> None:
    merged = merge_turns([user("a"), assistant("one"), {**assistant("two"), "prefix": True}])
    assert begun_answer(merged) == "one\n\ntwo"
