"""A whole server inside the test's own process and event loop: real sockets, the mock provider, short timers.

    async with serving(tmp_path) as house:
        reply = await house.http.post("/v1/chat/completions", json=...)

At the end the invariants that hold for every server at rest are checked: nothing in flight, no lease out, no waiter, as many
terminal events as starts, no connection left open.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from fastapi import FastAPI

from lanhaven.config import Settings, load_settings
from lanhaven.engines.scripted import Seen
from lanhaven.events import Failure, GatewayEvent, InferenceComplete, InferenceStart
from lanhaven.keys.store import KeyStore
from lanhaven.providers.mock import MockProvider
from lanhaven.server.build import build
from lanhaven.server.compose import compose
from lanhaven.server.limits import ListenerLimits
from lanhaven.server.listener import running
from lanhaven.server.native import native_app
from lanhaven.server.page_files import File
from lanhaven.server.security import SecurityPolicy, callers_of
from lanhaven.server.services import Services
from lanhaven.server.shutdown import Shutdown
from lanhaven.types.models import InstanceState

MODELS = """\
default_model: alpha
models:
  - {id: alpha, provider: mock, enabled: true, aliases: [first]}
  - {id: beta, provider: mock, enabled: true}
  - {id: gamma, provider: mock, enabled: true}
"""


@dataclass
class House:
    """A running server and what the tests look at."""

    url: str
    services: Services
    shutdown: Shutdown
    http: httpx2.AsyncClient
    events: list[GatewayEvent] = field(default_factory=list)

    @property
    def mock(self) -> MockProvider:
        provider = self.services.providers["mock"]
        assert isinstance(provider, MockProvider)
        return provider

    @property
    def seen(self) -> list[Seen]:
        """Every request that any mock instance saw, in order per instance."""
        ready = [each for each in self.services.pool.instances() if each.state is InstanceState.READY]
        return [seen for each in ready for seen in self.mock.server(each.instance_id).requests]

    @property
    def sent(self) -> dict[str, Any]:
        """The body of the last inference that reached the active model's instance."""
        _, instance, _ = self.services.gateway.active()
        server = self.mock.server(instance or next(iter(self.services.pool.ids())))
        body: dict[str, Any] = server.requests[-1].body
        return body

    def named(self, kind: type[GatewayEvent]) -> list[Any]:
        return [each for each in self.events if isinstance(each, kind)]

    async def until(self, condition: Any, seconds: float = 60) -> None:
        """Wait until `condition()` holds; it is looked at whenever something happened."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - conditions look at many things that have no event in common
                await asyncio.sleep(0.002)

    async def chat(self, text: str = "hello", **fields: Any) -> httpx2.Response:
        body = {"messages": [{"role": "user", "content": text}], **fields}
        return await self.http.post("/v1/chat/completions", json=body)

    def check_rest(self) -> None:
        """The invariants of a server at rest (I1, I4, I6)."""
        assert self.services.gateway.inflight == 0
        instances = self.services.pool.instances()
        assert all(each.leases == 0 and each.waiting == 0 for each in instances), self.services.pool
        started = [each.request_id for each in self.named(InferenceStart)]
        ended = [each.request_id for each in self.named(InferenceComplete)]
        ended += [each.request_id for each in self.named(Failure) if each.operation == "inference"]
        assert sorted(started) == sorted(ended), "a request has not exactly one terminal event"
        metrics = self.services.metrics
        assert metrics.total == metrics.completed + metrics.failed + metrics.cancelled
        assert metrics.inflight == 0


def settings_for(home: Path, values: Mapping[str, Any], models: str) -> Settings:
    """Settings with a home of their own and nothing from the machine's environment that matters."""
    (home / "models.yaml").write_text(models)
    places = {f"{name}_dir": home / name for name in ("config", "data", "state", "cache")}
    usual = {"mock": True, "history": False, "upstream_connect": 30}  # one loop has all sides of a connection here
    return load_settings({**usual, "models_file": home / "models.yaml", **places, **values})


def native_of(services: Services) -> FastAPI:
    """The native API of a server that does not run."""
    keys = KeyStore.from_settings(services.settings)
    return native_app(services, callers_of(SecurityPolicy(), keys, services.sessions, services.clock))


@asynccontextmanager
async def serving(
    home: Path,
    models: str = MODELS,
    *,
    key: str | None = None,
    limits: ListenerLimits | None = None,
    token: str | None = None,
    page: Mapping[str, File] | None = None,
    **values: Any,
) -> AsyncIterator[House]:
    """Serve with these settings until the block ends. token, page: see `compose`."""
    run_dir = Path(tempfile.mkdtemp(prefix="lh-"))  # pytest's own folders are too long for the paths of sockets
    settings = settings_for(home, {"run_dir": run_dir, **values, **({"api_key": key} if key else {})}, models)
    shutdown = Shutdown()
    services = build(settings, lambda: shutdown.draining)
    events: list[GatewayEvent] = []
    services.bus.listen(events.append)
    await services.catalog.refresh()
    secured = compose(services, KeyStore.from_settings(settings), token, page)
    shutdown.on_drain(services.close_streams)
    headers = {"X-API-Key": key} if key else {}
    try:
        async with (
            running(secured, limits or ListenerLimits.from_settings(settings), shutdown=shutdown) as url,
            httpx2.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False) as http,
        ):
            house = House(url, services, shutdown, http, events)
            yield house
            await house.until(lambda: services.gateway.inflight == 0)
            house.check_rest()
    finally:
        await services.aclose(0)
        shutil.rmtree(run_dir)
