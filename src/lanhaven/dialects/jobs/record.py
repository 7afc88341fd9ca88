"""One inference job: its events, numbered from 1, kept as the frames that readers get. Many may read, at any time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

import msgspec

from lanhaven.wire import encode, sse

BLOCK = 256  # frames that one write takes


class JobState(StrEnum):
    """Where a job stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class Job:
    """`owner`: name of the key that made it, None on a server without keys. `count`: events so far."""

    def __init__(self, model: str, owner: str | None) -> None:
        self.id = str(uuid4())
        self.model = model
        self.owner = owner
        self.created = int(datetime.now(UTC).timestamp())
        self.state = JobState.RUNNING
        self.size = 0  # bytes of all frames
        self.readers = 0
        self._frames: list[bytes] = []
        self._news = asyncio.Event()

    @property
    def count(self) -> int:
        return len(self._frames)

    @property
    def over(self) -> bool:
        return self.state is not JobState.RUNNING

    def publish(self, kind: str, payload: Mapping[str, Any] | msgspec.Raw) -> None:
        """One more event. Nothing follows `completed` or `failed`."""
        if self.over:
            return
        data = encode({"job_id": self.id, "type": kind, "payload": payload})
        frame = b"id: %d\n" % (self.count + 1) + sse(data, kind)
        self._frames.append(frame)
        self.size += len(frame)
        if kind in (JobState.COMPLETED, JobState.FAILED):
            self.state = JobState(kind)
        self._news.set()
        self._news = asyncio.Event()

    async def after(self, seen: int) -> list[bytes]:
        """The frames behind the first `seen` ones, some at a time; waits for the next. Empty: there will be no more."""
        while seen >= self.count and not self.over:
            await self._news.wait()
        return self._frames[seen : seen + BLOCK]

    def __repr__(self) -> str:
        return f"Job({self.id} {self.state} {self.model} {self.count} events, {self.readers} readers)"
