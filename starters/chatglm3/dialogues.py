"""Dialogues of three modes, as the pages hold them, made from a seed.

python -m starters.chatglm3.dialogues --count 3 --seed 1
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from models.schema import Message, Tools
from models.tools import Tool, shipped
from models.tools.tool import CODE
from starters.chatglm3 import arithmetic, code, days, lookups, talk
from starters.chatglm3.exchange import HELD_OUT, Exchange, Maker

MODES = ("chat", "tool", "some tools", "code")
# How often each kind of question is asked, mode by mode.
_TALK: dict[Maker, float] = {talk.small_talk: 1.2, talk.unknown: 1.4, talk.nonsense: 0.5}
_WITH_TOOLS: dict[Maker, float] = {
    arithmetic.simple: 3,
    arithmetic.formula: 1.2,
    arithmetic.story: 0.7,
    arithmetic.impossible: 0.4,
    arithmetic.twice: 1.3,
    arithmetic.corrected: 0.5,
    lookups.weather: 1.8,
    lookups.nowhere: 0.9,
    lookups.compared: 2.4,
    lookups.units: 2.4,
    lookups.converted_then: 0.6,
    lookups.unlike: 0.4,
    days.now: 1.4,
    days.weekday: 0.8,
    days.shifted: 1,
    days.between: 0.9,
    days.until: 0.5,
    days.from_now: 0.4,
    days.between_then: 0.4,
}
_WITH_CODE: dict[Maker, float] = {
    code.curve: 1.5,
    code.line: 1,
    code.chart: 3,
    code.printing: 1.2,
    code.calculation: 0.8,
    code.saying: 0.3,
    code.endless: 0.4,
    code.variable: 1.2,
}
_SYSTEMS = (
    "你是一个有用的助手。",
    "You are a helpful assistant.",
    "请用中文回答。",
    "You are ChatGLM3, a large language model trained by Zhipu.AI. Follow the user's instructions carefully.",
    "Be brief.",
    "你是一位老师，回答要简短。",
)
_USED: dict[str, tuple[Maker, ...]] = {
    "get_weather": (lookups.weather, lookups.nowhere, lookups.compared),
    "calculate": (arithmetic.simple, arithmetic.formula, arithmetic.story),
    "convert_unit": (lookups.units,),
    "current_time": (days.now,),
    "add_days": (days.shifted,),
    "weekday": (days.weekday,),
    "days_between": (days.between,),
}


_ALSO_USED: dict[Maker, str] = {lookups.compared: "calculate", days.shifted: "weekday"}  # now and then
# Questions that a mode cannot answer, with what is said instead. Sums and variables are left out where
# it cannot be told which other mode they are for.
Answer = tuple[str, str]  # in Chinese, in English
_OF_CODE: dict[Maker, Answer] = dict.fromkeys(
    (code.curve, code.line, code.chart, code.endless), talk.NEEDS_CODE
)
_OF_TOOLS: dict[Maker, Answer] = dict.fromkeys(
    (*_USED["get_weather"], lookups.units, days.now, days.weekday), talk.NEEDS_TOOL
)
_OF_OTHER_MODES = {
    **{maker: talk.NEEDS_TOOL for maker in _WITH_TOOLS if maker is not arithmetic.corrected},
    **{maker: talk.NEEDS_CODE for maker in _WITH_CODE if maker not in (code.calculation, code.variable)},
}


@dataclass(frozen=True)
class Session:
    """What all dialogues under one system prompt share.

    Attributes:
        system: the prompt, now and then one of a person's own.
        tools: schemas of those that may be called; none in a chat.
        makers: of questions, with how often each is asked.
        instead: makers whose questions get this answer in place of their own, for lack of what they need.
        share: how many questions are of those.
    """

    system: tuple[Message, ...]
    tools: Tools
    makers: Mapping[Maker, float]
    instead: Mapping[Maker, Answer]
    share: float


def session(random: Random, mode: str) -> Session:
    """A session of one of the `MODES`."""
    if mode == "chat":
        return Session(_system(random), (), _TALK, _OF_OTHER_MODES, 0.35)
    if mode == "code":
        return Session(_system(random), (dict(CODE),), _WITH_CODE | _TALK, _OF_TOOLS, 0.1)
    tools = list(shipped())
    if mode == "some tools":
        tools = sorted(random.sample(tools, random.randint(1, len(tools) - 1)), key=tools.index)
    return _with(random, tools)


def _with(random: Random, tools: Sequence[Tool]) -> Session:
    """A session with these tools; questions for another one are declined."""
    system, schemas = _system(random), [tool.schema for tool in tools]
    names = {tool.name for tool in tools}
    missing = [name for name in _USED if name not in names]
    if not missing:
        return Session(system, schemas, _WITH_TOOLS | _TALK, _OF_CODE, 0.05)
    makers = {
        maker: _WITH_TOOLS[maker]
        for tool in tools
        for maker in _USED[tool.name]
        if _ALSO_USED.get(maker, tool.name) in names
    }
    declined = {maker: talk.NO_TOOL for name in missing for maker in _USED[name]}
    return Session(system, schemas, makers | _TALK, declined | _OF_CODE, 0.3)


def _system(random: Random) -> tuple[Message, ...]:
    """Now and then words of a person's own."""
    return ({"role": "system", "content": random.choice(_SYSTEMS)},) if random.random() < 0.1 else ()


def exchanges(random: Random, of: Session, held_out: bool) -> Iterator[Exchange]:
    """Questions with their answers, without end: those that training may see, or those it must not."""
    zh = random.random() < 0.55
    while True:
        if random.random() < 0.15:
            zh = not zh
        made = _exchange(random, of, zh)
        # As rare among the held out as the others, of which so many are kept from training.
        chosen = not held_out or random.random() < 1 / HELD_OUT if made.finite else made.held_out == held_out
        if chosen:
            yield made


def _exchange(random: Random, of: Session, zh: bool) -> Exchange:
    if random.random() < of.share:
        maker = random.choice(list(of.instead))
        asked = maker(random, zh)
        question = next(message for message in asked.messages if message["role"] == "user")
        made = Exchange("other mode or tool", asked.finite).ask(question["content"])
        return made.answer(of.instead[maker][not zh])
    return random.choices(list(of.makers), list(of.makers.values()))[0](random, zh)


def main() -> None:
    """Print dialogues as JSON: a line for the tools, and one for each message."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random = Random(given.seed)
    for _ in range(given.count):
        made = session(random, random.choice(MODES))
        print(json.dumps({"tools": list(made.tools)}, ensure_ascii=False))
        for message in [*made.system, *next(exchanges(random, made, held_out=False)).messages]:
            print(json.dumps(message, ensure_ascii=False))
        print()


if __name__ == "__main__":
    main()
