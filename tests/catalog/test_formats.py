"""The table of formats: that what it names is there, and that nothing else knows a format by its name."""

import ast
import inspect
from pathlib import Path

import pytest

from models import Loader
from models.catalog import CHECKPOINTS, format_of
from models.catalog.files import Files
from models.catalog.formats import FORMATS, Format, resolve
from models.catalog.selection import missing
from models.engines.base import Engine
from models.schema import Checkpoint, Shape
from tests.fakes.engines import FakeEngine
from tests.fakes.paths import ROOT

rows = pytest.mark.parametrize("row", FORMATS.values(), ids=list(FORMATS))


def test_every_checkpoint_has_a_format_with_an_engine() -> None:
    for checkpoint in CHECKPOINTS.values():
        assert format_of(checkpoint).engine and format_of(checkpoint).known


@rows
def test_what_a_row_names_is_there(row: Format) -> None:
    if row.engine:
        assert issubclass(resolve(row.engine), Engine)
    if row.reader:
        (argument,) = inspect.signature(resolve(row.reader)).parameters.values()
        assert argument.annotation is Files


@rows
def test_what_has_files_is_read_and_run_and_what_has_none_says_so(row: Format) -> None:
    assert (row.reader is not None) == (row.known and not row.remote)
    assert (row.engine is not None) == row.known
    assert all(pattern.endswith(row.suffix) for pattern in row.weights)


@pytest.mark.parametrize("folder", ["models", "pages"])
def test_no_other_code_asks_for_a_format_by_its_name(folder: str) -> None:
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Compare):
                parts = list(ast.walk(node))
                asked = [part for part in parts if isinstance(part, ast.Attribute) and part.attr == "format"]
                names = {part.value for part in parts if isinstance(part, ast.Constant)} & FORMATS.keys()
                own = all(ast.unparse(part) == "self.format" for part in asked)  # of another thing
                assert not names or own, f"{file}:{node.lineno}"


# --- a new format --------------------------------------------------------------------------------


def read_words(files: Files) -> Checkpoint | None:
    """What CONTRIBUTING.md asks for, of a folder of weights alone."""
    if not (files.path / "words.bin").is_file():
        return None
    return Checkpoint(
        str(files.path), "other", "chat", "words", parameters=1, shape=Shape(1, 1, 1, 1, 1),
        context_length=64, path=str(files.path),
    )  # fmt: skip


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of a format that is a row, a reader and an engine, and known nowhere else."""
    row = Format(
        reader=f"{__name__}:read_words",
        engine="tests.fakes.engines:FakeEngine",
        precisions=lambda device: ("file",),
        weights=("words.bin",),
        config=False,
        tokenizer="",
    )
    monkeypatch.setitem(FORMATS, "words", row)  # type: ignore[arg-type]
    (tmp_path / "words.bin").write_bytes(b"one two")
    return tmp_path


def test_a_new_format_is_a_row_a_reader_and_an_engine(words: Path) -> None:
    loader = Loader()
    engine = loader.load(str(words), "cpu")
    assert isinstance(engine, FakeEngine) and engine.placement.precision == "file"
    assert loader.unload()


def test_a_folder_needs_what_its_row_says(words: Path) -> None:
    known, described = read_words(Files(words)), Checkpoint("a/b", "other", "chat", "transformers")
    assert known is not None and missing(words, known) == []
    assert missing(words, described) == ["config.json", "tokenizer.json"]
