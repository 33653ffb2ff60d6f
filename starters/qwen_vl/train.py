"""Trains the small Qwen-VL that knows drawn scenes, and writes it as the original's files.

    python -m starters.qwen_vl.train            # some hours on two cores that calculate in bfloat16
    python -m starters.qwen_vl.train --resume   # goes on where it was interrupted

First the vision tower learns to see what is at each place of a scene, and the decoder to answer questions
about scenes as they ought to be seen; then both together. Scenes are simple in the beginning.
"""

import argparse
import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from models.qwen_vl.model import QwenVLConfig, QwenVLForCausalLM
from models.qwen_vl.tokenizer import FILE, PICTURE, SPECIAL
from models.qwen_vl.vision import Resampler
from models.qwen_vl.weights import register, translate
from starters.muon import Muon
from starters.qwen_vl import cells, vocabulary
from starters.qwen_vl.data import IGNORED, IMAGE_SIZE, Batch, Looks, Talks, Writer, scenes, talks

log = logging.getLogger(__name__)
HERE = Path(__file__).parent
VOCABULARY = 1280
RANKS = VOCABULARY - len(SPECIAL)
NOISE = 0.1  # standard deviation of what is added to ideal features
SECOND = 10_000_000  # first seed of the dialogues about drawn pictures
CONFIG: dict[str, Any] = {
    "architectures": ["QWenLMHeadModel"],
    "model_type": "qwen",
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "kv_channels": 64,
    "layer_norm_epsilon": 1e-6,
    "initializer_range": 0.02,
    "max_position_embeddings": 8192,
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
    "max_window_size": 1500,
}


