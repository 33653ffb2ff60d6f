"""Whisper in the three formats that people have it in."""

from collections.abc import Mapping
from math import prod
from pathlib import Path

from models.catalog.files import Config, Files, missing, unsupported
from models.catalog.folders import describe_folder
from models.catalog.headers import read_ctranslate2, read_torch, reading
from models.catalog.weights import Weights
from models.schema import Checkpoint, Shape


def read_pt(files: Files) -> Checkpoint | None:
    """Describe OpenAI's own file. Keys: github.com/openai/whisper, ModelDimensions."""
    path = files.path
    if files.magic != b"PK\x03\x04":
        return None
    dims = read_torch(path).facts
    if not {"n_mels", "n_vocab", "n_audio_layer", "n_text_layer", "n_text_state"} <= set(dims):
        return None
    return Checkpoint(
        name=str(path),
        title=path.stem,
        family="whisper",
        kind="speech",
        format="whisper-pt",
        parameters=whisper_parameters(dims),
        bytes=path.stat().st_size,
        shape=whisper_shape(dims["n_text_layer"], dims["n_text_state"], dims["n_vocab"]),
        path=str(path),
    )


def whisper_parameters(dims: Mapping[str, int]) -> int:
    """Parameters of a Whisper of these ModelDimensions; the encoder's sinusoids are none."""
    width = dims["n_text_state"]
    attention = 4 * width**2 + 3 * width  # the key projection has no bias
    mlp = 8 * width**2 + 5 * width
    norm = 2 * width
    convolutions = 3 * width * (dims["n_mels"] + width) + 2 * width
    encoder = convolutions + dims["n_audio_layer"] * (attention + mlp + 2 * norm) + norm
    embeddings = (dims["n_vocab"] + dims["n_text_ctx"]) * width
    return encoder + embeddings + dims["n_text_layer"] * (2 * attention + mlp + 3 * norm) + norm


def read_ctranslate2_folder(files: Files) -> Checkpoint | None:
    """Describe a folder in CTranslate2's format, whose config says nothing of the model."""
    path = files.path
    if files.config is None or files.model_type is not None:
        return None
    if "alignment_heads" not in files.config and not (path / "model.bin").exists():
        return None
    for pattern in ("model.bin", "vocabulary.*", "tokenizer.json"):
        if not any(path.glob(pattern)):
            raise missing(path, pattern)
    weights = path / "model.bin"
    with reading(weights):
        header = read_ctranslate2(weights)
        if header.facts["spec"] != "WhisperSpec":
            raise unsupported(path, header.facts["spec"])
        vocab, hidden = header.tensors["decoder/embeddings/weight"]
    layers = {name.split("/")[1] for name in header.tensors if name.startswith("decoder/layer_")}
    return Checkpoint(
        name=str(path),
        title=path.name,
        family="whisper",
        kind="speech",
        format="ctranslate2",
        parameters=sum(
            prod(shape)
            for name, shape in header.tensors.items()
            if not name.endswith("_scale") and name != "encoder/position_encodings/encodings"
        ),
        bytes=weights.stat().st_size,
        shape=whisper_shape(len(layers - {"layer_norm"}), hidden, vocab),
        path=str(path),
    )


def read_folder(files: Files) -> Checkpoint | None:
    """Describe a folder in the format of transformers."""
    return describe_folder(files, _whisper) if files.model_type == "whisper" else None


def _whisper(path: Path, config: Config, weights: Weights) -> Checkpoint:
    shape = whisper_shape(config["decoder_layers"], config["d_model"], config["vocab_size"])
    return Checkpoint("", "whisper", "speech", "whisper-hf", shape=shape)


def whisper_shape(layers: int, hidden: int, vocab: int) -> Shape:
    return Shape(layers, kv_heads=hidden // 64, head_dim=64, hidden=hidden, vocab=vocab, tied=True)
