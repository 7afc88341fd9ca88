"""What is in memory, with real engines: places, swaps under running streams, idle time, and the memory budget."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import entry
from tests.house_process import HouseProcess, is_engine, running, until
from tests.streams import Events

LIMIT = 2
CHATS = ("alpha", "beta", "gamma")
SMALL = "{contextLength: 512, slots: 2}"
BUDGET = 64 << 20


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, smollm2: Path, minilm: Path) -> Iterator[HouseProcess]:
    """Three chat models and an embedding model for two places."""
    models = "models:\n" + "".join(entry(name, smollm2, SMALL) for name in CHATS) + entry("words", minilm)
    models += entry("brief", smollm2, "{contextLength: 512, slots: 1, ttlSeconds: 0.5}")
    with running(tmp_path_factory.mktemp("residency"), models, LANHAVEN_MAX_LOADED_MODELS=str(LIMIT)) as house:
        yield house


def most_at_once(events: Events) -> int:
    """The largest number of instances between the start of their load and the end of their unload."""
    most, present = 0, set()
    for name, event in events.seen:
        if name == "model_load_start":
            present.add(event["instanceId"])
        elif name == "model_unload_complete":
            present.discard(event["instanceId"])
        most = max(most, len(present))
    return most


@pytest.mark.req("C17", "F-063", "S4-10", "S4-17", "S4-22", "S4-24")
def test_four_models_take_turns_in_two_places(house: HouseProcess) -> None:
    def chat(name: str) -> tuple[str, str]:
        reply = house.chat("What is the capital of France?", model=name, max_tokens=4, temperature=0)
        assert reply.status_code == 200, reply.text
        return reply.json()["model"], reply.json()["choices"][0]["message"]["content"]

    def embed(name: str) -> tuple[str, str]:
        reply = house.post("/v1/embeddings", model=name, input="sea")
        return reply["model"], f"{reply['data'][0]['embedding'][:3]}"

    done = threading.Event()
    with house.events() as events, ThreadPoolExecutor(8) as threads:
        counts = threads.submit(_largest, house, done)
        asked = [name for _ in range(2) for name in (*CHATS, "words")]
        answers = list(threads.map(lambda name: embed(name) if name == "words" else chat(name), asked))
        done.set()
        house.catch_up(events)
    assert [model for model, _ in answers] == asked
    assert len({text for model, text in answers if model != "words"}) == 1, "three names of one model"
    assert most_at_once(events) == LIMIT
    assert counts.result() <= LIMIT
    until(lambda: len(house.engines()) == len(house.loaded()) == LIMIT, "as many engines as instances")
    evicted = events.find("model_unload_complete", reason="evicted")
    assert len(evicted) >= 2


def _largest(house: HouseProcess, done: threading.Event) -> int:
    """The largest number of engine processes that was seen until `done`."""
    most = 0
    while not done.wait(0.02):
        most = max(most, len(house.engines()))
    return most


@pytest.mark.req("F-063", "P4", "C17")
def test_a_swap_cuts_no_stream(house: HouseProcess) -> None:
    for identifier, instance in house.loaded().items():
        house.unload(instance["path"], instanceId=identifier)
    for name in ("alpha", "beta"):
        house.chat("Hello", model=name, max_tokens=1)
    with ExitStack() as stack, ThreadPoolExecutor(1) as threads, house.events() as events:
        streams = [
            stack.enter_context(house.stream("Write a story", model=name, max_tokens=40, ignore_eos=True))
            for name in ("alpha", "beta")
        ]
        for stream in streams:
            stream.read(2)
        third = threads.submit(house.chat, "Hello", model="gamma", max_tokens=2)
        events.until("inference_queued", modelKey="gamma")
        assert not third.done()
        for stream in streams:
            frames = stream.rest()
            assert frames[-1] == "[DONE]"
            assert sum('"content"' in frame for frame in frames) >= 35
        assert third.result().status_code == 200
        house.catch_up(events)
        (evicted,) = events.find("model_unload_start")
    assert evicted["reason"] == "evicted"
    assert "gamma" in house.loaded()
    assert len(house.loaded()) == LIMIT


@pytest.mark.req("C17", "F-070")
def test_an_automatic_instance_leaves_when_nobody_has_used_it(house: HouseProcess) -> None:
    with house.events() as events:
        engine = house.engine(lambda: house.chat("Hello", model="brief", max_tokens=1))
        assert house.loaded()["brief"]["expiresInSeconds"] <= 0.5
        gone = events.until("model_unload_complete", instanceId="brief")
    assert gone["reason"] == "idle"
    assert not is_engine(engine)
    assert "brief" not in house.loaded()


@pytest.mark.req("C17")
def test_an_ordered_instance_is_neither_counted_nor_evicted(house: HouseProcess) -> None:
    engine = house.engine(lambda: house.load("alpha", instanceId="mine", activate=False))
    for name in CHATS:
        assert house.chat("Hello", model=name, max_tokens=1).status_code == 200
    assert is_engine(engine)
    assert len(house.loaded()) <= LIMIT + 1
    house.unload("alpha", instanceId="mine")
    assert not is_engine(engine)


@pytest.mark.req("F-017", "F-018")
def test_memory_that_is_not_there_is_refused_with_figures(tmp_path: Path, smollm2: Path) -> None:
    models = "models:\n" + entry("alpha", smollm2, SMALL)
    with running(tmp_path, models, LANHAVEN_MEMORY_BUDGET=str(BUDGET)) as house, house.events() as events:
        free = house.post("/admin/models/estimate", modelKey="alpha")
        assert (free["fits"], free["availableBytes"]) == (False, BUDGET)
        for reply in (
            house.http.post("/admin/models/load", json={"modelKey": "alpha"}),
            house.chat("Hello", model="alpha"),
        ):
            assert reply.status_code == 503
            body = reply.json() if "code" in reply.json() else reply.json()["error"]
            assert body["code"] == "insufficient_memory"
            said = body.get("message") or body["error"]
            needed = free["neededBytes"]
            assert f"needs {needed / 1e6:.0f} MB; {BUDGET / 1e6:.0f} MB are free" in said
            assert f"{(needed - BUDGET) / 1e6:.0f} MB too little" in said
        house.catch_up(events)
        assert events.find("model_load_start") == []
        assert house.engines() == set()

        engine = house.engine(lambda: house.load("alpha", force=True))
        assert house.chat("Hello", model="alpha", max_tokens=2).status_code == 200
        taken = house.loaded()["alpha"]["sizeBytes"]
        assert taken > BUDGET
        assert psutil.Process(engine).memory_info().rss > BUDGET
        assert house.post("/admin/models/estimate", modelKey="alpha")["availableBytes"] == 0
        house.unload("alpha")
        assert not is_engine(engine), "its memory is the system's again when the reply comes"
        assert house.post("/admin/models/estimate", modelKey="alpha")["availableBytes"] == BUDGET
