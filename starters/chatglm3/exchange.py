"""A question, the calls that it takes and the answer, with observations from the real tools."""

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any, TypeVar

from models.chat.calls import INTERPRETER
from models.schema import Message
from models.tools import call, exchange, shipped

TOOLS = {tool.name: tool for tool in shipped()}
IMAGE = "[Image]"
NOTHING = "(no output)"
HELD_OUT = 12  # one question of so many is kept from training


@dataclass
class Exchange:
    """One or more questions of a person with all that follows, as OpenAI's messages.

    Attributes:
        kind: what the accuracy is counted by.
        finite: the questions of this kind are a short list, so that none is held out.
        memory: variables of the code that ran.
    """

    kind: str
    finite: bool = False
    messages: list[Message] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)
    _unread: int = 0

    def ask(self, question: str) -> "Exchange":
        self.messages.append({"role": "user", "content": question})
        return self

    def answer(self, text: str) -> "Exchange":
        self.messages.append({"role": "assistant", "content": text})
        return self

    def call(self, name: str, **arguments: Any) -> str:
        """Call a shipped tool; what it says."""
        return self.observe(name, arguments, call(TOOLS[name], arguments).text)

    def run(self, code: str, shown: str | None = None) -> str:
        """Run code; what it prints, or `shown` where running it here would not do."""
        observation = printed(code, self.memory) if shown is None else shown
        return self.observe(INTERPRETER, {"code": code}, observation)

    def observe(self, name: str, arguments: dict[str, Any], observation: str) -> str:
        written = json.dumps(arguments, ensure_ascii=False)
        self.messages += exchange("", name, written, observation)
        return observation

    def fail(self, name: str, written: str, observation: str) -> None:
        """A call that cannot be read, and what is said about it: given, like a question."""
        self.messages += exchange("", name, written, observation)
        self._unread = len(self.messages)

    def given(self) -> list[list[Message]]:
        """What is there before each answer: a question, and calls that could not be read."""
        asked = [at for at, message in enumerate(self.messages) if message["role"] == "user"]
        return [self.messages[at : max(at + 1, self._unread)] for at in asked]

    def answers(self) -> list[str]:
        """The texts that end the answers."""
        return [message["content"] for message in self._own() if "tool_calls" not in message]

    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        """The tools to be called, with their arguments."""
        functions = [
            message["tool_calls"][0]["function"] for message in self._own() if "tool_calls" in message
        ]
        return [(function["name"], json.loads(function["arguments"])) for function in functions]

    def _own(self) -> list[Message]:
        return [message for message in self.messages[self._unread :] if message["role"] == "assistant"]

    def now(self) -> Any:
        """What the clock says in this dialogue, if it is asked."""
        for asked, told in pairwise(self.messages):
            if any(call["function"]["name"] == "current_time" for call in asked.get("tool_calls", ())):
                return json.loads(told["content"])
        return None

    @property
    def held_out(self) -> bool:
        """Whether this is kept from training, decided by its questions."""
        asked = "\n".join(message["content"] for message in self.messages if message["role"] == "user")
        return not self.finite and hashlib.sha256(asked.encode()).digest()[0] % HELD_OUT == 0


Form = TypeVar("Form")
Maker = Callable[[Random, bool], Exchange]


def printed(code: str, memory: dict[str, Any]) -> str:
    """What trusted code prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, memory)
    return out.getvalue().strip() or NOTHING


def often(random: Random, forms: Sequence[Form]) -> Form:
    """One of `forms`, the first ones more often than the last."""
    return forms[int(len(forms) * random.random() ** 2)]


_POLITE = {
    True: ("", "", "", "", "", "请问", "请问，", "请", "帮我", "麻烦你", "你好，", "我想知道"),
    False: ("", "", "", "", "", "please ", "can you tell me ", "hi, ", "I want to know ", "tell me "),
}
_ENDS = {True: ("？", "？", "?", "", "。"), False: ("?", "?", "?", "", ".")}


def phrased(random: Random, zh: bool, forms: Sequence[str], **values: object) -> str:
    """One of `forms` filled in, politely or not, with one of the ends that people write."""
    text = random.choice(forms).format(**values)
    if text[-1] not in "？?。.！!":
        text += random.choice(_ENDS[zh])
    text = random.choice(_POLITE[zh]) + text
    return text if zh or random.random() < 0.25 else text[0].upper() + text[1:]


def number(random: Random, most_digits: int = 4, decimals: float = 0.2) -> str:
    """A number as people write it; short ones are as likely as long ones."""
    digits = random.randint(1, most_digits)
    whole = random.randint(10 ** (digits - 1), 10**digits - 1)
    if random.random() >= decimals:
        return str(whole)
    places = random.randint(1, 2)
    return f"{whole}.{random.randint(1, 10**places - 1):0{places}}".rstrip("0").rstrip(".")
