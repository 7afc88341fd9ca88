"""The processes that read images: they are few, bounded, and never outlive anybody."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest

from lanhaven.config import engine_environment
from lanhaven.engines.interpreter import module_command, module_environment
from lanhaven.errors import Overloaded, ServerShutdown
from lanhaven.media.workers import Answer, WorkerPlan, Workers
from lanhaven.server.images import WORKER
from lanhaven.types.images import Sizing
from tests.house_process import until
from tests.media.pictures import picture

pytestmark = pytest.mark.anyio

ENVIRONMENT = module_environment(engine_environment({}))
# Programs that stand in for the worker. Each reads what comes, so that nobody waits for a full pipe.
SILENT = "import sys; sys.stdin.buffer.read(8); print(flush=True, end=''); sys.stdin.buffer.read()"
GREEDY = """
from lanhaven.media import worker
def greedy(payload, job):
    return worker.Picture("image/png", 1, 1, bytes(len(bytearray(4 << 30)) >> 30))
worker.convert = greedy
worker.main()
"""
BUSY = """
from lanhaven.media import worker
def forever(payload, job):
    while True: pass
worker.CPU_SECONDS = 1
worker.convert = forever
worker.main()
"""
PARENT = """
import asyncio, sys
from lanhaven.media.workers import WorkerPlan, Workers
from lanhaven.types.images import Sizing
async def main():
    workers = Workers(WorkerPlan([sys.executable, "-c", sys.argv[1]], {"PYTHONPATH": sys.argv[2]}))
    asking = asyncio.ensure_future(workers.read(b"x", base64=False, most_pixels=1, sizing=Sizing()))
    while not workers.pids:
        await asyncio.sleep(0.01)
    print(*workers.pids, flush=True)
    await asking
asyncio.run(main())
"""


@asynccontextmanager
async def made(*command: str, **plan: Any) -> AsyncIterator[Workers]:
    workers = Workers(WorkerPlan(command or module_command(WORKER), ENVIRONMENT, **plan))
    try:
        yield workers
    finally:
        await workers.aclose()
        assert workers.pids == ()


async def read(workers: Workers, data: bytes = b"") -> Answer:
    return await workers.read(data or picture(), base64=False, most_pixels=1_000_000, sizing=Sizing())


async def test_one_process_reads_many_images_and_is_started_by_the_first() -> None:
    async with made() as workers:
        assert workers.pids == ()
        answers = [await read(workers) for _ in range(3)]
        assert [each.refused for each in answers] == ["", "", ""]
        assert len(workers.pids) == 1
        await asyncio.gather(*(read(workers) for _ in range(8)))
        assert len(workers.pids) == 2, "at most so many"
        assert repr(workers) == "Workers(0 busy, 2 idle)"


async def test_one_that_has_nothing_to_do_ends() -> None:
    async with made(idle=0.01) as workers:
        await read(workers)
        (pid,) = workers.pids
        while psutil.pid_exists(pid):  # noqa: ASYNC110 - the end of a process is no event here
            await asyncio.sleep(0.01)
        assert (await read(workers)).refused == ""


@pytest.mark.req("F-166")
async def test_one_that_hangs_is_ended_and_replaced() -> None:
    async with made(sys.executable, "-c", SILENT, seconds=0.3) as workers:
        assert (await read(workers)).refused == "slow"
        assert workers.pids == ()


@pytest.mark.req("F-166")
@pytest.mark.parametrize("program", [GREEDY, BUSY])
async def test_memory_and_time_of_an_image_are_bounded(program: str) -> None:
    async with made(sys.executable, "-c", program, seconds=30) as workers:
        assert (await read(workers)).refused == "costs"


@pytest.mark.parametrize("bound", ["-v 1000000", "-t 5"])
async def test_tighter_bounds_of_the_machine_hold_and_images_are_read_all_the_same(bound: str) -> None:
    """As a service's unit, a container or a login may set them: kibibytes of memory, seconds of CPU."""
    async with made("sh", "-c", f'ulimit {bound} && exec "$0" "$@"', *module_command(WORKER)) as workers:
        assert (await read(workers)).refused == ""


async def test_one_that_was_killed_is_replaced() -> None:
    async with made() as workers:
        await read(workers)
        (pid,) = workers.pids
        os.kill(pid, signal.SIGKILL)
        answers = [await read(workers) for _ in range(2)]
        assert answers[-1].refused == ""
        assert workers.pids != (pid,)


async def test_who_leaves_takes_its_process_along() -> None:
    async with made(sys.executable, "-c", SILENT) as workers:
        asking = asyncio.ensure_future(read(workers))
        while not workers.pids:  # noqa: ASYNC110 - neither is its start
            await asyncio.sleep(0.01)
        (pid,) = workers.pids
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert workers.pids == ()
        await workers.aclose()
        assert not psutil.pid_exists(pid)


async def test_a_program_that_is_not_there() -> None:
    async with made("/nowhere/python") as workers:
        with pytest.raises(Overloaded, match="cannot be started"):
            await read(workers)


async def test_nothing_starts_after_the_end() -> None:
    async with made() as workers:
        await workers.aclose()
        with pytest.raises(ServerShutdown):
            await read(workers)


@pytest.mark.parametrize("program", [GREEDY.replace("4 << 30", "__import__('time').sleep(60)"), BUSY])
def test_none_outlives_a_server_that_was_killed(program: str) -> None:
    """In the midst of an image."""
    path = ENVIRONMENT["PYTHONPATH"]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, program.replace("= 1\n", "= 30\n"), path],
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}, text=True,
    )  # fmt: skip
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    until(lambda: not alive(pid), "the end of the worker")


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
