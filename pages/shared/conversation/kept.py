"""The form in which a conversation is kept: its JSON with the digests of files in place of bytes.

Plain data without Streamlit or engines.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from models.errors import NotKept
from models.store.things import digest
from pages.shared.conversation.conversation import VERSION, Conversation
from pages.shared.conversation.turns import Turn, encoded, read_text, read_turns

FILE = "file"  # what stands for bytes: {"file": digest}
LONGEST_TITLE = 80  # characters


def write_content(turns: tuple[Turn, ...], system: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The content to keep, and the files that it speaks of."""
    files: dict[str, bytes] = {}
    written = [_with_digests(asdict(turn), files) for turn in turns]
    return {"quintet": VERSION, "system": system, "turns": written}, files


def _with_digests(value: Any, files: dict[str, bytes]) -> Any:
    if isinstance(value, bytes):
        if not value:
            return ""
        name = digest(value)
        files[name] = value
        return {FILE: name}
    if isinstance(value, Mapping):
        return {key: _with_digests(part, files) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_digests(part, files) for part in value]
    return value


def read_content(content: Any, files: Mapping[str, bytes]) -> Conversation:
    """What `write_content` wrote. A file that is gone is left out; an answer that was never ended broke off.

    Raises:
        NotKept: it was written by a newer version, or is damaged.
    """
    try:
        if content["quintet"] > VERSION:
            raise ValueError("of a newer version")
        turns = [_with_files(turn, files) for turn in content["turns"]]
        for turn in turns:
            turn["pictures"] = [picture for picture in turn.get("pictures", ()) if picture["data"]]
        conversation = Conversation(read_turns(turns), read_text(content["system"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise NotKept(
            "This conversation cannot be read: it is damaged, or was kept by a newer Quintet.",
            "无法读取此会话：它已损坏，或由更新版本的 Quintet 保存。",
        ) from error
    if is_open(content) and conversation.turns[-1].answers:
        conversation.end_answer("failed", {})
    return conversation


def is_open(content: Any) -> bool:
    """Whether its last answer was being written when it was kept, or had not begun."""
    if not content["turns"]:
        return False
    answers = content["turns"][-1].get("answers")
    return not (answers and answers[-1]["reason"])


def _with_files(value: Any, files: Mapping[str, bytes]) -> Any:
    """With bytes as JSON has them, in place of their digests."""
    if isinstance(value, Mapping):
        if value.keys() == {FILE} and isinstance(value[FILE], str):
            return encoded(files.get(value[FILE], b""))
        return {key: _with_files(part, files) for key, part in value.items()}
    return [_with_files(part, files) for part in value] if isinstance(value, list) else value


def title_of(turns: tuple[Turn, ...]) -> str:
    """What a list calls it, unless somebody has named it: the first question."""
    named = (line for turn in turns for line in (turn.question, *(source.title for source in turn.sources)))
    first = " ".join(next((line for line in named if line.strip()), "").split())
    return first if len(first) <= LONGEST_TITLE else first[: LONGEST_TITLE - 1] + "…"


def words_of(turns: tuple[Turn, ...]) -> str:
    """What a search looks through."""
    words: list[str] = []
    for turn in turns:
        words += (turn.question, *(source.title for source in turn.sources))
        for answer in turn.answers:
            words += (*(step.text for step in answer.steps), answer.text)
    return "\n".join(words)
