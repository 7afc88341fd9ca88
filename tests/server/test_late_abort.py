"""An engine that ends when its answer is complete: the client has the answer, so the request has succeeded."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lanhaven.engines.scripted import Act, Fault
from lanhaven.errors import EngineCrashed
from lanhaven.events import Failure, InferenceComplete
from lanhaven.inference import GatewayLimits, Inference
from lanhaven.types.chat import InferenceRequest, Route
from tests.serving import House, serving

pytestmark = pytest.mark.anyio


def chat(house: House, *, stream: bool) -> Inference:
    body = {"model": "alpha", "messages": [{"role": "user", "content": "one two"}], "stream": stream}
    return house.services.gateway.infer(InferenceRequest(Route.CHAT, body, "req_1", "/v1/chat/completions"))


@pytest.mark.req("F-001", "P1")
async def test_after_the_last_frame_of_a_stream(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        async with chat(house, stream=True) as inference:
            exchange = await inference.open()
            text = b""
            while b"[DONE]" not in text:
                text += await exchange.more()
            inference.abort(EngineCrashed("alpha has ended."))
            assert await exchange.more() == b"", "nothing follows the end of a stream"
        assert len(house.named(InferenceComplete)) == 1
        assert house.named(Failure) == []


@pytest.mark.req("F-002", "P1")
async def test_after_a_whole_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        async with chat(house, stream=False) as inference:
            exchange = await inference.open()
            assert b"choices" in await exchange.body()
            inference.abort(EngineCrashed("alpha has ended."))
        assert len(house.named(InferenceComplete)) == 1
        assert house.named(Failure) == []


@pytest.mark.req("F-001")
async def test_before_the_last_frame_it_still_fails(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        house.mock.server("alpha").script(Fault(do=Act.STALL, at=1))
        with pytest.raises(EngineCrashed):  # noqa: PT012 - leaving the block is what raises
            async with chat(house, stream=True) as inference:
                exchange = await inference.open()
                await exchange.more()
                inference.abort(EngineCrashed("alpha has ended."))
                await exchange.more()
        assert len(house.named(Failure)) == 1


def awaits_certificate(house: House) -> bool:
    """Whether the one request found its instance dead, and waits to hear of what."""
    (inference,) = house.services.gateway._context.running
    return inference._lease is not None and bool(inference._lease._verdicts)


@pytest.mark.req("F-001", "F-021")
@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_that_found_its_instance_dead_succeeds_with_the_next(tmp_path: Path, stream: bool) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        house.services.gateway.limits = GatewayLimits(crash_grace=10)
        await house.mock.server("alpha").aclose()
        waiting = asyncio.create_task(house.chat("again", stream=stream))
        await house.until(lambda: house.services.gateway.inflight == 1 and awaits_certificate(house))
        house.mock.crash("alpha")
        reply = await waiting
        assert reply.status_code == 200
        assert "error" not in reply.text
        await house.until(lambda: len(house.named(InferenceComplete)) == 2)
        assert [each for each in house.named(Failure) if each.operation == "inference"] == []
        assert house.mock.loads["alpha"] == 2
