"""What the tests of the lmstudio provider share: a provider in front of scripted LM Studios, and an observer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from lanhaven.providers.base import Loaded, ModelEntry
from lanhaven.providers.lmstudio.config import read_hosts
from lanhaven.providers.lmstudio.provider import LMStudioProvider
from lanhaven.types.models import LoadConfig, ModelInfo
from tests.lmstudio.studio import CHAT, Studio

NOT_REACHED = (
    "Failed to connect to LM Studio SDK after 3 attempts. Ensure LM Studio is running and the API server is enabled."
)


@dataclass
class Observer:
    """Notes what it is told."""

    told: list[tuple[str, float | None]] = field(default_factory=list)

    def progress(self, stage: str, fraction: float | None = None) -> None:
        self.told.append((stage, fraction))

    def gone(self, error: Exception) -> None:
        raise AssertionError("the pool finds out by asking")


@dataclass
class Pauses:
    """Stands for the time between two attempts; `then` is called in it."""

    taken: list[float] = field(default_factory=list)
    then: Any = None

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        if self.then is not None:
            await self.then()
        await asyncio.sleep(0)


@dataclass
class Case:
    """A provider and the LM Studio behind it."""

    studio: Studio
    provider: LMStudioProvider
    pauses: Pauses
    observer: Observer = field(default_factory=Observer)

    def entry(self, key: str, **config: Any) -> ModelInfo:
        return self.provider.describe(ModelEntry(key, "lmstudio", config=config))

    async def load(self, key: str = CHAT, name: str | None = None, config: LoadConfig | None = None) -> Loaded:
        """Load a model that LM Studio listed; as the catalog does, it is asked for them first."""
        found = {each.key: each for each in await self.provider.models()}
        info = found.get(key) or self.entry(key)
        return await self.provider.load(info, name or key, config or LoadConfig(), self.observer)

    async def running(self) -> list[str]:
        found = await self.provider.instances()
        assert found is not None
        return [each.instance_id for each in found]


def provider(pauses: Pauses | None = None, **options: Any) -> LMStudioProvider:
    return LMStudioProvider(read_hosts(options), pauses or Pauses())


@asynccontextmanager
async def case(**options: Any) -> AsyncIterator[Case]:
    """One LM Studio, and the provider with these options in front of it."""
    pauses = Pauses()
    async with Studio() as studio:
        made = provider(pauses, **{"base_url": studio.url, **options})
        try:
            yield Case(studio, made, pauses)
        finally:
            await made.aclose()
