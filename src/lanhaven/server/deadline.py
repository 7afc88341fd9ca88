"""A point in time that moves often and is seldom reached."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Deadline:
    """Calls `reached` once when the time set last has come. Moving it later, or clearing it, touches no timer.

    A connection moves its deadline several times per request. Arming and cancelling a loop timer each time costs about
    2 us per request; one timer that looks when it fires whether the time has come costs nothing.
    """

    __slots__ = ("_at", "_loop", "_reached", "_timer", "_timer_at")

    def __init__(self, loop: asyncio.AbstractEventLoop, reached: Callable[[], None]) -> None:
        self._loop = loop
        self._reached = reached
        self._at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def set(self, seconds: float) -> None:
        """The deadline is `seconds` from now."""
        self._at = self._loop.time() + seconds
        if self._timer_at > self._at:
            self._arm()

    def clear(self) -> None:
        """There is no deadline."""
        self._at = math.inf

    def cancel(self) -> None:
        """There is none, and no timer is left behind."""
        self._at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._timer_at = None, math.inf

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._at
        self._timer = self._loop.call_at(self._at, self._look)

    def _look(self) -> None:
        self._timer, self._timer_at = None, math.inf
        if self._at == math.inf:
            return
        if self._loop.time() < self._at:
            self._arm()
            return
        self._at = math.inf
        self._reached()
