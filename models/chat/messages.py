"""Conversations in the OpenAI chat format: what they may hold, and the forms that engines need."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from models.errors import BadInput
from models.schema import Message, Messages

ROLES = ("system", "user", "assistant", "tool")
# Fields of content parts that hold files or their addresses.
_MEDIA = ("image", "image_url", "input_audio", "file")


def check_messages(messages: Messages | str) -> None:
    """Raise BadInput unless `messages` is a text, or a conversation that asks for an answer."""
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if not all(_is_message(message) for message in messages):
        raise BadInput(
            "Every message needs a role (system, user, assistant or tool) and a content of text or parts.",
            "每条消息都需要 role（system、user、assistant 或 tool）和由文本或分段组成的 content。",
        )
    if not all(_names_functions(message) for message in messages):
        raise BadInput(
            "A message names its tool calls in a form that is not that of the OpenAI API: use "
            '"name" and "arguments" in each call.',
            "消息中的工具调用不符合 OpenAI API 的格式：每个调用都应包含 name 和 arguments。",
        )
    if not any(message["role"] == "user" and message["content"] for message in messages):
        raise BadInput(
            "There is no question to answer: write a message first.",
            "没有可回答的问题：请先输入一条消息。",
        )


def _is_message(message: Any) -> bool:
    if not isinstance(message, Mapping) or message.get("role") not in ROLES:
        return False
    content = message.get("content")
    if content is None:  # nothing was said beside the calls
        return message["role"] == "assistant" and bool(message.get("tool_calls"))
    return isinstance(content, str) or (isinstance(content, list) and all(map(_is_part, content)))


def _is_part(part: Any) -> bool:
    """{"type": "text", "text": …}, or a part of another type, whose engine knows what is in it."""
    if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
        return False
    return part["type"] != "text" or isinstance(part.get("text"), str)


def _names_functions(message: Message) -> bool:
    """Whether the calls of a message, if any, are in OpenAI's form."""
    calls = message.get("tool_calls") or ()
    return isinstance(calls, (list, tuple)) and all(map(_is_call, calls))


def _is_call(call: Any) -> bool:
    function = call.get("function") if isinstance(call, Mapping) else None
    return (
        isinstance(function, Mapping)
        and isinstance(function.get("name"), str)
        and isinstance(function.get("arguments"), (str, Mapping))
    )


def turn_starts(messages: Messages) -> list[int]:
    """Numbers of messages after the system prompt that can be dropped to leave whole turns."""
    body = [message for message in messages if message["role"] != "system"]
    return [i for i, message in enumerate(body) if i == 0 or message["role"] == "user"]


def begun_answer(messages: Messages | str) -> str:
    """The answer that is to be continued: the last message, if it is an assistant's text with "prefix" true, as in the
    APIs of Mistral and DeepSeek. Empty: a new one is asked for."""
    last = messages[-1] if messages and not isinstance(messages, str) else {}
    content = last.get("content")
    begun = last.get("role") == "assistant" and last.get("prefix") is True and not last.get("tool_calls")
    return content if begun and isinstance(content, str) else ""


def without_begun(messages: Messages) -> list[Message]:
    """`messages` without the answer that is to be continued."""
    return list(messages[:-1] if begun_answer(messages) else messages)


def drop_oldest(messages: Messages, count: int) -> list[Message]:
    """`messages` without the first `count` that are not the system prompt."""
    kept: list[Message] = []
    for message in messages:
        if message["role"] != "system" and count > 0:
            count -= 1
        else:
            kept.append(message)
    return kept


def name_roles(messages: Messages) -> list[Message]:
    """`messages` with the roles and fields of today for those of other times: `developer` is a system message,
    `function` is a tool's, "function_call" is a list of one call, and nothing said is an empty text. Texts can
    be encoded."""
    return [
        _make_whole(_name_role(message)) if isinstance(message, Mapping) else message for message in messages
    ]


def _make_whole(message: Message) -> Message:
    content = message.get("content")
    if isinstance(content, str):
        whole: Any = whole_text(content)
    elif isinstance(content, list) and all(map(_is_part, content)):
        whole = [
            {**part, "text": whole_text(part["text"])} if part["type"] == "text" else part for part in content
        ]
    else:
        return message
    return message if whole == content else {**message, "content": whole}


