"""Engines that die: who is told, what comes back, and when it is left alone."""

from __future__ import annotations

import asyncio

import pytest

from lanhaven.errors import EngineCrashed, EngineHung, GatewayError, LoadFailed, ProviderUnavailable
from lanhaven.events import Failure, GatewayEvent
from lanhaven.types.models import InstanceState, LoadConfig, Sampling
from tests.residency.fakes import World, model

pytestmark = pytest.mark.anyio
A, B = model("a"), model("b")


@pytest.mark.req("F-003")
async def test_a_crash_while_loading_is_one_spawn_and_twenty_errors(world: World) -> None:
    world.provider.next_error.append(EngineCrashed("it died", retry=True))
    results = await asyncio.gather(*(world.use(A) for _ in range(20)), return_exceptions=True)
    assert [type(each) for each in results] == [EngineCrashed] * 20
    assert world.provider.spawned == ["a"]


@pytest.mark.req("F-001")
async def test_a_crash_breaks_its_leases_and_the_next_request_reloads(world: World) -> None:
    told: list[GatewayError] = []
    lease, other = await world.lease(A), await world.lease(B)
    lease.on_abort = told.append
    world.provider.crash("a", EngineCrashed("it died"))
    assert await world.use(A) == "a"
    assert [type(each) for each in told] == [EngineCrashed]
    assert other.broken is None
    assert world.provider.spawned == ["a", "b", "a"]
    lease.release()
    other.release()
    assert world.names("model_unload_start", "model_unload_complete", "error") == [
        "model_unload_start a",
        "error a",
        "model_unload_complete a",
    ]
    failure = next(each for each in world.events if isinstance(each, Failure))
    assert (failure.operation, failure.code, failure.instance_id) == ("engine", "engine_crashed", "a")


async def test_those_who_waited_for_a_slot_get_the_next_instance(world: World) -> None:
    world.provider.slots = 1
    lease = await world.lease(A)
    waiting = [asyncio.create_task(world.use(A)) for _ in range(3)]
    await asyncio.sleep(1)
    world.provider.crash("a", EngineCrashed("it died"))
    assert await asyncio.gather(*waiting) == ["a"] * 3
    assert world.provider.spawned == ["a", "a"]
    lease.release()


async def test_a_lease_broken_before_it_was_picked_up_is_waited_for_again(world: World) -> None:
    world.provider.load_seconds = None
    request = asyncio.create_task(world.use(A))
    await asyncio.sleep(0.1)

    def crash_at_once(event: GatewayEvent) -> None:
        """In the turn in which the lease is given, before its taker wakes up."""
        if event.name == "model_load_complete" and len(world.provider.spawned) == 1:
            asyncio.get_running_loop().call_soon(world.provider.crash, "a", EngineCrashed("it died"))

    world.bus.listen(crash_at_once)
    world.provider.finish("a")
    await asyncio.sleep(1)
    assert not request.done()
    world.provider.finish("a")
    assert await request == "a"
    assert world.names("inference_queued") == ["inference_queued a"]


async def test_an_engine_that_hangs_is_ended(world: World) -> None:
    lease = await world.lease(A)
    world.provider.hang("a", EngineHung("silent"))
    assert isinstance(lease.broken, EngineHung)
    await asyncio.sleep(1)
    assert world.provider.ended == ["a"]
    lease.release()


async def test_a_report_about_an_earlier_instance_is_ignored(world: World) -> None:
    (await world.lease(A)).release()
    first = world.provider.engines["a"].observer
    await world.pool.unload("a")
    async with await world.lease(A) as second:
        first.gone(EngineHung("silent"))
        assert second.broken is None


async def test_a_crash_during_the_drain_does_not_wait_for_its_end(world: World) -> None:
    lease = await world.lease(A)
    unload = asyncio.create_task(world.pool.unload("a"))
    await asyncio.sleep(1)
    world.provider.crash("a", EngineCrashed("it died"))
    assert isinstance(lease.broken, EngineCrashed)
    assert await unload
    assert asyncio.get_running_loop().time() < 5
    lease.release()


async def test_an_engine_that_ends_before_it_is_ready_has_not_loaded(world: World) -> None:
    world.provider.load_seconds = None
    request = asyncio.create_task(world.use(A))
    await asyncio.sleep(0.1)
    world.provider.engines["a"].observer.gone(EngineCrashed("it died"))
    world.provider.finish("a")
    with pytest.raises(EngineCrashed):
        await request


async def test_an_explicit_instance_stays_listed_and_comes_back_as_it_was(world: World) -> None:
    config, sampling = LoadConfig(context_length=77), Sampling(temperature=1.2)
    await world.pool.load(A, instance_id="creative", config=config, sampling=sampling, pinned=True)
    world.provider.crash("creative", EngineCrashed("it died"))
    await asyncio.sleep(5)
    failed = world.pool.get("creative")
    assert failed is not None
    assert (failed.state, failed.error) == (InstanceState.FAILED, "it died")
    async with await world.lease(A, instance_id="creative") as lease:
        assert (lease.load_config, lease.sampling) == (config, sampling)
        instance = world.pool.get("creative")
        assert instance is not None
        assert (instance.automatic, instance.pinned, instance.error) == (False, True, None)
    assert world.provider.spawned == ["creative", "creative"]


async def test_a_revival_that_fails_or_is_abandoned_can_be_tried_again(world: World) -> None:
    await world.pool.load(A, instance_id="mine")
    world.provider.crash("mine", EngineCrashed("it died"))
    await asyncio.sleep(1)
    world.provider.next_error.append(LoadFailed("bad file"))
    with pytest.raises(LoadFailed):
        await world.use(A)
    world.provider.load_seconds = None
    leaving = asyncio.create_task(world.use(A))
    await asyncio.sleep(1)
    leaving.cancel()
    await asyncio.sleep(2)
    assert [each.state for each in world.pool.instances()] == [InstanceState.FAILED]
    world.provider.load_seconds = 1
    assert await world.use(A) == "mine"


