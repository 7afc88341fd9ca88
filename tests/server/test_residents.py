"""GET /admin/memory, POST /admin/models/keep, GET /admin/downloads: what the page shows and turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lanhaven.events import Failure
from lanhaven.server.memory import total_bytes
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

SIZED = """\
models:
  - {id: alpha, provider: mock, enabled: true, load: {slots: 2}, defaults: {temperature: 0.5}, config: {size_bytes: 600}}
  - {id: beta, provider: mock, enabled: true, config: {size_bytes: 700}}
  - {id: gamma, provider: mock, enabled: true, config: {size_bytes: 1100}}
  - {id: broken, provider: mock, enabled: true, config: {fail_load: "a tensor is missing"}}
"""


async def get(house: House, path: str) -> Any:
    reply = await house.http.get(path)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def keep(house: House, status: int = 200, **body: Any) -> Any:
    reply = await house.http.post("/admin/models/keep", json=body)
    assert reply.status_code == status, reply.text
    return reply.json()


async def test_memory_tells_who_holds_what(tmp_path: Path) -> None:
    async with serving(tmp_path, SIZED, memory_budget=1000) as house:
        empty = await get(house, "/admin/memory")
        assert (empty["models"], empty["budgetBytes"], empty["availableBytes"]) == ([], 1000, 1000)
        assert 0 < empty["freeBytes"] <= empty["totalBytes"]
        await house.chat(model="alpha")
        held = await get(house, "/admin/memory")
        assert held["models"] == [{"instanceId": "alpha", "modelKey": "alpha", "bytes": 600, "state": "ready"}]
        assert held["availableBytes"] == 400
    async with serving(tmp_path, SIZED) as house:
        assert "budgetBytes" not in await get(house, "/admin/memory")


def test_a_container_may_have_less_memory_than_its_machine(tmp_path: Path) -> None:
    machine = total_bytes(tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    assert total_bytes(tmp_path) == machine
    (tmp_path / "memory.max").write_text("4096\n")
    assert total_bytes(tmp_path) == 4096


async def test_an_instance_is_kept_otherwise_without_being_loaded_anew(tmp_path: Path) -> None:
    async with serving(tmp_path, SIZED) as house:
        await keep(house, 404, modelKey="alpha", pinned=True)
        await house.chat(model="alpha")
        pinned = await keep(house, modelKey="alpha", pinned=True)
        assert (pinned["identifier"], pinned["pinned"], pinned["expiresInSeconds"]) == ("alpha", True, None)
        timed = await keep(house, modelKey="alpha", instanceId="alpha", pinned=False, ttlSeconds=60)
        assert (timed["pinned"], timed["loadConfig"]["ttlSeconds"]) == (False, 60)
        assert 0 < timed["expiresInSeconds"] <= 60
        never = await keep(house, modelKey="alpha", ttlSeconds=0)
        assert (never["expiresInSeconds"], never["loadConfig"]["ttlSeconds"]) == (None, 0)
        as_all = await keep(house, modelKey="alpha", ttlSeconds=None)
        assert "ttlSeconds" not in as_all["loadConfig"]
        assert as_all["expiresInSeconds"] > 60  # loaded by a request, so the server's own idle time holds
        cold = await keep(house, modelKey="alpha", defaultInference={"temperature": 0.0})
        assert cold["defaultInference"] == {"temperature": 0.0}
        assert house.mock.loads["alpha"] == 1
        for wrong in ({"ttlSeconds": -1}, {"pinned": "yes"}, {"color": "red"}):
            await keep(house, 400, modelKey="alpha", **wrong)


async def test_a_model_tells_how_it_is_loaded_and_asked_by_itself(tmp_path: Path) -> None:
    async with serving(tmp_path, SIZED) as house:
        alpha = (await get(house, "/admin/models"))["downloaded"][0]
        assert (alpha["listed"], alpha["loadConfig"], alpha["defaultInference"]) == (
            True, {"slots": 2}, {"temperature": 0.5}
        )  # fmt: skip


async def test_an_estimate_names_those_who_would_leave(tmp_path: Path) -> None:
    async with serving(tmp_path, SIZED, memory_budget=1000) as house:
        await house.chat(model="alpha")
        told = (await house.http.post("/admin/models/estimate", json={"modelKey": "beta"})).json()
        assert (told["verdict"], told["evicts"]) == ("fits_after_eviction", ["alpha"])
        told = (await house.http.post("/admin/models/estimate", json={"modelKey": "gamma"})).json()
        assert (told["verdict"], told["evicts"]) == ("does_not_fit", [])


async def test_a_failed_load_tells_what_to_do_as_an_event_too(tmp_path: Path) -> None:
    async with serving(tmp_path, SIZED, memory_budget=1000) as house:
        refused = await house.http.post("/admin/models/load", json={"modelKey": "gamma"})
        assert refused.status_code == 503
        (told,) = house.named(Failure)
        assert told.hint == refused.json()["hint"]


async def test_what_can_be_fetched_is_listed(tmp_path: Path) -> None:
    async with serving(tmp_path, SIZED) as house:
        models = (await get(house, "/admin/downloads"))["models"]
        assert [(each["name"], each["here"]) for each in models] == [("smollm2", False), ("minilm", False)]
        assert all(each["downloadBytes"] > 0 and each["license"] and "job" not in each for each in models)
