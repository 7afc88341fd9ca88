"""Unloads, and loads that nobody waits for any more."""

from __future__ import annotations

import asyncio

import pytest

from lanhaven.errors import (
    EngineHung,
    GatewayError,
    InternalError,
    LoadFailed,
    ModelUnloaded,
    ProviderUnavailable,
)
from lanhaven.events import Failure
from lanhaven.types.models import InstanceState, LoadConfig
from tests.residency.fakes import World, model

pytestmark = pytest.mark.anyio
A = model("a")


@pytest.mark.req("F-064", "S1-17")
async def test_an_unload_waits_for_running_requests(world: World) -> None:
    lease = await world.lease(A)
    unload = asyncio.create_task(world.pool.unload("a"))
    await asyncio.sleep(20)
    assert world.provider.ended == []
    assert lease.broken is None
    lease.release()
    assert await unload is True
    assert asyncio.get_running_loop().time() == pytest.approx(21.5)
    assert world.provider.ended == ["a"]
    assert world.names("model_unload_start", "model_unload_complete") == [
        "model_unload_start a",
        "model_unload_complete a",
    ]


@pytest.mark.req("F-064")
async def test_after_the_drain_the_rest_is_cut_off(world: World) -> None:
    told: list[GatewayError] = []
    lease = await world.lease(A)
    lease.on_abort = told.append
    began = asyncio.get_running_loop().time()
    assert await world.pool.unload("a")
    assert asyncio.get_running_loop().time() - began == pytest.approx(30.5)
    assert [type(each) for each in told] == [ModelUnloaded]
    assert told[0].status == 503
    lease.release()


@pytest.mark.req("F-064")
async def test_force_does_not_wait(world: World) -> None:
    lease = await world.lease(A)
    began = asyncio.get_running_loop().time()
    gentle = asyncio.create_task(world.pool.unload("a"))
    await asyncio.sleep(1)
    assert await world.pool.unload("a", force=True)
    assert await gentle
    assert asyncio.get_running_loop().time() - began == pytest.approx(1.5)
    assert isinstance(lease.broken, ModelUnloaded)


async def test_another_instance_takes_those_who_wait_for_one_that_leaves(world: World) -> None:
    world.provider.slots = 1
    leaving = await world.lease(A)
    unload = asyncio.create_task(world.pool.unload("a"))
    await asyncio.sleep(1)
    unnamed, named = asyncio.create_task(world.use(A)), asyncio.create_task(world.use(A, instance_id="a"))
    await asyncio.sleep(1)
    await world.pool.load(A, instance_id="other", config=LoadConfig(context_length=1))
    assert await unnamed == "other"
    assert not named.done(), "the name is still somebody's"
    leaving.release()
    assert await named == "other", "the name is the model's own, so any instance will do"
    await unload


async def test_who_is_placed_anew_keeps_the_turn(world: World) -> None:
    world.provider.slots = 1
    order: list[str] = []

    async def use(name: str, instance_id: str | None) -> None:
        async with await world.lease(A, instance_id=instance_id):
            order.append(name)

    await world.pool.load(A)
    await world.pool.load(A, instance_id="other", config=LoadConfig(context_length=1))
    first, second = await world.lease(A, instance_id="a"), await world.lease(A, instance_id="other")
    unload = asyncio.create_task(world.pool.unload("a"))
    await asyncio.sleep(1)
    older = asyncio.create_task(use("older", "a"))
    await asyncio.sleep(1)
    newer = asyncio.create_task(use("newer", "other"))
    await asyncio.sleep(1)
    first.release()
    await unload
    second.release()
    await asyncio.gather(older, newer)
    assert order == ["older", "newer"]


async def test_unloading_what_is_not_there(world: World) -> None:
    assert await world.pool.unload("a") is False


async def test_those_who_wait_for_a_slot_are_told_at_once(world: World) -> None:
    world.provider.slots = 1
    lease = await world.lease(A)
    waiting = asyncio.create_task(world.use(A))
    await asyncio.sleep(1)
    unload = asyncio.create_task(world.pool.unload("a"))
    with pytest.raises(ModelUnloaded):
        await waiting
    lease.release()
    await unload


async def test_who_comes_during_an_unload_gets_a_new_instance(world: World) -> None:
    lease = await world.lease(A)
    unload = asyncio.create_task(world.pool.unload("a"))
    await asyncio.sleep(1)
    late = asyncio.create_task(world.use(A))
    await asyncio.sleep(1)
    assert not late.done()
    lease.release()
    assert await late == "a"
    assert await unload
    assert world.provider.spawned == ["a", "a"]


@pytest.mark.req("F-067")
async def test_unloading_a_load_stops_it_and_tells_its_waiters_once(world: World) -> None:
    world.provider.load_seconds = None
    waiting = [asyncio.create_task(world.use(A)) for _ in range(3)]
    order = asyncio.create_task(world.pool.load(A))
    await asyncio.sleep(1)
    assert await world.pool.unload("a")
    results = await asyncio.gather(*waiting, order, return_exceptions=True)
    assert [type(each) for each in results] == [ModelUnloaded] * 4
    assert len({id(each) for each in results}) == 4
    assert world.provider.engines == {}
    assert world.names("model_load_start", "model_load_complete", "model_unload_complete", "error") == [
        "model_load_start a",
        "model_unload_complete a",
    ]


