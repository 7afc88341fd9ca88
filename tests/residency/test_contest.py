"""Models that are wanted by turns, with room for some of them only: who stays, who goes, and who must not wait for it."""

from __future__ import annotations

import asyncio

import pytest

from lanhaven.residency import PoolSettings
from tests.residency.fakes import GIB, ScriptedProvider, World, model

pytestmark = pytest.mark.anyio
LOAD = 5.0


def crowded(places: int) -> World:
    provider = ScriptedProvider(load_seconds=LOAD)
    return World(asyncio.get_running_loop().time, provider, PoolSettings(max_automatic=places))


async def _someone(world: World, key: str, until: float) -> int:
    """Asks the same model again and again; returns how often it was answered."""
    served = 0
    while asyncio.get_running_loop().time() < until:
        async with await world.lease(model(key), wait=300):
            await asyncio.sleep(1)
        served += 1
        await asyncio.sleep(2)
    return served


@pytest.mark.parametrize("keys", ["ab", "abc"])
async def test_two_in_turn_do_not_spend_the_time_with_loading(keys: str, anyio_backend: object) -> None:
    """One place less than users. If everybody's model went after every answer, there would be a load for each."""
    world = crowded(len(keys) - 1)
    served = await asyncio.gather(*(_someone(world, key, 600) for key in keys))
    assert len(world.provider.spawned) < 0.6 * sum(served)
    assert min(served) > max(served) / 2, "and nobody is left out"


@pytest.mark.parametrize(("keys", "places"), [("ab", 1), ("abc", 2)])
async def test_one_person_who_changes_models_never_waits_for_it(keys: str, places: int, anyio_backend: object) -> None:
    world = crowded(places)
    for key in keys * 5:
        async with await world.lease(model(key)) as lease:
            assert lease.waited <= LOAD + world.provider.end_seconds
            await asyncio.sleep(1)


async def test_an_operator_does_not_wait_for_one_that_came_back(anyio_backend: object) -> None:
    world = crowded(1)
    world.provider.memory = 3 * GIB
    await world.use(model("a", 3))
    request = asyncio.create_task(world.use(model("b", 3)))
    await asyncio.sleep(1)
    assert await asyncio.gather(world.use(model("a", 3)), request) == ["a", "b"]
    assert world.pool._books.get("a").stays_until > asyncio.get_running_loop().time()  # type: ignore[union-attr]
    order = await world.pool.load(model("mine", 3))
    assert order.seconds == world.provider.end_seconds + LOAD


async def test_who_waits_is_told_why(anyio_backend: object) -> None:
    world = crowded(1)
    await world.use(model("a"))
    first = asyncio.create_task(world.use(model("b")))
    await asyncio.sleep(1)
    back = asyncio.create_task(world.use(model("a")))  # while b loads
    await first
    await back
    waiting = asyncio.create_task(world.use(model("b")))
    await asyncio.sleep(0.5)
    instance = world.pool.get("b")
    assert instance is not None
    assert instance.stage == "waiting for room (just back)"
    await waiting
    since = asyncio.get_running_loop().time()
    assert since < 40
