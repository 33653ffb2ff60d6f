"""What the vision tower saw in the pictures at hand: each is looked at once, several together."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from models.pictures.reading import read_picture
from models.qwen_vl.model import QwenVLModel
from models.qwen_vl.pixels import pixels
from models.qwen_vl.prompt import PromptPicture

TOGETHER = 8  # pictures of one pass
KEPT = 64  # pictures whose features are remembered, 2 MB each at full size


class Features:
    """Features by picture, for one model that sees. `of` is called by one request at a time."""

    def __init__(self, model: QwenVLModel) -> None:
        if model.sizes is None:
            raise ValueError("a model of texts sees nothing")
        self._tower, self._size = model.visual, model.sizes.image_size
        self._seen: OrderedDict[bytes, Tensor] = OrderedDict()
        self._asked: dict[bytes, Tensor] = {}
        self._lock = threading.Lock()

    @contextmanager
    def asked(self, pictures: Sequence[PromptPicture]) -> Iterator[None]:
        """While a request waits, let the one before it look at its pictures too.

        Raises BadInput for a file that is no picture.
        """
        own = {p.digest: self._pixels(p) for p in pictures if p.digest not in self._seen}
        with self._lock:
            self._asked |= own
        try:
            yield
        finally:
            with self._lock:
                for digest in own:
                    self._asked.pop(digest, None)

    def of(self, pictures: Sequence[PromptPicture]) -> Tensor:
        """(pictures, n_queries, output_dim)."""
        missing = {p.digest: self._pixels(p) for p in pictures if p.digest not in self._seen}
        if missing:
            self._look(missing | self._company(missing))
        for picture in pictures:
            self._seen.move_to_end(picture.digest)
        found = torch.stack([self._seen[picture.digest] for picture in pictures])
        while len(self._seen) > KEPT:
            self._seen.popitem(last=False)
        return found

    def _pixels(self, picture: PromptPicture) -> Tensor:
        ready = self._asked.get(picture.digest)
        return pixels(read_picture(picture.data), self._size) if ready is None else ready

    def _company(self, missing: dict[bytes, Tensor]) -> dict[bytes, Tensor]:
        """Others' pictures that fill the last pass."""
        with self._lock:
            others = [d for d in self._asked if d not in self._seen and d not in missing]
            return {digest: self._asked[digest] for digest in others[: -len(missing) % TOGETHER]}

    @torch.no_grad()
    def _look(self, wanted: dict[bytes, Tensor]) -> None:
        digests = list(wanted)
        for start in range(0, len(digests), TOGETHER):
            batch = digests[start : start + TOGETHER]
            values = torch.stack([wanted[digest] for digest in batch])
            features = self._tower(values.to(self._tower.proj.device))
            self._seen.update(zip(batch, features, strict=True))
