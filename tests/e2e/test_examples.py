"""The three example programs of the integration guide, in Python, run as they stand."""

from __future__ import annotations

from typing import Literal

import httpx2
import pytest

from tests.e2e.conftest import LARGE, SMALL
from tests.house_process import HouseProcess


def execute_user_task(http: httpx2.Client, task: str) -> str:
    """Example 1: use the active model, or load one."""
    status = http.get("/debug/status").json()
    if not status["activeModel"]["modelKey"]:
        http.post("/admin/models/load", json={"modelKey": SMALL, "activate": True})
    reply = http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": task}], "max_tokens": 24})
    content: str = reply.json()["choices"][0]["message"]["content"]
    return content


def select_and_load_model(http: httpx2.Client, complexity: Literal["simple", "complex"]) -> None:
    """Example 2: a model and a context to suit the task."""
    models = http.get("/admin/models").json()
    key = SMALL if complexity == "simple" else LARGE
    assert key in {each["path"] for each in models["downloaded"]}
    context = 4096 if complexity == "simple" else 16384
    body = {"modelKey": key, "loadConfig": {"contextLength": context}, "activate": True}
    assert http.post("/admin/models/load", json=body).status_code == 200


def monitor_and_switch(http: httpx2.Client, limit_ms: float) -> bool:
    """Example 3: a smaller model if answers take too long; whether it switched."""
    metrics = http.get("/debug/metrics").json()
    if metrics["performance"]["avgResponseTimeMs"] <= limit_ms:
        return False
    load = {"contextLength": 2048, "gpu": {"ratio": 1.0}}
    http.post("/admin/models/load", json={"modelKey": SMALL, "loadConfig": load, "activate": True})
    return True


@pytest.mark.req("S0-77", "S0-67")
def test_basic_task_execution(house: HouseProcess) -> None:
    assert execute_user_task(house.http, "What is the capital of France?").strip()
    (before,) = house.engines()
    assert execute_user_task(house.http, "And of Spain?").strip()
    assert house.engines() == {before}, "the active model is used, not loaded again"


@pytest.mark.req("S0-78", "S0-14")
def test_context_aware_model_selection(house: HouseProcess) -> None:
    for complexity, key, context in (("simple", SMALL, 4096), ("complex", LARGE, 8192)):
        select_and_load_model(house.http, complexity)  # type: ignore[arg-type]
        assert house.get("/debug/status")["activeModel"]["modelKey"] == key
        assert house.loaded()[key]["contextLength"] == context
    select_and_load_model(house.http, "simple")
    assert len(house.engines()) == 2, "what is there already is only activated"


@pytest.mark.req("S0-79", "S0-61", "S0-63")
def test_performance_monitoring(house: HouseProcess) -> None:
    house.load(LARGE)
    house.chat("Hello", max_tokens=4)
    assert not monitor_and_switch(house.http, limit_ms=3_600_000)
    assert house.chat("Hello", max_tokens=2).json()["model"] == LARGE
    assert monitor_and_switch(house.http, limit_ms=0)
    assert house.chat("Hello", max_tokens=2).json()["model"] == SMALL
    assert house.loaded()[SMALL]["contextLength"] == 2048
