"""A simulated day over six models (bench of the policy, in virtual time): how often models are loaded, and for whom.

The machine holds the two largest of the six, and not more: the least on which plain LRU with two places is safe. LRU
knows places only. The ledger knows bytes, so there may be as many places as there are models, and memory decides. What
is counted is loads; both wait alike for busy instances, and a load takes both the same time.

With two places for both, no policy can halve the loads: even one that knew the future (Belady's) would save a quarter
of them. There it is asked for no more than to be better than LRU.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from lanhaven.providers.base import Loaded, LoadObserver
from lanhaven.residency import PoolSettings
from lanhaven.types.models import LoadConfig, ModelInfo
from tests.residency.day import SIZES, Ask, LruTwo, day, load_seconds, models
from tests.residency.fakes import GIB, ScriptedProvider, World

pytestmark = pytest.mark.anyio
MEMORY = sum(sorted(SIZES.values())[-2:]) * GIB // 10
SEEDS = range(6)


class Machine(ScriptedProvider):
    """Loads take as long as the files are large; nobody's lease may end with his instance."""

    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        self.load_seconds = load_seconds(info.key)
        return await super().load(info, instance_id, config, observer)


async def live(asks: list[Ask], use: Callable[[Ask], Awaitable[None]]) -> None:
    """Every request comes in its time, whatever became of those before."""

    async def one(ask: Ask) -> None:
        await asyncio.sleep(ask.at - asyncio.get_running_loop().time())
        await use(ask)

    await asyncio.gather(*(one(ask) for ask in asks))


async def lru(asks: list[Ask]) -> list[str]:
    """Loads of plain LRU with two places."""
    machine = LruTwo(asyncio.get_running_loop().time)
    await live(asks, lambda ask: machine.use(ask.key, ask.seconds))
    return machine.loads


async def ours(asks: list[Ask], places: int) -> list[str]:
    """Loads of a pool with so many places."""
    provider, infos = Machine(memory=MEMORY), models()
    world = World(asyncio.get_running_loop().time, provider, PoolSettings(max_automatic=places))
    served = 0

    def see(instance_id: str) -> None:
        resident = world.pool._books.get(instance_id)
        assert resident is not None
        assert not resident.leases, f"{instance_id} ends while it is in use"

    async def use(ask: Ask) -> None:
        nonlocal served
        async with await world.lease(infos[ask.key], wait=float("inf")) as lease:
            await asyncio.sleep(ask.seconds)
            assert lease.broken is None
        served += 1

    provider.before_unload = see
    await live(asks, use)
    assert served == len(asks)
    return provider.spawned


# One seed a test: each of them has a virtual loop, and so a day of its own.


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_day_takes_less_than_half_the_loads_of_lru_two(seed: int, anyio_backend: object) -> None:
    asks = day(seed)
    loop = asyncio.get_running_loop()
    plain = await lru(asks)
    again = loop.time()
    kept = await ours([Ask(again + ask.at, ask.key, ask.seconds) for ask in asks], places=len(SIZES))
    assert len(kept) <= len(plain) / 2, (len(kept), len(plain))
    assert sum(map(load_seconds, kept)) <= sum(map(load_seconds, plain)) / 2


@pytest.mark.parametrize("seed", SEEDS)
async def test_with_two_places_too_it_loads_less_than_lru(seed: int, anyio_backend: object) -> None:
    asks = day(seed)
    loop = asyncio.get_running_loop()
    plain = await lru(asks)
    again = loop.time()
    kept = await ours([Ask(again + ask.at, ask.key, ask.seconds) for ask in asks], places=2)
    assert len(kept) < len(plain)
    assert sum(map(load_seconds, kept)) < sum(map(load_seconds, plain))
