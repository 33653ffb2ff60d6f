"""docs/threat-model.md: every threat names its test, and every test that it names is there."""

import ast
import re

from tests.conftest import TESTS

ROWS = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in (TESTS.parent / "docs" / "threat-model.md").read_text("utf-8").splitlines()
    if line.startswith("|")
]


def test_every_threat_has_its_test() -> None:
    start = ROWS.index(["what somebody does", "what holds", "test"])
    threats = [row for row in ROWS[start + 2 :] if not row[0].startswith("**")]
    assert len(threats) > 30
    for threat, holds, test in threats:
        file, _, name = test.strip("`").partition("::")
        path = TESTS.parent / file
        assert path.is_file(), f"{threat}: {holds}: there is no {file}"
        defined = {
            node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)
        }
        assert not name or name in defined, f"{threat}: {holds}: {file} has no {name}"
