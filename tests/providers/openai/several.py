"""A whole house in front of scripted servers that all have one model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from lanhaven.engines.scripted import Fault, ScriptedModel, ScriptedServer
from lanhaven.types.models import Instance
from tests.serving import House, serving

KEY = "sk-only-for-these-hosts"
NAMES = ("one", "two", "three")


fault = partial(Fault, path="/v1/chat/completions")  # looks at the list of models are not meant


@dataclass
class Several:
    """The house, and its hosts by name."""

    house: House
    hosts: dict[str, ScriptedServer] = field(default_factory=dict)

    async def ask(self, text: str = "hello", **fields: Any) -> httpx2.Response:
        return await self.house.chat(text, model="big", **fields)

    def counts(self) -> list[int]:
        """How many requests each host has generated an answer for."""
        return [each.generations for each in self.hosts.values()]

    def asked(self) -> list[int]:
        """How many chats each host was asked for."""
        return [sum(seen.method == "POST" for seen in each.requests) for each in self.hosts.values()]

    def last(self, name: str) -> str:
        """The model that a host was asked for last."""
        return next(str(seen.body["model"]) for seen in reversed(self.hosts[name].requests) if seen.method == "POST")

    def instances(self) -> dict[str, Instance]:
        return {each.instance_id: each for each in self.house.services.pool.instances()}

    async def sweep(self, condition: Any = None) -> None:
        """What the server does every 1.5 seconds; with a condition, until it holds."""
        async with asyncio.timeout(60):
            await self.house.services.pool.sweep()
            while condition is not None and not condition():
                await asyncio.sleep(0.01)
                await self.house.services.pool.sweep()

    async def revive(self, name: str) -> None:
        """The host is there again, at its old address."""
        host = self.hosts[name]
        host.crashed = False
        await host.start()


@asynccontextmanager
async def several(tmp_path: Path, *names: str, model: str = "", **values: Any) -> AsyncIterator[Several]:
    """names: of the hosts. model: further settings of the model's entry, in YAML's flow style."""
    async with AsyncExitStack() as stack:
        hosts = {
            name: await stack.enter_async_context(ScriptedServer(ScriptedModel(f"there-{name}"), key=f"{KEY}-{name}"))
            for name in names or NAMES
        }
        places = "".join(
            f"        {name}: {{base_url: '{host.base_url}/v1', model: there-{name}, api_key: {KEY}-{name}}}\n"
            for name, host in hosts.items()
        )
        entry = f"models:\n  - id: big\n    provider: openai\n    config:\n      hosts:\n{places}"
        options = {"openai": {"probe_every": 0.01}}
        house = await stack.enter_async_context(
            serving(tmp_path, entry + model, providers=options, **values),
        )
        made = Several(house, hosts)
        await made.sweep(lambda: len(made.instances()) == len(hosts))
        yield made
