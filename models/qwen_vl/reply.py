"""Answers of Qwen-VL as they are written: ids to text, with the tags of what it points at."""

from collections.abc import Sequence

from tokenizers.decoders import DecodeStream

from models.pretrained.generation import AnswerStream
from models.qwen_vl.tokenizer import TAGS, QwenTokenizer


class ReplyStream(AnswerStream):
    """The text of an answer without white space around it; that of a base model is as it comes.

    Args:
        stop: texts before which the answer ends.
        prompt_ids: the last ids of the text that is continued; None for a chat.
    """

    def __init__(
        self, tokenizer: QwenTokenizer, stop: Sequence[str] = (), prompt_ids: Sequence[int] | None = None
    ) -> None:
        super().__init__(stop)
        self._tokenizer = tokenizer.backend_tokenizer
        self._decoder = DecodeStream(ids=list(prompt_ids or ()), skip_special_tokens=False)
        self._hidden = {token for name, token in tokenizer.special.items() if name not in TAGS}
        self._strips = prompt_ids is None
        self._started = False
        self._space = ""

    def _decode(self, token: int) -> str:
        text = "" if token in self._hidden else self._decoder.step(self._tokenizer, token) or ""
        return self._stripped(text) if self._strips else text

    def _stripped(self, text: str) -> str:
        """`text` without white space that may turn out to stand at an end."""
        text = self._space + text
        text = text if self._started else text.lstrip()
        shown = text.rstrip()
        self._space = text[len(shown) :]
        self._started = self._started or bool(shown)
        return shown
