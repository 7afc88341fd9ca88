"""Several addresses, one server: where LM Studio's, Ollama's and OpenAI's clients look by themselves (real processes)."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import ollama
import openai
import pytest

from lanhaven.server.sockets import Address, bind, bound_address
from tests.house_process import HouseProcess, running, sockets_folder, spawn, until, wait_ready

# Addresses of the loopback network that nothing else listens on, so that the well-known ports are free.
HERE, THERE = "127.0.0.77", "127.0.0.78"
KEY = "sk-test-0123456789abcdef0123456789abcdef"
QWEN = "qwen2.5-coder-1.5b-instruct-4bit"
MODELS = f"""\
default_model: alpha
models:
  - {{id: alpha, provider: mock, enabled: true}}
  - {{id: {QWEN}, provider: mock, enabled: true}}
  - {{id: slow, provider: mock, enabled: true, config: {{answer: count, tokens: 2000, interval_ms: 20}}}}
"""

pytestmark = pytest.mark.skipif(not Path("/proc/sys/net").exists(), reason="only Linux has all of 127.0.0.0/8")


@pytest.fixture(scope="module")
def taken() -> Iterator[int]:
    """A port of HERE that another program listens on."""
    (sock,) = bind(Address(HERE, 0))
    sock.listen()
    yield bound_address(sock).port
    sock.close()


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, taken: int) -> Iterator[HouseProcess]:
    """With a key; at Ollama's and LM Studio's ports too, and at one that is taken."""
    also = f"{HERE}:11434,{HERE}:1234,{HERE}:{taken}"
    settings = {"LANHAVEN_API_KEY": KEY, "LANHAVEN_ALSO_LISTEN": also}
    with running(tmp_path_factory.mktemp("keyed"), MODELS, "--provider", "mock", **settings) as house:
        yield house


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseProcess]:
    """`lanhaven up --api both`, open, at Ollama's port too."""
    flags = ("--host", THERE, "--api", "both", "--provider", "mock")
    with at(
        tmp_path_factory.mktemp("both"), *flags, LANHAVEN_ALSO_LISTEN=f"{THERE}:11434", LANHAVEN_DRAIN_TIMEOUT="0.5"
    ) as house:
        yield house


@contextmanager
def at(home: Path, *flags: str, **settings: str) -> Iterator[HouseProcess]:
    """`lanhaven up` without a port of its own."""
    (home / "models.yaml").write_text(MODELS)
    with ExitStack() as stack:
        run_dir = stack.enter_context(sockets_folder())
        words = ("up", "--models", str(home / "models.yaml"), *flags)
        process, run_file = spawn(home, *words, LANHAVEN_RUN_DIR=str(run_dir), **settings)
        stack.callback(process.wait, 20)
        stack.callback(process.kill)  # of one that has ended it does nothing
        url = wait_ready(process, run_file, home / "server.log")
        http = stack.enter_context(httpx2.Client(base_url=url, timeout=60, trust_env=False))
        house = HouseProcess(process, home, run_dir, url, http)
        until(lambda: "ready in" in house.log, "the banner")
        yield house
        if process.poll() is None:
            assert house.stop() == 0, house.log


@contextmanager
def ollama_at(url: str, key: str = "none") -> Iterator[ollama.Client]:
    """Its own client, closed at the end."""
    with ollama.Client(url, headers={"Authorization": f"Bearer {key}"}, trust_env=False) as client:
        yield client


def get(host: str, port: int, path: str, key: str = "") -> httpx2.Response:
    return httpx2.get(f"http://{host}:{port}{path}", headers={"X-API-Key": key} if key else {}, trust_env=False)


@pytest.mark.req("C1", "S4-x1")
def test_the_banner_tells_every_address_and_the_one_that_is_taken(keyed: HouseProcess, taken: int) -> None:
    told = keyed.log
    assert f"{keyed.url}/v1" in told
    assert f"also at    http://{HERE}:11434" in told
    assert f"http://{HERE}:1234" in told
    assert f"port {taken} on {HERE} is taken by another program" in told
    assert f"http://{HERE}:{taken}" not in told


