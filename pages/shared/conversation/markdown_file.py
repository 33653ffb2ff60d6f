"""A conversation as a Markdown file: for people, while its JSON is what can be imported again."""

import base64
from collections.abc import Iterator

from models import BadInput, Text
from models.markdown import escape, fence, lines_of
from models.pictures.reading import sent_as
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.steps import find_code
from pages.shared.conversation.turns import Answer, Step, Turn

_SYSTEM = Text("System prompt", "系统提示词")
_USER = Text("User", "用户")
_ASSISTANT = Text("Assistant", "助手")
_TOOL = Text("Tool: {name}", "工具：{name}")
_RESULT = Text("Result", "结果")


def write_markdown(conversation: Conversation, language: str) -> str:
    """The conversation with the answers that are shown: roles as headings in a `language` of the pages, answers
    as they were written, and everything else so that nothing in it acts."""
    blocks = [_heading(_SYSTEM, language), _typed(conversation.system)] if conversation.system.strip() else []
    for turn in conversation.turns:
        blocks += _question(turn, language)
        if turn.answer:
            blocks += _answer(turn.answer, language)
    return "\n\n".join(blocks) + "\n"


def _heading(role: Text, language: str, checkpoint: str = "") -> str:
    return f"## {_say(role, language)}" + (f" ({escape(checkpoint)})" if checkpoint else "")


def _say(text: Text, language: str) -> str:
    return text.zh if language == "zh" else text.en


def _question(turn: Turn, language: str) -> Iterator[str]:
    if not (turn.question or turn.pictures or turn.sources):  # the model spoke first
        return
    yield _heading(_USER, language)
    for source in turn.sources:
        yield f"**{escape(source.title)}**"
        yield fence(source.read)
    for picture in turn.pictures:
        yield _picture(picture.name, picture.data)
    if turn.question.strip():
        yield _typed(turn.question)


def _answer(answer: Answer, language: str) -> Iterator[str]:
    yield _heading(_ASSISTANT, language, answer.checkpoint)
    for step in answer.steps:
        yield from _step(step, language)
    if answer.text.strip():
        yield _closed(answer.text)


def _step(step: Step, language: str) -> Iterator[str]:
    if step.text.strip():
        yield _closed(step.text)
    code = find_code(step)
    yield f"**{_say(_TOOL, language).format(name=escape(step.name))}**"
    yield fence(step.arguments, "json") if code is None else fence(code, "python")
    if step.observation is not None:
        yield f"**{_say(_RESULT, language)}**"
        yield fence(step.observation)
    for output in step.shown:
        if output.image:
            yield _picture("", output.image)


def _picture(name: str, data: bytes) -> str:
    """It, or its name where it cannot be read."""
    shown = escape(" ".join(name.split()))
    try:
        kind, data = sent_as(data)
    except BadInput:
        return f"\\[{shown}\\]"
    return f"![{shown}](data:image/{kind};base64,{base64.b64encode(data).decode()})"


def _typed(text: str) -> str:
    """What a person wrote; fenced where its spaces matter, as those of code do."""
    lines = [line.rstrip() for line in lines_of(text.strip("\r\n"))]
    spaced = any("  " in line or "\t" in line or line.startswith(" ") for line in lines)
    return fence("\n".join(lines)) if spaced else escape("\n".join(lines))


def _closed(text: str) -> str:
    """What a model wrote, with a block of code that it left open closed: the rest would be in it."""
    text = text.strip("\r\n")
    fenced = ""
    for line in lines_of(text):
        begun = line.strip()
        run = begun[: len(begun) - len(begun.lstrip(begun[:1]))] if begun[:1] in ("`", "~") else ""
        if not fenced and len(run) >= 3 and not (run[0] == "`" and "`" in begun[len(run) :]):
            fenced = run
        elif fenced and begun == run and run[0] == fenced[0] and len(run) >= len(fenced):
            fenced = ""
    return f"{text}\n{fenced}" if fenced else text
