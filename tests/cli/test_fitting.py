"""Tables in a terminal that is too narrow for them."""

from __future__ import annotations

import pytest

from lanhaven.cli.fitting import GAP, fitted
from tests.cli.scripted import Cli, Scripted

REQUEST = {
    "timestamp": "2026-11-22T02:15:41.626Z",
    "requestId": "req_1795313741625_7c5bddad38",
    "status": "completed",
    "model": "org/a-model-with-a-name-that-is-rather-long",
    "key": "anna",
    "timeMs": 1897,
    "firstTokenMs": 320,
    "completionTokens": 24,
    "tokensPerSecond": 15.2,
}


def test_all_as_they_are_where_there_is_room() -> None:
    assert fitted([5, 7, 9], {2}, {1}, 100) == {0: 5, 1: 7, 2: 9}


def test_spare_columns_go_first_the_last_one_before_the_others() -> None:
    assert fitted([10, 10, 10, 10], {1, 2}, (), 38) == {0: 10, 1: 10, 3: 10}
    assert fitted([10, 10, 10, 10], {1, 2}, (), 25) == {0: 10, 3: 10}


def test_then_the_widest_of_those_that_may_be_cut() -> None:
    assert fitted([14, 30, 20, 8], (), {1, 2}, 14 + 18 + 18 + 8 + 3 * GAP) == {0: 14, 1: 18, 2: 18, 3: 8}


def test_a_line_is_never_longer_than_the_terminal_while_there_is_something_to_take() -> None:
    shown = fitted([14, 9, 28, 200], {1}, {3}, 40)
    assert sum(width + GAP for width in shown.values()) <= 40 + GAP


@pytest.mark.parametrize("columns", [80, 140])
def test_the_history_can_be_read(cli: Cli, server: Scripted, columns: int) -> None:
    server.says("GET", "/debug/history/requests", {"requests": [REQUEST]})
    done = cli.on_terminal("history", columns=columns)
    heading, row = done.lines
    assert len(heading) <= columns
    assert len(row) <= columns
    for whole in ("11-22 02:15:41", "completed", "1897 ms", REQUEST["requestId"]):
        assert str(whole) in row
    assert "…" not in heading
    assert ("TOKENS/S" in heading) is (columns == 140)


def test_the_keys_can_be_read(alone: Cli) -> None:
    alone("keys", "add", "anna", "--expires", "2030-12-31", "--models", "smol*")
    done = alone.on_terminal("keys", "ls", columns=80)
    assert "…" not in done.lines[0]
    assert {"anna", "inference", "smol*", "2030-12-31"} <= set(done.lines[1].split())
