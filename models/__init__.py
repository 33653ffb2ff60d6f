"""Quintet's public interface: a checkpoint and a placement make an engine that answers.

    from models import using
    with using("smollm2-135m-instruct") as engine:
        for event in engine.stream([{"role": "user", "content": "Hello"}]): ...

Importing this costs milliseconds; torch and its kin are imported when a model is asked for.
"""

import contextlib
import threading

from models import catalog, placement
from models.engines.base import ChatEngine, Engine, SpeechEngine
from models.errors import (
    AccessDenied,
    BadInput,
    Cancelled,
    CheckpointCorrupt,
    CheckpointNotFound,
    DoesNotFit,
    EngineClosed,
    EngineFailed,
    HubUnreachable,
    ModelError,
    UnsupportedCheckpoint,
    UnsupportedPlacement,
)
from models.loader import Loader, shared
from models.machine import devices
from models.placement import gigabytes, precisions
from models.schema import (
    ChatOptions,
    Checkpoint,
    Delta,
    Device,
    Done,
    Event,
    Message,
    OnProgress,
    Plan,
    Prefill,
    Progress,
    Queued,
    Segment,
    SpeechOptions,
    Text,
    ToolCall,
    Usage,
    Word,
)
from models.speech.transcript import Transcript

__all__ = [
    "AccessDenied",
    "BadInput",
    "Cancelled",
    "ChatEngine",
    "ChatOptions",
    "Checkpoint",
    "CheckpointCorrupt",
    "CheckpointNotFound",
    "Delta",
    "Device",
    "DoesNotFit",
    "Done",
    "Engine",
    "EngineClosed",
    "EngineFailed",
    "Event",
    "HubUnreachable",
    "Loader",
    "Message",
    "ModelError",
    "OnProgress",
    "Plan",
    "Prefill",
    "Progress",
    "Queued",
    "Segment",
    "SpeechEngine",
    "SpeechOptions",
    "Text",
    "ToolCall",
    "Transcript",
    "UnsupportedCheckpoint",
    "UnsupportedPlacement",
    "Usage",
    "Word",
    "catalog",
    "devices",
    "gigabytes",
    "load",
    "loaded",
    "placement",
    "plan",
    "precisions",
    "shared",
    "unload",
    "using",
]


def using(
    name: str,
    device: str = "auto",
    precision: str = "auto",
    context: int | None = None,
    progress: OnProgress | None = None,
    cancel: threading.Event | None = None,
    isolated: bool | None = None,
) -> contextlib.AbstractContextManager[Engine]:
    """Hold the engine for a checkpoint, loaded first if need be, while a block runs: see `Loader.using`."""
    return shared().using(name, device, precision, context, progress, cancel, isolated)


def load(
    name: str,
    device: str = "auto",
    precision: str = "auto",
    context: int | None = None,
    progress: OnProgress | None = None,
    cancel: threading.Event | None = None,
    isolated: bool | None = None,
) -> Engine:
    """The engine for a checkpoint, from the loader that this process shares; held by nobody: see `Loader.load`."""
    return shared().load(name, device, precision, context, progress, cancel, isolated)


def plan(name: str, device: str = "auto", precision: str = "auto", context: int | None = None) -> Plan:
    """What `load` with the same arguments would need, in bytes: see `Loader.plan`."""
    return shared().plan(name, device, precision, context)


def loaded() -> list[Engine]:
    """Engines in memory, most recently used first."""
    return shared().loaded()


def unload(name: str | None = None) -> bool:
    """Close the engines of a checkpoint, or all. False when somebody holds one."""
    return shared().unload(name)
