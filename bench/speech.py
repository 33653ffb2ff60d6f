"""How fast and how right Quintet's Whisper is beside the libraries under it.

    python -m bench.speech [--rounds 3] [--minutes 15] [--spoken folder] [--peers faster-whisper …]

On the same files and the same weights: Quintet's engine, loaded with `models.load` and asked through
`engine.transcribe` as it comes, and a library used bare, with equal options (beam 5; silence left out
for faster-whisper, not for openai-whisper, which knows no such thing). Three cases: one recording, one
that is long (`--minutes` of the others, again and again), and eight at once, which Quintet queues and
the library is given in turn. Every contestant lives in its own process with its model loaded and one run
behind it; then the two take turns, so that both get their share of whatever else the machine does.

    speed            seconds of audio a second, median; decoding the file included; higher is better
    first_segment    seconds until the first segment is there, median; lower is better
    peak_rss_mib     the most memory the process ever held up to then, libraries and model included
    ratio            Quintet's speed over the library's, median of the rounds; the aim is 1.5 over
                     faster-whisper's sequential mode on the long recording, and nowhere below 0.97
    same_text        whether both wrote the same; a long recording is decoded in chunks here and not there
    errors           words wrong, missing or too many, per 100 words of the reference, after Whisper's own
                     normaliser; no precision may lose more than 1 point against fp32

`--spoken` is a folder with recordings and their texts in .txt files of the same name. The last line is
one JSON object with all of it. A peer's row is only as good as the machine was quiet: look at the spread
("worst" and "best" ratio) before believing a small difference.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

from bench.contest import alternate, compete

RECORDINGS = Path(__file__).parents[2] / "shared/audio"
JFK = "And so my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
# Peer: the checkpoint, and the precision it runs in on a processor.
PEERS = {
    "faster-whisper": ("whisper-base", "int8"),
    "faster-whisper-batched": ("whisper-base", "int8"),
    "openai-whisper": ("whisper-tiny.en-pt", "fp32"),
}
# Whose words are counted; the last three are the same weights.
READERS = (
    ("whisper-base", "fp32"),
    ("whisper-base", "int8"),
    ("whisper-tiny.en", "fp32"),
    ("whisper-tiny.en-pt", "fp32"),
    ("whisper-tiny.en-pt", "int8"),
)
SUFFIXES = (".wav", ".flac", ".mp3")
BEAMS = 5
QUEUED = 8

Transcribe = Callable[[str], Iterator[str]]  # path -> texts of the segments


def quintet(peer: str) -> Transcribe:
    engine = load(*PEERS[peer])
    import models

    options = models.SpeechOptions(beam_size=BEAMS, vad=peer != "openai-whisper")
    return lambda path: (segment.text for segment in engine.transcribe(path, options))


def load(name: str, precision: str) -> Any:
    import models

    engine = models.load(name, device="cpu", precision=precision)
    if not isinstance(engine, models.SpeechEngine):
        raise SystemExit(f"{name} is no speech checkpoint")
    return engine


def faster_whisper(batched: bool) -> Transcribe:
    import psutil
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    name, precision = PEERS["faster-whisper"]
    cores = psutil.cpu_count(logical=False) or 1
    model = WhisperModel(checkpoint(name), device="cpu", compute_type=precision, cpu_threads=cores)
    asked: dict[str, Any] = {"beam_size": BEAMS, "vad_filter": True}
    if batched:
        asked |= {"batch_size": 8, "without_timestamps": False}
    ask = BatchedInferencePipeline(model).transcribe if batched else model.transcribe
    return lambda path: (segment.text for segment in ask(path, **asked)[0])


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


def contestant(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    side, peer = name.split(":")
    if side == "quintet":
        asked, width = quintet(peer), QUEUED
    else:
        asked, width = openai_whisper() if peer == "openai-whisper" else faster_whisper("batched" in peer), 1
    return lambda job: timed(asked, job["paths"], width)


def timed(transcribe: Transcribe, paths: Sequence[str], width: int) -> dict[str, Any]:
    """All the files, `width` of them asked for at the same time."""
    began = time.perf_counter()
    firsts: list[float] = []

    def one(path: str) -> str:
        texts = []
        for text in transcribe(path):
            firsts.append(time.perf_counter() - began)
            texts.append(text)
        return "".join(texts)

    with ThreadPoolExecutor(width) as pool:
        texts = list(pool.map(one, paths))
    return {
        "first_segment": min(firsts, default=0.0),
        "seconds": time.perf_counter() - began,
        "text": texts,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


# --- the contest -------------------------------------------------------------------------------


def compare(peer: str, cases: dict[str, list[Path]], rounds: int) -> dict[str, Any]:
    from models.sound import decoding

    jobs = [{"paths": list(map(str, paths))} for paths in cases.values()]
    answers = alternate("bench.speech", peer, [jobs] * (rounds + 1))
    row: dict[str, Any] = {"checkpoint": PEERS[peer][0]}
    for number, (case, paths) in enumerate(cases.items()):
        runs = {side: [round_[number] for round_ in taken] for side, taken in answers.items()}
        ratios = [b["seconds"] / q["seconds"] for q, b in zip(runs["quintet"], runs["bare"], strict=True)]
        seconds = sum(decoding.duration(path) for path in paths)
        row[case] = {
            **{side: summary(taken, seconds) for side, taken in runs.items()},
            "ratio": round(statistics.median(ratios), 3),
            "worst": round(min(ratios), 3),
            "best": round(max(ratios), 3),
            "same_text": runs["quintet"][-1]["text"] == runs["bare"][-1]["text"],
        }
    return row


def summary(runs: list[dict[str, Any]], seconds: float) -> dict[str, float]:
    return {
        "speed": round(seconds / statistics.median(run["seconds"] for run in runs), 2),
        "first_segment": round(statistics.median(run["first_segment"] for run in runs), 3),
        "peak_rss_mib": round(max(run["peak_rss_mib"] for run in runs)),
    }


def write_long(path: Path, recordings: Sequence[Path], seconds: float) -> Path:
    """The recordings one after another, again and again, with a second of silence between."""
    from models.sound import decoding

    parts = [(decoding.load(file) * 32767).astype("int16").tobytes() + bytes(32_000) for file in recordings]
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, decoding.SAMPLE_RATE, 0, "NONE", ""))
        for part in cycle(parts):
            if file.getnframes() >= seconds * decoding.SAMPLE_RATE:
                return path
            file.writeframes(part)
    return path


# --- words -------------------------------------------------------------------------------------


def spoken(folder: Path | None) -> dict[Path, str]:
    """Recordings whose text is known."""
    known = {RECORDINGS / "jfk.flac": JFK}
    for text in sorted(folder.glob("*.txt")) if folder else ():
        files = (text.with_suffix(suffix) for suffix in SUFFIXES)
        known |= {file: text.read_text("utf-8") for file in files if file.is_file()}
    return known


def count_errors(known: dict[Path, str]) -> dict[str, float]:
    from whisper.normalizers import EnglishTextNormalizer

    import models

    words = EnglishTextNormalizer()
    rates = {}
    for name, precision in READERS:
        engine = load(name, precision)
        options = models.SpeechOptions(language="en", beam_size=BEAMS)
        wrong = total = 0
        for path, text in known.items():
            heard = "".join(segment.text for segment in engine.transcribe(path, options))
            wanted = words(text).split()
            wrong, total = wrong + distance(words(heard).split(), wanted), total + len(wanted)
        rates[f"{name} {precision}"] = round(100 * wrong / total, 2)
        models.unload()
    return rates


def distance(heard: Sequence[str], wanted: Sequence[str]) -> int:
    """Levenshtein's, in words."""
    row = list(range(len(wanted) + 1))
    for count, word in enumerate(heard, 1):
        before, row[0] = row[0], count
        for i, other in enumerate(wanted, 1):
            before, row[i] = row[i], min(row[i] + 1, row[i - 1] + 1, before + (word != other))
    return row[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description="Quintet's Whisper engines beside the bare libraries.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--spoken", type=Path, help="folder of recordings and their .txt files")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contestant:
        compete(contestant(args.contestant))
        return
    known = spoken(args.spoken)
    results: dict[str, Any] = {"rounds": args.rounds, "minutes": args.minutes}
    with tempfile.TemporaryDirectory() as folder:
        long = write_long(Path(folder) / "long.wav", list(known), args.minutes * 60)
        short = next(iter(known))
        cases = {"one": [short], "long": [long], "queued": [short] * QUEUED}
        for peer in args.peers:
            results[peer] = row = compare(peer, cases, args.rounds)
            for case in cases:
                for side in ("quintet", "bare"):
                    figures = (f"{key} {value}" for key, value in row[case][side].items())
                    print(f"{peer:23} {case:7} {side:8}", *figures)
                told = row[case]
                print(f"{peer:23} {case:7} ratio    {told['ratio']} (from {told['worst']} to {told['best']})")
    results["errors"] = count_errors(known)
    for reader, rate in results["errors"].items():
        print(f"{reader:31} errors {rate}")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
