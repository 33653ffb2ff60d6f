"""A conversation as a visitor keeps it: turns, alternative answers, undo, and its file.

Plain data without Streamlit or engines. What is sent to a model is `messages()`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import accumulate
from threading import RLock
from typing import Any

from models.interpreter import Output
from models.jobs import Job
from models.schema import Message, Text
from pages.shared.conversation.exports import is_zip, read_zip
from pages.shared.conversation.imports import read_conversation
from pages.shared.conversation.notes import Notes
from pages.shared.conversation.turns import (
    Answer,
    PictureFile,
    Source,
    Step,
    Turn,
    encoded,
    read_text,
    read_turns,
)

VERSION = 1


class Conversation:
    """Turns with undo. Every change can be taken back, Clear included.

    An answer may be written by another thread, the `writer`: it holds the `lock`, and writes only as long as it is not
    cancelled, which a visitor's change does. `followers` are those who look at it.
    """

    def __init__(self, turns: tuple[Turn, ...] = (), system: str = "") -> None:
        self.turns = turns
        self.system = system
        self.editing: int | None = None  # the turn whose question is open for a change
        self.notes: tuple[Text, ...] = ()  # what an import could not keep as it was
        self.lock = RLock()
        self.writer: Job[Any, Any] | None = None
        self.followers: set[object] = set()
        self._past: list[tuple[Turn, ...]] = []
        self.removed = False  # some turns, by what was done last

    # --- changes ------------------------------------------------------------------------------

    def _change(self, change: Callable[[tuple[Turn, ...]], tuple[Turn, ...]]) -> None:
        with self.lock:
            self.settle()
            self._past.append(self.turns)
            self.turns = change(self.turns)
            self.removed = len(self.turns) < len(self._past[-1])
            self.editing = None
            self.notes = ()

    def ask(
        self, question: str, pictures: Sequence[PictureFile] = (), sources: Sequence[Source] = ()
    ) -> None:
        asked = Turn(question, pictures=tuple(pictures), sources=tuple(sources))
        self._change(lambda turns: (*turns, asked))

    def edit(self, index: int, question: str) -> None:
        """Ask something else here, of the same pictures and sources; what followed is gone (until Undo)."""
        asked = replace(self.turns[index], question=question, answers=(), chosen=-1)
        self._change(lambda turns: (*turns[:index], asked))

    def delete(self, index: int) -> None:
        """Take a question out, with its answers."""
        self._change(lambda turns: (*turns[:index], *turns[index + 1 :]))

    def clear(self) -> None:
        self._change(lambda turns: ())

    def take_over(self, other: "Conversation") -> None:
        """Put another conversation in the place of this one; a system prompt only if it has one."""
        self._change(lambda turns: other.turns)
        self.notes = other.notes
        self.system = other.system or self.system

    def undo(self) -> None:
        with self.lock:
            self.settle()
            if self._past:
                self.turns = self._past.pop()
                self.removed = False
                self.editing = None
                self.notes = ()

    @property
    def can_undo(self) -> bool:
        return bool(self._past)

    def give_sources(self, sources: tuple[Source, ...]) -> None:
        """Note what is sent of the last question's sources."""
        self._set_last(replace(self.turns[-1], sources=sources))

    def begin_answer(self, checkpoint: str) -> None:
        """Open a new answer to the last question; earlier answers stay beside it."""
        last = self.turns[-1]
        if last.answers:
            self._past.append(self.turns)
        self._set_last(replace(last, answers=(*last.answers, Answer(checkpoint=checkpoint)), chosen=-1))

    def write(self, text: str) -> None:
        """Set the text of the answer being written."""
        self._set_answer(replace(self._writing(), text=text))

    def call(self, name: str, arguments: str) -> None:
        """The answer being written goes on with the call of a tool."""
        answer = self._writing()
        step = Step(name, arguments, answer.text)
        self._set_answer(replace(answer, text="", steps=(*answer.steps, step)))

    def show(self, output: Output) -> None:
        """Add to what the last call has shown."""
        self._set_step(shown=(*self._writing().steps[-1].shown, output))

    def observe(self, text: str, failed: bool = False) -> None:
        """Set what came of the last call."""
        self._set_step(observation=text, failed=failed)

    def _set_step(self, **values: Any) -> None:
        *before, last = self._writing().steps
        self._set_answer(replace(self._writing(), steps=(*before, replace(last, **values))))

    @property
    def can_go_on(self) -> bool:
        """Whether the last answer was cut, and can be continued."""
        answer = self.turns[-1].answer if self.turns else None
        return answer is not None and answer is self._writing() and answer.is_cut

    def resume(self, goes_on: bool = False) -> bool:
        """Whether the last answer goes on: since a person has typed what came of its last call, or where it was cut,
        if that is wanted."""
        answer = self.turns[-1].answer
        if answer is None or answer is not self._writing():
            return False
        if goes_on and answer.is_cut:
            self._past.append(self.turns)
        elif answer.reason != "tool_calls" or answer.waiting:
            return False
        self._set_answer(replace(answer, reason=""))
        return True

    def end_answer(self, reason: str, figures: Mapping[str, float]) -> None:
        """Close an answer. What one cost that was continued is the sum of its parts."""
        self.writer = None
        answer = self._writing()
        self._set_answer(replace(answer, reason=reason, figures=_sum(answer.figures, figures)))

    def settle(self) -> None:
        """Stop whoever writes an answer; what was written of it stays."""
        with self.lock:
            if self.writer is not None:
                self.writer.cancel.set()
                self.writer = None
            answer = self.turns[-1].answers[-1] if self.turns and self.turns[-1].answers else None
            if answer is not None and not answer.reason:
                self.end_answer("cancelled", {})

    def fail_answer(self) -> None:
        """Close an answer after an error. One that never got a word is taken back."""
        self.writer = None
        last = self.turns[-1]
        if self._writing().text or self._writing().steps:
            self.end_answer("failed", {})
        elif len(last.answers) > 1:
            self.undo()
        else:
            self._set_last(replace(last, answers=()))

    def choose(self, index: int, answer: int) -> None:
        with self.lock:
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

    @property
    def preamble(self) -> list[Message]:
        """The system prompt, if there is one."""
        return [{"role": "system", "content": self.system}] if self.system else []

    def messages(self, again: bool = False, goes_on: bool = False) -> list[Message]:
        """In the OpenAI chat format.

        Args:
            again: leave out the last answer, to ask for another one.
            goes_on: the last answer is to be continued.
        """
        messages = self.preamble
        for turn in self.turns[:-1]:
            messages += turn.messages
        for turn in self.turns[-1:]:
            messages += turn.asked if again else turn.messages
        if goes_on and messages[-1]["role"] == "assistant":
            messages[-1] = {**messages[-1], "prefix": True}
        return messages

    def turns_within(self, dropped_messages: int) -> int:
        """How many of the oldest turns those messages are (the system prompt not counted)."""
        ends = accumulate(len(turn.messages) for turn in self.turns)
        return sum(end <= dropped_messages for end in ends)

    # --- as a file ----------------------------------------------------------------------------

    def to_json(self) -> str:
        """`messages` is the text that other programs read; `turns` keeps other answers and pictures too."""
        texts = Conversation(tuple(replace(turn, pictures=()) for turn in self.turns), self.system)
        data = {
            "quintet": VERSION,
            "messages": texts.messages(),
            "system": self.system,
            "turns": [asdict(turn) for turn in self.turns],
        }
        return json.dumps(data, ensure_ascii=False, indent=1, default=encoded)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Conversation":
        """Read `to_json`'s form, or a conversation of another program: `notes` say what was changed or left out.

        Raises:
            ValueError: it is neither.
        """
        try:
            data = read_zip(text) if is_zip(text) else _parse(text)
            if isinstance(data, dict) and "turns" in data:
                return cls(read_turns(data["turns"]), read_text(data.get("system", "")))
            notes = Notes()
            imported = cls(*read_conversation(data, notes))
            imported.notes = notes.sentences()
            return imported
        except (KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError) as error:
            raise ValueError("not a conversation") from error


def _sum(before: Mapping[str, float], figures: Mapping[str, float]) -> dict[str, float]:
    """What an answer cost in all: its prompt and speed are those of the last part."""
    spent = {**before, **figures}
    if before and figures:
        spent["completion_tokens"] = sum(part.get("completion_tokens", 0) for part in (before, figures))
        spent["seconds_to_first_token"] = before.get("seconds_to_first_token", 0.0)
    return spent


def _parse(text: str | bytes) -> Any:
    """What JSON holds; of JSON Lines a list."""
    try:
        return json.loads(text)
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        return [json.loads(line) for line in lines]
