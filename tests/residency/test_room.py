"""Making room: places, memory, and whose turn it is."""

from __future__ import annotations

import asyncio

import pytest

from lanhaven.errors import InsufficientMemory, Overloaded, QueueTimeout
from lanhaven.residency import PoolSettings
from lanhaven.residency.policy import Refuse
from lanhaven.residency.refusals import discreet, no_room
from lanhaven.types.models import InstanceState, LoadConfig
from tests.residency.fakes import GIB, ScriptedProvider, World, model

pytestmark = pytest.mark.anyio
A, B, C, D = model("a"), model("b"), model("c"), model("d")


def small(memory: int = 1000, **settings: float) -> World:
    provider = ScriptedProvider(memory=memory * GIB)
    return World(asyncio.get_running_loop().time, provider, PoolSettings(**settings))  # type: ignore[arg-type]


@pytest.mark.req("S4-10", "C17")
async def test_a_third_model_evicts_the_least_recently_used(world: World) -> None:
    for info in (A, B, A):
        await world.use(info)
        await asyncio.sleep(1)
    assert await world.use(C) == "c"
    assert set(world.pool.ids()) == {"a", "c"}
    assert world.names("model_unload_start") == ["model_unload_start b"]
    assert world.provider.ended == ["b"]


async def test_the_victim_is_gone_before_the_load_starts(world: World) -> None:
    await world.use(A)
    await world.use(B)
    task = asyncio.create_task(world.use(C))
    await asyncio.sleep(0.25)
    assert world.provider.spawned == ["a", "b"]
    assert "Resident(a draining automatic" in repr(world.pool)
    assert "Resident(c reserved automatic" in repr(world.pool)
    await task
    assert world.provider.spawned == ["a", "b", "c"]


@pytest.mark.req("F-063")
async def test_a_busy_model_is_not_evicted_its_stream_ends_first(world: World) -> None:
    first, second = await world.lease(A), await world.lease(B)
    third = asyncio.create_task(world.use(C))
    await asyncio.sleep(20)
    assert not third.done()
    assert (first.broken, second.broken) == (None, None)
    second.release()
    assert await third == "c"
    assert first.broken is None
    first.release()


@pytest.mark.req("F-063")
async def test_both_busy_for_too_long(world: World) -> None:
    async with await world.lease(A), await world.lease(B):
        with pytest.raises(QueueTimeout, match="it waited for room"):
            await world.use(C, wait=30)
    assert set(world.pool.ids()) == {"a", "b"}
    assert world.provider.spawned == ["a", "b"]


@pytest.mark.req("F-065")
async def test_a_request_in_the_instant_of_eviction_is_served(world: World) -> None:
    """Whichever comes first: either the victim is somebody else's, or it comes back."""
    await world.use(A)
    await world.use(B)
    both = await asyncio.gather(world.use(A), world.use(C), world.use(A), world.use(B))
    assert list(both) == ["a", "c", "a", "b"]


@pytest.mark.req("F-065")
async def test_who_comes_while_the_victim_leaves_gets_it_back(world: World) -> None:
    await world.use(A)
    await world.use(B)
    evicting = asyncio.create_task(world.use(C))
    await asyncio.sleep(0.25)
    assert world.pool.get("a").state is InstanceState.DRAINING  # type: ignore[union-attr]
    assert await world.use(A) == "a"
    await evicting
    assert world.provider.spawned == ["a", "b", "c", "a"]


async def test_room_is_given_in_order_of_arrival(world: World) -> None:
    order: list[str] = []
    first, second = await world.lease(A), await world.lease(B)

    async def use(key: str) -> None:
        async with await world.lease(model(key)):
            order.append(key)

    waiting = []
    for key in "fghi":
        waiting.append(asyncio.create_task(use(key)))
        await asyncio.sleep(0.1)
    first.release()
    await asyncio.gather(*waiting)
    assert order == ["f", "g", "h", "i"]
    second.release()


