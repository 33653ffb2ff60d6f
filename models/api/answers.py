"""From an engine's events to the responses and chunks of OpenAI's API."""

import json
import secrets
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from models.schema import Delta, Done, Event, ToolCall, Usage


@dataclass
class Choice:
    """One answer of a reply, as far as it has come."""

    texts: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    reason: str | None = None
    usage: Usage = Usage()
    begun: bool = False

    @property
    def text(self) -> str:
        return "".join(self.texts)


class Reply:
    """What becomes of the events of a request: one object at the end, or chunks as they come.

    Args:
        kind: "chat.completion" or "text_completion".
        model: as the request named it.
        times: answers for each question.
        most_calls: so many tool calls an answer.
    """

    def __init__(self, kind: str, model: str, times: int = 1, most_calls: int | None = None) -> None:
        self._chat = kind == "chat.completion"
        identity = ("chatcmpl-" if self._chat else "cmpl-") + secrets.token_hex(12)
        self._head = {"id": identity, "created": int(time.time()), "model": model}
        self._kind, self._times, self._most_calls = kind, times, most_calls
        self.echoes: list[str] = []  # of each question, what is given back before its answers
        self.choices: defaultdict[int, Choice] = defaultdict(Choice)

    def add(self, number: int, event: Event) -> Iterator[dict[str, Any]]:
        """The chunks that an event of this choice makes."""
        choice = self.choices[number]
        if not choice.begun:
            choice.begun = True
            yield from self._begin(number, choice)
        match event:
            case Delta(text):
                choice.texts.append(text)
                yield self._chunk(number, {"content": text} if self._chat else text)
            case ToolCall() if self._most_calls is None or len(choice.calls) < self._most_calls:
                call = write_call(event)
                choice.calls.append(call)
                yield self._chunk(number, {"tool_calls": [{"index": len(choice.calls) - 1, **call}]})
            case Done(reason, usage):
                choice.reason, choice.usage = "stop" if reason == "cancelled" else reason, usage
                yield self._chunk(number, {} if self._chat else "", choice.reason)

    def usage_chunk(self) -> dict[str, Any]:
        """The last chunk of a stream that was asked to say what it took."""
        return self._object([], chunk=True) | {"usage": self.usage()}

    def whole(self) -> dict[str, Any]:
        """The response of a request that does not stream."""
        choices = [self._whole(number, choice) for number, choice in sorted(self.choices.items())]
        return self._object(choices) | {"usage": self.usage()}

    def usage(self) -> dict[str, Any]:
        """Tokens of a prompt count once, however many answers it got. How many of them were cached is not told:
        it would tell of what others have sent."""
        prompt = sum(
            choice.usage.prompt_tokens for number, choice in self.choices.items() if number % self._times == 0
        )
        completion = sum(choice.usage.completion_tokens for choice in self.choices.values())
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }

    # --- inside -------------------------------------------------------------------------------

    def _begin(self, number: int, choice: Choice) -> Iterator[dict[str, Any]]:
        """Whose turn it is, or the prompt that is given back."""
        if self._chat:
            yield self._chunk(number, {"role": "assistant", "content": ""})
        elif self.echoes:
            choice.texts.append(self.echoes[number // self._times])
            yield self._chunk(number, choice.text)

    def _whole(self, number: int, choice: Choice) -> dict[str, Any]:
        said: dict[str, Any]
        if self._chat:
            # Beside calls nothing need be said; without any, an empty answer is one.
            content = choice.text or (None if choice.calls else "")
            said = {"message": {"role": "assistant", "content": content, "refusal": None}}
            if choice.calls:
                said["message"]["tool_calls"] = choice.calls
        else:
            said = {"text": choice.text}
        return {"index": number, **said, "logprobs": None, "finish_reason": choice.reason}

    def _chunk(self, number: int, said: Mapping[str, Any] | str, reason: str | None = None) -> dict[str, Any]:
        content = {"delta": said} if self._chat else {"text": said}
        return self._object(
            [{"index": number, **content, "logprobs": None, "finish_reason": reason}], chunk=True
        )

    def _object(self, choices: list[dict[str, Any]], chunk: bool = False) -> dict[str, Any]:
        kind = f"{self._kind}.chunk" if chunk and self._chat else self._kind
        return {**self._head, "object": kind, "choices": choices}


def write_call(call: ToolCall) -> dict[str, Any]:
    """A call in OpenAI's form; arguments that could not be read stay as the model wrote them."""
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False) if call.error is None else call.text
    function = {"name": call.name, "arguments": arguments}
    return {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}
