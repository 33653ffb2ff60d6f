"""Files that end or hold llama.cpp, in a worker: a sentence for the one who loads them."""

import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import models
from models import Cancelled, ChatEngine, CheckpointCorrupt, Loader, ModelError
from tests.fakes.damaged_gguf import ENDLESS, with_flipped_bit, with_template
from tests.fakes.waiting import until

pytestmark = [pytest.mark.weights, pytest.mark.slow]

HEADER = 1 << 20  # bytes of the starter's file that hold its facts and tokens


@pytest.fixture(scope="module")
def starter() -> bytes:
    return models.shared().fetch("smollm2-135m-instruct").read_bytes()


@pytest.fixture
def loader() -> Iterator[Loader]:
    loader = Loader(isolated=True)
    yield loader
    loader.unload()


def test_a_template_without_end_can_be_stopped(starter: bytes, loader: Loader, tmp_path: Path) -> None:
    (path := tmp_path / "endless.gguf").write_bytes(with_template(starter, ENDLESS))
    cancel = threading.Event()
    with pytest.raises(Cancelled):
        loader.load(str(path), context=512, progress=lambda _: cancel.set(), cancel=cancel)
    until(lambda: not _workers(path))
    assert loader.loaded() == []


def test_a_template_of_brackets_is_a_sentence_or_an_answer(
    starter: bytes, loader: Loader, tmp_path: Path
) -> None:
    (path := tmp_path / "nested.gguf").write_bytes(
        with_template(starter, "{{ " + "(" * 150 + "1" + ")" * 150 + " }}")
    )
    try:
        engine = loader.load(str(path), context=512)
        assert isinstance(engine, ChatEngine)
        list(engine.stream([{"role": "user", "content": "hello"}], models.ChatOptions(max_new_tokens=1)))
    except ModelError as error:
        assert error.en != error.zh


def test_a_file_that_ends_llama_cpp_is_a_sentence(starter: bytes, loader: Loader, tmp_path: Path) -> None:
    (path := tmp_path / "aborts.gguf").write_bytes(with_flipped_bit(starter, "llama.context_length"))
    with pytest.raises(CheckpointCorrupt, match=r"aborts.gguf ended over its files \(SIGABRT\)"):
        loader.load(str(path), context=512)


def test_flipped_bytes_are_a_sentence_or_change_nothing_here(
    starter: bytes, loader: Loader, tmp_path: Path
) -> None:
    chance = random.Random(13)
    for number in range(8):
        damaged = bytearray(starter)
        damaged[chance.randrange(HEADER)] ^= 1 << chance.randrange(8)
        (path := tmp_path / f"damaged-{number}.gguf").write_bytes(damaged)
        try:
            loader.load(str(path), context=512)
        except ModelError as error:
            assert error.en != error.zh
        loader.unload()
        path.unlink()


def _workers(path: Path) -> list[psutil.Process]:
    """The processes that have this file. One that has just ended has no command line."""
    running = psutil.process_iter(["ppid", "cmdline"])
    return [
        process
        for process in running
        if process.info["ppid"] == os.getpid() and str(path) in (process.info["cmdline"] or ())
    ]
