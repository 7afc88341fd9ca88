"""Something done again and again while something else is waited for: the one place where the two clients differ.

What it raises is raised where the block ends, unless the block itself failed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
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
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait((self._task,))
        if self._task.cancelled():
            return
        failure = self._task.exception()
        if failure is not None and kind is None:
            raise failure

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
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="lanhaven")
        self._future: Future[None] | None = None

    def __enter__(self) -> Self:
        self._future = self._pool.submit(self._run)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._future is not None:
            wait((self._future,))
            self._pool.shutdown()
            if kind is None:
                self._future.result()

    def _run(self) -> None:
        while True:
            self._action()
            if self._done.wait(self._every):
                return
