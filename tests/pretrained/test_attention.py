"""Which code computes attention is ours to say: a config.json can name a kernel that would be downloaded and run."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from models.chatglm.weights import load_model as load_chatglm  # noqa: E402
from models.engines.hf import load_model as load_hf  # noqa: E402
from models.qwen_vl.model import ATTENTION  # noqa: E402
from models.qwen_vl.weights import load_model as load_qwen  # noqa: E402
from models.schema import Placement  # noqa: E402
from tests.fakes import glm_checkpoints as glm  # noqa: E402
from tests.fakes import qwen_checkpoints as qwen  # noqa: E402
from tests.fakes.tiny_models import save_gemma, save_llama  # noqa: E402

KERNEL = "somebody/attention"


def load_placed(folder: Path, dtype: Any) -> Any:
    return load_hf(folder, Placement("cpu", "fp32"))


KINDS = {
    "llama": (save_llama, load_placed),
    "gemma": (save_gemma, load_placed),
    "chatglm-6b": (lambda folder: glm.write(folder, glm.GLM1, glm.glm1_tensors(glm.GLM1)), load_chatglm),
    "chatglm3": (lambda folder: glm.write(folder, glm.GLM3, glm.glm3_tensors(glm.GLM3)), load_chatglm),
    "qwen-vl": (lambda folder: qwen.write(folder, qwen.config(), qwen.tensors(qwen.config())), load_qwen),
}


def with_kernel(value: Any, key: str) -> Any:
    """A config with the kernel in it and in every part of it."""
    if not isinstance(value, dict):
        return value
    return {name: with_kernel(part, key) for name, part in value.items()} | {key: KERNEL}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_a_config_names_no_kernel(
    kind: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def asked(name: str, *_: Any, **__: Any) -> None:
        raise AssertionError(f"{name} would be downloaded")

    monkeypatch.setattr("transformers.modeling_utils.lazy_import_flash_attention", asked)
    save, load = KINDS[kind]
    folder = save(tmp_path / "folder")
    file = folder / "config.json"
    config = json.loads(file.read_text())
    parts = {name: with_kernel(part, key) for name, part in config.items() if name == "visual"}
    file.write_text(json.dumps(config | parts | {key: KERNEL}))
    model = load(folder, torch.float32)
    for module in model.modules():
        if hasattr(module, "config"):
            assert module.config._attn_implementation in ("sdpa", "eager", ATTENTION)
