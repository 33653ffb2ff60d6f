"""How often the small Qwen-VL is right about pictures that its training never saw.

    python -m starters.qwen_vl.evaluate --pictures 1000

Prints a table: answers that are right word for word, what captions name, and how boxes overlap.
"""

import argparse
import logging
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from models.qwen_vl import load
from models.qwen_vl.tokenizer import QwenTokenizer
from starters.qwen_vl.data import message, seen
from starters.qwen_vl.dialogues import LANGUAGES, WEIGHTS, Asker, Turn, compared, pair, told
from starters.qwen_vl.scenes import UNSEEN, make
from starters.qwen_vl.train import HERE

log = logging.getLogger(__name__)
BOX = re.compile(r"<box>\((\d+),(\d+)\),\((\d+),(\d+)\)</box>")
TASKS = [*(task for task in WEIGHTS if task not in ("hello", "nothing")), "compare"]

Thing = tuple[str, str]  # colour and kind, in English


class Answered(NamedTuple):
    turn: Turn
    answer: str


def things(text: str) -> Counter[Thing]:
    """How many of which things a sentence names."""
    found: Counter[Thing] = Counter()
    for named in told(text):
        found[named.colour, named.kind] += named.number
    return found


def boxes(text: str) -> list[tuple[int, ...]]:
    return [tuple(map(int, match)) for match in BOX.findall(text)]


def overlap(first: Sequence[int], second: Sequence[int]) -> float:
    """Intersection over union of two boxes."""
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(0, wide) * max(0, high)
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return shared / (area - shared) if area > shared else 0.0


# --- questions and answers -----------------------------------------------------------------------


def questions(pictures: int, tasks: Sequence[str] = TASKS) -> list[Turn]:
    """One question of each task that fits, about each picture; and one about every fourth pair."""
    asked = []
    for seed in range(UNSEEN, UNSEEN + pictures):
        scene, choose = make(seed), random.Random(seed)
        for task in tasks:
            speak = choose.choice(LANGUAGES)
            if task != "compare" and (turn := Asker(scene, speak, choose).ask(task)):
                asked.append(Turn(task, turn.question, turn.answer, (scene,)))
        if "compare" in tasks and seed % 4 == 0:
            both, speak = pair(seed), choose.choice(LANGUAGES)
            turn = compared([Asker(scene, speak, choose) for scene in both], "compare")
            if turn:
                asked.append(Turn("compare", turn.question, turn.answer, both))
    return asked


@torch.inference_mode()
def answers(model: Any, tokenizer: QwenTokenizer, asked: Sequence[Turn], batch: int) -> list[Answered]:
    """Greedy answers, each in a conversation of its own. Questions of about one length go together."""
    prompts = [tokenizer.apply_chat_template([message(turn, b"")])["input_ids"] for turn in asked]
    order = sorted(range(len(asked)), key=lambda n: len(prompts[n]))
    going_on = set(range(len(tokenizer))).difference(tokenizer.stop_ids).__contains__
    said: dict[int, str] = {}
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        given = tokenizer.pad({"input_ids": [prompts[n] for n in rows]}, return_tensors="pt")
        shown = torch.stack([seen(scene) for n in rows for scene in asked[n].pictures])
        made = model.generate(**given, pixel_values=shown, max_new_tokens=200, do_sample=False)
        for n, ids in zip(rows, made[:, given["input_ids"].shape[1] :].tolist(), strict=True):
            said[n] = str(tokenizer.decode(list(takewhile(going_on, ids))))
        log.info("%d of %d answered", start + len(rows), len(order))
    return [Answered(turn, said[n]) for n, turn in enumerate(asked)]


# --- what they are worth -------------------------------------------------------------------------


def share(values: Iterable[float]) -> str:
    numbers = list(values)
    return f"{100 * sum(numbers) / len(numbers):.1f} % of {len(numbers)}" if numbers else "none"


def named(answered: Sequence[Answered]) -> dict[str, str]:
    """Of the things in the pictures, those that captions name, with their colours and their numbers."""
    kinds, tints, counts = [], [], []
    for turn, answer in answered:
        true, said = things(turn.answer), things(answer)
        said_kinds = {kind for _, kind in said}
        for (tint, kind), count in true.items():
            kinds.append(kind in said_kinds)
            tints.append((tint, kind) in said)
            counts.append(said[tint, kind] == count)
    return {"kinds": share(kinds), "with colours": share(tints), "with counts": share(counts)}


def located(answered: Sequence[Answered]) -> dict[str, str]:
    """How the boxes of the answers overlap with the true ones, in the same order."""
    found = []
    for turn, answer in answered:
        true, said = boxes(turn.answer), boxes(answer)
        said += [(0, 0, 0, 0)] * (len(true) - len(said))
        found += [overlap(first, second) for first, second in zip(true, said, strict=False)]
    mean = sum(found) / max(1, len(found))
    return {"mean IoU": f"{mean:.3f}", "IoU > 0.5": share(value > 0.5 for value in found)}


def report(answered: Sequence[Answered]) -> str:
    """A Markdown table."""
    by_task = defaultdict(list)
    for one in answered:
        by_task[one.turn.task].append(one)
    lines = ["| task | right word for word | more |", "| --- | --- | --- |"]
    for task, group in by_task.items():
        more = {}
        if task in ("caption", "detail", "compare", "region"):
            more = named(group)
        elif task in ("find", "ground"):
            more = located(group)
        details = ", ".join(f"{name} {value}" for name, value in more.items())
        lines.append(f"| {task} | {share(turn.answer == answer for turn, answer in group)} | {details} |")
    return "\n".join(lines)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoint", type=Path, default=HERE / "checkpoint")
    parser.add_argument("--examples", type=int, default=0, help="wrong answers to show of each task")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, tokenizer = load(options.checkpoint, torch.float32)
    answered = answers(model, tokenizer, questions(options.pictures, options.tasks), options.batch)
    log.info("\n%s", report(answered))
    shown: Counter[str] = Counter()
    for turn, answer in answered:
        if answer != turn.answer and shown[turn.task] < options.examples:
            shown[turn.task] += 1
            log.info("%s | %s | true: %s | said: %s", turn.task, turn.question, turn.answer, answer)


if __name__ == "__main__":
    main()
