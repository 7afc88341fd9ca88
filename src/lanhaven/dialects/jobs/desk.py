"""All jobs: who may see which, how long one runs without a reader, how long its events are kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lanhaven.dialects.jobs.record import Job
from lanhaven.dialects.jobs.work import cancelled
from lanhaven.errors import GatewayError, InternalError, NotFound, QueueFull

log = logging.getLogger("lanhaven.jobs")

Work = Coroutine[Any, Any, None]


@dataclass(frozen=True, slots=True)
class JobLimits:
    """Seconds, counts and bytes. docs/api.md names them."""

    grace: float = 60.0  # a running job that nobody reads for this long is cancelled
    kept: float = 600.0  # the events of one that is over can be read for this long
    running: int = 256
    over: int = 256
    over_bytes: int = 64 << 20


@dataclass(slots=True)
class _Entry:
    """A job, what runs it, and the next thing that time will do to it."""

    job: Job
    task: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None

    def wait(self, seconds: float, then: Callable[[_Entry], None]) -> None:
        self.stay()
        self.timer = asyncio.get_running_loop().call_later(seconds, then, self)

    def stay(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


@dataclass(slots=True)
class Desk:
    """`defect`: the payload of `failed` for what should not happen; gets no details, those are in the log."""

    limits: JobLimits = field(default_factory=JobLimits)
    _entries: dict[str, _Entry] = field(default_factory=dict)

    def start(self, job: Job, work: Work) -> None:
        """Run it. QueueFull if too many do."""
        running = sum(not each.job.over for each in self._entries.values())
        if running >= self.limits.running:
            work.close()
            raise QueueFull(f"{running} jobs are running already.", retry_after=5)
        entry = self._entries[job.id] = _Entry(job)
        entry.task = asyncio.get_running_loop().create_task(work)
        entry.task.add_done_callback(lambda task: self._ended(entry, task))
        entry.wait(self.limits.grace, self._lonely)

    def find(self, job_id: str, owner: str | None) -> Job:
        """NotFound if there is none, or it is somebody else's: the same words for both."""
        return self._entry(job_id, owner).job

    def _entry(self, job_id: str, owner: str | None) -> _Entry:
        entry = self._entries.get(job_id)
        if entry is None or entry.job.owner != owner:
            raise NotFound(
                f"No such job: {job_id}",
                hint=f"jobs are kept for {self.limits.kept:g} s; POST /api/v1/ai/lmstudio/infer starts one",
                retry=False,
            )
        return entry

    @contextmanager
    def reading(self, job: Job) -> Iterator[None]:
        """Somebody reads it; when the last reader has left, the grace time begins."""
        entry = self._entries.get(job.id)
        job.readers += 1
        if entry is not None and not job.over:
            entry.stay()
        try:
            yield
        finally:
            job.readers -= 1
            if entry is not None and not job.over and job.readers == 0:
                entry.wait(self.limits.grace, self._lonely)

    def cancel(self, job_id: str, owner: str | None) -> Job:
        """End a running job, forget one that is over."""
        entry = self._entry(job_id, owner)
        if entry.job.over:
            self._forget(entry)
        else:
            self._end(entry, "The job was cancelled on request.")
        return entry.job

    def _lonely(self, entry: _Entry) -> None:
        self._end(entry, f"Nobody read this job for {self.limits.grace:g} s.")

    def _end(self, entry: _Entry, reason: str) -> None:
        entry.job.publish("failed", cancelled(reason))
        if entry.task is not None:
            entry.task.cancel(reason)

    def _ended(self, entry: _Entry, task: asyncio.Task[None]) -> None:
        """Its work is done, or has a defect: then readers must not wait for ever."""
        if not task.cancelled() and task.exception() is not None:
            log.error("a job failed: %s", entry.job.id, exc_info=task.exception())
        entry.job.publish("failed", _defect(InternalError(f"Internal error; the log knows more under {entry.job.id}.")))
        entry.task = None
        entry.wait(self.limits.kept, self._forget)
        self._make_room()

    def _forget(self, entry: _Entry) -> None:
        entry.stay()
        self._entries.pop(entry.job.id, None)

    def _make_room(self) -> None:
        """Of those that are over the newest stay."""
        count, size = 0, 0
        for entry in [each for each in reversed(self._entries.values()) if each.job.over]:
            count, size = count + 1, size + entry.job.size
            if count > self.limits.over or size > self.limits.over_bytes:
                self._forget(entry)

    def __repr__(self) -> str:
        return f"Desk({', '.join(map(repr, (each.job for each in self._entries.values()))) or 'no jobs'})"


def _defect(error: GatewayError) -> dict[str, Any]:
    return {"error": {"message": error.message, "type": "api_error", "param": None, "code": error.code}}
