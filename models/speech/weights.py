"""Reading the weights of any Whisper, without its downloads and its ffmpeg.

Two layouts: OpenAI's `.pt` files ({"dims": …, "model_state_dict": …}; github.com/openai/whisper) and
Hugging Face's Whisper folders (config.json, safetensors or .bin, in one file or in shards).
"""

import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import CheckpointCorrupt, UnsupportedCheckpoint

# Hugging Face's names, in pieces, and openai-whisper's.
_RENAMED = (
    (r"^model\.", ""),
    (r"\blayers\b", "blocks"),
    (r"self_attn_layer_norm", "attn_ln"),
    (r"encoder_attn_layer_norm", "cross_attn_ln"),
    (r"final_layer_norm", "mlp_ln"),
    (r"self_attn", "attn"),
    (r"encoder_attn", "cross_attn"),
    (r"q_proj", "query"),
    (r"k_proj", "key"),
    (r"v_proj", "value"),
    (r"out_proj", "out"),
    (r"fc1", "mlp.0"),
    (r"fc2", "mlp.2"),
    (r"^encoder\.layer_norm", "encoder.ln_post"),
    (r"^decoder\.layer_norm", "decoder.ln"),
    (r"embed_positions\.weight", "positional_embedding"),
    (r"embed_tokens", "token_embedding"),
)
# Audio and text layers of the published sizes: which heads follow the words differs by size.
_SIZES: Mapping[tuple[int, int], str] = {
    (4, 4): "tiny",
    (6, 6): "base",
    (12, 12): "small",
    (24, 24): "medium",
    (32, 32): "large-v2",
    (32, 4): "large-v3-turbo",
}


@dataclass(frozen=True)
class Contents:
    """What the files of a Whisper hold, whatever their layout.

    `dims` and the names in `state` are openai-whisper's; `heads` are pairs of text layer and head whose
    attention follows the words, None where nobody says.
    """

    dims: Mapping[str, int]
    state: Mapping[str, Any]
    heads: Sequence[Sequence[int]] | None


def read(path: Path, device: str, half: bool) -> Any:
    """A whisper.model.Whisper on `device`.

    Args:
        path: a `.pt` file, or a Hugging Face folder.
        device: as torch calls it.
        half: keep the weights in float16 (the normalisations excepted, which compute in float32).

    Raises:
        CheckpointCorrupt: files or tensors are missing, or have other shapes than they should.
        UnsupportedCheckpoint: it is no Whisper.
    """
    from whisper.model import ModelDimensions, Whisper

    found = contents(path)
    model = Whisper(ModelDimensions(**found.dims))
    model.load_state_dict(found.state)
    if half:
        _halve(model)
    model.to(device)
    if found.heads:
        # They stay on the processor: they are a sparse tensor, which MPS cannot hold.
        model.register_buffer("alignment_heads", _mask(found), persistent=False)
    return model.eval()


def contents(path: Path) -> Contents:
    """The tensors are mapped from the files where their layout allows it. Raises as `read`."""
    return _folder(path) if path.is_dir() else _pt(path)


def _pt(path: Path) -> Contents:
    import whisper

    checkpoint = _torch_load(path)
    if not {"dims", "model_state_dict"} <= set(checkpoint):
        raise UnsupportedCheckpoint(
            f"{path.name} is not an OpenAI Whisper file: choose another checkpoint.",
            f"{path.name} 不是 OpenAI Whisper 文件：请选择其他检查点。",
        )
    dims = checkpoint["dims"]
    name = path.stem if path.stem in whisper.available_models() else _size(dims)
    return Contents(dims, checkpoint["model_state_dict"], _published_heads(name, dims) if name else None)


def _folder(path: Path) -> Contents:
    config = _json(path / "config.json")
    dims = {
        "n_mels": config["num_mel_bins"],
        "n_audio_ctx": config["max_source_positions"],
        "n_audio_state": config["d_model"],
        "n_audio_head": config["encoder_attention_heads"],
        "n_audio_layer": config["encoder_layers"],
        "n_vocab": config["vocab_size"],
        "n_text_ctx": config["max_target_positions"],
        "n_text_state": config["d_model"],
        "n_text_head": config["decoder_attention_heads"],
        "n_text_layer": config["decoder_layers"],
    }
    state = {}
    for file in _weight_files(path):
        for name, tensor in _tensors(file):
            if name != "proj_out.weight":  # the same matrix as the token embedding
                state[renamed(name)] = tensor
    generation = path / "generation_config.json"
    heads = _json(generation).get("alignment_heads") if generation.is_file() else None
    return Contents(dims, state, heads)


def _size(dims: Mapping[str, int]) -> str | None:
    """The published size with these dimensions; v1 and v2 of large have the same, and v2 is meant."""
    if dims["n_mels"] == 128 and dims["n_text_layer"] == 32:
        return "large-v3"
    size = _SIZES.get((dims["n_audio_layer"], dims["n_text_layer"]))
    return f"{size}.en" if size and dims["n_vocab"] == 51864 else size


def _published_heads(name: str, dims: Mapping[str, int]) -> list[list[int]]:
    """openai-whisper has these, but sets them only in the models that it downloads itself."""
    import base64
    import gzip

    import whisper

    mask = gzip.decompress(base64.b85decode(whisper._ALIGNMENT_HEADS[name]))
    return [list(divmod(place, dims["n_text_head"])) for place, follows in enumerate(mask) if follows]


def _mask(found: Contents) -> Any:
    import torch

    mask = torch.zeros(found.dims["n_text_layer"], found.dims["n_text_head"], dtype=torch.bool)
    mask[tuple(zip(*(found.heads or ()), strict=True))] = True
    return mask.to_sparse()


def _halve(model: Any) -> None:
    import torch

    for module in model.modules():
        if not isinstance(module, torch.nn.LayerNorm):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.half()


# --- files -------------------------------------------------------------------------------------


def _weight_files(folder: Path) -> list[Path]:
    """The files of one complete copy of the weights, safetensors first."""
    for single in ("model.safetensors", "pytorch_model.bin"):
        if (folder / single).is_file():
            return [folder / single]
        index = folder / f"{single}.index.json"
        if index.is_file():
            names = sorted(set(_json(index)["weight_map"].values()))
            return [_present(folder / name) for name in names]
    raise _missing(folder / "model.safetensors")


def _tensors(file: Path) -> Iterator[tuple[str, Any]]:
    if file.suffix != ".safetensors":
        yield from _torch_load(file).items()
        return
    from safetensors import safe_open

    with safe_open(file, framework="pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118 (not a dict, and not iterable)
            yield name, tensors.get_tensor(name)


def _torch_load(file: Path) -> Any:
    import torch

    # Mapped, a file costs no memory beside the model; the older layout cannot be mapped.
    return torch.load(_present(file), map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))


def _json(file: Path) -> Any:
    return json.loads(_present(file).read_text(encoding="utf-8"))


def renamed(name: str) -> str:
    """Hugging Face's name of a tensor as openai-whisper's."""
    for piece, new in _RENAMED:
        name = re.sub(piece, new, name)
    return name


def _present(file: Path) -> Path:
    if not file.is_file():
        raise _missing(file)
    return file


def _missing(file: Path) -> CheckpointCorrupt:
    return CheckpointCorrupt(
        f"{file.name} is missing in {file.parent}: fetch the checkpoint again.",
        f"{file.parent} 中缺少 {file.name}：请重新下载该检查点。",
    )