async def test_an_unload_goes_on_when_its_caller_leaves(world: World) -> None:
    await world.use(A)
    unload = asyncio.create_task(world.pool.unload("a"))
    await asyncio.sleep(0)
    unload.cancel()
    await asyncio.sleep(1)
    assert world.pool.instances() == []


@pytest.mark.req("F-062")
@pytest.mark.parametrize("gap", [0.0, 0.1, 0.7, 1.2])
async def test_load_and_unload_interleaved_a_hundred_times(world: World, gap: float) -> None:
    tasks: list[asyncio.Task[object]] = []
    for _ in range(100):
        tasks.append(asyncio.create_task(world.pool.load(A)))
        await asyncio.sleep(gap)
        tasks.append(asyncio.create_task(world.pool.unload("a")))
        await asyncio.sleep(gap)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(each) for each in results if isinstance(each, Exception)} <= {ModelUnloaded}
    assert world.pool.instances() == []
    assert world.provider.engines == {}
    assert len(world.provider.spawned) == len(world.provider.ended)
    tasks = [asyncio.create_task(world.pool.unload("a")), asyncio.create_task(world.pool.load(A))]
    await asyncio.gather(*tasks)
    assert [each.state for each in world.pool.instances()] == [InstanceState.READY]


async def test_the_last_command_wins_while_an_older_one_takes_its_time(world: World) -> None:
    """unload, load and unload again while the first unload still drains: the load is called off."""
    lease = await world.lease(A)
    first = asyncio.create_task(world.pool.unload("a"))
    await asyncio.sleep(0)
    load = asyncio.create_task(world.pool.load(A))
    await asyncio.sleep(0)
    second = asyncio.create_task(world.pool.unload("a"))
    await asyncio.sleep(0)
    lease.release()
    assert list(await asyncio.gather(first, second)) == [True, True]
    with pytest.raises(ModelUnloaded):
        await load
    assert world.pool.instances() == []


async def test_a_provider_that_cannot_unload(world: World) -> None:
    await world.use(A)
    world.provider.unload_error = ProviderUnavailable("not there")
    with pytest.raises(ProviderUnavailable, match="not there"):
        await world.pool.unload("a")
    assert world.pool.instances() == []
    failure = world.events[-1]
    assert isinstance(failure, Failure)
    assert failure.operation == "model_unload"
    assert world.names("model_unload_complete") == []


async def test_a_provider_that_never_unloads_does_not_wedge(world: World) -> None:
    await world.use(A)
    world.provider.end_seconds = 1e9
    with pytest.raises(EngineHung, match="did not end within 30 s"):
        await world.pool.unload("a")
    assert world.pool.instances() == []
    world.provider.end_seconds = 0.5
    assert await world.use(A) == "a"


async def test_a_provider_with_a_defect_in_unload(world: World) -> None:
    await world.use(A)
    world.provider.unload_error = RuntimeError("oh")
    with pytest.raises(InternalError):
        await world.pool.unload("a")
    await world.use(A)
    world.provider.unload_error = TimeoutError("oh")
    with pytest.raises(InternalError):
        await world.pool.unload("a")


# Abandoned loads.


@pytest.mark.req("F-067", "F-081")
async def test_the_last_waiter_to_leave_stops_the_load(world: World) -> None:
    world.provider.load_seconds = None
    first, second = asyncio.create_task(world.use(A)), asyncio.create_task(world.use(A))
    await asyncio.sleep(1)
    first.cancel()
    await asyncio.sleep(1)
    assert "a" in world.provider.engines
    second.cancel()
    await asyncio.sleep(2)
    assert world.provider.engines == {}
    assert world.pool.instances() == []
    assert world.names("model_unload_start") == ["model_unload_start a"]


async def test_an_order_whose_caller_leaves_is_stopped_too(world: World) -> None:
    world.provider.load_seconds = None
    order = asyncio.create_task(world.pool.load(A))
    await asyncio.sleep(1)
    order.cancel()
    await asyncio.sleep(1)
    assert world.provider.engines == {}


async def test_who_comes_while_an_abandoned_load_ends_gets_a_new_one(world: World) -> None:
    world.provider.load_seconds = None
    leaving = asyncio.create_task(world.use(A))
    await asyncio.sleep(1)
    leaving.cancel()
    await asyncio.sleep(0.1)
    coming = asyncio.create_task(world.use(A))
    await asyncio.sleep(2)
    world.provider.finish("a")
    assert await coming == "a"
    assert world.provider.spawned == ["a", "a"]


async def test_a_failed_load_is_told_to_each_waiter_as_an_error_of_its_own(world: World) -> None:
    world.provider.next_error.append(LoadFailed("bad file", hint="look"))
    results = await asyncio.gather(*(world.use(A) for _ in range(20)), return_exceptions=True)
    assert {(type(each), str(each), each.hint) for each in results if isinstance(each, LoadFailed)} == {
        (LoadFailed, "bad file", "look")
    }
    assert len({id(each) for each in results}) == 20
    assert world.names("error") == ["error a"]
    assert world.pool.instances() == []
