"""Rules that hold the parts together: who imports whom, what costs time, how failures are said."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

import models
from models.errors import ModelError
from tests import rooms
from tests.fakes.paths import ROOT

MODELS = sorted((ROOT / "models").rglob("*.py"))
SHOWN = [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))]
PAGES = [ROOT / "app.py", *sorted((ROOT / "pages").glob("*.py"))]

HEAVY = {
    "accelerate", "altair", "av", "ctranslate2", "docx", "faster_whisper", "gptqmodel", "huggingface_hub", "numpy",
    "optimum", "pandas", "PIL", "pyarrow", "pypdf", "ray", "safetensors", "scipy", "sqlalchemy", "tokenizers", "torch",
    "torchao", "transformers", "whisper", "xllamacpp",
}  # fmt: skip
MADE_OF_TORCH = {"chatglm", "pretrained", "qwen_vl"}  # wings that are imported when a model is loaded


def module(file: Path) -> str:
    """The name below `models`: "engines.gguf"."""
    return ".".join(file.relative_to(ROOT / "models").with_suffix("").parts)


def path(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


def imported(node: ast.AST) -> Iterator[str]:
    """Full names of the modules that a piece of code imports, those of functions included."""
    for part in ast.walk(node):
        if isinstance(part, ast.Import):
            yield from (alias.name for alias in part.names)
        elif isinstance(part, ast.ImportFrom):
            whole = str(part.module)
            here = ROOT.joinpath(*whole.split("."))
            for alias in part.names:
                is_module = (here / f"{alias.name}.py").is_file() or (here / alias.name).is_dir()
                yield f"{whole}.{alias.name}" if is_module else whole


def at_import(file: Path) -> set[str]:
    """First names of what is imported as soon as the file is: outside of functions, and not for type checkers alone."""
    found: set[str] = set()
    todo: list[ast.AST] = [tree(file)]
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {name.split(".")[0] for name in imported(node)}
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo += node.orelse
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            todo += ast.iter_child_nodes(node)
    return found


every_module = pytest.mark.parametrize("file", MODELS, ids=module)
every_shown = pytest.mark.parametrize("file", SHOWN, ids=path)
every_source = pytest.mark.parametrize("file", [*MODELS, *SHOWN], ids=path)


# --- who imports whom ----------------------------------------------------------------------------


def test_who_may_import_whom(capsys: pytest.CaptureFixture[str]) -> None:
    """The rules are import-linter's, in pyproject.toml; `make lint` checks them alone."""
    verdict = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert verdict == EXIT_STATUS_SUCCESS, capsys.readouterr().out


@pytest.mark.parametrize("name", ["errors", "schema"])
def test_the_shared_words_import_the_standard_library_only(name: str) -> None:
    first = {found.split(".")[0] for found in imported(tree(ROOT / f"models/{name}.py"))}
    assert first <= {*sys.stdlib_module_names, "models"}


@every_shown
def test_pages_use_public_names(file: Path) -> None:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.ImportFrom) and node.module == "models":
            assert {alias.name for alias in node.names} <= set(models.__all__)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "models":
            assert node.attr in models.__all__


def test_the_drawing_of_the_house_is_that_of_today() -> None:
    """docs/architecture.md; `python -m tests.rooms` draws it anew."""
    house = rooms.read()
    assert not house.rising and not house.circling
    assert len(house.arrows) <= 34  # in models/, and the pages
    assert rooms.split(rooms.PAGE.read_text("utf-8"))[1] == rooms.drawn(house)


def test_what_is_public_is_what_is_exported() -> None:
    init = tree(ROOT / "models/__init__.py")
    bound = {
        alias.asname or alias.name
        for node in init.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    } | {node.name for node in init.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    assert sorted(bound) == models.__all__
    assert all(hasattr(models, name) for name in models.__all__)


@every_shown
def test_names_that_start_with_an_underscore_stay_where_they_are(file: Path) -> None:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.ImportFrom):
            assert not [alias.name for alias in node.names if re.match(r"_[a-z]", alias.name)]


def test_no_module_hides_another() -> None:
    """A script's folder comes first on the path: pages/whisper.py must not be the main script's neighbour."""
    taken = set(sys.stdlib_module_names) | set(packages_distributions())
    for folder in (ROOT, ROOT / "models", ROOT / "models/engines", ROOT / "pages/shared", ROOT / "tests"):
        names = {file.stem for file in folder.glob("*.py")} - {"__init__", "__main__", "conftest"}
        # Below a package only absolute imports are used, so what is installed is hidden from the top alone.
        assert not names & (taken if folder == ROOT else set(sys.stdlib_module_names)), folder.name


# --- what costs time -----------------------------------------------------------------------------


