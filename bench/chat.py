"""Chat speed: Quintet's engines against the libraries they are made of, same files, same run.

    python -m bench.chat [--rounds 5] [--peers llama.cpp transformers]

What the numbers mean. *decode* is tokens per second once the first token is there: on a processor it
is bound by reading the weights from memory. *first_token* is the time in seconds that a person waits,
mostly the reading of the prompt; on the tenth turn the prompt holds nine old exchanges, which a prefix
cache saves. *together* is tokens per second of eight conversations at once, in sum. A ratio is above 1
where Quintet is better. Peers are called as their own documentation shows, with the same threads,
context and slots, greedily. Figures are medians; the last line is one JSON object.

    llama.cpp      xllamacpp.Server.handle_chat_completions, SmolLM2-135M-Instruct Q4_1
    transformers   AutoModelForCausalLM.generate with a streamer, the same weights dequantised to
                   float32 safetensors
    worker         Quintet's own engine for llama.cpp in this process, against the same in a worker process
    worker-torch   the same with the engine for transformers
"""

import argparse
import json
import queue
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import models
from bench.contest import Job, alternate, compete
from models import ChatEngine, ChatOptions, Delta

STARTER = "smollm2-135m-instruct"
SYSTEM = {"role": "system", "content": "You are a helpful assistant."}
CONTEXT = 4096
TURNS = 10
SESSIONS = 8
SLOTS = 4  # as Quintet's plan gives where memory allows


Messages = list[dict[str, str]]
Answer = Callable[[Messages, int], Iterator[str]]  # (messages, longest answer) -> pieces, one a token

PEERS = ["llama.cpp", "transformers", "worker", "worker-torch"]
# What is reported, the index of its job within a round, and the figure there.
FIGURES = (
    ("turn 1 first_token", 0, "first_token"),
    ("turn 1 decode", 0, "decode"),
    ("turn 10 first_token", 2, "first_token"),
    ("turn 10 decode", 2, "decode"),
    ("8 sessions together", 3, "together"),
)


def conversation(turns: int, nonce: int) -> Messages:
    """A conversation that asks for its last answer; `nonce` keeps prefix caches of other rounds cold."""
    messages = [SYSTEM]
    for turn in range(1, turns + 1):
        messages.append(
            {"role": "user", "content": f"Note {nonce}, part {turn}: write a long story about a dragon."}
        )
        if turn < turns:
            told = f"Once, in part {turn}, a dragon lived on a hill and guarded the village below. " * 3
            messages.append({"role": "assistant", "content": told})
    return messages


# --- one contestant's process ------------------------------------------------------------------


def contestant(name: str) -> Answer:
    side, peer = name.split(":")
    path = models.shared().fetch(STARTER)
    name = STARTER if peer in ("llama.cpp", "worker") else str(dequantised(path))
    if peer.startswith("worker"):
        return quintet(name, isolated=side == "quintet")
    if side == "quintet":
        return quintet(name)
    return bare_llama_cpp(path) if peer == "llama.cpp" else bare_transformers(Path(name))


def quintet(name: str, isolated: bool = False) -> Answer:
    precision = "auto" if name == STARTER else "fp32"
    engine = models.load(name, device="cpu", precision=precision, context=CONTEXT, isolated=isolated)
    if not isinstance(engine, ChatEngine):
        raise SystemExit(f"{name} does not chat")

    def answer(messages: Messages, tokens: int) -> Iterator[str]:
        for event in engine.stream(messages, ChatOptions(max_new_tokens=tokens, temperature=0.0)):
            if isinstance(event, Delta):
                yield event.text

    return answer


def bare_llama_cpp(path: Path) -> Answer:
    import psutil
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel = CONTEXT * SLOTS, SLOTS
    params.cpuparams.n_threads = psutil.cpu_count(logical=False) or 1
    params.verbosity = 0
    server = xllamacpp.Server(params)

    def answer(messages: Messages, tokens: int) -> Iterator[str]:
        pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()

        def hear(chunk: dict[str, Any]) -> None:
            for choice in chunk.get("choices", ()):
                if text := (choice.get("delta") or {}).get("content"):
                    pieces.put(text)

        def work() -> None:
            request = {"messages": messages, "stream": True, "max_tokens": tokens, "temperature": 0.0}
            server.handle_chat_completions(request, hear)
            pieces.put(None)

        threading.Thread(target=work).start()
        yield from iter(pieces.get, None)

    return answer


