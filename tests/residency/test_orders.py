"""Explicit loads: what they make, join or reuse, and how long they may take."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from lanhaven.errors import (
    EngineHung,
    InstanceConflict,
    InternalError,
    LoadFailed,
    ModelNotFound,
    QueueTimeout,
    UpstreamTimeout,
)
from lanhaven.events import ModelLoadComplete, ModelLoadProgress
from lanhaven.providers.base import Loaded, LoadObserver
from lanhaven.residency import PoolSettings
from lanhaven.types.models import LoadConfig, ModelInfo, Sampling
from tests.residency.fakes import GIB, ScriptedProvider, World, model

pytestmark = pytest.mark.anyio
A, B = model("a"), model("b")


async def test_a_load_tells_what_it_did(world: World) -> None:
    info = ModelInfo("m", "scripted", load=LoadConfig(context_length=512, slots=2))
    result = await world.pool.load(info, config=LoadConfig(slots=3), sampling=Sampling(top_k=7), activated=True)
    assert not result.reused
    assert result.seconds == 1.0
    assert result.instance.instance_id == "m"
    assert result.instance.load_config == LoadConfig(context_length=512, slots=3)
    assert result.instance.sampling == Sampling(top_k=7)
    assert not result.instance.automatic
    done = next(each for each in world.events if isinstance(each, ModelLoadComplete))
    assert (done.activated, done.automatic, done.seconds) == (True, False, 1.0)


@pytest.mark.req("S1-27", "C29", "F-068")
async def test_an_identifier_in_use_is_a_conflict(world: World) -> None:
    await world.pool.load(A, instance_id="one")
    with pytest.raises(InstanceConflict) as conflict:
        await world.pool.load(A, instance_id="one")
    assert conflict.value.status == 409
    assert conflict.value.message == "Model already loaded: a (instance: one)"
    assert world.provider.spawned == ["one"]


@pytest.mark.req("C29")
async def test_the_same_load_is_reused_another_is_a_new_instance(world: World) -> None:
    first = await world.pool.load(A)
    again = await world.pool.load(A)
    assert (again.reused, again.instance.instance_id) == (True, first.instance.instance_id)
    other = await world.pool.load(A, config=LoadConfig(context_length=9))
    third = await world.pool.load(A, config=LoadConfig(context_length=10))
    assert [each.instance.instance_id for each in (other, third)] == ["a:2", "a:3"]
    assert (other.reused, third.reused) == (False, False)


@pytest.mark.req("C29")
async def test_less_context_is_served_by_an_instance_that_holds_more(world: World) -> None:
    await world.pool.load(A, config=LoadConfig(context_length=4096, slots=2))
    less = await world.pool.load(A, config=LoadConfig(context_length=2048, slots=2, idle_ttl=9.0))
    assert (less.reused, less.instance.instance_id, less.instance.load_config.context_length) == (True, "a", 4096)
    assert less.instance.expires_at == less.instance.last_used + 9.0
    others = [
        await world.pool.load(A, config=LoadConfig(context_length=8192, slots=2)),
        await world.pool.load(A, config=LoadConfig(context_length=2048, slots=1)),
        await world.pool.load(A, config=LoadConfig(context_length=1024, slots=2), instance_id="mine"),
        await world.pool.load(A, config=LoadConfig(slots=2)),
    ]
    assert [each.reused for each in others] == [False] * 4, "more, otherwise, by a name of its own, or who knows"
    same = await world.pool.load(A, config=LoadConfig(context_length=1024, slots=2))
    assert same.instance.instance_id == "mine", "the very same before a larger one"


async def test_less_context_waits_for_a_larger_instance_on_its_way_but_not_for_one_that_leaves(world: World) -> None:
    larger = asyncio.create_task(world.pool.load(A, config=LoadConfig(context_length=64)))
    await asyncio.sleep(0.5)
    assert (await world.pool.load(A, config=LoadConfig(context_length=32))).reused
    assert world.provider.spawned == ["a"]
    leaving = asyncio.create_task(world.pool.unload((await larger).instance.instance_id))
    await asyncio.sleep(0.1)
    assert not (await world.pool.load(A, config=LoadConfig(context_length=32))).reused
    await leaving


async def test_a_ttl_alone_is_no_other_instance(world: World) -> None:
    await world.pool.load(A)
    result = await world.pool.load(A, config=LoadConfig(idle_ttl=30.0))
    assert result.reused
    assert result.instance.expires_at == result.instance.last_used + 30.0


@pytest.mark.req("C17")
async def test_an_automatic_instance_that_is_ordered_becomes_explicit(world: World) -> None:
    await world.use(A)
    result = await world.pool.load(A, sampling=Sampling(seed=1), pinned=True)
    assert (result.reused, result.instance.automatic, result.instance.pinned) == (True, False, True)
    assert result.instance.sampling == Sampling(seed=1)
    await world.use(B)
    await world.use(model("c"))
    assert set(world.pool.ids()) == {"a", "b", "c"}


async def test_an_order_joins_a_load_in_progress(world: World) -> None:
    request = asyncio.create_task(world.use(A))
    await asyncio.sleep(0.5)
    orders = await asyncio.gather(world.pool.load(A), world.pool.load(A, instance_id="a"))
    assert [each.reused for each in orders] == [True, True]
    assert await request == "a"
    assert world.provider.spawned == ["a"]
    with pytest.raises(InstanceConflict):
        await world.pool.load(A, instance_id="a")


async def test_an_identifier_that_loads_something_else_is_a_conflict(world: World) -> None:
    loading = asyncio.create_task(world.pool.load(A, instance_id="x"))
    await asyncio.sleep(0.5)
    with pytest.raises(InstanceConflict):
        await world.pool.load(A, instance_id="x", config=LoadConfig(context_length=1))
    with pytest.raises(InstanceConflict):
        await world.pool.load(B, instance_id="x")
    await loading


@pytest.mark.req("F-068", "C15", "S0-69")
async def test_two_instances_of_one_model_are_independent(world: World) -> None:
    for name, heat in (("creative", 1.2), ("factual", 0.1)):
        config = LoadConfig(context_length=int(heat * 1000))
        await world.pool.load(A, instance_id=name, config=config, sampling=Sampling(temperature=heat))
    async with await world.lease(A, instance_id="creative") as creative:
        assert creative.sampling.temperature == 1.2
        assert await world.pool.unload("factual")
        assert creative.broken is None
        instance = world.pool.get("creative")
        assert instance is not None
        assert (instance.leases, instance.sampling.temperature) == (1, 1.2)
    with pytest.raises(ModelNotFound):
        await world.use(A, instance_id="factual")


async def test_setting_what_is_not_there(world: World) -> None:
    with pytest.raises(ModelNotFound):
        world.pool.set_sampling("a", Sampling())
    with pytest.raises(ModelNotFound):
        world.pool.set_pinned("a", pinned=True)


async def test_progress_is_told_but_not_every_byte(world: World) -> None:
    world.provider.load_seconds = None
    task = asyncio.create_task(world.use(A))
    await asyncio.sleep(0.1)
    watch = world.provider.engines["a"].observer
    watch.progress("weights", 0.1)
    watch.progress("weights", 0.1)
    watch.progress("weights", 0.1001)
    watch.progress("weights", 0.2)
    watch.progress("warm-up")
    instance = world.pool.get("a")
    assert instance is not None
    assert (instance.stage, instance.progress) == ("warm-up", None)
    world.provider.finish("a")
    await task
    watch.progress("too late", 1.0)
    told = [(each.stage, each.progress) for each in world.events if isinstance(each, ModelLoadProgress)]
    assert told == [("weights", 0.1), ("weights", 0.2), ("warm-up", None)]


async def test_an_order_waits_for_room_only_so_long(anyio_backend: object) -> None:
    world = World(asyncio.get_running_loop().time, ScriptedProvider(memory=10 * GIB))
    async with await world.lease(model("a", 8)):
        with pytest.raises(QueueTimeout):
            await world.pool.load(model("b", 8), wait=5)
        with pytest.raises(QueueTimeout) as late:
            await world.pool.load(model("b", 8))
    assert late.value.facts["waited_seconds"] == PoolSettings().room_wait
    assert world.provider.spawned == ["a"]


async def test_the_time_for_room_does_not_cut_the_load(world: World) -> None:
    world.provider.load_seconds = 100
    assert (await world.pool.load(A, wait=1)).seconds == 100


# Deadlines of a load.


@pytest.mark.req("F-006")
async def test_a_load_without_progress_is_hung(world: World) -> None:
    world.provider.load_seconds = None
    task = asyncio.create_task(world.pool.load(A))
    for _ in range(2):
        await asyncio.sleep(200)
        world.provider.engines["a"].observer.progress("weights", 0.5)  # the same again is no progress
    with pytest.raises(EngineHung, match="no progress for 300 s"):
        await task
    assert world.provider.engines == {}
    assert asyncio.get_running_loop().time() == pytest.approx(500.5)


async def test_a_load_that_crawls_is_too_slow(world: World) -> None:
    world.provider.load_seconds = None
    task = asyncio.create_task(world.pool.load(A))
    for step in range(10):
        await asyncio.sleep(100)
        if "a" in world.provider.engines:
            world.provider.engines["a"].observer.progress("weights", step / 10)
    with pytest.raises(UpstreamTimeout, match="not loaded within 600 s"):
        await task
    assert world.provider.engines == {}


async def test_a_provider_that_does_not_stop_when_told_is_waited_for_no_longer(world: World) -> None:
    world.provider.load_seconds, world.provider.deaf = None, True
    with pytest.raises(LoadFailed, match="does not answer"):
        await world.pool.load(A)
    await asyncio.sleep(60)
    assert world.pool.instances() == []
    assert world.provider.engines == {}, "unload ended what the load would not"


class _Deaf(ScriptedProvider):
    """Its loads go on to their end, whoever cancels them, and nothing can be ended before."""

    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        loading = asyncio.create_task(super().load(info, instance_id, config, observer))
        while not loading.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({loading})
        return loading.result()

    async def unload(self, instance_id: str) -> None:
        engine = self.engines.get(instance_id)
        if engine is not None and engine.ready:
            await super().unload(instance_id)


async def test_a_load_that_ends_well_when_nobody_expects_it_any_more_is_undone(anyio_backend: object) -> None:
    world = World(asyncio.get_running_loop().time, _Deaf(load_seconds=None), PoolSettings(unload_timeout=5))
    asking = asyncio.create_task(world.use(A))
    await asyncio.sleep(1)
    asking.cancel()
    await asyncio.sleep(20)
    assert world.pool.instances() == []
    assert list(world.provider.engines) == ["a"]
    world.provider.finish("a")
    await asyncio.sleep(1)
    assert world.provider.engines == {}


@pytest.mark.req("C24", "C29")
async def test_an_instance_without_a_name_gets_none_of_another_models(anyio_backend: object) -> None:
    world = World(asyncio.get_running_loop().time, owner={"a:2": "other", "also-a": "a"}.get)
    for context in (1, 2, 3):
        await world.pool.load(A, config=LoadConfig(context_length=context))
    assert list(world.pool.ids()) == ["a", "a:3", "a:4"]
    assert world.pool.free_id("a:2") == "a:2"


async def test_the_idle_ttl_of_an_order_shows_where_it_found_what_it_wanted(world: World) -> None:
    await world.pool.load(A)
    found = await world.pool.load(A, config=LoadConfig(idle_ttl=77))
    assert (found.reused, found.instance.load_config.idle_ttl) == (True, 77)


async def test_a_provider_with_a_defect_fails_its_waiters(world: World) -> None:
    world.provider.next_error.append(OSError("disk"))  # type: ignore[arg-type]
    with pytest.raises(InternalError, match="unforeseen"):
        await world.use(A)
    world.provider.next_error.append(TimeoutError())  # type: ignore[arg-type]
    with pytest.raises(InternalError):
        await world.use(A)
    assert world.pool.instances() == []
