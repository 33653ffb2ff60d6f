"""What ChatGLM is told and what its answers mean: the prompts and replies of three generations.

ChatGLM3 (PROMPT.md of github.com/THUDM/ChatGLM3): each turn is a role token, a header line with
metadata (the tool that an assistant's turn calls), and content. ChatGLM-6B and ChatGLM2 write rounds
of questions and answers as one text.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from models.chat import calls
from models.chatglm.files import Generation
from models.schema import Messages, Tools

ROLES = {"tool": "observation", "function": "observation"}  # OpenAI's names for ChatGLM3's
TOOLS = "Answer the following questions as best as you can. You have access to the following tools:"
# What the makers' demo told the model about its code interpreter (without the upload folder of theirs).
INTERPRETER = (
    "你是一位智能AI助手，你叫ChatGLM，你连接着一台电脑，但请注意不能联网。在使用Python解决任务时，"
    "你可以运行代码并得到结果，如果运行结果有错误，你需要尽可能对代码进行改进。"
)
ASSISTANT = "<|assistant|>"
TRAINING_TIME = "[[训练时间]]"
TRAINED_UNTIL = "2023年"


@dataclass(frozen=True)
class PromptMessage:
    """One message of a ChatGLM3 prompt: a header of role and metadata, and content."""

    role: str
    content: str
    metadata: str = ""


def text_of(content: Any) -> str:
    """The text of a message's content: a string, OpenAI's parts, or nothing."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or () if isinstance(part, Mapping))


def format_messages(messages: Messages, tools: Tools | None = None) -> list[PromptMessage]:
    """A conversation as ChatGLM3 reads it.

    Args:
        messages: OpenAI's format, or ChatGLM3's own with role "observation" and "metadata".
        tools: schemas of functions that may be called, for the system prompt to list; None: no list.
    """
    made: list[PromptMessage] = []
    for message in messages:
        role = str(ROLES.get(message["role"], message["role"]))
        content = text_of(message.get("content"))
        calls = message.get("tool_calls") or ()
        if content or not calls:
            made.append(PromptMessage(role, content, message.get("metadata") or ""))
        made += [_call_message(call["function"]) for call in calls]
    if tools is not None:
        if not made or made[0].role != "system":
            made.insert(0, PromptMessage("system", ""))
        made[0] = replace(made[0], content=_with_tools(made[0].content, tools))
    return made


def _with_tools(content: str, tools: Tools) -> str:
    """A system prompt that lists tools; one without words gets those that ChatGLM3 was trained on.

    The code interpreter is no entry of the list: words alone turn it on.
    """
    functions = [tool for tool in tools if tool.get("function", tool).get("name") != calls.INTERPRETER]
    if len(functions) == len(tools):
        return f"{content or TOOLS}\n{_listed(functions)}"
    content = content or INTERPRETER
    return "\n".join([content, TOOLS, _listed(functions)]) if functions else content


def _listed(tools: Tools) -> str:
    functions = [dict(tool.get("function", tool)) for tool in tools]
    return json.dumps(functions, indent=4, ensure_ascii=False)


def _call_message(function: Mapping[str, Any]) -> PromptMessage:
    """A call as the model itself would have written it."""
    name, given = function["name"], calls.written_arguments(function)
    if isinstance(given, str):
        return PromptMessage("assistant", given, name)
    if name == calls.INTERPRETER:
        return PromptMessage("assistant", f"```python\n{given.get('code', '')}\n```", name)
    values = ", ".join(f"{key}={_literal(value)}" for key, value in given.items())
    return PromptMessage("assistant", f"```python\ntool_call({values})\n```", name)


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


# --- rounds ------------------------------------------------------------------------------------


