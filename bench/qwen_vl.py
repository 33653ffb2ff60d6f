"""Qwen-VL in full width: pictures per second against what the machine could do, and against plain `generate`.

    python -m bench.qwen_vl [--layers 2] [--tower 4] [--batches 1 4 8] [--rows bf16 "int4 files"]
    python -m bench.qwen_vl --device cuda:0 --layers 32 --tower 48

The model is random: the sizes of Qwen-VL-Chat in the original file format, cut to some layers of the
decoder and of the vision tower, made once in the folder for temporary files (2 and 4 layers: 4 GB on disk),
as bfloat16 and packed as AutoGPTQ packs it. Every row loads it with `models.load` in a process of its own;
then so many people ask about a new picture at the same moment.

What the columns mean. *pictures* are answered questions per second; *first token* the mean seconds until
an answer begins, waiting included; *tower* the vision tower's share of the time. *of arithmetic* is the
tower's speed against that of a product of large matrices of its dtype, *decode* the tokens per second
behind an answer's first and *of bandwidth* the same against all weights of the decoder read once per
token; both limits are measured in the same process. *of plain* are pictures per second against the
library's own `generate` on the same tensors, one question after the other. Figures are medians, ratios
are above 1 where Quintet is better; the last line is one JSON object.
"""

import argparse
import io
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from bench.contest import Contestant, Job, compete
from bench.limits import multiply_speed, read_speed
from models import ChatEngine, ChatOptions, Delta, Done, Message

if TYPE_CHECKING:
    from torch import Tensor

# Rows: which files they read, and in which precision.
ROWS: Mapping[str, tuple[str, str]] = {
    "bf16": ("bfloat16", "bf16"),
    "int4": ("bfloat16", "int4"),
    "int4 files": ("int4", "auto"),
}
GROUP = 128  # inputs that share a scale in AutoGPTQ's files
CONTEXT = 2048


# --- the files -----------------------------------------------------------------------------------


def made(kind: str, layers: int, tower: int, hidden: int) -> Path:
    """The folder of one kind of file; both kinds are made at once."""
    root = Path(tempfile.gettempdir()) / f"quintet-bench-qwen-vl-{layers}-{tower}x{hidden}"
    if not (root / "done").exists():
        write(root, layers, tower, hidden)
        (root / "done").touch()
    return root / kind


def write(root: Path, layers: int, tower: int, hidden: int) -> None:
    """Random weights, saved under their original names; then what AutoGPTQ would have made of them."""
    import torch
    from safetensors.torch import load_file, save_file

    from models.qwen_vl.model import QwenVLConfig, QwenVLForCausalLM
    from models.qwen_vl.weights import register, translate

    whole, packed = root / "bfloat16", root / "int4"
    config = sizes(layers, tower, hidden)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    model = QwenVLForCausalLM(QwenVLConfig(**translate(config)))
    torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        letters = torch.arange(len(model.lm_head.weight))
        model.lm_head.weight[(letters < ord("!")) | (letters > ord("~"))] = (
            0  # nothing else is ever the likeliest
        )
    register()
    model.save_pretrained(whole, max_shard_size="2GB")
    packed.mkdir(exist_ok=True)
    for file in whole.glob("*.safetensors"):
        tensors: dict[str, Tensor] = {}
        for name, tensor in load_file(file).items():
            inside = name.startswith("transformer.h.") and tensor.dim() == 2
            tensors |= quantised(name, tensor) if inside else {name: tensor.half()}
        save_file(tensors, packed / file.name, {"format": "pt"})
    if (index := whole / "model.safetensors.index.json").exists():
        (packed / index.name).write_text(json.dumps(_index(packed)))
    gptq = {"bits": 4, "group_size": GROUP, "desc_act": False, "sym": True, "quant_method": "gptq"}
    finish(whole, config)
    finish(packed, config | {"quantization_config": gptq, "torch_dtype": "float16"})


def sizes(layers: int, tower: int, hidden: int) -> dict[str, Any]:
    """A config.json with the published sizes at a hidden size of 4096."""
    return {
        "model_type": "qwen", "architectures": ["QWenLMHeadModel"], "vocab_size": 151936, "hidden_size": hidden,
        "intermediate_size": hidden * 86 // 4096 * 256, "num_hidden_layers": layers,
        "num_attention_heads": hidden // 128, "kv_channels": 128, "seq_length": 2048, "max_position_embeddings": 8192, "no_bias": True,
        "use_dynamic_ntk": True, "use_logn_attn": True, "torch_dtype": "bfloat16",
        "visual": {
            "image_size": 448, "patch_size": 14, "width": hidden * 1664 // 4096, "layers": tower, "heads": 16,
            "mlp_ratio": 4.9231, "output_dim": hidden, "image_start_id": 256 + 214,
        },
    }  # fmt: skip


