"""Files of other programs: where the messages of a conversation are in them, in the order in which they were said.

Known are a bare list; OpenAI's requests and Responses; Anthropic's, Ollama's and Gemini's requests; ShareGPT; pairs
of question and answer (ChatGLM's demos, text-generation-webui, training data); and the exports of ChatGPT, Claude, Open WebUI and
LM Studio. What is in a message is read by `imports`. ChatGPT and Claude give everything away as one zip.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, TypeGuard

from pages.shared.conversation.notes import Notes

# Where programs keep the messages of one conversation.
_LISTS = (
    "messages", "conversations", "chat_messages", "conversation", "contents", "items", "input", "history", "internal"
)  # fmt: skip
_SYSTEM = (
    "system",
    "system_prompt",
    "systemPrompt",
    "instructions",
    "system_instruction",
    "systemInstruction",
)
# What training data calls a question, what it is asked of, and its answer; earlier ones are its "history".
_PAIRS = (
    ("query", "", "response"), ("instruction", "input", "output"), ("prompt", "", "response"),
    ("prompt", "", "completion"), ("question", "context", "answer"),
)  # fmt: skip
_START = "<|BEGIN-VISIBLE-CHAT|>"  # text-generation-webui's question before a greeting

_ZIP = b"PK\x03\x04"  # how one begins
_LARGEST = 256 << 20  # bytes of JSON in a zip

Messages = list[Mapping[str, Any]]


def is_zip(data: str | bytes) -> TypeGuard[bytes]:
    return isinstance(data, bytes) and data.startswith(_ZIP)


def read_zip(data: bytes) -> list[Any]:
    """The conversations in the zip of an export, of which newer ones have several files. Raises ValueError where
    there are none."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as zipped:
            names = sorted(name for name in zipped.namelist() if _has_conversations(name))
            texts = _unpacked(zipped, names)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise ValueError("the zip is damaged or locked") from error
    found: list[Any] = []
    for text in texts:
        conversations = json.loads(text)
        found += conversations if isinstance(conversations, list) else [conversations]
    if not found:
        raise ValueError("there are no conversations in the zip")
    return found


def _has_conversations(name: str) -> bool:
    file = PurePosixPath(name)
    return file.name.startswith("conversations") and file.suffix == ".json"


def _unpacked(zipped: zipfile.ZipFile, names: list[str]) -> list[bytes]:
    left = _LARGEST
    texts = []
    for name in names:
        with zipped.open(name) as file:
            texts.append(file.read(left + 1))  # what the zip says of its size need not be so
        left -= len(texts[-1])
        if left < 0:
            raise ValueError("the conversations in the zip are too large")
    return texts


def find_messages(data: Any, notes: Notes) -> Messages:
    """The messages in what a JSON file holds, system prompt first. Raises ValueError and the like for other data."""
    if isinstance(data, Mapping):
        return _of_object(data, notes)
    if not isinstance(data, list):
        raise ValueError("neither a list nor an object")
    if data and all(map(_is_pair, data)):
        return [message for pair in data for message in _exchange(*pair)]
    if data and all(map(_is_conversation, data)):
        if len(data) > 1:
            notes.add("conversation", count=len(data) - 1)
        return find_messages(data[0], notes)
    return [_version(message, notes) for message in data]


def _of_object(data: Mapping[str, Any], notes: Notes) -> Messages:
    if isinstance(data.get("mapping"), Mapping):
        return _of_chatgpt(data, notes)
    if isinstance(data.get("chat"), Mapping):
        return _of_object(data["chat"], notes)
    history = data.get("history")
    if isinstance(history, Mapping) and "currentId" in history:  # Open WebUI, which has the branches here
        said: Any = _branch(history["messages"], "parentId", history["currentId"], notes)
    else:
        said = next((data[key] for key in _LISTS if isinstance(data.get(key), list)), None)
    system = next((data[key] for key in _SYSTEM if data.get(key)), None)
    messages = [*([] if said is None and _has_pair(data) else find_messages(said, notes)), *_pair(data)]
    if pictures := data.get("images"):  # of the first question, where training data has them
        asked = next(n for n, message in enumerate(messages) if "system" not in message.values())
        messages[asked] = {**messages[asked], "images": pictures}
    return [*([{"role": "system", "content": system}] if system else []), *messages]


