"""A real server with real models, once for all conformance tests: `lanhaven up` as a user starts it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from openai import OpenAI

from tests.house_process import start, wait_ready
from tests.reranker import write_reranker

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
  - id: narrow
    provider: llama_cpp
    enabled: true
    load: {{contextLength: 256, slots: 1}}
    config: {{model_path: {chat}}}
  - id: ranks
    provider: llama_cpp
    enabled: true
    load: {{slots: 2}}
    config: {{model_path: {reranker}}}
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


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, smollm2: Path, minilm: Path) -> Iterator[House]:
    """SmolLM2 (also with a small context), MiniLM and a reranker made of it on the real engine, behind a key."""
    home = tmp_path_factory.mktemp("house")
    files = {"chat": smollm2, "embedding": minilm, "reranker": write_reranker(minilm, home / "reranker.gguf")}
    models = MODELS.format(**{name: json.dumps(str(path)) for name, path in files.items()})
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
