"""A channel that works for long: it hears its client's cancel, and does not fall silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from lanhaven.dialects.lmstudio.ws.endpoint import Channel

HEARTBEAT = 15.0  # seconds: Python's clients give up on a channel that is silent for 60


@asynccontextmanager
async def attended(channel: Channel, beat: Callable[[], Awaitable[None]]) -> AsyncIterator[asyncio.Timeout]:
    """The client's cancel ends the block, as a time-out would; what is yielded then has `expired`.

    `beat` is called every HEARTBEAT seconds.
    """

    async def stop() -> None:
        await channel.cancelled.wait()
        scope.reschedule(asyncio.get_running_loop().time())

    async def beats() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            await beat()

    scope = asyncio.timeout(None)
    try:
        async with scope:
            tasks = (asyncio.create_task(stop()), asyncio.create_task(beats()))
            try:
                yield scope
            finally:
                for task in tasks:
                    task.cancel()
    except TimeoutError:
        if not scope.expired():
            raise