def quantised(name: str, weight: "Tensor") -> "dict[str, Tensor]":
    """Random numbers in the form of AutoGPTQ's first format; what they stand for is of no matter here."""
    import torch

    rows, columns = weight.shape
    layer = name.removesuffix(".weight")
    words = torch.iinfo(torch.int32)
    return {
        f"{layer}.qweight": torch.randint(words.min, words.max, (columns // 8, rows), dtype=torch.int32),
        f"{layer}.qzeros": torch.full((columns // GROUP, rows // 8), 0x77777777, dtype=torch.int32),
        f"{layer}.scales": torch.full((columns // GROUP, rows), 0.004, dtype=torch.float16),
        f"{layer}.g_idx": (torch.arange(columns) // GROUP).int(),
        f"{layer}.bias": torch.zeros(rows, dtype=torch.float16),
    }


def _index(folder: Path) -> dict[str, Any]:
    from safetensors import safe_open

    places: dict[str, str] = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            places |= dict.fromkeys(opened.keys(), file.name)
    return {"metadata": {}, "weight_map": places}


def finish(folder: Path, config: dict[str, Any]) -> None:
    """What stands beside the weights. The vocabulary is of bytes; the other ids stay without a text."""
    import base64

    lines = (f"{base64.b64encode(bytes([byte])).decode()} {byte}\n" for byte in range(256))
    (folder / "qwen.tiktoken").write_text("".join(lines), "ascii")
    (folder / "config.json").write_text(json.dumps(config))
    generation = {"chat_format": "chatml", "max_window_size": 6144}
    (folder / "generation_config.json").write_text(json.dumps(generation))


def picture(nonce: int) -> bytes:
    """A PNG that nobody has asked about."""
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(nonce).integers(0, 256, (24, 32, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((640, 480)).save(file, "PNG")
    return file.getvalue()


# --- one row's process ---------------------------------------------------------------------------


class Row:
    """Loads the model once and does what the lines of the contest say."""

    engine: ChatEngine

    def work(self, job: Job) -> Job:
        if "folder" in job:
            return self.load(Path(job["folder"]), job["device"], job["precision"])
        pictures = [picture(job["nonce"] * 100 + number) for number in range(job["batch"])]
        ask = self.plain if job["side"] == "plain" else self.together
        return ask(pictures, job["tokens"])

    def load(self, folder: Path, device: str, precision: str) -> Job:
        """Speeds per second: what the tower would reach at the arithmetic's limit, and decoding at the
        bandwidth's. The tower is clocked from here on."""
        engine = models.load(str(folder), device, precision, CONTEXT)
        if not isinstance(engine, ChatEngine):
            raise SystemExit(f"{folder} does not chat")
        self.engine = engine
        model: Any = engine.model  # type: ignore[attr-defined]
        self.model, self.looking = model, 0.0
        self._clock(model.model.visual)
        decoder = [*model.model.layers, model.model.norm, model.lm_head]
        weights = sum(_bytes(module) for module in decoder)
        return {
            "weights": engine.report.weights,
            "tower limit": multiply_speed(device, model.model.visual.proj.dtype) / operations(model.model),
            "decode limit": read_speed(device) / weights,
        }

    def _clock(self, tower: Any) -> None:
        """Adds the seconds of each pass to `self.looking`."""
        began = 0.0

        def start(*_: Any) -> None:
            nonlocal began
            began = time.perf_counter()

        def stop(_module: Any, _inputs: Any, features: "Tensor") -> None:
            features.flatten()[0].item()  # waits for a GPU
            self.looking += time.perf_counter() - began

        tower.register_forward_pre_hook(start)
        tower.register_forward_hook(stop)

    def together(self, pictures: list[bytes], tokens: int) -> Job:
        """One person for each picture, all at the same moment."""
        began, self.looking = time.perf_counter(), 0.0

        def ask(shown: bytes) -> tuple[float, float]:
            first = 0.0
            done = None
            for event in self.engine.stream(
                question(shown), ChatOptions(max_new_tokens=tokens, temperature=0.0)
            ):
                if isinstance(event, Delta) and not first:
                    first = time.perf_counter() - began
                done = event
            if not isinstance(done, Done) or done.usage.completion_tokens < tokens:
                raise SystemExit("the answer ended early")
            return first, done.usage.tokens_per_second

        with ThreadPoolExecutor(len(pictures)) as people:
            firsts, speeds = zip(*people.map(ask, pictures), strict=True)
        return self._figures(pictures, began) | {
            "first token": statistics.mean(firsts),
            "decode": statistics.mean(speeds),
        }

    def plain(self, pictures: list[bytes], tokens: int) -> Job:
        """The library's `generate`, as its documentation shows, one picture after the other."""
        import torch

        from models.pictures.reading import read_picture
        from models.qwen_vl.pixels import pixels

        engine: Any = self.engine
        began, self.looking = time.perf_counter(), 0.0
        for shown in pictures:
            inputs = engine.tokenizer.apply_chat_template(question(shown), return_tensors="pt")
            seen = torch.stack([pixels(read_picture(shown), self.model.model.sizes.image_size)])
            self.model.generate(
                **inputs.to(self.model.device),
                pixel_values=seen.to(self.model.device),
                max_new_tokens=tokens,
                do_sample=False,
            )
        return self._figures(pictures, began)

    def _figures(self, pictures: list[bytes], began: float) -> Job:
        seconds = time.perf_counter() - began
        return {
            "pictures": len(pictures) / seconds,
            "tower": self.looking / seconds,
            "tower speed": len(pictures) / self.looking,
        }


def question(shown: bytes) -> list[Message]:
    return [
        {
            "role": "user",
            "content": [{"type": "image", "image": shown}, {"type": "text", "text": "What is it?"}],
        }
    ]


def _bytes(module: Any) -> int:
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


def operations(model: Any) -> int:
    """Floating point operations of the tower and its resampler on one picture: products of matrices alone."""
    tower, sizes = model.visual, model.sizes
    patches, queries = (sizes.image_size // sizes.patch_size) ** 2, sizes.n_queries
    width, out = sizes.width, sizes.output_dim
    inside = sum(weight.numel() for weight in tower.transformer.parameters() if weight.dim() == 2)
    blocks = 2 * patches * inside + 4 * patches**2 * width * sizes.layers
    stem = 2 * patches * 3 * sizes.patch_size**2 * width
    keys = 2 * patches * (width * out + 2 * out * out)
    looks = 4 * patches * queries * out + 2 * queries * 3 * out * out
    return int(blocks + stem + keys + looks)


# --- the table -----------------------------------------------------------------------------------


def measure(row: str, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Figures by number of people."""
    kind, precision = ROWS[row]
    folder = made(kind, args.layers, args.tower, args.hidden)
    process = Contestant("bench.qwen_vl", row)
    limits = process.run({"folder": str(folder), "device": args.device, "precision": precision})
    found = {}
    for batch in args.batches:
        answers: dict[str, list[Job]] = {"own": [], "plain": []}
        for nonce in range(args.rounds + 1):
            for side in sorted(answers, reverse=bool(nonce % 2)):
                number = 2 * (nonce + 100 * batch) + (side == "plain")
                job = {"side": side, "nonce": number, "batch": batch, "tokens": args.tokens}
                answers[side].append(process.run(job))
        own, plain = (
            {name: statistics.median(round_[name] for round_ in rounds[1:]) for name in rounds[0]}
            for rounds in answers.values()
        )  # the first round warms up
        found[str(batch)] = {
            "pictures": own["pictures"],
            "first token": own["first token"],
            "tower": own["tower"],
            "of arithmetic": own["tower speed"] / limits["tower limit"],
            "decode": own["decode"],
            "of bandwidth": own["decode"] / limits["decode limit"],
            "of plain": own["pictures"] / plain["pictures"],
            "weights": limits["weights"] / 1e9,
        }
    process.end()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Qwen-VL in every precision against its limits.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--layers", type=int, default=2, help="of the decoder; 32 are all")
    parser.add_argument("--tower", type=int, default=4, help="layers of the vision tower; 48 are all")
    parser.add_argument("--hidden", type=int, default=4096, help="512 only tries the script")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8], help="people at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=16, help="of each answer")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contestant:
        compete(Row().work)
        return
    results = {row: measure(row, args) for row in args.rows}
    columns = list(next(iter(next(iter(results.values())).values())))
    print(" " * 16, *(f"{column:>14}" for column in columns))
    for name, row in results.items():
        for batch, figures in row.items():
            print(f"{name:10} x{batch:>4}", *(f"{figures[column]:14.3f}" for column in columns))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
