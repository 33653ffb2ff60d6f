"""Contestants in processes of their own, which take turns on the same work.

In one process the thread pools of two libraries would get in each other's way; and taking turns gives
both their share of whatever else the machine does.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

Job = dict[str, Any]


class Contestant:
    """A process `python -m MODULE --contestant NAME` that answers one line of JSON with another."""

    def __init__(self, module: str, name: str) -> None:
        command = [sys.executable, "-m", module, "--contestant", name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, job: Job) -> Job:
        assert self._process.stdin and self._process.stdout
        print(json.dumps(job), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit("a contestant ended early: its error is above")
        return dict(json.loads(answer))

    def end(self) -> None:
        self._process.communicate()


def compete(work: Callable[[Job], Job]) -> None:
    """The contestant's side: do every job that comes in."""
    for line in sys.stdin:
        print(json.dumps(work(json.loads(line))), flush=True)


def alternate(module: str, peer: str, jobs: list[list[Job]]) -> dict[str, list[list[Job]]]:
    """Both sides' answers to rounds of jobs; who begins changes with the round, the first only warms up."""
    sides = {side: Contestant(module, f"{side}:{peer}") for side in ("quintet", "bare")}
    answers: dict[str, list[list[Job]]] = {side: [] for side in sides}
    for number, round_ in enumerate(jobs):
        for side in sorted(sides, reverse=bool(number % 2)):
            answers[side].append([sides[side].run(job) for job in round_])
    for contestant in sides.values():
        contestant.end()
    return {side: rounds[1:] for side, rounds in answers.items()}
