"""What every chat engine promises, tried on the real starters."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from models import Loader
from models.engines.base import ChatEngine
from models.errors import BadInput, EngineClosed, EngineFailed
from models.schema import ChatOptions, Delta, Done, Event, Message, Prefill, Queued, Usage
from tests.fakes.waiting import LONG_WAIT, at_once

pytestmark = pytest.mark.weights

CHAT, BASE = "smollm2-135m-instruct", "gemma-3-270m"
CONTEXT = 512
GREEDY = ChatOptions(temperature=0.0, max_new_tokens=24)


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def question(engine: ChatEngine, text: str = "What is the capital of France?") -> Any:
    """A question to a chat model, its beginning to a base model."""
    return (
        [user(text)]
        if engine.has_chat_template
        else "Question: " + text + "\nAnswer: The capital of France is"
    )


def long_answer(engine: ChatEngine) -> Any:
    return question(engine, "Tell me a very long story about a dragon, with many chapters.")


def answer(events: list[Event]) -> tuple[str, Done]:
    """The text and the end of an answer, whose form is checked on the way."""
    assert isinstance(events[-1], Done)
    assert all(isinstance(event, (Queued, Prefill, Delta)) for event in events[:-1])
    return "".join(event.text for event in events if isinstance(event, Delta)), events[-1]


def ask(engine: ChatEngine, messages: Any, options: ChatOptions = GREEDY) -> tuple[str, Done]:
    return answer(list(engine.stream(messages, options)))


@pytest.fixture(scope="module")
def shop() -> Iterator[Loader]:
    loader = Loader()
    yield loader
    assert loader.unload()


@pytest.fixture(params=[CHAT, BASE])
def engine(request: pytest.FixtureRequest, shop: Loader) -> Iterator[ChatEngine]:
    loaded = shop.load(request.param, "cpu", context=CONTEXT)
    assert isinstance(loaded, ChatEngine)
    yield loaded
    assert loaded.active == 0  # whatever a test did, every slot is free again


@pytest.fixture
def chat(shop: Loader) -> Iterator[ChatEngine]:
    loaded = shop.load(CHAT, "cpu", context=CONTEXT)
    assert isinstance(loaded, ChatEngine)
    yield loaded
    assert loaded.active == 0


# --- answers -------------------------------------------------------------------------------------


def test_it_knows_the_capital_of_france(engine: ChatEngine) -> None:
    text, done = ask(engine, question(engine))
    used = done.usage
    assert "Paris" in text
    assert used.prompt_tokens == engine.count_tokens(question(engine))
    assert 0 < used.completion_tokens <= GREEDY.max_new_tokens
    assert 0 <= used.cached_tokens < used.prompt_tokens
    assert used.seconds_to_first_token > 0 and used.tokens_per_second > 0
    assert used.dropped_messages == 0


def test_the_end_of_an_answer_is_a_stop(chat: ChatEngine) -> None:
    text, done = ask(chat, question(chat))
    assert text == "The capital of France is Paris." and done.finish_reason == "stop"


def test_an_answer_is_cut_where_it_was_asked_to_be(engine: ChatEngine) -> None:
    _, done = ask(engine, long_answer(engine), ChatOptions(temperature=0.0, max_new_tokens=5))
    assert done.finish_reason == "length" and done.usage.completion_tokens == 5


def test_a_second_turn_reads_only_what_is_new(chat: ChatEngine) -> None:
    conversation = [user("My name is Ada. What is the capital of Italy?")]
    text, first = ask(chat, conversation)
    conversation += [{"role": "assistant", "content": text}, user("And of Spain?")]
    _, second = ask(chat, conversation)
    assert second.usage.prompt_tokens > first.usage.prompt_tokens
    assert second.usage.cached_tokens >= first.usage.prompt_tokens - 1


def test_a_cached_prefix_changes_no_answer(engine: ChatEngine) -> None:
    once, _ = ask(engine, question(engine))
    again, done = ask(engine, question(engine))
    assert again == once and done.usage.cached_tokens > 0


def test_the_same_seed_says_the_same(engine: ChatEngine) -> None:
    hot = {"temperature": 1.5, "top_k": 0, "top_p": 1.0, "max_new_tokens": 12}
    texts = [ask(engine, question(engine), ChatOptions(seed=seed, **hot))[0] for seed in (1, 1, 2, 3)]
    assert texts[0] == texts[1] and len(set(texts)) > 1


def test_without_a_seed_answers_differ(engine: ChatEngine) -> None:
    hot = ChatOptions(temperature=2.0, top_k=0, top_p=1.0, max_new_tokens=12)
    assert len({ask(engine, long_answer(engine), hot)[0] for _ in range(3)}) > 1


def test_the_answer_ends_before_a_stop_text(engine: ChatEngine) -> None:
    whole, _ = ask(engine, question(engine))
    options = ChatOptions(temperature=0.0, max_new_tokens=24, stop=("never said", "Par"))
    text, done = ask(engine, question(engine), options)
    assert text == whole[: whole.index("Par")] and done.finish_reason == "stop"


def test_a_base_model_continues_messages_as_text(shop: Loader) -> None:
    engine = shop.load(BASE, "cpu", context=CONTEXT)
    assert isinstance(engine, ChatEngine)
    text = "1, 2, 3, 4,"
    assert ask(engine, [user(text)])[0] == ask(engine, text)[0]
    assert engine.count_tokens([user(text)]) == engine.count_tokens(text)


def test_a_chat_model_continues_a_bare_text_without_its_template(chat: ChatEngine) -> None:
    assert chat.count_tokens("The capital of France is") < chat.count_tokens(
        [user("The capital of France is")]
    )
    assert "Paris" in ask(chat, "The capital of France is")[0]


def test_parts_of_text_are_read_as_text(chat: ChatEngine) -> None:
    parts = [{"type": "text", "text": "What is the capital of France?"}]
    assert ask(chat, [{"role": "user", "content": parts}])[0] == "The capital of France is Paris."


def test_other_scripts_arrive_whole(engine: ChatEngine) -> None:
    """No piece ends in the middle of a character."""
    options = ChatOptions(temperature=0.0, max_new_tokens=16)
    events = list(engine.stream("你好，世界！你好，世界！你好，", options))
    pieces = [event.text for event in events if isinstance(event, Delta)]
    assert "�" not in "".join(pieces) and any(ord(c) > 0x3000 for c in "".join(pieces))


# --- too much, too little ------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda text: [user(text)], lambda text: text], ids=["messages", "text"])
def test_a_message_longer_than_the_context_is_refused(engine: ChatEngine, wrap: Any) -> None:
    with pytest.raises(BadInput, match=f"the context holds {CONTEXT}"):
        list(engine.stream(wrap("word " * 2000)))


def test_an_empty_text_is_refused(engine: ChatEngine) -> None:
    with pytest.raises(BadInput):
        list(engine.stream(""))


def test_an_image_is_refused_by_who_cannot_see(engine: ChatEngine) -> None:
    parts = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]
    with pytest.raises(BadInput, match="text only"):
        list(engine.stream([{"role": "user", "content": parts}]))


def test_a_long_conversation_loses_whole_turns_and_keeps_the_system_prompt(chat: ChatEngine) -> None:
    conversation: list[Message] = [{"role": "system", "content": "Always answer with the word banana."}]
    for turn in range(12):
        conversation += [user(f"Number {turn}: " + "word " * 40), {"role": "assistant", "content": "ok"}]
    conversation.append(user("What is the capital of France?"))
    options = ChatOptions(temperature=0.0, max_new_tokens=8)
    _, done = ask(chat, conversation, options)
    dropped = chat.dropped(conversation, options)
    assert done.usage.dropped_messages == dropped > 0 and dropped % 2 == 0
    kept = [conversation[0], *conversation[1 + dropped :]]
    assert done.usage.prompt_tokens == chat.count_tokens(kept) <= CONTEXT - 8
    assert chat.count_tokens([conversation[0], *conversation[1 + dropped - 2 :]]) > CONTEXT - 8


def test_an_answer_ends_where_the_context_does(chat: ChatEngine) -> None:
    asked = [user("word " * 450)]
    prompt = chat.count_tokens(asked)
    _, done = ask(chat, asked, ChatOptions(temperature=0.0, max_new_tokens=400))
    assert prompt < CONTEXT and done.usage.completion_tokens <= CONTEXT - prompt
    assert done.finish_reason in ("length", "stop")


# --- leaving -------------------------------------------------------------------------------------


def test_stop_while_the_answer_is_written(engine: ChatEngine) -> None:
    cancel, events = threading.Event(), []
    options = ChatOptions(temperature=0.0, max_new_tokens=400)
    for event in engine.stream(long_answer(engine), options, cancel):
        events.append(event)
        if isinstance(event, Delta):
            cancel.set()
    text, done = answer(events)
    assert text and done.finish_reason == "cancelled"
    assert len([event for event in events if isinstance(event, Delta)]) <= 3


def test_stop_while_the_prompt_is_read(engine: ChatEngine) -> None:
    cancel, events = threading.Event(), []
    prompt = "a different beginning " + "and some more of it " * 80
    for event in engine.stream(prompt, GREEDY, cancel):
        events.append(event)
        cancel.set()
    text, done = answer(events)
    assert done.finish_reason == "cancelled" and text == ""


def test_stop_before_the_first_step(engine: ChatEngine) -> None:
    cancel = threading.Event()
    cancel.set()
    assert answer(list(engine.stream(question(engine), GREEDY, cancel))) == ("", Done("cancelled", Usage()))


def test_a_closed_generator_frees_its_slot(engine: ChatEngine) -> None:
    for _ in range(engine.placement.slots + 1):
        abandoned = engine.stream(long_answer(engine), ChatOptions(max_new_tokens=400))
        assert isinstance(next(event for event in abandoned if isinstance(event, Delta)), Delta)
        assert engine.active == 1
        abandoned.close()
        assert engine.active == 0
    assert "Paris" in ask(engine, question(engine))[0]


def test_four_at_once_each_get_their_own_answer(chat: ChatEngine) -> None:
    words = ["apple", "river", "seven", "cloud"]
    asked = {word: [user(f'Repeat this word and nothing else: "{word}"')] for word in words}
    alone = {word: ask(chat, messages)[0] for word, messages in asked.items()}
    answers = at_once(lambda word: ask(chat, asked[word])[0], words, LONG_WAIT)
    together = dict(zip(words, answers, strict=True))
    for word in words:
        others = set(words) - {word}
        assert word in together[word].lower() and not any(other in together[word].lower() for other in others)
    assert alone.keys() == together.keys()


def test_more_than_there_are_slots_wait_in_line(engine: ChatEngine) -> None:
    slots = engine.placement.slots
    streams = [engine.stream(question(engine), GREEDY) for _ in range(slots + 1)]
    begun = [next(stream) for stream in streams]
    assert [isinstance(event, Queued) for event in begun] == [False] * slots + [True]
    assert begun[-1] == Queued(1) and engine.active == slots + 1
    for stream in streams:
        *_, done = stream
        assert isinstance(done, Done)


def test_a_failure_inside_reaches_who_asked(chat: ChatEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("out of luck")

    server = chat._server  # type: ignore[attr-defined]
    fake = type(
        "Fake", (), {"handle_chat_completions": broken, "listening_address": server.listening_address}
    )
    monkeypatch.setattr(chat, "_server", fake())
    with pytest.raises(EngineFailed, match="out of luck"):
        list(chat.stream(question(chat), GREEDY))
    monkeypatch.undo()
    assert "Paris" in ask(chat, question(chat))[0]


def test_after_an_unload_it_says_so_and_can_be_loaded_again(shop: Loader) -> None:
    engine = shop.load(CHAT, "cpu", context=CONTEXT)
    assert isinstance(engine, ChatEngine)
    waiting = engine.stream(question(engine), GREEDY)
    answering = engine.stream(question(engine), GREEDY)
    next(answering)
    assert not shop.unload(CHAT)
    answering.close()
    assert shop.unload(CHAT) and engine.closed
    with pytest.raises(EngineClosed):
        next(waiting)
    again = shop.load(CHAT, "cpu", context=CONTEXT)
    assert isinstance(again, ChatEngine) and again is not engine
    assert "Paris" in ask(again, question(again))[0]


def test_the_load_report_is_what_was_measured(engine: ChatEngine) -> None:
    report = engine.report
    assert report.weights == engine.checkpoint.bytes and report.seconds > 0
    assert report.dtype in ("Q4_1", "Q4_K_M") and engine.context_length == CONTEXT
