"""Clients that leave: the upstream is let go, in every phase."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lanhaven.engines.scripted import Act, Fault
from lanhaven.events import (
    Failure,
    InferenceQueued,
    InferenceStart,
    ModelLoadComplete,
    ModelLoadStart,
)
from tests.server.clients import Socket
from tests.serving import serving

pytestmark = pytest.mark.anyio


class TestLeaving:
    """The client leaves: the upstream is let go within a second, in every phase (F-081)."""

    @pytest.mark.req("F-081", "P2", "S1-41")
    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize("at", [-1, 2])
    async def test_while_the_engine_works(self, tmp_path: Path, stream: bool, at: int) -> None:
        async with serving(tmp_path) as house:
            await house.chat()
            server = house.mock.server("alpha")
            server.script(Fault(do=Act.STALL, at=at))
            client = await Socket.ask(house, stream=stream)
            await server.until(lambda: len(server.requests) == 2)
            await client.leave()
            await server.until(lambda: server.disconnects == 1)
            await house.until(lambda: house.services.gateway.inflight == 0)
            (failure,) = house.named(Failure)
            assert (failure.cancelled, failure.status, failure.code) == (True, 499, "client_closed")
            assert house.services.metrics.cancelled == 1

    @pytest.mark.req("F-081")
    async def test_in_the_middle_of_its_stream(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as house:
            await house.chat()
            server = house.mock.server("alpha")
            server.script(Fault(answer="count", tokens=10_000, interval=0.005))
            client = await Socket.ask(house, stream=True, max_tokens=10_000)
            await client.reader.readuntil(b"tok3")
            await client.leave()
            await server.until(lambda: server.disconnects == 1)

    @pytest.mark.req("F-081", "F-067")
    @pytest.mark.parametrize("stream", [True, False])
    async def test_while_the_model_loads(self, tmp_path: Path, stream: bool) -> None:
        async with serving(tmp_path) as house:
            with house.mock.held("alpha"):
                client = await Socket.ask(house, stream=stream)
                await house.until(lambda: house.named(ModelLoadStart))
                await client.leave()
                await house.until(lambda: not house.services.pool.instances())
            assert house.named(ModelLoadComplete) == []

    @pytest.mark.req("F-067")
    async def test_while_others_wait_for_the_same_load(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as house:
            with house.mock.held("alpha"):
                leaving = await Socket.ask(house)
                staying = asyncio.create_task(house.chat())
                await house.until(lambda: len(house.named(InferenceQueued)) == 2)
                await leaving.leave()
                await house.until(lambda: house.named(Failure))
            assert (await staying).status_code == 200
            assert house.mock.loads["alpha"] == 1

    @pytest.mark.req("F-081")
    async def test_in_the_queue(self, tmp_path: Path) -> None:
        models = "default_model: one\nmodels:\n  - {id: one, provider: mock, enabled: true, config: {slots: 1}}\n"
        async with serving(tmp_path, models) as house:
            await house.chat()
            server = house.mock.server("one")
            server.script(Fault(do=Act.STALL, at=0))
            first = await Socket.ask(house, stream=True)
            await house.until(lambda: house.services.pool.instances()[0].leases == 1)
            queued = await Socket.ask(house)
            await house.until(lambda: house.services.pool.instances()[0].waiting == 1)
            await queued.leave()
            await house.until(lambda: house.services.pool.instances()[0].waiting == 0)
            assert len(server.requests) == 2, "the queued one never reached the engine"
            await first.leave()

    @pytest.mark.req("F-081")
    async def test_while_its_body_is_on_its_way(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as house:
            client = await Socket.ask(house, partial=True)
            await client.leave()
            assert (await house.chat()).status_code == 200
            assert len(house.named(InferenceStart)) == 1, "it was never accepted"

    @pytest.mark.req("F-082")
    async def test_half_closing_counts_as_leaving(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as house:
            await house.chat()
            server = house.mock.server("alpha")
            server.script(Fault(do=Act.STALL, at=1))
            client = await Socket.ask(house, stream=True)
            await server.until(lambda: len(server.requests) == 2)
            client.writer.write_eof()
            await server.until(lambda: server.disconnects == 1)
            await client.leave()

    @pytest.mark.req("F-091")
    async def test_three_hundred_times_leaves_nothing_behind(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as house:
            await house.chat()
            server = house.mock.server("alpha")
            for _ in range(300):
                server.script(Fault(answer="count", tokens=1000, interval=0.01))
                client = await Socket.ask(house, stream=True, max_tokens=1000)
                await client.reader.readuntil(b"tok0")
                await client.leave()
            await house.until(lambda: house.services.gateway.inflight == 0)
            await server.until(lambda: server.open <= 8)
            assert house.services.client.active == 0
            assert house.services.metrics.cancelled == 300
