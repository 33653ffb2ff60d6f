"""Token counts that were found lately: a page asks several times over for those of one conversation."""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from models.schema import Messages, Tools

KEPT = 64  # counts of one engine: a bisection over a long conversation takes seven


class TokenCounts:
    """The latest counts of one engine. Holds digests and numbers, and nothing that anybody wrote."""

    def __init__(self) -> None:
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, messages: Messages | str, tools: Tools, count: Callable[[], int]) -> int:
        """The count of exactly these messages and tools, found by `count` unless it is known."""
        key = _digest(messages, tools)
        if key is None:
            return count()
        with self._lock:
            if key in self._counts:
                self._counts.move_to_end(key)
                return self._counts[key]
        counted = count()
        with self._lock:
            self._counts[key] = counted
            while len(self._counts) > KEPT:
                self._counts.popitem(last=False)
        return counted


def _digest(messages: Messages | str, tools: Tools) -> bytes | None:
    """None for what is not JSON even with the files of its pictures apart."""
    try:
        text = json.dumps([messages, tools], default=_plain)
    except (TypeError, ValueError, RecursionError):
        return None
    return hashlib.sha256(text.encode()).digest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytes):
        return {"bytes": hashlib.sha256(value).hexdigest()}
    raise TypeError(f"{type(value).__name__} is not JSON")
