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

import models
from models.errors import ModelError
from models.loader import ENGINES
from tests.fakes.paths import ROOT

MODELS = sorted((ROOT / "models").rglob("*.py"))
SHOWN = [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))]
PAGES = [ROOT / "app.py", *sorted((ROOT / "pages").glob("*.py"))]

# What a wing may import beside itself and the shared words.
SCHEMA = {"errors", "schema"}
BASES = {"engines.base", "engines.fair_queue", "engines.sequential"}  # what engines are made of
ENTRANCE = {"__init__", "__main__", "api", "cluster", "loader"}  # what engines stand under
WINGS = {
    "catalog": {"languages"},
    "hub": {"cache", "catalog", "jobs", "shared_work"},
    "placement": {"machine"},
    "machine": set(),
}
HEAVY = {
    "accelerate", "altair", "av", "ctranslate2", "faster_whisper", "gptqmodel", "huggingface_hub", "numpy",
    "optimum", "pandas", "PIL", "pyarrow", "ray", "safetensors", "scipy", "tokenizers", "torch", "torchao",
    "transformers", "whisper", "xllamacpp",
}  # fmt: skip
FRAMEWORKS = {"streamlit", "starlette", "fastapi", "uvicorn"}


def module(file: Path) -> str:
    """The name below `models`: "engines.gguf"."""
    return ".".join(file.relative_to(ROOT / "models").with_suffix("").parts)


def wing(name: str) -> str:
    """The folder, or file, directly below `models`."""
    return name.split(".")[0]


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
            assert part.level == 0, "relative import"
            whole = str(part.module)
            here = ROOT.joinpath(*whole.split("."))
            for alias in part.names:
                is_module = (here / f"{alias.name}.py").is_file() or (here / alias.name).is_dir()
                yield f"{whole}.{alias.name}" if is_module else whole


def ours(file: Path) -> set[str]:
    """Names below `models` that a file imports; "" is the package itself."""
    names = [name for name in imported(tree(file)) if name.split(".")[0] == "models"]
    return {name.removeprefix("models").removeprefix(".") for name in names}


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


@pytest.mark.parametrize("name", sorted(SCHEMA))
def test_the_shared_words_import_the_standard_library_only(name: str) -> None:
    names = set(imported(tree(ROOT / f"models/{name}.py")))
    outside = {found for found in names if found.split(".")[0] not in sys.stdlib_module_names}
    assert outside <= ({"models.errors"} if name == "schema" else set())


@every_module
def test_a_wing_knows_only_itself_and_what_it_stands_on(file: Path) -> None:
    own = wing(module(file))
    if own in WINGS:
        assert {wing(name) for name in ours(file)} <= WINGS[own] | SCHEMA | {own}


@every_module
def test_engines_get_a_folder_and_a_description(file: Path) -> None:
    """Neither one another, nor whatever finds, fetches, places or loads."""
    if not module(file).startswith("engines."):
        return
    others = {module(other) for other in MODELS if module(other).startswith("engines.")} - BASES
    assert not ours(file) & (others - {module(file)})
    assert not {wing(name) for name in ours(file)} & (WINGS.keys() | ENTRANCE | {""})


@every_module
def test_only_the_command_line_and_what_serves_know_the_whole(file: Path) -> None:
    """Everything else is below `models` and `models.loader`, and imports neither."""
    if module(file) in ENTRANCE:
        return
    assert not ours(file) & (ENTRANCE | {""})


@every_module
def test_engines_are_imported_when_one_is_loaded(file: Path) -> None:
    if module(file).startswith("engines."):
        return
    engines = {name for name in ours(file) if name.startswith("engines.")}
    assert engines <= BASES


@every_module
def test_models_know_no_page_no_test_and_no_web_framework(file: Path) -> None:
    first = {name.split(".")[0] for name in imported(tree(file))}
    assert not first & {"app", "pages", "tests", "bench"}
    assert not first & (FRAMEWORKS - {"starlette"} if module(file).startswith("api") else FRAMEWORKS)


def test_modules_import_each_other_in_no_circle() -> None:
    below = {module(file): {name for name in ours(file) if name} for file in MODELS}
    left = dict(below)
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]
    assert not left


@every_shown
def test_pages_use_public_names(file: Path) -> None:
    """`models` itself, and the modules beside it that need no engine."""
    beside = {
        "schema",
        "chat",
        "languages",
        "tools",
        "interpreter",
        "jobs",
        "captions",
        "pictures",
        "sound",
        "transcripts",
    }
    beside |= {"speech"}
    assert {wing(name) for name in ours(file)} <= {"", *beside} | (
        {"api"} if file.name == "app.py" else set()
    )
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.ImportFrom) and node.module == "models":
            assert {alias.name for alias in node.names} <= set(models.__all__)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "models":
            assert node.attr in models.__all__


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
    made_of_torch = file.parent.name in ("chatglm", "qwen_vl") or file.name in (
        "generation.py",
        "quantize.py",
    )
    if not made_of_torch:
        assert not at_import(file) & HEAVY


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


@pytest.mark.parametrize("name", sorted(set(ENGINES.values())))
def test_naming_an_engine_imports_no_heavy_library(name: str) -> None:
    assert not modules_after(f"import {name.split(':')[0]}") & HEAVY


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
