"""The real engine ends, or hangs, under its requests: who hears what, and what goes on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.e2e.conftest import entry
from tests.house_process import HouseProcess, engines_of, is_engine, running, until

ENDLESS = {"max_tokens": 900, "ignore_eos": True}
PROBES = {"llama_cpp": {"probe_every": 0.2, "probe_timeout": 0.5, "probe_misses": 2}}


@pytest.fixture(scope="module")
def shared_here(tmp_path_factory: pytest.TempPathFactory, smollm2: Path, minilm: Path) -> Iterator[HouseProcess]:
    models = "models:\n" + entry("chat", smollm2, "{contextLength: 1024, slots: 2}") + entry("words", minilm)
    settings = {"LANHAVEN_PROVIDERS": json.dumps(PROBES), "LANHAVEN_KEEP_ALIVE_INTERVAL": "0.2"}
    with running(tmp_path_factory.mktemp("death"), models, **settings) as house:
        yield house


@pytest.fixture
def house(shared_here: HouseProcess) -> Iterator[HouseProcess]:
    """Nothing in memory but the embedding model, which no test may disturb."""
    words = shared_here.engine(lambda: shared_here.load("words", activate=False))
    shared_here.load("chat")  # an order forgives the deaths of earlier tests
    shared_here.unload("chat")
    yield shared_here
    assert is_engine(words)
    assert shared_here.http.post("/v1/embeddings", json={"model": "words", "input": "a"}).status_code == 200
    assert shared_here.process.poll() is None
    for name, instance in shared_here.loaded().items():  # of which one may just be found dead
        shared_here.http.post("/admin/models/unload", json={"modelKey": instance["path"], "instanceId": name})
    until(lambda: not shared_here.engines(), "the end of all engines")


@pytest.mark.req("F-001", "F-019", "P7")
@pytest.mark.parametrize("by_order", [True, False], ids=["loaded by order", "loaded by a request"])
def test_killed_in_mid_stream(house: HouseProcess, by_order: bool) -> None:
    def load() -> None:
        if by_order:
            house.load("chat", instanceId="mine", defaultInference={"maxTokens": 3})
        else:
            assert house.chat("Hello", model="chat", max_tokens=1).status_code == 200

    engine = house.engine(load)
    name = "mine" if by_order else "chat"
    with house.events() as events:
        with house.stream("Write a story", model=name, **ENDLESS) as stream:
            stream.read(5)
            os.kill(engine, signal.SIGKILL)
            stream.rest()
        assert stream.error["code"] == "engine_crashed"
        assert stream.text
        assert events.until("model_unload_start", instanceId=name)["reason"] == "crashed"
        again = house.chat("Hello", model=name)
        assert again.status_code == 200
        assert (again.json()["usage"]["completion_tokens"] == 3) is by_order, "it comes back as it was"
        assert events.until("model_load_complete")["instanceId"] == name
        house.catch_up(events)
        (failed,) = events.find("error", operation="inference")
    assert (failed["code"], failed["status"]) == ("engine_crashed", 502)
    assert engine not in house.engines()
    assert len(house.engines()) == 2


@pytest.mark.req("F-002", "F-016")
def test_killed_before_the_answer(house: HouseProcess) -> None:
    engine = house.engine(lambda: house.load("chat"))
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(house.chat, "Write a story", model="chat", **ENDLESS)
        until(lambda: house.loaded()["chat"]["busy"] == 1, "the request at the engine")
        os.kill(engine, signal.SIGKILL)
        reply = waiting.result()
    assert reply.status_code == 502
    error = reply.json()["error"]
    assert error["code"] == "engine_crashed"
    assert "memory" in error["message"], "nobody of ours sent the SIGKILL: the kernel may have"
    assert reply.headers["x-should-retry"] == "true"
    assert house.chat("Hello", model="chat", max_tokens=2).status_code == 200


@pytest.mark.req("F-001")
def test_killed_between_requests_it_is_out_of_the_list_at_once(house: HouseProcess) -> None:
    for _ in range(2):
        engine = house.engine(lambda: house.chat("Hello", model="chat", max_tokens=1).raise_for_status())
        os.kill(engine, signal.SIGKILL)
        until(lambda: "chat" not in house.loaded(), "the end of the instance")


@pytest.mark.req("F-003", "F-001")
def test_killed_while_it_loads(house: HouseProcess) -> None:
    before = house.engines()
    with ThreadPoolExecutor(4) as threads, house.events() as events:
        waiting = [threads.submit(house.chat, "Hello", model="chat", max_tokens=2) for _ in range(4)]
        (engine,) = until(lambda: engines_of(house.pid) - before, "the engine's process")
        os.kill(engine, signal.SIGKILL)
        replies = [each.result() for each in waiting]
        house.catch_up(events)
        starts = events.find("model_load_start")
    assert len(starts) == 1
    assert {reply.status_code for reply in replies} <= {500, 502, 503}
    assert len({reply.json()["error"]["message"] for reply in replies}) == 1
    assert house.chat("Hello", model="chat", max_tokens=2).status_code == 200


@pytest.mark.req("F-005", "P7")
def test_stopped_in_mid_stream(house: HouseProcess) -> None:
    engine = house.engine(lambda: house.load("chat"))
    with house.http.stream(
        "POST",
        "/v1/chat/completions",
        json={"model": "chat", "messages": [{"role": "user", "content": "Hello"}], "stream": True, **ENDLESS},
    ) as reply:
        lines = reply.iter_lines()
        assert next(line for line in lines if line.startswith("data: "))
        os.kill(engine, signal.SIGSTOP)
        rest = list(lines)
    error = json.loads(next(line for line in reversed(rest) if line.startswith("data: ")).removeprefix("data: "))[
        "error"
    ]
    assert error["code"] == "engine_hung"
    assert ": keep-alive" in rest, "until it was found out, the client was kept waiting politely"
    assert "data: [DONE]" not in rest
    until(lambda: not is_engine(engine), "the end of the stopped engine")
    assert house.chat("Hello", model="chat", max_tokens=2).status_code == 200


@pytest.mark.req("F-005")
def test_stopped_before_the_answer(house: HouseProcess) -> None:
    engine = house.engine(lambda: house.load("chat"))
    os.kill(engine, signal.SIGSTOP)
    reply: httpx2.Response = house.chat("Hello", model="chat", max_tokens=2)
    assert reply.status_code == 504
    assert reply.json()["error"]["code"] == "engine_hung"
    until(lambda: not is_engine(engine), "the hung engine to be ended")


@pytest.mark.req("F-004", "P13")
def test_killed_again_and_again_it_is_left_alone_for_a_while(house: HouseProcess) -> None:
    for _ in range(3):
        engine = house.engine(lambda: house.chat("Hello", model="chat", max_tokens=1).raise_for_status())
        with house.stream("Write a story", model="chat", **ENDLESS) as stream:
            stream.read(2)
            os.kill(engine, signal.SIGKILL)
            stream.rest()
        assert stream.error["code"] == "engine_crashed"
    before = house.engines()
    refused = house.chat("Hello", model="chat")
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 1
    assert house.engines() == before
    assert house.load("chat")["status"] == "loaded", "an order is obeyed at once"
