"""A random Whisper of some hundred kilobytes, as transformers and as openai-whisper write it."""

from pathlib import Path
from typing import Any


def save_folder(folder: Path, shard: str = "5GB") -> Any:
    """A Hugging Face folder; returns the transformers model in it."""
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=51865,
        num_mel_bins=80,
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        init_std=0.3,
    )
    model = WhisperForConditionalGeneration(config).eval()
    model.generation_config.alignment_heads = [[1, 0]]
    model.save_pretrained(folder, max_shard_size=shard)
    return model


def save_pt(path: Path, vocab: int = 51865) -> Any:
    """OpenAI's layout; returns the openai-whisper model in it."""
    import torch
    from whisper.model import ModelDimensions, Whisper

    torch.manual_seed(0)
    dims = ModelDimensions(80, 1500, 16, 2, 2, vocab, 448, 16, 2, 2)
    model = Whisper(dims).eval()
    torch.nn.init.normal_(model.decoder.positional_embedding, std=0.3)
    torch.save({"dims": vars(dims), "model_state_dict": model.state_dict()}, path)
    return model
