"""A conversation as a visitor keeps it: turns, alternative answers, undo, and its JSON form.

Plain data without Streamlit or models. What is sent to a model is `messages()`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

VERSION = 1


@dataclass(frozen=True)
class Answer:
    """One answer to one question; `figures` are a Usage as a dict, `reason` why it ended."""

    text: str = ""
    reason: str = ""  # "" while it is being written
    figures: Mapping[str, float] = field(default_factory=dict)
    checkpoint: str = ""


@dataclass(frozen=True)
class Turn:
    """A question and its answers, of which one is shown and sent."""

    question: str
    answers: tuple[Answer, ...] = ()
    chosen: int = -1  # index into answers; the newest by default

    @property
    def answer(self) -> Answer | None:
        return self.answers[self.chosen] if self.answers else None


class Conversation:
    """Turns with undo. Every change can be taken back, Clear included."""

    def __init__(self, turns: tuple[Turn, ...] = (), system: str = "") -> None:
        self.turns = turns
        self.system = system
        self._past: list[tuple[Turn, ...]] = []

    # --- changes ------------------------------------------------------------------------------

    def _change(self, turns: tuple[Turn, ...]) -> None:
        self._past.append(self.turns)
        self.turns = turns

    def ask(self, question: str) -> None:
        self._change((*self.turns, Turn(question)))

    def edit(self, index: int, question: str) -> None:
        """Ask something else at this point; what followed is gone (until Undo)."""
        self._change((*self.turns[:index], Turn(question)))

    def clear(self) -> None:
        self._change(())

    def undo(self) -> None:
        if self._past:
            self.turns = self._past.pop()

    @property
    def can_undo(self) -> bool:
        return bool(self._past)

    def begin_answer(self, checkpoint: str) -> None:
        """Open a new answer to the last question; earlier answers stay beside it."""
        last = self.turns[-1]
        if last.answers:
            self._past.append(self.turns)
        self._set_last(replace(last, answers=(*last.answers, Answer(checkpoint=checkpoint)), chosen=-1))

    def write(self, text: str) -> None:
        """Set the text of the answer being written."""
        self._set_answer(replace(self._writing(), text=text))

    def end_answer(self, reason: str, figures: Mapping[str, float]) -> None:
        self._set_answer(replace(self._writing(), reason=reason, figures=dict(figures)))

    def settle(self) -> None:
        """Close an answer that was cut off from outside: Stop, a click elsewhere, another page."""
        answer = self.turns[-1].answers[-1] if self.turns and self.turns[-1].answers else None
        if answer is not None and not answer.reason:
            self.end_answer("cancelled", {})

    def drop_empty_answer(self) -> None:
        """Take back an answer that never got a word, as after an error."""
        last = self.turns[-1]
        if last.answers and not last.answers[-1].text:
            self._set_last(replace(last, answers=last.answers[:-1]))

    def choose(self, index: int, answer: int) -> None:
        turn = replace(self.turns[index], chosen=answer)
        self.turns = (*self.turns[:index], turn, *self.turns[index + 1 :])

    def _writing(self) -> Answer:
        return self.turns[-1].answers[-1]

    def _set_answer(self, answer: Answer) -> None:
        last = self.turns[-1]
        self._set_last(replace(last, answers=(*last.answers[:-1], answer)))

    def _set_last(self, turn: Turn) -> None:
        self.turns = (*self.turns[:-1], turn)

    # --- what it says -------------------------------------------------------------------------

    def messages(self, again: bool = False) -> list[dict[str, str]]:
        """In the OpenAI chat format.

        Args:
            again: leave out the last answer, to ask for another one.
        """
        messages = [{"role": "system", "content": self.system}] if self.system else []
        for number, turn in enumerate(self.turns, 1):
            messages.append({"role": "user", "content": turn.question})
            last = number == len(self.turns)
            if turn.answer and turn.answer.text and not (again and last):
                messages.append({"role": "assistant", "content": turn.answer.text})
        return messages

    def turns_within(self, dropped_messages: int) -> int:
        """How many of the oldest turns those messages are (the system prompt not counted)."""
        seen = turns = 0
        for turn in self.turns:
            seen += 1 + bool(turn.answer and turn.answer.text)
            if seen > dropped_messages:
                break
            turns += 1
        return turns

    # --- as a file ----------------------------------------------------------------------------

    def to_json(self) -> str:
        """`messages` is what other programs read; `turns` keeps the alternative answers too."""
        data = {
            "quintet": VERSION,
            "messages": self.messages(),
            "system": self.system,
            "turns": [asdict(turn) for turn in self.turns],
        }
        return json.dumps(data, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Conversation":
        """Read `to_json`'s form, or any JSON list of {"role", "content"} messages.

        Raises:
            ValueError: it is neither.
        """
        try:
            data = json.loads(text)
            if isinstance(data, dict) and "turns" in data:
                return cls(tuple(_turn(item) for item in data["turns"]), str(data.get("system", "")))
            return cls._from_messages(data["messages"] if isinstance(data, dict) else data)
        except (KeyError, TypeError, AttributeError, IndexError, UnicodeDecodeError) as error:
            raise ValueError("not a conversation") from error

    @classmethod
    def _from_messages(cls, messages: list[dict[str, Any]]) -> "Conversation":
        turns: list[Turn] = []
        system = ""
        for message in messages:
            role, content = message["role"], message["content"]
            if not isinstance(content, str):
                raise ValueError("only text messages can be imported")
            if role == "system":
                system = content
            elif role == "user":
                turns.append(Turn(content))
            elif role == "assistant":
                turns[-1] = replace(turns[-1], answers=(Answer(content, "stop"),))
        return cls(tuple(turns), system)


def _turn(data: dict[str, Any]) -> Turn:
    answers = tuple(
        Answer(
            str(item["text"]),
            str(item.get("reason") or "stop"),
            {str(key): float(value) for key, value in item.get("figures", {}).items()},
            str(item.get("checkpoint", "")),
        )
        for item in data.get("answers", ())
    )
    chosen = int(data.get("chosen", -1))
    if answers and not -1 <= chosen < len(answers):
        raise ValueError("no such answer")
    return Turn(str(data["question"]), answers, chosen)
