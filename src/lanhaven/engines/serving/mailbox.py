"""The mailbox of the computing thread, and how it tells the server's thread what came out."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import time
from collections.abc import Sequence

from lanhaven.engines.serving.bad import BadRequest
from lanhaven.engines.serving.jobs import Event, Failed, Job
from lanhaven.engines.serving.log import Log

MOST_GATHERED = 8  # times `gather`: requests that never cease to come are not waited for
# What a computation may break off with: engines say RuntimeError, also of memory that they cannot have.
BREAKS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, MemoryError, BadRequest)


class Mailbox:
    """Orders in, events out. `loop` is the server's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, log: Log) -> None:
        self._loop = loop
        self._log = log
        self._orders: queue.SimpleQueue[tuple[str, Job]] = queue.SimpleQueue()

    def submit(self, job: Job) -> None:
        self._orders.put(("submit", job))

    def cancel(self, job: Job) -> None:
        self._orders.put(("cancel", job))

    def orders(self, *, wait: bool, gather: float = 0.0) -> list[tuple[str, Job]]:
        """All that came; with `wait` at least one, and those after it until `gather` seconds bring none.

        A client that sends several at once takes some milliseconds for them.
        """
        found = [self._orders.get()] if wait else []
        end = time.monotonic() + MOST_GATHERED * gather
        with contextlib.suppress(queue.Empty):
            while True:
                patience = min(gather, end - time.monotonic()) if wait else 0.0
                found.append(self._orders.get(block=patience > 0, timeout=max(patience, 0.0)))
        return found

    def failed(self, jobs: Sequence[Job], error: Exception) -> None:
        """A computation broke off. Its words go to those who asked and into the log."""
        self._log.failure(f"{type(error).__name__}: {error}")
        self.tell([(job, Failed(str(error))) for job in jobs])

    def tell(self, events: Sequence[tuple[Job, Event]]) -> None:
        """One call into the loop for all events of a step: a wake-up for each would cost more than the events."""
        if events:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
                self._loop.call_soon_threadsafe(_deliver, events)


def _deliver(events: Sequence[tuple[Job, Event]]) -> None:
    for job, event in events:
        job.sink(event)
