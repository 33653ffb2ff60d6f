"""Random checkpoints of a few hundred kilobytes, in the files that real ones come in."""

from pathlib import Path
from typing import Any

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Like Gemma's: no system role, and turns that have to alternate.
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('turns must alternate') }}{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>model\n{% endif %}"
)
TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "今天天气很好，我们去公园。",
    "😀 🙂 🚀 émigré naïve",
]


def save_tokenizer(folder: Path, template: str | None = CHATML) -> Any:
    """A byte-level tokenizer: most Chinese characters and every emoji take several tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    bare.train_from_iterator(TEXTS, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return tokenizer


def sizes(**overrides: Any) -> dict[str, Any]:
    return {
        "vocab_size": 320,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 512,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
        "initializer_range": 0.3,  # sharp enough that greedy answers do not hang on rounding
    } | overrides


def save_llama(folder: Path, *, template: str | None = CHATML, shard: str = "5GB", **overrides: Any) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**sizes(**overrides))).save_pretrained(folder, max_shard_size=shard)
    save_tokenizer(folder, template)
    return folder


def save_gemma(folder: Path, **overrides: Any) -> Path:
    """Gemma 3: every other layer sees a window of 64 tokens only, and the head is the embedding."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    layers = ["sliding_attention", "full_attention", "sliding_attention"]
    config = Gemma3TextConfig(**sizes(sliding_window=64, layer_types=layers, **overrides))
    torch.manual_seed(0)
    Gemma3ForCausalLM(config).save_pretrained(folder)
    save_tokenizer(folder, NO_SYSTEM)
    return folder


def as_bin(folder: Path) -> Path:
    """The same weights as pytorch_model.bin."""
    import torch
    from safetensors.torch import load_file

    file = folder / "model.safetensors"
    torch.save(load_file(file), folder / "pytorch_model.bin")
    file.unlink()
    return folder
