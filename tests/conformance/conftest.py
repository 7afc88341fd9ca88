"""A real server with real models, once for all conformance tests: `lanhaven up` as a user starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from openai import OpenAI

KEY = "sk-test-0123456789abcdef0123456789abcdef"

MODELS = """\
default_model: smollm2
models:
  - id: smollm2
    provider: llama_cpp
    enabled: true
    aliases: [small, smollm2-135m-instruct]
    load: {{contextLength: 2048, slots: 2}}
    config: {{model_path: {chat}}}
  - id: minilm
    provider: llama_cpp
    enabled: true
    config: {{model_path: {embedding}}}
  - id: down
    provider: openai
    enabled: true
    config: {{base_url: "http://127.0.0.1:9/v1", model: nobody}}
"""


@dataclass(frozen=True)
class House:
    """A running server."""

    url: str
    key: str
    pid: int
    home: Path

    def http(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, headers={"X-API-Key": self.key}, timeout=120, trust_env=False)

    def openai(self, **options: object) -> OpenAI:
        settings = {"base_url": f"{self.url}/v1", "api_key": self.key, "max_retries": 0, "timeout": 120.0, **options}
        return OpenAI(**settings)  # type: ignore[arg-type]


def start(home: Path, models: str, *flags: str, **settings: str) -> tuple[subprocess.Popen[bytes], Path]:
    """`lanhaven up` on a free port with a home of its own; the process and its run file."""
    (home / "models.yaml").write_text(models)
    places = {f"LANHAVEN_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lanhaven", "up", "--port", "0", "--models", str(home / "models.yaml"), *flags],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **places, **settings}, cwd=home,
        )  # fmt: skip
    return process, home / "state" / "server.json"


def wait_ready(process: subprocess.Popen[bytes], run_file: Path, log: Path, seconds: float = 60) -> str:
    """The server's address, once it answers."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"lanhaven up ended with {process.returncode}:\n{log.read_text()}")
        if run_file.exists():
            url: str = json.loads(run_file.read_text())["url"]
            try:
                if httpx2.get(f"{url}/readyz", trust_env=False).status_code == 200:
                    return url
            except httpx2.TransportError:
                pass
        time.sleep(0.05)
    pytest.fail(f"lanhaven up was not ready in {seconds:g} s:\n{log.read_text()}")


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, smollm2: Path, minilm: Path) -> Iterator[House]:
    """SmolLM2 and MiniLM on the real engine, behind a key."""
    home = tmp_path_factory.mktemp("house")
    models = MODELS.format(chat=json.dumps(str(smollm2)), embedding=json.dumps(str(minilm)))
    process, run_file = start(home, models, LANHAVEN_API_KEY=KEY)
    try:
        url = wait_ready(process, run_file, home / "server.log")
        yield House(url, KEY, process.pid, home)
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def openai(house: House) -> Iterator[OpenAI]:
    with house.openai() as client:
        yield client


@pytest.fixture
def http(house: House) -> Iterator[httpx2.Client]:
    with house.http() as client:
        yield client
