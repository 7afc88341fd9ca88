"""`watch`: the debug stream."""

from __future__ import annotations

import json
import re
import signal
from typing import Any

import pytest

from lanhaven.cli.watch import TYPES
from tests.cli.scripted import ROOT, Asked, Cli, Handler, Scripted
from tests.cli.test_failures import tries

STAMP = "2026-11-21T10:30:00.123Z"
EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("connected", {"timestamp": STAMP, "message": "Debug stream connected"}),
    (
        "model_load_start",
        {"modelKey": "smollm2", "instanceId": "a", "loadConfig": {"contextLength": 1}, "timestamp": STAMP},
    ),
    ("model_load_complete", {"modelKey": "smollm2", "instanceId": "a", "totalTimeMs": 5432, "timestamp": STAMP}),
    ("inference_start", {"requestId": "req_1", "method": "POST", "path": "/v1/chat/completions", "timestamp": STAMP}),
    ("error", {"operation": "model_load", "error": "Model not found", "timestamp": STAMP}),
]


def stream(handler: Handler, asked: Asked) -> None:
    handler.begin_events()
    for name, data in EVENTS:
        handler.event(data, name)
    handler.wait_for_leaving()


def watched(cli: Cli, lines: int, *words: str) -> list[str]:
    """What the command wrote until it had written so many lines; then Ctrl-C."""
    process = cli.start("watch", *words)
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(lines)]
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=30)
    assert (rest, err, process.returncode) == ("", "", 130)
    return seen


@pytest.mark.req("S0-48")
def test_json_is_one_object_a_line_at_once(cli: Cli, server: Scripted) -> None:
    server.does("GET", "/debug/stream", stream)
    seen = [json.loads(line) for line in watched(cli, len(EVENTS), "--json")]
    assert seen == [{"event": name, **data} for name, data in EVENTS]
    assert server.left.wait(30)
    assert server.asked[0].headers["accept"] == "text/event-stream"


def test_lines_for_people(cli: Cli, server: Scripted) -> None:
    server.does("GET", "/debug/stream", stream)
    seen = watched(cli, len(EVENTS))
    assert seen[2].split() == [
        "10:30:00.123",
        "model_load_complete",
        "modelKey=smollm2",
        "instanceId=a",
        "totalTime=5.4s",
    ]
    assert "error=Model not found" in seen[4]


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (["--type", "load"], ["model_load_start", "model_load_complete"]),
        (["--type", "inference,error"], ["inference_start", "error"]),
        (["--type", "model_load_start", "-t", "error"], ["model_load_start", "error"]),
    ],
)
def test_only_some_types(cli: Cli, server: Scripted, types: list[str], expected: list[str]) -> None:
    server.does("GET", "/debug/stream", stream)
    seen = [json.loads(line)["event"] for line in watched(cli, len(expected), "--json", *types)]
    assert seen == expected


def test_a_word_of_no_type_is_refused_before_anything_is_asked(cli: Cli, server: Scripted) -> None:
    done = cli("watch", "--type", "load,eror")
    assert (done.status, done.out) == (2, "")
    assert "there is no type of event 'eror'" in done.err
    assert "model_load_start" in tries(done)[1]
    assert not server.asked


def test_the_types_are_those_that_a_server_sends() -> None:
    documented = re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "docs/events.md").read_text(), re.MULTILINE)
    assert sorted(TYPES) == sorted(documented)


def test_the_end_of_the_stream_is_told(cli: Cli, server: Scripted) -> None:
    server.does("GET", "/debug/stream", lambda handler, _: handler.begin_events())
    done = cli("watch")
    assert done.status == 3
    assert "ended the stream" in done.err


def test_in_colour_on_a_terminal(cli: Cli, server: Scripted) -> None:
    server.does("GET", "/debug/stream", stream)
    with cli.terminal("watch") as terminal:
        assert "\x1b[" in terminal.until("Model not found")
        terminal.interrupt()
        assert terminal.finish().status == 130
