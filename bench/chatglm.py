"""ChatGLM3 in full width: every precision against what the memory allows, and against plain `generate`.

    python -m bench.chatglm [--layers 4] [--rounds 3] [--rows bf16 int4]
    python -m bench.chatglm --device cuda:0 --layers 28

The model is random: the sizes of ChatGLM3-6B in the original file format, cut to some layers, made once
in the folder for temporary files (4 layers: 6 GB on disk), as float16 and packed as the makers' own int8
and int4. Every row loads it with `models.load` in a process of its own and asks for one answer a round.

What the columns mean. *decode* is tokens per second behind the first one; each reads all weights but the
embedding, so that it cannot exceed *limit*: the bandwidth of a matrix-vector product over 1 GiB, measured
in the same process, divided by those bytes. *prefill* is tokens of the prompt per second until the first
token. Both stand beside the library's own `generate` on the same tensors, in turns (*plain*); *of bf16* is
decoding against that on bfloat16 tensors. *weights* are the bytes of all tensors in GB (10^9), *resident*
what the process grew by (on CUDA: what was allocated), *plan* what `models.plan` promised. Figures are
medians, ratios are above 1 where Quintet is better; the last line is one JSON object.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from bench.contest import Contestant, Job, compete
from bench.limits import held, read_speed
from models import ChatEngine, ChatOptions, Done

if TYPE_CHECKING:
    from torch import Tensor

# Rows: which files they read, and in which precision.
ROWS: Mapping[str, tuple[str, str]] = {
    "fp32": ("float16", "fp32"),
    "bf16": ("float16", "bf16"),
    "int8": ("float16", "int8"),
    "int4": ("float16", "int4"),
    "int8 files": ("int8", "auto"),
    "int4 files": ("int4", "auto"),
}
BITS = {"float16": 16, "int8": 8, "int4": 4}
VOCABULARY = 65024
CONTEXT = 2048
TEXT = "the river runs to sea and every bird over it sings one long clear song"


# --- the files -----------------------------------------------------------------------------------


def made(kind: str, layers: int, hidden: int, device: str) -> Path:
    """The folder of one kind of file; all kinds are made at once, of the same weights."""
    root = Path(tempfile.gettempdir()) / f"quintet-bench-chatglm-{layers}x{hidden}"
    if not (root / "done").exists():
        write(root, layers, hidden, device)
        (root / "done").touch()
    return root / kind


def write(root: Path, layers: int, hidden: int, device: str) -> None:
    """A shard for each layer and one for the rest, so that no more than one is ever in memory."""
    import torch

    config = {
        "model_type": "chatglm", "num_layers": layers, "hidden_size": hidden,
        "ffn_hidden_size": hidden * 13696 // 4096, "num_attention_heads": hidden // 128, "kv_channels": 128,
        "multi_query_attention": True, "multi_query_group_num": 2, "padded_vocab_size": VOCABULARY,
        "add_qkv_bias": True, "seq_length": 8192, "torch_dtype": "float16", "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    shards = layers + 1
    for kind, bits in BITS.items():
        folder = root / kind
        index: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(shards):
            file = f"pytorch_model-{number + 1:05d}-of-{shards:05d}.bin"
            torch.manual_seed(number)
            tensors = rest(hidden, device) if number == layers else layer(number, config, bits, device)
            torch.save({name: tensor.cpu() for name, tensor in tensors.items()}, folder / file)
            index |= dict.fromkeys(tensors, file)
        listing = {"metadata": {}, "weight_map": index}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(listing))
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "tokenizer.model").write_bytes(vocabulary())


def layer(number: int, config: dict[str, Any], bits: int, device: str) -> "dict[str, Tensor]":
    """One layer's tensors under their original names."""
    import torch

    hidden, inner = config["hidden_size"], config["ffn_hidden_size"]
    ones = torch.ones(hidden, dtype=torch.float16)
    prefix = f"transformer.encoder.layers.{number}"
    tensors = {
        f"{prefix}.input_layernorm.weight": ones,
        f"{prefix}.post_attention_layernorm.weight": ones,
        f"{prefix}.self_attention.query_key_value.bias": ones.new_zeros(hidden + 512),
    }
    for name, rows, columns in (
        ("self_attention.query_key_value", hidden + 512, hidden),
        ("self_attention.dense", hidden, hidden),
        ("mlp.dense_h_to_4h", 2 * inner, hidden),
        ("mlp.dense_4h_to_h", hidden, inner),
    ):
        weight = 0.02 * torch.randn(rows, columns, device=device)
        tensors |= packed(f"{prefix}.{name}.weight", weight, bits)
    return tensors


def packed(name: str, weight: "Tensor", bits: int) -> "dict[str, Tensor]":
    """A weight as the makers' files have it (see `models.chatglm.packed`)."""
    import torch

    if bits == 16:
        return {name: weight.half()}
    scale = weight.abs().amax(1) / (2 ** (bits - 1) - 1)
    numbers = (weight / scale[:, None]).round().to(torch.int8)
    numbers = (numbers[:, ::2] << 4) | (numbers[:, 1::2] & 15) if bits == 4 else numbers
    return {name: numbers, f"{name}_scale": scale.half()}


def rest(hidden: int, device: str) -> "dict[str, Tensor]":
    """What is around the layers."""
    import torch

    embedding, head = (0.02 * torch.randn(VOCABULARY, hidden, device=device).half() for _ in range(2))
    head[:1000] = 0  # below the best of the others: the ids that end an answer are among these
    return {
        "transformer.embedding.word_embeddings.weight": embedding,
        "transformer.encoder.final_layernorm.weight": torch.ones(hidden, dtype=torch.float16),
        "transformer.output_layer.weight": head,
    }