async def test_a_failed_instance_can_be_unloaded_or_loaded_anew(world: World) -> None:
    for name in ("one", "two"):
        await world.pool.load(A, instance_id=name, config=LoadConfig(context_length=len(world.provider.spawned)))
        world.provider.crash(name, EngineCrashed("it died"))
    await asyncio.sleep(5)
    assert await world.pool.unload("one")
    assert set(world.pool.ids()) == {"two"}
    result = await world.pool.load(A, instance_id="two")
    assert (result.reused, result.instance.state) == (False, InstanceState.READY)


async def test_a_revival_that_cannot_even_begin_loses_nothing(world: World) -> None:
    await world.pool.load(A)
    world.provider.crash("a", EngineCrashed("it died"))
    await asyncio.sleep(1)
    world.provider.estimate_error = LoadFailed("file is gone")
    with pytest.raises(LoadFailed):
        await world.use(A)
    with pytest.raises(LoadFailed):
        await world.pool.load(A)
    assert [each.state for each in world.pool.instances()] == [InstanceState.FAILED]


async def test_a_failed_instance_is_not_revived_while_another_serves(world: World) -> None:
    world.provider.slots = 1
    for number, name in enumerate(("one", "two")):
        await world.pool.load(A, instance_id=name, config=LoadConfig(context_length=number))
    world.provider.crash("one", EngineCrashed("it died"))
    await asyncio.sleep(1)
    lease = await world.lease(A)
    waiting = asyncio.create_task(world.use(A))
    await asyncio.sleep(1)
    lease.release()
    assert await waiting == "two"
    assert world.provider.spawned == ["one", "two"]


async def test_unloading_while_a_crashed_instance_ends_keeps_it_out(world: World) -> None:
    await world.pool.load(A)
    world.provider.crash("a", EngineCrashed("it died"))
    assert await world.pool.unload("a")
    assert world.pool.instances() == []


# The breaker.


async def _fail(world: World, error: GatewayError) -> None:
    world.provider.next_error.append(error)
    with pytest.raises(type(error)):
        await world.use(A)


@pytest.mark.req("F-004")
async def test_after_three_failures_a_model_is_left_alone_then_tried_once(world: World) -> None:
    for _ in range(3):
        await _fail(world, EngineCrashed("it died"))
    assert repr(world.pool).endswith("breaker a: open for 30 s)")
    spawned = len(world.provider.spawned)
    with pytest.raises(ProviderUnavailable) as refused:
        await world.use(A)
    assert refused.value.status == 503
    assert refused.value.retry_after == pytest.approx(30)
    assert "The last failure: it died" in refused.value.message
    await asyncio.sleep(29)
    with pytest.raises(ProviderUnavailable):
        await world.use(A)
    assert len(world.provider.spawned) == spawned
    assert await world.use(B) == "b", "other models are not concerned"
    await asyncio.sleep(2)
    world.provider.next_error.append(EngineCrashed("again"))
    trial = await asyncio.gather(*(world.use(A) for _ in range(5)), return_exceptions=True)
    assert [str(each) for each in trial] == ["again"] * 5
    assert world.provider.spawned.count("a") == 4, "one trial for all of them"
    with pytest.raises(ProviderUnavailable):
        await world.use(A)


@pytest.mark.req("F-004")
async def test_a_trial_that_works_closes_the_breaker_in_time(world: World) -> None:
    for _ in range(3):
        await _fail(world, EngineCrashed("it died"))
    await asyncio.sleep(31)
    assert await world.use(A) == "a"
    assert world.pool.breakers() == {"a": "on probation"}
    await asyncio.sleep(61)
    world.provider.crash("a", EngineCrashed("it died"))
    assert await world.use(A) == "a"


@pytest.mark.req("F-004")
async def test_engines_that_crash_soon_after_loading_count(world: World) -> None:
    for _ in range(3):
        await world.use(A)
        world.provider.crash("a", EngineCrashed("it died"))
        await asyncio.sleep(1)
    with pytest.raises(ProviderUnavailable):
        await world.use(A)


async def test_one_failed_trial_opens_the_breaker_again(world: World) -> None:
    for pause in (1, 58, 31):
        await _fail(world, EngineCrashed("it died"))
        await asyncio.sleep(pause)
    await _fail(world, EngineCrashed("again"))  # only the second failure within a minute, but on probation
    with pytest.raises(ProviderUnavailable):
        await world.use(A)


async def test_failures_far_apart_do_not_count(world: World) -> None:
    for _ in range(5):
        await _fail(world, EngineCrashed("it died"))
        await asyncio.sleep(31)
    assert await world.use(A) == "a"
    assert world.pool.breakers() == {"a": "1 failure"}
    await asyncio.sleep(60)
    assert world.pool.breakers() == {}, "what happened hours ago is no news"


async def test_an_explicit_load_resets_the_breaker(world: World) -> None:
    for _ in range(3):
        await _fail(world, EngineCrashed("it died"))
    assert (await world.pool.load(A)).instance.state is InstanceState.READY
    assert world.pool.breakers() == {}


@pytest.mark.req("F-020")
async def test_a_provider_that_is_away_does_not_open_the_breaker(world: World) -> None:
    for _ in range(5):
        await _fail(world, ProviderUnavailable("away"))
    assert await world.use(A) == "a"
