"""An event loop without clock and sockets: time passes only when nothing is left to do, or when a test says so."""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Deadlock(Exception):
    """Everybody waits, and no timer is set."""


class _TimePasses:
    """Stands where a loop waits for sockets: jumps to the next timer."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Deadlock("nothing is ready and no timer is set")
        self._loop.now += timeout
        return []

    def close(self) -> None:
        """Nothing to close."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs as any loop does, in virtual seconds; or, driven by `step`, one callback at a time, in any order."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.failures: list[dict[str, Any]] = []
        self._selector = _TimePasses(self)
        self._clock_resolution = 1e-9
        self.set_exception_handler(lambda _loop, context: self.failures.append(context))

    def time(self) -> float:
        return self.now

    def _process_events(self, event_list: list[Any]) -> None:
        """There are no events."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector."""

    # Driving it by hand.

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function as if from a callback of this loop."""
        events._set_running_loop(self)
        try:
            return function(*arguments)
        finally:
            events._set_running_loop(None)

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        return self.call(self.create_task, work)

    @property
    def pending(self) -> int:
        """How many callbacks could run now."""
        self._due()
        return len(self._ready)

    def step(self, pick: int = 0) -> bool:
        """Run one callback that is ready, the `pick`-th one; False if there is none."""
        if not self.pending:
            return False
        self._ready.rotate(-(pick % len(self._ready)))
        handle = self._ready.popleft()
        self._ready.rotate(pick % (len(self._ready) + 1))
        if not handle._cancelled:
            self.call(handle._run)
        return True

    def settle(self, limit: int = 100_000) -> None:
        """Run until nothing is ready. Time stands still."""
        while self.step():
            limit -= 1
            if limit == 0:
                raise Deadlock("callbacks never end")

    def tick(self, seconds: float) -> None:
        """Let time pass; what falls due is ready then, and runs at the next step."""
        self.now += seconds

    def next_timer(self) -> float | None:
        """Seconds until the next timer."""
        live = [each.when() for each in self._scheduled if not each._cancelled]
        return max(0.0, min(live) - self.now) if live else None

    def _due(self) -> None:
        while self._scheduled and (self._scheduled[0]._cancelled or self._scheduled[0].when() <= self.now):
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False  # type: ignore[attr-defined]
            if not handle._cancelled:
                self._ready.append(handle)
        while self._ready and self._ready[0]._cancelled:
            self._ready.popleft()
