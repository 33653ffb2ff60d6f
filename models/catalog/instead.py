"""What lies in a folder instead of the weights that were looked for, said for what it is."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from models.catalog.files import missing
from models.catalog.headers import reading
from models.catalog.selection import is_beside
from models.errors import CheckpointCorrupt, ModelError, UnsupportedCheckpoint
from models.schema import Text

_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}(\.safetensors|\.bin)")
_ORIGINAL = Text("its maker's own format", "原作者自己的格式")
# Endings of weight files that no engine here reads, the telling ones first.
_FOREIGN: tuple[tuple[str, Text], ...] = (
    (r"consolidated.*\.(safetensors|pth|pt)", _ORIGINAL),
    (r".*\.gguf[.-].*", Text("a piece of a GGUF file, to be joined with the others", "GGUF 文件的一段，需先合并")),
    (r".*\.h5", Text("TensorFlow", "TensorFlow")),
    (r".*\.msgpack", Text("Flax", "Flax")),
    (r".*\.onnx(_data)?", Text("ONNX", "ONNX")),
    (r"openvino.*\.(xml|bin)", Text("OpenVINO", "OpenVINO")),
    (r".*\.npz", Text("MLX or NumPy", "MLX 或 NumPy")),
    (r".*\.nemo", Text("NeMo", "NeMo")),
    (r".*\.(mlmodel|mlpackage)", Text("Core ML", "Core ML")),
    (r".*\.tflite", Text("TensorFlow Lite", "TensorFlow Lite")),
    (r".*\.(engine|plan)", Text("TensorRT", "TensorRT")),
    (r"ggml.*\.bin|.*\.ggml.*", Text("the format before GGUF", "GGUF 之前的格式")),
    (r".*\.(ckpt|pth)", Text("a checkpoint of PyTorch", "PyTorch 检查点")),
)  # fmt: skip


def no_weights(folder: Path) -> ModelError:
    """Why a folder has no weights under the names that transformers knows."""
    names = sorted(file.name for file in folder.iterdir())
    if error := adapter(folder, names) or foreign(folder.name, names):
        return error
    weights = [n for n in names if n.endswith((".safetensors", ".bin", ".pt")) and not is_beside(n)]
    if shard := next(filter(None, map(_SHARD.fullmatch, weights)), None):
        index = f"{shard[1]}{shard[2]}.index.json"
        return CheckpointCorrupt(
            f"{folder} lacks {index}, which says where each weight is: put that file of the repository beside the shards.",
            f"{folder} 中缺少 {index}（说明各权重所在的文件）：请把仓库中的该文件放到分片旁边。",
        )
    if weights:
        listed = ", ".join(weights[:6])
        target = "model.safetensors" if weights[0].endswith(".safetensors") else "pytorch_model.bin"
        return UnsupportedCheckpoint(
            f"{folder.name} holds its weights as {listed}, names that say nothing: rename the file to load to {target}.",
            f"{folder.name} 的权重文件名为 {listed}，无法判断应加载哪个：请把要加载的文件改名为 {target}。",
        )
    return missing(folder, "model.safetensors")


def foreign(title: str, names: Iterable[str]) -> UnsupportedCheckpoint | None:
    """A sentence about weights in a format that nothing here reads, where `names` hold some."""
    names = list(names)
    for pattern, kind in _FOREIGN:
        if found := [name for name in names if re.fullmatch(pattern, name.rsplit("/", 1)[-1], re.IGNORECASE)]:
            return UnsupportedCheckpoint(
                f"{title} holds its weights as {found[0]} ({kind.en}), which no engine here reads: choose a "
                "repository of the same model with model.safetensors, or a .gguf file of it.",
                f"{title} 的权重是 {found[0]}（{kind.zh}），目前没有引擎能读取：请选择同一模型含 model.safetensors 的仓库，"
                "或其 .gguf 文件。",
            )
    return None


def adapter(folder: Path, names: Iterable[str]) -> UnsupportedCheckpoint | None:
    """A sentence about the adapter in `folder` and its model, where `names` hold one.

    Raises:
        CheckpointCorrupt: half an adapter_config.json.
    """
    if not any(
        name.startswith("adapter") and name.endswith((".json", ".safetensors", ".bin")) for name in names
    ):
        return None
    file, config = folder / "adapter_config.json", {}
    if file.is_file():
        with reading(file):
            config = dict(json.loads(file.read_bytes()))
    base = config.get("base_model_name_or_path") or config.get("model")
    kind = str(config.get("peft_type") or config.get("fine_tune_type") or "LoRA")
    return UnsupportedCheckpoint(
        f"{folder.name} is an adapter ({kind}) of {base or 'another model'}, not a model of its own: merge it into "
        "that model and load the result, or load that model alone.",
        f"{folder.name} 是 {base or '另一模型'} 的适配器（{kind}），本身不是完整的模型：请把它合并到该模型后再加载，"
        "或只加载该模型。",
    )