async def test_a_small_load_does_not_overtake_a_big_one(anyio_backend: object) -> None:
    world = small(memory=10, max_automatic=5)
    lease = await world.lease(model("a", 6))
    big = asyncio.create_task(world.use(model("b", 6)))
    await asyncio.sleep(1)
    little = asyncio.create_task(world.use(model("c", 1)))
    await asyncio.sleep(5)
    assert world.provider.spawned == ["a"]
    instance = world.pool.get("c")
    assert instance is not None
    assert instance.stage == "waiting for room (its turn)"
    lease.release()
    assert list(await asyncio.gather(big, little)) == ["b", "c"]


async def test_what_waited_behind_a_load_goes_when_that_is_needed_no_more(anyio_backend: object) -> None:
    world = small(memory=10, max_automatic=5)
    world.provider.slots = 1
    async with await world.lease(model("x", 8)):
        first = asyncio.create_task(world.lease(model("a", 5)))
        await asyncio.sleep(1)
        second = asyncio.create_task(world.use(model("a", 5)))
        behind = asyncio.create_task(world.use(model("c", 2)))
        await asyncio.sleep(1)
        await world.pool.load(model("a", 5), instance_id="other", force=True)
        world.provider.engines["other"].taken = 0
        lease = await first
        await asyncio.sleep(1)
        assert set(world.pool.ids()) == {"x", "a", "c", "other"}
        lease.release()
        assert await second == "other"
        assert await behind == "c"


async def test_too_big_is_too_big_also_while_room_is_promised_to_another(anyio_backend: object) -> None:
    world = small(memory=10, max_automatic=5)
    await world.use(model("old", 6))
    first = asyncio.create_task(world.use(model("a", 6)))
    await asyncio.sleep(0.25)
    assert "Resident(a reserved" in repr(world.pool)
    with pytest.raises(InsufficientMemory):
        await world.use(model("big", 12))
    assert asyncio.get_running_loop().time() == 1.25, "it was told at once"
    assert await first == "a"


async def test_steady_traffic_cannot_starve_a_waiting_model(world: World) -> None:
    """Two models that are never idle are held after a while; their own requests go on after the newcomer."""
    stop = asyncio.Event()

    async def traffic(key: str, offset: float) -> None:
        await asyncio.sleep(offset)
        while not stop.is_set():
            async with await world.lease(model(key), wait=300):
                await asyncio.sleep(1)

    traffics = [asyncio.create_task(traffic(key, offset)) for key in "ab" for offset in (0, 0.5)]
    await asyncio.sleep(5)
    lease = await world.lease(C, wait=60)
    assert lease.waited < PoolSettings().patience + 5
    lease.release()
    await asyncio.sleep(60)
    stop.set()
    await asyncio.gather(*traffics)


async def test_a_hold_ends_when_the_waiting_model_gives_up(world: World) -> None:
    first, second = await world.lease(A), await world.lease(B)
    giving_up = asyncio.create_task(world.use(C, wait=20))
    await asyncio.sleep(11)
    assert "held" in repr(world.pool)
    asking = asyncio.create_task(world.use(A)), asyncio.create_task(world.use(B))
    await asyncio.sleep(5)
    assert sum(each.done() for each in asking) == 1
    with pytest.raises(QueueTimeout):
        await giving_up
    assert list(await asyncio.gather(*asking)) == ["a", "b"]
    assert "held" not in repr(world.pool)
    first.release()
    second.release()


async def test_a_held_instance_takes_no_work_from_others(anyio_backend: object) -> None:
    world = small(max_automatic=1)
    world.provider.slots = 1
    held = await world.lease(A)
    await world.pool.load(A, config=LoadConfig(context_length=1))
    other = await world.lease(A)
    newcomer = asyncio.create_task(world.use(B))
    await asyncio.sleep(11)
    waiting = asyncio.create_task(world.use(A))
    await asyncio.sleep(1)
    held.release()
    assert await newcomer == "b"
    assert not waiting.done()
    other.release()
    assert await waiting == "a:2"


