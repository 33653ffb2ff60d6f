"""The transformers engine on a tiny checkpoint, and what it answers."""

from pathlib import Path
from typing import Any

from models.engines.hf import HfEngine
from models.schema import ChatOptions, Checkpoint, Delta, Done, Placement

HELLO = [{"role": "user", "content": "The quick brown fox"}]
GREEDY = ChatOptions(max_new_tokens=24, temperature=0.0)


def load(path: Path, precision: str = "fp32", context: int = 0, **more: Any) -> HfEngine:
    checkpoint = Checkpoint("tiny", "llama2", "chat", "transformers")
    return HfEngine(path, checkpoint, Placement("cpu", precision, context), **more)


def answer(engine: HfEngine, messages: Any = HELLO, options: ChatOptions = GREEDY) -> tuple[str, Done]:
    events = list(engine.stream(messages, options))
    assert isinstance(events[-1], Done)
    return "".join(e.text for e in events if isinstance(e, Delta)), events[-1]
