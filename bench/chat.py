"""Chat speed: Quintet's engines against the libraries they are made of, same files, same run.

    python -m bench.chat            # both engines, about five minutes on two cores
    python -m bench.chat --quick

What the numbers mean. *Decode* is tokens per second once the first token is there: on a CPU it is
bound by reading the weights from memory. *First token* is the time a person waits, mostly the
reading of the prompt; on the tenth turn the prompt holds nine old exchanges, which a prefix cache
saves. A ratio is Quintet's figure over the peer's for speed (above 1: Quintet is faster), and the
peer's over Quintet's for waiting (above 1: Quintet waits less). Peers are called as their own
documentation shows, with the same threads, context, slots and sampling (greedy). Rounds alternate,
medians are reported, and the last line is one JSON object.

    llama.cpp      xllamacpp.Server.handle_chat_completions, SmolLM2-135M-Instruct Q4_1
    transformers   AutoModelForCausalLM.generate with a TextIteratorStreamer, the same weights
                   dequantised to float32 safetensors
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models
from models import ChatEngine, ChatOptions, Delta

STARTER = "smollm2-135m-instruct"
SYSTEM = {"role": "system", "content": "You are a helpful assistant."}
CONTEXT = 4096
TURNS = 10
SESSIONS = 8


@dataclass(frozen=True)
class Figures:
    """One answer, in seconds and tokens per second."""

    first_token: float
    decode: float


Answer = Callable[[list[dict[str, str]], int], Figures]


def conversation(turns: int, nonce: int) -> list[dict[str, str]]:
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


def timed(pieces: Iterator[Any]) -> Figures:
    """Time the pieces of one answer, one token each."""
    began = time.perf_counter()
    times = [time.perf_counter() for _ in pieces]
    return Figures(times[0] - began, (len(times) - 1) / (times[-1] - times[0]))


# --- the contestants ---------------------------------------------------------------------------


def quintet(engine: ChatEngine) -> Answer:
    def answer(messages: list[dict[str, str]], tokens: int) -> Figures:
        events = engine.stream(messages, ChatOptions(max_new_tokens=tokens, temperature=0.0))
        return timed(event for event in events if isinstance(event, Delta))

    return answer


def bare_llama_cpp(path: Path, slots: int) -> Answer:
    import psutil
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel = CONTEXT * slots, slots
    params.cpuparams.n_threads = psutil.cpu_count(logical=False) or 1
    params.verbosity = 0
    server = xllamacpp.Server(params)

    def answer(messages: list[dict[str, str]], tokens: int) -> Figures:
        times: list[float] = []

        def hear(chunk: dict[str, Any]) -> None:
            if any((choice.get("delta") or {}).get("content") for choice in chunk.get("choices", ())):
                times.append(time.perf_counter())

        began = time.perf_counter()
        request = {"messages": messages, "stream": True, "max_tokens": tokens, "temperature": 0.0}
        server.handle_chat_completions(request, hear)
        return Figures(times[0] - began, (len(times) - 1) / (times[-1] - times[0]))

    return answer


def bare_transformers(folder: Path) -> Answer:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, TextIteratorStreamer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def answer(messages: list[dict[str, str]], tokens: int) -> Figures:
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
        arguments = {**inputs, "max_new_tokens": tokens, "do_sample": False, "streamer": streamer}
        began = time.perf_counter()
        worker = threading.Thread(target=model.generate, kwargs=arguments)
        worker.start()
        first = next(piece for piece in _clocked(streamer) if piece[1])[0]
        rest = [moment for moment, _ in _clocked(streamer)]
        worker.join()
        # The streamer holds words back, so its pieces are fewer than the tokens.
        return Figures(first - began, (tokens - 1) / (rest[-1] - first))

    return answer


def _clocked(pieces: Iterator[str]) -> Iterator[tuple[float, str]]:
    for piece in pieces:
        yield time.perf_counter(), piece


# --- the races ---------------------------------------------------------------------------------


def race(ours: Answer, peer: Answer, rounds: int, tokens: int) -> dict[str, float]:
    """First and tenth turn, alternating; each round's two share a nonce that was never sent before."""
    taken: dict[str, list[Figures]] = {}
    for nonce in range(rounds):
        pair = [("quintet", ours), ("peer", peer)]
        for name, answer in pair if nonce % 2 else reversed(pair):
            for turn in (1, TURNS - 1, TURNS):  # the ninth fills the cache as a real conversation does
                taken.setdefault(f"{name} {turn}", []).append(answer(conversation(turn, nonce), tokens))
    result = {}
    for turn in (1, TURNS):
        for figure in ("first_token", "decode"):
            mine, theirs = (
                statistics.median(getattr(f, figure) for f in taken[f"{name} {turn}"])
                for name in ("quintet", "peer")
            )
            result |= {f"quintet turn {turn} {figure}": mine, f"peer turn {turn} {figure}": theirs}
            result[f"ratio turn {turn} {figure}"] = mine / theirs if figure == "decode" else theirs / mine
    return result


def together(answer: Answer, tokens: int) -> float:
    """Tokens per second of SESSIONS conversations at once, in sum."""
    threads = [
        threading.Thread(target=answer, args=(conversation(1, 1000 + number), tokens))
        for number in range(SESSIONS)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return SESSIONS * tokens / (time.perf_counter() - began)


def dequantised(path: Path, folder: Path) -> None:
    """The GGUF file's weights as float32 safetensors, by transformers itself."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    read = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    del read.config.quantization_config  # a model that came from GGUF refuses to be saved
    plain = AutoModelForCausalLM.from_config(read.config, dtype=torch.float32)
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)


def show(title: str, figures: dict[str, float]) -> None:
    print(f"\n{title}")
    for name, value in figures.items():
        print(f"  {name:32} {value:8.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Quintet's chat engines against their bare libraries")
    parser.add_argument("--quick", action="store_true", help="one round of few tokens, to see that it runs")
    quick = parser.parse_args().quick
    rounds, tokens = (1, 16) if quick else (5, 96)
    results: dict[str, dict[str, float]] = {}
    path = models.shared().fetch(STARTER)

    engine = models.load(STARTER, context=CONTEXT)
    ours, peer = quintet(engine), bare_llama_cpp(path, engine.placement.slots)
    results["llama.cpp"] = race(ours, peer, rounds, tokens)
    both = {
        f"{name} {SESSIONS} sessions": together(answer, tokens)
        for name, answer in (("quintet", ours), ("peer", peer))
    }
    results["llama.cpp"] |= both | {
        f"ratio {SESSIONS} sessions": both[f"quintet {SESSIONS} sessions"] / both[f"peer {SESSIONS} sessions"]
    }
    show("llama.cpp: Quintet against xllamacpp.Server", results["llama.cpp"])
    models.unload()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dequantised(path, folder)
        engine = models.load(str(folder), device="cpu", precision="fp32", context=CONTEXT)
        results["transformers"] = race(
            quintet(engine), bare_transformers(folder), max(1, rounds - 2), tokens // 2
        )
        show("transformers: Quintet against generate()", results["transformers"])
        models.unload()
    print(
        json.dumps(
            {name: {key: round(value, 4) for key, value in row.items()} for name, row in results.items()}
        )
    )


if __name__ == "__main__":
    main()
