"""Messages of other programs as turns. What has no place here is kept where that is possible, and said."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pages.shared.conversation.contents import Call, find_calls, find_results, mark_pictures, read_content
from pages.shared.conversation.exports import find_messages
from pages.shared.conversation.notes import Notes
from pages.shared.conversation.turns import Answer, PictureFile, Source, Step, Turn, read_text

# What programs call the roles.
_ROLES = {
    name: role
    for role, names in {
        "system": "system developer",
        "user": "user human prompter",
        "assistant": "assistant gpt chatgpt model bot ai bing bard claude",
        "tool": "tool function observation tool_response function_response function_call_output ipython",
        "call": "function_call tool_call",
        "thought": "reasoning",
    }.items()
    for name in names.split()
}
_CONTENTS = ("content", "value", "parts", "text", "output", "refusal", "arguments", "summary")
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")


def read_conversation(data: Any, notes: Notes) -> tuple[tuple[Turn, ...], str]:
    """The turns and the system prompt in what another program's JSON holds.

    Raises:
        ValueError: there is no conversation in it; KeyError, TypeError and the like for data of other types.
    """
    found = find_messages(data, notes)
    turns: list[_Turn] = []
    system: list[str] = []
    for raw in found:
        role = _role_of(raw)
        if _ROLES.get(role.lower()) != "system":
            _add(turns, raw, role, notes)
        elif text := _text(raw, role, notes):
            if turns:
                notes.add("system")
            system.append(text)
    if found and not turns and not system:
        raise ValueError("nothing is said in it")
    return tuple(turn.made() for turn in turns), "\n\n".join(system)


# --- one turn ----------------------------------------------------------------------------------


@dataclass
class _Turn:
    """A turn while its messages come; the text of an answer follows its calls."""

    question: str = ""
    pictures: tuple[PictureFile, ...] = ()
    sources: tuple[Source, ...] = ()
    calls: list[Call] = field(default_factory=list)
    answer: str = ""

    def call(self, text: str, calls: list[Call]) -> None:
        calls[0].text = text
        self.calls += calls

    def observe(self, result: Call) -> bool:
        """Whether one of the calls waits for that result, by its id, else by its order."""
        waiting = [call for call in self.calls if call.result is None]
        named = [call for call in waiting if result.id and call.id == result.id]
        for call in named or [call for call in waiting if not (result.id and call.id)]:
            call.result = result.result
            return True
        return False

    def made(self) -> Turn:
        steps = tuple(Step(call.name, call.arguments, call.text, call.result) for call in self.calls)
        waits = bool(steps) and not self.answer and steps[-1].observation is None
        answers = (Answer(self.answer, "tool_calls" if waits else "stop", steps=steps),)
        return Turn(
            self.question,
            answers if self.answer or steps else (),
            pictures=self.pictures,
            sources=self.sources,
        )


def _add(turns: list[_Turn], raw: Mapping[str, Any], named: str, notes: Notes) -> None:
    """Put a message where it belongs. An answer without a question has a turn of its own."""
    role = _ROLES.get(named.lower())
    if role == "thought" or any(raw.get(key) for key in _THOUGHTS):
        notes.add("thought")
    for result in find_results(raw, role == "tool", notes):
        _observe(turns, result, notes)
    if role in ("tool", "thought"):
        return
    if role == "call":
        _answering(turns).call("", find_calls(raw, True))
        return
    text, pictures = _content(raw, named, notes)
    if role != "assistant":
        if text.strip() or pictures:
            turns.append(_Turn(text, pictures, tuple(_attachments(raw))))
        return
    text = "\n".join(filter(None, (text, mark_pictures(pictures, notes))))
    if calls := find_calls(raw, False):
        _answering(turns).call(text, calls)
    elif text:
        _answering(turns).answer = text


def _answering(turns: list[_Turn]) -> _Turn:
    """The turn whose answer has no text yet."""
    if not turns or turns[-1].answer:
        turns.append(_Turn())
    return turns[-1]


def _observe(turns: list[_Turn], result: Call, notes: Notes) -> None:
    if turns and turns[-1].observe(result):
        return
    result.name = result.name or "tool"
    notes.add("result", result.name)
    _answering(turns).call("", [result])


# --- one message -------------------------------------------------------------------------------


def _role_of(raw: Mapping[str, Any]) -> str:
    """As the program calls it. Raises ValueError where nobody has said anything."""
    role = next((raw[key] for key in ("role", "from", "sender", "type") if raw.get(key)), None)
    if not isinstance(role, str) or not raw.keys() & {*_CONTENTS, "tool_calls"}:
        raise ValueError("not a message")
    return read_text(role)


def _content(raw: Mapping[str, Any], named: str, notes: Notes) -> tuple[str, tuple[PictureFile, ...]]:
    """Text and pictures, and before the text who says it where that is not plain from the role."""
    content = next((raw[key] for key in _CONTENTS if raw.get(key)), None)
    parts = content if isinstance(content, list) else [content]
    text, pictures = read_content([*parts, *_beside(raw)], notes)
    name = raw.get("name")
    if _ROLES.get(named.lower()) is None:
        notes.add("role", named)
        name = named
    elif isinstance(name, str) and name and text:
        notes.add("name", read_text(name))
    else:
        name = ""
    return (f"{name}: {text}" if name else text), pictures


def _beside(raw: Mapping[str, Any]) -> Iterator[Any]:
    """Pictures and the like that programs put beside the content."""
    for picture in raw.get("images") or ():
        yield picture if isinstance(picture, Mapping) else {"type": "image", "image": picture}
    for file in raw.get("files") or ():
        yield {"type": "file", **file}
    if isinstance(raw.get("audio"), Mapping):
        yield {**raw["audio"], "type": "audio"}


def _text(raw: Mapping[str, Any], named: str, notes: Notes) -> str:
    text, pictures = _content(raw, named, notes)
    return "\n".join(filter(None, (text, mark_pictures(pictures, notes))))


def _attachments(raw: Mapping[str, Any]) -> Iterator[Source]:
    """Texts that came with a question to Claude."""
    for found in raw.get("attachments") or ():
        if isinstance(found, Mapping) and found.get("extracted_content"):
            yield Source(read_text(found.get("file_name") or "text"), read_text(found["extracted_content"]))
