"""What a person is told of an import: what could not be kept as it was, and how much of it."""

from collections.abc import Mapping

from models import Text

# {count}: how many; {names}: of what kinds or from whom.
_SENTENCES: Mapping[str, Text] = {
    "system": Text(
        "System messages from the middle of the conversation, now part of the system prompt: {count}.",
        "对话中途的系统消息已并入系统提示词：{count} 条。",
    ),
    "name": Text(
        "Messages with a name ({names}), which now begins their text: {count}.",
        "带有名字（{names}）的消息，名字已写在正文开头：{count} 条。",
    ),
    "role": Text(
        "Messages of a role that is not known here ({names}), kept as questions that begin with it: {count}.",
        "角色（{names}）在此未知的消息，已作为提问保留，角色写在开头：{count} 条。",
    ),
    "result": Text(
        "Results that no call of a tool asked for ({names}), kept as calls without arguments: {count}.",
        "没有对应调用的工具结果（{names}），已作为不带参数的调用保留：{count} 条。",
    ),
    "part": Text(
        "Content that cannot be shown here ({names}), marked where it stood: {count}.",
        "无法在此显示的内容（{names}），已在原处标明：{count} 处。",
    ),
    "address": Text(
        "Pictures that are only an address or a path, not fetched but named where they stood: {count}.",
        "只有网址或路径的图片，未下载，已在原处写明：{count} 张。",
    ),
    "thought": Text(
        "Messages whose thoughts were left out, since only answers are kept: {count}.",
        "思考过程未导入（只保留回答）的消息：{count} 条。",
    ),
    "branch": Text(
        "Messages of other branches or versions of the conversation, left out: {count}.",
        "属于对话其他分支或版本的消息，未导入：{count} 条。",
    ),
    "conversation": Text(
        "Further conversations in the file, left out since one is imported at a time, the first: {count}.",
        "文件中的其他会话，因每次只导入一个（第一个）而未导入：{count} 个。",
    ),
}


class Notes:
    """Counts of what an import changes or leaves out."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._names: dict[str, dict[str, None]] = {}  # in order, each once

    def add(self, kind: str, name: str = "", count: int = 1) -> None:
        """One more of a kind of `_SENTENCES`."""
        self._counts[kind] = self._counts.get(kind, 0) + count
        self._names.setdefault(kind, {})[name] = None

    def sentences(self) -> tuple[Text, ...]:
        return tuple(
            Text(
                said.en.format(count=self._counts[kind], names=", ".join(self._names[kind])),
                said.zh.format(count=self._counts[kind], names="、".join(self._names[kind])),
            )
            for kind, said in _SENTENCES.items()
            if self._counts.get(kind)
        )
