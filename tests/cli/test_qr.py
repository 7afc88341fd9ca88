"""The QR code that a terminal shows is the one that a phone reads."""

from __future__ import annotations

import segno

from lanhaven.cli.qr import HALVES, QUIET, rows

TEXT = "http://192.168.1.20:8002/?token=abcdefghijklmnopqrstuvwxyzabcdefghijklmnopq"


def test_the_modules_are_those_of_the_code() -> None:
    back = {sign: pair for pair, sign in HALVES.items()}
    drawn = [[back[sign] for sign in row] for row in rows(TEXT, 80)]
    modules = [[pair[half] for pair in row] for row in drawn for half in (0, 1)]
    matrix = [[bool(module) for module in row] for row in segno.make(TEXT, error="l", micro=False).matrix]
    size = len(matrix)
    assert [row[QUIET : QUIET + size] for row in modules[QUIET : QUIET + size]] == matrix
    assert not any(any(row) for row in modules[:QUIET])


def test_a_narrow_terminal_gets_none() -> None:
    assert list(rows(TEXT, 30)) == []
