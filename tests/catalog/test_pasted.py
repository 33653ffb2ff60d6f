"""What people paste as a name means what they meant."""

from contextlib import suppress
from pathlib import Path

import pytest

from models.catalog import CHECKPOINTS, allowed, find
from models.catalog.pasted import clean, read_id, read_page
from models.errors import BadInput, CheckpointNotFound, ModelError
from tests.fakes.tiny_checkpoints import write_folder, write_gguf

COMMIT = "c0ffee" + "0" * 34


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for variable in ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN", "QUINTET_MODEL_DIRS"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    "text",
    [
        "https://huggingface.co/some-one/My.Model-7B",
        "http://www.huggingface.co/some-one/My.Model-7B/",
        "https://huggingface.co/some-one/My.Model-7B/tree/main",
        "https://huggingface.co/some-one/My.Model-7B/tree/main/onnx",
        "https://huggingface.co/some-one/My.Model-7B/blob/main/config.json",
        "https://huggingface.co/some-one/My.Model-7B/resolve/main/model.safetensors?download=true",
        "https://huggingface.co/some-one/My.Model-7B/discussions/3#64",
        "https://huggingface.co/some-one/My.Model-7B?library=transformers",
        "https://huggingface.co/some-one/My.Model-7B.git",
        "https://huggingface.co/api/models/some-one/My.Model-7B",
        "https://hf-mirror.com/some-one/My.Model-7B",
        "huggingface.co/some-one/My.Model-7B",
        "hf.co/some-one/My.Model-7B:latest",
        "hf://some-one/My.Model-7B",
        "git@hf.co:some-one/My.Model-7B",
        "some-one/My.Model-7B/",
        "some-one / My.Model-7B",
        "some-one/My.Model-7B@main",
        "\u200bsome-one/My.Model-7B\u00a0",
        "`some-one/My.Model-7B`",
        "“some-one/My.Model-7B”",
        "「some-one／My．Model－7B」",
        "《https：／／huggingface．co／some-one／My.Model-7B》",
        "some-one、My。Model-7B",
        "git clone https://huggingface.co/some-one/My.Model-7B",
        "ollama run hf.co/some-one/My.Model-7B",
        "[My.Model](https://huggingface.co/some-one/My.Model-7B)",
        "（https://huggingface.co/some-one/My.Model-7B）",
        "some-one/My.Model-7B，",
    ],
)
def test_all_of_these_are_one_repository(text: str) -> None:
    found = find(text)
    assert (found.name, found.hub_id, found.format) == ("some-one/My.Model-7B",) * 2 + ("unknown",)
    assert (found.revision, found.variant, found.modelscope_id) == ("", "", None)
    allowed(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://www.modelscope.cn/models/some-one/Model",
        "https://modelscope.cn/models/some-one/Model/files",
        "https://modelscope.cn/models/some-one/Model/file/view/master/README.md?status=1",
        "modelscope.cn/models/some-one/Model/summary",
        "https://www.modelscope.ai/models/some-one/Model",
    ],
)
def test_a_page_at_modelscope(text: str) -> None:
    found = find(text)
    assert (found.hub_id, found.modelscope_id) == ("some-one/Model", "some-one/Model")
    assert find(found.name) == found


@pytest.mark.parametrize(
    ("text", "revision", "variant"),
    [
        ("o/n:Q4_K_M", "", "Q4_K_M"),
        ("hf.co/o/n:UD-Q4_K_XL", "", "UD-Q4_K_XL"),
        ("o/n：Q8_0", "", "Q8_0"),
        ("o/n@v1.5:Q8_0", "v1.5", "Q8_0"),
        ("hf.co/o/n@v1.5:Q8_0", "v1.5", "Q8_0"),
        ("https://modelscope.cn/models/o/n/tree/v1.5", "v1.5", ""),
        ("https://huggingface.co/o/n/tree/gptq-4bit-32g-actorder_True", "gptq-4bit-32g-actorder_True", ""),
        (f"https://huggingface.co/o/n/commit/{COMMIT}", COMMIT, ""),
        ("https://huggingface.co/o/n/blob/main/a/n.Q4_0.gguf", "", "a/n.Q4_0.gguf"),
        ("https://huggingface.co/o/n/resolve/v2/n%20x.gguf?download=true", "v2", "n x.gguf"),
        ("https://huggingface.co/o/n?show_file_info=n.Q4_0.gguf", "", "n.Q4_0.gguf"),
        ("https://huggingface.co/o/n/blob/main/tiny.pt", "", "tiny.pt"),
        (
            "https://modelscope.cn/models/o/n/file/view/master?fileName=n.Q4_0.gguf&status=2",
            "",
            "n.Q4_0.gguf",
        ),
        ("https://modelscope.cn/models/o/n/resolve/master/n.Q4_0.gguf", "", "n.Q4_0.gguf"),
    ],
)
def test_a_branch_a_quantisation_or_a_file(text: str, revision: str, variant: str) -> None:
    found = find(text)
    assert (found.hub_id, found.revision, found.variant) == ("o/n", revision, variant)
    assert find(found.name) == found
    allowed(text)


