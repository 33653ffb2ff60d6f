"""Tokenizers of ChatGLM-6B, ChatGLM2 and ChatGLM3 for the library: prompts to ids, ids to text."""

import codecs
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import BatchEncoding, PreTrainedTokenizerFast

from models.chat.messages import begun_answer, without_begun
from models.chat.request import lift_tools
from models.chatglm import prompt
from models.chatglm.files import Generation, generation
from models.chatglm.vocabulary import (
    LAYOUT,
    MASKS,
    ROLES,
    SPACE,
    WHITE,
    build_bpe,
    build_unigram,
    read_pieces,
)
from models.errors import CheckpointNotFound
from models.pretrained.built_tokenizers import kept
from models.pretrained.loading import read_config
from models.schema import Messages

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_BAD_BYTE = re.compile("[\udc80-\udcff]")
UNKNOWN_TEXT = " ⁇ "  # what SentencePiece writes for <unk>


class Detokenizer:
    """Text from ids as they come, whole characters only; every bad byte becomes one U+FFFD.

    Args:
        tokenizer: says what each id stands for.
        eager: keep dropping leading spaces until there is text, not only the first one.
    """

    def __init__(self, tokenizer: "ChatGLMTokenizer", eager: bool = False) -> None:
        self._tokenizer = tokenizer
        self._eager = eager
        self._started = False
        self._utf8 = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def feed(self, ids: Iterable[int], last: bool = False) -> str:
        """The text that became certain; with `last`, also what stays incomplete."""
        text = self._utf8.decode(b"".join(map(self._bytes, ids)), last)
        return _BAD_BYTE.sub("\ufffd", text)

    def _bytes(self, token: int) -> bytes:
        piece = self._tokenizer.piece_bytes(token)
        if self._started or not piece:
            return piece
        piece = piece[1:] if self._tokenizer.piece(token).startswith(SPACE) else piece
        self._started = bool(piece) or not self._eager
        return piece


