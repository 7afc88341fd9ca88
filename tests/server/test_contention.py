"""Many requests for few places: loads, queues, eviction, unloading, going down, crashing engines."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from lanhaven.engines.scripted import Act, Fault
from lanhaven.errors import LoadFailed
from lanhaven.events import (
    InferenceQueued,
    ModelUnloadComplete,
)
from tests.server.clients import Socket, frames, words
from tests.serving import serving

pytestmark = pytest.mark.anyio

ONE_SLOT = "default_model: one\nmodels:\n  - {id: one, provider: mock, enabled: true, config: {slots: 1}}\n"


@pytest.mark.req("F-061", "P3", "S4-17")
async def test_fifty_requests_for_a_cold_model_load_it_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        with house.mock.held("alpha"):
            waiting = [asyncio.create_task(house.chat(f"request {number}")) for number in range(50)]
            await house.until(lambda: len(house.named(InferenceQueued)) == 50)
        replies = await asyncio.gather(*waiting)
        assert {reply.status_code for reply in replies} == {200}
        assert house.mock.loads["alpha"] == 1
        for number, reply in enumerate(replies):
            assert reply.json()["choices"][0]["message"]["content"].split()[-1] == str(number)


@pytest.mark.req("F-003", "F-066")
async def test_a_failed_load_fails_everyone_who_waits_with_the_same_words(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        house.mock.fail_loads("alpha", LoadFailed("alpha could not be loaded: it is broken."))
        with house.mock.held("alpha"):
            waiting = [asyncio.create_task(house.chat()) for _ in range(20)]
            other = asyncio.create_task(house.chat(model="beta"))
            await house.until(lambda: len(house.named(InferenceQueued)) >= 20)
        replies = await asyncio.gather(*waiting)
        assert {reply.status_code for reply in replies} == {500}
        assert len({reply.json()["error"]["message"] for reply in replies}) == 1
        assert house.mock.loads["alpha"] == 1
        assert (await other).status_code == 200


@pytest.mark.req("F-063", "C17", "S4-10", "S4-22", "S4-24")
async def test_the_third_model_waits_for_an_idle_one_and_no_stream_is_cut(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat(model="alpha")
        await house.chat(model="beta")
        for name in ("alpha", "beta"):
            house.mock.server(name).script(Fault(answer="count", tokens=20, interval=0.02))
        busy = [asyncio.create_task(house.chat(model=name, stream=True)) for name in ("alpha", "beta")]
        await house.until(lambda: all(each.leases for each in house.services.pool.instances()))
        third = await house.chat(model="gamma")
        assert third.status_code == 200
        for reply in await asyncio.gather(*busy):
            assert words(reply.text).split() == [f"tok{number}" for number in range(20)]
        evicted = [each for each in house.named(ModelUnloadComplete) if each.reason == "evicted"]
        assert len(evicted) == 1
        assert len(house.services.pool.instances()) == 2


@pytest.mark.req("F-063", "P8")
async def test_a_full_queue_refuses_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path, ONE_SLOT, queue_depth=1) as house:
        await house.chat()
        house.mock.server("one").script(Fault(do=Act.STALL, at=0))
        stalled = await Socket.ask(house, stream=True)
        await house.until(lambda: house.services.pool.instances()[0].leases == 1)
        second = asyncio.create_task(house.chat())
        await house.until(lambda: house.services.pool.instances()[0].waiting == 1)
        third = await house.chat()
        assert third.status_code == 429
        assert third.json()["error"]["code"] == "queue_full"
        assert int(third.headers["retry-after"]) >= 1
        await stalled.leave()
        assert (await second).status_code == 200


@pytest.mark.req("F-063", "P8")
async def test_a_long_wait_gives_up(tmp_path: Path) -> None:
    async with serving(tmp_path, ONE_SLOT, queue_wait=0.1) as house:
        await house.chat()
        house.mock.server("one").script(Fault(do=Act.STALL, at=0))
        stalled = await Socket.ask(house, stream=True)
        await house.until(lambda: house.services.pool.instances()[0].leases == 1)
        late = await house.chat()
        assert late.status_code == 503
        assert late.json()["error"]["code"] == "queue_timeout"
        await stalled.leave()


class TestCrashing:
    """The engine ends under its requests."""

    @pytest.mark.req("F-001", "P7")
    async def test_in_mid_stream(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as house:
            await house.chat()
            await house.chat(model="beta")
            house.mock.server("alpha").script(Fault(do=Act.CRASH, at=3, interval=0.02))
            reply = await house.chat("one two three four five six", model="alpha", stream=True)
            seen = frames(reply.text)
            assert json.loads(seen[-1])["error"]["code"] == "engine_crashed"
            assert words("\n".join(f"data: {frame}" for frame in seen[:-1])).split() == ["one", "two", "three"]
            assert [each.model_key for each in house.services.pool.instances()] == ["beta"]
            assert (await house.chat(model="alpha")).status_code == 200
            assert house.mock.loads["alpha"] == 2

    @pytest.mark.req("F-002")
    async def test_before_the_answer(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as house:
            await house.chat()
            house.mock.server("alpha").script(Fault(do=Act.CRASH, at=-1))
            reply = await house.chat()
            assert reply.status_code == 502
            assert reply.json()["error"]["code"] == "engine_crashed"
            assert reply.headers["x-should-retry"] == "true"

    async def test_between_requests_nobody_notices(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as house:
            await house.chat()
            house.mock.crash("alpha")
            assert (await house.chat()).status_code == 200
            assert house.mock.loads["alpha"] == 2

    @pytest.mark.req("F-004", "P13")
    async def test_again_and_again_stops_trying(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as house:
            house.mock.fail_loads("alpha", LoadFailed("alpha could not be loaded: broken."))
            for _ in range(3):
                assert (await house.chat()).status_code == 500
            refused = await house.chat()
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 1
            assert house.mock.loads["alpha"] == 3


@pytest.mark.req("F-064", "P4")
async def test_unload_waits_for_the_stream(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        house.mock.server("alpha").script(Fault(answer="count", tokens=10, interval=0.02))
        stream = asyncio.create_task(house.chat(stream=True))
        await house.until(lambda: house.services.pool.instances()[0].leases == 1)
        gone = await house.http.post("/admin/models/unload", json={"modelKey": "alpha"})
        assert gone.status_code == 200
        assert words((await stream).text).split()[-1] == "tok9"


@pytest.mark.req("F-064")
@pytest.mark.parametrize("force", [True, False])
async def test_unload_that_does_not_wait_ends_the_stream_with_its_reason(tmp_path: Path, force: bool) -> None:
    async with serving(tmp_path, drain_timeout=0.2) as house:
        await house.chat()
        house.mock.server("alpha").script(Fault(do=Act.STALL, at=2))
        stream = asyncio.create_task(house.chat("one two three four", stream=True))
        await house.until(lambda: house.services.pool.instances()[0].leases == 1)
        await house.http.post("/admin/models/unload", json={"modelKey": "alpha", "force": force})
        assert json.loads(frames((await stream).text)[-1])["error"]["code"] == "model_unloaded"
        assert house.services.pool.instances() == []


@pytest.mark.req("F-181", "P11")
async def test_going_down_lets_streams_finish_and_takes_nothing_new(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        house.mock.server("alpha").script(Fault(answer="count", tokens=10, interval=0.02))
        stream = asyncio.create_task(house.chat(stream=True))
        await house.until(lambda: house.services.pool.instances()[0].leases == 1)
        house.shutdown.begin("test")
        assert words((await stream).text).split()[-1] == "tok9"


@pytest.mark.req("F-181", "P11")
async def test_what_cannot_finish_is_told_why(tmp_path: Path) -> None:
    from lanhaven.gateway import SHUTDOWN

    async with serving(tmp_path) as house:
        await house.chat()
        house.mock.server("alpha").script(Fault(do=Act.STALL, at=1), Fault(do=Act.STALL, at=-1))
        stream = asyncio.create_task(house.chat("one two three", stream=True))
        await house.until(lambda: house.services.pool.instances()[0].leases == 1)
        whole = asyncio.create_task(house.chat())
        await house.until(lambda: house.services.pool.instances()[0].leases == 2)
        with house.mock.held("beta"):
            loading = asyncio.create_task(house.chat(model="beta"))
            await house.until(lambda: house.named(InferenceQueued)[-1].model_key == "beta")
            house.services.gateway.abort_all(SHUTDOWN)
            assert json.loads(frames((await stream).text)[-1])["error"]["code"] == "server_shutdown"
            for reply in (await whole, await loading):
                assert reply.status_code == 503
                assert reply.json()["error"]["code"] == "server_shutdown"