def look_at_own_place(resampler: Resampler, sharpness: float = 4) -> None:
    """Start each query of the resampler at the patches of its own place.

    Where to look is otherwise most of what a short training learns. A quarter of the channels, those of the
    quickest sines, is left to positions; the other three take over the tower's channels as they are.
    """
    channels = len(resampler.ln_q.weight)
    quick = torch.cat([torch.arange(channels // 16) + channels // 4 * part for part in range(4)])
    others = torch.tensor(sorted(set(range(channels)) - set(quick.tolist())))
    heads = resampler.attn.num_heads
    with torch.no_grad():
        resampler.ln_q.weight.zero_()
        resampler.kv_proj.weight.zero_()
        resampler.kv_proj.weight[others] = torch.eye(len(others), resampler.kv_proj.in_features)
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
    made = [Muon(matrices, rate), torch.optim.AdamW(others, rate / 4, betas=(0.9, 0.98), weight_decay=0.0)]
    for group in chain.from_iterable(optimizer.param_groups for optimizer in made):
        group["highest"] = group["lr"]
    return made


def answers_loss(model: QwenVLForCausalLM, batch: Batch, features: Tensor | None) -> Tensor:
    """Cross entropy of the answers, the pictures' features given."""
    hidden = model.model(batch.ids, mm_encoder_outputs=features, use_cache=False).last_hidden_state
    targets = batch.labels[:, 1:]
    learnt = targets != IGNORED
    return F.cross_entropy(model.lm_head(hidden[:, :-1][learnt]), targets[learnt])


class Course:
    """A training that can be interrupted.

    Args:
        options: the command line's.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.model = build()
        self.parameters = learnable(self.model)
        self.optimizers = optimizers(self.model, options.rate)
        self.done = 0  # steps
        self.kept = options.work / "course.pt"
        if options.resume:
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

    def run(self, writer: Writer) -> None:
        """All steps that are left of the three parts."""
        options, start = self.options, 0
        size = options.batch
        parts = (
            (options.looking, partial(look_batches, 4 * size), self.look, 1.0),
            (options.talking, partial(talk_batches, writer, size, options.limit, False), self.talk, 1.0),
            (options.together, partial(talk_batches, writer, size, options.limit, True), self.both, 0.4),
        )
        for steps, batches, losses, height in parts:
            if self.done < start + steps:
                self.part(batches(self.done - start, steps), losses, start, steps, height)
            start += steps

    def part(
        self,
        batches: Iterator[Any],
        losses: Callable[[Any], tuple[Tensor, Tensor]],
        start: int,
        steps: int,
        height: float,
    ) -> None:
        """Steps of one kind; the rate rises quickly to `height` and falls slowly to a twentieth."""
        began, first = time.monotonic(), self.done
        sums = torch.zeros(2)
        for batch in batches:
            gone = (self.done - start) / steps
            rate = height * min(1, 30 * gone + 0.01) * (0.05 + 0.475 * (1 + math.cos(math.pi * gone)))
            for group in chain.from_iterable(optimizer.param_groups for optimizer in self.optimizers):
                group["lr"] = group["highest"] * rate
            with torch.autocast("cpu", torch.bfloat16, enabled=self.options.bfloat16):
                sums += self.step(losses(batch))
            self.done += 1
            if self.done % 20 == 0:
                seconds = (time.monotonic() - began) / (self.done - first)
                answers, seeing = (sums / 20).tolist()
                log.info("%d answers %.4f seeing %.3f %.2f s/step", self.done, answers, seeing, seconds)
                sums.zero_()
            if self.done % 100 == 0:
                self.save()
        self.save()

    def step(self, losses: tuple[Tensor, Tensor]) -> Tensor:
        answers, seeing = losses
        self.model.zero_grad()
        (answers + self.options.seeing * seeing).backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        return torch.stack([answers, seeing]).detach()

    def look(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return torch.zeros(()), cells.loss(self.model.model.visual(batch[0]), batch[1])

    def talk(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """With features as they ought to be, nearly."""
        features = cells.ideal(batch.codes, CONFIG["hidden_size"]) if len(batch.codes) else None
        if features is not None:
            features += NOISE * torch.randn_like(features)
        return answers_loss(self.model, batch, features), torch.zeros(())

    def both(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if not len(batch.pixels):
            return answers_loss(self.model, batch, None), torch.zeros(())
        features = self.model.model.visual(batch.pixels)
        return answers_loss(self.model, batch, features), cells.loss(features, batch.codes)


def look_batches(size: int, done: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    data = Looks(range(done * size, steps * size), easy=steps * size // 3)
    yield from DataLoader(data, size, collate_fn=scenes, num_workers=1, prefetch_factor=4)


def talk_batches(writer: Writer, size: int, limit: int, draw: bool, done: int, steps: int) -> Iterator[Batch]:
    seeds = range(done * size, steps * size)
    if draw:  # others than those of the part before
        seeds = range(seeds.start + SECOND, seeds.stop + SECOND)
    data = Talks(writer, seeds, size, easy=steps * size // 4, limit=limit)
    yield from DataLoader(data, size, collate_fn=partial(talks, draw=draw), num_workers=1, prefetch_factor=4)


def export(model: QwenVLForCausalLM, folder: Path) -> None:
    """Write the files of an original checkpoint, in bfloat16."""
    register()
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n", "utf-8")
    (folder / "generation_config.json").write_text(json.dumps(GENERATION, indent=2) + "\n", "utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--looking", type=int, default=2400, help="steps of the vision tower alone")
    parser.add_argument("--talking", type=int, default=6000, help="steps of the decoder alone")
    parser.add_argument("--together", type=int, default=600, help="steps of the whole model")
    parser.add_argument("--batch", type=int, default=8, help="dialogues per step")
    parser.add_argument("--limit", type=int, default=380, help="tokens of a dialogue beside its pictures")
    parser.add_argument("--rate", type=float, default=0.01, help="highest learning rate of the matrices")
    parser.add_argument(
        "--seeing", type=float, default=0.1, help="weight of what is seen beside what is said"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--bfloat16", action="store_true", help="much faster, on processors that calculate in it"
    )
    parser.add_argument("--resume", action="store_true")
    parser.add_argument(
        "--work", type=Path, default=HERE / "course", help="folder of the unfinished training"
    )
    parser.add_argument("--output", type=Path, default=HERE / "checkpoint")
    return parser.parse_args()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = arguments()
    torch.set_num_threads(options.threads)
    for folder in (options.work, options.output):
        folder.mkdir(parents=True, exist_ok=True)
    words = options.output / FILE
    if not words.exists():
        tokens = vocabulary.learn(vocabulary.corpus(1500), RANKS)
        vocabulary.write(tokens, words)
    course = Course(options)
    course.run(Writer(options.output))
    export(course.model, options.output)


if __name__ == "__main__":
    main()
