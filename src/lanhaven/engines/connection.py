"""One client of an engine's own server: HTTP/1.1 in, request after request, and every way to end a connection badly."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httptools


@dataclass(slots=True)
class Seen:
    """A request as it came. `body` is what its JSON says, None if it is none."""

    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes = b""
    body: Any = None
    left: bool = False  # its client went away before the reply was complete
    done: asyncio.Event = field(default_factory=asyncio.Event)  # it was answered, or left


Serve = Callable[["Connection", Seen], Awaitable[None]]


class Connection(asyncio.Protocol):
    """Answers requests in order. `ended` is set once the connection is gone."""

    def __init__(self, serve: Serve, changed: Callable[[Connection], None]) -> None:
        self._serve = serve
        self._changed = changed
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._url = b""
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._queue: list[Seen] = []
        self._task: asyncio.Task[None] | None = None
        self._current: Seen | None = None
        self._closing = False  # by us
        self.ended = asyncio.Event()

    # What a reply uses

    async def write(self, data: bytes, split: int = 0) -> None:
        """Send; in pieces of `split` bytes, each a packet of its own, if it is not 0. Waits for a slow reader."""
        for start in range(0, len(data), split or len(data) or 1):
            if self._transport is None or self._transport.is_closing():
                raise ConnectionResetError
            self._transport.write(data[start : start + (split or len(data))])
            if split:
                await asyncio.sleep(0)
            await self._writable.wait()

    def fin(self) -> None:
        """Close once everything is sent."""
        self._closing = True
        if self._transport is not None:
            self._transport.close()

    def rst(self) -> None:
        """Reset the connection. (On a unix socket, which knows no reset: close at once.)"""
        self._closing = True
        if self._transport is None:
            return
        peer: socket.socket = self._transport.get_extra_info("socket")
        if peer.family in (socket.AF_INET, socket.AF_INET6):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    async def stall(self) -> None:
        """Until the client leaves."""
        await self.ended.wait()

    @property
    def blocked(self) -> bool:
        """Whether its client reads too slowly, so that writing waits."""
        return not self._writable.is_set()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # asyncio types it loosely; it is a Transport
        self._changed(self)

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.rst()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._parser = None  # it holds bound methods of ours: a cycle
        self.ended.set()
        self._writable.set()
        if self._current is not None and not self._closing:
            self._current.left = True
        if self._task is not None:
            self._task.cancel()
        self._changed(self)

    def pause_writing(self) -> None:
        self._writable.clear()
        self._changed(self)

    def resume_writing(self) -> None:
        self._writable.set()

    # llhttp

    def on_message_begin(self) -> None:
        self._url, self._headers, self._parts = b"", {}, []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)

    def on_message_complete(self) -> None:
        if self._parser is None:
            return
        method = self._parser.get_method().decode()
        self._queue.append(Seen(method, self._url.decode("latin-1"), self._headers, b"".join(self._parts)))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        answered = False
        try:
            while self._queue:
                await self._answer(self._queue.pop(0))
            answered = True
        finally:
            self._task = None
            if not answered:
                self.rst()  # a defect must not leave a client waiting for ever

    async def _answer(self, seen: Seen) -> None:
        self._current = seen
        try:
            with contextlib.suppress(ConnectionError):
                await self._serve(self, seen)
        finally:
            seen.left = seen.left or (self.ended.is_set() and not self._closing)
            self._current = None
            seen.done.set()
            self._changed(self)
