"""All batches of one server: those that were not over at its last end go on at its start."""

from __future__ import annotations

import asyncio
import logging

from lanhaven.dialects.background import BatchLimits
from lanhaven.dialects.batch.asking import Asker
from lanhaven.dialects.batch.records import BatchRecord
from lanhaven.dialects.batch.shelf import Shelf
from lanhaven.dialects.batch.turns import Turns
from lanhaven.dialects.batch.work import BatchWork
from lanhaven.errors import GatewayError, QueueFull, ServerShutdown
from lanhaven.gateway import Gateway

log = logging.getLogger("lanhaven.batch")

MAX_UNFINISHED = 64
PURGE_SECONDS = 3600.0


class Worker:
    """`Work` of the background. To be used from one event loop."""

    def __init__(self, shelf: Shelf, asker: Asker, gateway: Gateway, limits: BatchLimits) -> None:
        self._shelf = shelf
        self._asker = asker
        self._limits = limits
        self._turns = Turns(gateway, limits.concurrency)
        self._works: dict[str, BatchWork] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def begin(self) -> None:
        """Go on with what is not over."""
        if self._shelf.used_before():
            self._keep(asyncio.create_task(self._resume()))

    async def add(self, record: BatchRecord) -> None:
        """A new batch. QueueFull, ServerShutdown."""
        if self._closing:
            raise ServerShutdown("The server is going down.", retry_after=5)
        if len(self._works) >= MAX_UNFINISHED:
            raise QueueFull(f"{MAX_UNFINISHED} batches are under way already.", retry_after=60)
        await self._shelf.save(record)
        self._start(record)

    async def cancel(self, record: BatchRecord) -> BatchRecord:
        """The batch as it is then."""
        if not record.status.over:
            self._start(record)  # unless it runs: one whose end could not be kept does not
        work = self._works.get(record.id)
        if work is None:
            return record
        await work.cancel()
        return work.record

    async def aclose(self) -> None:
        """Stop; what is under way goes on at the next start."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._shelf.aclose()

    async def _resume(self) -> None:
        try:
            await self._shelf.sweep()
            for record in await self._shelf.unfinished():
                self._start(record)
            while True:
                await self._shelf.purge()
                await asyncio.sleep(PURGE_SECONDS)
        except GatewayError as error:
            log.error("batches are not gone on with: %s", error.message)  # noqa: TRY400 - the message says it all

    def _start(self, record: BatchRecord) -> None:
        if self._closing or record.id in self._works:
            return
        work = BatchWork(record, self._shelf, self._asker, self._turns, concurrency=self._limits.concurrency)
        self._works[record.id] = work
        self._keep(asyncio.create_task(self._run(work)))

    async def _run(self, work: BatchWork) -> None:
        try:
            await work.run()
        except GatewayError as error:  # its end could not be kept: it goes on at the next start
            log.error("%s: %s", work.record.id, error.message)  # noqa: TRY400 - the message says it all
        finally:
            del self._works[work.record.id]

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a batch failed", exc_info=task.exception())

    def __repr__(self) -> str:
        return f"Worker({', '.join(map(repr, self._works.values())) or 'no batches'})"
