"""Qwen's tokenizer for the library, from its ``qwen.tiktoken``: the ids of the original.

The file has the bytes of each token in base64, and its rank (github.com/openai/tiktoken). A token is
merged of any two others that make its bytes, the lowest rank first. Special tokens follow the ranks.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from transformers import BatchEncoding, PreTrainedTokenizerFast

from models.chat.messages import begun_answer
from models.errors import CheckpointNotFound, UnsupportedCheckpoint
from models.pretrained.built_tokenizers import kept
from models.qwen_vl.prompt import Content, PromptPicture, format_messages
from models.schema import Messages

FILE = "qwen.tiktoken"
LAYOUT = 1  # raised when what is built here changes
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
END, START, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# What text may say to point at a part of a picture, to models that see; all other special tokens stay text when typed.
TAGS = ("<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>")
PICTURE, PICTURE_END, PAD = "<img>", "</img>", "<imgpad>"
SPECIAL = (END, START, STOP, *(f"<|extra_{n}|>" for n in range(205)), *TAGS, PICTURE, PICTURE_END, PAD)
_TAG = re.compile(f"({'|'.join(TAGS)})")


def read_ranks(path: Path) -> dict[bytes, int]:
    """The tokens of a tiktoken file. Raises UnsupportedCheckpoint."""
    try:
        lines = (line.split() for line in path.read_bytes().splitlines() if line)
        ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in lines}
    except (ValueError, binascii.Error) as error:
        raise _other_file(path) from error
    if sorted(ranks.values()) != list(range(len(ranks))) or len(ranks) < 256:
        raise _other_file(path)
    return ranks


def _other_file(path: Path) -> UnsupportedCheckpoint:
    return UnsupportedCheckpoint(
        f"{path.name} is damaged or not Qwen's tokenizer: fetch it again.",
        f"{path.name} 已损坏或不是 Qwen 的分词器：请重新下载。",
    )


def build(ranks: Mapping[bytes, int]) -> Tokenizer:
    """The tokenizer of tiktoken's ranks, special tokens included."""
    letters = _letters()
    names = {token: "".join(letters[byte] for byte in token) for token in ranks}
    merges = [
        (rank, ranks[left], (names[left], names[right]))
        for token, rank in ranks.items()
        for cut in range(1, len(token))
        if (left := token[:cut]) in ranks and (right := token[cut:]) in ranks
    ]
    merges.sort()
    vocab = {names[token]: rank for token, rank in ranks.items()}
    tokenizer = Tokenizer(BPE(vocab, [pair for *_, pair in merges], ignore_merges=True))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in SPECIAL])
    return tokenizer


