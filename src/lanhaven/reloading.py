"""models.yaml while the server runs: taken over when it changes, all of it or nothing, and nothing that runs is cut."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from lanhaven.catalog import Catalog
from lanhaven.errors import GatewayError
from lanhaven.events import CatalogChanged, EventBus, Failure, ModelActivate
from lanhaven.models_file import Editor, ModelsFile
from lanhaven.models_file.difference import Difference
from lanhaven.models_file.watched import Watched
from lanhaven.residency.pool import Pool
from lanhaven.types.models import Sampling

T = TypeVar("T")
Listener = Callable[[Difference], None]


class Reloading:
    """Takes the file over on order (`reload`), and whenever a look finds that it has changed (`look`).

    A file that is wrong changes nothing: `problem` says why until it is right again, and an event tells it once.
    limit: how many automatic instances there may be, from what the file says.
    """

    def __init__(
        self, file: Watched, catalog: Catalog, pool: Pool, bus: EventBus, limit: Callable[[int | None], int]
    ) -> None:
        self._file, self._catalog, self._pool, self._bus, self._limit = file, catalog, pool, bus, limit
        self._turn = asyncio.Lock()
        self._listeners: list[Listener] = []
        self.problem: str | None = None

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._file.path

    def listen(self, listener: Listener) -> None:
        """Call back, in the event loop, whenever the file was taken over."""
        self._listeners.append(listener)

    async def reload(self) -> Difference:
        """Take the file over as it is now. GatewayError where it is wrong."""
        return await self._to_its_end("reload", self._file.read)

    async def edit(self, change: Callable[[Editor], None]) -> Difference:
        """Change the file, and take it over. GatewayError, and nothing is written, where that would make it wrong, and
        where the disk is full."""
        return await self._to_its_end("edit", lambda: self._file.edit(change))

    async def look(self) -> None:
        """Take the file over if it has changed and settled. Raises nothing: what is wrong is told as an event."""
        async with self._turn:
            with suppress(GatewayError):
                file = await self._ask("reload", self._file.changed)
                if file is not None:
                    await self._take_over(file)

    async def _to_its_end(self, operation: str, ask: Callable[[], ModelsFile]) -> Difference:
        """Also if who has asked for it leaves: what was read is not read again."""
        task = asyncio.create_task(self._ordered(operation, ask))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # told as an event
        return await asyncio.shield(task)

    async def _ordered(self, operation: str, ask: Callable[[], ModelsFile]) -> Difference:
        async with self._turn:
            return await self._take_over(await self._ask(operation, ask))

    async def _ask(self, operation: str, ask: Callable[[], T]) -> T:
        """In a thread: a thousand models take 0.7 s."""
        try:
            return await asyncio.to_thread(ask)
        except GatewayError as error:
            if operation == "reload":  # of an edit that was refused nothing is left
                self.problem = f"{error.message}; what it said before still holds"
            self._bus.emit(Failure(operation=operation, error=error.message, code=error.code, status=error.status))
            raise

    async def _take_over(self, file: ModelsFile) -> Difference:
        """First the catalog, then, in the same turn of the loop, all that follows it."""
        found = await self._catalog.replace(file.entries, default_model=file.default_model)
        after = {key: after for key, (_, after) in found.models.items()}
        self._pool.following.follow(after, self._limit(file.max_loaded_models))
        self._move_active(found)
        mended, self.problem = self.problem is not None, None
        if found or mended:
            self._bus.emit(CatalogChanged(added=found.added, removed=found.removed, changed=found.changed))
        for listener in self._listeners:
            listener(found)
        return found

    def _move_active(self, found: Difference) -> None:
        """Another default model takes the place of the one before, if that is the active one."""
        active, new = self._catalog.active, found.new_default
        if new is not None and (active is None or active.model_key == found.default[0]):
            self._catalog.activate(new)
            self._bus.emit(ModelActivate(model_key=new, instance_id=None, sampling=Sampling()))

    def __repr__(self) -> str:
        return f"Reloading({self._file!r} problem={self.problem!r})"
