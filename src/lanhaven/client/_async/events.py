"""What happens on a server, for as long as one cares to know."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator

from lanhaven.client._async.exchange import AsyncExchange
from lanhaven.client._async.items import AsyncItems
from lanhaven.client._errors import ConnectionFailed, StreamingFailed
from lanhaven.client._model_types import DebugEvent
from lanhaven.client._protocol import Call, Repeat, backoff
from lanhaven.errors import CapacityError, ProviderError

IDLE = 90.0  # seconds: a living server sends a comment every 30


class AsyncEventStream(AsyncItems[DebugEvent]):
    """The events of a server, from now on. The first is `connected`, and so is the first after every reconnection:
    between the two some may have been missed.

    A connection that breaks off, and a server that restarts, are waited for; reconnect=False ends there instead.
    """

    def __init__(self, exchange: AsyncExchange, *, reconnect: bool) -> None:
        super().__init__(_events(exchange, reconnect=reconnect))


async def _events(exchange: AsyncExchange, *, reconnect: bool) -> AsyncGenerator[DebugEvent, None]:
    call = Call("GET", "/debug/stream", timeout=IDLE, repeat=Repeat.ANY, feature="events")
    known, failures = False, 0
    while True:
        try:
            async with exchange.stream(call) as frames:
                known = True
                async for frame in frames:
                    failures = 0
                    yield DebugEvent(name=frame.event or "message", data=frame.object())
        except (ConnectionFailed, StreamingFailed, CapacityError, ProviderError):
            if not (reconnect and known):
                raise
        if not reconnect:
            return
        await asyncio.sleep(backoff(failures, random.random()))
        failures += 1
