"""The transformers engine: LLaMA, Gemma and whatever else transformers reads from safetensors or .bin.

How it answers is in `models.engines.sequential`, what loading shares with other engines in `models.pretrained`.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.chat.calls import with_arguments
from models.chat.control_tokens import ControlTokens
from models.chat.messages import begun_answer, fold_system, plain_text, text_only
from models.chat.request import ChatRequest, lift_tools
from models.chat.templates import rendering
from models.engines.base import LONGEST_TOKEN
from models.engines.sequential import LibraryEngine
from models.errors import CheckpointCorrupt, ModelError
from models.pretrained.loading import DTYPES, damaged_file, load_config, placed
from models.schema import Messages, Placement, Tools

if TYPE_CHECKING:
    from models.pretrained.generation import TextStream


def load_model(path: Path, placement: Placement, weights: str = "") -> Any:
    """Read the model in a folder of config.json and safetensors or .bin shards.

    Args:
        weights: name of the file with them, or of their index, where it is not one of transformers'.

    Raises whatever transformers raises, and CheckpointCorrupt for weights that are missing or too many:
    transformers would fill them with random numbers and go on.
    """
    config = load_config(path, weights)
    model, info = _read_model(path, placement, config)
    if _lacks_only_head(model, info) and not config.get_text_config().tie_word_embeddings:
        # A head that was shared is written once, whatever the config says.
        config.get_text_config().tie_word_embeddings = config.tie_word_embeddings = True
        model, info = _read_model(path, placement, config)
    wrong = sorted(info["missing_keys"]) or sorted(info["unexpected_keys"])
    if wrong:
        kind, zh = ("lacks", "缺少") if info["missing_keys"] else ("has unexpected", "含有多余的")
        raise CheckpointCorrupt(
            f"{path.name} {kind} {len(wrong)} weights, {wrong[0]} among them: its config.json is of another model, or "
            "was changed; get both of one source.",
            f"{path.name} {zh}{len(wrong)} 个权重（如 {wrong[0]}）：config.json 与权重不属于同一模型，或被改动过；"
            "请从同一来源获取两者。",
        )
    return model


def _read_model(path: Path, placement: Placement, config: Any) -> tuple[Any, dict[str, Any]]:
    from transformers import AutoModelForCausalLM

    from models.pretrained.quantize import quantization

    found: Any = AutoModelForCausalLM.from_pretrained(
        path,
        config=config,
        dtype=DTYPES[placement.precision],
        quantization_config=quantization(placement.precision, placement.device),
        **placed(placement),
        attn_implementation=None,  # the library's own choice: the one in config.json may name code to download
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    model, info = found
    return model, info


def _lacks_only_head(model: Any, info: dict[str, Any]) -> bool:
    head = model.get_output_embeddings()
    heads = {f"{name}.weight" for name, module in model.named_modules() if module is head}
    return bool(info["missing_keys"]) and heads >= set(info["missing_keys"])


def load_tokenizer(path: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        tokenizer.backend_tokenizer  # noqa: B018  streaming needs the `tokenizers` library's own
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        if damaged_file(path) is not None:
            raise
        raise CheckpointCorrupt(
            f"{path.name} has no tokenizer that can be read: put tokenizer.json (or tokenizer.model) into it.",
            f"{path.name} 中没有可读取的分词器：请补上 tokenizer.json（或 tokenizer.model）。",
        ) from error
    tokenizer.chat_template = chat_template(tokenizer.chat_template, path)
    return tokenizer


def chat_template(found: Any, path: Path) -> Any:
    """The template that a tokenizer brought, or its processor's; of several named ones one is the default."""
    beside = path / "chat_template.json"
    if not found and beside.is_file():
        found = json.loads(beside.read_text("utf-8")).get("chat_template")
    if isinstance(found, dict) and "default" not in found:
        found = {"default": next(iter(found.values())), **found}
    return found


