"""Whose turn it is: requests of batches take the slots that nobody else wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lanhaven.errors import GatewayError
from lanhaven.gateway import Gateway

PATIENCE = 30.0  # seconds that a request of a batch gives way at most: then it waits in the queue like all others
STEP = 0.05


class Turns:
    """At most `concurrency` requests of all batches run at once, and none begins while somebody waits."""

    def __init__(self, gateway: Gateway, concurrency: int, *, patience: float = PATIENCE) -> None:
        self._gateway = gateway
        self._free = asyncio.Semaphore(concurrency)  # first come, first served: batches take turns
        self._patience = patience

    @asynccontextmanager
    async def turn(self, model: str | None) -> AsyncIterator[None]:
        """The right to send one request for this model."""
        async with self._free:
            until = self._gateway.clock() + self._patience
            while not self._idle(model) and self._gateway.clock() < until:  # noqa: ASYNC110 - the pool has no such event
                await asyncio.sleep(STEP)
            yield

    def _idle(self, model: str | None) -> bool:
        """Nobody waits for any instance, and this model has a free slot, or is not loaded."""
        instances = self._gateway.pool.instances()
        if any(each.waiting for each in instances):
            return False
        try:
            key = self._gateway.catalog.resolve(model, self._gateway.pool.ids()).info.key
        except GatewayError:
            return True  # the request will say why
        mine = [each for each in instances if each.model_key == key]
        return not mine or any(each.slots is None or each.leases < each.slots for each in mine)
