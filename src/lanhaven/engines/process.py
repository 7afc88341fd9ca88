"""One engine as a child process: start it, know that it lives, learn why it died, end it with all it forked.

What runs as a child follows a small protocol: one JSON line of settings on its standard input (which then stays open:
its end is the order to exit), JSON lines on its standard output (`{"event": "ready", ...}` or `{"event": "failed",
"message": ...}`), its log on standard error.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lanhaven.engines import group
from lanhaven.engines.child import Child, in_time, spawn, to_the_end
from lanhaven.engines.failure import cannot_start, crashed, hung, load_failed, template_broke, too_slow, unloaded
from lanhaven.engines.log import LineSplitter, LogRing
from lanhaven.engines.probe import Address, answers
from lanhaven.errors import GatewayError

MESSAGE_WIDTH = 1 << 20  # bytes of one protocol line
LOG_SECONDS = 0.5  # how long a load waits for the end of its log
TEMPLATE_SECONDS = 2.0  # of CPU
TEMPLATE_MEMORY = 1 << 30  # bytes; the threads of the HTTP server begin in this stage, with 8 MiB of stack each
LAST_WORDS = 30  # lines among which the reason of a crash is looked for
STDOUT, STDERR = 1, 2


@dataclass(frozen=True, slots=True)
class Timers:
    """Seconds, and the number of probes that may fail in a row."""

    load_total: float | None = 600.0  # None: somebody else bounds it
    load_stall: float | None = 300.0  # within a load, without a log line, CPU time or a change in memory
    probe_every: float = 5.0
    probe_timeout: float = 2.0
    probe_misses: int = 3
    probe_misses_busy: int = 12  # while it uses the CPU: it may have more connections than threads
    terminate: float = 10.0  # from SIGTERM to SIGKILL
    reap: float = 5.0  # from SIGKILL to giving up


@dataclass(frozen=True, slots=True)
class Trial:
    """A chat template that is tried before all else: so many seconds of CPU are enough until a line of the log has one
    of these parts in it."""

    until: Collection[str]
    seconds: float = 30.0  # looking for GPUs takes its share


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start. `settings` goes to the child on its standard input, together with `parent` and `die_with_parent`.

    name: for messages, the model's key.
    key: the bearer key that its listener asks for; secret.
    address: where it will listen, if that is known beforehand; else its ready message names the `port`.
    last_line: part of the last line that a load writes to its log, which comes by another pipe than the ready message.
    last_stage: part of the line after which a load only tries the chat template, for which little CPU and memory is
    enough: a template is a program of a stranger's (F-171).
    trial: of a template before the load.
    stop_signal: what asks it to end.
    """

    name: str
    command: Sequence[str]
    settings: Mapping[str, object]
    env: Mapping[str, str]
    folder: Path
    key: str = ""
    address: Address | None = None
    last_line: str | None = None
    last_stage: str | None = None
    trial: Trial | None = None
    stop_signal: int = signal.SIGTERM

    def __repr__(self) -> str:
        return f"Plan({self.name} {self.address})"


