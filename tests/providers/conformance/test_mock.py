"""The mock provider: scripted servers in this process."""

from __future__ import annotations

import pytest

from lanhaven.engines.scripted import Fault
from lanhaven.providers.base import ModelEntry, Provider, ProviderContext
from lanhaven.providers.mock import MockProvider, create
from lanhaven.testing.provider_suite import Lack, ProviderSuite, Rig

ENDLESS = {"answer": "count", "tokens": 100_000, "interval_ms": 1, "size_bytes": 1000}


class Scripted:
    """The mock provider that the suite made, and its servers."""

    def __init__(self) -> None:
        self._made: list[MockProvider] = []

    def create(self, context: ProviderContext) -> Provider:
        self._made.append(create(context))
        return self._made[-1]

    def holding(self) -> int:
        return sum(len(each.servers) for each in self._made)

    async def crash(self) -> None:
        self._made[-1].crash("one")

    async def hang(self) -> None:
        self._made[-1].server("one").script(Fault(delay=60))

    async def mend(self) -> None:
        return None


class TestMock(ProviderSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def rig(cls) -> Rig:
        scripted = Scripted()
        return Rig(
            create=scripted.create,
            entry=ModelEntry("m", "mock", config=ENDLESS),
            others=(
                ModelEntry("v", "mock", config={"kind": "embedding"}),
                ModelEntry("r", "mock", config={"kind": "reranker"}),
            ),
            slow=ModelEntry("slow", "mock", config={"load_seconds": 60}),
            broken=ModelEntry("broken", "mock", config={"fail_load": "no such tensor"}),
            engines=scripted,
            lacks={Lack.HANG: "it is scripted, in this very process"},
        )
