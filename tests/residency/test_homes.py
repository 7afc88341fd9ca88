"""Requests of one conversation go to the instance that has their prompt cache."""

from __future__ import annotations

import asyncio

import pytest

from lanhaven.residency.homes import Homes
from tests.residency.fakes import World, model

pytestmark = pytest.mark.anyio
A, B = model("a"), model("b")


async def two(world: World, slots: int = 2) -> None:
    """Two instances of A, "one" and "two"."""
    world.provider.slots = slots
    for name in ("one", "two"):
        await world.pool.load(A, instance_id=name)


async def served(world: World, affinity: str | None) -> str:
    async with await world.lease(A, affinity=affinity) as lease:
        await asyncio.sleep(1)  # of virtual time
        return lease.instance_id


async def test_a_conversation_stays_where_it_began(world: World) -> None:
    await two(world)
    first = {name: await served(world, name) for name in ("x", "y")}
    assert sorted(first.values()) == ["one", "two"]  # who has no home yet goes to the freest, as ever
    for name in ("x", "x", "y", "x", "y", "y"):
        assert await served(world, name) == first[name]
    spread = {await served(world, None) for _ in range(2)}
    assert spread == {"one", "two"}


async def test_its_home_is_busy_but_not_full(world: World) -> None:
    await two(world)
    home = await served(world, "x")
    busy = await world.lease(A, instance_id=home)
    assert await served(world, "x") == home
    assert await served(world, "new") != home
    busy.release()


async def test_another_serves_while_its_home_is_full_and_then_it_comes_back(world: World) -> None:
    await two(world, slots=1)
    home = await served(world, "x")
    full = await world.lease(A, instance_id=home)
    assert await served(world, "x") != home
    full.release()
    assert await served(world, "x") == home


async def test_it_waits_for_no_one_when_all_are_full(world: World) -> None:
    await two(world, slots=1)
    home = await served(world, "x")
    leases = [await world.lease(A, instance_id=name) for name in ("one", "two")]
    waiting = asyncio.create_task(world.lease(A, affinity="x"))
    await asyncio.sleep(0)
    (other,) = (each for each in leases if each.instance_id != home)
    other.release()
    lease = await waiting
    assert lease.instance_id == other.instance_id  # the first slot that is free, wherever
    for each in (*leases, lease):
        each.release()
    assert await served(world, "x") == home


async def test_a_home_that_is_gone_is_replaced(world: World) -> None:
    await two(world)
    home = await served(world, "x")
    await world.pool.unload(home)
    other = await served(world, "x")
    assert other != home
    await world.pool.load(A, instance_id=home)
    assert {await served(world, "x") for _ in range(3)} == {other}


async def test_a_home_is_of_one_model_and_a_named_instance_is_named(world: World) -> None:
    await two(world)
    home = await served(world, "x")
    async with await world.lease(B, affinity="x") as lease:
        assert lease.model_key == "b"
    (other,) = {"one", "two"} - {home}
    async with await world.lease(A, instance_id=other, affinity="x") as lease:
        assert lease.instance_id == other
    assert await served(world, "x") == home


async def test_a_conversation_that_waited_for_the_load_is_at_home_there(world: World) -> None:
    assert await served(world, "x") == "a"
    world.provider.slots = 4
    await world.pool.load(A, instance_id="second")
    assert {await served(world, "x") for _ in range(3)} == {"a"}


def test_who_was_not_seen_for_longest_is_forgotten() -> None:
    homes = Homes(remembered=2)
    homes.settle("m", "x", "one")
    homes.settle("m", "y", "two")
    assert homes.of("m", "x") == "one"
    homes.settle("m", "z", "three")
    assert [homes.of("m", name) for name in ("x", "y", "z", None)] == ["one", None, "three", None]
    assert len(homes) == 2
