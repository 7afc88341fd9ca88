"""A spawned process with its pipes: read at a bounded rate, ended together with all that it forked."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from lanhaven.engines import group

PAUSE = 0.002  # seconds between two reads of a pipe: a flood costs at most 500 wake-ups a second (F-011)


class Child(asyncio.SubprocessProtocol):
    """The process. `exited` is set when it was reaped, `drained` when both of its output pipes are at their end.

    `sinks` take its standard output and standard error; `closed` is called for each pipe at its end.
    """

    def __init__(self, sinks: Mapping[int, Callable[[bytes], None]], closed: Callable[[int], None]) -> None:
        self._sinks = sinks
        self._closed = closed
        self._open = set(sinks)
        self.exited = asyncio.Event()
        self.drained = asyncio.Event()
        self.pid = 0

    @property
    def returncode(self) -> int | None:
        """As in `subprocess`: negative for the signal that ended it, None while it lives."""
        return self._transport.get_returncode()

    def write(self, data: bytes) -> None:
        """To its standard input, which stays open. A child that is gone already is noticed elsewhere."""
        # A cast, not isinstance: uvloop's pipes do not inherit from asyncio's.
        stdin = cast("asyncio.WriteTransport | None", self._transport.get_pipe_transport(0))
        if stdin is not None and not stdin.is_closing():
            stdin.write(data)

    async def end(self, *, grace: float, reap: float, stop: int = signal.SIGTERM) -> bool:
        """`stop` to its group, after `grace` seconds (0 = at once) SIGKILL. False if it outlives that by `reap`.

        The group is killed even if its leader has ended: a wrapper script may have forked the real engine (F-008).
        """
        if grace > 0 and not self.exited.is_set():
            group.terminate(self.pid, stop)
            await in_time(self.exited, grace)
        group.kill(self.pid)
        ended = await in_time(self.exited, reap)
        if ended:
            await group.gone(self.pid, reap)
        await in_time(self.drained, 0.1)
        self._transport.close()
        return ended

    # ---- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self.pid = self._transport.get_pid()

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        self._sinks[fd](cast("bytes", data))
        pipe = cast("asyncio.ReadTransport | None", self._transport.get_pipe_transport(fd))
        if pipe is not None and not pipe.is_closing():
            pipe.pause_reading()
            asyncio.get_running_loop().call_later(PAUSE, _resume, pipe)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd in self._open:
            self._open.discard(fd)
            self._closed(fd)
        if not self._open:
            self.drained.set()

    def process_exited(self) -> None:
        self.exited.set()


async def spawn(
    command: Sequence[str],
    env: Mapping[str, str],
    folder: Path,
    sinks: Mapping[int, Callable[[bytes], None]],
    closed: Callable[[int], None],
) -> Child:
    """Start it in a session of its own. OSError if it cannot be started; if cancelled, nothing of it is left."""
    child = Child(sinks, closed)
    spawning = asyncio.ensure_future(
        asyncio.get_running_loop().subprocess_exec(
            lambda: child,
            *command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            cwd=folder,
            start_new_session=True,
        )
    )
    try:
        await asyncio.wait({spawning})
    except asyncio.CancelledError:
        await to_the_end(asyncio.ensure_future(_undo(spawning, child)))
        raise
    spawning.result()
    return child


async def _undo(spawning: asyncio.Future[Any], child: Child) -> None:
    await asyncio.wait({spawning})
    if spawning.exception() is None:
        await child.end(grace=0, reap=1)


async def in_time(event: asyncio.Event, timeout: float) -> bool:
    """Wait for `event`, up to `timeout` seconds; whether it is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout)
    return event.is_set()


async def to_the_end(work: asyncio.Future[Any]) -> None:
    """Wait until `work` is done, well or badly. A waiter cancelled meanwhile gets CancelledError after that."""
    cancelled = False
    while not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError:
            cancelled = True
    if not work.cancelled():
        work.exception()  # has been seen: no warning
    if cancelled:
        raise asyncio.CancelledError


def _resume(pipe: asyncio.ReadTransport) -> None:
    if not pipe.is_closing():
        pipe.resume_reading()