@pytest.mark.req("C1")
def test_every_address_wants_the_key_and_serves_the_same_models(keyed: HouseProcess) -> None:
    assert get(HERE, 1234, "/lmstudio-greeting").json() == {"lmstudio": True}
    for port, path in ((11434, "/api/tags"), (1234, "/api/v0/models"), (1234, "/v1/models"), (11434, "/debug/status")):
        assert get(HERE, port, path).status_code == 401
        assert get(HERE, port, path, KEY).status_code == 200
    body = {"modelKey": "alpha", "instanceId": "mine"}
    loaded = httpx2.post(
        f"http://{HERE}:1234/admin/models/load", json=body, headers={"X-API-Key": KEY}, trust_env=False
    )
    assert loaded.status_code == 200
    with ollama_at(f"http://{HERE}:11434", KEY) as client:
        assert "mine:latest" in {each.name for each in client.ps().models}
    with openai.OpenAI(base_url=f"http://{HERE}:1234/v1", api_key=KEY) as at_1234:
        reply = at_1234.chat.completions.create(model="mine", messages=[{"role": "user", "content": "hello"}])
    assert reply.choices[0].message.content == "hello"


@pytest.mark.req("C1")
def test_every_address_holds_the_limits(keyed: HouseProcess) -> None:
    """Another Host is another site's page; the listener's own rules hold as well."""
    for port in (11434, 1234):
        url = f"http://{HERE}:{port}/v1/models"
        evil = httpx2.get(url, headers={"X-API-Key": KEY, "Host": "evil.example"}, trust_env=False)
        assert evil.status_code in (403, 421)
        with socket.create_connection((HERE, port), timeout=60) as raw:
            raw.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n")
            assert raw.recv(100).startswith(b"HTTP/1.1 400")


@pytest.mark.req("S4-31")
def test_openais_client_works_with_any_key(both: HouseProcess) -> None:
    assert both.url == f"http://{THERE}:8080"
    for key in ("not-needed", "sk-whatever", "x"):
        with openai.OpenAI(base_url=f"{both.url}/v1", api_key=key, max_retries=0) as client:
            reply = client.chat.completions.create(model=QWEN, messages=[{"role": "user", "content": "Hello!"}])
            assert reply.choices[0].message.content == "Hello!"
            stream = client.chat.completions.create(
                model=QWEN, messages=[{"role": "user", "content": "a b c"}], stream=True
            )
            assert "".join(each.choices[0].delta.content or "" for each in stream if each.choices) == "a b c"
            assert QWEN in {each.id for each in client.models.list()}


@pytest.mark.req("S4-01", "S4-x1")
def test_api_both_serves_ollamas_and_openais_clients(both: HouseProcess) -> None:
    for host in (f"http://{THERE}:11434", both.url):
        with ollama_at(host) as client:
            assert client.chat(QWEN, [{"role": "user", "content": "hello"}]).message.content == "hello"
    assert get(THERE, 11434, "/v1/models").status_code == 200


@pytest.mark.req("S4-01", "S4-x1")
def test_api_ollama_listens_where_ollamas_clients_look(tmp_path: Path) -> None:
    with at(tmp_path, "--host", HERE.replace("77", "79"), "--api", "ollama", "--provider", "mock") as house:
        assert house.url == "http://127.0.0.79:11434"
        with ollama_at(house.url) as client:
            assert client.list().models[0].model == "alpha:latest"


@pytest.mark.req("C1")
def test_a_stream_on_any_address_is_ended_properly_and_the_ports_are_free_again(both: HouseProcess) -> None:
    """The last test of this house: it goes down."""
    body = {"model": "slow", "messages": [{"role": "user", "content": "count"}]}
    url = f"http://{THERE}:11434/api/chat"
    with httpx2.stream("POST", url, json=body, timeout=60, trust_env=False) as reply:
        lines = reply.iter_lines()
        assert json.loads(next(lines))["done"] is False
        os.kill(both.pid, signal.SIGTERM)
        *_, last = lines
    assert "error" in json.loads(last)
    assert both.process.wait(60) == 0
    for port in (8080, 11434):
        bind(Address(THERE, port))[0].close()
