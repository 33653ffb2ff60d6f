"""Accuracy on dialogues that training never saw, through the same loader, engine and tools as the pages.

    QUINTET_CODE_INTERPRETER=1 python -m starters.chatglm3.evaluate

Counted by kind of question: the right tools in the right order, their right arguments, the right answer.
The clock is the only tool that is replaced: it stands where the dialogue has it.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Any, NamedTuple, cast

import models
from models import ChatEngine, ChatOptions, Delta, Message, ModelError, ToolCall
from models.chat.calls import INTERPRETER
from models.interpreter import Interpreter, Limits
from models.tools import Observation, Toolbox, exchange, written
from starters.chatglm3.dialogues import MODES, Session, exchanges, session
from starters.chatglm3.exchange import TOOLS, Exchange

GREEDY = ChatOptions(temperature=0.0, max_new_tokens=200)
LIMITS = Limits(seconds=10)  # endless loops are among the questions


class Score(NamedTuple):
    """What was right of a dialogue, or of how many."""

    tools: int
    arguments: int
    answer: int


def unseen(seed: int, count: int) -> Iterator[tuple[Session, Exchange]]:
    """Questions held out from training, each with the session that it is asked in."""
    random = Random(seed)
    for _ in range(count):
        of = session(random, random.choices(MODES, (1, 5, 1, 3))[0])
        yield of, next(exchanges(random, of, held_out=True))


def score(engine: ChatEngine, of: Session, made: Exchange, interpreter: Interpreter | None) -> Score:
    """Ask an engine the questions of a dialogue, and compare what it does."""
    calls, answers = [], []
    toolbox = _toolbox(of, made, interpreter)
    messages: list[Message] = list(of.system)
    for given in made.given():
        messages += given
        asked, text = _answer(toolbox, engine, messages)
        calls += asked
        answers.append(text)
    names = [name for name, _ in calls] == [name for name, _ in made.calls()]
    return Score(names, calls == made.calls(), answers == made.answers())


def _toolbox(of: Session, made: Exchange, interpreter: Interpreter | None) -> Toolbox:
    tools = [TOOLS[schema["name"]] for schema in of.tools if schema["name"] in TOOLS]
    at = made.now()
    tools = [
        replace(t, function=lambda place="UTC": at) if at and t.name == "current_time" else t for t in tools
    ]
    return Toolbox(tools, interpreter if of.tools and not tools else None)


def _answer(
    toolbox: Toolbox, engine: ChatEngine, messages: list[Message]
) -> tuple[list[tuple[str, Mapping[str, Any]]], str]:
    """The calls of an answer and its text; what was said is added to `messages`."""
    calls: list[tuple[str, Mapping[str, Any]]] = []
    text, asked = "", ToolCall("", {})
    try:
        for event in toolbox.answer(engine, list(messages), GREEDY):
            if isinstance(event, ToolCall):
                asked = event
                calls.append((event.name, event.arguments))
            elif isinstance(event, Observation):
                messages += exchange("", asked.name, written(asked), event.text)
            elif isinstance(event, Delta):
                text += event.text
    except ModelError as error:
        text = error.en
    messages.append({"role": "assistant", "content": text})
    return calls, text


def main() -> None:
    """Print a table, and the dialogues that went wrong if they are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="chatglm3-tiny", help="catalog name or folder")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", action="store_true", help="print the dialogues that went wrong")
    given = parser.parse_args()
    engine = cast(ChatEngine, models.load(given.model))
    found: dict[str, list[Score]] = {}
    with Interpreter(LIMITS) as interpreter:
        for of, made in unseen(given.seed, given.count):
            if any(name == INTERPRETER for name, _ in made.calls()):
                list(interpreter.run("%reset -f"))
            scored = score(engine, of, made, interpreter)
            found.setdefault(made.kind, []).append(scored)
            if given.show and not all(scored):
                print(json.dumps([scored, *made.messages], ensure_ascii=False), flush=True)
    print(f"{'kind':20}{'dialogues':>10}{'tools':>8}{'arguments':>11}{'answer':>8}")
    for kind, scores in [*sorted(found.items()), ("all", sum(found.values(), []))]:
        shares = [100 * sum(column) / len(scores) for column in zip(*scores, strict=True)]
        print(f"{kind:20}{len(scores):10}{shares[0]:8.1f}{shares[1]:11.1f}{shares[2]:8.1f}")


if __name__ == "__main__":
    main()
