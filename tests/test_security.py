"""SECURITY.md: each threat has a defence, and tests that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLE = (ROOT / "SECURITY.md").read_text(encoding="utf-8").partition("## Threats and answers")[2]
ROWS = [line.strip("| ").split(" | ") for line in TABLE.splitlines() if line.startswith("| ")][2:]
NAMED = sorted(set(re.findall(r"`(tests/[^`]+)`", TABLE)))
FORM = re.compile(r"`tests/[\w/]+\.py::test_\w+`(, `tests/[\w/]+\.py::test_\w+`)*")


@cache
def functions_in(path: Path) -> set[str]:
    """Return the names of the functions in a file, including those of its classes."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, functions)}


@pytest.mark.parametrize("named", NAMED)
def test_every_named_test_exists(named: str) -> None:
    file, _, test = named.partition("::")
    assert test in functions_in(ROOT / file)


def test_every_row_has_a_threat_a_defence_and_a_test() -> None:
    assert len(ROWS) > 30
    for row in ROWS:
        assert len(row) == 4, row
        assert all(cell.strip() for cell in row), row
        assert FORM.fullmatch(row[3]) or (row[3] == "-" and row[2].startswith("none possible here")), row


def test_each_threat_stands_once() -> None:
    threats = [(asset, threat) for asset, threat, *_ in ROWS]
    assert len(set(threats)) == len(threats)
