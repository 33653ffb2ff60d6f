"""Any Whisper as a CTranslate2 folder: the same network, the same tokens, made once or not at all."""

import errno
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from models.engines.speech import CONVERTED, WhisperEngine
from models.errors import CheckpointCorrupt, DoesNotFit
from models.schema import Checkpoint, Placement, Progress, SpeechOptions
from models.speech import convert
from models.speech.convert import converted
from models.speech.weights import read
from tests.fakes.tiny_whisper import save_folder, save_pt


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QUINTET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/ctranslate2"


@pytest.mark.parametrize("layout", ["pt", "folder"])
def test_the_copy_is_the_same_network(tmp_path: Path, cache: Path, layout: str) -> None:
    import ctranslate2
    import torch

    path = tmp_path / ("random.pt" if layout == "pt" else "random")
    save_pt(path) if layout == "pt" else save_folder(path)
    network = ctranslate2.models.Whisper(str(converted(path)), compute_type="float32")
    reference = read(path, "cpu", half=False)
    features = torch.randn(1, 80, 3000)
    with torch.no_grad():
        expected = reference.encoder(features)
        told = reference.detect_language(features)[1][0]
    encoded = network.encode(ctranslate2.StorageView.from_array(features.numpy()))
    np.testing.assert_allclose(np.asarray(encoded), expected.numpy(), atol=1e-3)
    ours = {token.strip("<|>"): probability for token, probability in network.detect_language(encoded)[0]}
    assert ours == pytest.approx(told, abs=1e-4)
    heads = reference.alignment_heads.indices().T.tolist()
    text = list(range(1000, 1020))
    assert network.align(encoded, [50258], [text], 3000) and heads


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("norms", [True, False])
def test_the_copy_has_the_precision_of_the_files_matrices(
    tmp_path: Path, cache: Path, precision: str, norms: bool
) -> None:
    """Matrices are kept bit by bit: what is rounded twice would not be the same int8."""
    import torch

    path, kind = tmp_path / "random.pt", getattr(torch, precision)
    save_pt(path)
    content = torch.load(path, weights_only=True)
    state = {
        name: tensor if norms and "ln" in name else tensor.to(kind)
        for name, tensor in content["model_state_dict"].items()
    }
    torch.save({**content, "model_state_dict": state}, path)
    written = (converted(path) / "model.bin").read_bytes()
    embedding = state["decoder.token_embedding.weight"]
    assert embedding.view(torch.uint8).numpy().tobytes() in written
    everything = sum(tensor.numel() for tensor in state.values()) * embedding.itemsize
    assert len(written) == pytest.approx(everything, rel=0.03)
    described = b"layer_norm/gamma\0\x01" + (16).to_bytes(4, "little")
    at = written.index(described) + len(described)  # then its type and its size
    assert int.from_bytes(written[at + 1 : at + 5], "little") == 16 * embedding.itemsize


@pytest.mark.parametrize("multilingual", [True, False])
def test_the_copy_writes_the_same_tokens(multilingual: bool) -> None:
    from whisper.tokenizer import get_tokenizer

    theirs = get_tokenizer(multilingual)
    ours = convert._tokenizer(theirs.encoding)  # noqa: SLF001
    for text in (
        "Hello, world: it's 3:15!",
        "  two  spaces\n\nlines\t",
        "你好，世界！",
        "naïve façade — 👩‍🚀",
        "",
    ):
        assert ours.encode(text).ids == theirs.encode(text)
        assert ours.decode(theirs.encode(text)) == text
    for name in theirs.encoding.special_tokens_set:
        assert ours.token_to_id(name) == theirs.encoding.encode_single_token(name)


def test_a_copy_is_made_once_for_each_state_of_a_file(tmp_path: Path, cache: Path, monkeypatch: Any) -> None:
    path = tmp_path / "random.pt"
    save_pt(path)
    folder = converted(path)
    assert folder.parent == cache and sorted(cache.iterdir()) == [folder]
    monkeypatch.setattr(convert, "_convert", lambda *_: pytest.fail("converted again"))
    assert converted(path) == folder
    monkeypatch.undo()
    monkeypatch.setenv("QUINTET_CACHE", str(cache.parent))
    path.write_bytes(path.read_bytes() + b"\0")
    assert converted(path) != folder


