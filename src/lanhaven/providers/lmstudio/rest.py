"""LM Studio's REST API `/api/v1` (0.4 and later): for where it lets no WebSocket in.

It names instances itself, tells no progress, and knows fewer load settings than the WebSocket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.errors import GatewayError, InvalidRequest, LoadFailed, ModelNotFound, ProviderUnavailable, UpstreamError
from lanhaven.lmstudio.error_data import read_error
from lanhaven.providers.hosts.asking import Unanswered, ask
from lanhaven.providers.hosts.relaying import is_lanhaven
from lanhaven.providers.lmstudio.config import Host
from lanhaven.providers.lmstudio.link import Link
from lanhaven.providers.lmstudio.loading import SILENCE_SECONDS, UNDO_SECONDS, UNLOAD_SECONDS
from lanhaven.providers.lmstudio.models import Running, Studied, of_rest, rest_config
from lanhaven.providers.lmstudio.socket import Unreachable
from lanhaven.types.models import LoadConfig

NO_FIELD = "LM Studio's REST API has no such setting, and its WebSocket is refused"
# Field of LoadConfig -> field of the request.
FIELDS: Mapping[str, str] = MappingProxyType({"context_length": "context_length", "flash_attention": "flash_attention"})

_API = "/api/v1"
_NO_ROUTE = "Unexpected endpoint or method"  # LM Studio says it with status 200


class Rest:
    """Calls to one host. Raises Unreachable, and GatewayErrors with LM Studio's own words."""

    def __init__(self, host: Host, link: Link) -> None:
        self._host, self._link = host, link

    async def listing(self) -> tuple[tuple[Studied, ...], tuple[Running, ...]]:
        """All models, and what is loaded of them."""
        return of_rest(await self._ask("GET", "/api/v1/models", None, self._host.answer_timeout))

    async def version(self, seconds: float) -> str | None:
        """Which version it says it is; None where it says none."""
        said = await self._ask("GET", "/lms-status", None, seconds)
        version = said.get("version")
        return version if isinstance(version, str) and version.isprintable() else None

    async def is_lanhaven(self) -> bool | None:
        """Whether it is a LanHaven; None where it does not answer."""
        host, http = self._host, self._link.http
        try:
            return await is_lanhaven(http, host.base_url, seconds=host.answer_timeout, connect=host.connect_timeout)
        except Unanswered:
            return None

    async def load(self, model: str, config: LoadConfig) -> Running:
        """A new instance, under a name of LM Studio's own. When cancelled, it is unloaded as soon as it is there."""
        said = config.said()
        body = {"model": model, "echo_load_config": True}
        body |= {name: said[field] for field, name in FIELDS.items() if field in said}
        asked = self._link.keep(self._ask("POST", "/api/v1/models/load", body, SILENCE_SECONDS))
        try:
            answer = await asyncio.shield(asked)
        except asyncio.CancelledError:
            undoing = self._link.keep(self._undo(asked))
            await asyncio.wait((undoing,), timeout=UNDO_SECONDS)
            raise
        except UpstreamError as error:
            raise LoadFailed(error.message) from None
        identifier = answer.get("instance_id")
        if not isinstance(identifier, str) or not identifier:
            raise LoadFailed(f"LM Studio did not say under which name it has loaded {model}.")
        known = rest_config(answer.get("load_config"))
        return Running(identifier, model, answer.get("type") == "embedding", config=known)

    async def unload(self, identifier: str) -> None:
        """One that is not there is fine."""
        try:
            await self._ask("POST", "/api/v1/models/unload", {"instance_id": identifier}, UNLOAD_SECONDS)
        except ModelNotFound:
            return

    async def _undo(self, asked: asyncio.Future[dict[str, Any]]) -> None:
        """There is no way to stop such a load: wait for it, then unload."""
        try:
            answer = await asked
            if isinstance(answer.get("instance_id"), str):
                await self.unload(answer["instance_id"])
        except (Unreachable, GatewayError):
            return

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None, seconds: float) -> dict[str, Any]:
        host = self._host
        try:
            answer = await ask(
                self._link.http,
                method,
                host.base_url + path,
                body,
                headers=host.headers,
                seconds=seconds,
                connect=host.connect_timeout,
            )
        except Unanswered as error:
            raise Unreachable(str(error)) from None
        if answer.result is None:
            raise self._error(answer.status, answer.error)
        return answer.result

    def _error(self, status: int, said: Any) -> GatewayError:
        error = {"title": said.get("message")} if isinstance(said, dict) else said
        text = f"LM Studio: {read_error(error).text}" if error else f"LM Studio answered with status {status}."
        kind = said.get("type") if isinstance(said, dict) else None
        if status in (401, 403):
            return ProviderUnavailable(
                f"LM Studio ({self._host.name}) refuses our API token, or wants one.",
                hint="set api_token of this host under `providers: {lmstudio: ...}` in config.yaml",
                retry=False,
            )
        if kind == "model_not_found" or (status == 404 and kind is not None):
            return ModelNotFound(text, param="modelKey", retry=False)
        if status == 404 or (status == 200 and (not error or _NO_ROUTE in text)):
            return ProviderUnavailable(
                f"LM Studio ({self._host.name}) lets no WebSocket in, and has no REST API {_API}.",
                hint="update LM Studio, or let this machine use its WebSocket",
                retry=False,
            )
        return InvalidRequest(text) if 400 <= status < 500 else UpstreamError(text)
