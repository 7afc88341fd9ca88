"""One Ollama: its own API over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from lanhaven.errors import GatewayError, LoadFailed, ModelNotFound, ProviderUnavailable, UpstreamError
from lanhaven.providers.ollama.config import Host
from lanhaven.providers.ollama.models import Loaded, Tagged, of_ps, of_tags, shown
from lanhaven.wire import encode

MOST_BYTES = 16 << 20  # of an answer: a list of all models, or all that is known of one
SHOWS = 4  # models that are asked about at once
LOAD_SECONDS = 3600.0  # the pool's own limit is shorter

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Pulse:
    """Whether it answers: its version, or what is wrong."""

    seconds: float | None = None
    version: str | None = None
    error: str | None = None


class Ollama:
    """What it has, what is loaded, and orders. ProviderUnavailable where it does not answer."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.known: tuple[Tagged, ...] = ()
        self._shown: Mapping[tuple[str, str], Tagged] = {}  # by name and digest
        self._http: aiohttp.ClientSession | None = None

    async def models(self) -> tuple[Tagged, ...]:
        """All of them. What a model can is asked once, until it is another model."""
        tags = of_tags(await self._ask("GET", "/api/tags"))
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

    async def pulse(self, seconds: float) -> Pulse:
        """Never raises."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            said = await self._ask("GET", "/api/version", seconds=seconds)
        except GatewayError as error:
            return Pulse(error=error.message)
        version = said.get("version")
        return Pulse(loop.time() - began, version if isinstance(version, str) and version.isprintable() else None)

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.close()

    async def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, seconds: float | None = None
    ) -> dict[str, Any]:
        if self._http is None:
            self._http = aiohttp.ClientSession(trust_env=False)
        host = self.host
        total = seconds or host.answer_timeout
        timeout = aiohttp.ClientTimeout(total=total, sock_connect=min(host.connect_timeout, total))
        headers = {**dict(host.headers), "content-type": "application/json", "accept-encoding": "identity"}
        data = None if body is None else encode(body)
        try:
            async with self._http.request(
                method, host.base_url + path, data=data, headers=headers, timeout=timeout, allow_redirects=False
            ) as reply:
                raw = await _bounded(reply)
                status = reply.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            how = "does not answer" if isinstance(error, TimeoutError) else "cannot be reached"
            raise ProviderUnavailable(f"Ollama ({host.name}) {how}.") from None
        return self._read(status, raw)

    def _read(self, status: int, raw: bytes) -> dict[str, Any]:
        try:
            value = _decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            value = None
        if status == 200 and isinstance(value, dict) and "error" not in value:
            return value
        said = value.get("error") if isinstance(value, dict) else None
        text = f"Ollama ({self.host.name}): {said}" if isinstance(said, str) and said.isprintable() else None
        if status in (401, 403):
            raise ProviderUnavailable(
                f"Ollama ({self.host.name}) refuses our key, or wants one.",
                hint="set api_key of this host under `providers: {ollama: ...}` in config.yaml",
                retry=False,
            )
        if status == 404 and text is not None:
            raise ModelNotFound(text, param="modelKey", retry=False)
        raise UpstreamError(text or f"Ollama ({self.host.name}) answered with status {status}.")

    def __repr__(self) -> str:
        return f"Ollama({self.host.name} models={len(self.known)})"


async def _bounded(reply: aiohttp.ClientResponse) -> bytes:
    """The body, or ValueError for one that is too large."""
    body = b""
    async for piece in reply.content.iter_chunked(1 << 16):
        body += piece
        if len(body) > MOST_BYTES:
            raise ValueError("too large")
    return body
