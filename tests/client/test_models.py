"""Models, health and what happens, with both clients."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from lanhaven import (
    AsyncClient,
    AsyncSdkContract,
    Client,
    FeatureUnavailable,
    ListModelsFilter,
    LoadConfig,
    LoadProgress,
    Sampling,
    SdkContract,
    StreamingFailed,
    UnsupportedVersion,
)
from lanhaven.errors import InstanceConflict, InsufficientMemory, InvalidRequest, ModelNotFound, UpstreamError
from tests.client.both import client
from tests.client.plain import HANG_UP, Answer, plain_server
from tests.serving import serving

pytestmark = pytest.mark.anyio
Kind = type[Client] | type[AsyncClient]


@pytest.mark.req("S3-08", "S3-31", "S3-09")
def test_both_clients_keep_their_contract() -> None:
    contract: SdkContract = Client("http://127.0.0.1:1")
    awaiting: AsyncSdkContract = AsyncClient("http://127.0.0.1:1")
    assert isinstance(contract, SdkContract)
    assert isinstance(awaiting, AsyncSdkContract)


@pytest.mark.req("S3-08", "S3-22", "S3-x2", "C11", "C13")
async def test_models_are_listed_filtered_and_in_pages(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as house, client(kind, house.url) as sdk:
        everything = await sdk.do("list_models")
        assert {"alpha", "beta", "gamma"} <= {each.id for each in everything}
        assert len(everything) == len(everything.data)
        await sdk.do("load_model", "beta")
        ready = await sdk.do("list_models", ListModelsFilter(owned_by="mock", status="ready", limit=10))
        assert [(each.id, each.status, each.state) for each in ready] == [("beta", "ready", "loaded")]
        assert len(await sdk.do("list_models", ListModelsFilter(owned_by="lmstudio"))) == 0
        first = await sdk.do("list_models", ListModelsFilter(limit=2))
        assert first.has_more
        rest = await sdk.do("list_models", ListModelsFilter(cursor=first.next_cursor))
        assert [each.id for each in (*first, *rest)] == [each.id for each in everything]
        assert (await sdk.do("get_model", "first")).id == "first"
        with pytest.raises(ModelNotFound):
            await sdk.do("get_model", "no/such model?")


@pytest.mark.req("S3-02")
async def test_load_use_unload(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as house, client(kind, house.url) as sdk:
        config = LoadConfig(context_length=2048, gpu_ratio=0.5, gpu_layers=3, idle_ttl=60, cpu_threads=2)
        loaded = await sdk.do(
            "load_model", "alpha", instance_id="a", load_config=config, activate=True,
            default_inference=Sampling(temperature=0.5, stop=("END",), max_tokens=9),
        )  # fmt: skip
        assert (loaded.model_key, loaded.instance_id, loaded.activated, loaded.reused) == ("alpha", "a", True, False)
        gpu = {"ratio": 0.5, "layers": 3}
        asked = {"contextLength": 2048, "gpu": gpu, "cpuThreads": 2, "ttlSeconds": 60}
        assert loaded.load_config.items() >= asked.items()
        assert loaded.default_inference["stopStrings"] == ["END"]
        listed = await sdk.do("list_loaded")
        assert [(each.path, each.identifier, each.state, each.active) for each in listed] == [
            ("alpha", "a", "ready", True)
        ]
        with pytest.raises(InstanceConflict):
            await sdk.do("load_model", "beta", instance_id="a")
        kept = await sdk.do("activate_model", "alpha", default_inference=Sampling(temperature=0.9), merge=True)
        assert kept.default_inference["temperature"] == 0.9
        assert kept.default_inference["maxTokens"] == 9
        assert (await sdk.do("activate_model", "alpha", default_inference={"topP": 0.5})).default_inference == {
            "topP": 0.5
        }
        gone = await sdk.do("unload_model", "alpha", instance_id="a", force=True)
        assert (gone.status, gone.instance_ids) == ("unloaded", ("a",))
        with pytest.raises(ModelNotFound):
            await sdk.do("unload_model", "alpha")
        with pytest.raises(ModelNotFound, match="nobody"):
            await sdk.do("load_model", "nobody")


async def test_an_estimate_before_a_load(tmp_path: Path, kind: Kind) -> None:
    models = "models:\n  - {id: alpha, provider: mock, config: {size_bytes: 1000}}\n"
    async with serving(tmp_path, models, memory_budget=900) as house, client(kind, house.url) as sdk:
        told = await sdk.do("estimate_load", "alpha", load_config=LoadConfig(context_length=512, idle_ttl=9))
        assert (told.model_key, told.needed_bytes, told.learnt, told.parts["weights"]) == ("alpha", 1000, False, 1000)
        assert (told.available_bytes, told.evictable_bytes, told.fits, told.verdict) == (900, 0, False, "does_not_fit")
        assert (told.context_length, told.slots, told.largest_context_length) == (512, None, None)
        with pytest.raises(ModelNotFound):
            await sdk.do("estimate_load", "nobody")
        assert await sdk.do("list_loaded") == ()


async def test_a_load_tells_how_far_it_is(tmp_path: Path, kind: Kind) -> None:
    models = "models:\n  - {id: alpha, provider: mock, config: {size_bytes: 1000}}\n"
    seen: list[LoadProgress] = []
    async with serving(tmp_path, models) as house, client(kind, house.url) as sdk:
        with house.mock.held("alpha"):
            load = asyncio.create_task(sdk.do("load_model", "alpha", on_progress=seen.append))
            await house.until(lambda: seen)
        loaded = await load
        assert loaded.instance_id == seen[-1].instance_id == "alpha"
        assert (seen[-1].stage, seen[-1].progress) == ("ready", 1)
        assert len(seen) > 1
        shares = [each.progress or 0 for each in seen]
        assert shares == sorted(shares)
        seen.clear()
        await sdk.do("load_model", "alpha", instance_id="b", on_progress=seen.append)
        assert {each.instance_id for each in seen} == {"b"}


async def test_what_on_progress_raises_reaches_the_caller(tmp_path: Path, kind: Kind) -> None:
    seen: list[LoadProgress] = []

    def refuse(progress: LoadProgress) -> None:
        seen.append(progress)
        raise OSError("the screen is gone")

    async with serving(tmp_path) as house, client(kind, house.url) as sdk:
        with house.mock.held("alpha"):
            load = asyncio.create_task(sdk.do("load_model", "alpha", on_progress=refuse))
            await house.until(lambda: seen)
        with pytest.raises(OSError, match="the screen is gone"):
            await load
        with pytest.raises(ModelNotFound):
            await sdk.do("load_model", "nobody", on_progress=refuse)


async def test_a_load_that_is_left_is_stopped(tmp_path: Path) -> None:
    models = "models:\n  - {id: alpha, provider: mock}\n"
    async with serving(tmp_path, models) as house, AsyncClient(house.url) as sdk:
        with house.mock.held("alpha"):
            load = asyncio.create_task(sdk.load_model("alpha", on_progress=lambda progress: None))
            await house.until(lambda: house.services.pool.instances())
            load.cancel()
            with pytest.raises(asyncio.CancelledError):
                await load
            await house.until(lambda: not house.services.pool.instances())


async def test_a_load_that_fails_tells_no_end(tmp_path: Path, kind: Kind) -> None:
    seen: list[LoadProgress] = []
    async with serving(tmp_path) as house, client(kind, house.url) as sdk:
        house.mock.fail_loads("alpha", InsufficientMemory("no room", facts={"needed_bytes": 2}))
        with pytest.raises(InsufficientMemory, match="no room") as caught:
            await sdk.do("load_model", "alpha", on_progress=seen.append)
        assert caught.value.context["neededBytes"] == 2
        assert "ready" not in [each.stage for each in seen]


async def test_progress_that_cannot_be_had_fails_no_load(kind: Kind) -> None:
    seen: list[LoadProgress] = []
    answers = {
        "/admin/models/load": [Answer({"modelKey": "m", "instanceId": "i"})],
        "/admin/models": [Answer({"x": 1})],
    }
    async with plain_server(answers) as server, client(kind, server.url) as sdk:
        assert (await sdk.do("load_model", "m", on_progress=seen.append)).instance_id == "i"
        assert [each.stage for each in seen] == ["ready"]
        with pytest.raises(UpstreamError, match="loaded"):
            await sdk.do("list_loaded")


# Health


@pytest.mark.req("S3-08", "S3-23", "S3-28", "C5", "C11")
async def test_health(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as house, client(kind, house.url) as sdk:
        await sdk.do("load_model", "alpha")
        assert await sdk.do("health") is True
        found = await sdk.do("health_check")
        assert (found.status, found.models_loaded, found.api_version, found.lmstudio_version) == ("ok", 1, "v1", None)
        assert found.uptime_ms >= 0
        assert found.version
        assert found.extra["backends"]["mock"]["ok"]


@pytest.mark.req("S3-23", "S3-28")
async def test_the_health_of_the_guide(kind: Kind) -> None:
    body = {"status": "ok", "lmstudio_version": "0.2.21", "api_version": "v1", "models_loaded": 3, "uptime_ms": 362145}
    async with plain_server({"/health": [Answer(body)]}) as server, client(kind, server.url) as sdk:
        found = await sdk.do("health_check")
        assert found.to_dict() == body
    old = Answer(body | {"lmstudio_version": "0.2.17"})
    async with plain_server({"/health": [old]}) as server, client(kind, server.url) as sdk:
        with pytest.raises(UnsupportedVersion):
            await sdk.do("health_check")
        assert await sdk.do("health") is False


@pytest.mark.req("C5", "S3-x7", "S3-04")
async def test_plain_lm_studio_has_no_health_page(kind: Kind) -> None:
    data = [{"id": "a", "object": "model", "owned_by": "organization_owner"}, {"id": "b", "object": "model"}]
    states = [{"id": "a", "state": "loaded"}, {"id": "b", "state": "not-loaded"}]
    answers = {
        "/health": [Answer({"error": "Unexpected endpoint or method. (GET /health)"})],
        "/v1/models": [Answer({"object": "list", "data": data}, headers={"x-lmstudio-version": "0.3.5"})],
        "/api/v0/models": [Answer({"object": "list", "data": states})],
    }
    async with plain_server(answers) as server, client(kind, server.url) as sdk:
        found = await sdk.do("health_check")
        assert (found.status, found.models_loaded, found.lmstudio_version) == ("ok", 1, "0.3.5")
        assert await sdk.do("health") is True
        ready = await sdk.do("list_models", ListModelsFilter(status="ready"))
        assert [(each.id, each.state) for each in ready] == [("a", "loaded")]
        owned = await sdk.do("list_models", ListModelsFilter(owned_by="organization_owner"))
        assert [each.id for each in owned] == ["a"]
        first = await sdk.do("list_models", ListModelsFilter(limit=1))
        assert (first.next_cursor, first.has_more, len(first)) == ("a", True, 1)
        second = await sdk.do("list_models", ListModelsFilter(limit=1, cursor="a"))
        assert ([each.id for each in second], second.has_more) == (["b"], False)


@pytest.mark.req("C5", "C13")
async def test_a_server_that_knows_no_states(kind: Kind) -> None:
    answers = {"/v1/models": [Answer({"object": "list", "data": [{"id": "a"}], "lmstudio_version": "0.4.1"})]}
    async with plain_server(answers) as server, client(kind, server.url) as sdk:
        found = await sdk.do("health_check")
        assert (found.status, found.models_loaded, found.lmstudio_version) == ("ok", None, "0.4.1")
        with pytest.raises(FeatureUnavailable):
            await sdk.do("list_models", ListModelsFilter(status="ready"))


async def test_a_degraded_server_is_not_well(kind: Kind) -> None:
    async with plain_server({"/health": [Answer({"status": "degraded"})]}) as server, client(kind, server.url) as sdk:
        assert await sdk.do("health") is False
        assert (await sdk.do("health_check")).status == "degraded"


# Events


async def test_events_come_as_they_happen(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as house, client(kind, house.url) as sdk:
        events = sdk.plain.events()
        first = await sdk.step(events)
        assert first.name == "connected"
        assert first.timestamp.endswith("Z")
        await house.chat()
        names = []
        while "inference_complete" not in names:
            event = await sdk.step(events)
            names.append(event.name)
        assert {"model_load_start", "model_load_complete", "inference_start"} <= set(names)
        assert event.data["tokenUsage"]
        await sdk.leave(events)
        await house.until(lambda: not house.services.subscribers)


def event(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


async def test_events_outlive_their_connection(kind: Kind) -> None:
    busy = Answer({"error": "down", "code": "server_shutdown"}, 503)
    answers = [
        Answer(event("connected") + event("a", n=1), cut=True),
        HANG_UP,
        busy,
        Answer(event("connected"), hold=True),
    ]
    async with plain_server({"/debug/stream": answers}) as server, client(kind, server.url, max_retries=0) as sdk:
        events = sdk.plain.events()
        names = [(await sdk.step(events)).name for _ in range(3)]
        assert names == ["connected", "a", "connected"]
        await sdk.leave(events)
        await asyncio.wait_for(server.left.wait(), 60)


async def test_events_without_reconnection_end_with_their_connection(kind: Kind) -> None:
    body = event("connected") + event("shutdown")
    answers = [Answer(body), Answer(body, cut=True)]
    async with plain_server({"/debug/stream": answers}) as server, client(kind, server.url) as sdk:
        assert [each.name for each in await sdk.every(sdk.plain.events(reconnect=False))] == ["connected", "shutdown"]
        with pytest.raises(StreamingFailed):
            await sdk.every(sdk.plain.events(reconnect=False))


async def test_blocks_close_event_streams() -> None:
    answers = {"/debug/stream": [Answer(event("connected"), hold=True)]}
    async with plain_server(answers) as server:
        async with AsyncClient(server.url) as sdk, sdk.events() as events:
            assert (await anext(events)).timestamp is None
        await asyncio.wait_for(server.left.wait(), 60)
    async with plain_server(answers) as server:

        def block() -> None:
            with Client(server.url) as plain, plain.events() as stream:
                next(stream)

        await asyncio.to_thread(block)
        await asyncio.wait_for(server.left.wait(), 60)


async def test_what_comes_fast_keeps_its_order(kind: Kind) -> None:
    numbers = b"".join(event("a", n=number) for number in range(500))
    async with plain_server({"/debug/stream": [Answer(numbers)]}) as server, client(kind, server.url) as sdk:
        found = await sdk.every(sdk.plain.events(reconnect=False))
        assert [each.data["n"] for each in found] == list(range(500))


@pytest.mark.req("S3-27")
async def test_what_cannot_be_sent_is_not_sent(kind: Kind) -> None:
    async with plain_server({}) as server, client(kind, server.url, extra_headers={"X A": "b"}) as sdk:
        with pytest.raises(InvalidRequest, match="cannot be sent"):
            await sdk.do("list_models")
        assert not server.asked
