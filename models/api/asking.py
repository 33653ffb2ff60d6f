"""The work of a request, in a thread: its engine, held, and the events of its answers."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from models.api.asked import Asked
from models.api.choice import Engines
from models.api.forcing import as_calls
from models.api.parts import complete
from models.api.reading import chats
from models.engines.base import ChatEngine
from models.jobs import Stream
from models.schema import Event

Numbered = Stream[tuple[int, Event]]  # which answer an event belongs to
Read = Callable[[ChatEngine, threading.Event], Sequence[Asked]]  # the questions of a request


def one_conversation(engines: Engines, model: str, asked: Asked) -> Read:
    """What reads the one question of a conversation, its parts made ready."""

    def read(engine: ChatEngine, cancel: threading.Event) -> list[Asked]:
        chats(engine, model)
        return [complete(asked, engines, cancel)]

    return read


def answers(engines: Engines, model: str, read: Read, times: int = 1) -> Numbered:
    """The events of every answer with its number: for each question that `read` makes, so many answers.

    They are given to the engine together: it is its affair how many it makes at a time.
    """

    def work(send: Callable[[tuple[int, Event]], None], cancel: threading.Event) -> None:
        with engines.using(model, ChatEngine, cancel) as engine:
            questions = read(engine, cancel)
            each = [(asked, asked.options(engine, time)) for asked in questions for time in range(times)]

            def answer(number: int) -> None:
                asked, options = each[number]
                given = (asked.messages, options, cancel, asked.tools, asked.response_format)
                try:
                    events = engine.stream(*given)
                    for event in as_calls(events) if asked.forced else events:
                        send((number, event))
                except BaseException:
                    cancel.set()  # the request has failed: nobody wants the others
                    raise

            if len(each) == 1:
                answer(0)
                return
            with ThreadPoolExecutor(len(each)) as pool:
                for ended in [pool.submit(answer, number) for number in range(len(each))]:
                    ended.result()

    return Stream(work)
