"""What the fuzzers begin with, and so what they once found, holds without them."""

import pytest

from tests.fuzz.targets import TARGETS

SEEDS = [(name, seed) for name, (_, seeds) in TARGETS.items() for seed in seeds()]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("name", "seed"), SEEDS, ids=lambda value: str(value)[:30])
def test_a_seed_raises_nothing(name: str, seed: bytes) -> None:
    TARGETS[name][0](seed)
