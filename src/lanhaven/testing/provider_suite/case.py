"""A provider under test: its loads as the pool makes them, and requests as the gateway sends them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lanhaven.errors import GatewayError
from lanhaven.providers.base import Loaded, ModelEntry, Provider, Running
from lanhaven.testing.provider_suite.rig import Rig
from lanhaven.types.models import ModelInfo
from lanhaven.upstream.exchange import Exchange
from lanhaven.upstream.pool import Timers, UpstreamClient

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
SHORT = 8  # tokens of an answer
# Capability -> its route, a request, and where the answer stands in the reply.
ROUTES: Mapping[str, tuple[str, Mapping[str, Any], str]] = {
    "chat": (CHAT, {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": SHORT}, "choices"),
    "completion": (COMPLETION, {"prompt": "Once upon a time", "max_tokens": SHORT}, "choices"),
    "embedding": ("/v1/embeddings", {"input": "The sea is calm."}, "data"),
    "rerank": ("/v1/rerank", {"query": "the sea", "documents": ["Nobody swam.", "It was calm."]}, "results"),
}
ONE, TWO = "one", "two"  # the instances that are loaded here
HURRY = 1.0  # seconds for an answer that will not come
LOOK = 0.01  # seconds between two looks at what tells nobody when it changes


@dataclass
class Heard:
    """What the observer of a load was told."""

    stages: list[str] = field(default_factory=list)
    fractions: list[float] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    began: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def progress(self, stage: str, fraction: float | None = None) -> None:
        self.stages.append(stage)
        if fraction is not None:
            self.fractions.append(fraction)
        self.began.set()

    def gone(self, error: Exception) -> None:
        self.errors.append(error)
        self.ended.set()


class Case:
    """`ready` gives the one instance that the tests share, and loads it where it is not there."""

    def __init__(self, rig: Rig, run_dir: Path) -> None:
        self.rig = rig
        self.run_dir = run_dir
        self.before = rig.engines.holding()
        self.provider: Provider = rig.create(rig.context(run_dir))
        self.heard: dict[str, Heard] = {}
        self._loaded: dict[str, Loaded] = {}
        self._clients = {
            hurry: UpstreamClient(Timers(total=limit, first_byte=limit, idle=limit))
            for hurry, limit in ((False, rig.patience), (True, HURRY))
        }

    # Models

    def describe(self, entry: ModelEntry) -> ModelInfo:
        """As the catalog has it: an entry that is refused is one that is not available, and settings stay with it."""
        try:
            info = self.provider.describe(entry)
        except GatewayError as error:
            info = ModelInfo(entry.id, entry.provider, unavailable=error.message)
        return replace(info, key=entry.id, provider=entry.provider, config=entry.config)

    async def info(self) -> ModelInfo:
        """Of the model that chats. Servers are asked for their models first, as the catalog does."""
        await self.provider.models()
        return self.describe(self.rig.entry)

    # Loads

    async def load(self, instance: str, entry: ModelEntry | None = None) -> Loaded:
        await self.provider.models()
        info = self.describe(entry or self.rig.entry)
        heard = self.heard[instance] = Heard()
        async with asyncio.timeout(self.rig.patience):
            loaded = await self.provider.load(info, instance, self.rig.asked, heard)
        self._loaded[instance] = loaded
        return loaded

    async def heard_of(self, instance: str) -> None:
        """Until the observer of a load is told of it for the first time."""
        await self.until(lambda: instance in self.heard)
        await self.heard[instance].began.wait()

    async def ready(self, instance: str = ONE) -> Loaded:
        return self._loaded.get(instance) or await self.load(instance)

    async def unload(self, instance: str = ONE) -> None:
        self._loaded.pop(instance, None)
        async with asyncio.timeout(self.rig.patience):
            await self.provider.unload(instance)

    async def running(self) -> dict[str, Running] | None:
        """By instance identifier."""
        found = await self.provider.instances()
        return None if found is None else {each.instance_id: each for each in found}

    @property
    def held(self) -> int:
        """Engines, or models on the server, that were not there before."""
        return self.rig.engines.holding() - self.before

    async def until(self, condition: Callable[[], bool]) -> None:
        """TimeoutError after the rig's patience."""
        async with asyncio.timeout(self.rig.patience):
            while not condition():  # noqa: ASYNC110 - engines of others have no event of ours
                await asyncio.sleep(LOOK)

    # Requests

    async def send(
        self, loaded: Loaded, capability: str = "chat", *, stream: bool = False, hurry: bool = False, **fields: Any
    ) -> Exchange:
        path, asked, _ = ROUTES[capability]
        body = {"model": loaded.upstream.model, **asked, **({"stream": True} if stream else {}), **fields}
        told = {name: value for name, value in body.items() if value is not None}
        return await self._clients[hurry].send(loaded.upstream, path, json.dumps(told).encode(), stream=stream)

    async def answer(self, loaded: Loaded, capability: str = "chat", *, hurry: bool = False) -> Any:
        """What a whole reply has where the answer stands. GatewayError."""
        exchange = await self.send(loaded, capability, hurry=hurry)
        try:
            return json.loads(await exchange.body())[ROUTES[capability][2]]
        finally:
            exchange.close()

    async def does(self, loaded: Loaded, info: ModelInfo, capability: str) -> bool:
        """Whether it can, as the model, the upstream and a request say. AssertionError if they do not agree."""
        served = ROUTES[capability][0] in loaded.upstream.routes
        assert served == (capability in info.capabilities), (
            f"{capability}: {info.capabilities}, {loaded.upstream.routes}"
        )
        return served and bool(await self.answer(loaded, capability))

    @asynccontextmanager
    async def streaming(self, loaded: Loaded) -> AsyncIterator[Exchange]:
        """An endless answer of which a part has come; leaving the block leaves it."""
        exchange = await self.send(loaded, stream=True, **{"max_tokens": None, **self.rig.endless})
        try:
            assert await exchange.more(), "a stream that ends before it began"
            yield exchange
        finally:
            exchange.close()

    async def aclose(self) -> None:
        """Whatever happened before, nothing is left."""
        for client in self._clients.values():
            await client.aclose()
        with suppress(GatewayError):
            await self.provider.aclose()