async def test_the_wait_for_room_is_an_instance_that_is_loading(world: World) -> None:
    async with await world.lease(A), await world.lease(B):
        task = asyncio.create_task(world.use(C))
        await asyncio.sleep(1)
        instance = world.pool.get("c")
        assert instance is not None
        assert (instance.state, instance.stage) == (InstanceState.LOADING, "waiting for room (busy)")
        task.cancel()
        await asyncio.sleep(0)
        assert world.pool.get("c") is None
    assert world.provider.spawned == ["a", "b"]


@pytest.mark.req("F-017")
async def test_too_big_is_refused_before_anything_is_spawned(anyio_backend: object) -> None:
    world = small(memory=10)
    await world.use(model("idle", 4))
    with pytest.raises(InsufficientMemory) as refused:
        await world.use(model("big", 30))
    assert refused.value.status == 503
    assert refused.value.retry is False
    assert refused.value.message == (
        "Model big needs 32.2 GB; 6.4 GB are free and 4.3 GB can be freed, which is 21.5 GB too little"
    )
    assert refused.value.facts == {
        "needed_bytes": 30 * GIB,
        "available_bytes": 6 * GIB,
        "evictable_bytes": 4 * GIB,
        "kept": [],
        "largest_context": None,
    }
    assert "smaller model or quantization" in str(refused.value.hint)
    assert set(world.pool.ids()) == {"idle"}, "nothing was evicted in vain"
    assert world.provider.spawned == ["idle"]
    assert world.names("error") == ["error big"]


@pytest.mark.req("F-017")
async def test_force_loads_all_the_same(anyio_backend: object) -> None:
    world = small(memory=10)
    with pytest.raises(InsufficientMemory):
        await world.pool.load(model("big", 30))
    assert (await world.pool.load(model("big", 30), force=True)).instance.state is InstanceState.READY


async def test_memory_evicts_as_many_as_it_needs(anyio_backend: object) -> None:
    world = small(memory=10, max_automatic=5)
    for key in "abc":
        await world.use(model(key, 3))
    assert await world.use(model("d", 5)) == "d"
    assert set(world.pool.ids()) == {"c", "d"}


async def test_memory_held_by_a_busy_model_is_waited_for(anyio_backend: object) -> None:
    world = small(memory=10, max_automatic=5)
    lease = await world.lease(model("a", 6))
    waiting = asyncio.create_task(world.use(model("b", 6)))
    await asyncio.sleep(5)
    assert world.provider.spawned == ["a"]
    lease.release()
    assert await waiting == "b"


async def test_memory_of_a_load_in_progress_is_reserved(anyio_backend: object) -> None:
    world = small(memory=10, max_automatic=5)
    first, second = asyncio.create_task(world.use(model("a", 6))), asyncio.create_task(world.use(model("b", 6)))
    await asyncio.sleep(0.5)
    assert world.provider.spawned == ["a"]
    assert list(await asyncio.gather(first, second)) == ["a", "b"]
    assert set(world.pool.ids()) == {"b"}


async def test_an_instance_elsewhere_frees_nothing_here(anyio_backend: object) -> None:
    """A remote instance reports its size, but evicting it would not help this machine."""
    world = small(memory=10, max_automatic=5)
    world.provider.reports = 8 * GIB
    await world.use(model("remote", 0))
    remote = world.pool.get("remote")
    assert remote is not None
    assert remote.size_bytes == 8 * GIB
    await world.use(model("local", 6))
    assert await world.use(model("next", 6)) == "next"
    assert set(world.pool.ids()) == {"remote", "next"}
    with pytest.raises(InsufficientMemory):
        await world.use(model("big", 12))


async def test_used_memory_is_that_of_loaded_instances_here(anyio_backend: object) -> None:
    world = small(memory=100, max_automatic=5)
    world.provider.load_seconds = None
    tasks = [asyncio.create_task(world.use(model(key, size))) for key, size in (("a", 3), ("b", 5), ("c", 7))]
    await asyncio.sleep(1)
    assert not any(each.loaded for each in world.pool.occupants())
    world.provider.finish("a")
    await asyncio.sleep(1)
    assert sum(each.size_bytes for each in world.pool.occupants() if each.loaded) == 3 * GIB
    for task in tasks:
        task.cancel()


