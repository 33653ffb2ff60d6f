"""Trains the small Qwen-VL that knows drawn scenes, and writes it as the original's files.

    python -m starters.qwen_vl.train            # some hours on two cores that calculate in bfloat16
    python -m starters.qwen_vl.train --resume   # goes on where it was interrupted
    python -m starters.qwen_vl.train --part talking --start starters/qwen_vl/checkpoint   # learns more

First the vision tower learns to see what is at each place of a scene, and the decoder to answer questions
about scenes as they ought to be seen; then both together. Scenes are simple in the beginning, unless a
checkpoint is learnt on from.
"""

import argparse
import json
import logging
import math
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from models.qwen_vl.model import QwenVLConfig, QwenVLForCausalLM
from models.qwen_vl.tokenizer import FILE, PICTURE, SPECIAL
from models.qwen_vl.vision import Resampler
from models.qwen_vl.weights import load_model, register, translate
from starters.muon import Muon
from starters.qwen_vl import cells, matching, vocabulary
from starters.qwen_vl.data import HINTS, IGNORED, IMAGE_SIZE, Batch, Looks, Talks, Writer, scenes, talks

log = logging.getLogger(__name__)
HERE = Path(__file__).parent
VOCABULARY = 1280
RANKS = VOCABULARY - len(SPECIAL)
NOISE = 0.4  # standard deviation of what is added to ideal features
# Which layer of the decoder, from 0, should know what.
COUNTED = 2
HINTED = {"side": 3, "sort": 3, "bar": 3, "number": 4, "region": 1}
SECOND = 10_000_000  # first seed of the dialogues about drawn pictures
CONFIG: dict[str, Any] = {
    "architectures": ["QWenLMHeadModel"],
    "model_type": "qwen",
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "kv_channels": 64,
    "layer_norm_epsilon": 1e-6,
    "initializer_range": 0.02,
    "max_position_embeddings": 2048,
    "seq_length": 2048,
    "no_bias": True,
    "rotary_emb_base": 1_000_000,  # far apart, things of one kind still match
    "rotary_pct": 1.0,
    "scale_attn_weights": True,
    "tie_word_embeddings": False,
    "tokenizer_type": "QWenTokenizer",
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_dynamic_ntk": True,
    "use_logn_attn": True,
    "bf16": True,
    "fp16": False,
    "fp32": False,
    "visual": {
        "image_size": IMAGE_SIZE,
        "patch_size": 12,
        "width": 192,
        "layers": 4,
        "heads": 3,
        "mlp_ratio": 4.0,
        "output_dim": 256,
        "image_start_id": RANKS + SPECIAL.index(PICTURE),
    },
}
GENERATION = {
    "chat_format": "chatml",
    "do_sample": False,
    "eos_token_id": RANKS,
    "pad_token_id": RANKS,
    "max_new_tokens": 512,
    "max_window_size": 700,
}


