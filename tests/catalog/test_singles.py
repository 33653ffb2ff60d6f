"""Folders with several GGUF files: the model is found, and the others are said for what they are."""

from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFWriter

from models.catalog import describe, find
from models.catalog.instead import foreign
from models.catalog.selection import entry, missing
from models.errors import CheckpointCorrupt, ModelError, UnsupportedCheckpoint
from models.schema import Checkpoint
from tests.fakes.tiny_checkpoints import LLAMA, write_folder, write_gguf

REPOSITORY = Checkpoint("o/n", "other", "chat", "unknown", hub_id="o/n")


def write_companion(path: Path, architecture: str = "llama", **facts: str) -> Path:
    writer = GGUFWriter(path, architecture)
    for key, value in facts.items():
        writer.add_string(key.replace("__", "."), value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


COMPANIONS: dict[str, dict[str, Any]] = {
    "mmproj-model-f16.gguf": {"architecture": "clip"},
    "vision.gguf": {"architecture": "clip", "general__type": "mmproj"},
    "imatrix.gguf": {"general__type": "imatrix"},
    "calibration.gguf": {"imatrix__datasets": "x"},
    "poet.gguf": {"general__type": "adapter", "adapter__type": "lora"},
}


@pytest.mark.parametrize("config", [False, True])
def test_the_model_is_found_beside_what_belongs_to_it(tmp_path: Path, config: bool) -> None:
    for name, facts in COMPANIONS.items():
        write_companion(tmp_path / name, **facts)
    model = write_gguf(tmp_path / "zebra-Q4_K_M.gguf")
    if config:  # as many repositories have it beside GGUF files
        write_folder(tmp_path, LLAMA)
        (tmp_path / "model.safetensors").unlink()
    found = find(str(tmp_path))
    assert (found.path, found.format) == (str(model), "gguf")
    assert found.note is not None
    assert all(name in found.note.en and name in found.note.zh for name in COMPANIONS)
    assert missing(tmp_path, REPOSITORY) == [] and entry(tmp_path, REPOSITORY) == model


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mmproj-model-f16.gguf", "projector"),
        ("vision.gguf", "mmproj"),
        ("imatrix.gguf", "importance matrix"),
        ("calibration.gguf", "imatrix"),
        ("poet.gguf", "LoRA"),
    ],
)
def test_what_belongs_to_a_model_is_said_for_what_it_is(tmp_path: Path, name: str, said: str) -> None:
    path = write_companion(tmp_path / name, **COMPANIONS[name])
    with pytest.raises(UnsupportedCheckpoint, match=said) as caught:
        describe(path)
    assert name in caught.value.zh
    with pytest.raises(UnsupportedCheckpoint, match=name):
        describe(tmp_path)


def test_of_several_quantisations_the_one_that_a_repository_gives(tmp_path: Path) -> None:
    names = ["tiny-BF16.gguf", "tiny-IQ4_XS.gguf", "tiny-Q8_0.gguf", "tiny.Q4_0.gguf"]
    for name, expected in zip(names, ["tiny-BF16", "tiny-BF16", "tiny-Q8_0", "tiny.Q4_0"], strict=True):
        write_gguf(tmp_path / name)
        found = describe(tmp_path)
        assert found.path == str(tmp_path / f"{expected}.gguf")
        assert entry(tmp_path, REPOSITORY) == tmp_path / f"{expected}.gguf"
    assert found.note is not None and "tiny-BF16.gguf, tiny-IQ4_XS.gguf, tiny-Q8_0.gguf" in found.note.en


def test_one_alone_has_nothing_to_be_said_of(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny-Q8_0.gguf")
    assert describe(tmp_path).note is None


def test_different_models_are_not_guessed_at(tmp_path: Path) -> None:
    for name in ("one-Q4_K_M.gguf", "two-Q4_K_M.gguf"):
        write_gguf(tmp_path / name)
    with pytest.raises(UnsupportedCheckpoint, match="one-Q4_K_M.gguf, two-Q4_K_M.gguf"):
        describe(tmp_path)


def test_parts_are_one_model_beside_a_projector(tmp_path: Path) -> None:
    parts = [write_gguf(tmp_path / f"tiny-Q8_0-0000{n}-of-00002.gguf") for n in (1, 2)]
    write_companion(tmp_path / "mmproj-f16.gguf", "clip")
    assert describe(tmp_path).path == str(parts[0])
    parts[0].unlink()
    with pytest.raises(CheckpointCorrupt, match=parts[0].name):
        describe(tmp_path)


def test_a_damaged_file_among_others_is_no_reason_to_fail_on_them(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny-Q4_K_M.gguf")
    (tmp_path / "tiny-Q2_K.gguf").write_bytes(b"GGUF")
    assert describe(tmp_path).path == str(tmp_path / "tiny-Q4_K_M.gguf")


def test_safetensors_come_before_gguf_as_in_a_repository(tmp_path: Path) -> None:
    write_gguf(write_folder(tmp_path / "both") / "tiny-Q4_K_M.gguf")
    assert describe(tmp_path / "both").format == "transformers"


@pytest.mark.parametrize("names", [["optimizer.pt", "scheduler.pt"], []])
def test_a_folder_of_leftovers(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(ModelError) as caught:
        describe(tmp_path)
    assert "half a download" not in caught.value.en


@pytest.mark.parametrize("name", ["onnx/Model.ONNX", "TF_MODEL.H5", "a/Weights.Pth"])
def test_a_foreign_format_is_known_by_its_ending_in_any_case(name: str) -> None:
    found = foreign("tiny", ["README.md", name])
    assert found is not None and name in found.en and name in found.zh
