"""One LanHaven in front of another: the half that drives LM Studio against the half that is one, with a real engine."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import lmstudio
import pytest

from tests.e2e.conftest import entry
from tests.house_process import HouseProcess, is_engine, running, until
from tests.ports import free_port

SMALL, VECTORS = "smollm2", "minilm"


@contextmanager
def studio(home: Path, port: int, chat: Path, vectors: Path) -> Iterator[HouseProcess]:
    """B: speaks LM Studio's protocol, runs the models."""
    home.mkdir(exist_ok=True)
    models = "models:\n" + entry(SMALL, chat, "{contextLength: 512, slots: 2}") + entry(VECTORS, vectors)
    with running(home, models, "--port", str(port)) as house:
        yield house


@contextmanager
def front(home: Path, port: int, **settings: str) -> Iterator[HouseProcess]:
    """A: drives the LM Studio at that port."""
    home.mkdir(exist_ok=True)
    with running(home, "models: []\n", LMSTUDIO_BASE_URL=f"http://127.0.0.1:{port}", **settings) as house:
        yield house


@pytest.fixture
def pair(tmp_path: Path, smollm2: Path, minilm: Path) -> Iterator[tuple[HouseProcess, HouseProcess]]:
    port = free_port()
    with studio(tmp_path / "b", port, smollm2, minilm) as b, front(tmp_path / "a", port) as a:
        yield a, b


@pytest.mark.req("S1-02", "S1-15", "S1-16", "S1-19", "S1-31", "S1-01")
def test_a_load_through_the_front_is_seen_by_everybody(pair: tuple[HouseProcess, HouseProcess]) -> None:
    a, b = pair
    config = {"contextLength": 1024, "gpu": {"ratio": 0.0}}
    loaded = a.load(
        SMALL, instanceId="primary", loadConfig=config, defaultInference={"temperature": 0, "max_tokens": 8}
    )
    assert loaded["instanceId"] == "primary"
    assert "fetching" not in a.log, "who drives LM Studio needs no packed model"
    assert b.loaded()["primary"]["contextLength"] == 1024
    assert "1024" in b.engine_log(SMALL, "primary")
    with lmstudio.Client(b.url.removeprefix("http://")) as client:
        (handle,) = client.llm.list_loaded()
        assert (handle.identifier, handle.get_context_length()) == ("primary", 1024)
    assert a.answer("Why is the sky blue?", model="primary") == b.answer(
        "Why is the sky blue?", model="primary", temperature=0, max_tokens=8
    )
    with a.stream("Count to three.", model="primary", max_tokens=8) as stream:
        stream.rest()
        assert stream.text
    vector = a.post("/v1/embeddings", model=VECTORS, input="the sea")["data"][0]["embedding"]
    assert vector == b.post("/v1/embeddings", model=VECTORS, input="the sea")["data"][0]["embedding"]
    a.unload(SMALL, instanceId="primary")
    assert "primary" not in b.loaded()


@pytest.mark.req("F-023", "F-022")
def test_what_others_load_and_unload_shows_and_is_adopted(pair: tuple[HouseProcess, HouseProcess]) -> None:
    a, b = pair
    with lmstudio.Client(b.url.removeprefix("http://")) as client:
        handle = client.llm.load_new_instance(SMALL, "by-hand", config={"contextLength": 768}, ttl=None)
        until(lambda: "by-hand" in a.loaded(), "what was loaded in LM Studio shows", seconds=30)
        assert a.answer("Hi", model="by-hand", max_tokens=4)
        assert set(b.loaded()) == {"by-hand"}, "nothing was loaded twice, nothing evicted"
        handle.unload()
        until(lambda: "by-hand" not in a.loaded(), "what was unloaded in LM Studio is gone", seconds=30)


@pytest.mark.req("F-020", "S0-76", "S1-09", "S1-25")
def test_the_studio_dies_and_comes_back(tmp_path: Path, smollm2: Path, minilm: Path) -> None:
    port = free_port()
    with ExitStack() as stack:
        b = stack.enter_context(studio(tmp_path / "b", port, smollm2, minilm))
        a = stack.enter_context(front(tmp_path / "a", port))
        with a.stream("Tell me a very long story.", model=SMALL, max_tokens=400) as stream:
            stream.read(2)
            engines = b.engines()
            b.process.kill()
            b.process.wait()
            stream.rest()
            assert stream.error["message"]
        until(lambda: not {pid for pid in engines if is_engine(pid)}, "its engines end")
        reply = a.http.post("/admin/models/load", json={"modelKey": SMALL, "instanceId": "another"})
        assert reply.status_code == 503, reply.text
        assert "LM Studio" in reply.json()["error"]
        with studio(tmp_path / "b", port, smollm2, minilm):
            until(lambda: a.chat("Hi", model=SMALL, max_tokens=4).status_code == 200, "recovery without a restart")


@pytest.mark.req("F-020")
def test_the_studio_hangs(tmp_path: Path, smollm2: Path, minilm: Path) -> None:
    port = free_port()
    with studio(tmp_path / "b", port, smollm2, minilm) as b, front(tmp_path / "a", port) as a:
        a.load(SMALL, instanceId="primary")
        os.kill(b.pid, signal.SIGSTOP)
        try:
            health = a.get("/health")
            assert health["backends"]["lmstudio"]["ok"] is False, "and nothing hangs with it"
        finally:
            os.kill(b.pid, signal.SIGCONT)
        assert a.answer("Hi", model="primary", max_tokens=4)
