"""Jobs when their server goes down: read ones may finish, the others keep nobody waiting."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.house_process import PATIENCE, HouseProcess, running
from tests.streams import said

MODELS = "default_model: alpha\nmodels:\n  - {id: alpha, provider: mock}\n"


@contextmanager
def serving(home: Path, **settings: str) -> Iterator[HouseProcess]:
    with running(home, MODELS, "--provider", "mock", **settings) as house:
        yield house


def start(house: HouseProcess, **script: Any) -> str:
    reply = house.http.post("/api/v1/ai/lmstudio/infer", json={"messages": said("hello"), "mock": script})
    assert reply.status_code == 202, reply.text
    job_id: str = reply.json()["job_id"]
    return job_id


@contextmanager
def events(house: HouseProcess, job_id: str) -> Iterator[Iterator[tuple[str, Any]]]:
    with house.http.stream("GET", f"/api/v1/ai/lmstudio/stream/{job_id}", timeout=PATIENCE) as reply:
        assert reply.status_code == 200
        yield ((each.event, json.loads(each.data)["payload"]) for each in httpx2.EventSource(reply))


@pytest.mark.req("F-181", "C12")
def test_a_job_that_is_read_may_finish(tmp_path: Path) -> None:
    with serving(tmp_path) as house, events(house, start(house, tokens=30, interval=0.03)) as reading:
        assert next(reading)[0] == "chunk"
        house.process.send_signal(signal.SIGTERM)
        *_, (name, payload) = reading
        assert (name, payload["content"]) == ("completed", " ".join(f"tok{number}" for number in range(30)))
        assert house.process.wait(PATIENCE) == 0, house.log


@pytest.mark.req("F-181", "C12")
def test_a_job_that_does_not_end_in_time_fails(tmp_path: Path) -> None:
    with (
        serving(tmp_path, LANHAVEN_DRAIN_TIMEOUT="0.3") as house,
        events(house, start(house, do="stall", at=1)) as reading,
    ):
        assert next(reading)[0] == "chunk"
        house.process.send_signal(signal.SIGTERM)
        name, payload = next(reading)
        assert (name, payload["error"]["code"]) == ("failed", "server_shutdown")
        assert house.process.wait(PATIENCE) == 0, house.log


@pytest.mark.req("F-181", "C12")
def test_a_job_that_nobody_reads_keeps_nobody_waiting(tmp_path: Path) -> None:
    with serving(tmp_path, LANHAVEN_DRAIN_TIMEOUT="3600", LANHAVEN_SHUTDOWN_TIMEOUT="3600") as house:
        start(house, do="stall", at=1)
        house.process.send_signal(signal.SIGTERM)
        assert house.process.wait(PATIENCE) == 0, house.log
