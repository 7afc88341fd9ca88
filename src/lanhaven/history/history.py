"""The history of one server: it listens to the bus, and writes what it heard once a second."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from lanhaven.errors import GatewayError, NotFound
from lanhaven.events import EventBus, Failure, InferenceComplete, InferenceStart
from lanhaven.history.listing import Asked, found, listed
from lanhaven.history.row import Ended, columns, details_json, row_json
from lanhaven.history.series import series
from lanhaven.history.tables import LAYOUT, SCHEMA, Sample, trim, write
from lanhaven.history.usage import usage
from lanhaven.store import Database

FILE_NAME = "history.sqlite3"
WRITE_SECONDS = 1.0
SAMPLE_STEPS = 5  # of writing, between two looks at the gauges
IDLE_SAMPLES = 12  # so many are written together where no request is: a disk may sleep
TRIM_STEPS = 60
HELD = 20_000  # requests that wait for a disk that takes nothing; beyond, the oldest are forgotten

Gauges = Callable[[], tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """days: rows of requests are kept so long. max_bytes: of the file; the oldest rows go first."""

    days: int = 7
    max_bytes: int = 64 << 20


class History:
    """To be used from one event loop. gauges: requests in flight and waiting, bytes of all instances, now.

    Nothing here disturbs a request: listening only appends, and what cannot be written is told once, in the log.
    """

    def __init__(
        self, path: Path, limits: HistoryLimits, gauges: Gauges, *, now: Callable[[], int] = time.time_ns
    ) -> None:
        self._database = Database(path, SCHEMA, LAYOUT)
        self._limits = limits
        self._gauges = gauges
        self._now = now
        self._open: dict[str, InferenceStart] = {}
        self._ended: list[Ended] = []
        self._samples: deque[Sample] = deque(maxlen=HELD)
        self._failing = False
        self._task: asyncio.Task[None] | None = None

    def hear(self, bus: EventBus) -> None:
        """Keep what happens there from now on."""
        bus.listen(self.began, InferenceStart)
        bus.listen(self.ended, InferenceComplete)
        bus.listen(self.ended, Failure)

    def began(self, event: InferenceStart) -> None:
        """A request was accepted; called by the bus."""
        self._open[event.request_id] = event

    def ended(self, event: InferenceComplete | Failure) -> None:
        """A request ended, or (not kept) something else failed."""
        if event.request_id is not None:
            self._ended.append((self._open.pop(event.request_id), event))

    def begin(self) -> None:
        """Write from now on. In the event loop that serves."""
        self._task = asyncio.create_task(self._work())

    async def aclose(self) -> None:
        """Write what there is, and close. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
            await self.write()
        await self._database.aclose()

    async def write(self) -> bool:
        """Write what there is now, in one transaction; whether that was possible."""
        ended, self._ended = self._ended, []
        samples = list(self._samples)
        self._samples.clear()
        if not ended and not samples:
            return True
        try:
            await self._database.run(partial(write, ended=ended, samples=samples))
        except GatewayError as error:
            self._ended = [*ended, *self._ended][-HELD:]
            self._samples.extendleft(reversed(samples))
            self._tell(error)
            return False
        self._failing = False
        return True

    async def requests(self, asked: Asked) -> dict[str, Any]:
        """Rows, newest first; those that are under way come before the first page, and do not count."""
        await self.write()
        rows = await self._database.run(partial(listed, asked=asked))
        more, rows = len(rows) > asked.limit, rows[: asked.limit]
        waiting = [] if asked.before else [columns(start, None) for start in reversed(self._open.values())]
        under_way = [each for each in waiting if asked.matches(each)][: asked.limit]
        body: dict[str, Any] = {"requests": [row_json(each) for each in (*under_way, *rows)]}
        return body | ({"next": rows[-1]["id"]} if more else {})

    async def request(self, request_id: str) -> dict[str, Any]:
        """One request with its phases and parameters. NotFound."""
        start = self._open.get(request_id)
        if start is not None:
            return details_json(columns(start, None))
        await self.write()
        row = await self._database.run(partial(found, request_id=request_id))
        if row is None:
            raise NotFound(
                f"No such request: {request_id[:100]}", hint="it may be too old: history_days, history_bytes"
            )
        return details_json(row)

    async def series(self, window: str, model: str | None = None, key: str | None = None) -> dict[str, Any]:
        """The charts of a window (a name in WINDOWS)."""
        await self.write()
        now = self._seconds()
        return await self._database.run(lambda database: series(database, window, now, model, key))

    async def usage(self, days: int, by: str) -> dict[str, Any]:
        """Requests and tokens of the last days, by "key", "model" or "day"."""
        await self.write()
        now = self._seconds()
        return await self._database.run(lambda database: usage(database, days, by, now))

    def sample(self) -> None:
        """Look at the gauges once."""
        self._samples.append((self._seconds(), *self._gauges()))

    async def trim(self) -> None:
        """Forget what is too old or too much."""
        now, limits = self._seconds(), self._limits
        try:
            await self._database.run(lambda database: trim(database, now, limits.days, limits.max_bytes))
        except GatewayError as error:
            self._tell(error)

    async def _work(self) -> None:
        step = 0
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            step += 1
            if step % SAMPLE_STEPS == 0:
                self.sample()
            if self._ended or len(self._samples) >= IDLE_SAMPLES:
                await self.write()
            if step % TRIM_STEPS == 0:
                await self.trim()

    def _tell(self, error: GatewayError) -> None:
        if not self._failing:
            self._failing = True
            structlog.get_logger().warning("history_not_kept", error=error.message, hint=error.hint)

    def _seconds(self) -> int:
        return self._now() // 10**9

    def __repr__(self) -> str:
        return f"History({len(self._open)} under way, {len(self._ended)} to be written, {self._database!r})"