@pytest.mark.parametrize(
    "text", ["https://huggingface.co/thudm/ChatGLM3-6B", "“ chatglm3-6b ”", "ＣｈａｔＧＬＭ３－６Ｂ"]
)
def test_the_page_of_a_checkpoint_in_the_catalog(text: str) -> None:
    assert find(text) is CHECKPOINTS["chatglm3-6b"]


def test_another_revision_of_it_is_not_the_catalogs() -> None:
    assert find("https://huggingface.co/THUDM/chatglm3-6b/tree/v0").format == "unknown"


def test_the_operators_own_mirrors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.corp:8080/")
    monkeypatch.setenv("MODELSCOPE_DOMAIN", "scope.corp")
    assert find("http://mirror.corp:8080/o/n/tree/main").name == "o/n"
    assert find("https://scope.corp/models/o/n").modelscope_id == "o/n"


@pytest.mark.parametrize(
    "text",
    [
        "https://huggingface.co/datasets/o/n",
        "https://huggingface.co/spaces/o/n",
        "https://huggingface.co/someone",
        "https://huggingface.co/models?search=x",
        "https://huggingface.co.example.org/o/n",
        "https://example.org/o/n",
        "ftp://huggingface.co/o/n",
        "http://[::1/o/n",
    ],
)
def test_other_addresses_are_no_repository(text: str) -> None:
    with pytest.raises(CheckpointNotFound):
        find(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://huggingface.co/datasets/o/n", "hf.co/spaces/o/n", "https://huggingface.co/someone",
        "https://modelscope.cn/studios/o/n", "https://huggingface.co",
    ],
)  # fmt: skip
def test_a_hubs_other_pages_are_said_to_be_that(text: str) -> None:
    with pytest.raises(CheckpointNotFound, match="no model's page") as caught:
        find(text)
    assert "模型页面" in caught.value.zh


# --- paths -------------------------------------------------------------------------------------


def test_a_path_as_it_is_pasted(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "my model #1")
    plain = str(folder)
    escaped = plain.replace(" ", "\\ ").replace("#", "\\#")
    for text in (
        f'"{plain}"', f"'{plain}'", f"“{plain}”", f" {plain}/ ", folder.as_uri(), escaped,
        "file://localhost" + folder.as_uri().removeprefix("file://"), "~/my model #1", "～/my model #1",
        f"'{folder.as_uri()}'", f"{plain}/config.json", f"{plain}/model.safetensors", f"{plain}/tokenizer.json",
    ):  # fmt: skip
        assert find(text).path == plain, text
        allowed(text)


def test_a_name_on_disk_is_taken_to_the_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("「模型」", "ａ、b。", "'x'"):
        write_folder(tmp_path / name)
        assert clean(name) == name
        assert find(name).path == str(tmp_path / name)


def test_the_folder_that_a_hubs_cache_keeps(tmp_path: Path) -> None:
    repository = tmp_path / "models--o--n"
    old, new = (write_folder(repository / "snapshots" / name) for name in ("a" * 40, "b" * 40))
    (repository / "refs").mkdir()
    (repository / "blobs").mkdir()
    for commit in (old, new):
        (repository / "refs/main").write_text(commit.name)
        for path in (repository, repository / "snapshots", repository / "refs", repository / "blobs"):
            assert find(str(path)).path == str(commit)
    assert find(str(old)).path == str(old)


def test_a_gguf_file_beside_a_config_is_itself(tmp_path: Path) -> None:
    path = write_gguf(write_folder(tmp_path / "both") / "a.gguf")
    assert find(str(path)).path == str(path)


def test_quotes_and_schemes_open_no_other_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUINTET_MODEL_DIRS", str(tmp_path / "models"))
    for text in (
        '"/etc/passwd"',
        "file:///etc/passwd",
        "／etc／passwd",
        "\u200b/etc/passwd",
        "\\/etc/passwd",
    ):
        with pytest.raises(BadInput, match="QUINTET_MODEL_DIRS"):
            allowed(text)


@pytest.mark.parametrize(
    "name",
    [
        "o/n@../../../../tmp/x",
        "o/n@a/../../x",
        "o/n@.hidden",
        "hf.co/o/n/tree/..",
        "https://huggingface.co/o/n/resolve/..%2F..%2Fx/model.gguf",
        "https://huggingface.co/o/n/tree/a%2F..%2F..%2Fx",
        "https://modelscope.cn/models/o/n/tree/%2e%2e",
        "https://huggingface.co/o/n/tree/..%5Cx",
    ],
)
def test_a_revision_leads_nowhere_else(name: str) -> None:
    assert {found.revision for found in (read_page(name), read_id(name)) if found} <= {""}
    with suppress(ModelError):
        assert find(name).revision == ""
