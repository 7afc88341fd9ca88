"""`lanhaven up --detach`: the server in the background."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from lanhaven import runfile
from lanhaven.cli.failure import Exit
from lanhaven.runfile import RunInfo
from tests.cli.scripted import Cli
from tests.cli.test_failures import tries
from tests.house_process import until

SLOW = "default_model: slow\nmodels:\n  - {id: slow, provider: mock, config: {load_seconds: 100}}\n"


def state(cli: Cli) -> Path:
    return cli.home / ".local/state/lanhaven"


def server_of(cli: Cli) -> RunInfo | None:
    return runfile.read(state(cli))


@pytest.fixture
def house(alone: Cli) -> Iterator[Cli]:
    """A home whose server, if one was left running, is ended."""
    yield alone
    if (left := server_of(alone)) is not None:
        psutil.Process(left.pid).kill()


def test_it_is_told_of_as_in_the_foreground_and_outlives_the_terminal(house: Cli) -> None:
    done = house.on_terminal("up", "-d", "--port", "0", "--provider", "mock")  # the terminal is closed behind it
    assert done.status == 0
    running = server_of(house)
    assert running is not None
    assert f"  OpenAI     {running.url}/v1" in done.lines
    assert done.lines[-1].startswith("  ready in")
    assert done.lines[-1].endswith("lanhaven down stops")
    assert house("status", "--json").json["pid"] == running.pid

    again = house("up", "--detach", "--provider", "mock")
    assert again.status == 1
    assert f"LanHaven runs already at {running.url}" in again.err
    assert tries(again)[0] == "lanhaven status"

    assert house("chat", "mock", "hello").out == "hello\n"
    logs = house.on_terminal("logs")
    assert logs.lines[-1] == f"all of it: {state(house) / 'logs/server.log'}"
    assert (state(house) / "logs/server.log").read_text().count("model_loaded") == 1
    assert (state(house) / "logs/server.err").read_text() == ""

    assert house("down").status == 0
    assert server_of(house) is None
    assert tries(house("logs"))[0].startswith(f"tail {state(house) / 'logs/server.log'}")


def test_a_start_that_fails_tells_why_and_how_as_up_does(house: Cli) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = ("up", "--port", str(taken.getsockname()[1]), "--provider", "mock")
        there, here = house(*words, "-d"), house(*words)
    assert (there.status, there.err) == (here.status, here.err)
    assert there.status == Exit.FAILED
    assert tries(there)
    assert house("up", "-d", "--host", "0.0.0.0", "--provider", "mock").status == Exit.UNSAFE_BIND
    assert server_of(house) is None


@pytest.fixture
def starting(house: Cli) -> Cli:
    """A home whose server takes long to be ready."""
    (house.home / "models.yaml").write_text(SLOW)
    return house


def test_a_server_that_is_killed_before_it_is_ready_is_a_failure(starting: Cli) -> None:
    process = starting.start("up", "-d", "--port", "0", "--provider", "mock")
    running = until(lambda: server_of(starting), "the server listens")
    psutil.Process(running.pid).kill()
    _, err = process.communicate(timeout=60)
    assert process.returncode == Exit.FAILED
    assert "error: the server was ended by SIGKILL before it was ready\n  Try  " in err


def test_ctrl_c_before_it_is_ready_ends_it(starting: Cli) -> None:
    process = starting.start("up", "-d", "--port", "0", "--provider", "mock")
    running = until(lambda: server_of(starting), "the server listens")
    server = psutil.Process(running.pid)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == Exit.INTERRUPTED
    assert not server.is_running()
