"""A model that writes what it is told to."""

from collections.abc import Sequence
from typing import Any


def dictate(model: Any, ids: Sequence[int]) -> None:
    """From now on the model's answers are these ids, then the last one for ever, whatever it is asked."""
    import torch

    head, at = model.get_output_embeddings(), iter(range(1 << 30))

    def say(layer: Any, inputs: Any, logits: Any) -> Any:
        said = torch.full_like(logits, -100.0)
        said[..., ids[min(next(at), len(ids) - 1)]] = 0.0
        return said

    head._forward_hooks.clear()
    head.register_forward_hook(say)
