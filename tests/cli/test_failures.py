"""Exit statuses, and the line that tells what to do next."""

from __future__ import annotations

import re
import signal
import socket
from typing import Any

import pytest

from lanhaven.cli.failure import Exit
from tests.cli.scripted import Asked, Cli, Handler, Result, Scripted


def tries(done: Result) -> list[str]:
    """The next steps: every failure ends with them."""
    lines = done.err.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("  Try  "))
    assert lines[first - 1].startswith("error: "), done.err
    assert all(line.startswith("       ") for line in lines[first + 1 :]), done.err
    return [line[7:].strip() for line in lines[first:]]


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("command", [("ls",), ("ps",), ("status",), ("load", "x"), ("watch",), ("chat", "x", "hello")])
def test_3_no_server(alone: Cli, command: tuple[str, ...]) -> None:
    done = alone(*command, "--url", f"http://127.0.0.1:{unused_port()}")
    assert (done.status, done.out) == (3, "")
    assert tries(done) == ["lanhaven up", "lanhaven doctor"]


def test_3_something_else_answers_there(cli: Cli, server: Scripted) -> None:
    server.says("GET", "/admin/models", b"<html>hello</html>")
    done = cli("ls")
    assert done.status == 3
    assert "is not a LanHaven server" in done.err
    assert tries(done)


def test_3_the_connection_breaks(cli: Cli, server: Scripted) -> None:
    def hang_up(handler: Handler, asked: Asked) -> None:
        handler.close_connection = True

    server.does("GET", "/admin/models", hang_up)
    done = cli("ls")
    assert done.status == 3
    assert tries(done)


@pytest.mark.req("S0-72", "S0-73")
@pytest.mark.parametrize(("status", "body"), [(401, {"error": "Unauthorized"}), (403, {"error": "Forbidden"})])
def test_4_not_authorised(cli: Cli, server: Scripted, status: int, body: dict[str, str]) -> None:
    server.says("GET", "/admin/models", body, status)
    done = cli("ls")
    assert done.status == 4
    assert body["error"] in done.err
    assert any("key" in step for step in tries(done))


def test_the_servers_own_hint_is_what_to_try(cli: Cli, server: Scripted) -> None:
    server.says("GET", "/admin/models", {"error": "busy", "code": "overloaded", "hint": "wait a second"}, 503)
    done = cli("ls")
    assert done.status == 1
    assert done.err.splitlines()[0] == "error: busy"
    assert tries(done) == ["wait a second"]


@pytest.mark.parametrize("command", [("ls",), ("chat", "smollm2", "hello")])
def test_4_why_a_key_is_refused_and_what_to_do_about_it(cli: Cli, server: Scripted, command: tuple[str, ...]) -> None:
    native = {"error": "Forbidden", "code": "forbidden", "hint": "this needs a key with the scope admin"}
    openai = {"error": {"message": "Forbidden. Try: this needs a key with the scope admin", "code": "forbidden"}}
    server.says("GET", "/admin/models", native, 403)
    server.says("POST", "/v1/chat/completions", openai, 403)
    done = cli(*command)
    assert done.status == 4
    assert done.err.splitlines()[0] == "error: Forbidden: this needs a key with the scope admin"
    assert "lanhaven keys add NAME --admin" in tries(done)[0]


def test_a_hint_within_an_openai_error_is_what_to_try(cli: Cli, server: Scripted) -> None:
    reply = {"error": {"message": "Model not found: x. Try: lanhaven ls lists the models", "code": "model_not_found"}}
    server.says("POST", "/v1/chat/completions", reply, 404)
    done = cli("chat", "x", "hello")
    assert done.status == 5
    assert done.err.splitlines()[0] == "error: Model not found: x."


def test_4_after_too_many_wrong_keys(cli: Cli, server: Scripted) -> None:
    reply = {"error": "Too many wrong keys from this address.", "code": "too_many_attempts"}
    server.says("GET", "/admin/models", reply, 429)
    server.says("POST", "/admin/models/load", reply, 429)
    for command in (("ls",), ("load", "smollm2")):
        done = cli(*command)
        assert done.status == 4
        assert any("wait" in step for step in tries(done))


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("lss",), "lanhaven --help"),
        (("load",), "lanhaven load --help"),
        (("load", "x", "--bogus"), "lanhaven load --help"),
        (("keys", "add"), "lanhaven keys add --help"),
        (("load", "x", "--gpu", "much"), "--gpu max, --gpu off, --gpu 0.5 or --gpu 24 (layers)"),
        (("load", "x", "--ttl", "soon"), "30m, 1h30m, 90s or never"),
        (("load", "x", "--context", "many"), "lanhaven load --help"),
        (("load", "x", "--context", "0"), "lanhaven load --help"),
        (("keys", "add", ""), "lanhaven keys add --help"),
        (("keys", "add", "x", "--network", "here"), "lanhaven keys add --help"),
        (("ls", "--url", "http://"), "--url http://127.0.0.1:8002"),
        (("unload",), "lanhaven ps"),
        (("unload", "x", "--all"), "lanhaven ps"),
        (("ls", "--url", "ftp://here"), "--url http://127.0.0.1:8002"),
        (("ls", "--url", "192.168.1.20:8002"), "--url http://192.168.1.20:8002"),
        (("ls", "--url", "nas.lan"), "--url http://nas.lan"),
        (("chat", "hello"), 'lanhaven chat -p "hello"'),
        (("up", "--provider", "vllm"), "lanhaven up --provider mock"),
    ],
)
def test_2_wrong_usage(alone: Cli, words: tuple[str, ...], remedy: str) -> None:
    done = alone(*words)
    assert (done.status, done.out) == (2, "")
    assert tries(done)[0] == remedy


def test_2_a_misspelt_command_is_corrected(alone: Cli) -> None:
    assert "Did you mean 'load'" in alone("laod", "x").err


@pytest.mark.req("S0-74")
def test_2_a_refused_value_is_named_by_its_field(cli: Cli, server: Scripted) -> None:
    issue: dict[str, Any] = {"code": "too_small", "path": ["loadConfig", "contextLength"], "message": "Must be above 0"}
    server.says("POST", "/admin/models/load", {"error": "Validation failed", "details": [issue]}, 400)
    done = cli("load", "smollm2", "--context", "1")
    assert done.status == 2
    assert "Validation failed: loadConfig.contextLength: Must be above 0" in done.err
    assert tries(done)


def test_130_interrupted(cli: Cli, server: Scripted) -> None:
    def wait(handler: Handler, asked: Asked) -> None:
        server.reached.set()
        handler.wait_for_leaving()

    server.does("GET", "/admin/models", wait)
    process = cli.start("ls")
    assert server.reached.wait(30)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (out, err) == ("", "")


def test_a_reader_that_leaves_early_is_no_failure(cli: Cli) -> None:
    process = cli.start("watch", "--help")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.wait(30)
    process.stderr.close()
    assert "Traceback" not in err


def test_every_status_stands_in_the_help(alone: Cli) -> None:
    text = alone("--help").out
    told = re.findall(r"^  (\d+) ", text.partition("Exit status:")[2], re.MULTILINE)
    assert [int(each) for each in told] == sorted(Exit)
