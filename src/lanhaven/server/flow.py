"""uvicorn's flow control, which also knows how long it kept a client from sending."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.flow_control import FlowControl


class Flow(FlowControl):
    """held: seconds in which nothing was read, all told, up to the last time that reading went on."""

    def __init__(self, transport: asyncio.Transport, clock: Callable[[], float]) -> None:
        super().__init__(transport)
        self._clock = clock
        self._since = 0.0
        self.held = 0.0

    def pause_reading(self) -> None:
        """Leave what comes in the kernel."""
        if not self.read_paused:
            self._since = self._clock()
        super().pause_reading()

    def resume_reading(self) -> None:
        """Take it."""
        if self.read_paused:
            self.held += self._clock() - self._since
            super().resume_reading()