@pytest.mark.req("C17")
async def test_explicit_instances_are_neither_counted_nor_evicted(world: World) -> None:
    for number in range(3):
        await world.pool.load(A, instance_id=f"mine{number}", config=LoadConfig(context_length=number))
    for key in "bcd":
        await world.use(model(key))
    assert set(world.pool.ids()) == {"mine0", "mine1", "mine2", "c", "d"}


async def test_pinned_instances_stay_and_may_fill_all_places(world: World) -> None:
    await world.use(model("p", pinned=True))
    await world.use(B)
    await world.use(C)
    assert set(world.pool.ids()) == {"p", "c"}
    world.pool.set_pinned("c", pinned=True)
    with pytest.raises(Overloaded, match=r"hold every place \(p, c\)"):
        await world.use(D)
    world.pool.set_pinned("c", pinned=False)
    assert await world.use(D) == "d"


@pytest.mark.parametrize(
    ("known", "words"), [(("a", "p"), "p"), (("a",), ""), (("a", "p", "q"), "p"), (("a", "q"), "")]
)
@pytest.mark.parametrize("places", [True, False])
def test_who_may_not_know_of_what_is_kept_is_not_told_of_it(known: tuple[str, ...], words: str, places: bool) -> None:
    refused = no_room("a", Refuse(9_000_000, 2_000_000, 1_000_000, ("p-one",), places), 4096)
    told = discreet(refused, "a", {"p-one": "p", "q": "q"}, known)
    assert type(told) is type(refused)
    assert ("p-one" in f"{told.message} {told.hint} {told.facts}") is bool(words)
    if not places:
        assert "9 MB" in told.message
        assert "--context 4096" in (told.hint or "")
    assert "()" not in told.message


async def test_unpinning_lets_a_waiting_load_go(world: World) -> None:
    async with await world.lease(A):
        await world.use(model("b"))
        world.pool.set_pinned("b", pinned=True)
        waiting = asyncio.create_task(world.use(C))
        await asyncio.sleep(1)
        world.pool.set_pinned("b", pinned=False)
        assert await waiting == "c"


async def test_an_operators_order_goes_before_waiting_requests(anyio_backend: object) -> None:
    world = small(memory=10, max_automatic=2)
    lease = await world.lease(model("a", 8))
    request = asyncio.create_task(world.use(model("b", 8)))
    await asyncio.sleep(1)
    order = asyncio.create_task(world.pool.load(model("c", 8)))
    await asyncio.sleep(1)
    lease.release()
    assert (await order).instance.instance_id == "c"
    with pytest.raises(InsufficientMemory):
        await request


@pytest.mark.req("F-066")
async def test_a_failed_load_leaves_other_waiters_alone(world: World) -> None:
    from lanhaven.errors import LoadFailed

    world.provider.load_seconds = None
    failing = [asyncio.create_task(world.use(A)) for _ in range(3)]
    waiting = [asyncio.create_task(world.use(B)) for _ in range(10)]
    await asyncio.sleep(1)
    world.provider.fail("a", LoadFailed("bad file"))
    assert [str(each) for each in await asyncio.gather(*failing, return_exceptions=True)] == ["bad file"] * 3
    world.provider.finish("b")
    assert await asyncio.gather(*waiting) == ["b"] * 10


@pytest.mark.req("L8")
async def test_a_stampede_over_five_models_with_two_places(world: World) -> None:
    """Each is served, and nothing is swapped in and out for it more often than need be."""
    world.provider.slots = None
    keys = [key for _ in range(40) for key in "abcde"]
    served = await asyncio.gather(*(world.use(model(key)) for key in keys))
    assert served == keys
    assert sorted(world.provider.spawned) == ["a", "b", "c", "d", "e"]
