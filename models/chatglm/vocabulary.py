"""ChatGLM's SentencePiece files as fast tokenizers, with the ids of the originals.

Special tokens have ids but no merges or scores that could ever produce them from text: what a person
types never becomes a role, a ``[gMASK]`` or a ``<sop>``.
"""

from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, normalizers
from tokenizers.models import BPE, Unigram
from tokenizers.processors import TemplateProcessing

from models.errors import UnsupportedCheckpoint

SPACE = "▁"
LAYOUT = 1  # raised when what is built here changes
NORMAL, UNKNOWN, CONTROL, USER, BYTE = 1, 2, 3, 4, 6  # SentencePiece's types of pieces
NEVER = -1e5  # a score with which a piece is never chosen

MASKS = ("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop")
ROLES = ("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")

FIRST_SPECIAL = ("[MASK]", "[gMASK]", "[sMASK]", "<unused_0>", "<sop>", "<eop>", "<ENC>", "<dBLOCK>")
TAB, NEWLINE = "<|tab|>", "<n>"
LONGEST_BLANK = 80
IMAGE_TOKENS = 20000  # ids in front of the text's in ChatGLM-6B's first files


def _blank(spaces: int) -> str:
    return f"<|blank_{spaces}|>"


# Tokens of ChatGLM-6B that stand for white space.
WHITE = {NEWLINE: "\n", TAB: "\t"} | {_blank(n): " " * n for n in range(LONGEST_BLANK, 1, -1)}


def read_pieces(path: Path) -> Any:
    """A SentencePiece model file as its protocol buffer.

    Raises UnsupportedCheckpoint for a tokenizer of another kind.
    """
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    model: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]  # made at run time
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise _other_tokenizer(path) from error
    if not model.pieces:
        raise _other_tokenizer(path)
    return model


def _other_tokenizer(path: Path) -> UnsupportedCheckpoint:
    return UnsupportedCheckpoint(
        f"{path.name} is not ChatGLM's tokenizer: GLM-4 and later models load from their -hf repositories, "
        "and anything else has to be fetched again.",
        f"{path.name} 不是 ChatGLM 的分词器：GLM-4 及更新的模型请使用其 -hf 仓库，否则请重新下载。",
    )


def build_bpe(model: Any) -> Tokenizer:
    """ChatGLM2's and ChatGLM3's tokenizer; the special tokens follow the pieces of the file."""
    pieces = {piece.piece: number for number, piece in enumerate(model.pieces)}
    scores = {piece.piece: piece.score for piece in model.pieces if piece.type == NORMAL}
    merges = [
        (-score, pieces[word[:cut]], pieces[word[cut:]], (word[:cut], word[cut:]))
        for word, score in scores.items()
        for cut in range(1, len(word))
        if word[:cut] in scores and word[cut:] in scores
    ]
    merges.sort()
    special = {}
    for name in (*MASKS, *ROLES):
        # A small vocabulary may hold "sop" as a word; then the token needs another name.
        special[name] = f"<{name}>" if name in pieces else name
    vocab = pieces | {name: len(pieces) + n for n, name in enumerate(special.values())}
    tokenizer = Tokenizer(
        BPE(vocab, [pair for *_, pair in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    start = [special["[gMASK]"], special["sop"]]
    tokenizer.post_processor = _template(tokenizer, [*start, "$A"], [*start, "$A", "$B", "</s>"])
    return tokenizer


def build_unigram(model: Any) -> Tokenizer:
    """ChatGLM-6B's tokenizer. The first files lack the special tokens, which its code then appended."""
    pieces = [(piece.piece, piece.score, piece.type) for piece in model.pieces]
    if FIRST_SPECIAL[0] not in {name for name, *_ in pieces}:
        blanks = [TAB, *(_blank(n) for n in range(2, LONGEST_BLANK + 1))]
        pieces = [
            *((f"<image_{n}>", 0.0, CONTROL) for n in range(IMAGE_TOKENS)),
            *pieces,
            *((name, 0.0, CONTROL) for name in FIRST_SPECIAL),
            *((name, 0.0, USER) for name in blanks),
            *((f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)),
        ]
    vocab = [(name, score if kind in (NORMAL, USER) else NEVER) for name, score, kind in pieces]
    unknown = next(number for number, (*_, kind) in enumerate(pieces) if kind == UNKNOWN)
    tokenizer = Tokenizer(Unigram(vocab, unk_id=unknown, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [
            *(normalizers.Replace(white, name) for name, white in WHITE.items()),  # longest runs first
            normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Replace(Regex("^ | $"), ""),  # not Strip, which takes more than spaces
            normalizers.Prepend(SPACE),
            normalizers.Replace(" ", SPACE),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
            *(decoders.Replace(name, white) for name, white in WHITE.items()),
        ]
    )
    end = ["[gMASK]", "<sop>"]
    tokenizer.post_processor = _template(tokenizer, ["$A", *end], ["$A", *end, "$B", "<eop>"])
    return tokenizer


def _template(tokenizer: Tokenizer, single: list[str], pair: list[str]) -> TemplateProcessing:
    names = {name for name in pair if not name.startswith("$")}
    return TemplateProcessing(
        single=single, pair=pair, special_tokens=[(name, tokenizer.token_to_id(name)) for name in names]
    )
