"""F-075: every operation is cancelled at every point at which it, or anything it set in motion, can be interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from lanhaven.errors import GatewayError
from lanhaven.residency import PoolSettings
from lanhaven.types.models import LoadConfig
from tests.residency import audit
from tests.residency.fakes import GIB, ScriptedProvider, World, model
from tests.residency.virtual import VirtualLoop

A, B, C = model("a", 4), model("b", 4), model("c", 4)
Work = Callable[[World], Awaitable[object]]


async def cold_lease(world: World) -> None:
    async with await world.lease(A):
        await asyncio.sleep(1)


async def lease_that_evicts(world: World) -> None:
    await world.use(A)
    await world.use(B)
    await world.use(C)


async def lease_that_queues(world: World) -> None:
    async with await world.lease(A), await world.lease(A), await world.lease(A):
        await asyncio.sleep(1)


async def lease_on_one_that_leaves(world: World) -> None:
    await world.use(A)
    leaving = asyncio.create_task(world.pool.unload("a"))
    await asyncio.sleep(0)
    try:
        await world.use(A)
    finally:
        await leaving


async def load(world: World) -> None:
    await world.pool.load(A)


async def load_that_joins(world: World) -> None:
    request = asyncio.create_task(world.use(A))
    await asyncio.sleep(0.5)
    try:
        await world.pool.load(A)
    finally:
        await request


async def load_that_waits_for_room(world: World) -> None:
    async with await world.lease(A), await world.lease(B):
        await world.pool.load(C, wait=5)


async def load_of_one_that_leaves(world: World) -> None:
    await world.pool.load(A)
    leaving = asyncio.create_task(world.pool.unload("a"))
    await asyncio.sleep(0)
    try:
        await world.pool.load(A)
    finally:
        await leaving


async def unload(world: World) -> None:
    await world.pool.load(A)
    await world.pool.unload("a")


async def unload_that_drains(world: World) -> None:
    async with await world.lease(A):
        await world.pool.unload("a")


async def unload_of_a_load(world: World) -> None:
    order = asyncio.create_task(world.pool.load(A, config=LoadConfig(context_length=1)))
    await asyncio.sleep(0.5)
    try:
        await world.pool.unload("a", force=True)
    finally:
        with suppress(GatewayError):
            await order


async def sweep(world: World) -> None:
    await world.use(model("t", 1, ttl=1))
    await asyncio.sleep(2)
    await world.pool.sweep()


OPERATIONS: list[Work] = [
    cold_lease, lease_that_evicts, lease_that_queues, lease_on_one_that_leaves, load, load_that_joins,
    load_that_waits_for_room, load_of_one_that_leaves, unload, unload_that_drains, unload_of_a_load, sweep,
]  # fmt: skip


def _world(loop: VirtualLoop) -> World:
    provider = ScriptedProvider(slots=2, memory=9 * GIB, lists=True)
    return World(loop.time, provider, PoolSettings(max_automatic=2, drain_timeout=5, queue_depth=2))


def _advance(loop: VirtualLoop, turns: int) -> bool:
    """Run so many callbacks, letting time pass where nothing is ready; False if everything has ended before."""
    for _ in range(turns):
        while not loop.pending:
            if (left := loop.next_timer()) is None:
                return False
            loop.tick(left)
        loop.step()
    return True


@pytest.mark.req("F-075")
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.__name__)
def test_cancelled_at_every_point(operation: Work) -> None:
    points = 0
    while _cancelled_after(points, operation):
        points += 1
    assert points > 5, "the operation is so short that nothing was tried"


def _cancelled_after(turns: int, operation: Work) -> bool:
    """Cancel the operation after so many callbacks; what it held must be free. False if it had ended before."""
    loop = VirtualLoop()
    world = _world(loop)
    others = loop.begin(world.use(C, wait=600)) if turns % 2 else None
    task = loop.begin(_quietly(operation, world))
    _advance(loop, turns)
    in_time = not task.done()
    loop.call(task.cancel)
    loop.settle()
    audit.always(world.pool, world.provider, 2, forced=False)
    audit.at_rest(world.pool, loop.now)
    while _advance(loop, 1):
        audit.always(world.pool, world.provider, 2, forced=False)
    assert task.done()
    residents = list(world.pool._books)
    assert sum(len(each.leases) for each in residents) == 0
    assert sum(each.waiting + len(each.orders) for each in residents) == 0
    assert not world.pool._books.roomless
    assert {each.phase.value for each in residents} <= {"ready"}
    assert others is None or others.result() == "c"
    _still_works(loop, world)
    loop.close()
    return in_time


async def _quietly(operation: Work, world: World) -> None:
    with suppress(GatewayError):
        await operation(world)


def _still_works(loop: VirtualLoop, world: World) -> None:
    again = loop.begin(world.use(A, wait=600))
    while _advance(loop, 1):
        pass
    assert again.result() == "a"
    closing = loop.begin(world.pool.aclose(1))
    while _advance(loop, 1):
        pass
    closing.result()
    assert world.provider.engines == {}
    assert len(world.provider.spawned) == len(world.provider.ended)
    assert asyncio.all_tasks(loop) == set()
    assert loop.failures == []


@pytest.mark.req("F-075")
def test_the_closing_itself_may_be_cancelled() -> None:
    """What it has begun goes on, and a second call sees it through."""
    loop = VirtualLoop()
    world = _world(loop)
    loop.begin(world.use(A))
    loop.begin(world.use(B))
    _advance(loop, 12)
    closing = loop.begin(world.pool.aclose(5))
    _advance(loop, 1)
    loop.call(closing.cancel)
    again = loop.begin(world.pool.aclose(5))
    while _advance(loop, 1):
        pass
    again.result()
    assert world.provider.engines == {}
    assert asyncio.all_tasks(loop) == set()
    loop.close()
