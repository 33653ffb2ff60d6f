"""Answers held to a form: at each step only the tokens with which the text can still become JSON of its schema.

The grammar is llguidance's, which is also inside llama.cpp: every engine reads the same dialect of JSON Schema.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers.generation.logits_process import LogitsProcessor

from models.errors import BadInput, EngineFailed

# Else an answer may fill with white space inside the JSON until it is cut.
COMPACT = {"x-guidance": {"whitespace_flexible": False}}


class Grammars:
    """The grammars of one tokenizer, which is read when the first is asked for: that takes a second or two.

    Args:
        tokenizer: a fast one of the transformers library.
        rows: how many tokens the model gives logits for.
        end_ids: the ids that end an answer.
    """

    def __init__(self, tokenizer: Any, rows: int, end_ids: Sequence[int]) -> None:
        self._tokenizer, self._rows, self._end_ids = tokenizer, rows, list(end_ids)
        self._read: Any = None
        self._lock = threading.Lock()

    def hold(self, schema: Mapping[str, Any], before: str) -> "Held":
        """What holds one answer to a JSON schema.

        Args:
            before: a pattern of what comes before the JSON, as the model was taught to begin.

        Raises:
            BadInput: the schema is none, or says what no grammar can hold to.
        """
        from llguidance import LLMatcher

        grammar = f"start: BEFORE body\nBEFORE: /{before}/\nbody: %json {json.dumps({**schema, **COMPACT})}"
        matcher = LLMatcher(self._wrapped(), grammar, log_level=0)
        if matcher.is_error():
            reason = str(matcher.get_error()).strip().splitlines()[0][:160]
            raise BadInput(
                f"The schema of response_format cannot be held to ({reason}): simplify it.",
                f"无法按 response_format 的 schema 约束回答（{reason}）：请简化。",
            )
        return Held(matcher)

    def _wrapped(self) -> Any:
        from llguidance.hf import from_tokenizer

        with self._lock:
            if self._read is None:
                self._read = from_tokenizer(self._tokenizer, n_vocab=self._rows, eos_token=self._end_ids)
            return self._read


class Held(LogitsProcessor):
    """Leaves of the logits of one answer only those of tokens that its grammar allows."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher
        self._seen: int | None = None  # ids that have been looked at, the prompt's included

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """`input_ids`: (1, tokens); `scores`: (1, vocabulary) logits."""
        if self._seen is not None:
            self._matcher.consume_tokens(input_ids[0, self._seen :].tolist())
        self._seen = input_ids.shape[1]
        allowed = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8)
        if self._matcher.is_error():
            raise EngineFailed(
                "The answer could not be held to its response_format: simplify the schema.",
                "无法按 response_format 约束此回答：请简化 schema。",
            )
        forbidden = torch.ones(scores.shape[-1], dtype=torch.bool)
        forbidden[: len(allowed)] = allowed[: scores.shape[-1]] == 0
        return scores.masked_fill(forbidden.to(scores.device), -torch.inf)
