"""Every requirement row and fault that the project claims is proved by a test that names it.

docs/requirements.md maps rows to what they are; a test says which it proves with `@pytest.mark.req("S0-29")`. A row that is
claimed there without a test fails here, and so does a test that names a row that nobody knows.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
DOCUMENT = TESTS.parent / "docs" / "requirements.md"
ROW = re.compile(r"^\| ((?:S\d-x?|C|F-|P|L)\d+) \| (.+?) \| (proved|later|not ours) \|(?: (.+?))? \|$", re.MULTILINE)

# Ranges of numbers that are rows: a gap in the document would be a row that nobody thinks of any more.
FAULTS = ((1, 23), (31, 49), (61, 75), (81, 92), (101, 114), (121, 130), (141, 157), (161, 175), (181, 190))
EXPECTED = frozenset(
    {f"S0-{number:02}" for number in range(1, 95)}
    | {f"S0-x{number}" for number in range(1, 17)}
    | {f"S1-{number:02}" for number in range(1, 52)}
    | {f"S2-{number:02}" for number in range(1, 26)}
    | {f"S3-{number:02}" for number in range(1, 45)}
    | {f"S3-x{number}" for number in range(1, 9)}
    | {f"S4-{number:02}" for number in range(1, 32)}
    | {f"S4-x{number}" for number in range(1, 15)}
    | {f"C{number}" for number in range(1, 30)}
    | {f"F-{number:03}" for first, last in FAULTS for number in range(first, last + 1)}
    | {f"P{number}" for number in range(1, 29)}
)
# Faults that must be survived before anything else: none of these may wait.
FIRST = ((1, 11), (16, 19), (31, 48), (61, 75), (81, 92))
AT_ONCE = frozenset(f"F-{number:03}" for first, last in FIRST for number in range(first, last + 1))


@cache
def rows() -> tuple[tuple[str, str, str, str], ...]:
    """(id, what, state, note), in the document's order."""
    return tuple(ROW.findall(DOCUMENT.read_text(encoding="utf-8")))


def claims() -> dict[str, str]:
    """Row id -> proved, later, not ours."""
    return {row: state for row, _, state, _ in rows()}


@cache
def named() -> dict[str, list[str]]:
    """Row id -> places of the tests that name it."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for row, line in marks(path.read_text(encoding="utf-8")):
            found.setdefault(row, []).append(f"{path.relative_to(TESTS)}:{line}")
    return found


def marks(text: str) -> Iterator[tuple[str, int]]:
    """Each row that a mark in this source names, with its line."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.req":
            yield from ((ast.literal_eval(argument), node.lineno) for argument in node.args)


def test_no_row_is_claimed_without_a_test() -> None:
    missing = sorted(row for row, state in claims().items() if state == "proved" and row not in named())
    assert not missing, f"claimed in docs/requirements.md, named by no test: {missing}"


def test_every_named_row_is_in_the_document() -> None:
    unknown = {row: places for row, places in named().items() if row not in claims()}
    assert not unknown, f"named by a test, not in docs/requirements.md: {unknown}"


def test_a_row_that_a_test_names_is_not_called_later() -> None:
    modest = {row: named()[row] for row, state in claims().items() if state != "proved" and row in named()}
    assert not modest, f"proved by a test, but not called so in docs/requirements.md: {modest}"


def test_no_row_is_forgotten_and_none_stands_twice() -> None:
    ids = [row for row, *_ in rows()]
    assert sorted(EXPECTED - set(ids)) == []
    assert len(ids) == len(set(ids))


def test_every_line_of_the_tables_is_understood() -> None:
    lines = re.findall(r"^\| (?!id |---).*\|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == len(rows())


def test_what_is_not_proved_says_why() -> None:
    silent = [row for row, _, state, note in rows() if state != "proved" and not note]
    assert not silent, f"later or not ours, without a note: {silent}"


def test_the_gravest_faults_are_proved() -> None:
    assert sorted(row for row in AT_ONCE if claims()[row] != "proved") == []


def test_of_the_two_guides_only_what_needs_lm_studio_waits() -> None:
    waiting = {row: note for row, _, state, note in rows() if state == "later" and re.match(r"S[01]-\d", row)}
    assert [row for row, note in waiting.items() if "LM Studio" not in note] == []


@pytest.mark.parametrize(
    ("line", "state"),
    [("| S0-x3 | What it is | proved | |", "proved"), ("| F-012 | What | not ours | because of this |", "not ours")],
)
def test_rows_are_read(line: str, state: str) -> None:
    assert ROW.findall(line)[0][2] == state


def test_marks_are_read() -> None:
    text = '@pytest.mark.req("S0-01", "C2")\ndef test_x() -> None: ...\n\npytest.mark.other("S0-02")\n'
    assert list(marks(text)) == [("S0-01", 1), ("C2", 1)]
