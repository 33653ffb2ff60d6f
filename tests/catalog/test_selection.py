"""Which files of a repository are taken, what a folder lacks, and what an engine is given: a table of each."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from models.catalog.selection import entry, has_weights, is_beside, is_shard, matching, missing, select
from models.schema import Checkpoint

ANY = Checkpoint("a", "other", "chat", "unknown")
SHARDS = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
PARTS = [f"m-0000{number}-of-00002.gguf" for number in (1, 2)]


def test_patterns_match_in_any_case_and_in_order() -> None:
    names = ["b.JSON", "a.json", "sub/c.json", "d.bin"]
    assert matching(names, ["*.Json"]) == ["a.json", "b.JSON", "sub/c.json"]
    assert matching(iter(names), iter(["*.bin", "a*"])) == ["a.json", "d.bin"]
    assert matching(names, []) == []


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("model.safetensors", False), ("adapter_model.safetensors", True), ("x/ADAPTER_model.bin", True),
        ("ggml-adapter-model.gguf", True), ("consolidated.00.pth", True), ("ggml-vocab-llama.gguf", True),
        ("optimizer.bin", True), ("mmproj-f16.gguf", True), ("model-mmproj.gguf", True),
        ("imatrix.gguf", True), ("m.imatrix.gguf", True), ("m-imatrix-Q4_K_M.gguf", False),
        ("m-IQ2_XS-imatrix.gguf", False), ("optimizer/model.safetensors", False),
    ],
)  # fmt: skip
def test_what_lies_beside_a_model(name: str, beside: bool) -> None:
    assert is_beside(name) is beside


@pytest.mark.parametrize(
    ("name", "shard"),
    [
        ("a-00001-of-00002.gguf", True),
        ("a-1-of-2.gguf", False),
        ("a-00001-of-00002", False),
        ("a.gguf", False),
    ],
)
def test_a_shard_has_its_number_and_how_many_there_are(name: str, shard: bool) -> None:
    assert is_shard(name) is shard


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["config.json", "model.safetensors"], ["config.json", "model.safetensors"]),
        # One copy of the weights, with its own index and no other's.
        (
            [*SHARDS, "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"],
            ["model.safetensors.index.json", *SHARDS],
        ),
        (["model.safetensors", "model.safetensors.index.json"],
         ["model.safetensors.index.json", "model.safetensors"]),
        # Nothing outside the folder, no Python, no other folder's weights; named templates.
        (["../model.safetensors", "/etc/x.json", "a/..b.json", "model.safetensors"], ["model.safetensors"]),
        (["modeling.py", "original/model.safetensors", "model.safetensors"], ["model.safetensors"]),
        (["additional_chat_templates/rag.jinja", "other/a.jinja", "model.safetensors"],
         ["additional_chat_templates/rag.jinja", "model.safetensors"]),
        # Of single files one, with all its parts, and nothing beside it.
        (["config.json", "m.Q8_0.gguf", "m.Q4_K_M.gguf"], ["m.Q4_K_M.gguf"]),
        ([*PARTS, "n-00001-of-00002.gguf", "mmproj.gguf"], PARTS),
        (["config.json", "a.pt", "b.pt"], ["a.pt"]),
        (["config.json"], ["config.json"]),
        (["model.bin", "config.json", "vocabulary.txt"], ["config.json", "vocabulary.txt", "model.bin"]),
    ],
)  # fmt: skip
def test_what_is_taken_of_a_listing(names: list[str], chosen: list[str]) -> None:
    assert select(names, ANY) == chosen
    assert select(reversed(names), ANY) == chosen


def test_a_listing_leads_nowhere_else() -> None:
    names = ["/etc/a.json", "../a.json", "a/../../b.json", "sub/c.json", "/m.Q8_0.gguf", "../m.Q8_0.gguf"]
    assert select(names, replace(ANY, files=("*.json",))) == ["sub/c.json"]
    assert select(names, replace(ANY, variant="Q8_0")) == []


@pytest.mark.parametrize(
    ("names", "variant", "chosen"),
    [
        (["m.Q4_K_M.gguf", "m.Q4_K.gguf"], "Q4_K", ["m.Q4_K.gguf"]),
        (["m.Q4_K_M.gguf", "m.Q4_K.gguf"], "q4_k_m", ["m.Q4_K_M.gguf"]),
        (["m.BF16.gguf", "m.F16.gguf"], "F16", ["m.F16.gguf"]),
        (["mmproj-Q8_0.gguf", "z-Q8_0.gguf"], "Q8_0", ["z-Q8_0.gguf"]),
        (["sub/z-Q8_0.gguf"], "Q8_0", ["sub/z-Q8_0.gguf"]),
        (["Q8_0/z-F16.gguf"], "Q8_0", []),
        (["a.gguf", "sub/b-00001-of-00002.gguf", "sub/b-00002-of-00002.gguf"], "sub/b-00002-of-00002.gguf",
         ["sub/b-00002-of-00002.gguf", "sub/b-00001-of-00002.gguf", "sub/b-00002-of-00002.gguf"]),
        (["m.Q4_K_M.gguf"], "Q8_0", []),
        (["m.Q4_K_M.txt"], "Q4_K_M", []),
    ],
)  # fmt: skip
def test_one_quantisation_of_a_repository(names: list[str], variant: str, chosen: list[str]) -> None:
    assert select(names, replace(ANY, variant=variant)) == chosen


@pytest.mark.parametrize(
    ("names", "files", "whole"),
    [
        (["config.json", "model.safetensors"], (), True),
        (["config.json", "adapter_model.safetensors"], (), False),
        (["config.json"], (), False),
        (["sub/m.gguf"], (), True),
        (["config.json"], ("*.json",), True),
        ([], ("*.json",), False),
    ],
)
def test_whether_anything_but_descriptions_was_taken(
    names: list[str], files: tuple[str, ...], whole: bool
) -> None:
    assert has_weights(names, replace(ANY, files=files)) is whole


# --- folders ---------------------------------------------------------------------------------------


def folder_of(folder: Path, *names: str, **texts: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(texts.get(name.partition(".")[0], ""))
    return folder


WHOLE = ("config.json", "tokenizer.json", "model.safetensors")


@pytest.mark.parametrize(
    ("names", "facts", "lacking"),
    [
        (WHOLE, {}, []),
        (("config.json", "model.safetensors"), {}, ["tokenizer.json"]),
        (("config.json", "tokenizer.model", "model.safetensors"), {}, []),
        (("tokenizer.json", "model.safetensors"), {}, ["config.json"]),
        (("config.json", "tokenizer.json"), {}, ["*.safetensors"]),
        (("config.json", "model.safetensors"), {"format": "chatglm"}, ["tokenizer.model or ice_text.model"]),
        ((*WHOLE[:2], SHARDS[0], "model.safetensors.index.json"), {}, [SHARDS[1]]),
        ((*WHOLE[:2], *SHARDS), {}, ["model.safetensors.index.json"]),
        ((PARTS[1],), {}, [PARTS[0]]),  # no index, no config, no tokenizer: a GGUF has all in it
        (("m.gguf",), {}, []),
        (("m.Q4_0.gguf",), {"variant": "Q8_0"}, ["Q8_0"]),
        (("sub/m.Q8_0.gguf",), {"variant": "Q8_0"}, []),
        (("sub/a.bin",), {"files": ("sub/a.bin", "*.json")}, ["*.json"]),
        (("sub/a.bin", "b.json"), {"files": ("sub/a.bin", "*.json")}, []),
    ],
)
def test_what_a_folder_lacks(
    names: tuple[str, ...], facts: dict[str, object], lacking: list[str], tmp_path: Path
) -> None:
    assert missing(folder_of(tmp_path, *names), replace(ANY, **facts)) == lacking  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("index", "lacking"),
    [
        (json.dumps({"weight_map": {"a": SHARDS[0], "b": SHARDS[1], "c": SHARDS[0]}}), SHARDS),
        ("{", ["model.safetensors.index.json (damaged)"]),
        ("[]", ["model.safetensors.index.json (damaged)"]),
        ('{"weight_map": []}', ["model.safetensors.index.json (damaged)"]),
        ('{"weight_map": {"a": []}}', ["model.safetensors.index.json (damaged)"]),
        ("{}", ["model.safetensors.index.json (damaged)"]),
    ],
)
def test_an_index_alone_says_what_is_to_come(index: str, lacking: list[str], tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "config.json", "tokenizer.json", "model.safetensors.index.json", model=index)
    assert missing(folder, ANY) == lacking


def test_an_index_beside_other_weights_is_not_looked_at(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, *WHOLE, "pytorch_model.bin.index.json")
    (folder / "pytorch_model.bin.index.json").write_text(
        json.dumps({"weight_map": {"a": "pytorch_model.bin"}})
    )
    assert missing(folder, ANY) == []


@pytest.mark.parametrize(
    ("names", "given"),
    [(WHOLE, ""), (("m.gguf", "config.json"), "m.gguf"), (PARTS, PARTS[0]), (("m.pt",), "m.pt")],
)
def test_what_an_engine_is_given(names: tuple[str, ...], given: str, tmp_path: Path) -> None:
    assert entry(folder_of(tmp_path, *names), ANY) == tmp_path / given