class TypedText:
    """Ids of texts in which only what the chat template wrote can be a control token.

    They are made by a copy of the tokenizer that knows its control tokens by secret names alone.

    All else is as it was: spaces at a token's sides, prefixes, normalisation, what is merged across the border
    between a template and a text.

    Args:
        tokenizer: of the transformers library.
    """

    def __init__(self, tokenizer: Any) -> None:
        templates = tokenizer.chat_template or ""
        template = "".join(templates.values()) if isinstance(templates, dict) else templates
        added = tokenizer.added_tokens_decoder.values()
        special = {token.content for token in added if token.special}
        self.control = ControlTokens(special, {token.content for token in added if token.content in template})
        self._original = tokenizer.backend_tokenizer
        # Whether other texts become control tokens once they are normalised.
        self.always = self._original.normalizer is not None and any(
            token.normalized for token in added if token.content in self.control.names
        )
        self._copy: Any = None

    def ids_of_prompt(self, prompt: str) -> list[int]:
        """Ids of what a template made of a conversation with marks."""
        return self._encode(self.control.reveal(self.control.rename(prompt)), False)

    def ids_of_text(self, text: str) -> list[int]:
        """Ids of a text to continue, with what the tokenizer itself puts in front."""
        return self._encode(text, True)

    def _encode(self, text: str, framed: bool) -> list[int]:
        from models.pretrained.renamed_tokens import rename_tokens

        if self._copy is None:
            self._copy = rename_tokens(self._original, self.control.names)
        return list(self._copy.encode(text, add_special_tokens=framed).ids)


class HfEngine(LibraryEngine):
    """A model with its tokenizer and chat template, as transformers reads them."""

    def _read(self, path: Path) -> None:
        self.tokenizer = load_tokenizer(path)
        self._typed = TypedText(self.tokenizer)
        self.model = load_model(path, self.placement, self.checkpoint.weights)
        self._has_system_role = bool(self.tokenizer.chat_template) and self._knows_system_role()

    def _prompt(self, messages: Messages | str, tools: Tools = ()) -> list[int]:
        """Token ids of the prompt. Raises BadInput where the template refuses the conversation."""
        if isinstance(messages, str) or not self.has_chat_template:
            text = messages if isinstance(messages, str) else plain_text(text_only(messages))
            if self._typed.always or self._typed.control.in_text(text):
                return self._typed.ids_of_text(text)
            return list(self.tokenizer(text)["input_ids"])
        messages, listed = lift_tools(messages)
        tools = tools or listed or ()
        # Templates write the arguments as JSON themselves.
        messages = with_arguments(text_only(messages), lambda arguments: arguments)
        messages = messages if self._has_system_role else fold_system(messages)
        hidden = self._typed.control.hide(messages, tools)
        prompt = self._render(*(hidden or (messages, tools)))
        if len(prompt) > self.context_length * LONGEST_TOKEN:  # templates can write a lot of their own
            raise self._too_long(len(prompt) // LONGEST_TOKEN)
        if hidden or self._typed.always:
            return self._typed.ids_of_prompt(prompt)
        return list(self.tokenizer(prompt, add_special_tokens=False)["input_ids"])

    def _render(self, messages: Messages, tools: Tools) -> str:
        """What the template makes of a conversation, up to where the model goes on."""
        begun = begun_answer(messages)
        with rendering(self.checkpoint.name):
            prompt: str = self.tokenizer.apply_chat_template(
                messages,
                list(tools) or None,
                add_generation_prompt=not begun,
                continue_final_message=bool(begun),
                tokenize=False,
            )
        # Many templates trim what they are given: the answer's last space is its own.
        return prompt if prompt.endswith(begun) else prompt + begun[len(begun.rstrip()) :]

    def _knows_system_role(self) -> bool:
        """Try it: Gemma's template refuses a system message, others leave it out."""
        trial = [{"role": "system", "content": "quintet"}, {"role": "user", "content": "?"}]
        try:
            return "quintet" in self._render(trial, ())
        except ModelError:
            return False

    def _text(self, prompt: list[int], request: ChatRequest, continues: bool) -> "TextStream":
        from models.pretrained.generation import TextStream

        return TextStream(
            self.tokenizer.backend_tokenizer, request.options.stop, prompt[-8:] if continues else ()
        )
