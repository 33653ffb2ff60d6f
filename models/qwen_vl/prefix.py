"""Which beginning of a prompt may be continued from the attention states of the last one."""

from collections.abc import Sequence

from transformers import Cache

from models.pretrained.generation import PrefixCache
from models.qwen_vl.model import QwenVLConfig, ntk_alpha
from models.qwen_vl.vision import Sizes


class QwenPrefixCache(PrefixCache):
    """Only states with the base that the whole prompt would have, and none from inside a picture."""

    def __init__(self, room: int, config: QwenVLConfig) -> None:
        super().__init__(room)
        self._config = config

    def _usable(self, cache: Cache, prompt: Sequence[int], common: int) -> int:
        if getattr(cache, "ntk_alpha", None) != ntk_alpha(self._config, len(prompt)):
            return 0
        if self._config.visual is None:
            return common
        sizes = Sizes.read(self._config.visual)
        length = sizes.n_queries + 2  # of a picture with its marks
        starts = (n for n in range(max(common - length + 1, 0), common) if prompt[n] == sizes.image_start_id)
        return next(starts, common)
