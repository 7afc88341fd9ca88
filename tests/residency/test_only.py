"""Leases on one instance and no other: what clients that hold a reference to an instance are given."""

from __future__ import annotations

import asyncio

import pytest

from lanhaven.errors import EngineCrashed, GatewayError, ModelNotFound, ModelUnloaded
from lanhaven.residency import Lease
from lanhaven.types.models import ModelInfo
from tests.residency.fakes import World, model

pytestmark = pytest.mark.anyio
A = model("a")


async def only(world: World, instance_id: str | None, info: ModelInfo = A) -> Lease:
    return await world.pool.lease(info, request_id="r", instance_id=instance_id, wait=60.0, only=True)


async def test_the_loaded_instance_serves(world: World) -> None:
    await world.use(A)
    async with await only(world, "a") as lease:
        assert lease.instance_id == "a"


async def test_nothing_is_loaded_for_it(world: World) -> None:
    with pytest.raises(ModelUnloaded):
        await only(world, "a")
    with pytest.raises(ModelUnloaded):
        await only(world, None)
    with pytest.raises(ModelNotFound):
        await only(world, "creative")
    assert world.provider.spawned == []


async def test_another_instance_of_the_model_is_not_taken(world: World) -> None:
    await world.pool.load(A, instance_id="creative")
    with pytest.raises(ModelUnloaded):
        await only(world, "a")


async def test_who_waits_hears_that_it_has_gone_and_nothing_is_loaded_again(world: World) -> None:
    world.provider.slots = 1
    running = await world.lease(A)
    waiting = asyncio.create_task(only(world, "a"))
    await asyncio.sleep(0)
    world.provider.crash("a", EngineCrashed("gone"))
    with pytest.raises(GatewayError):
        await waiting
    running.release()
    assert world.provider.spawned == ["a"]


async def test_a_leaving_instance_takes_nobody(world: World) -> None:
    running = await world.lease(A)
    unload = asyncio.create_task(world.pool.unload("a"))
    await asyncio.sleep(0)
    with pytest.raises(ModelUnloaded):
        await only(world, "a")
    running.release()
    assert await unload
    assert world.provider.spawned == ["a"]
