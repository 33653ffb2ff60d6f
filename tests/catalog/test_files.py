"""Files are described once for each state that they are found in."""

import json
import os
from pathlib import Path

import pytest

from models.catalog import CHECKPOINTS, describe, find, gguf, headers
from models.errors import CheckpointCorrupt, ModelError
from tests.fakes.tiny_checkpoints import LLAMA, write_folder, write_gguf, write_safetensors


def rewrite(path: Path, content: bytes) -> None:
    """As somebody does later: a clock that has not moved on would tell nothing."""
    changed = path.stat().st_mtime_ns + 1_000_000
    path.write_bytes(content)
    os.utime(path, ns=(changed, changed))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose headers were read."""
    names: list[str] = []

    def record(path: Path) -> headers.Header:
        names.append(path.name)
        return headers.read_gguf(path)

    monkeypatch.setattr(gguf, "read_gguf", record)
    return names


def test_a_typed_path_is_read_once(tmp_path: Path, read: list[str]) -> None:
    typed = str(write_gguf(tmp_path / "a.gguf"))
    assert find(typed) == find(typed) == describe(tmp_path / "a.gguf")
    assert read == ["a.gguf"]


def test_a_file_that_changed_is_read_again(tmp_path: Path, read: list[str]) -> None:
    path = write_gguf(tmp_path / "a.gguf")
    assert find(str(path)).kind == "chat"
    other = write_gguf(tmp_path / "other", template=None).read_bytes()
    rewrite(path, other)
    assert find(str(path)).kind == "completion" and read == ["a.gguf", "a.gguf"]


def test_a_file_that_was_replaced_by_one_of_its_size_is_read_again(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf", template="{{ x }}")
    assert find(str(path)).context_length == 512
    before = path.stat().st_size
    rewrite(path, write_gguf(tmp_path / "other", length=256).read_bytes())
    assert path.stat().st_size == before
    assert find(str(path)).context_length == 256


def test_what_cannot_be_read_is_looked_at_again(tmp_path: Path, read: list[str]) -> None:
    path = write_gguf(tmp_path / "a.gguf")
    before, whole = path.stat(), path.read_bytes()
    path.write_bytes(b"GGUF" + bytes(len(whole) - 4))
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    for _ in range(2):
        with pytest.raises(ModelError):
            find(str(path))
    path.write_bytes(whole)
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))  # as the broken one to the last digit
    assert find(str(path)).format == "gguf"


@pytest.mark.parametrize("changed", [1, 2])
def test_every_part_of_a_model_counts(tmp_path: Path, read: list[str], changed: int) -> None:
    first, second = (tmp_path / f"a-0000{n}-of-00002.gguf" for n in (1, 2))
    for path in (first, second):
        write_gguf(path)
    assert find(str(first)).bytes == first.stat().st_size + second.stat().st_size
    find(str(first))
    assert len(read) == 2
    part = (first, second)[changed - 1]
    rewrite(part, part.read_bytes() + bytes(32))
    assert find(str(first)).bytes == first.stat().st_size + second.stat().st_size
    second.unlink()
    with pytest.raises(CheckpointCorrupt):
        find(str(first))


def test_every_file_of_a_folder_counts(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine")
    assert (find(str(folder)).kind, find(str(folder)).context_length) == ("chat", 512)
    rewrite(folder / "config.json", json.dumps(LLAMA | {"max_position_embeddings": 1024}).encode())
    assert find(str(folder)).context_length == 1024
    rewrite(folder / "tokenizer_config.json", b"{}")
    assert find(str(folder)).kind == "completion"
    before = find(str(folder)).parameters
    shapes = {"model.embed_tokens.weight": (96, 32), "lm_head.weight": (96, 64)}
    rewrite(folder / "model.safetensors", write_safetensors(tmp_path / "other", shapes).read_bytes())
    assert find(str(folder)).parameters == before - 96 * 32
    (folder / "model.safetensors").rename(folder / "model.safetensors.incomplete")
    with pytest.raises(CheckpointCorrupt, match="lacks model.safetensors"):
        find(str(folder))


def test_a_link_in_a_folder_may_lead_nowhere(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine")
    (folder / "notes").symlink_to(tmp_path / "nowhere")
    assert find(str(folder)).format == "transformers"


def test_a_description_kept_for_one_name_does_not_answer_for_another(tmp_path: Path) -> None:
    row = CHECKPOINTS["smollm2-135m-instruct"]
    path = write_gguf(tmp_path / "a.gguf")
    assert describe(path, row).name == row.name
    assert describe(path).name == str(path)
