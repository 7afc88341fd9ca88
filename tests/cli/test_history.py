"""`usage`, `history`, `inspect` and `logs`."""

from __future__ import annotations

import json
import signal
from typing import Any

from tests.cli.scripted import Asked, Cli, Handler, Scripted

ROW: dict[str, Any] = {
    "requestId": "req_1",
    "timestamp": "2026-11-21T10:30:00.123Z",
    "status": "completed",
    "path": "/v1/chat/completions",
    "dialect": "openai",
    "model": "smollm2",
    "key": "laptop",
    "timeMs": 2000,
    "queueMs": 500,
    "firstTokenMs": 1000,
    "completionTokens": 50,
    "tokensPerSecond": 50.0,
}
DETAILS = ROW | {
    "phases": [{"name": "queue", "startMs": 0, "ms": 500}, {"name": "generate", "startMs": 500, "ms": 1500}],
    "parameters": {"temperature": 0.2, "messages": 3},
    "address": "192.168.1.7",
    "userAgent": "curl/8\x1b[31m",
    "body": "kept",
}
LINES = [
    {"time": "2026-11-21T10:30:00.1Z", "level": "info", "text": "model_loaded model=smollm2"},
    {"text": "load_tensors: done"},
]


def gives(server: Scripted, path: str, body: Any) -> None:
    server.does("GET", path, lambda handler, asked: handler.reply(200, body))


def test_usage(cli: Cli, server: Scripted) -> None:
    row = {"requests": 3, "errors": 1, "promptTokens": 10, "completionTokens": 2000, "lastUsed": ROW["timestamp"]}
    gives(server, "/debug/history/usage", {"rows": [{"key": "", **row}], "days": 30})
    done = cli("usage", "--days", "30", "--by", "key")
    assert server.asked[0].path == "/debug/history/usage?days=30&by=key"
    assert done.out.rstrip("\n").split("\t") == ["", "3", "1", "10", "2000", "", ROW["timestamp"]]
    assert json.loads(cli("usage", "--json").out)["days"] == 30
    assert cli("usage", "--by", "hour").status == 2


def test_history_asks_for_what_is_wanted(cli: Cli, server: Scripted) -> None:
    gives(server, "/debug/history/requests", {"requests": [ROW], "next": "req_1"})
    done = cli("history", "-n", "5", "--model", "smollm2", "--status", "failed", "--key-name", "a b", "--find", "x&y")
    query = "limit=5&model=smollm2&key=a+b&status=failed&q=x%26y"
    assert server.asked[0].path == f"/debug/history/requests?{query}"
    assert done.out.split("\t")[:5] == [ROW["timestamp"], "completed", "smollm2", "laptop", "2000"]
    assert json.loads(cli("history", "--json").out) == {"requests": [ROW], "next": "req_1"}


def test_no_requests(cli: Cli, server: Scripted) -> None:
    gives(server, "/debug/history/requests", {"requests": []})
    done = cli("history")
    assert (done.out, done.err, done.status) == ("", "no requests yet\n", 0)


def test_inspect_shows_where_the_time_went(cli: Cli, server: Scripted) -> None:
    gives(server, "/debug/requests/req_1", DETAILS)
    gives(server, "/debug/requests/req_1/body", {"request": '{"q": 1}', "response": "data: x", "truncated": True})
    done = cli("inspect", "req_1", "--body")
    assert "client\t192.168.1.7, curl/8[31m\n" in done.out
    assert "parameters\ttemperature=0.2 messages=3\n" in done.out
    queue, generate = (line for line in done.out.splitlines() if "█" in line)
    assert (queue.count("█"), generate.count("█")) == (10, 30)
    assert generate.endswith("1500 ms")
    assert 'request (cut):\n{"q": 1}' in done.out
    assert json.loads(cli("inspect", "req_1", "--json").out) == DETAILS
    gives(server, "/debug/history/requests", {"requests": [ROW]})
    assert json.loads(cli("inspect", "--json").out) == DETAILS


def test_inspect_of_what_is_not_there(cli: Cli, server: Scripted) -> None:
    done = cli("inspect", "a/b")
    assert server.asked[0].path == "/debug/requests/a%2Fb"
    assert done.status == 5
    gives(server, "/debug/history/requests", {"requests": []})
    assert cli("inspect").status == 5


def test_logs(cli: Cli, server: Scripted) -> None:
    gives(server, "/debug/logs", {"source": "smollm2", "sources": ["server", "smollm2"], "lines": LINES})
    done = cli("logs", "smollm2", "-n", "7")
    assert server.asked[0].path == "/debug/logs?source=smollm2&lines=7"
    assert done.out == "10:30:00  info      model_loaded model=smollm2\nload_tensors: done\n"
    assert [json.loads(line) for line in cli("logs", "--json").out.splitlines()] == LINES


def test_logs_are_followed_until_ctrl_c(cli: Cli, server: Scripted) -> None:
    def stream(handler: Handler, asked: Asked) -> None:
        handler.begin_events()
        handler.event({"message": "x"}, "connected")
        for line in LINES:
            handler.event(line, "line")
        handler.wait_for_leaving()

    server.does("GET", "/debug/logs/stream", stream)
    process = cli.start("logs", "-f", "--json")
    assert process.stdout is not None
    assert [json.loads(process.stdout.readline()) for _ in LINES] == LINES
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert server.left.wait(30)
    assert server.asked[0].path == "/debug/logs/stream?source=server&lines=200"