def test_another_file_of_the_same_size_gets_a_copy_of_its_own(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "contents", lambda path: None)
    monkeypatch.setattr(convert, "_convert", lambda found, folder: None)
    path = tmp_path / "a.pt"
    path.write_bytes(b"first")
    os.utime(path, (1, 1))
    folder = converted(path)
    path.write_bytes(b"other")
    assert converted(path) != folder


def test_what_fails_leaves_nothing(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    path = tmp_path / "random.pt"
    save_pt(path)
    with monkeypatch.context() as patch:
        patch.setattr(convert, "_tokenizer", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            converted(path)
    content = torch.load(path, weights_only=True)
    del content["model_state_dict"]["decoder.ln.weight"]
    torch.save(content, path)
    with pytest.raises(CheckpointCorrupt, match=r"decoder\.ln\.weight") as error:
        converted(path)
    assert error.value.zh.endswith("。")
    assert list(cache.iterdir()) == []


def test_a_damaged_copy_is_made_anew(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "random.pt"
    save_pt(path)
    checkpoint = Checkpoint("random", "whisper", "speech", "whisper-pt")
    folder = converted(path)
    (folder / "model.bin").write_bytes(b"")
    WhisperEngine(path, checkpoint, Placement("cpu", "int8"))  # and says nothing of the original
    whole = {file.name: file.read_bytes() for file in folder.iterdir() if file.name != convert.RECORD}

    def convert_again(_: Any, to: Path) -> None:
        for name, data in whole.items():
            (to / name).write_bytes(data)

    monkeypatch.setattr(convert, "contents", lambda _: None)
    monkeypatch.setattr(convert, "_convert", convert_again)
    damages = (
        *((name, bytes(len(data))) for name, data in whole.items()),
        *((name, data[:-1]) for name, data in whole.items()),
        (convert.RECORD, b"{"),
        ("more.json", b"{}"),
    )
    for name, damaged in damages:
        (folder / name).write_bytes(damaged)
        converted(path)
        assert all((folder / name).read_bytes() == data for name, data in whole.items())
    (folder / "model.bin").unlink()
    assert converted(path) == folder and (folder / "model.bin").read_bytes() == whole["model.bin"]


def test_a_cache_that_is_read_only(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy is the process's own then, made once; and where there is one in the cache, that is taken."""
    path, make = tmp_path / "random.pt", Path.mkdir
    save_pt(path)

    def refuse(folder: Path, *arguments: Any, **named: Any) -> None:
        if folder.is_relative_to(cache.parent):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(folder))
        make(folder, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        folder = converted(path)
        assert not folder.is_relative_to(cache.parent) and (folder / "model.bin").is_file()
        patch.setattr(convert, "_convert", lambda *_: pytest.fail("converted again"))
        assert converted(path) == folder
    copy = converted(path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        assert converted(path) == copy != folder


def test_a_disk_that_takes_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("QUINTET_CACHE", str(tmp_path / "file"))
    save_pt(tmp_path / "random.pt")
    with pytest.raises(DoesNotFit, match="choose fp32"):
        converted(tmp_path / "random.pt")


def test_int8_of_any_file_says_how_it_runs(tmp_path: Path, cache: Path) -> None:
    save_pt(tmp_path / "random.pt")
    told: list[Progress] = []
    checkpoint = Checkpoint("random", "whisper", "speech", "whisper-pt")
    engine = WhisperEngine(
        tmp_path / "random.pt", checkpoint, Placement("cpu", "int8"), told.append, threading.Event()
    )
    assert [step.stage for step in told] == ["convert", "load"]
    assert engine.report.notes == (CONVERTED,) and "int8" in engine.report.dtype


@pytest.mark.weights
def test_a_converted_file_hears_what_the_official_copy_hears(jfk: Path) -> None:
    options = SpeechOptions(beam_size=1, word_timestamps=True)
    heard = []
    for name in ("whisper-tiny.en", "whisper-tiny.en-pt"):
        segments = models.load(name, precision="int8").transcribe(jfk, options)
        heard.append([(s.start, s.end, s.text, [w.start for w in s.words]) for s in segments])
    assert heard[0] == heard[1]