@every_source
def test_heavy_libraries_are_imported_inside_functions(file: Path) -> None:
    if file.parent.name not in MADE_OF_TORCH:
        assert not at_import(file) & HEAVY - ({"sqlalchemy"} if file.parent.name == "store" else set())


def test_what_says_where_things_are_kept_costs_no_time() -> None:
    """The rest of the store is imported when it is opened."""
    assert "sqlalchemy" not in modules_after("import models.store.opening, models.store.things")


def modules_after(code: str) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return {name.split(".")[0] for name in run.stdout.splitlines()[-1].split()}


def test_importing_models_imports_the_standard_library_only() -> None:
    outside = modules_after("import models") - modules_after("") - set(sys.stdlib_module_names)
    assert outside == {"models"}


@pytest.mark.parametrize("file", sorted((ROOT / "models/engines").glob("*.py")), ids=module)
def test_naming_an_engine_imports_no_heavy_library(file: Path) -> None:
    assert not modules_after(f"import models.{module(file)}") & HEAVY


@pytest.mark.slow
@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.stem)
def test_a_page_imports_no_heavy_library(file: Path) -> None:
    run = f"""
from streamlit.testing.v1 import AppTest
shown = AppTest.from_file({str(file)!r}, default_timeout=60).run()
assert not shown.exception, shown.exception
"""
    assert not modules_after(run) & HEAVY


# --- how it is written ---------------------------------------------------------------------------


@every_module
def test_nothing_runs_what_was_downloaded(file: Path) -> None:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            assert called not in ("eval", "exec", "pickle.load", "pickle.loads"), node.lineno
            if called == "torch.load":
                assert ast.unparse(given.get("weights_only", ast.Constant(None))) == "True", node.lineno
            for name in ("trust_remote_code", "strict"):
                # zip(strict=…) is another thing.
                if name in given and called != "zip":
                    assert ast.unparse(given[name]) == ("False" if name != "strict" else "True"), node.lineno
    assert "pickle" not in {name.split(".")[0] for name in imported(tree(file))}


@every_module
def test_nothing_is_printed_swallowed_or_asserted(file: Path) -> None:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call) and module(file) != "__main__":
            assert ast.unparse(node.func) != "print", node.lineno
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"bare except in line {node.lineno}"
            assert [type(step) for step in node.body] != [ast.Pass], node.lineno
        assert not isinstance(node, ast.Assert), f"assert in line {node.lineno}"


@every_module
def test_nothing_at_module_level_changes(file: Path) -> None:
    """Constants are mappings that nobody writes to, tuples, or plain values."""
    for node in tree(file).body:
        value = getattr(node, "value", None)
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(value, (ast.List, ast.Set)):
            names = [
                ast.unparse(target) for target in getattr(node, "targets", [getattr(node, "target", None)])
            ]
            assert names == ["__all__"], node.lineno


# --- failures ------------------------------------------------------------------------------------

ERRORS = {
    name for name, value in vars(models).items() if isinstance(value, type) and issubclass(value, ModelError)
}
CHINESE = re.compile(r"[一-鿿]")
HALF_WIDTH = re.compile(r"[一-鿿]\s*[,;:?!]|[,;:?!]\s*[一-鿿]|[一-鿿]\.(\s|$)")


def literal(node: ast.AST) -> str:
    """A string as written; what is put into it becomes "x", or its own text where that is literal."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(literal(value) for value in values)
        case ast.FormattedValue(value=ast.IfExp(body=body, orelse=orelse)):
            return literal(body) or literal(orelse)
        case ast.BinOp(left=left, right=right):
            return literal(left) + literal(right)
    return "x"


def calls(file: Path, names: set[str]) -> Iterator[ast.Call]:
    """Every call of one of these names in a file."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in names:
            yield node


@every_source
def test_every_failure_is_a_sentence_in_both_languages(file: Path) -> None:
    for call in calls(file, ERRORS):
        if ast.unparse(call) == "Cancelled()":
            continue
        where = f"line {call.lineno}"
        assert len(call.args) == 2 and not call.keywords, where
        english, chinese = map(literal, call.args)
        assert english.endswith(".") and ". " not in english and not CHINESE.search(english), where
        assert chinese.endswith("。") and chinese.count("。") == 1 and CHINESE.search(chinese), where


@every_source
def test_chinese_has_its_own_punctuation(file: Path) -> None:
    for call in calls(file, ERRORS | {"Text", "tr"}):
        if len(call.args) == 2:
            chinese = literal(call.args[1])
            assert not HALF_WIDTH.search(chinese), f"line {call.lineno}: {chinese}"


def test_the_sentences_are_where_the_tests_look() -> None:
    found = [len(list(calls(file, ERRORS))) for file in MODELS]
    assert sum(found) > 50
    assert (
        HALF_WIDTH.search("你好,世界")
        and HALF_WIDTH.search("你好.")
        and not HALF_WIDTH.search("你好，a, b。")
    )
