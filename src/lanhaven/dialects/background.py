"""What a dialect does without a client: begun when the server takes requests, ended before its engines are."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol


class Work(Protocol):
    """Something that runs as long as the server."""

    def begin(self) -> None:
        """Start, in the running event loop. Called once at most."""
        ...

    async def aclose(self) -> None:
        """Stop; returns when nothing runs any more. Idempotent, and called also if it never began."""
        ...


class Background:
    """All such work of one server."""

    def __init__(self) -> None:
        self._waiting: list[Work] = []
        self._known: list[Work] = []

    def add(self, work: Work) -> None:
        """Called while dialects are made; there need not be an event loop yet."""
        self._waiting.append(work)
        self._known.append(work)

    def begin(self) -> None:
        """Start what was added since the last time."""
        waiting, self._waiting = self._waiting, []
        for work in waiting:
            work.begin()

    async def aclose(self) -> None:
        """Stop all of it."""
        await asyncio.gather(*(work.aclose() for work in self._known))


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What batches of files may take. concurrency: requests at once. Bytes: of one file, of all. keep: seconds."""

    concurrency: int = 2
    file_bytes: int = 200 << 20
    disk_bytes: int = 2 << 30
    keep: float = 7 * 86_400.0
