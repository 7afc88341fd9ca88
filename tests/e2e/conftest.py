"""Real servers with real models. One is shared by the tests that leave nothing behind; the others start their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house_process import HouseProcess, running

# The guide's own names, so that its requests can be sent as they are written there.
SMALL, LARGE, EMBEDDING = "qwen2-1.5b-instruct", "llama-3.2-3b-instruct", "text-embedding-model"


def entry(key: str, path: Path, load: str = "{}", config: str = "", defaults: str = "{}") -> str:
    """A model of models.yaml; several may be made of one file."""
    settings = f"{{model_path: {json.dumps(str(path))}{config and f', {config}'}}}"
    asked = f"enabled: true, load: {load}, defaults: {defaults}, config: {settings}"
    return f"  - {{id: {key}, provider: llama_cpp, {asked}}}\n"


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, smollm2: Path, minilm: Path) -> Iterator[HouseProcess]:
    """Two chat models and an embedding model, none of them the default, none in memory."""
    home = tmp_path_factory.mktemp("e2e")
    models = "models:\n" + entry(SMALL, smollm2) + entry(LARGE, smollm2) + entry(EMBEDDING, minilm)
    options = json.dumps({"llama_cpp": {"context_length": 1024}})
    with running(home, models, LANHAVEN_DEFAULT_SLOTS="2", LANHAVEN_PROVIDERS=options) as house:
        yield house


@pytest.fixture
def house(shared: HouseProcess) -> Iterator[HouseProcess]:
    """The shared server with nothing in memory and no active model."""
    yield shared
    for name, instance in shared.loaded().items():
        shared.unload(instance["path"], instanceId=name)
    assert shared.engines() == set()