def vocabulary() -> bytes:
    """A small SentencePiece file; the ids behind it stay without a text."""
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([TEXT] * 4),
        model_writer=model,
        model_type="bpe",
        vocab_size=400,
        hard_vocab_limit=False,
        byte_fallback=True,
        minloglevel=2,
    )
    return model.getvalue()


# --- one row's process ---------------------------------------------------------------------------


class Row:
    """Loads the model once and does what the lines of the contest say."""

    engine: ChatEngine

    def work(self, job: Job) -> Job:
        if "folder" in job:
            return self.load(Path(job["folder"]), job["device"], job["precision"])
        answer = self.plain if job["side"] == "plain" else self.own
        return answer(question(job["nonce"], job["prompt"]), job["tokens"])

    def load(self, folder: Path, device: str, precision: str) -> Job:
        """Sizes in bytes, and the most tokens per second that the bandwidth allows."""
        from models.chatglm import weights  # noqa: F401  what the libraries take is none of the weights

        bandwidth = read_speed(device)
        planned = models.plan(str(folder), device, precision, CONTEXT).weights
        before = held(device)
        engine = models.load(str(folder), device, precision, CONTEXT)
        if not isinstance(engine, ChatEngine):
            raise SystemExit(f"{folder} does not chat")
        self.engine, self.device = engine, device
        embedding = engine.model.get_input_embeddings().weight.nbytes  # type: ignore[attr-defined]
        return {
            "weights": engine.report.weights,
            "resident": held(device) - before,
            "plan": planned,
            "limit": bandwidth / (engine.report.weights - embedding),
        }

    def own(self, messages: list[dict[str, str]], tokens: int) -> Job:
        options = ChatOptions(max_new_tokens=tokens, temperature=0.0)
        *_, done = self.engine.stream(messages, options)
        if not isinstance(done, Done) or done.usage.completion_tokens < tokens:
            raise SystemExit("the answer ended early")
        used = done.usage
        return {
            "prefill": used.prompt_tokens / used.seconds_to_first_token,
            "decode": used.tokens_per_second,
        }

    def plain(self, messages: list[dict[str, str]], tokens: int) -> Job:
        """The library's `generate`, as its documentation shows."""
        from transformers.generation.streamers import BaseStreamer

        times = []

        class Clock(BaseStreamer):
            def put(self, value: Any) -> None:
                times.append(time.perf_counter())  # first for the prompt, before it is read

            def end(self) -> None: ...

        engine: Any = self.engine
        inputs = engine.tokenizer.apply_chat_template(messages, return_tensors="pt").to(engine.model.device)
        engine.model.generate(
            **inputs, max_new_tokens=tokens, do_sample=False, pad_token_id=0, streamer=Clock()
        )
        return {
            "prefill": inputs["input_ids"].shape[1] / (times[1] - times[0]),
            "decode": (tokens - 1) / (times[-1] - times[1]),
        }


def question(nonce: int, length: int) -> list[dict[str, str]]:
    """Some `length` tokens; `nonce` keeps the prefix cache cold."""
    return [{"role": "user", "content": f"{nonce} {TEXT * (length // len(TEXT.split()))}"}]


# --- the table -----------------------------------------------------------------------------------


def measure(row: str, args: argparse.Namespace) -> dict[str, float]:
    kind, precision = ROWS[row]
    folder = made(kind, args.layers, args.hidden, args.device)
    process = Contestant("bench.chatglm", row)
    sizes = process.run({"folder": str(folder), "device": args.device, "precision": precision})
    answers: dict[str, list[Job]] = {"own": [], "plain": []}
    for nonce in range(args.rounds + 1):
        for side in sorted(answers, reverse=bool(nonce % 2)):
            job = {"side": side, "nonce": nonce, "prompt": args.prompt, "tokens": args.tokens}
            answers[side].append(process.run(job))
    process.end()
    found = {
        f"{figure} {side}": statistics.median(round_[figure] for round_ in rounds[1:])  # the first warms up
        for side, rounds in answers.items()
        for figure in ("decode", "prefill")
    }
    return {
        "decode": found["decode own"],
        "of limit": found["decode own"] / sizes["limit"],
        "of plain": found["decode own"] / found["decode plain"],
        "plain decode": found["decode plain"],
        "prefill": found["prefill own"],
        "of plain prefill": found["prefill own"] / found["prefill plain"],
        **{name: sizes[name] / 1e9 for name in ("weights", "resident", "plan")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="ChatGLM3 in every precision against its limits.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--layers", type=int, default=4, help="28 are the whole model")
    parser.add_argument("--hidden", type=int, default=4096, help="1024 only tries the script")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=512, help="tokens, about")
    parser.add_argument("--tokens", type=int, default=32, help="of each answer")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contestant:
        compete(Row().work)
        return
    results = {row: measure(row, args) for row in args.rows}
    for row in results.values():
        if "bf16" in results:
            row["of bf16"] = row["decode"] / results["bf16"]["plain decode"]
    columns = list(next(iter(results.values())))
    print(" " * 10, *(f"{column:>16}" for column in columns))
    for name, row in results.items():
        print(f"{name:10}", *(f"{row[column]:16.2f}" for column in columns))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