class ChatGLMTokenizer(PreTrainedTokenizerFast):
    """What the generations share. Text never becomes a special token; padding is on the left.

    Attributes:
        generation: whose prompts `apply_chat_template` writes.
        stop_ids: ids that end an answer.
    """

    model_input_names = ["input_ids", "attention_mask"]
    generation: Generation
    stop_ids: tuple[int, ...]
    hidden: frozenset[str]
    white: Mapping[str, str] = {}
    eager = False

    def __init__(self, tokenizer: Tokenizer, chat: bool, **special: str) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            tokenizer_object=tokenizer,
            padding_side="left",
            split_special_tokens=True,
            clean_up_tokenization_spaces=False,
            chat_template="{# models/chatglm/prompt.py #}" if chat else None,
            **special,
        )

    def piece(self, token: int) -> str:
        """The piece of an id; empty for ids that no text has."""
        piece: str | None = self.backend_tokenizer.id_to_token(int(token))
        return piece or ""

    def piece_bytes(self, token: int) -> bytes:
        """The UTF-8 bytes that an id adds to a text; none for control tokens."""
        piece = self.piece(token)
        if piece in self.hidden:
            return b""
        if found := _BYTE.fullmatch(piece):
            return bytes([int(found[1], 16)])
        return (self.white.get(piece) or piece.replace(SPACE, " ")).encode()

    def detokenizer(self) -> Detokenizer:
        """For an answer that is shown while it is written."""
        return Detokenizer(self, self.eager)

    def _decode(
        self,
        token_ids: int | list[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else token_ids
        return self.detokenizer().feed(ids, last=True)

    def segments(
        self, messages: Messages, tools: Sequence[Mapping[str, Any]] | None, answer: bool
    ) -> list[int | str]:
        """A prompt as ids of special tokens and texts, each text to be encoded on its own. An answer that is asked for
        goes on with what is there of it."""
        raise NotImplementedError

    def apply_chat_template(  # type: ignore[override]  # no Jinja template, so none of its options
        self,
        conversation: Any,
        tools: Sequence[Mapping[str, Any]] | None = None,
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
        Jinja templates have no effect.
        """
        single = bool(conversation) and isinstance(conversation[0], Mapping)
        conversations = [conversation] if single else conversation
        made = [self.segments(messages, tools, add_generation_prompt) for messages in conversations]
        if not tokenize:
            texts = ["".join(map(self._shown, segments)) for segments in made]
            return texts[0] if single else texts
        ids = [self._ids(segments) for segments in made]
        if single and return_tensors is None:
            encoded = BatchEncoding({"input_ids": ids[0], "attention_mask": [1] * len(ids[0])})
        else:
            encoded = self.pad({"input_ids": ids}, padding=padding, return_tensors=return_tensors)
        return encoded if return_dict else encoded["input_ids"]

    def _ids(self, segments: Iterable[int | str]) -> list[int]:
        ids: list[int] = []
        for segment in segments:
            ids += [segment] if isinstance(segment, int) else self.encode(segment, add_special_tokens=False)
        return ids

    def _shown(self, segment: int | str) -> str:
        return segment if isinstance(segment, str) else self.piece(segment)


class ChatGLM3Tokenizer(ChatGLMTokenizer):
    """ChatGLM3's, and with another prompt ChatGLM2's. `chat` is False for a base model."""

    hidden = frozenset({"<unk>", "<s>", "</s>"})

    def __init__(self, tokenizer: Tokenizer, generation: Generation = "chatglm3", chat: bool = True) -> None:
        super().__init__(
            tokenizer, chat, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>"
        )
        self.generation = generation
        count = len(MASKS) + len(ROLES)
        # The special tokens are the last ones, whatever they had to be called.
        names = dict(zip((*MASKS, *ROLES), range(len(self) - count, len(self)), strict=True))
        self.start = [names["[gMASK]"], names["sop"]]
        self.roles = {name.strip("<|>"): names[name] for name in ROLES}
        # A new turn ends an answer; "<|assistant|>" does not, it stands between a text and a call.
        turns_end = (self.roles["user"], self.roles["observation"]) if generation == "chatglm3" else ()
        self.stop_ids = (self.eos_token_id, *turns_end)

    def segments(
        self, messages: Messages, tools: Sequence[Mapping[str, Any]] | None, answer: bool
    ) -> list[int | str]:
        begun = begun_answer(messages)
        if self.generation == "chatglm2":
            return [*self.start, prompt.format_rounds(without_begun(messages), second=True) + begun]
        made: list[int | str] = list(self.start)
        messages, listed = lift_tools(messages)
        for message in prompt.format_messages(messages, tools or listed):
            made += [self.roles[message.role], f"{message.metadata}\n", message.content]
        return [*made, self.roles["assistant"]] if answer and not begun else made


class ChatGLM6BTokenizer(ChatGLMTokenizer):
    """ChatGLM-6B's."""

    generation: Generation = "chatglm"
    white = WHITE
    eager = True
    hidden = frozenset(
        ("<s>", "</s>", "<pad>", "[MASK]", "[gMASK]", "[sMASK]", "<unused_0>", "<sop>", "<eop>", "<ENC>", "<dBLOCK>")
    )  # fmt: skip

    def __init__(self, tokenizer: Tokenizer, chat: bool = True) -> None:
        super().__init__(
            tokenizer,
            chat,
            bos_token="<sop>",
            eos_token="<eop>",
            unk_token="<unk>",
            pad_token="<pad>",
            mask_token="[MASK]",
        )
        self.stop_ids = (self.eos_token_id,)

    def piece_bytes(self, token: int) -> bytes:
        return UNKNOWN_TEXT.encode() if token == self.unk_token_id else super().piece_bytes(token)

    def _decode(
        self,
        token_ids: int | list[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else token_ids
        if skip_special_tokens:
            ids = [token for token in ids if token != self.unk_token_id]
        text = super()._decode(ids)
        return text if clean_up_tokenization_spaces is False else prompt.clean_up(text)

    def segments(
        self, messages: Messages, tools: Sequence[Mapping[str, Any]] | None, answer: bool
    ) -> list[int | str]:
        end = [self.backend_tokenizer.token_to_id(name) for name in ("[gMASK]", "<sop>")]
        begun = begun_answer(messages)
        return [
            prompt.format_rounds(without_begun(messages)),
            *(end if answer else ()),
            *([begun] if begun else ()),
        ]


def load_tokenizer(
    folder: str | Path, cache: str | Path | None = None, chat: bool = True
) -> ChatGLMTokenizer:
    """The tokenizer of a folder with ChatGLM's original files.

    Args:
        folder: config.json, and tokenizer.model or ice_text.model.
        cache: a folder that keeps what is built, to be faster the next time.
        chat: False for a base model, which has no prompt format.

    Raises:
        CheckpointNotFound: there is no such file.
        UnsupportedCheckpoint: it is the tokenizer of another model.
    """
    folder = Path(folder)
    kind = generation(read_config(folder))
    path = folder / ("ice_text.model" if kind == "chatglm" else "tokenizer.model")
    if not path.is_file():
        raise CheckpointNotFound(
            f"{folder.name} has no {path.name}: fetch this file of the checkpoint too.",
            f"{folder.name} 中没有 {path.name}：请同时下载检查点的这个文件。",
        )
    build = build_unigram if kind == "chatglm" else build_bpe
    built = kept(path, lambda file: build(read_pieces(file)), LAYOUT, None if cache is None else Path(cache))
    return ChatGLM6BTokenizer(built, chat) if kind == "chatglm" else ChatGLM3Tokenizer(built, kind, chat)
