"""One server that speaks OpenAI: the list of its models, and whether it answers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import aiohttp

from lanhaven.errors import GatewayError, ProviderUnavailable, UpstreamError
from lanhaven.providers.hosts.asking import Unanswered, ask
from lanhaven.providers.hosts.health import HEALTH_SECONDS, Pulse
from lanhaven.providers.openai.config import Host
from lanhaven.providers.openai.listing import Listed, listed

LIST_SECONDS = 5.0
CONNECT_SECONDS = 2.0


class Remote:
    """`known`: the models of the last answer that are wanted. `away`: in what way it did not answer when it was asked
    last; None while it does, and before."""

    def __init__(
        self,
        host: Host,
        headers: tuple[tuple[str, str], ...],
        http: Callable[[], aiohttp.ClientSession],
        clock: Callable[[], float],
    ) -> None:
        self.host = host
        self.known: tuple[Listed, ...] = ()
        self.away: str | None = None
        self._headers, self._http, self._clock = headers, http, clock
        self._asked = float("-inf")
        self._failure: GatewayError | None = None

    async def models(self, every: float) -> tuple[Listed, ...]:
        """The wanted ones of its list, asked for when the last answer is older than `every` seconds.
        ProviderUnavailable, UpstreamError."""
        if not self.asked_within(every):
            await self.look(LIST_SECONDS)
        if self._failure is not None:
            raise copy.copy(self._failure)
        return self.known

    def asked_within(self, seconds: float) -> bool:
        return self._clock() - self._asked < seconds

    async def look(self, seconds: float = HEALTH_SECONDS) -> None:
        """Ask. Never raises."""
        self._asked = self._clock()
        try:
            await self._ask(seconds)
        except GatewayError as error:
            self._failure = error
        else:
            self._failure = None

    async def pulse(self) -> Pulse:
        """Never raises."""
        began = self._clock()
        await self.look()
        pulse = Pulse(self.host.name, self.host.base_url, len(self.known), error=self.away)
        return pulse if self.away is not None else replace(pulse, seconds=self._clock() - began)

    async def _ask(self, seconds: float) -> None:
        url = f"{self.host.base_url}/v1/models"
        try:
            answer = await ask(
                self._http(), "GET", url, headers=self._headers, seconds=seconds, connect=CONNECT_SECONDS
            )
        except Unanswered as error:
            raise self._gone(str(error)) from None
        if answer.status >= 500:
            raise self._gone(f"answers with status {answer.status}")
        if answer.status in (401, 403):
            raise self._gone("refuses our key, or wants one", "correct its api_key in the configuration")
        self.away = None
        if answer.result is not None:
            self.known = tuple(each for each in listed(answer.result) if self.host.offers(each.name))
        elif self.host.name and self.host.sync:
            raise UpstreamError(
                f"Server {self.host.name} has no list of models: it answers with status {answer.status}.",
                hint=f"set `sync: false` for {self.host.name} in config.yaml, and list its models in models.yaml",
            )

    def _gone(self, how: str, hint: str | None = None) -> ProviderUnavailable:
        self.away = how
        return ProviderUnavailable(f"Server {self.host.name} {how}.", hint=hint, retry_after=2.0)

    def __repr__(self) -> str:
        return f"Remote({self.host.name or '-'} {self.away or 'there'} models={len(self.known)})"