def _letters() -> list[str]:
    """The letter that stands for each byte in GPT-2's vocabularies (github.com/openai/gpt-2)."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = iter(range(256, 512))
    return [chr(byte if byte in printable else next(hidden)) for byte in range(256)]


class QwenTokenizer(PreTrainedTokenizerFast):
    """Text never becomes ChatML or a picture, but `TAGS` in a message are tokens; padding is on the left.

    Args:
        queries: ids between the marks of a picture.
        chat: False for a base model, which only continues text.

    Attributes:
        tags: texts that are tokens; none for the first Qwen, which has not learnt them.
        stop_ids: ids that end an answer.
    """

    model_input_names = ["input_ids", "attention_mask"]

    def __init__(self, tokenizer: Tokenizer, queries: int = 256, chat: bool = True) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            tokenizer_object=tokenizer,
            eos_token=END,
            pad_token=END,
            padding_side="left",
            split_special_tokens=True,
            clean_up_tokenization_spaces=False,
            chat_template="{# models/qwen_vl/prompt.py #}" if chat else None,
        )
        self.queries = queries
        self.tags: tuple[str, ...] = TAGS
        first = tokenizer.get_vocab_size() - len(SPECIAL)
        special = {name: first + n for n, name in enumerate(SPECIAL)}
        self.special = special
        self.stop_ids = (special[END], special[START], special[STOP]) if chat else (special[END],)

    def content_ids(self, content: Content) -> list[int]:
        """The ids of texts with tags, and of pictures."""
        ids: list[int] = []
        for piece in content:
            ids += self._picture_ids(piece) if isinstance(piece, PromptPicture) else self._text_ids(piece)
        return ids

    def _text_ids(self, text: str) -> list[int]:
        ids: list[int] = []
        for piece in filter(None, _TAG.split(text) if self.tags else [text]):
            ids += [self.special[piece]] if piece in self.tags else self.encode(piece)
        return ids

    def _picture_ids(self, picture: PromptPicture) -> list[int]:
        """The original has the bytes of the picture's path between the marks, then padding. Here it is the
        digest of its file, so that two prompts are equal only with the same pictures."""
        inside = [*picture.digest[: self.queries]]
        inside += [self.special[PAD]] * (self.queries - len(inside))
        return [self.special[PICTURE], *inside, self.special[PICTURE_END]]

    def _decode(
        self,
        token_ids: int | list[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        start, end, inside = self.special[PICTURE], self.special[PICTURE_END], self.queries
        pictures = [n for n, token in enumerate(ids) if token == start and ids[n + inside + 1 :][:1] == [end]]
        for n in reversed(pictures):
            del ids[n + 1 : n + 1 + inside]
        return super()._decode(ids, skip_special_tokens, clean_up_tokenization_spaces, **kwargs)

    def apply_chat_template(  # type: ignore[override]  # no Jinja template, so none of its options
        self,
        conversation: Any,
        *,
        add_generation_prompt: bool = True,
        tokenize: bool = True,
        padding: bool | str = False,
        return_tensors: str | None = None,
        return_dict: bool = True,
        **kwargs: Any,
    ) -> Any:
        """The prompt of a conversation, or of several, with the ids of the original `chat()`.

        The arguments are the library's, but an answer is asked for unless told otherwise, and those for
        Jinja templates have no effect. As text, a picture is ``<img></img>``.
        """
        single = bool(conversation) and isinstance(conversation[0], Mapping)
        conversations = [conversation] if single else conversation
        if not tokenize:
            texts = [self._text(messages, add_generation_prompt) for messages in conversations]
            return texts[0] if single else texts
        ids = [self._ids(messages, add_generation_prompt) for messages in conversations]
        if single and return_tensors is None:
            encoded = BatchEncoding({"input_ids": ids[0], "attention_mask": [1] * len(ids[0])})
        else:
            encoded = self.pad({"input_ids": ids}, padding=padding, return_tensors=return_tensors)
        return encoded if return_dict else encoded["input_ids"]

    def _ids(self, messages: Messages, answer: bool) -> list[int]:
        start, stop, line = self.special[START], self.special[STOP], self.encode("\n")
        ids: list[int] = []
        for message in format_messages(messages):
            ids += [*(line if ids else ()), start, *self.encode(message.role), *line]
            ids += [*self.content_ids(message.content), stop]
        if answer and begun_answer(messages):
            return ids[:-1]
        return [*ids, *line, start, *self.encode("assistant"), *line] if answer else ids

    def _text(self, messages: Messages, answer: bool) -> str:
        made = [
            f"{START}{message.role}\n{''.join(map(str, message.content))}{STOP}"
            for message in format_messages(messages)
        ]
        if answer and begun_answer(messages):
            return "\n".join(made).removesuffix(STOP)
        return "\n".join([*made, f"{START}assistant\n"] if answer else made)


def load_tokenizer(
    folder: str | Path, queries: int = 256, chat: bool = True, cache: Path | None = None
) -> QwenTokenizer:
    """The tokenizer of a folder with Qwen's original files.

    Args:
        folder: with qwen.tiktoken.
        queries, chat: as for `QwenTokenizer`.
        cache: a folder that keeps what is built: the published vocabulary takes ten seconds.

    Raises:
        CheckpointNotFound: there is no such file.
        UnsupportedCheckpoint: it is another one.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise CheckpointNotFound(
            f"{path.parent.name} has no {path.name}: fetch this file of the checkpoint too.",
            f"{path.parent.name} 中没有 {path.name}：请同时下载检查点的这个文件。",
        )
    return QwenTokenizer(kept(path, lambda file: build(read_ranks(file)), LAYOUT, cache), queries, chat)
