"""Going down: signals to a real process, and the order of events."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lanhaven.server.limits import ListenerLimits
from lanhaven.server.listener import serve
from lanhaven.server.shutdown import Shutdown
from lanhaven.server.sockets import Address
from tests.server.apps import BODY, Recorder
from tests.server.raw import PATIENCE, ask, connected, get

pytestmark = pytest.mark.anyio

posix_only = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")


class Program:
    """The server process and its words."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            return (await self.process.stdout.readline()).decode().strip()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def exit(self) -> int:
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()


@asynccontextmanager
async def program(drain: float = 20.0, limit: float = 45.0) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.server.shutdown_program", str(drain), str(limit),
        stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2], env={**_paths(), "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        found = Program(process, "")
        found.url = await found.line()
        yield found
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _paths() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@posix_only
@pytest.mark.req("F-181")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_running_requests_finish_and_new_ones_are_refused(number: int) -> None:
    async with program() as server, connected(server.url) as idle, connected(server.url) as raw:
        await idle.send(get())
        assert (await idle.reply()).body == b"done"
        await raw.send(get("/short"))
        await ask(server.url, get())  # /short has begun
        server.signal(number)
        assert await server.line() == f"draining {signal.Signals(number).name}"
        refused = await ask(server.url, get("/new"))
        assert (refused.status, refused.headers["connection"]) == (503, "close")
        reply = await raw.reply()
        assert (reply.status, reply.body) == (200, b"done")
        assert await raw.ended() == b""
        assert await idle.ended() == b""
        assert await server.exit() == 0


@posix_only
@pytest.mark.req("F-181")
async def test_streams_that_last_too_long_end_with_their_error_frame() -> None:
    async with program(drain=0.2) as server, connected(server.url) as heard, connected(server.url) as deaf:
        for raw, path in ((heard, "/stream"), (deaf, "/deaf")):
            await raw.send(get(path))
            await raw.reader.readuntil(b"\r\n\r\n")
            assert await raw.chunk() == b"first"
        server.signal(signal.SIGTERM)
        assert await heard.chunk() == b"server_shutdown"
        assert await heard.chunk() == b""
        assert await deaf.ended() == b""  # cut without the last chunk: its client can tell
        assert await server.exit() == 0
        assert [await server.line() for _ in range(3)] == ["draining SIGTERM", "aborting", "stopped"]


@posix_only
@pytest.mark.req("F-182")
async def test_the_second_signal_ends_it_at_once_but_with_frames() -> None:
    async with program() as server, connected(server.url) as raw:
        await raw.send(get("/stream"))
        await raw.reader.readuntil(b"\r\n\r\n")
        assert await raw.chunk() == b"first"
        server.signal(signal.SIGTERM)
        assert await server.line() == "draining SIGTERM"
        server.signal(signal.SIGTERM)
        assert await raw.chunk() == b"server_shutdown"
        assert await server.exit() == 0


@posix_only
@pytest.mark.req("F-182", "F-184")
@pytest.mark.parametrize(("signals", "limit"), [(1, 0.5), (2, 45.0)])
async def test_a_hanging_event_loop_does_not_keep_the_process(signals: int, limit: float) -> None:
    async with program(limit=limit) as server, connected(server.url) as raw:
        await raw.send(get("/hang"))
        assert await server.line() == "hanging"
        server.signal(signal.SIGTERM)
        ended = asyncio.create_task(server.exit())
        while signals > 1 and not ended.done():  # two signals in one instant are one
            await asyncio.wait([ended], timeout=0.2)
            if not ended.done():
                server.signal(signal.SIGTERM)
        assert await ended == 1


@posix_only
@pytest.mark.req("F-183")
async def test_sighup_reloads_and_does_not_end_it() -> None:
    async with program() as server:
        for _ in range(2):
            server.signal(signal.SIGHUP)
            assert await server.line() == "reloading"
        assert (await ask(server.url, get())).body == b"done"
        server.signal(signal.SIGTERM)
        assert await server.exit() == 0


@pytest.mark.req("F-181")
async def test_shutdown_inside_a_process_leaves_the_port_free() -> None:
    shutdown, app = Shutdown(), Recorder()
    ready: asyncio.Future[tuple[Address, ...]] = asyncio.get_running_loop().create_future()
    limits = ListenerLimits(drain_timeout=0.0, abort_grace=0.0)
    serving = asyncio.create_task(
        serve(app, [Address("127.0.0.1", 0)], limits, on_ready=ready.set_result, shutdown=shutdown)
    )
    (address,) = await ready
    async with connected(address.url) as raw:
        await raw.send(get("/wait"))
        assert await app.next_event() == ("begun", "/wait")
        shutdown.begin("test")
        await serving
        assert await app.next_event() == ("cancelled", "/wait")
        assert await raw.ended() == b""
    with pytest.raises(ConnectionRefusedError):
        await ask(address.url, get())


@pytest.mark.req("F-181")
async def test_a_request_in_flight_may_finish_after_begin() -> None:
    shutdown, app = Shutdown(), Recorder()
    ready: asyncio.Future[tuple[Address, ...]] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve(app, [Address("127.0.0.1", 0)], ListenerLimits(), on_ready=ready.set_result, shutdown=shutdown)
    )
    (address,) = await ready
    async with connected(address.url) as raw:
        await raw.send(get("/wait"))
        assert await app.next_event() == ("begun", "/wait")
        shutdown.begin("test")
        app.free.set()
        reply = await raw.reply()
        assert (reply.body, shutdown.aborted) == (BODY, False)
    await serving


async def test_a_cancelled_server_does_not_wait_for_its_requests() -> None:
    shutdown, app = Shutdown(), Recorder()
    ready: asyncio.Future[tuple[Address, ...]] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(app, [Address("127.0.0.1", 0)], on_ready=ready.set_result, shutdown=shutdown))
    (address,) = await ready
    async with connected(address.url) as raw:
        await raw.send(get("/wait"))
        assert await app.next_event() == ("begun", "/wait")
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert await app.next_event() == ("cancelled", "/wait")
    assert shutdown.draining


async def test_a_server_that_is_not_wanted_closes_its_port() -> None:
    bound: list[Address] = []

    def unwanted(where: tuple[Address, ...]) -> None:
        bound.extend(where)
        raise ValueError("not wanted")

    with pytest.raises(ValueError, match="not wanted"):
        await serve(Recorder(), [Address("127.0.0.1", 0)], on_ready=unwanted)
    with pytest.raises(ConnectionRefusedError):
        await ask(bound[0].url, get())


async def test_callbacks_hear_once_in_order_and_one_that_fails_harms_no_other() -> None:
    shutdown = Shutdown()
    heard: list[str] = []

    def broken() -> None:
        raise ValueError("broken")

    assert repr(shutdown) == "Shutdown(serving)"
    shutdown.on_drain(broken)
    shutdown.on_drain(lambda: heard.append("drain"))
    off = shutdown.on_drain(lambda: heard.append("never"))
    off()
    off()
    shutdown.on_abort(lambda: heard.append("abort"))
    shutdown.begin("first")
    assert (shutdown.draining, shutdown.hurried, shutdown.reason) == (True, False, "first")
    shutdown.on_drain(lambda: heard.append("late"))
    shutdown.begin("second")
    assert (shutdown.hurried, shutdown.reason) == (True, "first")
    shutdown.abort()
    shutdown.abort()
    shutdown.on_abort(lambda: heard.append("late abort"))
    assert heard == ["drain", "late", "abort", "late abort"]
    assert repr(shutdown) == "Shutdown(aborted)"
