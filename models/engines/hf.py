"""The transformers engine: LLaMA, Gemma and whatever else transformers reads from safetensors or .bin.

How it answers is in `models.engines.sequential`, what loading shares with other engines in `models.pretrained`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.chat.calls import with_arguments
from models.chat.messages import fold_system, plain_text, text_only
from models.chat.request import ChatRequest
from models.engines.sequential import LibraryEngine
from models.errors import BadInput, CheckpointCorrupt
from models.pretrained.loading import DTYPES, damaged_file, placed
from models.schema import Messages, Placement, Tools

if TYPE_CHECKING:
    from models.pretrained.generation import TextStream


def load_model(path: Path, placement: Placement) -> Any:
    """Read the model in a folder of config.json and safetensors or .bin shards.

    Raises whatever transformers raises, and CheckpointCorrupt for weights that are missing or too many:
    transformers would fill them with random numbers and go on.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    from models.pretrained.quantize import quantization

    model: Any
    info: dict[str, Any]
    model, info = AutoModelForCausalLM.from_pretrained(  # type: ignore[misc]
        path,
        config=AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False),
        dtype=DTYPES[placement.precision],
        quantization_config=quantization(placement.precision, placement.device),
        **placed(placement),
        attn_implementation=None,  # the library's own choice: the one in config.json may name code to download
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    wrong = sorted(info["missing_keys"]) or sorted(info["unexpected_keys"])
    if wrong:
        kind, zh = ("lacks", "缺少") if info["missing_keys"] else ("has unexpected", "含有多余的")
        raise CheckpointCorrupt(
            f"{path.name} {kind} {len(wrong)} weights, {wrong[0]} among them: get the checkpoint again.",
            f"{path.name} {zh}{len(wrong)} 个权重（如 {wrong[0]}）：请重新获取该检查点。",
        )
    return model


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
    return tokenizer


class HfEngine(LibraryEngine):
    """A model with its tokenizer and chat template, as transformers reads them."""

    def _read(self, path: Path) -> None:
        self.tokenizer = load_tokenizer(path)
        self.model = load_model(path, self.placement)
        self._has_system_role = bool(self.tokenizer.chat_template) and _has_system_role(self.tokenizer)

    def _prompt(self, messages: Messages | str, tools: Tools = ()) -> list[int]:
        """Token ids of the prompt. Raises BadInput where the template refuses the conversation."""
        from jinja2 import TemplateError

        if isinstance(messages, str) or not self.has_chat_template:
            text = messages if isinstance(messages, str) else plain_text(text_only(messages))
            return list(self.tokenizer(text)["input_ids"])
        # Templates write the arguments as JSON themselves.
        messages = with_arguments(text_only(messages), lambda arguments: arguments)
        try:
            return list(
                self.tokenizer.apply_chat_template(
                    messages if self._has_system_role else fold_system(messages),
                    list(tools) or None,
                    add_generation_prompt=True,
                    return_dict=False,
                )
            )
        except TemplateError as error:
            raise BadInput(
                f"The chat template of {self.checkpoint.name} refuses this conversation: {error}.",
                f"{self.checkpoint.name} 的对话模板不接受这段对话：{error}。",
            ) from error

    def _text(self, prompt: list[int], request: ChatRequest, continues: bool) -> "TextStream":
        from models.pretrained.generation import TextStream

        return TextStream(
            self.tokenizer.backend_tokenizer, request.options.stop, prompt[-8:] if continues else ()
        )


def _has_system_role(tokenizer: Any) -> bool:
    """Try it: Gemma's template refuses a system message, others leave it out."""
    from jinja2 import TemplateError

    trial = [{"role": "system", "content": "quintet"}, {"role": "user", "content": "?"}]
    try:
        return "quintet" in tokenizer.apply_chat_template(trial, tokenize=False)
    except TemplateError:
        return False
