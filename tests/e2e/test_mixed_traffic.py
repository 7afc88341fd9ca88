"""Everybody at once for a few seconds: requests, streams, people who leave, orders, kills. What must hold, holds."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.conftest import entry
from tests.house_process import HouseProcess, running, until

SECONDS = 6
CLIENTS = 6
CHATS = ("alpha", "beta", "gamma")
FINE = {200, 404, 409, 500, 502, 503}  # refused, taken back and broken are all answers here


@pytest.fixture
def house(tmp_path: Path, smollm2: Path, minilm: Path) -> Iterator[HouseProcess]:
    models = "models:\n" + entry("words", minilm)
    models += "".join(entry(name, smollm2, "{contextLength: 512, slots: 2}") for name in CHATS)
    options = json.dumps({"llama_cpp": {"probe_every": 0.5}})
    with running(tmp_path, models, LANHAVEN_PROVIDERS=options, LANHAVEN_DRAIN_TIMEOUT="3") as house:
        yield house


def whole(house: HouseProcess, dice: random.Random) -> None:
    reply = house.chat("Hello", model=dice.choice(CHATS), max_tokens=dice.randint(1, 6))
    assert reply.status_code in FINE, reply.text
    assert ("choices" in reply.json()) is (reply.status_code == 200)


def vectors(house: HouseProcess, dice: random.Random) -> None:
    reply = house.http.post("/v1/embeddings", json={"model": "words", "input": f"number {dice.random()}"})
    assert reply.status_code in FINE, reply.text


def streamed(house: HouseProcess, dice: random.Random) -> None:
    with house.stream("Tell me", model=dice.choice(CHATS), max_tokens=dice.randint(2, 20), ignore_eos=True) as stream:
        if stream.reply.status_code != 200:
            assert stream.reply.status_code in FINE
        elif dice.random() < 0.3:
            stream.read(dice.randint(0, 3))
        elif stream.rest()[-1] != "[DONE]":
            assert stream.error["code"] in ("engine_crashed", "model_unloaded")


def order(house: HouseProcess, dice: random.Random) -> None:
    model = dice.choice((*CHATS, "words"))
    if dice.random() < 0.5:
        body = {"modelKey": model, "instanceId": dice.choice((None, "mine"))}
        reply = house.http.post("/admin/models/load", json=body)
    else:
        reply = house.http.post("/admin/models/unload", json={"modelKey": model, "force": dice.random() < 0.5})
    assert reply.status_code in FINE, reply.text


def kill(house: HouseProcess, dice: random.Random) -> None:
    engines = sorted(house.engines())
    if engines:
        with contextlib.suppress(ProcessLookupError):
            os.kill(dice.choice(engines), signal.SIGKILL)


DEEDS: tuple[Callable[[HouseProcess, random.Random], None], ...] = (whole, vectors, streamed, order, kill)
WEIGHTS = (30, 15, 30, 20, 3)


@pytest.mark.req("P1", "P3", "P4", "F-001", "F-062", "F-065")
def test_every_request_ends_once_and_nothing_is_left(house: HouseProcess) -> None:
    def client(number: int) -> int:
        dice, until_then, deeds = random.Random(number), time.monotonic() + SECONDS, 0
        while time.monotonic() < until_then:
            dice.choices(DEEDS, WEIGHTS)[0](house, dice)
            deeds += 1
        return deeds

    with house.events() as events, ThreadPoolExecutor(CLIENTS) as threads:
        deeds = list(threads.map(client, range(CLIENTS)))
        assert min(deeds) > 0
        until(lambda: house.get("/debug/status")["status"] == "idle", "rest")
        house.catch_up(events)
        assert events.find("dropped") == []
        starts = [event["requestId"] for event in events.find("inference_start")]
        ends = [event["requestId"] for event in events.find("inference_complete")]
        ends += [event["requestId"] for event in events.find("error", operation="inference")]
        assert sorted(starts) == sorted(ends)
    until(lambda: len(house.engines()) == len(ready(house)), "as many engines as instances")
    assert [each for each in house.loaded().values() if each["busy"] or each["waiting"]] == []


def ready(house: HouseProcess) -> list[str]:
    return [name for name, each in house.loaded().items() if each["state"] == "ready"]
