"""The last lines of the logs, to be read and followed: the server's own, and those of the engines.

What goes out is plain text: no terminal escapes, no control characters, nothing that looks like a key.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

from lanhaven.catalog import Catalog
from lanhaven.errors import ModelNotFound, Overloaded
from lanhaven.providers.base import Provider
from lanhaven.residency.pool import Pool
from lanhaven.server.logs import SECRET, ring_formatter

SERVER = "server"
LINES = 2000  # of the server's log
WIDTH = 4000  # characters of a line
LOOK_SECONDS = 0.5  # between two looks at a log that is followed
READERS = 64

# Engines' escapes have come by a replacement character already.
_ESCAPES = re.compile(r"[\x1b\x9b\ufffd]\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-_]?")
# Signs that turn the direction of what follows can make a line read as another one.
_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Line:
    """time: ISO 8601. Both are unknown of an engine's lines."""

    text: str
    time: str | None = None
    level: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Without what is not known."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class LineRing(logging.Handler):
    """A handler that keeps the last lines. Entries may come from any thread."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(ring_formatter())
        self._ring: deque[Line] = deque(maxlen=LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """One entry; a traceback is a line for each of its lines."""
        time, level, text = self.format(record).split(" ", 2)
        self._ring.extend(Line(plain(each), time, level) for each in text.splitlines())

    def lines(self) -> tuple[Line, ...]:
        """Oldest first."""
        with self.lock or nullcontext():
            return tuple(self._ring)


class Logs:
    """All logs there are, by source: "server", or the identifier of an instance."""

    def __init__(self, catalog: Catalog, pool: Pool, providers: Mapping[str, Provider]) -> None:
        self._catalog, self._pool, self._providers = catalog, pool, providers
        self.ring = LineRing()
        self._closing = asyncio.Event()
        self._readers = 0

    def sources(self) -> list[str]:
        """The server, instances that are there, and models whose engine is gone but whose last words are not."""
        running = self._pool.ids()
        left = (each.key for each in self._catalog.models() if self._kept(each.provider, each.key))
        return list(dict.fromkeys((SERVER, *running, *left)))

    def lines(self, source: str) -> Sequence[Line]:
        """Oldest first. Of a model, whatever it is called, those of its first instance. ModelNotFound."""
        if source == SERVER:
            return self.ring.lines()
        instance, provider = self._place(source)
        return [Line(plain(each)) for each in self._kept(provider, instance)]

    def _kept(self, provider: str, instance: str) -> Sequence[str]:
        """What an engine wrote. A model's provider may be one that there is not: models.yaml says what it likes."""
        return self._providers[provider].logs(instance) if provider in self._providers else ()

    def _place(self, source: str) -> tuple[str, str]:
        """The instance and its provider."""
        instance = self._pool.get(source)
        if instance is None:
            info = self._catalog.resolve(source, self._pool.ids()).info
            instance = next((each for each in self._pool.instances() if each.model_key == info.key), None)
            if instance is None:
                return info.key, info.provider
        return instance.instance_id, instance.provider

    def check(self, source: str) -> None:
        """Whether it can be followed. ModelNotFound, Overloaded."""
        self.lines(source)
        if self._readers >= READERS:
            raise Overloaded("Too many readers of logs.", retry_after=30, facts={"reason": "too_many_subscribers"})

    async def follow(self, source: str, seen: Sequence[Line], backlog: int) -> AsyncGenerator[Line | None, None]:
        """Of the lines `seen` the last `backlog`, and then each new one; None after a look that found nothing. Ends at
        shutdown."""
        self._readers += 1
        try:
            for line in seen[len(seen) - backlog :]:
                yield line
            while not await self._closed():
                now = self._now(source, seen)
                fresh = added(seen, now)
                seen = now
                for line in fresh:
                    yield line
                if not fresh:
                    yield None
        finally:
            self._readers -= 1

    def close(self) -> None:
        """Let all readers go."""
        self._closing.set()

    async def _closed(self) -> bool:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return await self._closing.wait()
        except TimeoutError:
            return False

    def _now(self, source: str, seen: Sequence[Line]) -> Sequence[Line]:
        try:
            return self.lines(source)
        except ModelNotFound:  # the instance has gone; it may come back
            return seen


def added(before: Sequence[Line], now: Sequence[Line]) -> Sequence[Line]:
    """What a log has now and had not before: it grows at one end, and loses at the other."""
    for lost in range(len(before)):
        kept = len(before) - lost
        if kept <= len(now) and before[lost] == now[0] and before[lost:] == now[:kept]:
            return now[kept:]
    return now


def plain(text: str) -> str:
    """One line without anything that could steer a terminal or a page, or open a door."""
    cut = _CONTROLS.sub("", _ESCAPES.sub("", text[:WIDTH].replace("\t", "    ")))
    rest = f" … and {len(text) - WIDTH} characters more" if len(text) > WIDTH else ""
    return SECRET.sub("[masked]", cut) + rest
