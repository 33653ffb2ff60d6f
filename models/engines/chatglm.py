"""ChatGLM-6B, ChatGLM2 and ChatGLM3 from their original files: `models.chatglm` as an engine."""

from pathlib import Path
from typing import TYPE_CHECKING

from models.cache import cache_dir
from models.chat.messages import begun_answer, plain_text, text_only
from models.chat.request import ChatRequest
from models.engines.sequential import LibraryEngine
from models.pretrained.loading import DTYPES, placed
from models.schema import Messages, Text, Tools

if TYPE_CHECKING:
    from models.chatglm.reply import ReplyStream


class ChatGlmEngine(LibraryEngine):
    """A ChatGLM of any generation; a base model continues text.

    Messages may carry ChatGLM3's own key "metadata", and OpenAI's "tool_calls" with answers of role
    "tool". Only ChatGLM3 knows of tools.
    """

    def _read(self, path: Path) -> None:
        import torch

        from models import chatglm
        from models.pretrained.quantize import quantization

        precision, device = self.placement.precision, self.placement.device
        packed = precision == "file"
        # The processor's operators on packed weights take bfloat16 scales; the files have float16 ones.
        dtype = ("bfloat16" if device == "cpu" else "float16") if packed else DTYPES[precision]
        self.model, self.tokenizer = chatglm.load(
            path,
            getattr(torch, dtype),
            cache=cache_dir() / "tokenizers",
            chat=self.checkpoint.kind == "chat",
            quantization_config=quantization(precision, device),
            **placed(self.placement),
        )
        # ChatGLM-6B's question sees itself whole: a longer one gives every token of it other states.
        self.reuses_prefix = self.tokenizer.generation != "chatglm"

    def _prompt(self, messages: Messages | str, tools: Tools = ()) -> list[int]:
        if isinstance(messages, str) or not self.has_chat_template:
            text = messages if isinstance(messages, str) else plain_text(text_only(messages))
            return list(self.tokenizer(text)["input_ids"])
        return list(self.tokenizer.apply_chat_template(text_only(messages), tools, return_dict=False))

    def _text(self, prompt: list[int], request: ChatRequest, continues: bool) -> "ReplyStream":
        from models.chatglm.reply import ReplyStream

        offered = [tool["function"]["name"] for tool in request.tools] or None
        begun = begun_answer(request.messages) if self.has_chat_template else ""
        before = prompt if continues else None
        return ReplyStream(self.tokenizer, request.options.stop, before, offered, begun)

    def _precision(self) -> tuple[str, tuple[Text, ...]]:
        if self.placement.precision != "file":
            return super()._precision()
        from models.chatglm.packed import StoredLinear

        dtype = str(self.model.dtype).removeprefix("torch.")
        slow = sum(isinstance(module, StoredLinear) for module in self.model.modules())
        note = Text(
            f"{slow} layers are unpacked for every product: there is no operator here for their packed weights.",
            f"{slow} 个层在每次运算时解包：此处没有可直接处理其打包权重的算子。",
        )
        bits = self.model.hf_quantizer.quantization_config.bits
        return f"int{bits} ({dtype} activations)", (note,) if slow else ()
