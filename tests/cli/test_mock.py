"""`mock`: the server for tests of LM Studio's clients, as a process."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx2
import pytest

from tests.cli.scripted import Cli
from tests.cli.test_failures import tries
from tests.cli.test_real_server import Up

SCRIPT = """\
models: [qwen3-4b]
replies: [Hello there.]
"""


@contextmanager
def mocking(cli: Cli, *words: str) -> Iterator[Up]:
    """Until "ready"; ended with Ctrl-C."""
    up = Up(cli.start("mock", *words))
    try:
        up.until("ready in")
        yield up
        assert up.stop() == 0, up.told
    finally:
        if up.process.poll() is None:
            up.process.kill()
            up.process.communicate()


def address(up: Up) -> str:
    return next(word for word in up.told.split() if word.startswith("http://"))


def chat(url: str, text: str = "hello", **fields: Any) -> str:
    body = {"messages": [{"role": "user", "content": text}], **fields}
    said: str = httpx2.post(f"{url}/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    return said


def free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return True
    return False


@pytest.mark.req("S2-25")
def test_the_default_port_or_the_next_free_one(alone: Cli) -> None:
    was_free = free(1235)
    with mocking(alone) as one, mocking(alone) as other:
        assert "port 1235 is taken" in other.told
        assert address(other) != address(one)
        assert not was_free or address(one).endswith(":1235")
        assert chat(address(other), "echo this") == "echo this"


@pytest.mark.req("S2-25")
def test_models_and_answers_of_a_script(alone: Cli) -> None:
    (alone.home / "script.yaml").write_text(SCRIPT)
    with mocking(alone, "--port", "0", "--script", "script.yaml") as up:
        assert "1 scripted reply" in up.told
        assert [chat(address(up)) for _ in range(2)] == ["Hello there.", "hello"]
        assert alone("ping", "--url", address(up), "--json").json["models"] == 1
    with mocking(alone, "--port", "0", "--models", "a,b", "--models", "e=embedding") as up:
        listed = httpx2.get(f"{address(up)}/v1/models").json()["data"]
        assert [(each["id"], each["kind"]) for each in listed] == [("a", "llm"), ("b", "llm"), ("e", "embedding")]


def test_what_clients_do_is_told(alone: Cli) -> None:
    process = alone.start("mock", "--port", "0", "--json")
    assert process.stdout is not None
    try:
        ready = json.loads(process.stdout.readline())
        assert ready["event"] == "ready"
        chat(ready["url"])
        seen: list[str] = []
        while "inference_complete" not in seen:
            seen.append(json.loads(process.stdout.readline())["event"])
        assert {"inference_start", "model_load_complete"} <= set(seen)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def test_a_key_can_be_asked_for(alone: Cli) -> None:
    with mocking(alone, "--port", "0", "--key", "k" * 32, "-q") as up:
        assert alone("ping", "--url", address(up)).status == 4
        assert alone("ping", "--url", address(up), "--key", "k" * 32).status == 0


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--models", "a=nonsense"), 2),
        (("--models", "=llm"), 2),
        (("--script", "nothing.yaml"), 5),
        (("--host", "0.0.0.0"), 78),
        (("--port", "70000"), 2),
    ],
)
def test_what_cannot_be_served(alone: Cli, words: tuple[str, ...], status: int) -> None:
    done = alone("mock", *words)
    assert (done.status, done.out) == (status, "")
    assert tries(done)


def test_a_port_that_is_asked_for_is_that_port(alone: Cli) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = alone("mock", "--port", str(taken.getsockname()[1]))
    assert done.status == 1
    assert "is in use" in done.err
