"""What can go wrong, as sentences for a person.

    ModelError
    ├── CheckpointNotFound        no such name, path or hub repository
    │   ├── HubUnreachable        it exists somewhere that cannot be reached now
    │   └── AccessDenied          gated or private: a licence or a token is missing
    ├── CheckpointCorrupt         the files are there but incomplete or damaged
    ├── UnsupportedCheckpoint     the files are whole but of a kind nothing here reads
    ├── UnsupportedPlacement      this device or precision cannot run that checkpoint
    ├── DoesNotFit                not enough memory or disk
    ├── BadInput                  messages, audio or options that make no sense
    ├── EngineClosed              unloaded for somebody else: nobody held a lease
    ├── EngineFailed              the library under an engine raised or died
    ├── NotKept                   the store of what visitors made refuses or fails
    └── Cancelled                 Stop, a closed tab, Ctrl-C

A message is one sentence in English and the same in Chinese: what happened, and what to do next.
``str(error)`` is the English one. None says where on this machine something lies.
"""

import re

_QUOTED_FOLDERS = re.compile(r"""(['"])(?:[A-Za-z]:)?[/\\][^'"\n]*[/\\](?=[^'"\n]*\1)""")
_FOLDERS = re.compile(r"""(?<![\w.:/\\])(?:[A-Za-z]:)?[/\\]+(?:[^\s/\\'":,;)]+[/\\]+)*(?=[^\s/\\])""")


def short(error: BaseException) -> str:
    """What a library says, for a sentence: its first line, with the names of files and not their folders."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {without_folders(lines[0])[:160]}" if lines else type(error).__name__


def without_folders(text: str) -> str:
    """`text` with only the last part of every path that begins at the root or at a drive."""
    return _FOLDERS.sub("", _QUOTED_FOLDERS.sub(r"\1", text))


class ModelError(Exception):
    """Base of everything Quintet raises on purpose; safe to show to whoever asked.

    Args:
        en: the sentence in English.
        zh: the same sentence in Chinese.
    """

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.en = en
        self.zh = zh

    def __reduce__(self) -> tuple[type["ModelError"], tuple[str, str]]:
        # The default would rebuild the error from str(error) alone and lose the Chinese.
        return type(self), (self.en, self.zh)


class CheckpointNotFound(ModelError):
    """No such catalog name, path or hub repository."""


class HubUnreachable(CheckpointNotFound):
    """The checkpoint is not on this machine and no source of it answers."""


class AccessDenied(CheckpointNotFound):
    """The hub knows the checkpoint and refuses it: gated, private, or a wrong token."""


class CheckpointCorrupt(ModelError):
    """Files are missing, cut short, or differ from their published hash."""


class UnsupportedCheckpoint(ModelError):
    """Whole files of a format or architecture that no engine reads."""


class UnsupportedPlacement(ModelError):
    """An unknown device, or a precision that this device or file cannot have."""


class DoesNotFit(ModelError):
    """More memory or disk is needed than is free."""


class BadInput(ModelError):
    """Messages, audio, or an option outside its range."""


class EngineClosed(ModelError):
    """The engine was unloaded to make room."""


class EngineFailed(ModelError):
    """The library under an engine raised something that has no better name here."""


class NotKept(ModelError):
    """What a visitor made could not be written, or read again."""


class Cancelled(ModelError):
    """The person who asked no longer wants the answer."""

    def __init__(self, en: str = "Cancelled.", zh: str = "已取消。") -> None:
        super().__init__(en, zh)
