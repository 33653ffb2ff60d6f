"""The line between a host and its worker: words as JSON, and beside them bytes and samples as they are.

Nothing is unpickled. A worker reads files from elsewhere, and what it sends is looked at like a visitor's.
"""

import json
import os
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from io import BufferedIOBase
from types import MappingProxyType
from typing import Any

from models import errors, schema

LENGTH = struct.Struct(">Q")  # before every frame: its bytes
CHUNK = 65_536  # bytes: what a pipe holds

# What passes under its name. Whatever else there is cannot be made by a message.
NAMED: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        kind.__name__: kind
        for module in (schema, errors)
        for kind in vars(module).values()
        if isinstance(kind, type) and (is_dataclass(kind) or issubclass(kind, errors.ModelError))
    }
    | {
        "Text": schema.Text,
        "tuple": lambda items: tuple(items),
        "frozenset": lambda items: frozenset(items),
        "dict": lambda items: dict(items),
    }
)


class Channel:
    """One end of the line. Any thread may send; one thread receives."""

    def __init__(self, reader: BufferedIOBase, writer: BufferedIOBase) -> None:
        self._reader, self._writer = reader, writer
        self._came = bytearray()  # and not yet taken
        self._sending = threading.Lock()

    def send(self, message: Any) -> None:
        """Send None, numbers, texts, bytes, NumPy arrays, Quintet's own words, and what is made of them.

        Raises:
            TypeError, RecursionError: it is something else. Nothing was sent.
            OSError, ValueError: the other end is gone, or this one was closed.
        """
        blobs: list[Any] = []
        frames = [json.dumps(_pack(message, blobs)).encode(), *blobs]
        with self._sending:
            for frame in frames:
                self._writer.write(LENGTH.pack(len(frame)))
                self._writer.write(frame)
            self._writer.flush()

    def receive(self) -> Any:
        """The next message. Raises EOFError once the other end is gone."""
        return _unpack(json.loads(self._frame()), self._frame)

    @property
    def drained(self) -> bool:
        """Whether all that was read has been taken. For the thread that receives."""
        return not self._came

    def close(self) -> None:
        """For the thread that receives, once there is nothing more."""
        for file in (self._reader, self._writer):
            with suppress(OSError):  # what was not written yet has no reader
                file.close()

    def _frame(self) -> bytes:
        return self._exactly(*LENGTH.unpack(self._exactly(LENGTH.size)))

    def _exactly(self, count: int) -> bytes:
        while len(self._came) < count:
            more = self._reader.read1(max(CHUNK, count - len(self._came)))
            if not more:
                raise EOFError
            self._came += more
        taken = bytes(self._came[:count])
        del self._came[:count]
        return taken


def _pack(value: Any, blobs: list[Any]) -> Any:
    """`value` as JSON; what JSON lacks becomes {"$": its name, …}, and bytes go to `blobs`."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, list):
        return [_pack(item, blobs) for item in value]
    if isinstance(value, Mapping):
        if "$" not in value and all(isinstance(key, str) for key in value):
            return {key: _pack(item, blobs) for key, item in value.items()}
        return {"$": "dict", "items": [[_pack(part, blobs) for part in pair] for pair in value.items()]}
    if isinstance(value, (bytes, bytearray, memoryview)):
        blobs.append(bytes(value))
        return {"$": "bytes"}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if own := _attributes(value):
        return {"$": type(value).__name__, **{name: _pack(item, blobs) for name, item in own.items()}}
    if isinstance(value, (tuple, frozenset)):
        return {
            "$": "tuple" if isinstance(value, tuple) else "frozenset",
            "items": [_pack(item, blobs) for item in value],
        }
    return _pack_numpy(value, blobs)


def _attributes(value: Any) -> dict[str, Any]:
    """What an object of one of the named classes is made of; empty for all others."""
    if NAMED.get(type(value).__name__) is not type(value):
        return {}
    if isinstance(value, schema.Text):
        return value._asdict()
    if isinstance(value, errors.ModelError):
        return {"en": value.en, "zh": value.zh}
    return {spec.name: getattr(value, spec.name) for spec in fields(value)}


def _pack_numpy(value: Any, blobs: list[Any]) -> Any:
    if not hasattr(value, "__array_interface__"):
        raise TypeError(f"{type(value).__name__} is neither text nor numbers nor bytes")
    if value.shape == ():
        return value.item()
    if value.dtype.hasobject:
        raise TypeError("an array of objects is neither text nor numbers nor bytes")
    blobs.append(value.tobytes())
    return {"$": "array", "dtype": value.dtype.str, "shape": list(value.shape)}


def _unpack(value: Any, frame: Callable[[], bytes]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, frame) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.pop("$", None)
    if kind == "bytes":
        return frame()
    if kind == "array":
        import numpy as np

        return np.frombuffer(frame(), np.dtype(value["dtype"])).reshape(value["shape"])
    made = {name: _unpack(item, frame) for name, item in value.items()}
    return made if kind is None else NAMED[kind](**made)