def bare_transformers(folder: Path) -> Answer:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.generation.streamers import BaseStreamer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    class Pieces(BaseStreamer):
        """A streamer that only counts: the peer is not charged for turning ids into text."""

        def __init__(self) -> None:
            self.queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
            self.put_prompt = False

        def put(self, value: Any) -> None:
            if self.put_prompt:
                self.queue.put("token")
            self.put_prompt = True

        def end(self) -> None:
            self.queue.put(None)

    def answer(messages: Messages, tokens: int) -> Iterator[str]:
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        pieces = Pieces()
        arguments = {**inputs, "max_new_tokens": tokens, "do_sample": False, "streamer": pieces}
        threading.Thread(target=model.generate, kwargs=arguments).start()
        yield from iter(pieces.queue.get, None)

    return answer


def dequantised(path: Path) -> Path:
    """The GGUF file's weights as float32 safetensors, by transformers itself; made once."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = Path(tempfile.gettempdir()) / f"quintet-bench-{path.stem}"
    if (folder / "tokenizer.json").is_file():  # written last
        return folder
    where: dict[str, Any] = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    read = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    del read.config.quantization_config  # a model that came from GGUF refuses to be saved
    plain = AutoModelForCausalLM.from_config(read.config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)
    return folder


def work(answer: Answer, job: Job) -> Job:
    """One answer after `turn` turns, or SESSIONS first answers at once."""
    if "sessions" in job:
        return {"together": together(answer, job)}
    began = time.perf_counter()
    times = [time.perf_counter() for _ in answer(conversation(job["turn"], job["nonce"]), job["tokens"])]
    return {"first_token": times[0] - began, "decode": (len(times) - 1) / (times[-1] - times[0])}


def together(answer: Answer, job: Job) -> float:
    counts: list[int] = []

    def one(number: int) -> None:
        talk = conversation(1, 1000 * (1 + job["nonce"]) + number)
        counts.append(sum(1 for _ in answer(talk, job["tokens"])))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(job["sessions"])]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


# --- the contest -------------------------------------------------------------------------------


def compare(peer: str, rounds: int, tokens: int) -> dict[str, float]:
    if peer in ("transformers", "worker-torch"):
        dequantised(models.shared().fetch(STARTER))  # once, before both contestants want it
    # The ninth turn fills the prefix cache, as it would have in a real conversation.
    jobs = [
        [
            *({"turn": turn, "nonce": nonce, "tokens": tokens} for turn in (1, TURNS - 1, TURNS)),
            *(
                [{"sessions": SESSIONS, "nonce": nonce, "tokens": tokens}]
                if peer in ("llama.cpp", "worker")
                else []
            ),
        ]
        for nonce in range(rounds + 1)
    ]
    answers = alternate("bench.chat", peer, jobs)
    row: dict[str, float] = {}
    for name, index, figure in FIGURES:
        if index >= len(jobs[0]):
            continue
        ours, bare = (
            statistics.median(round_[index][figure] for round_ in answers[side])
            for side in ("quintet", "bare")
        )
        ratio = bare / ours if figure == "first_token" else ours / bare
        row |= {
            f"{name}, quintet": round(ours, 3),
            f"{name}, bare": round(bare, 3),
            f"{name}, ratio": round(ratio, 3),
        }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description="Quintet's chat engines against their bare libraries.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contestant:
        answer = contestant(args.contestant)
        compete(lambda job: work(answer, job))
        return
    results = {peer: compare(peer, args.rounds, args.tokens) for peer in args.peers}
    for peer, row in results.items():
        print(f"\n{peer}")
        for name, value in row.items():
            print(f"  {name:34} {value:8.3f}")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
