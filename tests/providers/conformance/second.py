"""A second LanHaven on the mock provider, as the server that a provider of servers asks. It can fall over and get up."""

from __future__ import annotations

import asyncio
from typing import Self

from lanhaven.testing import MockLMStudio, MockModel

MODEL, SLOW, BROKEN, VECTORS = "far", "far-slow", "far-broken", "far-vectors"
FAR = "its memory is another machine's"
NOT_TOLD = "it is a server of its own, and tells nobody how it is"


class Second:
    """Call it from an event loop: what waits for the other server's thread does so in a thread."""

    def __init__(self) -> None:
        self._studio = self._made(0)

    def _made(self, port: int) -> MockLMStudio:
        endless = MockModel(MODEL, answer="count", tokens=100_000, interval_ms=1, slots=1)
        slow, broken = MockModel(SLOW, load_seconds=60), MockModel(BROKEN, fail_load="no such tensor")
        return MockLMStudio(endless, slow, broken, MockModel(VECTORS, kind="embedding"), port=port)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._studio.start)
        self._port = self._studio.port
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._studio.stop)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def holding(self) -> int:
        return len(self._studio.loaded)

    async def crash(self) -> None:
        await asyncio.to_thread(self._studio.stop)

    async def hang(self) -> None:
        """One answer does not come."""
        await asyncio.to_thread(self._studio.reply, "late", delay=60)

    async def mend(self) -> None:
        """A server of the same address that knows of nothing."""
        await asyncio.to_thread(self._studio.stop)
        self._studio = self._made(self._port)
        await asyncio.to_thread(self._studio.start)
