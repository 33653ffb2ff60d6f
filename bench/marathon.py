"""A recording of hours: run through, stopped halfway, and gone on with.

    python -m bench.marathon [--hours 3] [--checkpoint whisper-tiny.en] [--spoken folder]

The recording is made of others, again and again. It is transcribed to the end; then again, cancelled
halfway; then the rest. Both have to give the same segments, which is why nothing is tried again at
temperatures above 0: those draw lots. `beyond_model_mib` is the most memory the
process ever held, less what it held when the model was loaded; the aim is under 500. The last line is one
JSON object.
"""

import argparse
import json
import resource
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench.speech import load, spoken, write_long


def marathon(engine: Any, path: Path) -> dict[str, Any]:
    import psutil

    from models import SpeechOptions

    before = psutil.Process().memory_info().rss
    began = time.monotonic()
    options = SpeechOptions(fallback=False)
    transcript = engine.transcribe(path, options)
    through = list(transcript)
    seconds = time.monotonic() - began
    # Of the first run alone: what is compared below is held twice.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    cancel, half = threading.Event(), []
    for segment in engine.transcribe(path, options, cancel):
        half.append(segment)
        if segment.end > transcript.duration / 2:
            cancel.set()
    resumed = list(engine.transcribe(path, options, done=half))
    return {
        "hours": round(transcript.duration / 3600, 3),
        "segments": len(through),
        "speed": round(transcript.duration / seconds, 2),
        "beyond_model_mib": round((peak - before) / 2**20),
        "stopped_after": len(half),
        "same": resumed == through,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="A recording of hours through Quintet's Whisper.")
    parser.add_argument("--hours", type=float, default=3)
    parser.add_argument("--checkpoint", default="whisper-tiny.en")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--spoken", type=Path, help="folder of recordings and their .txt files")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = write_long(Path(folder) / "long.wav", list(spoken(args.spoken)), args.hours * 3600)
        print(json.dumps(marathon(load(args.checkpoint, args.precision), path)))


if __name__ == "__main__":
    main()
