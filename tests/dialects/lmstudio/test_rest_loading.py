"""Chats of /api/v1/chat that have to load first: what is told of the load, with which context, and how it may end."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lanhaven.errors import LoadFailed
from lanhaven.events import ModelLoadStart
from tests.dialects.lmstudio.chatting import MODELS, ask, refused, stream
from tests.dialects.lmstudio.words import events, in_order, names, result_of
from tests.serving import serving

pytestmark = pytest.mark.anyio


async def test_a_stream_that_has_to_load_tells_of_it(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        found = await stream(house, model="slow")
        assert in_order(found)
        told = [each["progress"] for each in found if each["type"] == "model_load.progress"]
        assert told == sorted(set(told))
        assert len(told) > 5
        assert told[-1] == 1.0
        (end,) = [each for each in found if each["type"] == "model_load.end"]
        assert end["load_time_seconds"] == result_of(found).stats.model_load_time_seconds
        assert {each["model_instance_id"] for each in found if "model_load" in each["type"]} == {"slow"}


async def test_the_events_of_a_load_come_while_it_lasts(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        body = {"model": "alpha", "input": "x", "stream": True}
        with ExitStack() as held:
            held.enter_context(house.mock.held("alpha"))
            async with house.http.stream("POST", "/api/v1/chat", json=body) as reply:
                lines = reply.aiter_lines()
                seen = [line async for line in _until(lines, "event: model_load.start")]
                assert seen[0] == "event: chat.start"
                held.close()
                rest = [line async for line in lines]
        assert "event: chat.end" in rest


async def _until(lines: Any, wanted: str) -> Any:
    async for line in lines:
        yield line
        if line == wanted:
            return


async def test_a_load_that_others_began_is_told_from_then_on(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        with ExitStack() as held:
            held.enter_context(house.mock.held("alpha"))
            other = asyncio.create_task(house.services.gateway.load("alpha"))
            await house.until(lambda: house.named(ModelLoadStart))
            mine = asyncio.create_task(stream(house))
            await house.until(lambda: any(each.waiting for each in house.services.pool.instances()))
            held.close()
            found = await mine
            await other
        assert in_order(found)
        assert names(found)[:2] == ["chat.start", "model_load.start"]
        assert "model_load.end" in names(found)


async def test_the_load_of_another_model_is_not_told(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        await ask(house)
        both = await asyncio.gather(stream(house, model="slow"), stream(house, model="alpha"))
        assert "model_load.start" in names(both[0])
        assert "model_load.start" not in names(both[1])


async def test_a_load_that_fails_ends_the_stream_with_its_error(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        house.mock.fail_loads("alpha", LoadFailed("It is broken."))
        found = await stream(house)
        assert names(found) == ["chat.start", "model_load.start", "error", "chat.end"]
        assert found[2]["error"] == {"type": "internal_error", "message": "It is broken.", "code": "load_failed"}
        assert result_of(found).output == []
        status, error = await refused(house)  # without a stream there is nothing to have begun
        assert (status, error["code"]) == (500, "load_failed")


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_context_length_is_loaded_with(tmp_path: Path, streamed: bool) -> None:
    async with serving(tmp_path, MODELS) as house:

        async def instance(wanted: int) -> str | None:
            if not streamed:
                return (await ask(house, context_length=wanted)).model_instance_id
            found = await stream(house, context_length=wanted)
            assert in_order(found)
            assert found[0]["model_instance_id"] == found[-1]["result"]["model_instance_id"]
            return result_of(found).model_instance_id

        def loaded() -> dict[str, int | None]:
            return {each.instance_id: each.load_config.context_length for each in house.services.pool.instances()}

        assert await instance(1000) == "alpha"
        assert loaded() == {"alpha": 1000}
        assert await instance(500) == "alpha"  # it holds that
        assert await instance(2000) == "alpha:2"
        assert loaded() == {"alpha": 1000, "alpha:2": 2000}
        assert await instance(1500) == "alpha:2"
        assert all(each.automatic for each in house.services.pool.instances())
        status, error = await refused(house, context_length=10_000)
        assert (status, error["param"]) == (400, "context_length")


async def test_comments_keep_a_silent_stream_alive(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS, keep_alive_interval=0.02) as house:
        body = {"model": "alpha", "input": "x", "stream": True}
        with ExitStack() as held:
            held.enter_context(house.mock.held("alpha"))
            async with house.http.stream("POST", "/api/v1/chat", json=body) as reply:
                lines = reply.aiter_lines()
                begun = [line async for line in _until(lines, ": keep-alive")]
                held.close()
                text = "\n".join([*begun, *[line async for line in lines]])
        assert in_order(events(text))


async def test_a_client_that_leaves_while_it_loads_stops_the_load(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        with house.mock.held("alpha"):
            body = {"model": "alpha", "input": "x", "stream": True}
            async with house.http.stream("POST", "/api/v1/chat", json=body) as reply:
                async for line in reply.aiter_lines():
                    if line == "event: model_load.start":
                        break
            await house.until(lambda: not house.services.pool.ids())
