"""What time does to jobs: nobody reads them, they are over, there are too many."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from lanhaven.dialects.jobs.desk import Desk, JobLimits
from lanhaven.dialects.jobs.record import Job, JobState
from lanhaven.errors import NotFound, QueueFull

pytestmark = pytest.mark.anyio


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - a timer of the desk has no event to wait for
            await asyncio.sleep(0.002)


async def finish(job: Job) -> None:
    job.publish("completed", {"content": "x" * 100})


async def hang(job: Job) -> None:
    await asyncio.Event().wait()


def started(desk: Desk, work: Callable[[Job], object] = finish) -> Job:
    job = Job("alpha", None)
    desk.start(job, work(job))
    return job


def gone(desk: Desk, job: Job) -> bool:
    try:
        desk.find(job.id, None)
    except NotFound:
        return True
    return False


@pytest.mark.req("C12")
async def test_a_job_that_nobody_reads_is_cancelled() -> None:
    desk = Desk(JobLimits(grace=0.01))
    job = started(desk, hang)
    (frame,) = await job.after(0)
    assert b"job_cancelled" in frame
    assert b"Nobody read this job for 0.01 s." in frame
    assert job.state is JobState.FAILED


async def test_a_job_with_a_reader_runs_on_and_the_grace_time_begins_when_the_last_one_leaves() -> None:
    desk = Desk(JobLimits(grace=0.02))
    job = started(desk, hang)
    with desk.reading(job), desk.reading(job):
        await asyncio.sleep(0.1)  # five times the grace time: nothing may happen in it
        assert not job.over
    assert job.readers == 0
    await until(lambda: job.over)


async def test_events_are_forgotten_after_a_while() -> None:
    desk = Desk(JobLimits(kept=0.01))
    job = started(desk)
    assert await job.after(0)
    await until(lambda: gone(desk, job))


async def test_of_many_the_newest_are_kept() -> None:
    desk = Desk(JobLimits(over=2))
    jobs = [started(desk) for _ in range(4)]
    await until(lambda: all(job.over for job in jobs))
    await until(lambda: [gone(desk, job) for job in jobs] == [True, True, False, False])


async def test_what_is_kept_is_bounded_in_bytes() -> None:
    desk = Desk(JobLimits(over_bytes=500))
    jobs = [started(desk) for _ in range(4)]
    await until(lambda: [gone(desk, job) for job in jobs] == [True, True, False, False])


async def test_too_many_running_jobs_are_refused() -> None:
    desk = Desk(JobLimits(running=1))
    job = started(desk, hang)
    with pytest.raises(QueueFull):
        started(desk, hang)
    desk.cancel(job.id, None)
    await until(lambda: not gone(desk, started(desk)))


async def test_a_defect_leaves_no_reader_waiting(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(job: Job) -> None:
        raise RuntimeError("secret")

    with caplog.at_level(logging.ERROR, "lanhaven.jobs"):
        (frame,) = await started(Desk(), broken).after(0)
    assert b"internal_error" in frame
    assert b"secret" not in frame
    assert "secret" in caplog.text


async def test_nothing_follows_the_end() -> None:
    job = Job("alpha", None)
    job.publish("completed", {})
    job.publish("failed", {})
    job.publish("chunk", {})
    assert (job.count, job.state) == (1, JobState.COMPLETED)
