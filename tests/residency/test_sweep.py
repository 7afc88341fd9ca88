"""Idle TTLs, reconciling with what really runs, and the end of the pool."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from lanhaven.errors import EngineCrashed, GatewayError, ModelUnloaded, ProviderUnavailable, ServerShutdown
from lanhaven.events import EventBus, GatewayEvent, ModelUnloadStart
from lanhaven.providers.base import Running
from lanhaven.residency import Lease, Pool, PoolSettings
from lanhaven.types.models import InstanceState, LoadConfig, ModelInfo
from tests.residency.fakes import ScriptedProvider, World, model

pytestmark = pytest.mark.anyio
A, B = model("a"), model("b", ttl=0)


@pytest.fixture
async def dated(anyio_backend: object) -> World:
    """Automatic instances live for 20 idle seconds; the provider can tell what runs."""
    provider = ScriptedProvider(lists=True)
    models = {each.key: each for each in (A, B)}
    return World(asyncio.get_running_loop().time, provider, PoolSettings(idle_ttl=20), models)


async def _swept(world: World) -> set[str]:
    await world.pool.sweep()
    await asyncio.sleep(1)
    return set(world.pool.ids())


async def test_idle_automatic_instances_end(dated: World) -> None:
    await dated.use(A)
    await asyncio.sleep(20)
    assert await _swept(dated) == {"a"}, "in the very instant it still lives"
    assert await _swept(dated) == set()
    assert [each.reason for each in dated.events if isinstance(each, ModelUnloadStart)] == ["idle"]


@pytest.mark.req("F-070")
async def test_a_request_wins_against_the_ttl(dated: World) -> None:
    await dated.use(A)
    await asyncio.sleep(25)
    lease = await dated.lease(A)
    assert await _swept(dated) == {"a"}
    await asyncio.sleep(100)
    assert await _swept(dated) == {"a"}, "a running request is not idle, however long it takes"
    lease.release()
    assert await _swept(dated) == {"a"}


@pytest.mark.req("F-070")
async def test_a_request_right_after_the_sweep_is_served_all_the_same(dated: World) -> None:
    await dated.use(A)
    await asyncio.sleep(25)
    await dated.pool.sweep()
    assert await dated.use(A) == "a"
    assert dated.provider.spawned == ["a", "a"]


async def test_what_has_no_ttl_or_is_pinned_or_explicit_stays(dated: World) -> None:
    await dated.use(B)
    await dated.pool.load(A)
    await dated.pool.load(model("c", ttl=5))
    await dated.pool.load(model("d", ttl=5), pinned=True)
    await asyncio.sleep(1000)
    assert await _swept(dated) == {"a", "b", "d"}


@pytest.mark.req("F-071")
async def test_a_long_sleep_of_the_machine_ends_only_what_was_idle(dated: World) -> None:
    """After a suspend the monotonic clock may have stood still or leapt; nobody who is served notices."""
    lease = await dated.lease(A)
    await dated.use(B)
    asyncio.get_running_loop().now += 3600  # type: ignore[attr-defined]
    assert await _swept(dated) == {"a", "b"}
    lease.release()
    assert lease.broken is None


# Reconciling.


@pytest.mark.req("F-023")
async def test_what_was_unloaded_behind_our_back_is_dropped(dated: World) -> None:
    lease = await dated.lease(A)
    dated.provider.engines.clear()
    assert await _swept(dated) == set()
    assert isinstance(lease.broken, ModelUnloaded)
    assert dated.names("model_unload_complete") == ["model_unload_complete a"]
    lease.release()


@pytest.mark.req("F-022", "F-023")
async def test_what_was_loaded_behind_our_back_is_adopted(dated: World) -> None:
    config = LoadConfig(context_length=5)
    dated.provider.running = [
        Running("theirs", "a", 7, dated.provider.upstream("theirs"), config),
        Running("stranger", "unknown", 7, dated.provider.upstream("stranger")),
        Running("no-address", "a", 7),
    ]
    assert await _swept(dated) == {"theirs"}
    async with await dated.lease(A) as lease:
        assert (lease.instance_id, lease.load_config, lease.upstream.slots) == ("theirs", config, 4)
        instance = dated.pool.get("theirs")
        assert instance is not None
        assert (instance.automatic, instance.state, instance.size_bytes) == (False, InstanceState.READY, 7)
    assert dated.provider.spawned == []
    dated.provider.running = []
    assert await _swept(dated) == set()


@pytest.mark.req("F-023")
async def test_the_ttl_of_an_instance_of_another_server_is_no_matter_of_that_server(dated: World) -> None:
    """Set here, it must not make the instance look like one that has changed there."""
    dated.provider.running = [Running("theirs", "a", upstream=dated.provider.upstream("theirs"), foreign=False)]
    assert await _swept(dated) == {"theirs"}
    dated.pool.set_idle_ttl("theirs", 100)
    assert await _swept(dated) == {"theirs"}
    instance = dated.pool.get("theirs")
    assert instance is not None
    assert instance.load_config.idle_ttl == 100
    assert dated.names("model_unload_start") == []


async def test_what_runs_of_a_model_that_cannot_be_used_keeps_nothing_else_from_being_seen(
    anyio_backend: object,
) -> None:
    provider = ScriptedProvider(lists=True)
    models = {"a": A, "wrong": replace(model("wrong"), unavailable="its file is gone")}
    world = World(asyncio.get_running_loop().time, provider, models=models)
    provider.running = [Running(name, name, upstream=provider.upstream(name)) for name in ("wrong", "a")]
    assert await _swept(world) == {"a"}


async def test_a_name_of_another_providers_model_adopts_nothing(anyio_backend: object) -> None:
    """models.yaml has the name for a model of its own; that of the other server is hidden by it."""
    ours, theirs = ScriptedProvider(lists=True), ScriptedProvider("elsewhere", lists=True)
    theirs.running = [Running("a", "a", upstream=theirs.upstream("a"))]
    events: list[GatewayEvent] = []
    bus = EventBus()
    bus.listen(events.append)
    pool = Pool(
        {each.name: each for each in (ours, theirs)}, bus, PoolSettings(), available_memory=ours.available,
        clock=asyncio.get_running_loop().time, find_model={"a": A}.get,
    )  # fmt: skip
    for _ in range(3):
        await pool.sweep()
        await asyncio.sleep(1)
    assert (pool.instances(), events) == ([], [])


@pytest.mark.req("F-023")
async def test_why_an_instance_ended_is_asked_of_its_own_provider_only(anyio_backend: object) -> None:
    """A request waits for the answer: another machine that does not answer is no matter of its."""
    ours, theirs = ScriptedProvider(lists=True), ScriptedProvider("elsewhere")
    theirs.answering = asyncio.get_running_loop().create_future()
    pool = Pool(
        {each.name: each for each in (ours, theirs)}, EventBus(), PoolSettings(), available_memory=ours.available,
        clock=asyncio.get_running_loop().time,
    )  # fmt: skip
    async with await pool.lease(A, request_id="r", wait=10) as lease:
        ours.engines.clear()
        began = asyncio.get_running_loop().time()
        error = ProviderUnavailable("no such model", facts={"gone": True})
        assert isinstance(await pool.cause(lease, error, 1.0), ModelUnloaded)
        assert asyncio.get_running_loop().time() == began
    await pool.aclose(0)


async def test_an_adopted_instance_serves_those_who_wait_for_a_load(dated: World) -> None:
    """And the load that nobody needs any more is stopped."""
    dated.provider.load_seconds = None
    async with await _held(dated, model("x")), await _held(dated, model("y")):
        waiting = asyncio.create_task(dated.use(A))
        await asyncio.sleep(1)
        dated.provider.running = [Running("theirs", "a", 0, dated.provider.upstream("theirs"))]
        await dated.pool.sweep()
        assert await waiting == "theirs"
        assert set(dated.pool.ids()) == {"theirs", "x", "y"}


async def _held(world: World, info: ModelInfo) -> Lease:
    task = asyncio.create_task(world.lease(info))
    await asyncio.sleep(0.1)
    world.provider.finish(info.key)
    return await task


async def test_while_something_is_loading_nothing_is_adopted(dated: World) -> None:
    dated.provider.load_seconds = None
    loading = asyncio.create_task(dated.use(B))
    await asyncio.sleep(1)
    dated.provider.running = [Running("theirs", "a", 0, dated.provider.upstream("theirs"))]
    assert await _swept(dated) == {"b"}
    dated.provider.finish("b")
    await loading
    assert await _swept(dated) == {"b", "theirs"}


async def test_what_became_ready_after_the_question_is_not_judged_by_the_answer(dated: World) -> None:
    await dated.use(A)
    dated.provider.answering = asyncio.get_running_loop().create_future()
    sweeping = asyncio.create_task(dated.pool.sweep())
    await asyncio.sleep(0.1)
    await dated.pool.unload("a")
    await dated.use(A)
    dated.provider.answering.set_result(())
    await sweeping
    assert set(dated.pool.ids()) == {"a"}


async def test_a_provider_that_cannot_be_asked_changes_nothing(dated: World) -> None:
    await dated.use(A)
    dated.provider.answering = asyncio.get_running_loop().create_future()
    dated.provider.answering.set_exception(ProviderUnavailable("away"))
    assert await _swept(dated) == {"a"}
    dated.provider.answering = asyncio.get_running_loop().create_future()
    dated.provider.answering.set_exception(RuntimeError("a defect"))
    assert await _swept(dated) == {"a"}
    dated.provider.answering = asyncio.get_running_loop().create_future()  # no answer at all
    assert await _swept(dated) == {"a"}


async def test_what_somebody_else_loaded_outlives_the_pool(dated: World) -> None:
    await dated.use(A)
    dated.provider.running.append(Running("theirs", "b", upstream=dated.provider.upstream("theirs")))
    assert await _swept(dated) == {"a", "theirs"}
    await dated.pool.aclose(0)
    assert dated.provider.ended == ["a"]
    assert dated.pool.instances() == []


# The end.


@pytest.mark.req("F-181")
async def test_closing_finishes_what_runs_refuses_the_rest_and_ends_everything(world: World) -> None:
    world.provider.load_seconds = 5
    world.provider.slots = 1
    running = await world.lease(A)
    queued = asyncio.create_task(world.use(A))
    loading = asyncio.create_task(world.use(B))
    await asyncio.sleep(1)
    waiting_for_room = asyncio.create_task(world.use(model("c")))
    await asyncio.sleep(1)
    closing = asyncio.create_task(world.pool.aclose(30))
    for task in (queued, loading, waiting_for_room):
        with pytest.raises(ServerShutdown):
            await task
    with pytest.raises(ServerShutdown):
        await world.use(A)
    with pytest.raises(ServerShutdown):
        await world.pool.load(B)
    assert running.broken is None
    running.release()
    await closing
    assert world.provider.engines == {}
    assert repr(world.pool) == "Pool(0/2 automatic, 0 waiting closing [])"
    await world.pool.sweep()
    await world.pool.aclose(30)


async def test_closing_cuts_off_what_runs_too_long(world: World) -> None:
    told: list[GatewayError] = []
    lease = await world.lease(A)
    lease.on_abort = told.append
    draining = await world.lease(B)
    unload = asyncio.create_task(world.pool.unload("b"))
    await asyncio.sleep(1)
    began = asyncio.get_running_loop().time()
    await asyncio.gather(world.pool.aclose(10), world.pool.aclose(10))
    assert asyncio.get_running_loop().time() - began == pytest.approx(10.5)
    assert [type(each) for each in told] == [ServerShutdown]
    assert isinstance(draining.broken, ModelUnloaded)
    assert await unload
    lease.release()
    draining.release()


async def test_closing_forgets_failed_instances(world: World) -> None:
    await world.pool.load(A)
    world.provider.crash("a", EngineCrashed("it died"))
    await asyncio.sleep(1)
    await world.pool.aclose(1)
    assert world.pool.instances() == []


def test_settings_that_cannot_work() -> None:
    with pytest.raises(ValueError, match="max_automatic"):
        PoolSettings(max_automatic=0)
    with pytest.raises(ValueError, match="queue_depth"):
        PoolSettings(queue_depth=-1)