def look_at_own_place(resampler: Resampler, sharpness: float = 4) -> None:
    """Start each query of the resampler at the patches of its own place.

    Where to look is otherwise most of what a short training learns. A quarter of the channels, those of the
    quickest sines, is left to positions; the other three take over the tower's channels as they are.
    """
    channels = len(resampler.ln_q.weight)
    quick = torch.cat([torch.arange(channels // 16) + channels // 4 * part for part in range(4)])
    others = torch.tensor(sorted(set(range(channels)) - set(quick.tolist())))
    heads, projection = resampler.attn.num_heads, resampler.kv_proj
    assert isinstance(projection, nn.Linear)  # the tower is narrower than what it hands on
    with torch.no_grad():
        resampler.ln_q.weight.zero_()
        projection.weight.zero_()
        projection.weight[others] = torch.eye(len(others), projection.in_features)
        matrix = resampler.attn.in_proj_weight.view(3, heads, -1, channels)
        matrix[:2] *= 0.1
        matrix[:2, :, : len(quick)] = sharpness * F.one_hot(quick, channels)
        matrix[2] = torch.eye(channels).view(heads, -1, channels)
        nn.init.orthogonal_(resampler.attn.out_proj.weight)


def build() -> QwenVLForCausalLM:
    """The model before its training, in float32."""
    torch.manual_seed(0)
    model = QwenVLForCausalLM(QwenVLConfig(**{**translate(CONFIG), "dtype": "float32"}))
    look_at_own_place(model.model.visual.attn_pool)
    model.model.visual.proj.data *= cells.LOUD
    return model


def learnable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def optimizers(model: QwenVLForCausalLM, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices that map features to features, AdamW for the rest."""
    layers = [*model.model.layers, model.model.visual.transformer, model.model.visual.attn_pool]
    query = model.model.visual.attn_pool.query
    inner = chain.from_iterable(map(learnable, layers))
    matrices = [parameter for parameter in inner if parameter.ndim == 2 and parameter is not query]
    taken = set(map(id, matrices))
    others = [parameter for parameter in learnable(model) if id(parameter) not in taken]
    words = model.model.embed_tokens.weight  # as large as LOUD makes them
    groups = [
        {"params": [weight for weight in others if weight is not words], "lr": rate / 4},
        {"params": [words], "lr": rate},
    ]
    made = [Muon(matrices, rate), torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)]
    for group in chain.from_iterable(optimizer.param_groups for optimizer in made):
        group["highest"] = group["lr"]
    return made


def visible(turns: Tensor) -> Tensor:
    """Which tokens each token may see, (rows, 1, length, length): pictures, and what its own turn has said.

    What others have said of a picture would tell more easily than the picture itself.
    """
    before, own = turns[:, None, None, :], turns[:, None, :, None]
    return ((before == 0) | (before == own)).tril()


def answers_loss(model: QwenVLForCausalLM, batch: Batch, features: Tensor | None, apart: bool) -> Tensor:
    """Cross entropy of the answers, the pictures' features given. `apart`: as `visible`."""
    mask = visible(batch.turns) if apart else None
    hidden = model.model(batch.ids, mask, mm_encoder_outputs=features, use_cache=False).last_hidden_state
    targets = batch.labels[:, 1:]
    learnt = targets != IGNORED
    return F.cross_entropy(model.lm_head(hidden[:, :-1][learnt]), targets[learnt])


class Output:
    """What a layer of the decoder said last, normalised, (rows, length, hidden)."""

    def __init__(self, layer: nn.Module) -> None:
        self.last = torch.empty(0)
        layer.register_forward_hook(self.keep)

    def keep(self, _layer: nn.Module, _inputs: Any, hidden: Tensor) -> None:
        self.last = F.rms_norm(hidden.float(), hidden.shape[-1:])


class Counting:
    """Tells from the output of a layer of the decoder how well it counts.

    To name things, or letters, one after the other the decoder has to know which is the next: that of the next
    rank. Asked for the ranks, in channels of their own, it learns them long before answers alone would teach
    it.
    """

    def __init__(self, model: QwenVLForCausalLM, output: Output) -> None:
        self.model, self.output = model.model, output

    def loss(self, batch: Batch) -> Tensor:
        """Cross entropy of the ranks in the last batch that the model has seen."""
        # No rank is likeliest where all of their channels are below 0.
        said = F.pad(self.output.last[..., matching.RANK], (1, 0))
        rows, columns = self.model.places(batch.ids, len(batch.codes))
        places = columns[:, None] + torch.arange(1, batch.codes.shape[1] + 1)
        ranks = cells.ranks(batch.codes)
        wrong = F.cross_entropy(said[rows[:, None], places].flatten(0, 1), ranks.flatten(), reduction="none")
        spelt = (batch.spelt != IGNORED) & (batch.spelt <= cells.RANKS)
        total = cells.even(wrong, ranks.flatten() > 0)
        return total + F.cross_entropy(said[spelt], batch.spelt[spelt]) if spelt.any() else total


class Hinting:
    """Tells from the output of a layer of the decoder whether it knows what the next token is about.

    Words and digits say little of where to look: a digit of a box depends on which side is being written and
    on where that is, a number of things on which are about to be named. Asked for these, in random directions,
    the decoder learns to look them up long before answers alone would teach it.

    Args:
        hint: a key of HINTS.
    """

    def __init__(self, hint: str, output: Output, width: int) -> None:
        self.hint, self.output = hint, output
        chance = torch.Generator().manual_seed(list(HINTS).index(hint))
        self.directions = nn.init.orthogonal_(torch.empty(width, sum(HINTS[hint])), generator=chance)

    def loss(self, batch: Batch) -> Tensor:
        """Mean cross entropy of the hint's digits, where the last batch that the model has seen has it."""
        wanted, bases = batch.hints[self.hint][:, 1:], HINTS[self.hint]
        there = wanted != IGNORED
        said = torch.split_with_sizes(self.output.last[:, :-1][there] @ self.directions, bases, -1)
        wanted, total = wanted[there], torch.zeros(())
        if there.any():
            for part, base in zip(said[::-1], bases[::-1], strict=True):
                total = total + F.cross_entropy(part, wanted % base)
                wanted = wanted // base
        return total / len(bases)


class Course:
    """One part of the training, which can be interrupted.

    Args:
        options: the command line's.
        writer: of the dialogues.
    """

    name: str  # of the file that keeps it
    first_seed = 0
    height = 1.0  # of the learning rate
    joined = False  # in every other step turns see each other, as in a conversation
    holding = 0.0  # the part of the steps that leave alone what is set in the beginning

    def __init__(self, options: argparse.Namespace, writer: Writer) -> None:
        self.options, self.writer = options, writer
        self.model = build()
        self.held: list[tuple[Tensor, Tensor, Tensor]] = []
        if options.start:
            self.model.load_state_dict(load_model(options.start, torch.float32).state_dict())
        else:
            matching.prepare(self.model, writer.tokenizer)
            self.held = [(weight, mask, weight[mask].detach()) for weight, mask in matching.held(self.model)]
        outputs = list(map(Output, self.model.model.layers))
        self.counting = Counting(self.model, outputs[COUNTED])
        width = self.model.config.hidden_size
        self.hinting = {hint: Hinting(hint, outputs[layer], width) for hint, layer in HINTED.items()}
        self.parameters = learnable(self.model)
        self.optimizers = optimizers(self.model, options.rate)
        self.steps: int = getattr(options, self.name)
        self.done = 0
        self.kept = options.work / f"{self.name}.pt"
        if options.resume and self.kept.exists():
            self.load()

    def load(self) -> None:
        state = torch.load(self.kept, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self.done = state["done"]

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "done": self.done,
        }
        half = self.kept.with_suffix(".part")
        torch.save(state, half)
        half.replace(self.kept)

    def seeds(self, size: int) -> range:
        """Those of the steps that are left, `size` a step."""
        first = self.first_seed + self.options.after * size
        return range(first + self.done * size, first + self.steps * size)

    def batches(self) -> Iterator[Any]:
        """Those of the steps that are left."""
        raise NotImplementedError

    def losses(self, batch: Any) -> dict[str, Tensor]:
        """To be added up."""
        raise NotImplementedError

    def run(self) -> None:
        """All steps that are left; the rate rises quickly to `height` and falls slowly to a fiftieth."""
        began, first = time.monotonic(), self.done
        sums: Counter[str] = Counter()
        for batch in self.batches():
            gone = self.done / self.steps
            rate = self.height * min(1, 30 * gone + 0.01) * (0.02 + 0.49 * (1 + math.cos(math.pi * gone)))
            for group in chain.from_iterable(optimizer.param_groups for optimizer in self.optimizers):
                group["lr"] = group["highest"] * rate
            with torch.autocast("cpu", torch.bfloat16, enabled=self.options.bfloat16):
                sums.update(self.step(self.losses(batch)))
            self.done += 1
            if self.done % 20 == 0:
                seconds = (time.monotonic() - began) / (self.done - first)
                figures = " ".join(f"{name} {total / 20:.4f}" for name, total in sums.items())
                log.info("%s %d of %d: %s %.2f s/step", self.name, self.done, self.steps, figures, seconds)
                sums.clear()
            if self.done % 100 == 0:
                self.save()
        self.save()

    def step(self, losses: dict[str, Tensor]) -> dict[str, float]:
        self.model.zero_grad()
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        if self.done < self.holding * self.steps:
            with torch.no_grad():
                for weight, mask, values in self.held:
                    weight[mask] = values
        return {name: loss.item() for name, loss in losses.items()}

    def told(self, batch: Batch, features: Tensor | None) -> dict[str, Tensor]:
        """What a batch of dialogues teaches the decoder."""
        apart = not (self.joined and self.done % 2)
        losses = {"answers": answers_loss(self.model, batch, features, apart)}
        if features is not None:
            losses["counting"] = 0.3 * self.counting.loss(batch)
        return losses | {name: 0.6 * hinting.loss(batch) for name, hinting in self.hinting.items()}


class Looking(Course):
    """The vision tower alone."""

    name = "looking"

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        size = 2 * self.options.batch
        data = Looks(self.seeds(size))
        yield from DataLoader(data, size, collate_fn=scenes, num_workers=1, prefetch_factor=4)

    def losses(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        return {"seeing": cells.loss(self.model.model.visual(batch[0]), batch[1])}


class Talking(Course):
    """The decoder alone, with features nearly as they ought to be."""

    name, draw, holding = "talking", False, 0.6

    def batches(self) -> Iterator[Batch]:
        size = self.options.batch
        easy = 0 if self.options.start else self.steps * size // 4
        data = Talks(self.writer, self.seeds(size), size, easy, self.options.limit)
        collate = partial(talks, draw=self.draw)
        yield from DataLoader(data, size, collate_fn=collate, num_workers=1, prefetch_factor=4)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        if not len(batch.codes):
            return self.told(batch, None)
        features = cells.ideal(batch.codes, CONFIG["hidden_size"])
        return self.told(batch, features + NOISE * torch.randn_like(features))


class Together(Talking):
    """Tower and decoder, each as its own part of the training left it."""

    name, first_seed, draw, holding, height, joined = "together", SECOND, True, 0.0, 0.3, True

    def __init__(self, options: argparse.Namespace, writer: Writer) -> None:
        super().__init__(options, writer)
        if not self.done and not options.start:
            for part in (Looking, Talking):
                state = torch.load(options.work / f"{part.name}.pt", weights_only=True)
                seen = {name: part is Looking for name in state["model"] if ".visual." in name}
                wanted = {n: t for n, t in state["model"].items() if seen.get(n, part is Talking)}
                self.model.load_state_dict(wanted, strict=False)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        if not len(batch.pixels):
            return self.told(batch, None)
        features = self.model.model.visual(batch.pixels)
        seeing = self.options.seeing * cells.loss(features, batch.codes)
        return self.told(batch, features) | {"seeing": seeing}


def export(model: QwenVLForCausalLM, folder: Path) -> None:
    """Write the files of an original checkpoint, in bfloat16."""
    register()
    model.bfloat16().save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n", "utf-8")
    (folder / "generation_config.json").write_text(json.dumps(GENERATION, indent=2) + "\n", "utf-8")


PARTS: dict[str, type[Course]] = {part.name: part for part in (Looking, Talking, Together)}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--looking", type=int, default=5000, help="steps of the vision tower alone")
    parser.add_argument("--talking", type=int, default=8000, help="steps of the decoder alone")
    parser.add_argument("--together", type=int, default=1000, help="steps of the whole model")
    parser.add_argument("--batch", type=int, default=8, help="dialogues per step")
    parser.add_argument("--limit", type=int, default=450, help="tokens of a dialogue beside its pictures")
    parser.add_argument("--rate", type=float, default=0.01, help="highest learning rate of the matrices")
    parser.add_argument(
        "--seeing", type=float, default=0.1, help="weight of what is seen beside what is said"
    )
    parser.add_argument("--part", choices=PARTS, help="only this one, with both threads")
    parser.add_argument(
        "--bfloat16", action="store_true", help="much faster, on processors that calculate in it"
    )
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--start", type=Path, help="checkpoint whose weights are learnt on from")
    parser.add_argument("--after", type=int, default=0, help="steps whose scenes that one has learnt from")
    parser.add_argument(
        "--work", type=Path, default=HERE / "course", help="folder of the unfinished training"
    )
    parser.add_argument("--output", type=Path, default=HERE / "checkpoint")
    return parser.parse_args()


def study(part: str, options: argparse.Namespace, threads: int = 1) -> Course:
    """One part, from where it was interrupted to its end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(threads)
    course = PARTS[part](options, Writer(options.output))
    course.run()
    return course


def main() -> None:
    options = arguments()
    for folder in (options.work, options.output):
        folder.mkdir(parents=True, exist_ok=True)
    words = options.output / FILE
    if not words.exists():
        tokens = vocabulary.learn(vocabulary.corpus(1500), RANKS)
        vocabulary.write(tokens, words)
    if options.part:
        course = study(options.part, options, threads=2)
        if options.start or options.part == Together.name:
            export(course.model, options.output)
        return
    side_by_side = [
        get_context("spawn").Process(target=study, args=(part, options)) for part in ("looking", "talking")
    ]
    for process in side_by_side:
        process.start()
    for process in side_by_side:
        process.join()
        if process.exitcode:
            raise SystemExit(f"A part of the training ended with {process.exitcode}.")
    export(study("together", options, threads=2).model, options.output)


if __name__ == "__main__":
    main()
