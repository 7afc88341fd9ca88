"""One Ollama: its own API over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp

from lanhaven.errors import GatewayError, LoadFailed, ModelNotFound, ProviderUnavailable, UpstreamError
from lanhaven.providers.hosts.asking import Unanswered, ask
from lanhaven.providers.hosts.health import HEALTH_SECONDS, Pulse
from lanhaven.providers.hosts.reading import text
from lanhaven.providers.hosts.relaying import is_lanhaven
from lanhaven.providers.ollama.config import Host
from lanhaven.providers.ollama.models import Loaded, Tagged, of_ps, of_tags, shown

SHOWS = 4  # models that are asked about at once
LOAD_SECONDS = 3600.0  # the pool's own limit is shorter


class Ollama:
    """What it has, what is loaded, and orders. ProviderUnavailable where it does not answer."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.known: tuple[Tagged, ...] = ()
        self.relays: bool | None = None  # whether it is a LanHaven; None = nobody knows yet
        self._shown: Mapping[tuple[str, str], Tagged] = {}  # by name and digest
        self._http: aiohttp.ClientSession | None = None

    async def models(self) -> tuple[Tagged, ...]:
        """All of them. What a model can is asked once, until it is another model."""
        tags = of_tags(await self._ask("GET", "/api/tags"))
        if self.relays is None and self._http is not None:
            self.relays = await self._is_lanhaven(self._http)
        gate = asyncio.Semaphore(SHOWS)

        async def look(model: Tagged) -> Tagged:
            known = self._shown.get((model.name, model.digest))
            if known is not None:
                return known
            async with gate:
                return await self._show(model)

        found = await asyncio.gather(*(look(each) for each in tags))
        self._shown = {(each.name, each.digest): each for each in found if each.capabilities}
        self.known = tuple(found)
        return self.known

    async def _is_lanhaven(self, http: aiohttp.ClientSession) -> bool | None:
        host = self.host
        try:
            return await is_lanhaven(http, host.base_url, seconds=host.answer_timeout, connect=host.connect_timeout)
        except Unanswered:
            return None

    async def _show(self, model: Tagged) -> Tagged:
        """With what can be learnt; a model of which nothing can be learnt is one all the same."""
        try:
            return shown(model, await self._ask("POST", "/api/show", {"model": model.name}))
        except (ModelNotFound, UpstreamError):
            return model

    def model(self, name: str) -> Tagged | None:
        return next((each for each in self.known if each.name == name), None)

    async def loaded(self) -> tuple[Loaded, ...]:
        return of_ps(await self._ask("GET", "/api/ps"))

    async def load(self, name: str, options: Mapping[str, Any], keep_alive: float | None, *, embedding: bool) -> None:
        """Returns when it is in memory. keep_alive: seconds, negative = for ever, None = Ollama's usual time.

        A request without a prompt loads a model; one that only embeds refuses that, and embeds a word. If cancelled,
        Ollama sees the client leave, and stops loading.
        """
        body: dict[str, Any] = {"model": name, "options": dict(options)}
        if keep_alive is not None:
            body["keep_alive"] = keep_alive
        try:
            if embedding:
                await self._ask("POST", "/api/embed", body | {"input": "load"}, LOAD_SECONDS)
            else:
                await self._ask("POST", "/api/generate", body | {"prompt": "", "stream": False}, LOAD_SECONDS)
        except UpstreamError as error:
            raise LoadFailed(error.message) from None

    async def unload(self, name: str) -> None:
        """One that is not there is fine."""
        body = {"model": name, "prompt": "", "keep_alive": 0, "stream": False}
        try:
            await self._ask("POST", "/api/generate", body, LOAD_SECONDS)
        except ModelNotFound:
            return

    async def pulse(self) -> Pulse:
        """Never raises."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        pulse = Pulse(self.host.name, self.host.base_url, len(self.known))
        try:
            said = await self._ask("GET", "/api/version", seconds=HEALTH_SECONDS)
        except GatewayError as error:
            return replace(pulse, error=error.message.removeprefix(f"Ollama ({self.host.name}) "))
        return replace(pulse, seconds=loop.time() - began, version=text(said.get("version")) or None)

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.close()

    async def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, seconds: float | None = None
    ) -> dict[str, Any]:
        if self._http is None:
            self._http = aiohttp.ClientSession(trust_env=False)
        host = self.host
        try:
            answer = await ask(
                self._http,
                method,
                host.base_url + path,
                body,
                headers=host.headers,
                seconds=seconds or host.answer_timeout,
                connect=host.connect_timeout,
            )
        except Unanswered as error:
            raise ProviderUnavailable(f"Ollama ({host.name}) {error}.") from None
        if answer.result is None:
            raise self._error(answer.status, answer.error)
        return answer.result

    def _error(self, status: int, said: Any) -> GatewayError:
        told = f"Ollama ({self.host.name}): {said}" if isinstance(said, str) and said.isprintable() else None
        if status in (401, 403):
            return ProviderUnavailable(
                f"Ollama ({self.host.name}) refuses our key, or wants one.",
                hint="set api_key of this host under `providers: {ollama: ...}` in config.yaml",
                retry=False,
            )
        if status == 404 and told is not None:
            return ModelNotFound(told, param="modelKey", retry=False)
        return UpstreamError(told or f"Ollama ({self.host.name}) answered with status {status}.")

    def __repr__(self) -> str:
        return f"Ollama({self.host.name} models={len(self.known)})"