def _has_pair(data: Mapping[str, Any]) -> bool:
    return any(isinstance(data.get(asked), str) and answer in data for asked, _, answer in _PAIRS)


def _pair(data: Mapping[str, Any]) -> Messages:
    """The question and answer of a row of training data."""
    for asked, about, answer in _PAIRS:
        if isinstance(data.get(asked), str) and answer in data:
            return _exchange("\n".join(filter(None, (data[asked], data.get(about)))), data[answer])
    return []


def _is_conversation(item: Any) -> bool:
    if not isinstance(item, Mapping) or "role" in item or "from" in item:
        return False
    return _has_pair(item) or any(
        isinstance(item.get(key), (list, Mapping)) for key in (*_LISTS, "mapping", "chat")
    )


def _is_pair(item: Any) -> bool:
    return (
        isinstance(item, list)
        and len(item) == 2
        and all(text is None or isinstance(text, str) for text in item)
    )


def _exchange(question: str | None, answer: str | None) -> Messages:
    asked = "" if question == _START else question
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]


def _version(message: Any, notes: Notes) -> Mapping[str, Any]:
    """LM Studio keeps every version of a message, an answer's as steps."""
    versions = message.get("versions")
    if not versions:
        return dict(message)
    if len(versions) > 1:
        notes.add("branch", count=len(versions) - 1)
    chosen = versions[message.get("currentlySelected", -1)]
    parts = [part for step in chosen.get("steps") or () for part in step.get("content") or ()]
    return {"content": parts, **chosen}


def _branch(tree: Mapping[str | None, Any], parent: str, last: str | None, notes: Notes) -> Messages:
    """Of a tree of messages those on the way to `last`."""
    path: Messages = []
    while last in tree and len(path) < len(tree):
        path.insert(0, tree[last])
        last = tree[last].get(parent)
    if len(path) < len(tree):
        notes.add("branch", count=len(tree) - len(path))
    return path


def _of_chatgpt(data: Mapping[str, Any], notes: Notes) -> Messages:
    tree = data["mapping"]
    said = {
        name: {**node, "parent": _said_before(node, tree)} for name, node in tree.items() if _is_said(node)
    }
    last = data.get("current_node") or list(tree)[-1]
    last = last if last in said else _said_before({"parent": last}, tree)
    return [_of_node(node["message"]) for node in _branch(said, "parent", last, notes)]


def _said_before(node: Mapping[str, Any], tree: Mapping[str | None, Any]) -> str | None:
    """The nearest node above that has a message: others are the root, or hidden."""
    above = node.get("parent")
    for _ in tree:
        if above not in tree or _is_said(tree[above]):
            break
        above = tree[above].get("parent")
    return above


def _is_said(node: Mapping[str, Any]) -> bool:
    message = node.get("message") or {}
    return bool(message) and not (message.get("metadata") or {}).get("is_visually_hidden_from_conversation")


def _of_node(message: Mapping[str, Any]) -> Mapping[str, Any]:
    author, content, to = message["author"], message.get("content") or {}, message.get("recipient")
    parts = content.get("parts") or ([content["text"]] if isinstance(content.get("text"), str) else [])
    if not parts and content.get("content_type") not in (None, "text", "code"):
        parts = [{**content, "type": content["content_type"]}]
    if author["role"] == "assistant" and to not in (None, "all"):
        written = "".join(part for part in parts if isinstance(part, str))
        return {"role": "assistant", "content": "", "tool_calls": [{"name": to, "arguments": written}]}
    return {"role": author["role"], "content": parts, "name": author.get("name")}
