"""One LanHaven in front of another: the half that drives Ollama against the half that is one, with a real engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import entry
from tests.house_process import HouseProcess, running, until
from tests.ports import free_port

SMALL, VECTORS = "smollm2", "minilm"
TOOL = {
    "type": "function",
    "function": {"name": "roll", "parameters": {"type": "object", "properties": {"sides": {"type": "integer"}}}},
}


@contextmanager
def ollama(home: Path, port: int, chat: Path, vectors: Path) -> Iterator[HouseProcess]:
    """B: speaks Ollama's API, runs the models."""
    home.mkdir(exist_ok=True)
    models = "models:\n" + entry(SMALL, chat, "{contextLength: 512, slots: 2}") + entry(VECTORS, vectors)
    with running(home, models, "--port", str(port)) as house:
        yield house


@contextmanager
def front(home: Path, port: int) -> Iterator[HouseProcess]:
    """A: drives the Ollama at that port, which is the second of its hosts; the first one is never there."""
    home.mkdir(exist_ok=True)
    hosts = {"away": {"base_url": "http://127.0.0.1:9"}, "pc": {"base_url": f"http://127.0.0.1:{port}"}}
    models = "models:\n  - {id: house-model, provider: ollama, config: {model: smollm2, host: pc}}\n"
    with running(home, models, LANHAVEN_PROVIDERS=json.dumps({"ollama": {"hosts": hosts}})) as house:
        yield house


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, smollm2: Path, minilm: Path
) -> Iterator[tuple[HouseProcess, HouseProcess]]:
    port, home = free_port(), tmp_path_factory.mktemp("ollama")
    with ollama(home / "b", port, smollm2, minilm) as b, front(home / "a", port) as a:
        yield a, b


def ollama_post(house: HouseProcess, path: str, **body: Any) -> Any:
    reply = house.http.post(path, json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.req("S4-12")
def test_its_models_are_ours_and_answer(pair: tuple[HouseProcess, HouseProcess]) -> None:
    a, b = pair
    models = {each["id"]: each for each in a.get("/v1/models")["data"]}
    assert {SMALL, VECTORS, "house-model"} <= set(models)
    assert a.answer("Why is the sky blue?", model=SMALL, max_tokens=8, temperature=0) == b.answer(
        "Why is the sky blue?", model=SMALL, max_tokens=8, temperature=0
    )
    assert set(a.loaded()) == {SMALL}
    with a.stream("Count to three.", model=SMALL, max_tokens=8) as stream:
        stream.rest()
        assert stream.text
    vector = a.post("/v1/embeddings", model=VECTORS, input="the sea")["data"][0]["embedding"]
    assert vector == b.post("/v1/embeddings", model=VECTORS, input="the sea")["data"][0]["embedding"]
    reply = a.chat("Roll", model=SMALL, tools=[TOOL], tool_choice="required", max_tokens=60)
    call = reply.json()["choices"][0]["message"]["tool_calls"][0]
    assert call["function"]["name"] == "roll"
    a.unload(VECTORS)
    assert VECTORS not in b.loaded()
    a.unload(SMALL)
    assert SMALL not in b.loaded()


@pytest.mark.req("F-023", "F-022")
def test_what_others_load_and_unload_shows(pair: tuple[HouseProcess, HouseProcess]) -> None:
    a, b = pair
    loaded = a.load("house-model", instanceId="mine", loadConfig={"contextLength": 768, "gpu": {"ratio": 0.5}})
    assert loaded["applied"]["contextLength"] == 768
    assert [each["key"] for each in loaded["ignored"]] == ["gpu.ratio"]
    assert b.loaded()[SMALL]["contextLength"] == 768
    ollama_post(b, "/api/generate", model=SMALL, keep_alive=0, stream=False)
    until(lambda: "mine" not in a.loaded(), "what was unloaded in Ollama is gone", seconds=30)
    ollama_post(b, "/api/embed", model=VECTORS, input="a")
    until(lambda: VECTORS in a.loaded(), "what was loaded in Ollama shows", seconds=30)
    assert a.post("/v1/embeddings", model=VECTORS, input="a")
    a.unload(VECTORS)
    assert VECTORS not in b.loaded()


@pytest.mark.req("F-020")
def test_the_host_goes_and_comes_back(
    pair: tuple[HouseProcess, HouseProcess], tmp_path: Path, smollm2: Path, minilm: Path
) -> None:
    """The last of this file: it takes B away."""
    a, b = pair
    with a.stream("Tell me a very long story.", model=SMALL, max_tokens=400) as stream:
        stream.read(2)
        b.process.kill()
        b.process.wait()
        stream.rest()
        assert stream.error["message"]
    reply = a.http.post("/admin/models/load", json={"modelKey": VECTORS})
    assert reply.status_code == 503, reply.text
    assert "Ollama (pc) cannot be reached" in reply.json()["error"]
    assert a.get("/health")["backends"]["ollama"]["ok"] is False
    with ollama(tmp_path, int(b.url.rpartition(":")[2]), smollm2, minilm):
        until(lambda: a.chat("Hi", model=SMALL, max_tokens=4).status_code == 200, "recovery without a restart")
