"""Leases: who serves, who waits, how long, and what an abort looks like."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lanhaven.errors import EngineCrashed, GatewayError, ModelNotFound, ProviderUnavailable, QueueFull, QueueTimeout
from lanhaven.events import InferenceQueued
from lanhaven.residency import Lease, PoolSettings
from lanhaven.types.models import LoadConfig, ModelInfo, Sampling
from tests.residency.fakes import ScriptedProvider, World, model

pytestmark = pytest.mark.anyio
A, B = model("a"), model("b")


@pytest.mark.req("F-061", "S1-16")
async def test_fifty_requests_for_a_cold_model_are_one_load(world: World) -> None:
    world.provider.slots = None
    leases = await asyncio.gather(*(world.lease(A, name=str(number)) for number in range(50)))
    assert world.provider.spawned == ["a"]
    assert {each.instance_id for each in leases} == {"a"}
    assert [each.waited for each in leases] == [1.0] * 50
    assert world.names("model_load_start", "model_load_complete") == ["model_load_start a", "model_load_complete a"]


async def test_a_ready_instance_serves_without_a_turn_of_the_loop(world: World) -> None:
    await world.use(A)
    coroutine = world.lease(A)
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    lease: Lease = ended.value.value
    assert repr(lease) == "Lease(a held)"
    assert lease.waited == 0.0
    lease.release()
    assert repr(lease) == "Lease(a released)"


async def test_a_lease_tells_what_it_is(world: World) -> None:
    info = ModelInfo("m", "scripted", load=LoadConfig(context_length=512))
    async with await world.lease(info) as lease:
        assert (lease.instance_id, lease.model_key, lease.kind) == ("m", "m", info.kind)
        assert lease.load_config == LoadConfig(context_length=512)
        assert lease.upstream == world.provider.upstream("m")
        world.pool.set_sampling("m", Sampling(temperature=0.5))
        assert lease.sampling == Sampling(temperature=0.5)


async def test_releasing_twice_gives_back_once(world: World) -> None:
    first, second = await world.lease(A), await world.lease(A)
    first.release()
    first.release()
    assert "leases=1" in repr(world.pool)
    second.release()
    assert "leases=0" in repr(world.pool)


async def test_slots_bound_and_the_queue_is_first_come_first_served(world: World) -> None:
    world.provider.slots = 1
    holder = await world.lease(A)
    order: list[str] = []

    async def request(name: str) -> None:
        async with await world.lease(A, name=name):
            order.append(name)
            await asyncio.sleep(1)

    tasks = [asyncio.create_task(request(name)) for name in "123"]
    await asyncio.sleep(1)
    assert order == []
    holder.release()
    await asyncio.gather(*tasks)
    assert order == ["1", "2", "3"]
    assert [each.waiting for each in world.events if isinstance(each, InferenceQueued)] == [1, 1, 2, 3]


async def test_a_full_queue_refuses_at_once(anyio_backend: object) -> None:
    world = World(asyncio.get_running_loop().time, ScriptedProvider(slots=1), PoolSettings(queue_depth=2))
    async with await world.lease(A):
        waiting = [asyncio.create_task(world.use(A)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull) as refused:
            await world.use(A)
        assert refused.value.status == 429
        assert refused.value.retry_after is not None
        assert refused.value.retry_after >= 1.0
        assert refused.value.facts == {"waiting": 2}
    await asyncio.gather(*waiting)


async def test_the_same_bound_holds_while_the_model_loads(anyio_backend: object) -> None:
    world = World(asyncio.get_running_loop().time, ScriptedProvider(), PoolSettings(queue_depth=2))
    waiting = [asyncio.create_task(world.use(A)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull):
        await world.use(A)
    assert await asyncio.gather(*waiting) == ["a", "a"]


async def test_without_a_queue_a_cold_model_still_loads(anyio_backend: object) -> None:
    world = World(asyncio.get_running_loop().time, ScriptedProvider(slots=1), PoolSettings(queue_depth=0))
    async with await world.lease(A):
        with pytest.raises(QueueFull):
            await world.use(A)


async def test_a_wait_ends_when_its_time_is_up(world: World) -> None:
    world.provider.slots = 1
    async with await world.lease(A):
        with pytest.raises(QueueTimeout) as late:
            await world.lease(A, wait=3)
    assert late.value.status == 503
    assert late.value.facts == {"waited_seconds": 3.0, "waited_for": "a slot"}
    assert late.value.retry_after is not None
    assert "waiting=0" in repr(world.pool)


async def test_who_may_not_wait_is_told_at_once_and_starts_nothing(world: World) -> None:
    with pytest.raises(QueueTimeout):
        await world.lease(A, wait=0)
    assert world.provider.spawned == []


async def test_waiting_without_end_is_possible(world: World) -> None:
    assert await world.use(A, wait=float("inf")) == "a"


async def test_a_load_goes_on_after_its_waiter_has_run_out_of_time(world: World) -> None:
    world.provider.load_seconds = 90
    with pytest.raises(QueueTimeout, match="the load"):
        await world.lease(A, wait=60)
    await asyncio.sleep(31)
    assert await world.use(A, wait=0) == "a"
    assert world.provider.spawned == ["a"]


async def test_most_free_slots_then_least_recently_used(world: World) -> None:
    for number in (1, 2):
        await world.pool.load(A, config=LoadConfig(context_length=number))
        await asyncio.sleep(1)
    held = [await world.lease(A) for _ in range(4)]
    assert [each.instance_id for each in held] == ["a", "a:2", "a", "a:2"]
    held[0].release()
    assert await world.use(A) == "a"


async def test_a_free_instance_takes_those_who_wait_at_another(world: World) -> None:
    world.provider.slots = 1
    await world.pool.load(A, config=LoadConfig(context_length=1))
    await world.pool.load(A, config=LoadConfig(context_length=2))
    first, second = await world.lease(A), await world.lease(A)
    named = asyncio.create_task(world.use(A, instance_id=first.instance_id))
    unnamed = [asyncio.create_task(world.use(A)) for _ in range(2)]
    await asyncio.sleep(0)
    second.release()
    assert await asyncio.gather(*unnamed) == [second.instance_id] * 2
    assert not named.done()
    first.release()
    assert await named == first.instance_id


async def test_a_named_instance_serves_or_nobody(world: World) -> None:
    await world.pool.load(A, instance_id="creative")
    assert await world.use(A, instance_id="creative") == "creative"
    assert await world.use(A) == "creative"
    with pytest.raises(ModelNotFound) as unknown:
        await world.use(A, instance_id="factual")
    assert unknown.value.param == "model"
    with pytest.raises(ModelNotFound):
        await world.use(B, instance_id="creative")


async def test_the_models_own_key_as_a_name_loads_it(world: World) -> None:
    assert await world.use(A, instance_id="a") == "a"


async def test_models_that_cannot_run_here(world: World) -> None:
    with pytest.raises(ProviderUnavailable, match="elsewhere"):
        await world.lease(model("x", provider="elsewhere"))
    with pytest.raises(ProviderUnavailable, match="file is missing"):
        await world.lease(ModelInfo("x", "scripted", unavailable="file is missing"))
    assert world.pool.instances() == []


@pytest.mark.req("F-067")
async def test_a_cancelled_waiter_costs_the_others_nothing(world: World) -> None:
    world.provider.slots = 1
    async with await world.lease(A):
        leaving, staying = asyncio.create_task(world.use(A)), asyncio.create_task(world.use(A))
        await asyncio.sleep(0)
        leaving.cancel()
    assert await staying == "a"
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_a_lease_given_to_somebody_who_has_just_left_goes_to_the_next(world: World) -> None:
    world.provider.slots = 1
    holder = await world.lease(A)
    leaving, staying = asyncio.create_task(world.use(A)), asyncio.create_task(world.use(A))
    await asyncio.sleep(0)
    holder.release()  # the lease is given; its taker has not woken up yet
    leaving.cancel()
    assert await staying == "a"
    assert leaving.cancelled()
    assert "leases=0" in repr(world.pool)


async def test_an_abort_is_told_once_and_outside_the_pool(world: World) -> None:
    told: list[GatewayError] = []
    lease = await world.lease(A)
    lease.on_abort = told.append
    world.provider.crash("a", EngineCrashed("it died"))
    assert lease.broken is not None
    assert told == []
    await asyncio.sleep(5)
    assert [each.message for each in told] == ["it died"]
    assert told[0] is lease.broken
    lease.release()


async def test_an_abort_is_not_told_to_who_has_given_back(world: World) -> None:
    told: list[GatewayError] = []
    lease = await world.lease(A)
    lease.on_abort = told.append
    world.provider.crash("a", EngineCrashed("it died"))
    lease.release()
    await asyncio.sleep(5)
    assert told == []


async def test_a_callback_set_too_late_is_still_called(world: World) -> None:
    told: list[GatewayError] = []
    lease = await world.lease(A)
    world.provider.crash("a", EngineCrashed("it died"))
    lease.on_abort = told.append
    await asyncio.sleep(0)
    assert [each.message for each in told] == ["it died"]


async def test_the_cause_is_waited_for(world: World) -> None:
    lease = await world.lease(A)
    waiting = asyncio.create_task(lease.cause(2.0))
    await asyncio.sleep(1)
    world.provider.crash("a", EngineCrashed("it died"))
    assert await waiting is lease.broken
    assert await lease.cause(2.0) is lease.broken
    lease.release()


async def test_no_cause_within_the_grace(world: World) -> None:
    loop = asyncio.get_running_loop()
    async with await world.lease(A) as lease:
        began = loop.time()
        assert await lease.cause(0.25) is None
        assert loop.time() - began == pytest.approx(0.25)


async def test_the_pool_and_its_parts_say_what_they_are(world: World) -> None:
    world.provider.slots = 1
    async with await world.lease(A):
        task = asyncio.create_task(world.use(A))
        await asyncio.sleep(0)
        assert repr(world.pool) == "Pool(1/2 automatic, 1 waiting [Resident(a ready automatic leases=1 waiting=1)])"
    await task


async def test_the_models_key_means_all_instances_that_answer_alike(world: World) -> None:
    world.provider.slots = 1
    for name in ("a", "a:2"):
        await world.pool.load(A, instance_id=name)
    leases = [await world.lease(A, instance_id="a") for _ in range(2)]
    assert {each.instance_id for each in leases} == {"a", "a:2"}
    for lease in leases:
        lease.release()


@pytest.mark.parametrize("other", [{"config": LoadConfig(context_length=9)}, {"sampling": Sampling(top_k=7)}])
async def test_the_models_key_means_the_instance_of_that_name_beside_others(
    world: World, other: dict[str, Any]
) -> None:
    world.provider.slots = 2
    await world.pool.load(A, instance_id="a")
    await world.pool.load(A, instance_id="a:2", **other)
    leases = [await world.lease(A, instance_id="a") for _ in range(2)]
    assert {each.instance_id for each in leases} == {"a"}
    for lease in leases:
        lease.release()
