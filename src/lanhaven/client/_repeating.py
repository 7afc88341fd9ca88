"""Something done again and again while something else is waited for: the one place where the two clients differ."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self


class AsyncRepeating:
    """Run `action` every `every` seconds in a task, until the block is left."""

    def __init__(self, action: Callable[[], Awaitable[None]], every: float) -> None:
        self._action = action
        self._every = every
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await self._action()
            await asyncio.sleep(self._every)


class Repeating:
    """The same in a thread: the waiting one has to stay where Ctrl-C can reach it."""

    def __init__(self, action: Callable[[], None], every: float) -> None:
        self._action = action
        self._every = every
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="lanhaven load progress")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._action()
            if self._done.wait(self._every):
                return
