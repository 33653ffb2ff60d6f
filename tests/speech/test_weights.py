"""Which weights of a Whisper are read, in which precision, and which heads follow the words."""

import zipfile
from pathlib import Path
from typing import Any

import pytest

from models.errors import CheckpointCorrupt
from models.speech import weights
from tests.fakes.tiny_whisper import save_folder, save_pt


@pytest.mark.parametrize(
    ("mels", "audio", "text", "vocab", "size"),
    [
        (80, 4, 4, 51865, "tiny"), (80, 4, 4, 51864, "tiny.en"), (80, 6, 6, 51865, "base"),
        (80, 12, 12, 51864, "small.en"), (80, 24, 24, 51865, "medium"), (80, 32, 32, 51865, "large-v2"),
        (128, 32, 32, 51866, "large-v3"), (128, 32, 4, 51866, "large-v3-turbo"), (80, 5, 4, 51865, None),
        (80, 5, 4, 51864, None),
    ],
)  # fmt: skip
def test_a_size_is_told_by_its_layers(mels: int, audio: int, text: int, vocab: int, size: str | None) -> None:
    import whisper

    dims = {"n_mels": mels, "n_audio_layer": audio, "n_text_layer": text, "n_vocab": vocab, "n_text_head": 6}
    assert weights._size(dims) == size
    assert size is None or size in whisper.available_models()
    for layer, head in weights._published_heads(size, dims) if size == "tiny" else ():
        assert layer < text and head < 6


@pytest.mark.parametrize("name", ["tiny", "mine"])
def test_which_heads_follow_the_words(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the file's name first: two published sizes may have the same layers."""
    asked: list[str] = []
    monkeypatch.setattr(weights, "_size", lambda dims: "base")
    monkeypatch.setattr(weights, "_published_heads", lambda name, dims: asked.append(name) or [[0, 1]])
    save_pt(tmp_path / f"{name}.pt")
    assert weights.contents(tmp_path / f"{name}.pt").heads == [[0, 1]]
    assert asked == ["tiny" if name == "tiny" else "base"]
    monkeypatch.setattr(weights, "_size", lambda dims: None)
    assert weights.contents(tmp_path / f"{name}.pt").heads == ([[0, 1]] if name == "tiny" else None)


@pytest.mark.parametrize("said", [True, False])
def test_a_folder_says_its_heads_or_nobody_does(said: bool, tmp_path: Path) -> None:
    save_folder(tmp_path)
    if not said:
        (tmp_path / "generation_config.json").unlink()
    found = weights.contents(tmp_path)
    assert found.heads == ([[1, 0]] if said else None)
    assert not any(name.startswith(("proj_out", "model.")) for name in found.state)


def test_half_keeps_the_normalisations_whole(tmp_path: Path) -> None:
    import torch

    save_pt(tmp_path / "random.pt")
    model = weights.read(tmp_path / "random.pt", "cpu", half=True)
    for name, parameter in model.named_parameters():
        assert parameter.dtype == (torch.float32 if "ln" in name else torch.float16), name
    assert not model.training
    whole = weights.read(tmp_path / "random.pt", "cpu", half=False)
    assert {parameter.dtype for parameter in whole.parameters()} == {torch.float32}


def test_an_older_file_is_read_without_mapping(tmp_path: Path) -> None:
    import torch

    content = {"dims": {}, "model_state_dict": {}}
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(tmp_path / "old.pt")
    assert weights._torch_load(tmp_path / "old.pt") == content


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (["pytorch_model.bin", "pytorch_model.bin.index.json"], ["pytorch_model.bin"]),
        (["b.bin", "a.bin", "pytorch_model.bin.index.json"], ["a.bin", "b.bin"]),
        (["a.bin", "pytorch_model.bin.index.json"], "b.bin"),
        ([], "model.safetensors"),
    ],
)
def test_one_copy_of_the_weights(names: list[str], chosen: Any, tmp_path: Path) -> None:
    for name in names:
        text = '{"weight_map": {"x": "b.bin", "y": "a.bin", "z": "b.bin"}}' if name.endswith("json") else ""
        (tmp_path / name).write_text(text)
    if isinstance(chosen, str):
        with pytest.raises(CheckpointCorrupt, match=f"{chosen} is missing"):
            weights._weight_files(tmp_path)
    else:
        assert [path.name for path in weights._weight_files(tmp_path)] == chosen
