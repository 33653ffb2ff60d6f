"""Pages, branches, quantisations and files of a repository, fetched as they were pasted."""

from pathlib import Path

import pytest

from models.catalog import find
from models.errors import UnsupportedCheckpoint
from models.hub import Hub, locate
from models.loader import Loader
from tests.fakes.hub import COMMIT, FakeHub


def test_the_page_at_modelscope_is_fetched_from_there(
    server: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", server.url)
    pasted = find("https://www.modelscope.cn/models/org/tiny/summary")
    assert Hub().fetch(pasted).is_relative_to(tmp_path / "modelscope")
    assert locate(pasted) == locate(find(pasted.name))


def test_a_branch_is_fetched_beside_the_main_one(server: FakeHub, tmp_path: Path) -> None:
    branch = find(f"{server.url}/org/tiny/tree/refs%2Fpr%2F1")
    assert (branch.name, branch.revision) == ("org/tiny@refs/pr/1", "refs/pr/1")
    folder = Hub().fetch(branch)
    assert server.asked("/api/models/org/tiny/revision/refs%2Fpr%2F1")
    assert (tmp_path / "hf/hub/models--org--tiny/refs/refs/pr/1").read_text() == COMMIT
    assert locate(branch) == folder
    assert locate(find("org/tiny@another")) is None
    assert locate(find("org/tiny")) is None  # a branch is no copy of the main one
    assert locate(find(f"org/tiny@{COMMIT}")) == folder
    assert Hub().fetch(find("org/tiny")) == folder == locate(find("org/tiny"))  # the same commit there


def test_a_quantisation_of_a_repository_without_any(server: FakeHub) -> None:
    with pytest.raises(UnsupportedCheckpoint, match="type org/tiny alone"):
        Hub().fetch(find("org/tiny:Q4_K_M"))


GGUFS = {
    "imatrix.gguf": b"i",
    "mmproj-tiny-Q8_0.gguf": b"p",
    "tiny-BF16.gguf": b"b",
    "Q8_0/tiny-Q8_0-00001-of-00002.gguf": b"1",
    "Q8_0/tiny-Q8_0-00002-of-00002.gguf": b"2",
    "tiny-Q4_K_S.gguf": b"s",
    "tiny-IQ4_XS-imatrix.gguf": b"q",
}


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("org/tiny:q8_0", ["Q8_0/tiny-Q8_0-00001-of-00002.gguf", "Q8_0/tiny-Q8_0-00002-of-00002.gguf"]),
        ("hf.co/org/tiny:IQ4_XS", ["tiny-IQ4_XS-imatrix.gguf"]),
        ("hf.co/org/tiny/blob/main/tiny-BF16.gguf", ["tiny-BF16.gguf"]),
        (
            "https://huggingface.co/org/tiny/resolve/main/Q8_0%2Ftiny-Q8_0-00001-of-00002.gguf?download=true",
            ["Q8_0/tiny-Q8_0-00001-of-00002.gguf", "Q8_0/tiny-Q8_0-00002-of-00002.gguf"],
        ),
        ("org/tiny", ["tiny-BF16.gguf"]),  # none of the usual quantisations at the top: the first model
    ],
)
def test_one_quantisation_or_file_of_a_repository(server: FakeHub, name: str, files: list[str]) -> None:
    server.repositories["org/tiny"] = GGUFS
    checkpoint = find(name)
    assert find(checkpoint.name) == checkpoint
    first = Hub().fetch(checkpoint)
    assert first.as_posix().endswith(f"{COMMIT}/{files[0]}")
    fetched = [request.path.split(COMMIT + "/")[1] for request in server.asked("/resolve/")]
    assert [path.replace("%2F", "/") for path in fetched] == files
    assert locate(checkpoint) == first


@pytest.mark.parametrize("variant", ["F16", "Q4_K", "Q2_K", "other.gguf"])
def test_a_quantisation_that_a_repository_lacks(server: FakeHub, variant: str) -> None:
    server.repositories["org/tiny"] = GGUFS
    with pytest.raises(UnsupportedCheckpoint) as caught:
        Hub().fetch(find(f"org/tiny:{variant}"))
    assert "tiny-Q4_K_S.gguf" in caught.value.en and "tiny-Q4_K_S.gguf" in caught.value.zh


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["tf_model.h5", "config.json"], "TensorFlow"),
        (["onnx/model.onnx", "config.json", "tokenizer.json"], "ONNX"),
        (["consolidated.00.pth", "params.json"], "maker"),
        (["README.md"], "no weights"),
        (["config.json"], "no weights"),
    ],
)
def test_a_repository_without_weights_to_read(server: FakeHub, files: list[str], said: str) -> None:
    server.repositories["org/tiny"] = dict.fromkeys(files, b"{}")
    with pytest.raises(UnsupportedCheckpoint, match=said):
        Hub().fetch(find("org/tiny"))
    assert not server.asked("/resolve/")


def test_an_adapters_repository_says_of_which_model_it_is(server: FakeHub) -> None:
    server.repositories["org/tiny"] = {
        "adapter_config.json": b'{"peft_type": "LORA", "base_model_name_or_path": "owner/base"}',
        "adapter_model.safetensors": b"...",
        "tokenizer.json": b"{}",
        "training_args.bin": b"...",
        "optimizer.pt": b"...",
    }
    for _ in range(2):
        with pytest.raises(UnsupportedCheckpoint, match="adapter .LORA. of owner/base"):
            Loader().load("org/tiny", "cpu")
    assert not server.asked("adapter_model")