def format_rounds(messages: Messages, second: bool = False) -> str:
    """The prompt of ChatGLM-6B, or of ChatGLM2 (`second`), which numbers from 1 and spaces wider.

    Neither knows a system role: its text goes in front of the first question.
    """
    first, gap = (1, "\n\n") if second else (0, "\n")
    history, question = _pairs(messages)
    if not history and not second:
        return question
    lines = [f"[Round {n}]{gap}问：{q}{gap}答：{a}{gap}" for n, (q, a) in enumerate(history, first)]
    return "".join(lines) + f"[Round {first + len(history)}]{gap}问：{question}{gap}答："


def _pairs(messages: Messages) -> tuple[list[tuple[str, str]], str]:
    """Answered questions, and the open one."""
    pairs: list[tuple[str, str]] = []
    waiting: list[str] = []
    for message in messages:
        content = text_of(message.get("content"))
        if message["role"] == "assistant":
            pairs.append(("\n\n".join(waiting), content))
            waiting = []
        elif content or message["role"] == "user":
            waiting.append(content)
    return pairs, "\n\n".join(waiting)


# --- replies -----------------------------------------------------------------------------------

_CLEAN = {
    " .": ".", " ?": "?", " !": "!", " ,": ",", " ' ": "'",
    " n't": "n't", " 'm": "'m", " 's": "'s", " 've": "'ve", " 're": "'re",
}  # fmt: skip
_WIDE = dict(zip(",!:;?", "，！：；？", strict=True))
_HAN = "[\u4e00-\u9fff]"
_NAME = re.compile(r"[\w.-]*", re.ASCII)  # of a tool, where it is not known which there are


def first_reply(text: str) -> str:
    """An answer of ChatGLM-6B, whose tokenizer made punctuation ASCII: full width beside Chinese."""
    return _widen(text.strip())


def _widen(text: str) -> str:
    text = text.replace(TRAINING_TIME, TRAINED_UNTIL)
    for narrow, wide in _WIDE.items():
        mark = re.escape(narrow)
        text = re.sub(f"({_HAN}){mark}", rf"\1{wide}", text)
        text = re.sub(f"{mark}({_HAN})", rf"{wide}\1", text)
    return text


def second_reply(text: str) -> str:
    """An answer of ChatGLM2, or one part of ChatGLM3's that is text."""
    return text.strip().replace(TRAINING_TIME, TRAINED_UNTIL)


def clean_up(text: str) -> str:
    """Spaces that ChatGLM-6B's tokens leave before English punctuation, removed."""
    for spaced, close in _CLEAN.items():
        text = text.replace(spaced, close)
    return text


def split_reply(text: str, offered: Collection[str] | None = None) -> list[PromptMessage]:
    """The parts of an answer of ChatGLM3: text has blank metadata, a call has its tool's name there.

    Args:
        offered: the names of the tools that may be called; None: not known. A first line that names none of
            them is text: fine-tuned models leave the header's line out.
    """
    parts = []
    for part in text.split(ASSISTANT):
        metadata, newline, content = part.partition("\n")
        if newline and metadata.strip() and _names_tool(metadata.strip(), offered):
            parts.append(PromptMessage("assistant", content, metadata))
        elif newline and not metadata.strip():
            parts.append(PromptMessage("assistant", content.strip(), metadata))
        else:
            parts.append(PromptMessage("assistant", part.strip()))
    return parts


def _names_tool(header: str, offered: Collection[str] | None, begins: bool = False) -> bool:
    """Whether a header line is a call's; with `begins`, whether it may become one."""
    if offered is None:
        return _NAME.fullmatch(header) is not None
    names = {*offered, calls.INTERPRETER}
    return any(name.startswith(header) for name in names) if begins else header in names


def third_reply(text: str, offered: Collection[str] | None = None) -> str:
    """What a person reads of an answer of ChatGLM3: its text, without calls. `offered`: see `split_reply`."""
    texts = (second_reply(part.content) for part in split_reply(text, offered) if not part.metadata.strip())
    return _paragraphs(*texts)


def _paragraphs(*texts: str) -> str:
    return "\n\n".join(text for text in texts if text)


