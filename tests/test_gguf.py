"""What the llama.cpp engine does on its own side of llama.cpp."""

from pathlib import Path

import pytest

from models.engines.gguf import _file_type


@pytest.mark.parametrize(
    ("name", "quantisation"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1"),
        ("gemma-3-270m-q4_k_m.gguf", "Q4_K_M"),
        ("Llama-3-8B-IQ3_XS-00001-of-00002.gguf", "IQ3_XS"),
        ("qwen2.5-7b-fp16.gguf", "FP16"),
        ("model-BF16.gguf", "BF16"),
        ("Qwen2.5-7B.gguf", "GGUF"),  # Q and a number, and no quantisation
        ("falcon-h1.gguf", "GGUF"),
    ],
)
def test_the_quantisation_is_read_from_the_name(name: str, quantisation: str) -> None:
    assert _file_type(Path(name)) == quantisation
