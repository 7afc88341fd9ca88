"""The suite that providers must pass finds what is wrong with one: each defect here fails the test that is about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lanhaven.providers.base import Health, Loaded, LoadObserver, ModelEntry, ProviderContext, Running
from lanhaven.providers.mock import MockProvider
from lanhaven.testing.provider_suite import Lack, ProviderSuite, Rig
from lanhaven.testing.provider_suite.case import Case
from lanhaven.types.models import LoadConfig, ModelInfo

pytestmark = pytest.mark.anyio
SECRET = "sk-very-secret-value"
ENDLESS = {"answer": "count", "tokens": 100_000, "interval_ms": 1, "size_bytes": 1000}


class TakesAnything(MockProvider):
    def describe(self, entry: ModelEntry) -> ModelInfo:
        return super().describe(replace(entry, config={**ENDLESS}))


class Tells(MockProvider):
    def __repr__(self) -> str:
        return f"Tells({SECRET})"


class DropsFields(MockProvider):
    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        return replace(await super().load(info, instance_id, config, observer), applied={})


class SaysTooMuch(MockProvider):
    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        loaded = await super().load(info, instance_id, config, observer)
        return replace(loaded, upstream=replace(loaded.upstream, routes=frozenset({"/v1/chat/completions"})))


class WeighsNothing(MockProvider):
    def estimate(self, info: ModelInfo, config: LoadConfig) -> int:
        return 0


class KeepsIt(MockProvider):
    async def unload(self, instance_id: str) -> None:
        return None


class ForgetsToList(MockProvider):
    async def instances(self) -> Sequence[Running]:
        return []


class IsSilent(MockProvider):
    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        observer.gone = lambda error: None  # type: ignore[method-assign]
        return await super().load(info, instance_id, config, observer)


class LoadsOn(MockProvider):
    """A load that is given up goes on."""

    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        observer.progress("starting")
        info = replace(info, config={})
        going = asyncio.ensure_future(super().load(info, f"{instance_id}-leaked", config, observer))
        await asyncio.sleep(0.05)
        return await going


class NeverLoads(MockProvider):
    """What cannot be loaded is said to be ready."""

    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        return await super().load(replace(info, config={}), instance_id, config, observer)


class IsIll(MockProvider):
    async def health(self) -> Health:
        await asyncio.sleep(60)
        return await super().health()


class Engines:
    """Those of the provider that the suite made."""

    def __init__(self, kind: type[MockProvider]) -> None:
        self._kind = kind
        self._made: list[MockProvider] = []

    def create(self, context: ProviderContext) -> MockProvider:
        self._made.append(self._kind(context.run_dir))
        return self._made[-1]

    def holding(self) -> int:
        return sum(len(each.servers) for each in self._made)

    async def crash(self) -> None:
        self._made[-1].crash("one")

    async def hang(self) -> None:
        return None

    async def mend(self) -> None:
        return None


def rig(kind: type[MockProvider]) -> Rig:
    engines = Engines(kind)
    return Rig(
        create=engines.create,
        entry=ModelEntry("m", "mock", config=ENDLESS),
        slow=ModelEntry("slow", "mock", config={"load_seconds": 60}),
        broken=ModelEntry("broken", "mock", config={"fail_load": "no such tensor"}),
        secrets=(SECRET,),
        engines=engines,
        lacks={Lack.HANG: "it is scripted"},
        patience=1.0,
    )


@asynccontextmanager
async def closed(case: Case) -> AsyncIterator[Case]:
    """However wrong the provider is, nothing listens afterwards: an event loop with a listener left would never end."""
    try:
        yield case
    finally:
        await case.aclose()
        for server in list(case.provider.servers.values()) if isinstance(case.provider, MockProvider) else ():
            await server.aclose()


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (TakesAnything, "test_a_setting_that_it_does_not_know_is_refused_by_name"),
        (Tells, "test_secrets_are_shown_nowhere"),
        (DropsFields, "test_each_field_of_a_load_config_is_applied_or_said_to_be_ignored"),
        (WeighsNothing, "test_the_memory_that_a_load_takes"),
        (KeepsIt, "test_two_instances_of_which_one_is_unloaded"),
        (ForgetsToList, "test_it_lists_what_runs"),
        (IsSilent, "test_an_engine_that_crashes_in_the_middle_of_an_answer"),
        (LoadsOn, "test_a_load_that_is_given_up_leaves_nothing"),
        (NeverLoads, "test_a_load_that_fails_says_why"),
        (KeepsIt, "test_at_the_end_everything_ends"),
        (IsIll, "test_its_health_is_told_in_time"),
    ],
)
async def test_it_finds(kind: type[MockProvider], test: str, tmp_path: Path) -> None:
    """The same test passes where nothing is wrong."""
    run = vars(ProviderSuite)[test]
    async with closed(Case(rig(MockProvider), tmp_path)) as case:
        await run(ProviderSuite(), case)
    async with closed(Case(rig(kind), tmp_path)) as case:
        with pytest.raises((AssertionError, TimeoutError, pytest.fail.Exception)):
            await run(ProviderSuite(), case)


async def test_it_finds_a_capability_without_a_route(tmp_path: Path) -> None:
    async with closed(Case(rig(SaysTooMuch), tmp_path)) as case:
        with pytest.raises(AssertionError):
            await ProviderSuite().test_it_does_what_its_model_is_said_to_do(case, "completion")


async def test_what_is_said_to_be_lacking_and_is_there(tmp_path: Path) -> None:
    """A table that is not true any more."""
    lacks = {Lack.MEMORY: "none", Lack.LOGS: "none"}
    async with closed(Case(replace(rig(MockProvider), lacks=lacks), tmp_path)) as case:
        for test in (ProviderSuite.test_the_memory_that_a_load_takes, ProviderSuite.test_the_lines_of_an_engines_log):
            with pytest.raises(AssertionError):
                await test(ProviderSuite(), case)
