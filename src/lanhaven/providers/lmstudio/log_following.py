"""Follows the server log of an LM Studio on this machine, and tells what it says as events."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from lanhaven.lmstudio.log_events import LMStudioMonthTransition
from lanhaven.lmstudio.server_log import ServerLog
from lanhaven.providers.base import Tell
from lanhaven.providers.lmstudio.link import Sleep
from lanhaven.providers.lmstudio.log_files import Added, LogFiles

EVERY = 1.0  # seconds between two looks


class Following:
    """`begin` in the event loop, `aclose` at the end; both as often as you like. Nothing that happens to the files ends
    it: a log that cannot be read now is looked at again."""

    def __init__(self, host: str, folder: Path, tell: Tell, sleep: Sleep = asyncio.sleep) -> None:
        self._host, self._folder, self._tell, self._sleep = host, folder, tell, sleep
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._follow(), name=f"server log of {self._host}")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        files = await asyncio.to_thread(LogFiles, self._folder)
        log = ServerLog(self._host)
        readable = True
        while True:
            await self._sleep(EVERY)
            try:
                self._say(log, await asyncio.to_thread(files.poll))
                readable = True
            except OSError as error:
                if readable:
                    logging.getLogger(__name__).warning("log of LM Studio %s: %s", self._host, error.strerror)
                readable = False

    def _say(self, log: ServerLog, added: Added) -> None:
        if added.previous is not None and added.month is not None:
            self._tell(LMStudioMonthTransition(host=self._host, previous=added.previous, month=added.month))
        for event in log.read(added.lines) if added.lines else log.rest():
            self._tell(event)

    def __repr__(self) -> str:
        return f"Following({self._host} {'follows' if self._task is not None else 'waits'})"
