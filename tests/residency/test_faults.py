"""Engines that live, and fail what they are asked."""

from __future__ import annotations

import asyncio

import pytest

from lanhaven.errors import ContextLengthExceeded, GatewayError, InvalidRequest, UpstreamError, UpstreamTimeout
from lanhaven.events import Failure
from lanhaven.types.models import InstanceState
from tests.residency.fakes import World, model

pytestmark = [pytest.mark.anyio, pytest.mark.req("F-015")]
A = model("a")
CUDA = UpstreamError("The model's server failed: CUDA error.", facts={"status": 500})


async def ask(world: World, request: bytes, error: GatewayError | None = CUDA) -> None:
    async with await world.lease(A) as lease:
        world.pool.judge(lease, error, request)


async def test_an_engine_of_ours_that_fails_three_requests_in_a_row_is_replaced(world: World) -> None:
    world.provider.ours = True
    for request in (b"1", b"2", b"3"):
        assert world.provider.spawned == ["a"] or request == b"1"
        await ask(world, request)
    assert await world.use(A) == "a"
    assert world.provider.spawned == ["a", "a"]
    failures = [each for each in world.events if isinstance(each, Failure)]
    assert [(each.operation, each.code, each.instance_id) for each in failures] == [
        ("engine", "engine_protocol_error", "a")
    ]
    assert "failed 3 different requests in a row and is replaced" in failures[0].error
    assert "CUDA error" in failures[0].error
    assert world.pool.breakers() == {"a": "1 failure"}


async def test_it_finishes_what_runs_and_who_waits_gets_the_new_one(world: World) -> None:
    world.provider.ours, world.provider.slots = True, 2
    running = await world.lease(A)
    for request in (b"1", b"2", b"3"):
        await ask(world, request)
    waiting = asyncio.create_task(world.use(A))
    await asyncio.sleep(5)
    assert running.broken is None
    assert world.provider.spawned == ["a"]
    running.release()
    assert await waiting == "a"
    assert world.provider.spawned == ["a", "a"]


@pytest.mark.parametrize(
    "error",
    [
        None,
        InvalidRequest("bad"),
        ContextLengthExceeded("long"),
        UpstreamTimeout("slow"),
        UpstreamError("The connection broke."),
        UpstreamError("redirect", facts={"status": 302}),
    ],
    ids=repr,
)
async def test_what_is_not_the_engines_fault_does_not_count(world: World, error: GatewayError | None) -> None:
    world.provider.ours = True
    await ask(world, b"1")
    await ask(world, b"2")
    for request in (b"3", b"4", b"5"):
        await ask(world, request, error)
    assert world.provider.ended == []


async def test_a_request_that_is_answered_clears_the_count(world: World) -> None:
    world.provider.ours = True
    for request in (b"1", b"2", b"", b"3", b"4"):
        await ask(world, request, CUDA if request else None)
    assert world.provider.ended == []


async def test_the_same_request_sent_again_counts_once(world: World) -> None:
    world.provider.ours = True
    for _ in range(5):
        await ask(world, b"poison")
    assert world.provider.ended == []


async def test_servers_elsewhere_are_judged_by_their_health(world: World) -> None:
    for request in range(5):
        await ask(world, bytes(request))
    assert world.provider.ended == []


async def test_an_explicit_instance_comes_back_as_it_was(world: World) -> None:
    world.provider.ours = True
    await world.pool.load(A, instance_id="mine", pinned=True)
    for request in (b"1", b"2", b"3"):
        async with await world.lease(A, instance_id="mine") as lease:
            world.pool.judge(lease, CUDA, request)
    await asyncio.sleep(1)
    failed = world.pool.get("mine")
    assert failed is not None
    assert (failed.state, failed.pinned) == (InstanceState.FAILED, True)
    assert await world.use(A, instance_id="mine") == "mine"
    assert world.provider.spawned == ["mine", "mine"]


async def test_a_model_whose_engines_keep_failing_is_left_alone(world: World) -> None:
    world.provider.ours = True
    for request in range(9):
        await ask(world, str(request).encode())
    assert world.pool.breakers()["a"].startswith("open")
