"""A tokenizer that knows some of its tokens by other names."""

import json
from collections.abc import Mapping

from tokenizers import Tokenizer


def rename_tokens(tokenizer: Tokenizer, names: Mapping[str, str]) -> Tokenizer:
    """A copy of `tokenizer` with new `names` for some of its tokens, so that no text but these calls for them."""
    written = json.loads(tokenizer.to_str())
    written["truncation"] = written["padding"] = None
    for token in written["added_tokens"]:
        token["content"] = names.get(token["content"], token["content"])
    model = written["model"]
    pieces = model["vocab"]
    if isinstance(pieces, dict):
        model["vocab"] = {names.get(piece, piece): number for piece, number in pieces.items()}
    else:  # Unigram: pieces with their scores
        model["vocab"] = [(names.get(piece, piece), score) for piece, score in pieces]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    if "merges" in model:
        model["merges"] = [merge for merge in model["merges"] if names.keys().isdisjoint(_merged(merge))]
    return Tokenizer.from_str(json.dumps(written))


def _merged(merge: str | list[str]) -> tuple[str, str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right, left + right
