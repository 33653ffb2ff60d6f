"""Settings, questions and refusals that both hubs share; and each hub's own folders and names."""

import hashlib
import os
from pathlib import Path
from typing import Any

import httpx2
import pytest

from models.errors import AccessDenied, CheckpointNotFound, HubUnreachable, UnsupportedCheckpoint
from models.hub import huggingface, modelscope
from models.hub.download import Transfer
from models.hub.huggingface import hf_cache, hf_endpoint, hf_home, hf_offline, hf_snapshots
from models.hub.modelscope import modelscope_endpoint, modelscope_id, modelscope_snapshots
from models.hub.sources import answers, choose_files, explained, folder_of, is_set, open_client, user_cache
from models.hub.stamps import Stamps
from models.schema import Checkpoint
from tests.fakes.hub import TINY

MODEL = Checkpoint("tiny", "other", "chat", "transformers", hub_id="a/b", modelscope_id="c/d.e")


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["1", "ON", "on", "Yes", "TRUE", "true"])
def test_what_switches_on(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCH", value)
    assert is_set("SWITCH")


@pytest.mark.parametrize("value", ["", "0", "off", "no", "false", "2"])
def test_what_does_not(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCH", value)
    assert not is_set("SWITCH")
    monkeypatch.delenv("SWITCH")
    assert not is_set("SWITCH")


def test_the_first_folder_that_is_set_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TWO", "~/two")
    assert folder_of("ONE", "TWO", default=Path("/three")) == tmp_path / "two"
    monkeypatch.setenv("ONE", "$HOME/one")
    assert folder_of("ONE", "TWO", default=Path("/three")) == tmp_path / "one"
    monkeypatch.setenv("ONE", "")
    assert folder_of("ONE", default=Path("~/three")) == tmp_path / "three"


def test_folders_of_hugging_face(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HF_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert (user_cache(), hf_home()) == (tmp_path / ".cache", tmp_path / ".cache/huggingface")
    assert hf_cache() == tmp_path / ".cache/huggingface/hub"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert hf_cache() == Path("/x/huggingface/hub")
    monkeypatch.setenv("HF_HOME", "/h")
    assert (hf_home(), hf_cache()) == (Path("/h"), Path("/h/hub"))
    monkeypatch.setenv("HUGGINGFACE_HUB_CACHE", "/old")
    assert hf_cache() == Path("/old")
    monkeypatch.setenv("HF_HUB_CACHE", "/new")
    assert hf_cache() == Path("/new")


def test_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.test/")
    assert hf_endpoint() == "https://mirror.test"
    monkeypatch.delenv("HF_ENDPOINT")
    assert hf_endpoint() == "https://huggingface.co"
    monkeypatch.delenv("MODELSCOPE_ENDPOINT")
    assert modelscope_endpoint() == "https://modelscope.cn"
    monkeypatch.setenv("MODELSCOPE_DOMAIN", "www.modelscope.ai")
    assert modelscope_endpoint() == "https://www.modelscope.ai"
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:9/")
    assert modelscope_endpoint() == "http://127.0.0.1:9"


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_either_variable_means_offline(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not hf_offline()
    monkeypatch.setenv(variable, "1")
    assert hf_offline()


def test_the_token_of_hugging_face(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def token() -> str | None:
        """With which the hub is asked."""
        asked: list[Any] = []

        def refuse(given: str | None) -> Any:
            asked.append(given)
            raise httpx2.ConnectError("no")

        monkeypatch.setattr(huggingface, "open_client", refuse)
        with pytest.raises(HubUnreachable):
            huggingface.from_hugging_face(TINY, Transfer(), Stamps(tmp_path))
        given: str | None = asked[0]
        return given

    assert token() is None
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf/token").write_text(" saved \n")
    assert token() == "saved"
    (tmp_path / "elsewhere").write_text("\n")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "elsewhere"))
    assert token() is None
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", "older")
    assert token() == "older"
    monkeypatch.setenv("HF_TOKEN", " newer ")
    assert token() == "newer"


def test_an_id_that_was_typed_means_modelscope_once_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (modelscope_id(MODEL), modelscope_id(TINY)) == ("c/d.e", None)
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    assert (modelscope_id(MODEL), modelscope_id(TINY)) == ("c/d.e", "org/tiny")
    known = Checkpoint("x", "other", "chat", "transformers", hub_id="a/b")
    assert modelscope_id(known) is None


# --- copies on this machine ------------------------------------------------------------------------


def test_the_snapshot_of_the_main_branch_comes_first_then_the_newest(tmp_path: Path) -> None:
    repository = tmp_path / "hf/hub/models--a--b"
    for number, name in enumerate(("old", "main", "new")):
        (repository / "snapshots" / name).mkdir(parents=True)
        os.utime(repository / "snapshots" / name, (number, number))
    (repository / "snapshots/file").touch()
    assert [path.name for path in hf_snapshots("a/b")] == ["new", "main", "old"]
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("main\n")
    assert [path.name for path in hf_snapshots("a/b")] == ["main", "new", "old"]
    assert hf_snapshots("a/c") == []


def test_every_layout_of_modelscope_is_found(tmp_path: Path) -> None:
    cache = tmp_path / "modelscope"
    expected = []
    for name in ("models/c--d.e/snapshots/master", "models/c--d.e/snapshots/v1", "models/c/d___e",
                 "hub/models/c/d___e", "hub/c/d___e"):  # fmt: skip
        (cache / name).mkdir(parents=True)
        expected.append(cache / name)
    assert modelscope_snapshots("c/d.e") == expected
    assert modelscope_snapshots("c/other") == []


def fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, commit: str, *files: dict[str, Any]) -> Path:
    """The snapshot of a repository that a hub of our own lists."""
    monkeypatch.setattr(huggingface, "ask_json", lambda *_, **__: {"sha": commit, "siblings": files})
    monkeypatch.setattr(huggingface, "fetch_all", lambda client, remotes, transfer: _written(remotes))
    chosen = Checkpoint("t", "other", "chat", "transformers", hub_id="a/b", files=("*",))
    return huggingface.from_hugging_face(chosen, Transfer(), Stamps(tmp_path / "stamps"))


def test_files_are_linked_as_the_library_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    large = {"rfilename": "sub/a.bin", "blobId": "9" * 40, "lfs": {"sha256": "1" * 64, "size": 7}, "size": 1}
    small = {"rfilename": "config.json", "blobId": "2" * 40, "size": 2}
    for _ in range(2):  # again is no trouble
        snapshot = fetched(monkeypatch, tmp_path, "3" * 40, large, small)
        repository = tmp_path / "hf/hub/models--a--b"
        assert snapshot == repository / "snapshots" / ("3" * 40)
        assert (snapshot / "sub/a.bin").readlink() == Path("../../../blobs") / ("1" * 64)
        assert (snapshot / "config.json").readlink() == Path("../../blobs") / ("2" * 40)
        assert (repository / "refs/main").read_text() == "3" * 40
    stamps = Stamps(tmp_path / "stamps")
    assert stamps.valid(snapshot / "sub/a.bin", "1" * 64)
    assert not stamps.valid(snapshot / "config.json", "2" * 40)


@pytest.mark.parametrize("name", ["../../x", "0" * 39, "0" * 65, "C0FFEE" + "0" * 34])
def test_names_that_a_server_makes_up_are_no_paths(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    safe = hashlib.sha1(name.encode()).hexdigest()
    snapshot = fetched(monkeypatch, tmp_path, name, {"rfilename": "a.bin", "blobId": name, "size": 1})
    assert snapshot == tmp_path / "hf/hub/models--a--b/snapshots" / safe
    assert (snapshot / "a.bin").readlink().name == safe


def test_where_links_are_not_allowed_the_blob_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Any) -> None:
        raise OSError("no right")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    snapshot = fetched(monkeypatch, tmp_path, "3" * 40, {"rfilename": "a.bin", "blobId": "2" * 40, "size": 1})
    assert not (snapshot / "a.bin").is_symlink() and (snapshot / "a.bin").read_bytes() == b"x"
    assert list((tmp_path / "hf/hub/models--a--b/blobs").iterdir()) == []


def test_stamps_are_of_one_state_of_one_file(tmp_path: Path) -> None:
    stamps, file = Stamps(tmp_path / "stamps"), tmp_path / "a.bin"
    file.write_bytes(b"x")
    assert not stamps.valid(file, "1")
    stamps.add(file, "1")
    assert stamps.valid(file, "1") and Stamps(tmp_path / "stamps").valid(file, "1")
    assert not stamps.valid(file, "2")
    (tmp_path / "link").symlink_to(file)
    assert stamps.valid(tmp_path / "link", "1")
    state = file.stat()
    file.write_bytes(b"y")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert not stamps.valid(file, "1")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert stamps.valid(file, "1")
    file.write_bytes(b"xx")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert not stamps.valid(file, "1")
    stamps.add(file, "1")
    next((tmp_path / "stamps").iterdir()).write_text("{")
    assert not stamps.valid(file, "1")
    assert not stamps.valid(tmp_path / "gone", "1")


# --- questions and refusals ------------------------------------------------------------------------


def test_a_client_says_who_it_is_and_unpacks_nothing() -> None:
    with open_client("secret") as client:
        assert client.headers["Authorization"] == "Bearer secret"
        assert client.headers["User-Agent"] == "quintet" and client.headers["Accept-Encoding"] == "identity"
        assert client.follow_redirects
    with open_client(None) as client:
        assert "Authorization" not in client.headers


@pytest.mark.parametrize(
    ("status", "alive"), [(200, True), (302, True), (401, True), (404, True), (499, True),
                          (403, False), (407, False), (500, False), (503, False)]
)  # fmt: skip
def test_a_proxys_refusal_is_no_answer(status: int, alive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpx2, "head", lambda address, timeout: httpx2.Response(status))
    assert answers("http://hub.test", 1.0) is alive


def test_nobody_there_is_no_answer() -> None:
    assert not answers("http://127.0.0.1:9", 1.0)
    assert not answers("http://[::1", 1.0)


FILES: dict[str, str | None] = {
    "config.json": None,
    "tokenizer.json": None,
    "model.safetensors": "1" * 64,
    "readme.md": None,
}


def test_what_is_fetched_of_a_listing() -> None:
    assert choose_files(FILES, MODEL) == ["config.json", "tokenizer.json", "model.safetensors"]
    with pytest.raises(UnsupportedCheckpoint, match="holds no weights"):
        choose_files({"readme.md": None}, MODEL)


@pytest.mark.parametrize(
    ("known", "published", "refused"),
    [("1", "1", False), ("1", None, False), ("2", "1", True)],
)
def test_another_file_under_the_known_name_is_refused(
    known: str, published: str | None, refused: bool
) -> None:
    pinned = Checkpoint(
        "tiny", "other", "chat", "transformers", sha256={"model.safetensors": known, "x": "9"}
    )
    listing = FILES | {"model.safetensors": published}
    if refused:
        with pytest.raises(CheckpointNotFound, match="now has another file"):
            choose_files(listing, pinned)
    else:
        assert "model.safetensors" in choose_files(listing, pinned)


def refused_with(status: int, **headers: str) -> CheckpointNotFound:
    with (
        pytest.raises(CheckpointNotFound) as caught,
        explained(MODEL, "https://hub.test:80/models/a/b", "TOKEN"),
    ):
        request = httpx2.Request("GET", "https://hub.test")
        httpx2.Response(status, headers=headers, request=request).raise_for_status()
    return caught.value


def test_refusals_say_what_to_do() -> None:
    for error in (refused_with(404), refused_with(401, **{"X-Error-Code": "RepoNotFound"})):
        assert type(error) is CheckpointNotFound and "There is no https://hub.test:80/models/a/b" in error.en
        assert "TOKEN" in error.en and "TOKEN" in error.zh
    for status in (401, 403):
        error = refused_with(status)
        assert type(error) is AccessDenied and "tiny is gated" in error.en
        assert "https://hub.test:80/models/a/b" in error.en and "TOKEN" in error.en
    for status in (418, 500, 503):
        error = refused_with(status)
        assert type(error) is HubUnreachable and "hub.test cannot be reached" in error.en


@pytest.mark.parametrize(
    "error",
    [httpx2.ConnectError("x"), httpx2.InvalidURL("x"), ValueError("no JSON"), KeyError("sha"), TypeError()],
)
def test_what_is_no_hub_cannot_be_reached(error: Exception) -> None:
    with (
        pytest.raises(HubUnreachable, match=r"hub\.test cannot be reached"),
        explained(MODEL, "http://hub.test/x", "T"),
    ):
        raise error
    with pytest.raises(HubUnreachable, match="page cannot be reached"), explained(MODEL, "page", "T"):
        raise error


def test_other_errors_are_not_touched() -> None:
    with pytest.raises(CheckpointNotFound, match="mine"), explained(MODEL, "http://hub.test/x", "T"):
        raise CheckpointNotFound("mine", "我的")


def test_files_of_modelscope_are_asked_for_by_their_whole_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listed = [
        {"Path": "sub/a b.safetensors", "Type": "blob", "Size": 3, "Sha256": "1" * 64},
        {"Path": "sub", "Type": "tree"},
        {"Path": "config.json", "Size": 2},
    ]
    asked: list[Any] = []
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "secret")
    monkeypatch.setattr(modelscope, "open_client", lambda token: _client(asked, token))
    monkeypatch.setattr(
        modelscope, "ask_json", lambda *_, **more: asked.append(more) or {"Data": {"Files": listed}}
    )
    monkeypatch.setattr(
        modelscope, "fetch_all", lambda client, remotes, transfer: asked.extend(_written(remotes))
    )
    chosen = Checkpoint("t", "other", "chat", "transformers", modelscope_id="c/d", files=("*",))
    stamps = Stamps(tmp_path / "stamps")
    folder = modelscope.from_modelscope(chosen, Transfer(), stamps)
    token, listing, config, weights = asked
    assert token == "secret" and listing == {"Revision": "master", "Recursive": "True"}
    assert folder == tmp_path / "modelscope/models/c--d/snapshots/master"
    assert weights.url.endswith("/api/v1/models/c/d/repo?Revision=master&FilePath=sub%2Fa%20b.safetensors")
    assert (weights.target, weights.size, weights.sha256) == (folder / "sub/a b.safetensors", 3, "1" * 64)
    assert (config.name, config.size, config.sha256) == ("config.json", 2, None)
    assert stamps.valid(weights.target, "1" * 64)


def _client(asked: list[Any], token: str | None) -> Any:
    asked.append(token)
    return httpx2.Client()


def _written(remotes: Any) -> Any:
    for remote in remotes:
        remote.target.parent.mkdir(parents=True, exist_ok=True)
        remote.target.write_bytes(b"x")
    return remotes
