"""Train the small ChatGLM3 and write it in the original file format.

    python -m starters.chatglm3.train --out FOLDER

On two cores of a processor without bfloat16 this takes an hour. The folder then holds config.json,
tokenizer.model and float16 weights, as the makers publish them.
"""

import argparse
import copy
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR

from models.chatglm.tokenizer import ChatGLM3Tokenizer, load_tokenizer
from models.chatglm.weights import ChatGLM3Config, ChatGLM3ForCausalLM, load_model, register, translate
from starters.chatglm3.batches import Batch, batch
from starters.chatglm3.copying import prepare
from starters.chatglm3.vocabulary import PIECES, train_vocabulary
from starters.muon import Muon

# The keys of THUDM/chatglm3-6b, with small numbers.
CONFIG = {
    "_name_or_path": "quintet/chatglm3-tiny",
    "model_type": "chatglm",
    "architectures": ["ChatGLMModel"],
    "add_bias_linear": False,
    "add_qkv_bias": True,
    "apply_query_key_layer_scaling": True,
    "apply_residual_connection_post_layernorm": False,
    "attention_dropout": 0.0,
    "attention_softmax_in_fp32": True,
    "bias_dropout_fusion": True,
    "ffn_hidden_size": 640,
    "fp32_residual_connection": False,
    "hidden_dropout": 0.0,
    "hidden_size": 256,
    "kv_channels": 64,
    "layernorm_epsilon": 1e-05,
    "multi_query_attention": True,
    "multi_query_group_num": 2,
    "num_attention_heads": 4,
    "num_layers": 4,
    "original_rope": True,
    "padded_vocab_size": -(-(PIECES + 9) // 64) * 64,
    "post_layer_norm": True,
    "rmsnorm": True,
    "seq_length": 1024,
    "use_cache": True,
    "torch_dtype": "float16",
    "tie_word_embeddings": False,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
# Tokens of each mode in one step: tools in every step, the others in turn.
_TURNS = (
    (("tool", 1800), ("code", 1200)),
    (("tool", 1800), ("chat", 1200)),
    (("tool", 1800), ("code", 1200)),
    (("tool", 1800), ("some tools", 1200)),
)
_WARMUP = 30


def train(folder: Path, model: Any, tokenizer: ChatGLM3Tokenizer, steps: int, rate: float, seed: int) -> None:
    """Train `model` in place; every 250 steps what is there is written to `folder`."""
    random = Random(seed)
    optimizers = make_optimizers(model, rate)
    schedulers = [LambdaLR(each, lambda step: _schedule(step, steps)) for each in optimizers]
    started, mean = time.monotonic(), 0.0
    for step in range(steps):
        batches = [batch(random, tokenizer, mode, size) for mode, size in _TURNS[step % len(_TURNS)]]
        loss = learn(model, batches)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
            optimizer.step()
            scheduler.step()
        model.zero_grad()
        mean = loss if not step else 0.98 * mean + 0.02 * loss
        if step % 50 == 0:
            print(f"step {step} loss {mean:.4f} seconds {time.monotonic() - started:.0f}", flush=True)
        if step % 250 == 249:
            save(folder, model)
    save(folder, model)


def make_optimizers(model: Any, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside, AdamW for embeddings, head, norms and biases."""
    inside = [weight for name, weight in model.named_parameters() if weight.dim() > 1 and ".layers." in name]
    rest = [
        weight for name, weight in model.named_parameters() if weight.dim() == 1 or ".layers." not in name
    ]
    return [Muon(inside, lr=rate), torch.optim.AdamW(rest, lr=rate / 5, betas=(0.9, 0.98), weight_decay=0.0)]


def _schedule(step: int, steps: int) -> float:
    """A short rise, then half a cosine down to a fiftieth."""
    if step < _WARMUP:
        return (step + 1) / _WARMUP
    return 0.02 + 0.98 * (1 + math.cos(math.pi * (step - _WARMUP) / max(1, steps - _WARMUP))) / 2


def learn(model: Any, batches: Sequence[Batch]) -> float:
    """Add the gradients of the mean loss of all tokens to learn; that loss."""
    tokens = sum(int(each.learned.sum()) for each in batches)
    total = 0.0
    for each in batches:
        loss = _loss(model, each) / tokens
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return total


def _loss(model: Any, given: Batch) -> Tensor:
    """The sum of the losses of the tokens to learn; the system prompt is read once for all rows."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    model.model(input_ids=given.prefix, past_key_values=cache, use_cache=True)
    cache.batch_repeat_interleave(len(given.ids))
    states = model.model(input_ids=given.ids[:, :-1], past_key_values=cache, use_cache=True).last_hidden_state
    learned = given.learned[:, 1:]
    return cross_entropy(model.lm_head(states[learned]), given.ids[:, 1:][learned], reduction="sum")


def save(folder: Path, model: Any) -> None:
    """Write float16 weights, which get their original names again, and the original config.json."""
    copy.deepcopy(model).half().save_pretrained(folder)
    (folder / "generation_config.json").unlink()
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")


def begin(folder: Path, seed: int) -> Any:
    """A model that knows nothing but how to copy; its vocabulary is made in `folder`, or kept."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "tokenizer.model").exists():
        train_vocabulary(folder / "tokenizer.model", seed)
    torch.manual_seed(seed)
    model = ChatGLM3ForCausalLM(ChatGLM3Config(**translate(CONFIG) | {"dtype": torch.float32}))
    prepare(model)
    save(folder, model)
    return model


def main() -> None:
    """Train from the beginning, or go on from what a folder has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--rate", type=float, default=0.01, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--go-on", action="store_true", help="start from the weights in the folder")
    given = parser.parse_args()
    register()
    model = load_model(given.out, torch.float32) if given.go_on else begin(given.out, given.seed)
    tokenizer = cast(ChatGLM3Tokenizer, load_tokenizer(given.out))
    train(given.out, model.train(), tokenizer, given.steps, given.rate, given.seed)


if __name__ == "__main__":
    main()
