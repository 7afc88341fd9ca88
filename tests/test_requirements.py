"""Every requirement row and fault that the project claims is proved by a test that names it.

docs/requirements.md maps rows to what they are; a test says which it proves with `@pytest.mark.req("S0-29")`. A row that is
claimed there without a test fails here, and so does a test that names a row that nobody knows.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
DOCUMENT = TESTS.parent / "docs" / "requirements.md"
ROW = re.compile(r"^\| ((?:S\d|C|F|P)-?x?[\d]+[\w-]*) \| (.*?) \| (proved|later|not ours) \|", re.MULTILINE)


def claims() -> dict[str, str]:
    """Row id -> proved, later, not ours."""
    return {row: state for row, _, state in ROW.findall(DOCUMENT.read_text(encoding="utf-8"))}


def named() -> dict[str, set[str]]:
    """Row id -> tests that name it."""
    found: dict[str, set[str]] = {}
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.req":
                for argument in node.args:
                    if isinstance(argument, ast.Constant):
                        found.setdefault(str(argument.value), set()).add(f"{path.relative_to(TESTS)}:{node.lineno}")
    return found


def test_no_row_is_claimed_without_a_test() -> None:
    missing = sorted(row for row, state in claims().items() if state == "proved" and row not in named())
    assert not missing, f"claimed in docs/requirements.md, named by no test: {missing}"


def test_every_named_row_is_in_the_document() -> None:
    unknown = sorted(set(named()) - set(claims()))
    assert not unknown, f"named by a test, not in docs/requirements.md: {unknown}"


def test_a_row_that_a_test_names_is_not_called_later() -> None:
    modest = sorted(row for row, state in claims().items() if state == "later" and row in named())
    assert not modest, f"proved by a test but called later in docs/requirements.md: {modest}"
