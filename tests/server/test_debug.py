"""Status, metrics and the live stream (S0-48..66) over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lanhaven.events import InferenceComplete, InferenceStart
from lanhaven.server.debug import format_uptime
from tests.serving import House, serving

pytestmark = pytest.mark.anyio


class Reader:
    """Reads named events off an open stream."""

    def __init__(self, reply: httpx2.Response) -> None:
        self._lines = reply.aiter_lines()

    async def next(self) -> tuple[str, dict[str, Any]]:
        name = ""
        async with asyncio.timeout(60):
            async for line in self._lines:
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    return name, json.loads(line[6:])
        raise AssertionError("the stream ended")

    async def until(self, name: str) -> dict[str, Any]:
        while True:
            found, data = await self.next()
            if found == name:
                return data


@asynccontextmanager
async def watching(house: House) -> AsyncIterator[Reader]:
    async with house.http.stream("GET", "/debug/stream", headers={"accept": "text/event-stream"}) as reply:
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert reply.headers["cache-control"].startswith("no-")
        reader = Reader(reply)
        name, data = await reader.next()
        assert (name, data["message"]) == ("connected", "Debug stream connected")
        yield reader


@pytest.mark.req(
    "S0-48", "S0-49", "S0-50", "S0-51", "S0-52", "S0-53", "S0-54", "S0-58", "S1-28", "S1-29", "S1-30", "S0-x8"
)
async def test_the_life_of_a_model_is_seen(tmp_path: Path) -> None:
    async with serving(tmp_path) as house, watching(house) as reader:
        load = {"modelKey": "alpha", "instanceId": "primary", "loadConfig": {"contextLength": 8192}}
        await house.http.post("/admin/models/load", json=load)
        await house.http.post("/admin/models/unload", json={"modelKey": "alpha"})
        start = await reader.until("model_load_start")
        assert (start["modelKey"], start["instanceId"]) == ("alpha", "primary")
        assert start["loadConfig"]["contextLength"] == 8192
        complete = await reader.until("model_load_complete")
        assert complete["totalTimeMs"] >= 0
        assert complete["loadConfig"]["contextLength"] == 8192
        active = await reader.until("model_activate")
        assert (active["instanceId"], active["defaultInference"]) == ("primary", {})
        assert (await reader.until("model_unload_start"))["reason"] == "request"
        gone = await reader.until("model_unload_complete")
        assert gone["totalTimeMs"] >= 0
        assert all(each["timestamp"].endswith("Z") for each in (start, complete, active, gone))


@pytest.mark.req("S0-55", "S0-56", "S0-x9", "S0-x11")
async def test_a_request_is_seen_from_start_to_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as house, watching(house) as reader:
        reply = await house.chat("how are you")
        start = await reader.until("inference_start")
        assert (start["method"], start["path"]) == ("POST", "/v1/chat/completions")
        assert start["requestId"] == reply.headers["x-request-id"]
        end = await reader.until("inference_complete")
        assert end["requestId"] == start["requestId"]
        assert end["totalTimeMs"] >= 0
        assert end["tokenUsage"]["completionTokens"] == reply.json()["usage"]["completion_tokens"]
        assert "how are you" not in json.dumps([start, end])


@pytest.mark.req("S0-57")
async def test_failures_are_seen(tmp_path: Path) -> None:
    async with serving(tmp_path) as house, watching(house) as reader:
        await house.chat(model="nobody")
        error = await reader.until("error")
        assert (error["operation"], error["code"], error["status"]) == ("inference", "model_not_found", 404)
        assert "nobody" in error["error"]


@pytest.mark.req("F-085")
async def test_subscribers_are_bounded(tmp_path: Path) -> None:
    async with serving(tmp_path, max_debug_subscribers=1) as house, watching(house):
        reply = await house.http.get("/debug/stream")
        assert reply.status_code == 503
        assert reply.json()["reason"] == "too_many_subscribers"
        assert reply.headers["retry-after"]


@pytest.mark.req("F-084", "P24")
async def test_a_slow_reader_loses_events_and_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        with house.services.bus.subscribe(size=2) as subscription:
            for _ in range(3):
                await house.chat()
            assert await subscription.get(1) is not None
            assert subscription.take_dropped() > 0
        assert len(house.named(InferenceStart)) == len(house.named(InferenceComplete)) == 3


@pytest.mark.req("F-154")
@pytest.mark.parametrize("path", ["/debug/stream", "/debug/logs/stream?source=alpha"])
@pytest.mark.parametrize("scopes", [None, ["inference"]])
async def test_a_stream_without_an_end_ends_with_its_key(tmp_path: Path, path: str, scopes: list[str] | None) -> None:
    async with serving(tmp_path, key="a-key-that-is-long-enough") as house:
        made = await house.http.post("/admin/keys", json={"name": "looker", "scopes": ["debug"]})
        mine = {"X-API-Key": made.json()["key"]}
        async with house.http.stream("GET", path, headers=mine) as stream, asyncio.timeout(60):
            lines = stream.aiter_lines()
            assert await anext(lines) == "event: connected"
            if scopes is None:
                await house.http.delete("/admin/keys/looker")
            else:
                await house.http.patch("/admin/keys/looker", json={"scopes": scopes})
            await house.chat("after the end")
            assert not [line async for line in lines if "event" in line]


async def test_the_first_key_ends_the_streams_of_those_without(tmp_path: Path) -> None:
    async with serving(tmp_path) as house, house.http.stream("GET", "/debug/stream") as stream, asyncio.timeout(60):
        lines = stream.aiter_lines()
        assert await anext(lines) == "event: connected"
        key = (await house.http.post("/admin/keys", json={"name": "first"})).json()["key"]
        house.http.headers["X-API-Key"] = key
        await house.chat()
        assert not [line async for line in lines if "event" in line]


async def test_a_debug_stream_ends_when_the_server_goes_down(tmp_path: Path) -> None:
    async with serving(tmp_path) as house, watching(house) as reader:
        house.shutdown.begin("test")
        assert (await reader.until("shutdown"))["message"]


@pytest.mark.req("S0-59", "S0-60", "S0-67", "S0-91")
async def test_status_when_idle_and_afterwards(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        before = (await house.http.get("/debug/status")).json()
        assert before["status"] == "idle"
        assert before["currentOperation"] is None
        assert before["activeModel"] == {"modelKey": None, "instanceId": None, "defaultInference": {}}
        assert (before["totalRequests"], before["totalErrors"], before["recentRequests"]) == (0, 0, [])
        defaults = {"temperature": 0.7, "maxTokens": 5}
        await house.http.post("/admin/models/load", json={"modelKey": "alpha", "defaultInference": defaults})
        await house.chat()
        await house.chat(model="nobody")
        after = (await house.http.get("/debug/status")).json()
        assert after["activeModel"] == {"modelKey": "alpha", "instanceId": "alpha", "defaultInference": defaults}
        assert (after["totalRequests"], after["totalErrors"]) == (2, 1)
        failed, completed = after["recentRequests"]
        assert (completed["status"], failed["status"]) == ("completed", "failed")
        assert completed["requestId"].startswith("req_")
        assert completed["timeMs"] >= 0
        assert completed["timestamp"].endswith("Z")


@pytest.mark.req("S0-61", "S0-62", "S0-63", "S0-64", "S0-65", "S0-66", "S0-x6", "S0-x7", "C7", "S0-79")
async def test_metrics(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        for _ in range(3):
            await house.chat("one two three four five", max_tokens=4)
        await house.chat(model="nobody")
        body = (await house.http.get("/debug/metrics")).json()
        assert set(body) == {"modelInfo", "performance", "recentActivity", "system", "currentOperation"}
        figures = body["performance"]
        assert (figures["totalRequests"], figures["totalErrors"], figures["errorRate"]) == (4, 1, 25.0)
        assert (figures["recentRequestCount"], figures["completedRequestCount"]) == (4, 3)
        assert figures["minResponseTimeMs"] <= figures["medianResponseTimeMs"] <= figures["maxResponseTimeMs"]
        assert figures["tokenStats"]["totalCompletionTokens"] == 12
        assert figures["requestsWithTokenData"] == 3
        assert len(body["recentActivity"]["last10Requests"]) == 4
        system = body["system"]
        assert set(system["memoryUsage"]) == {"rss", "heapTotal", "heapUsed", "external"}
        assert system["memoryUsage"]["rss"] > 10
        assert system["nodeVersion"].startswith("python-3.")
        assert body["currentOperation"] is None


@pytest.mark.req("C6", "S0-65")
@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0s"), (59, "59s"), (3600.5, "1h"), (3605, "1h 5s"), (90061, "1d 1h 1m 1s"), (86400, "1d")],
)
def test_uptime_is_written_without_zero_units(seconds: float, text: str) -> None:
    assert format_uptime(seconds) == text


@pytest.mark.req("S0-x6", "F-189")
async def test_the_ring_is_bounded_and_the_sum_holds(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        for _ in range(105):
            await house.chat(max_tokens=1)
        recent = (await house.http.get("/debug/events")).json()["requests"]
        assert len(recent) == 100
        assert len((await house.http.get("/debug/status")).json()["recentRequests"]) == 10
        assert house.services.metrics.total == 105


async def test_prometheus_counts(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat("one two three four five", max_tokens=4)
        await house.chat(model="no\nbody")
        reply = await house.http.get("/metrics")
        assert reply.headers["content-type"].startswith("text/plain")
        assert 'lanhaven_requests_total{code="ok",dialect="openai",model="alpha"} 1.0' in reply.text
        assert 'lanhaven_tokens_total{kind="completion",model="alpha"} 4.0' in reply.text
        assert 'code="model_not_found"' in reply.text
        assert "body" not in reply.text.replace("first_byte", "")