class EngineProcess:
    """A child process. `start` once, `stop` as often as you like; all in the event loop's thread.

    explain: picks the reason of a failed load out of the child's last log lines; None = they hold none.
    explain_crash: the same for the end of a child that was ready.
    admit: what is kept of a log line once it takes requests (a log must not quote them); None = nothing.
    on_line: each line of its log as it comes.
    on_effort: while it loads, now and then, if it was seen to work.
    on_gone: after `start` returned, once, if it ends (or hangs, and is ended) without `stop` being called.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        timers: Timers = Timers(),
        explain: Callable[[Sequence[str]], str | None] = lambda lines: None,
        explain_crash: Callable[[Sequence[str]], str | None] = lambda lines: None,
        admit: Callable[[str], str | None] = lambda line: line,
        on_line: Callable[[str], None] | None = None,
        on_effort: Callable[[], None] | None = None,
        on_gone: Callable[[GatewayError], None] | None = None,
    ) -> None:
        self._plan = plan
        self._timers = timers
        self._address = plan.address
        self._explain, self._explain_crash = explain, explain_crash
        self._on_line = on_line
        self._on_effort = on_effort
        self._on_gone = on_gone
        self._log = LogRing(self._line, admit=lambda line: admit(line) if self._life is not None else line)
        self._messages = LineSplitter(self._heard, MESSAGE_WIDTH)
        self._message: dict[str, Any] | None = None
        self._told = asyncio.Event()  # a message has come
        self._logged = asyncio.Event()  # the last line of the load has come
        self._confined = False  # it tries the chat template
        self._moved = 0.0  # when the load was last seen to get on
        self._child: Child | None = None
        self._watch: asyncio.Task[GatewayError] | None = None
        self._life: asyncio.Task[None] | None = None
        self._end: asyncio.Task[None] | None = None

    # ---- what can be asked

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    @property
    def alive(self) -> bool:
        return self._child is not None and not self._child.exited.is_set()

    @property
    def returncode(self) -> int | None:
        return self._child.returncode if self._child is not None else None

    @property
    def address(self) -> Address | None:
        """Where it listens; known at the latest when `start` has returned."""
        return self._address

    def log(self) -> tuple[str, ...]:
        """The last lines of its log, oldest first."""
        return self._log.lines()

    async def memory(self) -> int:
        """Bytes of memory that its end would give back."""
        if self._child is None or not self.alive:
            return 0
        return await asyncio.to_thread(group.memory_of, self._child.pid)

    def __repr__(self) -> str:
        state = "not started" if self._child is None else "alive" if self.alive else f"ended rc={self.returncode}"
        return f"EngineProcess({self._plan.name} pid={self.pid} {state})"

    # ---- start

    async def start(self) -> Mapping[str, Any]:
        """Start it and wait until it takes requests. Returns its ready message.

        Raises ProviderUnavailable (cannot be started at all), LoadFailed, EngineCrashed, EngineHung. However this ends
        but by returning, cancellation included, the child has ended before.
        """
        try:
            child = self._child = await self._spawn()
            self._watch = asyncio.create_task(self._watch_effort_and_health(child))
            ready = await self._until_ready(child, self._watch)
            self._life = asyncio.create_task(self._until_gone(child, self._watch))
            return ready
        finally:
            if self._life is None:
                await to_the_end(self._begin_stop(gently=True))

    async def _spawn(self) -> Child:
        self._unlink_socket()
        sinks = {STDOUT: self._messages.feed, STDERR: self._log.feed}
        ends = {STDOUT: self._messages.close, STDERR: self._log.close}
        plan = self._plan
        try:
            child = await spawn(plan.command, plan.env, plan.folder, sinks, lambda fd: ends[fd]())
        except OSError as error:
            raise cannot_start(plan.name, plan.command[0], error) from error
        # PDEATHSIG fires when the thread that spawned the child exits: only the main thread may ask for it (F-010).
        bound = threading.current_thread() is threading.main_thread()
        line = json.dumps({**plan.settings, "parent": os.getpid(), "die_with_parent": bound})
        if plan.trial is not None:
            self._confine(child, plan.trial.seconds)
        child.write(line.encode() + b"\n")
        return child

    async def _until_ready(self, child: Child, watch: asyncio.Task[GatewayError]) -> Mapping[str, Any]:
        await _first(self._timers.load_total, watch, self._told, child.exited)
        message = self._message or {}
        if self._end is not None:
            raise unloaded(self._plan.name)
        if message.get("event") == "ready":
            self._address = self._address or Address(port=int(message["port"]))
            self._release(child)
            if self._plan.last_line is not None:
                await in_time(self._logged, LOG_SECONDS)
            return message
        if not message and watch.done():
            raise watch.result()
        if not message and not child.exited.is_set():
            raise too_slow(self._plan.name, self._timers.load_total or 0.0)
        await self._hear_out(child, self._timers.probe_timeout)
        if self._confined and child.returncode is not None and child.returncode < 0:
            raise template_broke(self._plan.name, child.returncode)
        raise load_failed(self._plan.name, child.returncode, self._explain(self.log()) or message.get("message"))

    async def _hear_out(self, child: Child, timeout: float) -> None:
        """The reason stands in the log, which comes by a pipe of its own: read that to its end, if it has one soon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await child.exited.wait()
                await child.drained.wait()

    def _heard(self, line: str) -> None:
        """A protocol line. Anything but the first ready or failed message says nothing and is left aside."""
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict) and message.get("event") in {"ready", "failed"} and self._message is None:
                self._message = message
                self._told.set()

    def _line(self, line: str) -> None:
        self._moved = asyncio.get_running_loop().time()
        if self._plan.last_line is not None and self._plan.last_line in line:
            self._logged.set()
        if self._child is not None and not self._told.is_set():
            self._watch_template(self._child, line)
        if self._on_line is not None:
            self._on_line(line)

    # ---- a template on trial

    def _watch_template(self, child: Child, line: str) -> None:
        trial, stage = self._plan.trial, self._plan.last_stage
        if trial is not None and self._confined and any(each in line for each in trial.until):
            self._release(child)
        if stage is not None and stage in line:
            self._confine(child, TEMPLATE_SECONDS, TEMPLATE_MEMORY)

    def _confine(self, child: Child, seconds: float, size: int | None = None) -> None:
        self._confined = True
        group.confine(child.pid, seconds, size)

    def _release(self, child: Child) -> None:
        if self._confined:
            self._confined = False
            group.release(child.pid)

    # ---- life

    async def _watch_effort_and_health(self, child: Child) -> GatewayError:
        """Returns when the child does not answer any more, or (while it loads) gets nowhere."""
        timers, loop = self._timers, asyncio.get_running_loop()
        self._moved, effort = loop.time(), (0.0, 0)
        answered, misses = False, 0
        while True:
            await asyncio.sleep(timers.probe_every)
            if self._address is not None and await answers(self._address, self._plan.key, timers.probe_timeout):
                answered, misses = True, 0
            elif answered or self._told.is_set():
                misses += 1
            before, effort = effort, group.effort_of(child.pid)
            if misses >= (timers.probe_misses if effort[0] == before[0] else timers.probe_misses_busy):
                return hung(self._plan.name, "It has stopped answering.")
            if not self._told.is_set():
                self._saw_effort(effort != before)
                if timers.load_stall is not None and loop.time() - self._moved >= timers.load_stall:
                    return hung(self._plan.name, f"Its load made no progress for {timers.load_stall:g} seconds.")

    def _saw_effort(self, seen: bool) -> None:
        if seen:
            self._moved = asyncio.get_running_loop().time()
            if self._on_effort is not None:
                self._on_effort()

    async def _until_gone(self, child: Child, watch: asyncio.Task[GatewayError]) -> None:
        """After the load: wait for the end of the child, say why, clean up."""
        await _first(None, watch, child.exited)
        if self._end is not None:  # we are ending it
            return
        error: GatewayError
        if child.exited.is_set():
            await self._hear_out(child, 0.2)
            error = crashed(self._plan.name, child.returncode, self._explain_crash(self.log()[-LAST_WORDS:]))
        else:
            error = watch.result()
        ending = self._begin_stop(gently=False)
        if self._on_gone is not None:
            self._on_gone(error)
        await asyncio.wait({ending})

    # ---- end

    async def stop(self) -> None:
        """End it and all that it forked; returns when they are gone and their memory is back.

        SIGTERM to the group, SIGKILL after the grace. Never the engine's own shutdown: llama.cpp's hangs when requests
        are queued. Raises EngineHung if even SIGKILL did not end it (it is stuck in the kernel). If the caller is
        cancelled, the end goes on without it.
        """
        await asyncio.shield(self._begin_stop(gently=True))

    def _begin_stop(self, *, gently: bool) -> asyncio.Task[None]:
        if self._end is None:
            self._end = asyncio.create_task(self._terminate(self._timers.terminate if gently else 0.0))
        return self._end

    async def _terminate(self, grace: float) -> None:
        if self._watch is not None:
            self._watch.cancel()
        stop = self._plan.stop_signal
        ended = self._child is None or await self._child.end(grace=grace, reap=self._timers.reap, stop=stop)
        self._unlink_socket()
        if not ended:
            raise hung(self._plan.name, f"Process {self.pid} cannot be ended.")

    def _unlink_socket(self) -> None:
        """The engine leaves its socket behind, and cannot bind to one that exists."""
        if self._plan.address is not None and self._plan.address.socket is not None:
            Path(self._plan.address.socket).unlink(missing_ok=True)


async def _first(timeout: float | None, task: asyncio.Task[Any], *events: asyncio.Event) -> None:
    """Wait until the task is done or an event is set, up to `timeout` seconds."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait({task, *waits}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
