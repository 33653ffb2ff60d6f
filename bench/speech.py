"""How fast Quintet's Whisper engines are beside the libraries under them.

    python -m bench.speech [--rounds 5] [--file recording] [--peers faster-whisper openai-whisper]

Two pairs on the same file and the same weights: Quintet's engine, loaded with `models.load` and asked
through `engine.transcribe`, and the library used bare, with equal options (beam 5; silence left out
for faster-whisper, not for openai-whisper, which knows no such thing). Every contestant lives in
its own process with its model loaded and one run behind it; then the two take turns, so that both get
their share of whatever else the machine does.

    speed            seconds of audio a second, median; decoding the file included; higher is better
    first_segment    seconds until the first segment is there, median; lower is better
    peak_rss_mib     the most memory the process ever held, libraries included
    ratio            Quintet's speed over the library's, median of the rounds; the aim is 0.97
    same_text        whether both wrote the same

The last line is one JSON object with all of it. A peer's row is only as good as the machine was quiet:
look at the spread ("worst" and "best" ratio) before believing a small difference.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.contest import alternate, compete

RECORDINGS = Path(__file__).parents[2] / "shared/audio"
# Peer: the checkpoint, and the precision it runs in on a processor.
PEERS = {"faster-whisper": ("whisper-base", "int8"), "openai-whisper": ("whisper-tiny.en-pt", "fp32")}
BEAMS = 5

Transcribe = Callable[[str], Iterator[str]]  # path -> texts of the segments


def quintet(peer: str) -> Transcribe:
    import models

    name, precision = PEERS[peer]
    engine = models.load(name, device="cpu", precision=precision)
    if not isinstance(engine, models.SpeechEngine):
        raise SystemExit(f"{name} is no speech checkpoint")
    options = models.SpeechOptions(beam_size=BEAMS, vad=peer == "faster-whisper")
    return lambda path: (segment.text for segment in engine.transcribe(path, options))


def faster_whisper() -> Transcribe:
    import psutil
    from faster_whisper import WhisperModel

    name, precision = PEERS["faster-whisper"]
    cores = psutil.cpu_count(logical=False) or 1
    model = WhisperModel(checkpoint(name), device="cpu", compute_type=precision, cpu_threads=cores)

    def transcribe(path: str) -> Iterator[str]:
        segments, _ = model.transcribe(path, beam_size=BEAMS, vad_filter=True)
        return (segment.text for segment in segments)

    return transcribe


def openai_whisper() -> Transcribe:
    import whisper
    from faster_whisper.audio import decode_audio  # its own decoder needs the ffmpeg program

    model = whisper.load_model(checkpoint(PEERS["openai-whisper"][0]), device="cpu")

    def transcribe(path: str) -> Iterator[str]:
        answer = whisper.transcribe(model, decode_audio(path), beam_size=BEAMS, best_of=5, fp16=False)
        return (segment["text"] for segment in answer["segments"] if segment["text"])

    return transcribe


def checkpoint(name: str) -> str:
    import models

    return str(models.shared().fetch(name))


# --- one contestant's process ------------------------------------------------------------------


def contestant(name: str) -> Transcribe:
    side, peer = name.split(":")
    bare = {"faster-whisper": faster_whisper, "openai-whisper": openai_whisper}
    return quintet(peer) if side == "quintet" else bare[peer]()


def timed(transcribe: Transcribe, path: str) -> dict[str, Any]:
    began = time.perf_counter()
    segments = transcribe(path)
    texts = [next(segments, "")]
    first = time.perf_counter() - began
    texts += segments
    return {
        "first_segment": first,
        "seconds": time.perf_counter() - began,
        "text": "".join(texts),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


# --- the contest -------------------------------------------------------------------------------


def compare(peer: str, path: Path, rounds: int) -> dict[str, Any]:
    from models import audio

    seconds = audio.duration(path)
    answers = alternate("bench.speech", peer, [[{"path": str(path)}]] * (rounds + 1))
    runs = {side: [round_[0] for round_ in taken] for side, taken in answers.items()}
    ratios = [b["seconds"] / q["seconds"] for q, b in zip(runs["quintet"], runs["bare"], strict=True)]
    return {
        "checkpoint": PEERS[peer][0],
        "quintet": summary(runs["quintet"], seconds),
        "bare": summary(runs["bare"], seconds),
        "ratio": round(statistics.median(ratios), 3),
        "worst": round(min(ratios), 3),
        "best": round(max(ratios), 3),
        "same_text": runs["quintet"][-1]["text"] == runs["bare"][-1]["text"],
    }


def summary(runs: list[dict[str, Any]], seconds: float) -> dict[str, float]:
    return {
        "speed": round(seconds / statistics.median(run["seconds"] for run in runs), 2),
        "first_segment": round(statistics.median(run["first_segment"] for run in runs), 3),
        "peak_rss_mib": round(max(run["peak_rss_mib"] for run in runs)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Quintet's Whisper engines beside the bare libraries.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--file", type=Path, default=RECORDINGS / "jfk.flac")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contestant:
        transcribe = contestant(args.contestant)
        compete(lambda job: timed(transcribe, job["path"]))
        return
    if not args.file.is_file():
        parser.error(f"there is no recording {args.file}: name one with --file")
    results: dict[str, Any] = {"file": args.file.name, "rounds": args.rounds}
    for peer in args.peers:
        results[peer] = row = compare(peer, args.file, args.rounds)
        for side in ("quintet", "bare"):
            print(f"{peer:15} {side:8}", *(f"{key} {value}" for key, value in row[side].items()))
        print(f"{peer:15} ratio    {row['ratio']} (from {row['worst']} to {row['best']})")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