def whole_text(text: str) -> str:
    """`text` as browsers send it: half a character, which no encoding has, is joined with its other half, or
    replaced. Command lines and JSON can bring such."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _name_role(message: Message) -> Message:
    known = {"developer": "system", "function": "tool"}
    role = known.get(str(message.get("role")), message.get("role"))
    changed: dict[str, Any] = {} if role == message.get("role") else {"role": role}
    if isinstance(call := message.get("function_call"), Mapping) and not message.get("tool_calls"):
        changed["tool_calls"] = [{"id": "call_0", "type": "function", "function": dict(call)}]
    silent = message.get("content") is None and role in ("user", "assistant") and "content" in message
    if silent and not message.get("tool_calls") and not changed.get("tool_calls"):
        changed["content"] = ""
    if not changed:
        return message
    return {**{key: value for key, value in message.items() if key != "function_call"}, **changed}


def merge_turns(messages: Messages) -> list[Message]:
    """A conversation as templates expect it, nothing of it lost: one system message, in front; neighbours of
    one role joined (after a Stop there may be two questions in a row), empty ones left out; and a question,
    if an empty one, before the first answer."""
    turns = _join_neighbours(message for message in messages if message["role"] != "system")
    if turns and turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": ""})
    return [*_join_system(messages), *turns]


def _join_system(messages: Messages) -> list[Message]:
    listed = [message for message in messages if message["role"] == "system"]
    if len(listed) < 2:
        return listed
    content = listed[0]["content"]
    for message in listed[1:]:
        content = _join(content, message["content"])
    return [{**listed[0], "content": content}]


def _join_neighbours(messages: Iterable[Message]) -> list[Message]:
    merged: list[Message] = []
    for message in messages:
        spoken = message["role"] in ("user", "assistant") and not message.get("tool_calls")
        if spoken and not message.get("content"):
            continue
        last = merged[-1] if merged else None
        if spoken and last is not None and last["role"] == message["role"] and not last.get("tool_calls"):
            goes_on = {"prefix": message["prefix"]} if "prefix" in message else {}
            merged[-1] = {**last, **goes_on, "content": _join(last["content"], message["content"])}
        else:
            merged.append(message)
    return merged


def _join(one: Any, other: Any) -> Any:
    """Two contents as one: texts with a blank line between them, or the parts of both."""
    if isinstance(one, str) and isinstance(other, str):
        return "\n\n".join(text for text in (one, other) if text)
    return [part for content in (one, other) for part in _parts(content)]


def _parts(content: Any) -> list[Any]:
    return ([_text_part(content)] if content else []) if isinstance(content, str) else list(content or ())


def fold_system(messages: Messages) -> list[Message]:
    """Put the system prompt in front of the first user turn, for templates without a system role."""
    system = "\n\n".join(_joined_text(m["content"]) for m in messages if m["role"] == "system")
    rest = [message for message in messages if message["role"] != "system"]
    first = next((i for i, message in enumerate(rest) if message["role"] == "user"), None)
    if system and first is not None:
        content = rest[first]["content"]
        parts = f"{system}\n\n{content}" if isinstance(content, str) else [_text_part(system), *content]
        rest[first] = {**rest[first], "content": parts}
    return rest


def _text_part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def text_only(messages: Messages) -> list[Message]:
    """Content parts joined to plain text. Raises BadInput for a part that is no text."""
    return [{**message, "content": _joined_text(message.get("content"))} for message in messages]


def _joined_text(content: Any) -> str:
    if isinstance(content, str) or content is None:
        return content or ""
    if any(part["type"] != "text" for part in content):
        raise BadInput(
            "This checkpoint reads text only: send the message without its image, or choose Qwen-VL.",
            "该检查点只能读取文本：请去掉消息中的图片，或选择 Qwen-VL。",
        )
    return "\n".join(part["text"] for part in content)


def plain_text(messages: Messages | str) -> str:
    """What a base model is given: the texts alone, one under the other."""
    if isinstance(messages, str):
        return messages
    return "\n".join(_joined_text(message.get("content")) for message in messages)


def texts_in(value: Any) -> Iterator[str]:
    """Every text in messages or tools that a prompt may hold; what pictures and other parts are is left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if key not in _MEDIA:
                yield from texts_in(key)
                yield from texts_in(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from texts_in(each)
