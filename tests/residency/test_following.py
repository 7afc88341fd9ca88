"""What becomes of instances when models.yaml changes: nothing that is used or waited for is cut."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanhaven.errors import EngineCrashed
from lanhaven.events import ModelUnloadStart
from lanhaven.providers.base import Running
from lanhaven.residency import PoolSettings
from lanhaven.residency.following import followed
from lanhaven.types.models import Instance, LoadConfig, ModelInfo, Sampling
from tests.residency.fakes import ScriptedProvider, World, model

pytestmark = pytest.mark.anyio
A, B, C = model("a"), model("b"), model("c", pinned=True)


async def swept(world: World) -> set[str]:
    await world.pool.sweep()
    await asyncio.sleep(1)
    return set(world.pool.ids())


def reasons(world: World) -> list[str]:
    return [each.reason for each in world.events if isinstance(each, ModelUnloadStart)]


def follow(world: World, *, most: int = 2, **models: ModelInfo | None) -> None:
    world.pool.following.follow(models, most)


def instance(world: World, name: str) -> Instance:
    found = world.pool.get(name)
    assert found is not None
    return found


async def test_a_removed_model_ends_after_the_last_request_pinned_or_ordered_or_not(world: World) -> None:
    lease = await world.lease(A)
    await world.pool.load(C, pinned=True)
    follow(world, a=None, c=None)
    await asyncio.sleep(1)
    assert await swept(world) == {"a"}
    assert lease.broken is None
    lease.release()
    await asyncio.sleep(1)
    assert await swept(world) == set()
    assert reasons(world) == ["removed", "removed"]


async def test_those_who_wait_for_the_load_of_a_removed_model_are_served(world: World) -> None:
    waiting = [asyncio.create_task(world.use(A)) for _ in range(3)]
    await asyncio.sleep(0.5)
    follow(world, a=None)
    assert await swept(world) == {"a"}
    assert await asyncio.gather(*waiting) == ["a"] * 3
    await asyncio.sleep(1)
    assert await swept(world) == set()
    assert world.provider.spawned == ["a"]


async def test_a_failed_instance_of_a_removed_model_is_forgotten(world: World) -> None:
    await world.pool.load(A)
    world.provider.crash("a", EngineCrashed("it died"))
    await asyncio.sleep(1)
    assert set(world.pool.ids()) == {"a"}
    follow(world, a=None)
    assert set(world.pool.ids()) == set()


async def test_what_others_have_loaded_is_not_ours_to_end(anyio_backend: object) -> None:
    provider = ScriptedProvider(lists=True)
    world = World(asyncio.get_running_loop().time, provider, models={"a": A})
    provider.running = [Running("theirs", "a", 7, provider.upstream("theirs"), LoadConfig())]
    assert await swept(world) == {"theirs"}
    follow(world, a=None)
    assert await swept(world) == {"theirs"}


async def test_a_lower_limit_ends_idle_ones_least_recently_used_first(anyio_backend: object) -> None:
    world = World(asyncio.get_running_loop().time, settings=PoolSettings(max_automatic=4))
    held = await world.lease(A)
    for info in (B, model("d"), model("e")):
        await world.use(info)
        await asyncio.sleep(1)
    await world.pool.load(model("ordered"))
    follow(world, most=1)
    assert await swept(world) == {"a", "ordered"}, "one that is used is not cut, an ordered one does not count"
    assert world.pool.max_automatic == 1
    assert reasons(world) == ["evicted"] * 3
    held.release()
    assert await world.use(B) == "b"
    assert set(world.pool.ids()) == {"b", "ordered"}


@pytest.mark.parametrize(
    ("after", "outdated"),
    [
        (replace(A, description="words", aliases=("x",), preload=True, sampling=Sampling(seed=1)), False),
        (replace(A, load=LoadConfig(idle_ttl=5)), False),
        (replace(A, load=LoadConfig(slots=3)), True),
        (replace(A, config={"n_batch": 64}), True),
        (replace(A, provider="another"), True),
        (replace(A, path=Path("elsewhere.gguf")), True),
    ],
)
async def test_what_needs_a_load_is_told_until_the_file_says_otherwise(
    world: World, after: ModelInfo, outdated: bool
) -> None:
    await world.use(A)
    follow(world, a=after)
    assert instance(world, "a").outdated is outdated
    assert await swept(world) == {"a"}
    follow(world, a=A)
    assert not instance(world, "a").outdated


async def test_what_is_outdated_is_so_still_when_it_comes_back_as_it_was(world: World) -> None:
    await world.pool.load(A)
    follow(world, a=replace(A, path=Path("elsewhere.gguf")))
    world.provider.crash("a", EngineCrashed("it died"))
    await asyncio.sleep(1)
    await world.use(A)
    assert instance(world, "a").outdated
    follow(world, a=A)
    assert not instance(world, "a").outdated


async def test_an_idle_ttl_that_is_taken_over_shows(world: World) -> None:
    await world.use(A)
    follow(world, a=replace(A, load=LoadConfig(idle_ttl=55)))
    assert instance(world, "a").load_config.idle_ttl == 55


VALUES = st.builds(
    Sampling,
    temperature=st.sampled_from([None, 0.1, 0.2]),
    top_k=st.sampled_from([None, 1, 2]),
    stop=st.sampled_from([None, ("x",), ("y",)]),
)


@given(VALUES, VALUES, VALUES)
def test_defaults_follow_the_model_but_for_what_was_set_apart(own: Sampling, old: Sampling, new: Sampling) -> None:
    found = followed(own, old, new)
    for name in ("temperature", "top_k", "stop"):
        mine, was, will = (each.said().get(name) for each in (own, old, new))
        assert found.said().get(name) == (will if mine == was else mine)