# A tail that the next characters may still change.
_OPEN = {prefix for word in (TRAINING_TIME, ASSISTANT) for prefix in (word[:n] for n in range(1, len(word)))}
_OPEN |= {spaced[:n] for spaced in _CLEAN for n in range(1, len(spaced))} | set(_WIDE)
_LONGEST = max(map(len, _OPEN))


def settled(text: str) -> str:
    """`text` without the end that is still open: half a placeholder or role, a space, a mark."""
    tails = (n for n in range(min(_LONGEST, len(text)), 0, -1) if text[-n:] in _OPEN)
    return text[: len(text) - next(tails, 0)].rstrip()


# Two characters that belong together, in a text that `first_reply` and `clean_up` change.
_PAIRS = {word[n : n + 2] for word in (*_CLEAN, TRAINING_TIME) for n in range(len(word) - 1)}
_PULLED = frozenset(".?!,'n")  # what a space before it may make way for
_LONG, _NEAR = 64, 2 * _LONGEST  # characters: of a text that is cut, and of its end that is not looked at


def find_cut(text: str) -> int:
    """Where an answer of ChatGLM-6B can be cut, so that its parts read as the whole does; 0: not near its end."""
    last = len(text) - _NEAR
    return next((at for at in range(last, max(0, last - _LONG), -1) if _may_cut(*text[at - 1 : at + 2])), 0)


def _may_cut(before: str, after: str, then: str) -> bool:
    if before.isspace() or before + after in _PAIRS:
        return False
    han = before == "]" or re.match(_HAN, before) is not None  # a placeholder becomes Chinese
    if after == " " and then in _PULLED:
        return not han and before not in "n'"
    return not (han and after in _WIDE or before in _WIDE and re.match(_HAN, after))


class Reply:
    """An answer while it is written: what a person may see of it so far, and the calls in it.

    Args:
        generation: whose answer it is.
        offered: the names of the tools that may be called; None: not known.
        begun: what a person has seen of it before, and sees no more.
    """

    def __init__(
        self, generation: Generation, offered: Collection[str] | None = None, begun: str = ""
    ) -> None:
        self._generation = generation
        self._offered = offered
        self._shown = len(begun)
        self._ended = ""  # what is shown of the parts that have ended: they are not read again
        # Behind a header's line all is text.
        self._open = f"\n{begun}" if begun and generation == "chatglm3" else begun
        self._begun = False  # what was shown and can no longer change is not in `_open`
        self.text = self._open

    def feed(self, text: str, last: bool = False) -> str:
        """The further text that became certain; with `last`, all that is left."""
        self.text += text
        ended, mark, self._open = (self._open + text).rpartition(ASSISTANT)
        if mark and self._generation == "chatglm3":
            self._ended = _paragraphs(self._ended, self._read(ended))
        else:
            self._open = ended + mark + self._open
        shown = self._read(self._open if last else self._with_headers(settled(self._open)))
        shown = _paragraphs(self._ended, shown)
        new, self._shown = shown[self._shown :], max(self._shown, len(shown))
        if self._generation == "chatglm" and len(self._open) > _LONG and (cut := find_cut(self._open)):
            self._shown -= len(self._read(self._open[:cut]))
            self._open, self._begun = self._open[cut:], True
        return new

    def _read(self, text: str) -> str:
        if self._generation == "chatglm":
            text = clean_up(text).rstrip()
            return _widen(text if self._begun else text.lstrip())
        return third_reply(text, self._offered) if self._generation == "chatglm3" else second_reply(text)

    def _with_headers(self, text: str) -> str:
        """The last part; nothing while it has no header line yet: it may become a call."""
        if self._generation != "chatglm3" or "\n" in text:
            return text
        return "" if _names_tool(text.strip(), self._offered, begins=True) else text

    @property
    def calls(self) -> list[PromptMessage]:
        """The parts that call a tool, named in their metadata."""
        parts = split_reply(self.text, self._offered) if self._generation == "chatglm3" else []
        return [part for part in parts if part.metadata.strip()]
